/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/unit/specs/kdl/test_kdl.h"

static void bare_text_is_a_string_in_version_2(void **state)
{
    (void)state;
    check_prints(
        KDL_V2, "node a-b <c> d,e \xc3\xa9 - + . -a .a", "node a-b <c> d,e \xc3\xa9 - + . -a .a\n");
}

static void bare_text_needs_quotes_in_version_1(void **state)
{
    (void)state;
    check_fails(KDL_V1, "node a", 1, 6, 1, "'a' needs quotes: KDL 1 has no bare text values");
    check_fails(KDL_V1, "node b=cd", 1, 8, 2, "'cd' needs quotes: KDL 1 has no bare text values");
}

static void a_keyword_without_its_hash_is_an_error(void **state)
{
    (void)state;
    check_fails(
        KDL_V2, "node null", 1, 6, 4, "'null' is written '#null' in KDL 2, or in quotes as text");
    check_fails(
        KDL_V2, "-inf", 1, 1, 4, "'-inf' is written '#-inf' in KDL 2, or in quotes as text");
    check_fails(KDL_V2, "node #True", 1, 6, 5,
        "'#True' is not a keyword: there are #true #false #null #inf #-inf #nan");
}

static void escapes_of_version_2_are_resolved(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc =
        parse("node \"\\n\\r\\t\\b\\f\\s\\\"\\\\\\u{e9}\\u{1F600}\"", KDL_V2);
    assert_string_equal(
        kdl_argument(&doc->nodes[0], 0)->string, "\n\r\t\b\f \"\\\xc3\xa9\xf0\x9f\x98\x80");
}

static void escapes_of_version_1_are_resolved(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc =
        parse("node \"\\n\\r\\t\\b\\f\\/\\\"\\\\\\u{e9}\"", KDL_V1);
    assert_string_equal(kdl_argument(&doc->nodes[0], 0)->string, "\n\r\t\b\f/\"\\\xc3\xa9");
}

static void an_unknown_escape_is_an_error_at_its_backslash(void **state)
{
    (void)state;
    check_fails(KDL_V2, "node \"ab\\q\"", 1, 9, 2,
        "'\\q' is not an escape: there are \\n \\r \\t \\b \\f \\s \\\" \\\\ \\u{...}; a '\\' "
        "itself is written \\\\");
    check_fails(KDL_V1, "node \"\\s\"", 1, 7, 2,
        "'\\s' is not an escape: there are \\n \\r \\t \\b \\f \\/ \\\" \\\\ \\u{...}; a '\\' "
        "itself is written \\\\");
    check_fails(
        KDL_V1, "node \"a\\\nb\"", 1, 8, 1, "a '\\' in a string needs a character after it");
}

static void an_escape_of_no_character_is_an_error(void **state)
{
    (void)state;
    static const char *const wrong[] = {"\\u", "\\u0041", "\\u{}", "\\u{g}", "\\u{41",
        "\\u{110000}", "\\u{D800}", "\\u{dfff}", "\\u{0000041}"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        cleanup_buf struct buf text = BUF_INIT(0);
        buf_printf(&text, "a \"%s\"", wrong[i]);
        check_fails(KDL_V2, buf_str(&text), 1, 4, 2,
            "'\\u{...}' takes 1 to 6 hexadecimal digits of a Unicode character (no surrogate, at "
            "most 10FFFF)");
        check_fails(KDL_V1, buf_str(&text), 1, 4, 2,
            "'\\u{...}' takes 1 to 6 hexadecimal digits of a Unicode character (no surrogate, at "
            "most 10FFFF)");
    }
}

static void the_first_character_behind_the_surrogates_is_one(void **state)
{
    (void)state;
    check_prints(KDL_V2, "a \"\\u{D7FF}\\u{E000}\"", "a \xed\x9f\xbf\xee\x80\x80\n");
}

static void escaped_white_space_vanishes(void **state)
{
    (void)state;
    check_prints(KDL_V2, "node \"a\\  \r\n \xe2\x80\x83 b\" \"\\\n\"", "node ab \"\"\n");
    cleanup_document struct kdl_document *doc = parse("node \"a\\\n b\"\nc", KDL_V2);
    assert_int_equal(doc->nodes[1].pos.line, 3);
}

static void a_string_ends_on_its_line_in_version_2(void **state)
{
    (void)state;
    static const char message[] = "unclosed string: the closing quote is missing on this line "
                                  "(text of several lines is written between \"\"\")";
    check_fails(KDL_V2, "a\nnode \"abc\nb \"\"", 2, 6, 4, message);
    check_fails(KDL_V2, "node \"\xf0\x9f\x98\x80\n\"", 1, 6, 2, message);
    check_fails(KDL_V2, "node #\"abc\n\"#", 1, 6, 5, message);
    check_fails(KDL_V2, "node \"a\\\n b\n\"", 1, 6, 3, message);
}

static void a_string_without_end_is_an_error_at_its_begin(void **state)
{
    (void)state;
    static const char message[] = "unclosed string: the closing quote is missing";
    check_fails(KDL_V2, "node \"abc", 1, 6, 4, message);
    check_fails(KDL_V2, "node \"abc\\\"", 1, 6, 6, message);
    check_fails(KDL_V2, "node \"abc\\", 1, 6, 5, message);
    check_fails(KDL_V2, "node ##\"abc\"#", 1, 6, 8, message);
    check_fails(KDL_V1, "node \"abc\n", 1, 6, 4, message);
    check_fails(KDL_V1, "node r#\"abc\"", 1, 6, 7, message);
}

static void a_string_spans_lines_in_version_1(void **state)
{
    (void)state;
    check_prints(KDL_V1, "node \"a\n  b\r\nc\"\nd", "node \"a\\n  b\\r\\nc\"\nd\n");
    cleanup_document struct kdl_document *doc = parse("node r\"a\nb\" 1\nc", KDL_V1);
    assert_int_equal(doc->nodes[0].entries[1].pos.line, 2);
    assert_int_equal(doc->nodes[0].entries[1].pos.column, 4);
    assert_int_equal(doc->nodes[1].pos.line, 3);
}

static void raw_strings_keep_backslashes_and_quotes(void **state)
{
    (void)state;
    check_prints(KDL_V2, "node #\"a\\n\"# ##\"\"#\"## #\"\"x\"# #\"\"#",
        "node \"a\\\\n\" \"\\\"#\" \"\\\"x\" \"\"\n");
    check_prints(
        KDL_V1, "node r\"a\\n\" r##\"\"#\"## r#\"\"\"#", "node \"a\\\\n\" \"\\\"#\" \"\\\"\"\n");
}

static void raw_strings_of_version_1_get_a_hint_in_version_2(void **state)
{
    (void)state;
    check_fails(KDL_V2, "node r#\"x\"#", 1, 7, 1,
        "expected a space before '#' (a name with this character needs quotes; raw text is "
        "written #\"...\"#)");
}

static void lines_lose_the_indentation_of_the_closing_one(void **state)
{
    (void)state;
    check_prints(KDL_V2, "node \"\"\"\n    a\n      b\n\n \t\n    c\n    \"\"\"",
        "node \"a\\n  b\\n\\n\\nc\"\n");
    check_prints(
        KDL_V2, "node #\"\"\"\r\n\t\"\"\"\\n\r\n\t\"\"\"#", "node \"\\\"\\\"\\\"\\\\n\"\n");
    check_prints(
        KDL_V2, "node \"\"\"\n \"a\" \"\"b\"\"\n \"\"\"", "node \"\\\"a\\\" \\\"\\\"b\\\"\\\"\"\n");
}

static void an_empty_text_of_several_lines_is_empty(void **state)
{
    (void)state;
    check_prints(
        KDL_V2, "node \"\"\"\n\"\"\" \"\"\"\n  \"\"\" #\"\"\"\n\"\"\"#", "node \"\" \"\" \"\"\n");
    check_prints(KDL_V2, "node \"\"\"\n\n  \"\"\"", "node \"\"\n");
}

static void escapes_are_resolved_after_the_indentation_is_gone(void **state)
{
    (void)state;
    check_prints(KDL_V2, "node \"\"\"\n  \\sa\\n  b\n  \\\"\"\"\n  \"\"\"",
        "node \" a\\n  b\\n\\\"\\\"\\\"\"\n");
    check_prints(KDL_V2, "node \"\"\"\n    dead\\\n    beef\n    \"\"\"", "node deadbeef\n");
    check_prints(
        KDL_V2, "node \"\"\"\n  foo \\\nbar\n  baz\n  \\   \"\"\"", "node \"foo bar\\nbaz\"\n");
}

static void a_line_indented_otherwise_is_an_error_at_that_line(void **state)
{
    (void)state;
    static const char message[] =
        "this line must begin with the same white space as the line of the closing \"\"\"";
    check_fails(KDL_V2, "node \"\"\"\n    a\n  b\n    \"\"\"", 3, 1, 2, message);
    check_fails(KDL_V2, "node \"\"\"\n    a\n\tb\n    \"\"\"", 3, 1, 1, message);
    check_fails(KDL_V2, "node #\"\"\"\n a\nb\n \"\"\"#", 3, 1, 1, message);
    /* An escaped line break makes one line of two: the second begins where it likes. */
    check_fails(KDL_V2, "node \"\"\"\n  a \\\nb\n c\n  \"\"\"", 4, 1, 1, message);
    check_fails(KDL_V2, "node \"\"\"\n\\s a\n  \"\"\"", 2, 1, 1, message);
}

static void text_beside_the_triple_quotes_is_an_error(void **state)
{
    (void)state;
    check_fails(KDL_V2, "node \"\"\"a\n\"\"\"", 1, 6, 3,
        "after \"\"\" the text begins on the next line (text of one line is written in \"...\")");
    check_fails(KDL_V2, "node #\"\"\"#", 1, 6, 4,
        "after \"\"\" the text begins on the next line (text of one line is written in \"...\")");
    check_fails(KDL_V2, "node \"\"\"\n  a\n  b\"\"\"", 3, 4, 3,
        "the closing \"\"\" must be on a line of its own");
    check_fails(KDL_V2, "node \"\"\"\n  a\\\n  \"\"\"", 3, 3, 3,
        "the closing \"\"\" must be on a line of its own");
}

static void a_text_of_several_lines_without_end_is_an_error_at_its_begin(void **state)
{
    (void)state;
    static const char message[] = "unclosed string: the closing \"\"\" is missing";
    check_fails(KDL_V2, "node \"\"\"\na\n\"\"", 1, 6, 3, message);
    check_fails(KDL_V2, "node \"\"\"\na\n\\\"\"\"", 1, 6, 3, message);
    check_fails(KDL_V2, "node ##\"\"\"\na\n\"\"\"#", 1, 6, 5, message);
}

static void newlines_within_a_text_become_line_feeds(void **state)
{
    (void)state;
    check_prints(KDL_V2,
        "node \"\"\"\r\na\r\nb\rc\xc2\x85"
        "d\xe2\x80\xa8"
        "e\\r\n\"\"\"",
        "node \"a\\nb\\nc\\nd\\ne\\r\"\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bare_text_is_a_string_in_version_2),
        cmocka_unit_test(bare_text_needs_quotes_in_version_1),
        cmocka_unit_test(a_keyword_without_its_hash_is_an_error),
        cmocka_unit_test(escapes_of_version_2_are_resolved),
        cmocka_unit_test(escapes_of_version_1_are_resolved),
        cmocka_unit_test(an_unknown_escape_is_an_error_at_its_backslash),
        cmocka_unit_test(an_escape_of_no_character_is_an_error),
        cmocka_unit_test(the_first_character_behind_the_surrogates_is_one),
        cmocka_unit_test(escaped_white_space_vanishes),
        cmocka_unit_test(a_string_ends_on_its_line_in_version_2),
        cmocka_unit_test(a_string_without_end_is_an_error_at_its_begin),
        cmocka_unit_test(a_string_spans_lines_in_version_1),
        cmocka_unit_test(raw_strings_keep_backslashes_and_quotes),
        cmocka_unit_test(raw_strings_of_version_1_get_a_hint_in_version_2),
        cmocka_unit_test(lines_lose_the_indentation_of_the_closing_one),
        cmocka_unit_test(an_empty_text_of_several_lines_is_empty),
        cmocka_unit_test(escapes_are_resolved_after_the_indentation_is_gone),
        cmocka_unit_test(a_line_indented_otherwise_is_an_error_at_that_line),
        cmocka_unit_test(text_beside_the_triple_quotes_is_an_error),
        cmocka_unit_test(a_text_of_several_lines_without_end_is_an_error_at_its_begin),
        cmocka_unit_test(newlines_within_a_text_become_line_feeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* Encoding, characters, white space and comments. */
#include "tests/unit/specs/kdl/test_kdl.h"

static void check_not_utf8(const char *text, unsigned line, unsigned column, unsigned byte)
{
    cleanup_buf struct buf message = BUF_INIT(0);
    buf_printf(&message, "the byte 0x%02X is not UTF-8", byte);
    check_fails(KDL_V1, text, line, column, 1, buf_str(&message));
    check_fails(KDL_V2, text, line, column, 1, buf_str(&message));
}

static void bytes_that_are_not_utf_8_are_an_error_where_they_stand(void **state)
{
    (void)state;
    check_not_utf8("a\n\xc3\xa9 \xff", 2, 3, 0xff);
    check_not_utf8("\x80", 1, 1, 0x80);
    check_not_utf8("\xc0\x80", 1, 1, 0xc0);
    check_not_utf8("\xc1\xbf", 1, 1, 0xc1);
    check_not_utf8("a\xc3", 1, 2, 0xc3);
    check_not_utf8("a\xc3(", 1, 2, 0xc3);
    check_not_utf8("\xe0\x9f\xbf", 1, 1, 0xe0);
    check_not_utf8("\xed\xa0\x80", 1, 1, 0xed);
    check_not_utf8("\xe2\x82", 1, 1, 0xe2);
    check_not_utf8("\xf0\x8f\xbf\xbf", 1, 1, 0xf0);
    check_not_utf8("\xf4\x90\x80\x80", 1, 1, 0xf4);
    check_not_utf8("\xf5\x80\x80\x80", 1, 1, 0xf5);
    check_not_utf8("\xf0\x9f\x98\xc0", 1, 1, 0xf0);
}

static void the_ends_of_every_utf_8_form_are_characters(void **state)
{
    (void)state;
    static const char text[] = "\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"
                               "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf";
    cleanup_document struct kdl_document *doc = parse(text, KDL_V2);
    assert_string_equal(doc->nodes[0].name, text);
    assert_int_equal(doc->nodes[0].pos.length, 8);
}

static void code_points_that_deceive_are_an_error_in_version_2(void **state)
{
    (void)state;
    check_fails(KDL_V2, "a // \x7f", 1, 6, 1,
        "U+007F is not allowed in a document (in quotes it is written \\u{7f})");
    check_fails(KDL_V2, "a\n\"\xe2\x80\xae\"", 2, 2, 1,
        "U+202E is not allowed in a document (in quotes it is written \\u{202e})");
    struct kdl_error error = parse_wrong_bytes(TEXT("a \0"), KDL_V2, NULL);
    check_error_is(
        error, 1, 3, 1, "U+0000 is not allowed in a document (in quotes it is written \\u{0})");
}

static void every_forbidden_code_point_is_refused_and_its_neighbours_are_not(void **state)
{
    (void)state;
    static const char *const wrong[] = {"\x01", "\x08", "\x0e", "\x1f", "\x7f", "\xe2\x80\x8e",
        "\xe2\x80\x8f", "\xe2\x80\xaa", "\xe2\x80\xae", "\xe2\x81\xa6", "\xe2\x81\xa9",
        "\xef\xbb\xbf"};
    static const char *const right[] = {"\t", "\xe2\x80\x8d", "\xe2\x80\x90", "\xe2\x80\xaf",
        "\xe2\x81\xa5", "\xe2\x81\xaa", "\xef\xbb\xbe"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        cleanup_buf struct buf text = BUF_INIT(0);
        buf_printf(&text, "a \"%s\"", wrong[i]);
        assert_int_equal(parse_wrong_bytes(buf_str(&text), text.len, KDL_V2, NULL).pos.column, 4);
    }
    for (size_t i = 0; i < ARRAY_LEN(right); i++) {
        cleanup_buf struct buf text = BUF_INIT(0);
        buf_printf(&text, "a \"%s\"", right[i]);
        cleanup_document struct kdl_document *doc = parse(buf_str(&text), KDL_V2);
        assert_string_equal(doc->nodes[0].entries[0].value.string, right[i]);
    }
}

static void a_byte_order_mark_begins_a_text_and_is_space_in_version_1(void **state)
{
    (void)state;
    check_prints(KDL_V2,
        "\xef\xbb\xbf"
        "a",
        "a\n");
    check_prints(KDL_V1,
        "\xef\xbb\xbf"
        "a\xef\xbb\xbf"
        "1",
        "a 1\n");
    check_fails(KDL_V2,
        "\xef\xbb\xbf"
        "a \xef\xbb\xbf",
        1, 3, 1, "U+FEFF is not allowed in a document (in quotes it is written \\u{feff})");
}

static void unicode_spaces_separate(void **state)
{
    (void)state;
    static const char *const spaces[] = {" ", "\t", "\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80\x80",
        "\xe2\x80\x8a", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
    for (size_t i = 0; i < ARRAY_LEN(spaces); i++) {
        cleanup_buf struct buf text = BUF_INIT(0);
        buf_printf(&text, "%sa%s1%s", spaces[i], spaces[i], spaces[i]);
        check_prints(KDL_V1, buf_str(&text), "a 1\n");
        check_prints(KDL_V2, buf_str(&text), "a 1\n");
    }
}

static void a_zero_width_space_is_part_of_a_name(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc = parse("a\xe2\x80\x8b"
                                                      "b",
        KDL_V2);
    assert_int_equal(doc->nodes[0].n_entries, 0);
}

static void comments_are_space(void **state)
{
    (void)state;
    check_prints(KDL_V2, "a/*x*/1 /* /* nested */ \n */ 2// end\n//\n//\nb // e", "a 1 2\nb\n");
    check_prints(KDL_V1, "a/*x*/1 /* /* nested */ \n */ 2// end\n//\n//\nb // e", "a 1 2\nb\n");
    check_prints(KDL_V2, "a /***/ /*/**/*/ 1", "a 1\n");
}

static void an_unclosed_comment_is_an_error_at_its_begin(void **state)
{
    (void)state;
    check_fails(KDL_V2, "a\nb /* /* */\n", 2, 3, 2, "unclosed comment: '*/' is missing");
    check_fails(KDL_V2, "a /*/", 1, 3, 2, "unclosed comment: '*/' is missing");
}

static void a_backslash_continues_a_node(void **state)
{
    (void)state;
    check_prints(KDL_V2, "a \\\n 1 \\ // c\n 2 \\ /* d */ \r\n\t3\nb", "a 1 2 3\nb\n");
    check_prints(KDL_V1, "a \\\n 1 \\ // c\n 2\nb", "a 1 2\nb\n");
    check_prints(KDL_V2, "\\\na\n\\\nb", "a\nb\n");
}

static void a_backslash_may_end_the_text_in_version_2(void **state)
{
    (void)state;
    check_prints(KDL_V2, "a \\", "a\n");
    check_prints(KDL_V2, "a \\ // c", "a\n");
    check_fails(KDL_V1, "a \\", 1, 3, 1,
        "a '\\' continues the node on the next line: nothing but a comment may follow it on this "
        "one");
}

static void a_backslash_within_a_line_is_an_error(void **state)
{
    (void)state;
    check_fails(KDL_V2, "a \\ b", 1, 3, 1,
        "a '\\' continues the node on the next line: nothing but a comment may follow it on this "
        "one");
}

static void a_vertical_tab_is_a_newline_in_version_2_only(void **state)
{
    (void)state;
    check_prints(KDL_V2, "a 1\vb \\\v2", "a 1\nb 2\n");
    check_prints(KDL_V2, "a 1\vb // c\vd \"\"\"\v  e\v  \"\"\"", "a 1\nb\nd e\n");
    check_prints(KDL_V1, "a // c\v{}\n", "a\n");
    check_fails(KDL_V2, "a\v\"\v\"", 2, 1, 1,
        "unclosed string: the closing quote is missing on this line (text of several lines is "
        "written "
        "between \"\"\")");
    check_fails(KDL_V1, "a\v1", 1, 2, 1, "expected a space, a newline or ';', found U+000B");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_are_not_utf_8_are_an_error_where_they_stand),
        cmocka_unit_test(the_ends_of_every_utf_8_form_are_characters),
        cmocka_unit_test(code_points_that_deceive_are_an_error_in_version_2),
        cmocka_unit_test(every_forbidden_code_point_is_refused_and_its_neighbours_are_not),
        cmocka_unit_test(a_byte_order_mark_begins_a_text_and_is_space_in_version_1),
        cmocka_unit_test(unicode_spaces_separate),
        cmocka_unit_test(a_zero_width_space_is_part_of_a_name),
        cmocka_unit_test(comments_are_space),
        cmocka_unit_test(an_unclosed_comment_is_an_error_at_its_begin),
        cmocka_unit_test(a_backslash_continues_a_node),
        cmocka_unit_test(a_backslash_may_end_the_text_in_version_2),
        cmocka_unit_test(a_backslash_within_a_line_is_an_error),
        cmocka_unit_test(a_vertical_tab_is_a_newline_in_version_2_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

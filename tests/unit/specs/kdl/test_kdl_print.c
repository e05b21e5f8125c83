/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/unit/specs/kdl/test_kdl.h"

static void properties_are_sorted_and_the_last_of_a_name_stays(void **state)
{
    (void)state;
    check_prints(KDL_V2, "node b=1 a=2 3 b=4 \"\"=5 B=6", "node 3 \"\"=5 B=6 a=2 b=4\n");
}

static void strings_are_quoted_only_where_they_must_in_version_2(void **state)
{
    (void)state;
    check_prints(KDL_V2, "\"node\" \"a\" \"a b\" \"true\" \"inf\" \"1\" \"-1\" \".1\" \"-\" \"\"",
        "node a \"a b\" \"true\" \"inf\" \"1\" \"-1\" \".1\" - \"\"\n");
    check_prints(
        KDL_V2, "a \"x#\" \"x/\" \"x{\" \"x=\" \"x,<>\"", "a \"x#\" \"x/\" \"x{\" \"x=\" x,<>\n");
}

static void values_are_always_quoted_and_names_where_they_must_in_version_1(void **state)
{
    (void)state;
    check_prints(KDL_V1, "\"node\" \"a\" \"b\"=\"c\" \"true\"=1 \"1\"=2",
        "node \"a\" \"1\"=2 b=\"c\" \"true\"=1\n");
    check_prints(KDL_V1, "\"a<\" \"inf\"=1 \"a//b\"=2", "\"a<\" \"a\\/\\/b\"=2 inf=1\n");
}

static void keywords_follow_the_version(void **state)
{
    (void)state;
    check_prints(KDL_V1, "a null true b=false", "a null true b=false\n");
    check_prints(KDL_V2, "a #null #true b=#false #inf", "a #null #true #inf b=#false\n");
}

static void characters_that_cannot_stand_in_quotes_are_escaped(void **state)
{
    (void)state;
    check_prints(KDL_V2,
        "a \"\\n\\r\\t\\b\\f\\\\\\\" "
        "\\u{b}\\u{0}\\u{7f}\\u{85}\\u{2028}\\u{202e}\\u{feff}\\u{a0}/\"",
        "a \"\\n\\r\\t\\b\\f\\\\\\\" "
        "\\u{b}\\u{0}\\u{7f}\\u{85}\\u{2028}\\u{202e}\\u{feff}\xc2\xa0/\"\n");
    check_prints(KDL_V1, "a \"/\x01\"", "a \"\\/\\u{1}\"\n");
}

static void a_name_that_deceives_is_escaped_in_version_1(void **state)
{
    (void)state;
    check_prints(KDL_V1,
        "a\xe2\x80\xae"
        "b",
        "\"a\\u{202e}b\"\n");
}

static void an_empty_block_is_kept_in_version_1_only(void **state)
{
    (void)state;
    check_prints(KDL_V1, "a {\n}", "a {\n}\n");
    check_prints(KDL_V2, "a {\n}", "a\n");
}

static void an_empty_document_is_one_empty_line(void **state)
{
    (void)state;
    check_prints(KDL_V2, "", "\n");
    check_prints(KDL_V1, "// nothing", "\n");
}

static void printing_appends(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc = parse("a", KDL_V2);
    cleanup_buf struct buf out = BUF_INIT(0);
    buf_add_str(&out, "before\n");
    kdl_print(&out, doc);
    assert_string_equal(buf_str(&out), "before\na\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(properties_are_sorted_and_the_last_of_a_name_stays),
        cmocka_unit_test(strings_are_quoted_only_where_they_must_in_version_2),
        cmocka_unit_test(values_are_always_quoted_and_names_where_they_must_in_version_1),
        cmocka_unit_test(keywords_follow_the_version),
        cmocka_unit_test(characters_that_cannot_stand_in_quotes_are_escaped),
        cmocka_unit_test(a_name_that_deceives_is_escaped_in_version_1),
        cmocka_unit_test(an_empty_block_is_kept_in_version_1_only),
        cmocka_unit_test(an_empty_document_is_one_empty_line),
        cmocka_unit_test(printing_appends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

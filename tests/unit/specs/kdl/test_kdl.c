/* SPDX-License-Identifier: MPL-2.0 */
/* The interface: versions, limits, looking things up, positions. */
#include "tests/unit/specs/kdl/test_kdl.h"

#include <stdio.h>
#include <stdlib.h>

#include "specs/base/mem.h"

static enum kdl_version version_of(const char *text)
{
    cleanup_document struct kdl_document *doc = parse(text, KDL_AUTO);
    return doc->version;
}

static void a_text_of_either_version_is_version_2(void **state)
{
    (void)state;
    assert_int_equal(version_of("node 1 \"a\" b=2\n"), KDL_V2);
    assert_int_equal(version_of(""), KDL_V2);
}

static void a_text_of_only_version_1_is_version_1(void **state)
{
    (void)state;
    assert_int_equal(version_of("node true\n"), KDL_V1);
    assert_int_equal(version_of("node r#\"raw\"#\n"), KDL_V1);
}

static void a_marker_decides_the_version(void **state)
{
    (void)state;
    assert_int_equal(version_of("/- kdl-version 1\nnode \"a\"\n"), KDL_V1);
    assert_int_equal(version_of("\xef\xbb\xbf/-kdl-version\t1 \r\nnode\n"), KDL_V1);
    assert_int_equal(version_of("/- kdl-version 2\nnode a\n"), KDL_V2);
    assert_int_equal(version_of("/- kdl-version 1"), KDL_V1);
}

static void a_marker_of_no_known_version_is_only_a_comment(void **state)
{
    (void)state;
    assert_int_equal(version_of("/- kdl-version 3\nnode true\n"), KDL_V1);
    assert_int_equal(version_of("/- kdl-version 1 more\nnode\n"), KDL_V2);
    assert_int_equal(version_of("node\n/- kdl-version 1\n"), KDL_V2);
}

static void an_error_is_told_as_version_2_sees_it(void **state)
{
    (void)state;
    check_fails(KDL_AUTO, "node true {\n", 1, 6, 4,
        "'true' is written '#true' in KDL 2, or in quotes as text");
}

static void an_error_below_a_marker_is_told_as_that_version_sees_it(void **state)
{
    (void)state;
    check_fails(KDL_AUTO, "/- kdl-version 1\nnode #true\n", 2, 6, 5,
        "'#true' needs quotes: KDL 1 has no bare text values");
    check_fails(KDL_AUTO, "/- kdl-version 2\nnode true\n", 2, 6, 4,
        "'true' is written '#true' in KDL 2, or in quotes as text");
}

static void a_marker_cut_within_a_character_is_an_error(void **state)
{
    (void)state;
    check_fails(KDL_AUTO, "/- kdl-version 1\xe2", 1, 17, 1, "the byte 0xE2 is not UTF-8");
}

static void arguments_are_found_by_index(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc = parse("node a key=b c\n", KDL_V2);
    const struct kdl_node *node = &doc->nodes[0];
    assert_string_equal(kdl_argument(node, 0)->string, "a");
    assert_string_equal(kdl_argument(node, 1)->string, "c");
    assert_null(kdl_argument(node, 2));
}

static void the_last_property_of_a_name_counts(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc = parse("node a=1 b=2 a=3 a\n", KDL_V2);
    const struct kdl_node *node = &doc->nodes[0];
    assert_int_equal(node->n_entries, 4);
    assert_int_equal(kdl_property(node, "a")->integer, 3);
    assert_int_equal(kdl_property(node, "b")->integer, 2);
    assert_null(kdl_property(node, "c"));
}

static void values_report_their_kind(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc =
        parse("node #null #true #false 12 1.5 text #nan\n", KDL_V2);
    const struct kdl_node *node = &doc->nodes[0];
    assert_int_equal(kdl_argument(node, 0)->kind, KDL_NULL);
    assert_true(kdl_argument(node, 1)->boolean);
    assert_int_equal(kdl_argument(node, 2)->kind, KDL_BOOL);
    assert_false(kdl_argument(node, 2)->boolean);
    assert_true(kdl_argument(node, 3)->is_integer);
    assert_string_equal(kdl_argument(node, 4)->number, "1.5");
    assert_false(kdl_argument(node, 4)->is_integer);
    assert_int_equal(kdl_argument(node, 5)->length, 4);
    assert_string_equal(kdl_argument(node, 6)->number, "#nan");
}

static void a_string_may_hold_nuls(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc = parse("node \"a\\u{0}b\"\n", KDL_V2);
    const struct kdl_value *value = kdl_argument(&doc->nodes[0], 0);
    assert_int_equal(value->length, 3);
    assert_memory_equal(value->string, "a\0b", 4);
}

static void an_empty_block_is_told_from_none(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc = parse("a\nb {}\nc /-{}\n", KDL_V2);
    assert_false(doc->nodes[0].has_children_block);
    assert_true(doc->nodes[1].has_children_block);
    assert_int_equal(doc->nodes[1].n_children, 0);
    assert_false(doc->nodes[2].has_children_block);
}

static void check_pos(struct kdl_pos pos, unsigned line, unsigned column, unsigned length)
{
    assert_int_equal(pos.line, line);
    assert_int_equal(pos.column, column);
    assert_int_equal(pos.length, length);
}

static void positions_are_those_of_the_tokens(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc =
        parse("a {\n\t(t)b1 (u)23 \"key\" = (v)\"val\" /* c\n */ #true\n}\n", KDL_V2);
    const struct kdl_node *node = &doc->nodes[0].children[0];
    check_pos(doc->nodes[0].pos, 1, 1, 1);
    check_pos(node->pos, 2, 5, 2);
    check_pos(node->entries[0].pos, 2, 11, 2);
    check_pos(node->entries[0].value.pos, 2, 11, 2);
    check_pos(node->entries[1].pos, 2, 14, 5);
    check_pos(node->entries[1].value.pos, 2, 25, 5);
    check_pos(node->entries[2].pos, 3, 5, 5);
}

static void columns_count_characters_not_bytes(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc =
        parse("\xef\xbb\xbf\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 \"\xc3\xa9\" x\n", KDL_V2);
    check_pos(doc->nodes[0].pos, 1, 1, 3);
    check_pos(doc->nodes[0].entries[0].pos, 1, 5, 3);
    check_pos(doc->nodes[0].entries[1].pos, 1, 9, 1);
}

static void every_newline_ends_a_line(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc = parse("a\nb\rc\r\nd\fe\xc2\x85"
                                                      "f\xe2\x80\xa8g\xe2\x80\xa9h",
        KDL_V2);
    assert_int_equal(doc->n_nodes, 8);
    for (unsigned i = 0; i < 8; i++) {
        check_pos(doc->nodes[i].pos, i + 1, 1, 1);
    }
}

static void a_text_of_several_lines_is_as_long_as_its_first(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc = parse("a \"\"\"\n  x\n  \"\"\" b\n", KDL_V2);
    check_pos(doc->nodes[0].entries[0].pos, 1, 3, 3);
    check_pos(doc->nodes[0].entries[1].pos, 3, 7, 1);
}

static char *repeat(const char *head, const char *part, size_t times)
{
    struct buf text = BUF_INIT(0);
    buf_add_str(&text, head);
    for (size_t i = 0; i < times; i++) {
        buf_add_str(&text, part);
    }
    return buf_steal(&text);
}

static void a_text_longer_than_allowed_is_an_error(void **state)
{
    (void)state;
    const struct kdl_limits limits = {.max_bytes = 4};
    struct kdl_error error = parse_wrong_bytes(TEXT("node1"), KDL_V2, &limits);
    check_error_is(error, 1, 1, 1, "the text has 5 bytes, more than the 4 allowed");
}

static void blocks_nested_deeper_than_allowed_are_an_error(void **state)
{
    (void)state;
    cleanup_free char *right = repeat("", "a{", 128);
    check_fails(KDL_V2, right, 1, 256, 1, "unclosed block: '}' is missing");
    cleanup_free char *deep = repeat("", "a{", 1000000);
    check_fails(KDL_V2, deep, 1, 258, 1, "blocks nested more than 128 deep");
    cleanup_free char *dropped = repeat("", "/-a{", 1000000);
    check_fails(KDL_V2, dropped, 1, 516, 1, "blocks nested more than 128 deep");
    cleanup_free char *dropped_block = repeat("", "a/-{", 1000000);
    check_fails(KDL_V2, dropped_block, 1, 516, 1, "blocks nested more than 128 deep");
}

static void comments_nested_deeper_than_allowed_are_an_error(void **state)
{
    (void)state;
    cleanup_free char *deep = repeat("a ", "/*", 1000000);
    check_fails(KDL_V2, deep, 1, 259, 1, "comments nested more than 128 deep");
}

static void more_nodes_and_values_than_allowed_are_an_error(void **state)
{
    (void)state;
    const struct kdl_limits limits = {.max_nodes = 3};
    cleanup_free char *entries = repeat("a", " 1", 3);
    struct kdl_error error = parse_wrong_bytes(entries, strlen(entries), KDL_V2, &limits);
    check_error_is(error, 1, 7, 1, "more than 3 nodes and values");
    error = parse_wrong_bytes(TEXT("a\nb\n/-c\nd"), KDL_V2, &limits);
    check_error_is(error, 4, 1, 1, "more than 3 nodes and values");
}

static void a_deep_document_within_a_larger_limit_is_printed_and_freed(void **state)
{
    (void)state;
    const struct kdl_limits limits = {.max_depth = 3000};
    cleanup_free char *open = repeat("", "a{", 3000);
    cleanup_free char *text = repeat(open, "}", 3000);
    struct kdl_error error;
    cleanup_document struct kdl_document *doc = NULL;
    assert_int_equal(kdl_parse(text, strlen(text), KDL_V2, &limits, &doc, &error), 0);
    cleanup_buf struct buf printed = BUF_INIT(0);
    kdl_print(&printed, doc);
    size_t lines = 0;
    for (const char *p = buf_str(&printed); (p = strchr(p, '\n')) != NULL; p++) {
        lines++;
    }
    assert_int_equal(lines, 3000 + 2999);
}

static void no_document_is_freed_without_harm(void **state)
{
    (void)state;
    kdl_document_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_of_either_version_is_version_2),
        cmocka_unit_test(a_text_of_only_version_1_is_version_1),
        cmocka_unit_test(a_marker_decides_the_version),
        cmocka_unit_test(a_marker_of_no_known_version_is_only_a_comment),
        cmocka_unit_test(an_error_is_told_as_version_2_sees_it),
        cmocka_unit_test(an_error_below_a_marker_is_told_as_that_version_sees_it),
        cmocka_unit_test(a_marker_cut_within_a_character_is_an_error),
        cmocka_unit_test(arguments_are_found_by_index),
        cmocka_unit_test(the_last_property_of_a_name_counts),
        cmocka_unit_test(values_report_their_kind),
        cmocka_unit_test(a_string_may_hold_nuls),
        cmocka_unit_test(an_empty_block_is_told_from_none),
        cmocka_unit_test(positions_are_those_of_the_tokens),
        cmocka_unit_test(columns_count_characters_not_bytes),
        cmocka_unit_test(every_newline_ends_a_line),
        cmocka_unit_test(a_text_of_several_lines_is_as_long_as_its_first),
        cmocka_unit_test(a_text_longer_than_allowed_is_an_error),
        cmocka_unit_test(blocks_nested_deeper_than_allowed_are_an_error),
        cmocka_unit_test(comments_nested_deeper_than_allowed_are_an_error),
        cmocka_unit_test(more_nodes_and_values_than_allowed_are_an_error),
        cmocka_unit_test(a_deep_document_within_a_larger_limit_is_printed_and_freed),
        cmocka_unit_test(no_document_is_freed_without_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

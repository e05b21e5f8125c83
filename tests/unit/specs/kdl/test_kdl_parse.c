/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/unit/specs/kdl/test_kdl.h"

static void nodes_end_at_newlines_semicolons_and_the_end(void **state)
{
    (void)state;
    check_prints(KDL_V2, "a;b\nc 1;d", "a\nb\nc 1\nd\n");
    check_prints(KDL_V1, "a;b\nc 1;d", "a\nb\nc 1\nd\n");
}

static void an_empty_document_has_no_nodes(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc = parse(" \n// only\n", KDL_V2);
    assert_int_equal(doc->n_nodes, 0);
    assert_null(doc->nodes);
}

static void the_last_node_of_a_block_needs_no_end_in_version_2(void **state)
{
    (void)state;
    check_prints(KDL_V2, "a{b;c {d}}", "a {\n    b\n    c {\n        d\n    }\n}\n");
    check_prints(KDL_V1, "a{b;c {d;};}", "a {\n    b\n    c {\n        d\n    }\n}\n");
    check_fails(
        KDL_V1, "a {b}", 1, 5, 1, "expected a newline or ';' after the node (KDL 1), found '}'");
}

static void arguments_and_properties_mix(void **state)
{
    (void)state;
    check_prints(KDL_V2, "a 1 x=2 \"three\" \"y z\"=#null", "a 1 three x=2 \"y z\"=#null\n");
    check_prints(KDL_V1, "a 1 x=2 \"three\" \"y z\"=null", "a 1 \"three\" x=2 \"y z\"=null\n");
}

static void space_may_surround_an_equals_sign_in_version_2(void **state)
{
    (void)state;
    check_prints(KDL_V2, "a x = 1 y /*c*/ = \\\n 2 z", "a z x=1 y=2\n");
    check_fails(KDL_V1, "a x = 1", 1, 3, 1, "'x' needs quotes: KDL 1 has no bare text values");
    check_fails(KDL_V1, "a x= 1", 1, 5, 1, "expected a value after the '=', found ' '");
}

static void types_annotate_nodes_and_values(void **state)
{
    (void)state;
    check_prints(KDL_V2, "(t)a (u)1 x=(\"v w\")\"y\"", "(t)a (u)1 x=(\"v w\")y\n");
    check_prints(KDL_V1, "(t)a (u)1 x=(\"v w\")\"y\"", "(t)a (u)1 x=(\"v w\")\"y\"\n");
    check_prints(KDL_V2, "( t /*c*/ ) a ( u )  1", "(t)a (u)1\n");
    check_fails(KDL_V1, "(t )a", 1, 3, 1, "expected ')' after the type name, found ' '");
    check_fails(KDL_V1, "(t) a", 1, 4, 1, "expected a node name, found ' '");
}

static void a_type_without_name_or_target_is_an_error(void **state)
{
    (void)state;
    check_fails(KDL_V2, "()a", 1, 2, 1, "expected a type name, found ')'");
    check_fails(KDL_V2, "(1)a", 1, 2, 1, "a type name cannot be a number: put it in quotes");
    check_fails(KDL_V2, "(a b)c", 1, 4, 1, "expected ')' after the type name, found 'b'");
    check_fails(KDL_V2, "(t)", 1, 4, 1, "expected a node name, found the end of the text");
    check_fails(KDL_V2, "a (t)\n", 1, 6, 1, "expected a value, found the end of the line");
    check_fails(
        KDL_V2, "a x=(t)", 1, 8, 1, "expected a value after the '=', found the end of the text");
}

static void a_type_before_a_property_name_is_an_error(void **state)
{
    (void)state;
    check_fails(KDL_V2, "a (t)x=1", 1, 6, 1,
        "a type annotation belongs before the value of a property, not before its name");
}

static void only_strings_are_names(void **state)
{
    (void)state;
    check_fails(KDL_V2, "12 a", 1, 1, 2, "a node name cannot be a number: put it in quotes");
    check_fails(KDL_V2, "#true", 1, 1, 5, "a node name cannot be a boolean: put it in quotes");
    check_fails(KDL_V1, "null", 1, 1, 4, "a node name cannot be null: put it in quotes");
    check_fails(KDL_V2, "a 1=2", 1, 3, 1, "a property name cannot be a number: put it in quotes");
    check_fails(
        KDL_V1, "a true=2", 1, 3, 4, "a property name cannot be a boolean: put it in quotes");
}

static void a_name_cannot_hide_a_nul(void **state)
{
    (void)state;
    check_fails(KDL_V2, "\"a\\u{0}\"", 1, 1, 8, "a node name cannot contain U+0000");
    check_fails(KDL_V2, "a \"b\\u{0}\"=1", 1, 3, 8, "a property name cannot contain U+0000");
    check_fails(KDL_V2, "(\"b\\u{0}\")a", 1, 2, 8, "a type name cannot contain U+0000");
}

static void names_of_version_1_differ(void **state)
{
    (void)state;
    check_prints(KDL_V1, "a#b/c .5=1 r#x=2 _1=3", "a#b/c .5=1 _1=3 r#x=2\n");
    check_fails(KDL_V1, "a<b", 1, 2, 1, "expected a space, a newline or ';', found '<'");
    check_fails(KDL_V1, "a,b", 1, 2, 1, "expected a space, a newline or ';', found ','");
}

static void entries_need_space_between_them(void **state)
{
    (void)state;
    check_fails(KDL_V2, "a\"b\"", 1, 2, 1,
        "expected a space before '\"' (a name with this character needs quotes; raw text is "
        "written #\"...\"#)");
    check_fails(KDL_V2, "a \"b\"1", 1, 6, 1, "expected a space, a newline or ';', found '1'");
    check_fails(KDL_V2, "a x=\"b\"c", 1, 8, 1, "expected a space, a newline or ';', found 'c'");
    check_fails(KDL_V2, "a/b", 1, 2, 1, "expected a space, a newline or ';', found '/'");
    check_fails(KDL_V1, "a 1/-2", 1, 4, 2, "expected a space before the '/-'");
}

static void what_begins_no_value_is_an_error(void **state)
{
    (void)state;
    check_fails(KDL_V2, "a\nb [1]", 2, 3, 1, "expected a value, found '['");
    check_fails(
        KDL_V2, "a x=", 1, 5, 1, "expected a value after the '=', found the end of the text");
    check_fails(KDL_V2, "a =1", 1, 3, 1, "expected a value, found '='");
    check_fails(KDL_V1, "a \x01", 1, 3, 1, "expected a value, found U+0001");
}

static void what_begins_no_node_is_an_error(void **state)
{
    (void)state;
    check_fails(KDL_V2, "a;;", 1, 3, 1, "expected a node name, found ';'");
    check_fails(KDL_V2, "a {\n  {}\n}", 2, 3, 1, "expected a node name, found '{'");
    check_fails(KDL_V2, "= 1", 1, 1, 1, "expected a node name, found '='");
}

static void blocks_hold_nodes(void **state)
{
    (void)state;
    cleanup_document struct kdl_document *doc = parse("a 1 {\n  b\n  c 2 { d; e }\n}\nf\n", KDL_V2);
    assert_int_equal(doc->n_nodes, 2);
    const struct kdl_node *a = &doc->nodes[0];
    assert_int_equal(a->n_entries, 1);
    assert_int_equal(a->n_children, 2);
    assert_string_equal(a->children[1].name, "c");
    assert_int_equal(a->children[1].children[1].pos.column, 12);
    assert_string_equal(a->children[1].children[1].name, "e");
    assert_string_equal(doc->nodes[1].name, "f");
}

static void an_unclosed_block_is_an_error_at_its_brace(void **state)
{
    (void)state;
    check_fails(KDL_V2, "a\nb {\n  c {\n  }\n", 2, 3, 1, "unclosed block: '}' is missing");
    check_fails(KDL_V2, "a /- {\n", 1, 6, 1, "unclosed block: '}' is missing");
}

static void a_brace_that_closes_nothing_is_an_error(void **state)
{
    (void)state;
    check_fails(KDL_V2, "a {\n}\n}", 3, 1, 1, "'}' closes nothing");
    check_fails(KDL_V2, "a }", 1, 3, 1, "'}' closes nothing");
}

static void after_a_block_the_node_ends(void **state)
{
    (void)state;
    check_prints(KDL_V2, "a {} /* c */; b {} // d\nc", "a\nb\nc\n");
    check_fails(KDL_V2, "a {} b", 1, 6, 1, "expected a newline or ';' after the block, found 'b'");
    check_fails(KDL_V2, "a {}b", 1, 5, 1, "expected a newline or ';' after the block, found 'b'");
    check_fails(KDL_V2, "a {} {}", 1, 6, 1, "a node has one block of children");
}

static void a_slashdash_drops_a_node_with_all_it_has(void **state)
{
    (void)state;
    check_prints(KDL_V2, "/- a 1 x=2 {\n  b\n}\nc {\n  /-d {e}\n  f\n}\n", "c {\n    f\n}\n");
    check_prints(KDL_V1, "/- a 1 x=2 {\n  b\n}\nc\n", "c\n");
    check_prints(KDL_V2, "/- // why\n\n a\nb", "b\n");
    check_fails(KDL_V1, "/-\na", 1, 3, 1, "expected a node name, found the end of the line");
}

static void a_slashdash_drops_an_entry(void **state)
{
    (void)state;
    check_prints(KDL_V2, "a /-1 /- x=2 /-(t)3 /-\n4 5", "a 5\n");
    check_prints(KDL_V1, "a /-1 /- x=2 /-(t)3 5", "a 5\n");
    check_prints(KDL_V2, "a \"x\"/-1 b/-2/-\"y\"/-c", "a x b\n");
    check_fails(KDL_V2, "a/-\"x\"1", 1, 7, 1, "expected a space, a newline or ';', found '1'");
}

static void a_slashdash_drops_a_block(void **state)
{
    (void)state;
    check_prints(KDL_V2, "a 1 /-{b} {c} /-{d} /- {e}", "a 1 {\n    c\n}\n");
    check_prints(KDL_V2, "a/-{b}\nc", "a\nc\n");
    check_prints(KDL_V1, "a /- {\n  b\n}\nc", "a\nc\n");
    check_fails(KDL_V1, "a /-{\n} {\n}", 2, 3, 1, "a node has one block of children");
    check_fails(KDL_V2, "a {} /-{} {}", 1, 11, 1, "a node has one block of children");
    check_fails(
        KDL_V2, "a /-{} b", 1, 8, 1, "expected a newline or ';' after the block, found 'b'");
    check_fails(
        KDL_V2, "a /-{} /-b", 1, 10, 1, "expected a newline or ';' after the block, found 'b'");
}

static void a_slashdash_of_nothing_is_an_error(void **state)
{
    (void)state;
    check_fails(KDL_V2, "/-", 1, 3, 1, "expected a node name, found the end of the text");
    check_fails(KDL_V2, "/- /- a", 1, 4, 1, "expected a node name, found '/'");
    check_fails(KDL_V2, "a /-;", 1, 5, 1, "expected a value, found ';'");
    check_fails(KDL_V2, "a {\n b /-}", 2, 6, 1, "expected a value, found '}'");
    check_fails(KDL_V2, "a x=/-1", 1, 5, 1, "expected a value after the '=', found '/'");
}

static void what_is_dropped_must_be_right_all_the_same(void **state)
{
    (void)state;
    check_fails(KDL_V2, "/- a {\n  b true\n}", 2, 5, 4,
        "'true' is written '#true' in KDL 2, or in quotes as text");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_end_at_newlines_semicolons_and_the_end),
        cmocka_unit_test(an_empty_document_has_no_nodes),
        cmocka_unit_test(the_last_node_of_a_block_needs_no_end_in_version_2),
        cmocka_unit_test(arguments_and_properties_mix),
        cmocka_unit_test(space_may_surround_an_equals_sign_in_version_2),
        cmocka_unit_test(types_annotate_nodes_and_values),
        cmocka_unit_test(a_type_without_name_or_target_is_an_error),
        cmocka_unit_test(a_type_before_a_property_name_is_an_error),
        cmocka_unit_test(only_strings_are_names),
        cmocka_unit_test(a_name_cannot_hide_a_nul),
        cmocka_unit_test(names_of_version_1_differ),
        cmocka_unit_test(entries_need_space_between_them),
        cmocka_unit_test(what_begins_no_value_is_an_error),
        cmocka_unit_test(what_begins_no_node_is_an_error),
        cmocka_unit_test(blocks_hold_nodes),
        cmocka_unit_test(an_unclosed_block_is_an_error_at_its_brace),
        cmocka_unit_test(a_brace_that_closes_nothing_is_an_error),
        cmocka_unit_test(after_a_block_the_node_ends),
        cmocka_unit_test(a_slashdash_drops_a_node_with_all_it_has),
        cmocka_unit_test(a_slashdash_drops_an_entry),
        cmocka_unit_test(a_slashdash_drops_a_block),
        cmocka_unit_test(a_slashdash_of_nothing_is_an_error),
        cmocka_unit_test(what_is_dropped_must_be_right_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

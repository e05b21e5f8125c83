/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/unit/specs/kdl/test_kdl.h"

static void check_integer(const char *text, int64_t expected)
{
    cleanup_buf struct buf document = BUF_INIT(0);
    buf_printf(&document, "node %s", text);
    cleanup_document struct kdl_document *doc = parse(buf_str(&document), KDL_V2);
    const struct kdl_value *value = kdl_argument(&doc->nodes[0], 0);
    assert_int_equal(value->kind, KDL_NUMBER);
    assert_true(value->is_integer);
    assert_true(value->integer == expected);
}

static void check_not_integer(const char *text, const char *number)
{
    cleanup_buf struct buf document = BUF_INIT(0);
    buf_printf(&document, "node %s", text);
    cleanup_document struct kdl_document *doc = parse(buf_str(&document), KDL_V2);
    const struct kdl_value *value = kdl_argument(&doc->nodes[0], 0);
    assert_string_equal(value->number, number);
    assert_false(value->is_integer);
}

static void integers_of_every_base_have_their_value(void **state)
{
    (void)state;
    check_integer("0", 0);
    check_integer("-0", 0);
    check_integer("+1_000_", 1000);
    check_integer("0x1F", 31);
    check_integer("-0xff", -255);
    check_integer("0o17", 15);
    check_integer("0b1_01", 5);
}

static void an_integer_is_told_only_when_it_fits(void **state)
{
    (void)state;
    check_integer("9223372036854775807", INT64_MAX);
    check_integer("-9223372036854775808", INT64_MIN);
    check_integer("-0x8000000000000000", INT64_MIN);
    check_not_integer("9223372036854775808", "9223372036854775808");
    check_not_integer("-9223372036854775809", "-9223372036854775809");
    check_not_integer("0x8000000000000000", "9223372036854775808");
}

static void fractions_are_not_integers(void **state)
{
    (void)state;
    check_not_integer("1.0", "1.0");
    check_not_integer("1e3", "1E+3");
    check_not_integer("#inf", "#inf");
    check_not_integer("#-inf", "#-inf");
}

static void numbers_print_in_canonical_form(void **state)
{
    (void)state;
    check_prints(KDL_V2, "node 007 +5 -0 1_0.5_0_ 00.50 1e10 1.5E-0_7 -2.0e+00 1.0e1000",
        "node 7 5 0 10.50 0.50 1E+10 1.5E-7 -2.0E+0 1.0E+1000\n");
}

static void large_numbers_of_any_base_become_exact_decimals(void **state)
{
    (void)state;
    check_prints(KDL_V2, "node 0xffffffffffffffffffffffffffffffff",
        "node 340282366920938463463374607431768211455\n");
    check_prints(KDL_V2, "node -0x3635c9adc5dea00000", "node -1000000000000000000000\n");
    check_prints(KDL_V2, "node 0o1000000000000000000000000", "node 4722366482869645213696\n");
    check_prints(KDL_V2,
        "node 0b1000000000000000000000000000000000000000000000000000000000000000000",
        "node 73786976294838206464\n");
    check_prints(
        KDL_V2, "node 123456789012345678901234567890", "node 123456789012345678901234567890\n");
}

static void version_1_keeps_the_base(void **state)
{
    (void)state;
    check_prints(
        KDL_V1, "node 0x0_AbC -0o017 0b1_0 0x0 007 1e5", "node 0xabc -0o17 0b10 0x0 7 1E+5\n");
    cleanup_document struct kdl_document *doc = parse("node -0x10", KDL_V1);
    assert_true(kdl_argument(&doc->nodes[0], 0)->integer == -16);
}

static void check_malformed(const char *number)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    cleanup_buf struct buf message = BUF_INIT(0);
    buf_printf(&text, "node %s 1", number);
    buf_printf(&message, "'%s' is not a number (a name or text that begins like one needs quotes)",
        number);
    check_fails(KDL_V2, buf_str(&text), 1, 6, (unsigned)strlen(number), buf_str(&message));
}

static void a_malformed_number_is_an_error_of_its_whole_length(void **state)
{
    (void)state;
    static const char *const wrong[] = {"1a", "1.", "1.e7", "1._7", "1.0.0", "1e", "1e+", "1e_1",
        "1E1e1", "0x", "0x_1", "0xg", "0xx1", "0o8", "0b2", "0b", "0X1", "+1n", "-1-", "1+1"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        check_malformed(wrong[i]);
    }
}

static void a_number_without_a_digit_before_the_point_is_an_error(void **state)
{
    (void)state;
    check_fails(KDL_V2, "node -.5", 1, 6, 3,
        "'-.5' is not a number: a digit must precede the '.' (a name like this needs quotes)");
}

static void a_long_malformed_number_is_told_in_part(void **state)
{
    (void)state;
    check_fails(KDL_V2, "1x34567890123456789012345678901234567890123456789012345", 1, 1, 55,
        "'1x345678901234567890123456789012345678901234...' is not a number (a name or text that "
        "begins like one needs quotes)");
}

static void more_digits_than_can_be_converted_are_an_error(void **state)
{
    (void)state;
    cleanup_buf struct buf text = BUF_INIT(0);
    buf_add_str(&text, "node 0x");
    for (int i = 0; i < 4097; i++) {
        buf_add_char(&text, 'f');
    }
    check_fails(
        KDL_V2, buf_str(&text), 1, 6, 4099, "a number that is not decimal may have 4096 digits");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_base_have_their_value),
        cmocka_unit_test(an_integer_is_told_only_when_it_fits),
        cmocka_unit_test(fractions_are_not_integers),
        cmocka_unit_test(numbers_print_in_canonical_form),
        cmocka_unit_test(large_numbers_of_any_base_become_exact_decimals),
        cmocka_unit_test(version_1_keeps_the_base),
        cmocka_unit_test(a_malformed_number_is_an_error_of_its_whole_length),
        cmocka_unit_test(a_number_without_a_digit_before_the_point_is_an_error),
        cmocka_unit_test(a_long_malformed_number_is_told_in_part),
        cmocka_unit_test(more_digits_than_can_be_converted_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

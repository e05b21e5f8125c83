/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/strings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void a_text_is_held_once_in_the_order_of_mention(void **state)
{
    struct strings strings = {.count = 0};
    (void)state;
    strings_add(&strings, "b");
    strings_add(&strings, "a");
    strings_add(&strings, "b");
    assert_int_equal(strings.count, 2);
    assert_string_equal(strings.items[0], "b");
    assert_string_equal(strings.items[1], "a");
    assert_true(strings_have(&strings, "a"));
    assert_false(strings_have(&strings, "c"));
    assert_ptr_equal(strings_find(&strings, "a"), strings.items[1]);
    assert_null(strings_find(&strings, "c"));
    strings_clear(&strings);
    assert_int_equal(strings.count, 0);
}

static void lists_are_equal_in_the_same_order_only(void **state)
{
    struct strings a = {.count = 0}, b = {.count = 0};
    (void)state;
    assert_true(strings_equal(&a, &b));
    strings_add(&a, "x");
    assert_false(strings_equal(&a, &b));
    strings_add(&a, "y");
    strings_add(&b, "y");
    strings_add(&b, "x");
    assert_false(strings_equal(&a, &b));
    strings_clear(&b);
    strings_add(&b, "x");
    strings_add(&b, "y");
    assert_true(strings_equal(&a, &b));
    strings_clear(&a);
    strings_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_held_once_in_the_order_of_mention),
        cmocka_unit_test(lists_are_equal_in_the_same_order_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

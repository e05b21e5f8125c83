/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/strings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void a_text_is_held_once_in_the_order_of_mention(void **state)
{
    struct texts texts = {.count = 0};
    (void)state;
    texts_add(&texts, "b");
    texts_add(&texts, "a");
    texts_add(&texts, "b");
    assert_int_equal(texts.count, 2);
    assert_string_equal(texts.items[0], "b");
    assert_string_equal(texts.items[1], "a");
    assert_true(texts_have(&texts, "a"));
    assert_false(texts_have(&texts, "c"));
    assert_ptr_equal(texts_find(&texts, "a"), texts.items[1]);
    assert_null(texts_find(&texts, "c"));
    texts_clear(&texts);
    assert_int_equal(texts.count, 0);
}

static void lists_are_equal_in_the_same_order_only(void **state)
{
    struct texts a = {.count = 0}, b = {.count = 0};
    (void)state;
    assert_true(texts_equal(&a, &b));
    texts_add(&a, "x");
    assert_false(texts_equal(&a, &b));
    texts_add(&a, "y");
    texts_add(&b, "y");
    texts_add(&b, "x");
    assert_false(texts_equal(&a, &b));
    texts_clear(&b);
    texts_add(&b, "x");
    texts_add(&b, "y");
    assert_true(texts_equal(&a, &b));
    texts_clear(&a);
    texts_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_held_once_in_the_order_of_mention),
        cmocka_unit_test(lists_are_equal_in_the_same_order_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

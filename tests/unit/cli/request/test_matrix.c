/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/matrix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"

static int parse(struct matrix *ret, const char *first, const char *second)
{
    const char *items[] = {first, second};
    struct error err = {.code = ERR_NONE};
    const struct arg_strings options = {.items = items, .count = second ? 2 : 1};
    return matrix_parse(&options, ret, &err);
}

static void each_combination_comes_once(void **state)
{
    (void)state;
    static const char *const expected[][2] = {{"tag=12", "size=1"}, {"tag=12", "size="},
        {"tag=12", "size=2=3"}, {"tag=13", "size=1"}, {"tag=13", "size="}, {"tag=13", "size=2=3"}};
    cleanup_with(matrix_clear) struct matrix matrix = {.n = 0};
    assert_int_equal(parse(&matrix, "tag=12,13", "size=1,,2=3"), 0);
    assert_int_equal(matrix_count(&matrix), ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        cleanup_with(strings_clear) struct strings chosen = {.count = 0};
        matrix_choose(&matrix, i, &chosen);
        assert_int_equal(chosen.count, 2);
        assert_string_equal(chosen.items[0], expected[i][0]);
        assert_string_equal(chosen.items[1], expected[i][1]);
    }
}

static void without_an_option_there_is_one(void **state)
{
    (void)state;
    const struct matrix matrix = {.n = 0};
    cleanup_with(strings_clear) struct strings chosen = {.count = 0};
    assert_int_equal(matrix_count(&matrix), 1);
    matrix_choose(&matrix, 0, &chosen);
    assert_int_equal(chosen.count, 0);
}

static void what_is_no_list_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"tag", "tag=", "=1", "tag=1,1"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        cleanup_with(matrix_clear) struct matrix matrix = {.n = 0};
        assert_int_equal(parse(&matrix, wrong[i], NULL), -ERR_USAGE);
    }
    cleanup_with(matrix_clear) struct matrix matrix = {.n = 0};
    assert_int_equal(parse(&matrix, "a=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
                         "b=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"),
        -ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_combination_comes_once),
        cmocka_unit_test(without_an_option_there_is_one),
        cmocka_unit_test(what_is_no_list_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

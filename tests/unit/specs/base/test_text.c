/* SPDX-License-Identifier: MPL-2.0 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/text.h"

static void the_last_line_is_the_last_that_says_something(void **state)
{
    (void)state;
    static const struct {
        const char *output, *line;
    } rows[] = {
        {"", ""},
        {" \n\r\n", ""},
        {"one", "one"},
        {"one\ntwo", "two"},
        {"one\ntwo \t\r\n\n", "two"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cleanup_free char *line = text_last_line(rows[i].output, strlen(rows[i].output));
        assert_string_equal(line, rows[i].line);
    }
}

static void the_last_line_can_be_shown_on_a_terminal(void **state)
{
    (void)state;
    static const char output[] = "fine\nbad \x1b[2J\xff end\n";
    cleanup_free char *line = text_last_line(output, sizeof(output) - 1);
    assert_true(text_starts_with(line, "bad "));
    assert_true(text_ends_with(line, " end"));
    assert_null(strchr(line, '\x1b'));
    assert_null(strchr(line, '\xff'));
}

static void only_the_given_bytes_are_read(void **state)
{
    (void)state;
    static const char output[] = "one\ntwo\nthree";
    cleanup_free char *line = text_last_line(output, 7);
    assert_string_equal(line, "two");
}

/* What a guest wrote shows on a terminal in the order in which it was written. */
static void bidirectional_controls_are_shown_as_bytes(void **state)
{
    static const char text[] =
        "a\u202eb\u2066c\u2069\u200f\u061c\u202a\u2028\u2029\u2027\u2065\u05d0é";
    cleanup_buf struct buf out = BUF_INIT(0);
    (void)state;
    text_add_printable(&out, text, strlen(text));
    assert_string_equal(buf_str(&out),
        "a\\xe2\\x80\\xaeb\\xe2\\x81\\xa6c\\xe2\\x81\\xa9\\xe2\\x80\\x8f"
        "\\xd8\\x9c\\xe2\\x80\\xaa\\xe2\\x80\\xa8\\xe2\\x80\\xa9\u2027\u2065\u05d0é");
}

static void the_nearest_word_begins_with_the_one_typed_or_is_a_slip_away(void **state)
{
    (void)state;
    static const char *const words[] = {"start", "stop", "status", "restart", "wait", "watch",
        "validate", "list", "describe", "completion"};
    static const struct {
        const char *typed, *nearest;
    } rows[] = {
        {"stat", "status"},
        {"desc", "describe"},
        {"lst", "list"},
        {"statsu", "status"},
        {"compleshun", "completion"},
        {"lsit", "list"},
        {"wathc", "watch"},
        {"wtahc", "watch"},
        {"tawhc", NULL},
        {"init", NULL},
        {"edit", NULL},
        {"attach", NULL},
        {"reboot", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *nearest = text_nearest(rows[i].typed, words, ARRAY_LEN(words));
        assert_true(text_eq(nearest, rows[i].nearest));
    }
}

static void a_list_of_words_has_whole_words(void **state)
{
    (void)state;
    assert_true(text_has_word("ps ls", "ps"));
    assert_true(text_has_word("ps ls", "ls"));
    assert_false(text_has_word("ps ls", "s"));
    assert_false(text_has_word("ps ls", "p"));
    assert_false(text_has_word("ps ls", "ps ls"));
    assert_false(text_has_word("ps ls", ""));
    assert_false(text_has_word(NULL, "ps"));
}

static void a_number_may_be_either_bound(void **state)
{
    (void)state;
    uint64_t n = 0;
    assert_true(text_to_u64("3", 3, 9, &n) && n == 3);
    assert_true(text_to_u64("9", 3, 9, &n) && n == 9);
    assert_false(text_to_u64("2", 3, 9, &n) || text_to_u64("10", 3, 9, &n));
    assert_true(text_to_u64("18446744073709551615", 0, UINT64_MAX, &n) && n == UINT64_MAX);
    assert_false(text_to_u64("18446744073709551616", 0, UINT64_MAX, &n));
    assert_false(text_to_u64("+3", 3, 9, &n) || text_to_u64("3 ", 3, 9, &n));
}

static void an_id_has_letters_digits_and_two_signs(void **state)
{
    static const char all[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    (void)state;
    for (int c = CHAR_MIN; c <= CHAR_MAX; c++) {
        const char text[] = {'a', (char)c};
        assert_int_equal(text_is_id(text, 2), c != 0 && strchr(all, c) != NULL);
    }
    assert_true(text_is_id("", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_word_begins_with_the_one_typed_or_is_a_slip_away),
        cmocka_unit_test(a_list_of_words_has_whole_words),
        cmocka_unit_test(the_last_line_is_the_last_that_says_something),
        cmocka_unit_test(the_last_line_can_be_shown_on_a_terminal),
        cmocka_unit_test(only_the_given_bytes_are_read),
        cmocka_unit_test(bidirectional_controls_are_shown_as_bytes),
        cmocka_unit_test(a_number_may_be_either_bound),
        cmocka_unit_test(an_id_has_letters_digits_and_two_signs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/screen_filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"

/* In one piece, and byte by byte: the outcome is the same. */
static void assert_shown(const char *bytes, const char *expected)
{
    for (size_t step = strlen(bytes); step > 0; step = step > 1 ? 1 : 0) {
        struct screen_filter filter = {.state = SCREEN_TEXT};
        cleanup_buf struct buf out = BUF_INIT(0);
        for (size_t i = 0; i < strlen(bytes); i += step) {
            screen_filter_add(&filter, &out, bytes + i, step);
        }
        screen_filter_end(&filter, &out);
        assert_string_equal(buf_str(&out), expected);
    }
}

static void plain_text_passes(void **state)
{
    (void)state;
    assert_shown("hello\tworld\n", "hello\tworld\n");
    assert_shown("größe 🙂\n", "größe 🙂\n");
}

static void escape_sequences_are_dropped_whole(void **state)
{
    (void)state;
    assert_shown("\033[0;32m  OK  \033[0m done\n", "  OK   done\n");
    assert_shown("a\033]0;title\007b\033]52;c;ZXZpbA==\033\\c", "abc");
    assert_shown("a\033(Bb\033Pq#0\033\\c\033cd", "abcd");
    assert_shown("\033[2J\033[1;1Hx", "x");
}

static void an_unfinished_control_string_ends_with_its_line(void **state)
{
    (void)state;
    assert_shown("a\033]0;never\nb\n", "ab\n");
}

static void carriage_returns_end_lines(void **state)
{
    (void)state;
    assert_shown("one\r\ntwo\r\r\nthree", "one\ntwo\nthree");
    assert_shown("10%\r20%\r", "10%\n20%\n");
}

static void other_control_bytes_are_shown(void **state)
{
    (void)state;
    assert_shown("a\007b\x7f", "a\\x07b\\x7f");
    assert_shown("\x9b"
                 "31m",
        "\\x9b31m"); /* an 8-bit CSI */
    assert_shown("\xc2\x9b"
                 "31m",
        "\\xc2\\x9b31m"); /* the same in UTF-8 */
}

static void bad_utf8_is_shown_as_bytes(void **state)
{
    (void)state;
    assert_shown("\xc3(", "\\xc3(");
    assert_shown("\xf0\x9f\x99", "\\xf0\\x9f\\x99");
    assert_shown("\xff", "\\xff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_passes),
        cmocka_unit_test(escape_sequences_are_dropped_whole),
        cmocka_unit_test(an_unfinished_control_string_ends_with_its_line),
        cmocka_unit_test(carriage_returns_end_lines),
        cmocka_unit_test(other_control_bytes_are_shown),
        cmocka_unit_test(bad_utf8_is_shown_as_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

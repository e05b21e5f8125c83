/* SPDX-License-Identifier: MPL-2.0 */
/* What a terminal of a given width shows; tests/e2e/cli_terminal.bats looks at a real one. */
#include "cli/wait/live_block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"

static void lines_are_cut_after_a_word(void **state)
{
    static const struct {
        const char *line;
        unsigned columns;
        const char *shown;
    } rows[] = {
        {"web  Booting  3s", 16, "web  Booting  3s\n"},
        {"web  Booting  3s", 15, "web  Booting…\n"},
        {"one two three\nnext", 9, "one two…\n"},
        {"one two three", 8, "one two…\n"},
        {"one two three", 7, "one…\n"},
        {"a /very/long/path/of/a/file", 12, "a /very/lon…\n"}, /* half would be lost */
        {"größe größe", 9, "größe…\n"},
        {"世界世界 世", 8, "世界世…\n"}, /* two columns each */
        {"", 5, "\n"},
        {"x", 1, "x\n"},
        {"xy", 1, "…\n"},
        {"web \033[31mFailed\033[0m now", 14, "web \033[31mFailed\033[0m now\n"},
        {"web \033[31mFailed\033[0m now", 12, "web \033[31mFailed\033[0m…\033[0m\n"},
        {"web \033[31mFailed", 6, "web…\033[0m\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cleanup_buf struct buf out = BUF_INIT(0);
        live_block_fit(&out, rows[i].line, rows[i].columns);
        assert_string_equal(buf_str(&out), rows[i].shown);
        assert_true(live_block_rows(buf_str(&out), rows[i].columns) == 1);
    }
}

static void rows_count_what_a_narrower_terminal_wraps(void **state)
{
    (void)state;
    assert_int_equal(live_block_rows("", 10), 0);
    assert_int_equal(live_block_rows("a\nb\n", 10), 2);
    assert_int_equal(live_block_rows("0123456789\n", 10), 1);
    assert_int_equal(live_block_rows("0123456789a\nb\n", 10), 3);
    assert_int_equal(live_block_rows("\033[2m0123456789\033[0m\n\n", 5), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_cut_after_a_word),
        cmocka_unit_test(rows_count_what_a_narrower_terminal_wraps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

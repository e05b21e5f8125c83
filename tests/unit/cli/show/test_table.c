/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
    (void)state;
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    table_init(&table, 3);
    table_add(&table, "NAME");
    table_add(&table, "N");
    table_add(&table, "STATE");
    table_add(&table, "webserver");
    table_add_number(&table, 12);
    table_add(&table, "Ready");
    table_print(&table, &out);
    assert_string_equal(buf_str(&out), "NAME        N    STATE\n"
                                       "webserver   12   Ready\n");
}

static void a_column_may_be_much_wider_than_a_cell(void **state)
{
    (void)state;
    static const char wide[] = "an-image-with-a-name-that-is-fifty-characters-long";
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    table_init(&table, 2);
    table_add(&table, wide);
    table_add(&table, "1");
    table_add(&table, "x");
    table_add(&table, "2");
    table_print(&table, &out);
    cleanup_free char *expected = mem_printf("%s   1\n%-50s   2\n", wide, "x");
    assert_string_equal(buf_str(&out), expected);
}

static void no_cell_controls_the_terminal(void **state)
{
    (void)state;
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    table_init(&table, 2);
    table_add(&table, "\033[31mred\a");
    table_add(&table, "a b \u00e4");
    table_print(&table, &out);
    assert_null(strpbrk(buf_str(&out), "\033\a"));
    assert_non_null(strstr(buf_str(&out), "red"));
    assert_non_null(strstr(buf_str(&out), "   a b \u00e4\n"));
}

static void characters_count_not_bytes(void **state)
{
    (void)state;
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    table_init(&table, 2);
    table_add(&table, "größe");
    table_add(&table, "x");
    table_add(&table, "abcde");
    table_add(&table, "y");
    table_print(&table, &out);
    assert_string_equal(buf_str(&out), "größe   x\nabcde   y\n");
}

static void an_empty_last_cell_leaves_no_blanks(void **state)
{
    (void)state;
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    table_init(&table, 2);
    table_add(&table, "a");
    table_add(&table, "");
    table_print(&table, &out);
    assert_string_equal(buf_str(&out), "a\n");
}

/* What a table of these two rows looks like on a terminal of `limit` columns. */
static void assert_fits(size_t limit, const char *expected)
{
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    table_init(&table, 3);
    table.limit = limit;
    table.use_color = true;
    table_add(&table, "NAME");
    table_add(&table, "STATE");
    table_add(&table, "CAUSE");
    table_add(&table, "web");
    table_add_colored(&table, "\033[31m", "Failed");
    table_add(&table, "step 1/2 exited with ärror");
    table_add(&table, "db");
    table_add_colored(&table, "", "Ready");
    table_add(&table, "");
    table_print(&table, &out);
    assert_string_equal(buf_str(&out), expected);
}

static void a_table_fits_the_terminal(void **state)
{
    (void)state;
    static const char wide[] = "NAME   STATE    CAUSE\n"
                               "web    \033[31mFailed\033[0m   step 1/2 exited with ärror\n"
                               "db     Ready\n";
    assert_fits(0, wide);
    assert_fits(7 + 9 + 26, wide);
    assert_fits(6 + 8 + 26, "NAME  STATE   CAUSE\n"
                            "web   \033[31mFailed\033[0m  step 1/2 exited with ärror\n"
                            "db    Ready\n");
    assert_fits(6 + 8 + 25, "NAME  STATE   CAUSE\n"
                            "web   \033[31mFailed\033[0m  step 1/2 exited with ärr…\n"
                            "db    Ready\n");
    assert_fits(6 + 8 + 19, "NAME  STATE\n"
                            "web   \033[31mFailed\033[0m\n"
                            "  step 1/2 exited with ärror\n"
                            "db    Ready\n");
    assert_fits(20, "NAME  STATE\n"
                    "web   \033[31mFailed\033[0m\n"
                    "  step 1/2 exited w…\n"
                    "db    Ready\n");
    assert_fits(1, "NAME  STATE\nweb   \033[31mFailed\033[0m\n  …\ndb    Ready\n");
}

static void durations_are_one_short_word(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{-5, "0s"}, {999, "0s"}, {119999, "119s"}, {120000, "2m"}, {7199999, "119m"},
        {7200000, "2h"}, {172800000, "2d"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[DURATION_SIZE];
        duration_format(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(a_column_may_be_much_wider_than_a_cell),
        cmocka_unit_test(no_cell_controls_the_terminal),
        cmocka_unit_test(characters_count_not_bytes),
        cmocka_unit_test(an_empty_last_cell_leaves_no_blanks),
        cmocka_unit_test(a_table_fits_the_terminal),
        cmocka_unit_test(durations_are_one_short_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

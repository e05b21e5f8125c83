/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
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
        cmocka_unit_test(characters_count_not_bytes),
        cmocka_unit_test(an_empty_last_cell_leaves_no_blanks),
        cmocka_unit_test(durations_are_one_short_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

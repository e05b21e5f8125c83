/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/help_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"

static void assert_folded(const char *text, unsigned columns, const char *expected)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    help_text_fold(&out, text, columns);
    assert_string_equal(buf_str(&out), expected);
}

static void a_line_that_is_too_wide_continues_under_its_second_column(void **state)
{
    (void)state;
    assert_folded("  -f, --file PATH    the VMFile to read\n", 60,
        "  -f, --file PATH    the VMFile to read\n");
    assert_folded(
        "  -f, --file F  the VMFile to read\n", 34, "  -f, --file F  the VMFile to read\n");
    assert_folded("  -f, --file F  the VMFile to read\n", 33,
        "  -f, --file F  the VMFile to\n                read\n");
    assert_folded(
        "  -f, --file F  the VMFile to read\n", 24, "  -f, --file F  the\n    VMFile to read\n");
}

static void prose_and_usages_are_broken_between_words(void **state)
{
    (void)state;
    assert_folded("one two three\nfour", 8, "one two\nthree\nfour");
    assert_folded(
        "Usage: vmctl up [OPTIONS] [VM...]", 26, "Usage: vmctl up [OPTIONS]\n         [VM...]");
    assert_folded("averylongword x", 5, "averylongword\nx");
    assert_folded("äöü äöü", 7, "äöü äöü");
}

static void the_lines_of_a_paragraph_become_one(void **state)
{
    (void)state;
    cleanup_buf struct buf out = BUF_INIT(0);
    help_text_add_prose(&out, "one\ntwo\n\nthree\n  a  list\n  b\nfour");
    assert_string_equal(buf_str(&out), "one two\n\nthree\n  a  list\n  b\nfour");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_that_is_too_wide_continues_under_its_second_column),
        cmocka_unit_test(prose_and_usages_are_broken_between_words),
        cmocka_unit_test(the_lines_of_a_paragraph_become_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

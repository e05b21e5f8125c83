/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/doctor/command_output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"

enum { LIMIT_MS = 60 * 1000 };

static int run_shell(char *script, int limit_ms, struct buf *out)
{
    char shell[] = "sh", option[] = "-c";
    char *const argv[] = {shell, option, script, NULL};
    return command_output(argv, limit_ms, out);
}

static void what_a_program_prints_and_its_status_are_told(void **state)
{
    (void)state;
    cleanup_buf struct buf out = BUF_INIT(0);
    char script[] = "echo one; echo hidden >&2; cat; echo two; exit 3";
    assert_int_equal(run_shell(script, LIMIT_MS, &out), 3);
    assert_string_equal(buf_str(&out), "one\ntwo\n");
}

static void a_program_that_is_not_there_is_told_from_one_that_fails(void **state)
{
    (void)state;
    cleanup_buf struct buf out = BUF_INIT(0);
    char name[] = "/nowhere/program";
    char *const argv[] = {name, NULL};
    assert_int_equal(command_output(argv, LIMIT_MS, &out), -1);
}

static void a_program_that_takes_too_long_is_killed(void **state)
{
    (void)state;
    cleanup_buf struct buf out = BUF_INIT(0);
    char script[] = "echo begun; exec sleep 1000";
    int64_t begun_ms = clock_monotonic_ms(clock_system());
    assert_int_equal(run_shell(script, 200, &out), -1);
    assert_true(clock_monotonic_ms(clock_system()) - begun_ms < LIMIT_MS);
}

static void a_program_that_was_killed_has_no_status(void **state)
{
    (void)state;
    cleanup_buf struct buf out = BUF_INIT(0);
    char script[] = "kill -9 $$";
    assert_int_equal(run_shell(script, LIMIT_MS, &out), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_program_prints_and_its_status_are_told),
        cmocka_unit_test(a_program_that_is_not_there_is_told_from_one_that_fails),
        cmocka_unit_test(a_program_that_takes_too_long_is_killed),
        cmocka_unit_test(a_program_that_was_killed_has_no_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

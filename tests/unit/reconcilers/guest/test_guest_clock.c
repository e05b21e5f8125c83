/* SPDX-License-Identifier: MPL-2.0 */
/* Setting a clock through a real sshd. Its programs `date`, `id` and `sudo` are the test's own: the
 * guest's clock is this host's and what the file "off" holds, in seconds. */
#include "reconcilers/guest/guest_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "reconcilers/backend/backend.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/support/ssh_fixture.h"

struct clock_test {
    struct ssh_fixture fixture; /* first */
    struct clock_result result;
};

static void write_program(const struct clock_test *test, const char *name, const char *text)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = mem_printf("%s/bin/%s", test->fixture.dir, name);
    cleanup_free char *program =
        mem_printf("#!/bin/sh\ncd %s || exit\n%s\n", test->fixture.dir, text);
    assert_int_equal(fs_write_file(path, program, strlen(program), 0700, &err), 0);
    assert_int_equal(chmod(path, 0700), 0);
}

static void set_off(const struct clock_test *test, const char *seconds)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = mem_printf("%s/off", test->fixture.dir);
    assert_int_equal(fs_write_file(path, seconds, strlen(seconds), 0600, &err), 0);
}

/* As GNU's; what it sets is known by "sets". */
static const char gnu_date[] =
    "now=$(/bin/date +%s.%N)\n"
    "case $3 in\n"
    "@*) echo \"$3\" >>sets; awk \"BEGIN { printf \\\"%.3f\\\", ${3#@} - $now }\" >off ;;\n"
    "*) awk \"BEGIN { printf \\\"%.9f\\\\n\\\", $now + $(cat off) }\" ;;\n"
    "esac";

/* As busybox': whole seconds only. */
static const char plain_date[] =
    "now=$(/bin/date +%s.%N)\n"
    "case $3 in\n"
    "@*.*) echo \"date: invalid date '$3'\" >&2; exit 1 ;;\n"
    "@*) echo \"$3\" >>sets; awk \"BEGIN { printf \\\"%.3f\\\", ${3#@} - $now }\" >off ;;\n"
    "*) awk \"BEGIN { printf \\\"%d.%%N\\\\n\\\", $now + $(cat off) }\" ;;\n"
    "esac";

static int setup(void **state)
{
    struct clock_test *test = mem_new(struct clock_test);
    struct error err = {.code = ERR_NONE};
    ssh_fixture_init(&test->fixture, (struct sshd_options){.has_own_programs = true});
    cleanup_free char *programs = mem_printf("%s/bin", test->fixture.dir);
    assert_int_equal(fs_make_dirs(programs, 0700, &err), 0);
    write_program(test, "date", gnu_date);
    write_program(test, "id", "case $1 in -un) echo vm ;; *) echo 0 ;; esac");
    write_program(test, "sudo", "shift; exec \"$@\"");
    ssh_fixture_open(&test->fixture);
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    struct clock_test *test = *state;
    free(test->result.refusal);
    ssh_fixture_clear(&test->fixture);
    free(test);
    return 0;
}

static enum error_code run(struct clock_test *test)
{
    (void)guest_clock_start(
        test->fixture.session, clock_system(), &test->result, ssh_fixture_done, &test->fixture);
    return ssh_fixture_wait(&test->fixture);
}

static double off_now(const struct clock_test *test)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(0);
    cleanup_free char *path = mem_printf("%s/off", test->fixture.dir);
    assert_int_equal(fs_read_file(path, &text, &err), 0);
    return strtod(buf_str(&text), NULL);
}

static bool was_touched(const struct clock_test *test)
{
    cleanup_free char *path = mem_printf("%s/sets", test->fixture.dir);
    return fs_exists(path);
}

static void a_right_clock_is_left_alone(void **state)
{
    struct clock_test *test = *state;
    set_off(test, "0");
    assert_int_equal(run(test), ERR_NONE);
    assert_false(test->result.was_set || test->result.refusal || was_touched(test));
    assert_true(llabs(test->result.off_ms) < CLOCK_RIGHT_MS);
}

static void a_wrong_one_is_set(void **state)
{
    struct clock_test *test = *state;
    static const char *const offs[] = {"-3605", "86400"};
    for (size_t i = 0; i < ARRAY_LEN(offs); i++) {
        set_off(test, offs[i]);
        assert_int_equal(run(test), ERR_NONE);
        assert_true(test->result.was_set && !test->result.refusal);
        assert_true(llabs(test->result.off_ms - atoll(offs[i]) * 1000) < CLOCK_RIGHT_MS);
        assert_true(off_now(test) > -1 && off_now(test) < 1);
    }
}

static void a_date_of_whole_seconds_will_do(void **state)
{
    struct clock_test *test = *state;
    write_program(test, "date", plain_date);
    set_off(test, "-3605.4");
    assert_int_equal(run(test), ERR_NONE);
    assert_true(test->result.was_set && !test->result.refusal);
    assert_true(off_now(test) > -1 && off_now(test) < 1);
}

static void a_user_goes_by_way_of_sudo(void **state)
{
    struct clock_test *test = *state;
    write_program(test, "id", "case $1 in -un) echo vm ;; *) echo 1000 ;; esac");
    write_program(test, "sudo", "[ \"$1\" = -n ] && shift && touch asked && exec \"$@\"");
    set_off(test, "-100");
    assert_int_equal(run(test), ERR_NONE);
    cleanup_free char *asked = mem_printf("%s/asked", test->fixture.dir);
    assert_true(test->result.was_set && fs_exists(asked));
    write_program(test, "sudo", "echo 'sudo: a password is required' >&2; exit 1");
    set_off(test, "-100");
    assert_int_equal(run(test), ERR_NONE);
    assert_string_equal(
        test->result.refusal, "user 'vm' may not set it: sudo: a password is required");
    assert_true(test->result.off_ms < -99000 && off_now(test) < -99);
}

static void a_clock_that_cannot_be_read_or_kept_is_reported(void **state)
{
    struct clock_test *test = *state;
    write_program(test, "date", "echo 'Sat Nov 28'");
    assert_int_equal(run(test), ERR_NONE);
    assert_string_equal(test->result.refusal, "its `date` does not print the time in seconds");
    assert_int_equal(test->result.off_ms, 0);
    write_program(test, "date", "[ $# = 3 ] || echo 1000.5"); /* obeys, to no avail */
    assert_int_equal(run(test), ERR_NONE);
    assert_non_null(strstr(test->result.refusal, "wrong again"));
    assert_false(test->result.was_set);
}

static void a_lost_connection_is_an_error_and_a_cancelled_one_none(void **state)
{
    struct clock_test *test = *state;
    set_off(test, "-100");
    struct op *op = guest_clock_start(
        test->fixture.session, clock_system(), &test->result, ssh_fixture_done, &test->fixture);
    op_cancel(op);
    assert_false(ssh_fixture_run_ms(&test->fixture, 50));
    ssh_session_close(TAKE_PTR(test->fixture.session));
    ssh_fixture_open(&test->fixture);
    (void)guest_clock_start(
        test->fixture.session, clock_system(), &test->result, ssh_fixture_done, &test->fixture);
    sshd_kill(test->fixture.sshd);
    assert_int_equal(ssh_fixture_wait(&test->fixture), ERR_SSH);
    assert_null(test->result.refusal);
}

#define CLOCK_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOCK_TEST(a_right_clock_is_left_alone),
        CLOCK_TEST(a_wrong_one_is_set),
        CLOCK_TEST(a_date_of_whole_seconds_will_do),
        CLOCK_TEST(a_user_goes_by_way_of_sudo),
        CLOCK_TEST(a_clock_that_cannot_be_read_or_kept_is_reported),
        CLOCK_TEST(a_lost_connection_is_an_error_and_a_cancelled_one_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

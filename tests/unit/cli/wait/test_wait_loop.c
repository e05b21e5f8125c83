/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/wait_loop.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

enum { LONG_MS = 60 * 1000, A_STATUS = 7 };

struct fixture {
    char directory[40];
    struct cli cli;
    struct wait_loop loop;
    int n_checks, n_interrupts;
    int done_at;  /* the check that is done; 0: none is */
    int fails_at; /* the check that returns A_STATUS */
    int raises;   /* a signal that the first check raises */
    bool rings;   /* each check rings the status bell */
    int64_t sleep_max_ms;
};

static int check(void *context, bool *ret_is_done, struct error *err)
{
    struct fixture *fixture = context;
    fixture->n_checks++;
    fixture->loop.sleep_max_ms = fixture->sleep_max_ms;
    *ret_is_done = fixture->n_checks == fixture->done_at;
    if (fixture->raises && fixture->n_checks == 1) {
        assert_int_equal(raise(fixture->raises), 0);
    }
    if (fixture->rings) {
        assert_int_equal(bell_ring(&fixture->cli.paths, BELL_STATUS, err), 0);
    }
    return fixture->n_checks == fixture->fails_at ? A_STATUS : 0;
}

static int time_out(void *context, struct error *err)
{
    (void)context;
    return error_set(err, ERR_TIMEOUT, "late");
}

static void count_interrupt(void *context)
{
    struct fixture *fixture = context;
    fixture->n_interrupts++;
}

static int set_up(void **state)
{
    struct fixture *fixture = mem_new(struct fixture);
    struct error err = {.code = ERR_NONE};
    (void)snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/test_wait_loop.XXXXXX");
    *state = fixture;
    fixture->loop = (struct wait_loop){.cli = &fixture->cli,
        .check = check,
        .time_out = time_out,
        .interrupted = count_interrupt,
        .context = fixture};
    return mkdtemp(fixture->directory) ? paths_init(&fixture->cli.paths, fixture->directory, &err)
                                       : -1;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *bell = paths_path(&fixture->cli.paths, "status.bell");
    (void)unlink(bell);
    (void)rmdir(fixture->directory);
    paths_clear(&fixture->cli.paths);
    free(fixture);
    return 0;
}

/* Runs the loop and fails when it slept for long. */
static int run(struct fixture *fixture, int64_t timeout_ms, struct error *err)
{
    int64_t begun_ms = clock_monotonic_ms(clock_system());
    wait_loop_open(&fixture->loop, timeout_ms);
    int rc = wait_loop_run(&fixture->loop, err);
    wait_loop_close(&fixture->loop);
    assert_true(clock_monotonic_ms(clock_system()) - begun_ms < LONG_MS / 2);
    return rc;
}

static void a_check_that_is_done_ends_it(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {.code = ERR_NONE};
    fixture->done_at = 3;
    fixture->rings = true;
    assert_int_equal(run(fixture, LONG_MS, &err), 0);
    assert_int_equal(fixture->n_checks, 3);
    assert_int_equal(fixture->n_interrupts, 0);
}

static void what_a_check_returns_ends_it(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {.code = ERR_NONE};
    fixture->fails_at = 1;
    assert_int_equal(run(fixture, INT64_MAX, &err), A_STATUS);
    assert_int_equal(fixture->n_checks, 1);
}

static void the_deadline_comes_after_a_check(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {.code = ERR_NONE};
    assert_int_equal(run(fixture, 0, &err), -ERR_TIMEOUT);
    assert_int_equal(fixture->n_checks, 1);
    assert_int_equal(wait_loop_left_ms(&fixture->loop), 0);
}

static void the_check_decides_how_soon_it_is_called_again(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {.code = ERR_NONE};
    fixture->sleep_max_ms = 1;
    fixture->done_at = 500;
    assert_int_equal(run(fixture, LONG_MS, &err), 0);
    assert_int_equal(fixture->n_checks, 500); /* a second each would be too long for run() */
}

static void every_signal_that_would_end_the_process_ends_it(void **state)
{
    struct fixture *fixture = *state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        struct error err = {.code = ERR_NONE};
        fixture->raises = signals[i];
        fixture->n_checks = fixture->n_interrupts = 0;
        assert_int_equal(run(fixture, LONG_MS, &err), 128 + signals[i]);
        assert_int_equal(fixture->n_interrupts, 1);
        assert_int_equal(err.code, ERR_NONE);
    }
}

/* Runs the loop with a pipe that no one reads in the place of stdout. */
static int run_without_reader(struct fixture *fixture, int64_t timeout_ms, struct error *err)
{
    int ends[2];
    cleanup_close int stdout_before = dup(STDOUT_FILENO);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    (void)fflush(stdout);
    (void)dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    int rc = run(fixture, timeout_ms, err);
    (void)dup2(stdout_before, STDOUT_FILENO);
    return rc;
}

static void the_end_of_the_reader_ends_it_as_sigpipe_would(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {.code = ERR_NONE};
    assert_int_equal(run_without_reader(fixture, LONG_MS, &err), 128 + SIGPIPE);
    assert_int_equal(fixture->n_interrupts, 1);
}

static void a_command_whose_stdout_is_anothers_ignores_the_reader(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {.code = ERR_NONE};
    fixture->loop.ignores_reader = true;
    assert_int_equal(run_without_reader(fixture, 20, &err), -ERR_TIMEOUT);
    assert_int_equal(fixture->n_interrupts, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_check_that_is_done_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_check_returns_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_deadline_comes_after_a_check, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            the_check_decides_how_soon_it_is_called_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            every_signal_that_would_end_the_process_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            the_end_of_the_reader_ends_it_as_sigpipe_would, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_command_whose_stdout_is_anothers_ignores_the_reader, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

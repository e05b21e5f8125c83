/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/wakeup.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"

enum { LONG_MS = 60 * 1000 };

struct fixture {
    char directory[32];
    struct paths paths;
    struct wakeup wakeup;
    int64_t opened_ms;
};

static int64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

static int set_up(void **state)
{
    struct fixture *fixture = mem_new(struct fixture);
    struct error err = {.code = ERR_NONE};
    (void)snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/test_news.XXXXXX");
    *state = fixture;
    if (!mkdtemp(fixture->directory) || paths_init(&fixture->paths, fixture->directory, &err) < 0) {
        return -1;
    }
    fixture->opened_ms = now_ms();
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *bell = paths_path(&fixture->paths, "status.bell");
    (void)unlink(bell);
    (void)rmdir(fixture->directory);
    paths_clear(&fixture->paths);
    free(fixture);
    return 0;
}

static void assert_was_quick(const struct fixture *fixture)
{
    assert_true(now_ms() - fixture->opened_ms < LONG_MS / 2);
}

static void a_bell_rung_before_the_wait_ends_it(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {.code = ERR_NONE};
    wakeup_open(&fixture->wakeup, &fixture->paths);
    assert_int_equal(bell_ring(&fixture->paths, BELL_STATUS, &err), 0);
    assert_int_equal(wakeup_wait(&fixture->wakeup, LONG_MS), 0);
    assert_was_quick(fixture);
    wakeup_close(&fixture->wakeup);
}

static void the_time_ends_a_wait(void **state)
{
    struct fixture *fixture = *state;
    wakeup_open(&fixture->wakeup, &fixture->paths);
    assert_int_equal(wakeup_wait(&fixture->wakeup, 0), 0);
    assert_int_equal(wakeup_wait(&fixture->wakeup, -1), 0);
    assert_was_quick(fixture);
    wakeup_close(&fixture->wakeup);
}

static void the_end_of_a_process_ends_a_wait(void **state)
{
    struct fixture *fixture = *state;
    wakeup_open(&fixture->wakeup, &fixture->paths);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    fixture->wakeup.process_fd = pidfd_open(pid, 0);
    assert_true(fixture->wakeup.process_fd >= 0);
    assert_int_equal(wakeup_wait(&fixture->wakeup, LONG_MS), 0);
    assert_was_quick(fixture);
    wakeup_close(&fixture->wakeup);
    assert_int_equal(fixture->wakeup.process_fd, -1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void without_a_bell_waits_are_short(void **state)
{
    struct fixture *fixture = *state;
    wakeup_open(&fixture->wakeup, &fixture->paths);
    bell_watch_close(&fixture->wakeup.bell);
    assert_int_equal(wakeup_wait(&fixture->wakeup, LONG_MS), 0);
    assert_was_quick(fixture);
    wakeup_close(&fixture->wakeup);
}

static void a_signal_ends_the_wait_and_not_the_process(void **state)
{
    struct fixture *fixture = *state;
    wakeup_open(&fixture->wakeup, &fixture->paths);
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(wakeup_wait(&fixture->wakeup, LONG_MS), SIGTERM);
    assert_int_equal(raise(SIGINT), 0);
    assert_int_equal(wakeup_wait(&fixture->wakeup, LONG_MS), SIGINT);
    assert_int_equal(wakeup_exit_status(SIGINT), 130);
    assert_int_equal(wakeup_exit_status(SIGTERM), 143);
    wakeup_close(&fixture->wakeup);
}

static void an_ignored_signal_stays_ignored(void **state)
{
    struct fixture *fixture = *state;
    (void)signal(SIGINT, SIG_IGN);
    wakeup_open(&fixture->wakeup, &fixture->paths);
    assert_int_equal(raise(SIGINT), 0);
    assert_int_equal(wakeup_wait(&fixture->wakeup, 0), 0);
    wakeup_close(&fixture->wakeup);
    (void)signal(SIGINT, SIG_DFL);
}

static void closing_gives_the_signals_back(void **state)
{
    struct fixture *fixture = *state;
    sigset_t before, after;
    sigprocmask(SIG_BLOCK, NULL, &before);
    wakeup_open(&fixture->wakeup, &fixture->paths);
    wakeup_close(&fixture->wakeup);
    sigprocmask(SIG_BLOCK, NULL, &after);
    assert_int_equal(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
    assert_int_equal(sigismember(&after, SIGINT), 0);
}

/* Puts a pipe without a reader in the place of stdout for one wait. */
static int wait_without_reader(struct fixture *fixture)
{
    int ends[2];
    cleanup_close int stdout_before = dup(STDOUT_FILENO);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    (void)fflush(stdout);
    (void)dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    int number = wakeup_wait(&fixture->wakeup, LONG_MS);
    (void)dup2(stdout_before, STDOUT_FILENO);
    return number;
}

static void a_reader_that_is_gone_ends_what_feeds_it(void **state)
{
    struct fixture *fixture = *state;
    wakeup_open(&fixture->wakeup, &fixture->paths);
    fixture->wakeup.feeds_reader = true;
    assert_int_equal(wait_without_reader(fixture), SIGPIPE);
    assert_was_quick(fixture);
    wakeup_close(&fixture->wakeup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_bell_rung_before_the_wait_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_time_ends_a_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_of_a_process_ends_a_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_bell_waits_are_short, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_signal_ends_the_wait_and_not_the_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_ignored_signal_stays_ignored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_gives_the_signals_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_reader_that_is_gone_ends_what_feeds_it, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/clock.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"

static int64_t read_ms(clockid_t id)
{
    struct timespec t;
    assert_int_equal(clock_gettime(id, &t), 0);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 0: the clock does not count suspension, 1: it does, 2: it cannot be found out here. */
static int child_of_a_host_that_slept(void)
{
    static const char offset[] = "boottime 100000 0\n";
    cleanup_close int fd = -1;
    if (unshare(CLONE_NEWTIME) < 0 ||
        (fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC)) < 0 ||
        write(fd, offset, sizeof(offset) - 1) < 0) {
        return 2;
    }
    pid_t pid = fork(); /* the namespace is entered by children only: time_namespaces(7) */
    if (pid == 0) {
        int64_t now_ms = clock_monotonic_ms(clock_system());
        _exit(now_ms - read_ms(CLOCK_MONOTONIC) > 50000 * 1000 ? 1 : 0);
    }
    int status = -1;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
                                                                           : 2;
}

static void assert_time_text(int64_t wall_ms)
{
    char text[CLOCK_TEXT_SIZE], expected[CLOCK_TEXT_SIZE];
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    assert_non_null(gmtime_r(&seconds, &tm));
    assert_int_equal(strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%SZ", &tm), 20);
    clock_format_utc(wall_ms, text);
    assert_string_equal(text, expected);
}

static void a_time_is_written_as_strftime_would(void **state)
{
    static const int64_t end_ms = 253402300799999; /* of the year 9999 */
    static const int64_t times_ms[] = {0, 1, 951782400000, 1709210096999, 4107542399999, end_ms};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(times_ms); i++) {
        assert_time_text(times_ms[i]);
    }
    for (int64_t ms = 0; ms <= end_ms; ms += 26 * INT64_C(86399987)) { /* each day of a month */
        assert_time_text(ms);
    }
}

/* In a time namespace CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC as after a suspension. */
static void the_time_that_the_host_was_suspended_does_not_count(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(child_of_a_host_that_slept());
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 2) {
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void the_clock_goes_with_the_loops_timers(void **state)
{
    (void)state;
    int64_t before_ms = read_ms(CLOCK_MONOTONIC);
    int64_t now_ms = clock_monotonic_ms(clock_system());
    assert_true(before_ms <= now_ms && now_ms <= read_ms(CLOCK_MONOTONIC));
}

static void the_boot_id_is_one_and_the_same(void **state)
{
    (void)state;
    const char *boot_id = clock_boot_id(clock_system());
    assert_int_equal(strlen(boot_id), CLOCK_BOOT_ID_SIZE - 1);
    assert_ptr_equal(boot_id, clock_boot_id(clock_system()));
}

/* 0: "" while no descriptor was left, the id once there was one. */
static int child_without_descriptors(void)
{
    struct rlimit usual, none;
    if (getrlimit(RLIMIT_NOFILE, &usual) < 0) {
        return 1;
    }
    none = usual;
    none.rlim_cur = 0;
    if (setrlimit(RLIMIT_NOFILE, &none) < 0 || clock_boot_id(clock_system())[0] != '\0') {
        return 2;
    }
    (void)setrlimit(RLIMIT_NOFILE, &usual);
    return strlen(clock_boot_id(clock_system())) == CLOCK_BOOT_ID_SIZE - 1 ? 0 : 3;
}

/* In a child, and before this process has read it. */
static void a_boot_id_that_could_not_be_read_is_read_by_the_next_caller(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(child_without_descriptors());
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_is_written_as_strftime_would),
        cmocka_unit_test(the_time_that_the_host_was_suspended_does_not_count),
        cmocka_unit_test(the_clock_goes_with_the_loops_timers),
        cmocka_unit_test(a_boot_id_that_could_not_be_read_is_read_by_the_next_caller),
        cmocka_unit_test(the_boot_id_is_one_and_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

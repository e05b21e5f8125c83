/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/log_times.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/log_file.h"
#include "specs/base/mem.h"
#include "tests/support/sshd.h"

enum { BEGIN_MS = 1800000000 };

struct times_test {
    char *dir, *path;
    int fd;
    struct log_times_writer writer;
    struct log_times times;
};

static void open_log(struct times_test *test)
{
    test->fd = open(test->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(test->fd >= 0);
    log_times_open(&test->writer, test->path, test->fd);
    assert_true(test->writer.fd >= 0);
}

static void close_log(struct times_test *test)
{
    log_times_close(&test->writer);
    close(test->fd);
}

static int setup(void **state)
{
    struct times_test *test = mem_new(struct times_test);
    test->dir = test_dir_make();
    test->path = mem_printf("%s/log", test->dir);
    open_log(test);
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    struct times_test *test = *state;
    close_log(test);
    log_times_clear(&test->times);
    free(test->path);
    test_dir_remove(test->dir);
    free(test);
    return 0;
}

static void append(struct times_test *test, const char *text, int64_t after_ms)
{
    log_times_note(&test->writer, test->fd, BEGIN_MS + after_ms);
    assert_int_equal(write(test->fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int64_t at(const struct times_test *test, uint64_t offset)
{
    uint64_t end;
    int64_t ms = log_times_at(&test->times, offset, &end);
    return ms ? ms - BEGIN_MS : -1;
}

static void read_times(struct times_test *test)
{
    struct stat st;
    assert_int_equal(stat(test->path, &st), 0);
    log_times_read(&test->times, test->path, st.st_ino);
}

static void each_byte_has_the_time_of_its_second(void **state)
{
    struct times_test *test = *state;
    uint64_t end;
    append(test, "0123", 0);
    append(test, "4567", 999); /* within the same second */
    append(test, "89", 1000);
    append(test, "ab", 500000);
    read_times(test);
    assert_int_equal(test->times.count, 3);
    assert_true(at(test, 0) == 0 && at(test, 7) == 0 && at(test, 8) == 1000 && at(test, 9) == 1000);
    assert_true(at(test, 10) == 500000 && at(test, 1000) == 500000);
    (void)log_times_at(&test->times, 3, &end);
    assert_int_equal(end, 8);
    (void)log_times_at(&test->times, 10, &end);
    assert_true(end == UINT64_MAX);
    assert_int_equal(log_times_since(&test->times, BEGIN_MS - 5000), 0);
    assert_int_equal(log_times_since(&test->times, BEGIN_MS + 999), 0); /* some came then */
    assert_int_equal(log_times_since(&test->times, BEGIN_MS + 1000), 8);
    assert_int_equal(log_times_since(&test->times, BEGIN_MS + 2000), 10);
    assert_true(log_times_since(&test->times, BEGIN_MS + 501000) == UINT64_MAX);
}

static void a_clock_that_was_set_back_is_believed(void **state)
{
    struct times_test *test = *state;
    append(test, "before", 3600000);
    append(test, "after", 10);
    read_times(test);
    assert_true(at(test, 0) == 3600000 && at(test, 6) == 10);
}

static void it_is_continued_and_a_cut_pair_is_taken_off(void **state)
{
    struct times_test *test = *state;
    append(test, "one", 0);
    assert_int_equal(write(test->writer.fd, "cut", 3), 3);
    close_log(test);
    open_log(test);
    append(test, "two", 5000);
    read_times(test);
    assert_true(test->times.count == 2 && at(test, 0) == 0 && at(test, 3) == 5000);
}

/* Also a log that was cut: what was known of the bytes that are gone is not true of the new ones.
 */
static void another_log_has_no_times_of_this_one(void **state)
{
    struct times_test *test = *state;
    append(test, "0123456789", 0);
    append(test, "abc", 5000);
    assert_int_equal(ftruncate(test->fd, 4), 0);
    append(test, "xyz", 9000);
    read_times(test);
    assert_true(test->times.count == 2 && at(test, 3) == 0 && at(test, 4) == 9000);
    cleanup_free char *moved = mem_printf("%s/moved", test->dir);
    assert_int_equal(rename(test->path, moved), 0);
    int fd = open(test->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    read_times(test);
    assert_int_equal(test->times.count, 0);
    close(fd);
    close_log(test);
    open_log(test);
    append(test, "new", 11000);
    read_times(test);
    assert_true(test->times.count == 1 && at(test, 0) == 11000);
}

static void times_follow_their_log_when_it_becomes_the_predecessor(void **state)
{
    struct times_test *test = *state;
    struct stat st;
    append(test, "0123456789", 0);
    assert_int_equal(log_file_begin(test->path, 9), 0);
    cleanup_free char *older = log_file_predecessor(test->path);
    assert_int_equal(stat(older, &st), 0);
    log_times_read(&test->times, older, st.st_ino);
    assert_true(test->times.count == 1 && at(test, 0) == 0);
    close_log(test);
    open_log(test);
    append(test, "x", 7000);
    read_times(test);
    assert_true(test->times.count == 1 && at(test, 0) == 7000);
}

#define TIMES_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TIMES_TEST(each_byte_has_the_time_of_its_second),
        TIMES_TEST(a_clock_that_was_set_back_is_believed),
        TIMES_TEST(it_is_continued_and_a_cut_pair_is_taken_off),
        TIMES_TEST(another_log_has_no_times_of_this_one),
        TIMES_TEST(times_follow_their_log_when_it_becomes_the_predecessor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

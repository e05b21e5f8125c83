/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/log_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

struct scratch {
    char *dir, *log, *older;
    int writer; /* as QEMU has it open */
};

static int set_up(void **state)
{
    char template[] = "/tmp/vmctl-log-file-XXXXXX";
    struct scratch *scratch = mem_new(struct scratch);
    scratch->dir = mem_strdup(mkdtemp(template));
    scratch->log = fs_join(scratch->dir, "log");
    scratch->older = log_file_predecessor(scratch->log);
    scratch->writer = open(scratch->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    *state = scratch;
    return scratch->writer >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    struct scratch *scratch = *state;
    struct error err = {.code = ERR_NONE};
    int rc = fs_remove_tree(scratch->dir, &err);
    close(scratch->writer);
    free(scratch->dir);
    free(scratch->log);
    free(scratch->older);
    free(scratch);
    return rc;
}

static void put(struct scratch *scratch, const char *text)
{
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_write_all(scratch->writer, text, strlen(text), &err), 0);
}

static void assert_file(const char *path, const char *expected)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(0);
    assert_int_equal(fs_read_file(path, &text, &err), 0);
    assert_string_equal(buf_str(&text), expected);
}

static void assert_tail(struct scratch *scratch, size_t n, const char *expected)
{
    char bytes[64] = "";
    assert_true(n < sizeof(bytes));
    assert_int_equal(log_file_read_tail(scratch->log, bytes, n), strlen(expected));
    assert_string_equal(bytes, expected);
}

static void a_log_within_its_bound_is_left_alone(void **state)
{
    struct scratch *scratch = *state;
    struct error err = {.code = ERR_NONE};
    put(scratch, "12345678");
    assert_int_equal(log_file_rotate(scratch->log, 8, &err), 0);
    assert_file(scratch->log, "12345678");
    assert_false(fs_exists(scratch->older));
}

/* The writer has the file open all the time and writes behind what is there. */
static void the_last_bytes_become_the_predecessor_and_the_writer_begins_at_the_start(void **state)
{
    struct scratch *scratch = *state;
    struct error err = {.code = ERR_NONE};
    put(scratch, "0123456789");
    assert_int_equal(log_file_rotate(scratch->log, 8, &err), 0);
    assert_file(scratch->older, "23456789");
    put(scratch, "abc");
    assert_file(scratch->log, "abc");
    put(scratch, "defghij");
    assert_int_equal(log_file_rotate(scratch->log, 8, &err), 0);
    assert_file(scratch->older, "cdefghij");
    assert_int_equal(fs_size(scratch->log), 0);
    struct stat st;
    assert_int_equal(stat(scratch->older, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

/* Longer than what is copied at a time. */
static void a_large_log_is_copied_whole(void **state)
{
    struct scratch *scratch = *state;
    struct error err = {.code = ERR_NONE};
    enum { SIZE = 300000 };
    cleanup_free char *text = mem_calloc(1, SIZE + 1);
    for (int i = 0; i < SIZE; i++) {
        text[i] = (char)('a' + i % 23);
    }
    put(scratch, text);
    assert_int_equal(log_file_rotate(scratch->log, SIZE - 1, &err), 0);
    assert_file(scratch->older, text + 1);
}

static void what_cannot_be_kept_is_dropped_and_told(void **state)
{
    struct scratch *scratch = *state;
    struct error err = {.code = ERR_NONE};
    assert_int_equal(mkdir(scratch->older, 0700), 0);
    put(scratch, "0123456789");
    assert_int_equal(log_file_rotate(scratch->log, 8, &err), -ERR_IO);
    assert_non_null(strstr(err.message, "was emptied"));
    assert_int_equal(fs_size(scratch->log), 0);
}

static void links_and_missing_logs_are_left_alone(void **state)
{
    struct scratch *scratch = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_free char *victim = fs_join(scratch->dir, "victim");
    char byte;
    assert_int_equal(fs_write_file(victim, "0123456789", 10, 0600, &err), 0);
    assert_int_equal(unlink(scratch->log), 0);
    assert_int_equal(log_file_rotate(scratch->log, 8, &err), 0);
    assert_int_equal(log_file_read_tail(scratch->log, &byte, 1), -1);
    assert_int_equal(symlink(victim, scratch->log), 0);
    assert_int_equal(log_file_rotate(scratch->log, 8, &err), 0);
    assert_int_equal(log_file_read_tail(scratch->log, &byte, 1), -1);
    assert_int_equal(unlink(scratch->log), 0);
    assert_int_equal(symlink(victim, scratch->older), 0); /* planted where the copy goes */
    assert_int_equal(fs_write_file(scratch->log, "0123456789", 10, 0600, &err), 0);
    assert_int_equal(log_file_rotate(scratch->log, 8, &err), -ERR_IO);
    assert_file(victim, "0123456789");
}

static void a_log_that_nobody_writes_begins_empty_once_it_is_too_large(void **state)
{
    struct scratch *scratch = *state;
    put(scratch, "12345678");
    assert_int_equal(log_file_begin(scratch->log, 8), 8);
    put(scratch, "9");
    assert_int_equal(log_file_begin(scratch->log, 8), 0);
    assert_false(fs_exists(scratch->log));
    assert_file(scratch->older, "123456789");
    assert_int_equal(log_file_begin(scratch->log, 8), 0);
}

static void a_tail_goes_back_into_the_predecessor(void **state)
{
    struct scratch *scratch = *state;
    struct error err = {.code = ERR_NONE};
    put(scratch, "abcdef");
    assert_tail(scratch, 4, "cdef");
    assert_tail(scratch, 20, "abcdef");
    assert_int_equal(fs_write_file(scratch->older, "1234", 4, 0600, &err), 0);
    assert_tail(scratch, 6, "abcdef");
    assert_tail(scratch, 8, "34abcdef");
    assert_tail(scratch, 20, "1234abcdef");
    assert_int_equal(ftruncate(scratch->writer, 0), 0);
    assert_tail(scratch, 3, "234");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_log_within_its_bound_is_left_alone),
        TEST(the_last_bytes_become_the_predecessor_and_the_writer_begins_at_the_start),
        TEST(a_large_log_is_copied_whole),
        TEST(what_cannot_be_kept_is_dropped_and_told),
        TEST(links_and_missing_logs_are_left_alone),
        TEST(a_log_that_nobody_writes_begins_empty_once_it_is_too_large),
        TEST(a_tail_goes_back_into_the_predecessor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

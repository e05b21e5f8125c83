/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/qemu_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

static char *const argv[] = {(char[]){"/usr/bin/qemu"}, (char[]){"-S"}, NULL};

struct fixture {
    char dir[64];
    char *path;
};

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    strcpy(f->dir, "/tmp/vmctl-qemu-log-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->path = fs_join(f->dir, "qemu.log");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    assert_int_equal(fs_remove_tree(f->dir, &err), 0);
    free(f->path);
    free(f);
    return 0;
}

/* A new instance that says `text`. */
static void run_instance(struct fixture *f, const char *text)
{
    struct error err = {0};
    cleanup_close int fd = -1;
    assert_int_equal(qemu_log_open(f->path, 0, "iid", argv, &fd, &err), 0);
    assert_int_equal(fs_write_all(fd, text, strlen(text), &err), 0);
}

static void expect_last_line(struct fixture *f, const char *expected)
{
    cleanup_free char *line = qemu_log_last_line(f->path);
    if (expected) {
        assert_non_null(line);
        assert_string_equal(line, expected);
    } else {
        assert_null(line);
    }
}

static void a_new_instance_gets_a_headline(void **state)
{
    struct fixture *f = *state;
    run_instance(f, "");
    cleanup_buf struct buf text = BUF_INIT(0);
    struct error err = {0};
    assert_int_equal(fs_read_file(f->path, &text, &err), 0);
    assert_string_equal(text.data, "vmctl: 1970-01-01T00:00:00Z instance iid: /usr/bin/qemu -S\n");
}

static void the_last_line_that_says_something_is_found(void **state)
{
    struct fixture *f = *state;
    run_instance(f, "first\nqemu: the reason \r\nVNC server running on 127.0.0.1:5900\n\n  \n"
                    "swtpm: Data client disconnected\n");
    expect_last_line(f, "qemu: the reason");
}

static void a_machine_type_that_is_gone_is_explained(void **state)
{
    struct fixture *f = *state;
    run_instance(f, "qemu-system-x86_64: unsupported machine type\nUse -machine help to list "
                    "supported machines\n");
    expect_last_line(f, "this QEMU does not have the VM's machine type: install one that does, or "
                        "take its newest with `machine \"q35\"` in the VMFile");
}

static void a_line_without_an_end_counts(void **state)
{
    struct fixture *f = *state;
    run_instance(f, "a\nb");
    expect_last_line(f, "b");
}

static void what_an_instance_before_said_does_not_count(void **state)
{
    struct fixture *f = *state;
    run_instance(f, "old trouble\n");
    run_instance(f, "");
    expect_last_line(f, NULL);
}

static void a_missing_or_empty_log_has_no_last_line(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    expect_last_line(f, NULL);
    assert_int_equal(fs_write_file(f->path, "", 0, 0600, &err), 0);
    expect_last_line(f, NULL);
}

static void escape_sequences_are_not_passed_on(void **state)
{
    struct fixture *f = *state;
    run_instance(f, "\x1b[31mred\x07\n");
    cleanup_free char *line = qemu_log_last_line(f->path);
    assert_null(strchr(line, '\x1b'));
    assert_null(strchr(line, '\x07'));
    assert_non_null(strstr(line, "red"));
}

static void a_flood_is_cut(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *flood = mem_calloc((2 << 20) + 1, 1);
    memset(flood, 'x', 2 << 20);
    run_instance(f, flood);
    cleanup_free char *line = qemu_log_last_line(f->path);
    assert_int_equal(strlen(line), 400);
}

static void a_log_grown_too_large_starts_over(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *flood = mem_calloc(QEMU_LOG_MAX + 1, 1);
    memset(flood, 'x', QEMU_LOG_MAX);
    run_instance(f, flood);
    assert_true(fs_size(f->path) > QEMU_LOG_MAX);
    run_instance(f, "hello\n");
    assert_true(fs_size(f->path) < 200);
    expect_last_line(f, "hello");
}

static void a_symbolic_link_is_not_followed(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    int fd = -1;
    assert_int_equal(symlink("/etc/passwd", f->path), 0);
    assert_int_equal(qemu_log_open(f->path, 0, "iid", argv, &fd, &err), -ERR_IO);
    expect_last_line(f, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_instance_gets_a_headline),
        TEST(the_last_line_that_says_something_is_found),
        TEST(a_machine_type_that_is_gone_is_explained),
        TEST(a_line_without_an_end_counts),
        TEST(what_an_instance_before_said_does_not_count),
        TEST(a_missing_or_empty_log_has_no_last_line),
        TEST(escape_sequences_are_not_passed_on),
        TEST(a_flood_is_cut),
        TEST(a_log_grown_too_large_starts_over),
        TEST(a_symbolic_link_is_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

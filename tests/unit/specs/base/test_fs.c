/* SPDX-License-Identifier: MPL-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

static int set_up(void **state)
{
    char template[] = "/tmp/vmctl-fs-XXXXXX";
    *state = mem_strdup(mkdtemp(template));
    return 0;
}

static int tear_down(void **state)
{
    struct error err = {.code = ERR_NONE};
    int rc = fs_remove_tree(*state, &err);
    free(*state);
    return rc;
}

static void write_file(const char *path, const char *text)
{
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_write_file(path, text, strlen(text), 0600, &err), 0);
}

static void a_published_file_has_its_name_its_mode_and_no_other_name(void **state)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(64);
    cleanup_free char *from = fs_join(*state, "disk.tmp-1");
    cleanup_free char *to = fs_join(*state, "disk");
    struct stat st;
    write_file(from, "new");
    write_file(to, "old");
    assert_int_equal(fs_publish(from, to, 0444, &err), 0);
    assert_false(fs_exists(from));
    assert_int_equal(fs_read_file(to, &text, &err), 0);
    assert_string_equal(buf_str(&text), "new");
    assert_int_equal(stat(to, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);
}

/* A writer who opens the pipe after its reader is waited for; a reader of files does not even try.
 */
static void a_pipe_is_read_only_where_one_is_wanted(void **state)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(64);
    cleanup_free char *pipe = fs_join(*state, "pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_true(fs_read_regular(pipe, &text, &err) < 0);
    assert_int_equal(err.sys_errno, EINVAL);
    error_clear(&err);
    assert_true(fs_read_regular(*state, &text, &err) < 0);
    assert_int_equal(err.sys_errno, EISDIR);
    error_clear(&err);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(pipe, O_WRONLY);
        _exit(write(fd, "late", 4) == 4 ? 0 : 1);
    }
    assert_int_equal(fs_read_file(pipe, &text, &err), 0);
    assert_string_equal(buf_str(&text), "late");
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* A regular file by its looks, which a read of more than there is waits at without end. */
static void the_kernels_messages_are_not_waited_for(void **state)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(0);
    (void)state;
    if (access("/proc/kmsg", R_OK) < 0) {
        skip();
    }
    (void)alarm(60);
    assert_true(fs_read_file("/proc/kmsg", &text, &err) < 0);
    (void)alarm(0);
}

/* root/vms/web with a file in it, and root/elsewhere with another. */
static void plant(const char *root)
{
    static const char *const dirs[] = {"vms/web", "elsewhere/web"};
    struct error err = {.code = ERR_NONE};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        cleanup_free char *dir = fs_join(root, dirs[i]);
        cleanup_free char *file = fs_join(dir, "disk");
        assert_int_equal(fs_make_dirs(dir, 0700, &err), 0);
        write_file(file, "x");
    }
}

static void a_removal_below_a_root_follows_no_link(void **state)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *vms = fs_join(*state, "vms");
    cleanup_free char *aside = fs_join(*state, "aside");
    cleanup_free char *precious = fs_join(*state, "elsewhere/web/disk");
    cleanup_free char *link_in_vm = fs_join(*state, "vms/web/link");
    plant(*state);
    assert_int_equal(symlink("../../elsewhere/web", link_in_vm), 0);
    assert_int_equal(fs_remove_beneath(*state, "vms", "web", &err), 0);
    assert_int_equal(fs_remove_beneath(*state, "vms", "web", &err), 0); /* twice is fine */
    assert_true(fs_exists(precious));
    assert_int_equal(rename(vms, aside), 0);
    assert_int_equal(symlink("elsewhere", vms), 0);
    assert_int_equal(fs_remove_beneath(*state, "vms", "web", &err), -ERR_IO);
    assert_non_null(strstr(err.message, "symbolic link"));
    assert_true(fs_exists(precious));
}

static void what_is_no_name_of_an_entry_is_not_removed(void **state)
{
    static const char *const names[] = {"", ".", "..", "../elsewhere", "web/disk", "/tmp"};
    cleanup_free char *precious = fs_join(*state, "elsewhere/web/disk");
    plant(*state);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct error err = {.code = ERR_NONE};
        assert_int_equal(fs_remove_beneath(*state, "vms", names[i], &err), -ERR_IO);
        error_clear(&err);
        assert_true(fs_open_beneath(*state, names[i], &err) < 0 || strchr(names[i], 'b'));
    }
    assert_true(fs_exists(precious));
}

static void what_is_not_there_cannot_be_published(void **state)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *from = fs_join(*state, "absent");
    cleanup_free char *to = fs_join(*state, "disk");
    write_file(to, "old");
    assert_int_equal(fs_publish(from, to, 0600, &err), -ERR_IO);
    assert_non_null(strstr(err.message, from));
    assert_int_equal(fs_size(to), 3);
}

static void count_name(void *context, int dir_fd, const char *name)
{
    struct stat st;
    assert_int_equal(fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(strcmp(name, "a") == 0 || strcmp(name, ".hidden") == 0);
    ++*(int *)context;
}

static void every_entry_is_shown_but_the_directory_itself_and_its_parent(void **state)
{
    int n = 0;
    cleanup_free char *a = fs_join(*state, "a");
    cleanup_free char *hidden = fs_join(*state, ".hidden");
    cleanup_free char *absent = fs_join(*state, "absent");
    write_file(a, "");
    write_file(hidden, "");
    fs_each_entry(*state, count_name, &n);
    assert_int_equal(n, 2);
    fs_each_entry(absent, count_name, &n);
    assert_int_equal(n, 2);
}

static void data_is_found_between_holes_and_an_error_is_no_end(void **state)
{
    enum { HOLE = 1 << 20 };
    int64_t at = 0, end = 0;
    int ends[2];
    cleanup_free char *path = fs_join(*state, "disk");
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(fs_next_data(fd, &at, &end), 0); /* of an empty file */
    assert_int_equal(pwrite(fd, "x", 1, HOLE), 1);
    assert_int_equal(ftruncate(fd, (off_t)3 * HOLE), 0);
    assert_int_equal(fs_next_data(fd, &at, &end), 1);
    assert_true(at <= HOLE && end > HOLE);
    at = end;
    while (fs_next_data(fd, &at, &end) == 1) { /* a file system need not have holes */
        assert_true(end > at);
        at = end;
    }
    assert_int_equal(fs_next_data(fd, &at, &end), 0);
    assert_int_equal(pipe(ends), 0);
    at = 0;
    assert_int_equal(fs_next_data(ends[0], &at, &end), -1);
    assert_int_equal(errno, ESPIPE);
    close(ends[0]);
    close(ends[1]);
}

static void a_path_is_resolved_by_its_components(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"x", "/base/dir/x"},
        {"./x//y/.", "/base/dir/x/y"},
        {"../x", "/base/x"},
        {"x/../../..", "/"},
        {"../../../x", "/x"},
        {"/a/b/../c", "/a/c"},
        {"/a/..b/...", "/a/..b/..."},
        {"~", "/home/me"},
        {"~/x", "/home/me/x"},
        {"~x", "/base/dir/~x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup_free char *path = fs_resolve(cases[i][0], "/base/dir", "/home/me");
        assert_string_equal(path, cases[i][1]);
    }
}

#define FS_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_is_resolved_by_its_components),
        FS_TEST(a_published_file_has_its_name_its_mode_and_no_other_name),
        FS_TEST(a_pipe_is_read_only_where_one_is_wanted),
        FS_TEST(the_kernels_messages_are_not_waited_for),
        FS_TEST(a_removal_below_a_root_follows_no_link),
        FS_TEST(what_is_no_name_of_an_entry_is_not_removed),
        FS_TEST(what_is_not_there_cannot_be_published),
        FS_TEST(every_entry_is_shown_but_the_directory_itself_and_its_parent),
        FS_TEST(data_is_found_between_holes_and_an_error_is_no_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

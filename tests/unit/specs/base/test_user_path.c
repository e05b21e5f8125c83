/* SPDX-License-Identifier: MPL-2.0 */
/* Paths on a file system whose server never answers: FUSE, mounted by the test, which reads nothing
 * of what it is asked. In a mount namespace of the test's own. */
#include "specs/base/remote_mount.h"
#include "specs/base/user_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/file_stamp.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

struct fixture {
    char dir[32];
    char *hung, *link, *local;
    int fuse_fd; /* -1: nothing can be mounted here */
};

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    struct error err = {.code = ERR_NONE};
    strcpy(f->dir, "/tmp/vmctl-path-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->hung = mem_printf("%s/the mount/file", f->dir);
    f->link = mem_printf("%s/link", f->dir);
    f->local = mem_printf("%s/local", f->dir);
    cleanup_free char *mount_point = mem_printf("%s/the mount", f->dir);
    assert_int_equal(fs_make_dirs(mount_point, 0700, &err), 0);
    assert_int_equal(symlink("./local/../the mount/file", f->link), 0);
    assert_int_equal(fs_make_dirs(f->local, 0700, &err), 0);
    cleanup_free char *file = mem_printf("%s/file", f->local);
    assert_int_equal(fs_write_file(file, "x", 1, 0600, &err), 0);
    f->fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    cleanup_free char *options =
        mem_printf("fd=%d,rootmode=40000,user_id=0,group_id=0", f->fuse_fd);
    static bool has_namespace; /* one for all tests: a process does not leave its own */
    has_namespace = has_namespace || (f->fuse_fd >= 0 && unshare(CLONE_NEWNS) == 0 &&
                                         mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    if (f->fuse_fd >= 0 &&
        (!has_namespace || mount("vmctl", mount_point, "fuse", 0, options) < 0)) {
        close(TAKE_FD(f->fuse_fd));
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_free char *mount_point = mem_printf("%s/the mount", f->dir);
    cleanup_close_(&f->fuse_fd);
    (void)umount2(mount_point, MNT_DETACH);
    int rc = fs_remove_tree(f->dir, &err);
    free(f->hung);
    free(f->link);
    free(f->local);
    free(f);
    return rc;
}

static int64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

static void what_is_local_is_asked_at_once(void **state)
{
    const struct fixture *f = *state;
    struct stat st;
    char stamp[DIGEST_SIZE];
    cleanup_free char *file = mem_printf("%s/file", f->local);
    cleanup_free char *missing = mem_printf("%s/missing", f->local);
    assert_false(remote_mount_has(file));
    assert_int_equal(user_path_stat(file, &st), 0);
    assert_int_equal(st.st_size, 1);
    assert_true(file_stamp(file, stamp));
    assert_int_equal(user_path_stat(missing, &st), -1);
    assert_int_equal(errno, ENOENT);
    assert_false(remote_mount_has("/proc/self/exe"));
}

/* A lease keeps others out whose right access(2) confirms. */
static void what_does_not_open_is_not_readable(void **state)
{
    const struct fixture *f = *state;
    struct stat st;
    struct error err = {.code = ERR_NONE};
    cleanup_free char *file = mem_printf("%s/leased", f->local);
    assert_int_equal(fs_write_file(file, "content", 7, 0600, &err), 0);
    assert_int_equal(user_path_readable(file, &st), 0);
    cleanup_close int fd = open(file, O_RDWR | O_CLOEXEC);
    (void)signal(SIGIO, SIG_IGN);
    if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0) {
        print_message("no leases on this file system\n");
        skip();
    }
    assert_int_equal(access(file, R_OK), 0);
    assert_int_equal(user_path_readable(file, &st), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    assert_int_equal(user_path_stat(file, &st), 0);
    (void)fcntl(fd, F_SETLEASE, F_UNLCK);
}

/* Also of a name that leads to such a file system, by the process that reads there for us. */
static void what_is_read_is_the_content_as_far_as_it_fits(void **state)
{
    const struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    struct stat st;
    cleanup_free char *file = mem_printf("%s/file", f->local);
    cleanup_buf struct buf all = BUF_INIT(64), head = BUF_INIT(3), none = BUF_INIT(64);
    assert_int_equal(fs_write_file(file, "content", 7, 0600, &err), 0);
    assert_int_equal(user_path_read(file, &all, &err), 0);
    assert_string_equal(buf_str(&all), "content");
    assert_int_equal(user_path_read_head(file, &head), 0);
    assert_string_equal(buf_str(&head), "con");
    assert_int_equal(user_path_readable(file, &st), 0);
    assert_int_equal(user_path_answers(file), 0);
    char bytes[8] = "";
    cleanup_with(user_file_close) struct user_file places = USER_FILE_INIT;
    assert_int_equal(user_file_open(&places, f->local), -1); /* a directory */
    assert_int_equal(errno, EINVAL);
    assert_int_equal(user_file_open(&places, file), 0);
    assert_int_equal(places.size, 7);
    assert_int_equal(user_file_read_at(&places, bytes, 3, 4), 3);
    assert_string_equal(bytes, "ent");
    assert_int_equal(user_file_read_at(&places, bytes, 3, 7), 0);
    if (f->fuse_fd < 0) {
        print_message("cannot mount FUSE here\n");
        skip();
    }
    assert_int_equal(user_path_read(f->hung, &none, &err), -ERR_IO);
    assert_int_equal(err.sys_errno, ETIMEDOUT);
    assert_int_equal(none.len, 0);
    assert_int_equal(user_path_readable(f->hung, &st), -1);
    assert_int_equal(errno, ETIMEDOUT);
    assert_int_equal(user_path_answers(f->hung), -1);
    user_file_close(&places);
    assert_int_equal(user_file_open(&places, f->hung), -1);
    assert_int_equal(errno, ETIMEDOUT);
}

static void who_does_not_answer_is_waited_for_once(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    if (f->fuse_fd < 0) {
        print_message("cannot mount FUSE here\n");
        skip();
    }
    assert_true(remote_mount_has(f->hung));
    assert_true(remote_mount_has(f->link));
    int64_t began_ms = now_ms();
    assert_int_equal(user_path_stat(f->link, &st), -1);
    assert_int_equal(errno, ETIMEDOUT);
    assert_true(now_ms() - began_ms >= USER_PATH_LIMIT_MS);
    began_ms = now_ms();
    for (int i = 0; i < 100; i++) { /* of the same mount */
        char stamp[DIGEST_SIZE];
        assert_false(file_stamp(f->hung, stamp));
        assert_int_equal(errno, ETIMEDOUT);
    }
    assert_true(now_ms() - began_ms < USER_PATH_LIMIT_MS);
    what_is_local_is_asked_at_once(state); /* nobody else suffers */
    /* Its server ends: the kernel answers what was asked, and it may be asked again. */
    close(TAKE_FD(f->fuse_fd));
    began_ms = now_ms();
    do {
        assert_int_equal(user_path_stat(f->hung, &st), -1);
    } while (errno == ETIMEDOUT && now_ms() - began_ms < 10000);
    assert_int_equal(errno, ENOTCONN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_local_is_asked_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_open_is_not_readable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            what_is_read_is_the_content_as_far_as_it_fits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_answer_is_waited_for_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

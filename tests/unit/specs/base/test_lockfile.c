/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/lockfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

struct scratch {
    char *dir;
    char *path; /* of the lock file */
};

static int set_up(void **state)
{
    char template[] = "/tmp/vmctl-lock-XXXXXX";
    struct scratch *scratch = mem_new(struct scratch);
    scratch->dir = mkdtemp(template) ? mem_strdup(template) : NULL;
    scratch->path = mem_printf("%s/a.lock", template);
    *state = scratch;
    return scratch->dir ? 0 : -1;
}

static int tear_down(void **state)
{
    struct scratch *scratch = *state;
    struct error err = {0};
    int rc = fs_remove_tree(scratch->dir, &err);
    free(scratch->dir);
    free(scratch->path);
    free(scratch);
    return rc;
}

static int take(const struct scratch *scratch)
{
    struct error err = {0};
    int fd = -1;
    assert_int_equal(lockfile_take(scratch->path, &fd, &err), 0);
    assert_true(fd >= 0);
    return fd;
}

static void a_missing_lock_file_is_not_held_and_not_made_by_asking(void **state)
{
    const struct scratch *scratch = *state;
    assert_false(lockfile_is_held(scratch->path));
    assert_false(fs_exists(scratch->path));
}

static void a_taken_lock_is_held_until_its_descriptor_is_closed(void **state)
{
    const struct scratch *scratch = *state;
    int fd = take(scratch);
    assert_true(lockfile_is_held(scratch->path));
    close(fd);
    assert_false(lockfile_is_held(scratch->path));
    assert_true(fs_exists(scratch->path));
}

static void a_held_lock_is_a_conflict_for_the_second(void **state)
{
    const struct scratch *scratch = *state;
    struct error err = {0};
    int first = take(scratch);
    int second = -1;
    assert_int_equal(lockfile_take(scratch->path, &second, &err), -ERR_VM_CONFLICT);
    assert_int_equal(second, -1);
    assert_non_null(strstr(err.message, scratch->path));
    close(first);
    close(take(scratch));
}

static void asking_does_not_take_and_does_not_let_go(void **state)
{
    const struct scratch *scratch = *state;
    int fd = take(scratch);
    for (int i = 0; i < 100; i++) {
        assert_true(lockfile_is_held(scratch->path));
    }
    close(fd);
    for (int i = 0; i < 100; i++) {
        assert_false(lockfile_is_held(scratch->path));
        close(take(scratch));
    }
}

static void the_file_is_private_and_its_descriptor_closes_on_exec(void **state)
{
    const struct scratch *scratch = *state;
    int fd = take(scratch);
    struct stat info;
    assert_int_equal(fstat(fd, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(fd);
}

static void its_descriptor_is_above_the_usual_ones_where_the_limit_allows(void **state)
{
    const struct scratch *scratch = *state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit low = {.rlim_cur = 500, .rlim_max = limit.rlim_max};
    struct rlimit most = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &most), 0);
    int high = take(scratch);
    assert_true(high >= 1000);
    assert_int_equal(fcntl(high, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(high);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    int fd = take(scratch);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(fd < 500);
    assert_true(lockfile_is_held(scratch->path));
    close(fd);
    assert_false(lockfile_is_held(scratch->path));
}

/* A child that holds the inherited lock until it is killed. */
static pid_t fork_holder(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (;;) {
            pause();
        }
    }
    assert_true(pid > 0);
    return pid;
}

static void a_lock_inherited_by_a_child_lives_and_dies_with_it(void **state)
{
    const struct scratch *scratch = *state;
    int fd = take(scratch);
    pid_t pid = fork_holder();
    close(fd);
    assert_true(lockfile_is_held(scratch->path));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(lockfile_is_held(scratch->path));
}

static void a_symbolic_link_is_not_followed(void **state)
{
    const struct scratch *scratch = *state;
    struct error err = {0};
    int fd = -1;
    assert_int_equal(symlink("elsewhere", scratch->path), 0);
    assert_int_equal(lockfile_take(scratch->path, &fd, &err), -ERR_IO);
    assert_int_equal(fd, -1);
    assert_false(lockfile_is_held(scratch->path));
}

static void a_missing_directory_is_an_error_that_names_the_file(void **state)
{
    (void)state;
    struct error err = {0};
    int fd = -1;
    assert_int_equal(lockfile_take("/nonexistent/a.lock", &fd, &err), -ERR_IO);
    assert_string_equal(
        err.message, "cannot open lock file '/nonexistent/a.lock': No such file or directory");
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

static int is_byte_held(const struct scratch *scratch, uint64_t at)
{
    struct error err = {0};
    return lockfile_byte_is_held(scratch->path, at, &err);
}

static void each_byte_is_a_lock_of_its_own(void **state)
{
    const struct scratch *scratch = *state;
    const uint64_t far = UINT64_C(1) << 61;
    struct error err = {0};
    int fd = -1, other = -1;
    assert_int_equal(is_byte_held(scratch, far), 0); /* no file yet */
    assert_int_equal(lockfile_take_range(scratch->path, far, 1, &fd, &err), 0);
    assert_int_equal(is_byte_held(scratch, far), 1);
    assert_int_equal(is_byte_held(scratch, far + 1), 0);
    assert_int_equal(lockfile_take_range(scratch->path, far + 1, 1, &other, &err), 0);
    close(other);
    assert_int_equal(is_byte_held(scratch, far), 1);
    assert_int_equal(lockfile_take_range(scratch->path, far, 1, &other, &err), -ERR_VM_CONFLICT);
    close(fd);
    assert_int_equal(is_byte_held(scratch, far), 0);
}

static void a_byte_that_cannot_be_asked_for_is_not_free(void **state)
{
    const struct scratch *scratch = *state;
    struct error err = {0};
    assert_int_equal(symlink("/dev/null", scratch->path), 0);
    assert_int_equal(lockfile_byte_is_held(scratch->path, 1, &err), -ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(a_missing_lock_file_is_not_held_and_not_made_by_asking),
        WITH_SCRATCH(a_taken_lock_is_held_until_its_descriptor_is_closed),
        WITH_SCRATCH(a_held_lock_is_a_conflict_for_the_second),
        WITH_SCRATCH(asking_does_not_take_and_does_not_let_go),
        WITH_SCRATCH(the_file_is_private_and_its_descriptor_closes_on_exec),
        WITH_SCRATCH(its_descriptor_is_above_the_usual_ones_where_the_limit_allows),
        WITH_SCRATCH(a_lock_inherited_by_a_child_lives_and_dies_with_it),
        WITH_SCRATCH(a_symbolic_link_is_not_followed),
        WITH_SCRATCH(a_missing_directory_is_an_error_that_names_the_file),
        cmocka_unit_test_setup_teardown(each_byte_is_a_lock_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_byte_that_cannot_be_asked_for_is_not_free, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/owner_lock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"

static int set_up(void **state)
{
    char template[] = "/tmp/vmctl-owner-XXXXXX";
    struct paths *paths = mem_new(struct paths);
    paths->data_dir = mkdtemp(template) ? mem_strdup(template) : NULL;
    *state = paths;
    return paths->data_dir ? 0 : -1;
}

static int tear_down(void **state)
{
    struct paths *paths = *state;
    struct error err = {0};
    int rc = fs_remove_tree(paths->data_dir, &err);
    paths_clear(paths);
    free(paths);
    return rc;
}

static void an_owner_is_there_until_it_lets_go(void **state)
{
    const struct paths *paths = *state;
    struct error err = {0};
    uint64_t owner = 0, other = 0;
    int fd = -1, other_fd = -1;
    assert_int_equal(owner_lock_take(paths, &owner, &fd, &err), 0);
    assert_int_equal(owner_lock_take(paths, &other, &other_fd, &err), 0);
    assert_true(owner != 0 && other != 0 && owner != other);
    assert_false(owner_lock_is_gone(paths, owner));
    close(other_fd);
    assert_true(owner_lock_is_gone(paths, other));
    assert_false(owner_lock_is_gone(paths, owner));
    close(fd);
    assert_true(owner_lock_is_gone(paths, owner));
}

static void an_owner_that_is_killed_has_gone(void **state)
{
    const struct paths *paths = *state;
    int pipe_fds[2];
    uint64_t owner = 0;
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct error err = {0};
        int fd = -1;
        (void)!(owner_lock_take(paths, &owner, &fd, &err) == 0 &&
                write(pipe_fds[1], &owner, sizeof(owner)) > 0);
        (void)pause();
        _exit(1);
    }
    assert_true(pid > 0);
    assert_int_equal(read(pipe_fds[0], &owner, sizeof(owner)), sizeof(owner));
    assert_false(owner_lock_is_gone(paths, owner));
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(owner_lock_is_gone(paths, owner));
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void what_cannot_be_found_out_is_not_gone(void **state)
{
    const struct paths *paths = *state;
    char *path = paths_path(paths, "owners.lock");
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_false(owner_lock_is_gone(paths, 7));
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_owner_is_there_until_it_lets_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_owner_that_is_killed_has_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_found_out_is_not_gone, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

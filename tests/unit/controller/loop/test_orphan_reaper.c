/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/orphan_reaper.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/unit/controller/test_support.h"

static bool has_no_children(void *context)
{
    (void)context;
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0;
}

/* A child whose children, `count` of them, are left to the process that adopts orphans, and end at
 * once. */
static void make_orphans(int count)
{
    pid_t parent = fork();
    if (parent == 0) {
        for (int i = 0; i < count; i++) {
            if (fork() == 0) {
                _exit(0);
            }
        }
        _exit(0);
    }
    assert_int_equal(waitpid(parent, NULL, 0), parent);
}

static void orphans_are_reaped(void **state)
{
    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_true(orphan_reaper_is_needed());
    struct loop *loop = new_loop();
    struct orphan_reaper *reaper = orphan_reaper_new(loop, 20);
    make_orphans(20);
    assert_false(has_no_children(NULL));
    orphan_reaper_look(reaper);
    assert_true(run_until(loop, has_no_children, NULL));
    orphan_reaper_free(reaper);
    loop_free(loop);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

static void nothing_but_pid_1_and_subreapers_needs_it(void **state)
{
    (void)state;
    assert_int_equal(orphan_reaper_is_needed(), getpid() == 1);
}

static bool is_zombie(void *context)
{
    siginfo_t info = {0};
    pid_t pid = *(pid_t *)context;
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

static void count_up(void *context)
{
    *(bool *)context = true;
}

/* Its owner has at least the grace to read the status. */
static void a_child_that_just_ended_is_left_to_its_owner(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct orphan_reaper *reaper = orphan_reaper_new(loop, 300);
    bool is_over = false;
    struct loop_timer *timer = loop_timer_new(loop, count_up, &is_over);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(7);
    }
    assert_true(run_until(loop, is_zombie, &pid));
    orphan_reaper_look(reaper);
    loop_timer_start(timer, 350); /* one look, which must only remember it */
    assert_true(run_until(loop, is_set, &is_over));
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 7);
    loop_timer_free(timer);
    orphan_reaper_free(reaper);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orphans_are_reaped),
        cmocka_unit_test(nothing_but_pid_1_and_subreapers_needs_it),
        cmocka_unit_test(a_child_that_just_ended_is_left_to_its_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

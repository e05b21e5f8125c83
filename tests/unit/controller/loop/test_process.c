/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "specs/base/proc_stat.h"
#include "tests/unit/controller/test_support.h"

struct fixture {
    struct loop *loop;
    bool is_exited;
    int n_exited;
};

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    f->loop = new_loop();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    loop_free(f->loop);
    free(f);
    return 0;
}

static void on_exited(void *context)
{
    struct fixture *f = context;
    f->is_exited = true;
    f->n_exited++;
}

/* A child that sleeps until it is signalled; USR1 makes it exit with 42. */
static void exit_42(int signal)
{
    (void)signal;
    _exit(42);
}

static pid_t fork_sleeper(void)
{
    sigset_t usr1, before; /* so that an early USR1 waits for the handler */
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, &before);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGUSR1, exit_42);
        sigprocmask(SIG_SETMASK, &before, NULL);
        for (;;) {
            pause();
        }
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    assert_true(pid > 0);
    return pid;
}

static uint64_t ticks_of(pid_t pid)
{
    uint64_t ticks = 0;
    assert_true(proc_stat_start_ticks(pid, &ticks));
    return ticks;
}

static struct process *watch(struct fixture *f, pid_t pid)
{
    struct error err = {0};
    struct process *process = NULL;
    assert_int_equal(process_watch(f->loop, pid, ticks_of(pid), on_exited, f, &process, &err), 0);
    return process;
}

static void the_start_time_is_that_of_the_process_whatever_its_name(void **state)
{
    (void)state;
    uint64_t mine = ticks_of(getpid());
    char name[16];
    prctl(PR_GET_NAME, name);
    prctl(PR_SET_NAME, "a) R 1 (b) S 9");
    assert_int_equal(ticks_of(getpid()), mine);
    prctl(PR_SET_NAME, name);
    double hertz = (double)sysconf(_SC_CLK_TCK);
    int64_t now_ms = clock_monotonic_ms(clock_system());
    int64_t age_ms = now_ms - (int64_t)((double)mine / hertz * 1000.);
    assert_in_range(age_ms, 0, 3600 * 1000);
}

static void a_process_that_is_not_there_has_no_start_time(void **state)
{
    (void)state;
    uint64_t ticks = 7;
    pid_t pid = fork_sleeper();
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_false(proc_stat_start_ticks(pid, &ticks));
    assert_int_equal(ticks, 7);
}

static void the_end_is_told_once_and_the_exit_status_known(void **state)
{
    struct fixture *f = *state;
    struct process *process = watch(f, fork_sleeper());
    assert_true(process_is_alive(process));
    assert_int_equal(process_exit_status(process), -1);
    process_signal(process, SIGUSR1);
    assert_true(run_until(f->loop, is_set, &f->is_exited));
    assert_false(process_is_alive(process));
    int status = process_exit_status(process);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    assert_int_equal(process_exit_status(process), status); /* also when asked again */
    assert_int_equal(f->n_exited, 1);
    process_signal(process, SIGTERM); /* reaped: nobody is hit */
    process_close(process);
}

static void an_end_by_signal_has_the_signal_in_its_status(void **state)
{
    struct fixture *f = *state;
    struct process *process = watch(f, fork_sleeper());
    process_signal(process, SIGKILL);
    assert_true(run_until(f->loop, is_set, &f->is_exited));
    int status = process_exit_status(process);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    process_close(process);
}

static void a_process_with_another_start_time_is_another_process(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct process *process = NULL;
    pid_t pid = fork_sleeper();
    assert_int_equal(process_watch(f->loop, pid, ticks_of(pid) + 1, on_exited, f, &process, &err),
        -ERR_VM_NOT_FOUND);
    assert_null(process);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void a_process_that_is_gone_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct process *process = NULL;
    pid_t pid = fork_sleeper();
    uint64_t ticks = ticks_of(pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(
        process_watch(f->loop, pid, ticks, on_exited, f, &process, &err), -ERR_VM_NOT_FOUND);
    error_clear(&err);
    assert_int_equal(process_watch(f->loop, 0, 1, on_exited, f, &process, &err), -ERR_VM_NOT_FOUND);
    error_clear(&err);
    assert_int_equal(
        process_watch(f->loop, -1, 1, on_exited, f, &process, &err), -ERR_VM_NOT_FOUND);
}

/* kill(pid, 0) would say it lives. */
static void a_zombie_is_found_and_dead(void **state)
{
    struct fixture *f = *state;
    pid_t pid = fork_sleeper();
    siginfo_t info;
    kill(pid, SIGUSR1);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    struct process *process = watch(f, pid);
    assert_false(process_is_alive(process));
    assert_true(run_until(f->loop, is_set, &f->is_exited));
    assert_int_equal(WEXITSTATUS(process_exit_status(process)), 42);
    process_close(process);
}

/* A helper that makes a grandchild, tells its pid and keeps it a zombie until its own end. */
static pid_t fork_stranger(int *ret_pid_fd, int *ret_keep_fd, pid_t *ret_parent)
{
    int told[2], keep[2];
    assert_int_equal(pipe(told), 0);
    assert_int_equal(pipe(keep), 0);
    *ret_parent = fork();
    if (*ret_parent == 0) {
        pid_t pid = fork_sleeper();
        char byte;
        close(keep[1]);
        (void)!write(told[1], &pid, sizeof(pid));
        (void)!read(keep[0], &byte, 1); /* until the test lets go */
        waitpid(pid, NULL, 0);
        (void)!write(told[1], &pid, sizeof(pid));
        _exit(0);
    }
    close(told[1]);
    close(keep[0]);
    *ret_pid_fd = told[0];
    *ret_keep_fd = keep[1];
    pid_t pid = 0;
    assert_int_equal(read(told[0], &pid, sizeof(pid)), sizeof(pid));
    return pid;
}

/* As of an adopted QEMU whose PID 1 reaps late: the zombie itself tells. */
static void the_status_of_a_strangers_zombie_is_known(void **state)
{
    struct fixture *f = *state;
    int pid_fd, keep_fd;
    pid_t parent, pid = fork_stranger(&pid_fd, &keep_fd, &parent);
    struct process *process = watch(f, pid);
    process_signal(process, SIGUSR1);
    assert_true(run_until(f->loop, is_set, &f->is_exited));
    int status = process_exit_status(process);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    process_close(process);
    close(keep_fd);
    close(pid_fd);
    waitpid(parent, NULL, 0);
}

/* Only kernels since 6.15 tell; older ones must answer -1, never something made up. */
static void the_status_of_a_reaped_stranger_is_known_or_said_to_be_unknown(void **state)
{
    struct fixture *f = *state;
    int pid_fd, keep_fd;
    pid_t parent, pid = fork_stranger(&pid_fd, &keep_fd, &parent), reaped = 0;
    struct process *process = watch(f, pid);
    process_signal(process, SIGUSR1);
    close(keep_fd);
    assert_int_equal(read(pid_fd, &reaped, sizeof(reaped)), sizeof(reaped));
    assert_int_equal(reaped, pid);
    assert_true(run_until(f->loop, is_set, &f->is_exited));
    int status = process_exit_status(process);
    if (status == -1) {
        print_message("this kernel does not tell\n");
    } else {
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 42);
    }
    process_close(process);
    close(pid_fd);
    waitpid(parent, NULL, 0);
}

static void closing_does_not_signal(void **state)
{
    struct fixture *f = *state;
    pid_t pid = fork_sleeper();
    process_close(watch(f, pid));
    struct process *again = watch(f, pid);
    assert_true(process_is_alive(again));
    process_signal(again, SIGKILL);
    assert_true(run_until(f->loop, is_set, &f->is_exited));
    process_exit_status(again);
    process_close(again);
    process_close(NULL);
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(the_start_time_is_that_of_the_process_whatever_its_name),
        WITH_LOOP(a_process_that_is_not_there_has_no_start_time),
        WITH_LOOP(the_end_is_told_once_and_the_exit_status_known),
        WITH_LOOP(an_end_by_signal_has_the_signal_in_its_status),
        WITH_LOOP(a_process_with_another_start_time_is_another_process),
        WITH_LOOP(a_process_that_is_gone_is_not_found),
        WITH_LOOP(a_zombie_is_found_and_dead),
        WITH_LOOP(the_status_of_a_strangers_zombie_is_known),
        WITH_LOOP(the_status_of_a_reaped_stranger_is_known_or_said_to_be_unknown),
        WITH_LOOP(closing_does_not_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

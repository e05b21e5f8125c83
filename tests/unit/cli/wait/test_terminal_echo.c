/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/terminal_echo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static bool has_echo(int fd)
{
    struct termios now;
    assert_int_equal(tcgetattr(fd, &now), 0);
    return (now.c_lflag & ECHO) != 0;
}

/* Runs `child` on a terminal of its own until it ends; whether that shows what is typed then. */
static bool echoes_after(void (*child)(void), int *ret_status)
{
    int fd = -1;
    pid_t pid = forkpty(&fd, NULL, NULL, NULL);
    assert_true(pid >= 0);
    if (pid == 0) {
        child();
        _exit(1);
    }
    assert_int_equal(waitpid(pid, ret_status, WUNTRACED), pid);
    bool echoes = has_echo(fd);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    close(fd);
    return echoes;
}

static void turn_off_and_on(void)
{
    terminal_echo_off(STDIN_FILENO);
    int was_off = !has_echo(STDIN_FILENO);
    terminal_echo_on();
    terminal_echo_on();
    _exit(was_off && has_echo(STDIN_FILENO) ? 0 : 1);
}

static void leave_by_exit(void)
{
    terminal_echo_off(STDIN_FILENO);
    exit(has_echo(STDIN_FILENO));
}

static void leave_by_quit(void)
{
    terminal_echo_off(STDIN_FILENO);
    (void)raise(SIGQUIT);
}

static void leave_killed(void)
{
    terminal_echo_off(STDIN_FILENO);
    (void)raise(SIGKILL);
}

static void leave_by_interrupt(void)
{
    terminal_echo_off(STDIN_FILENO);
    (void)raise(SIGINT);
}

static void stop_without_shell(void)
{
    terminal_echo_off(STDIN_FILENO);
    (void)raise(SIGTSTP);
    (void)raise(SIGKILL);
}

/* In a process group whose parent, as a shell's, is of the same session and another group. */
static void stop(void)
{
    (void)signal(SIGTTOU, SIG_IGN);
    pid_t job = fork();
    int status = 0;
    if (job == 0) {
        (void)setpgid(0, 0);
        (void)tcsetpgrp(STDIN_FILENO, getpgrp());
        terminal_echo_off(STDIN_FILENO);
        (void)raise(SIGTSTP);
        _exit(1);
    }
    (void)waitpid(job, &status, WUNTRACED);
    (void)kill(job, SIGKILL);
    if (WIFSTOPPED(status)) {
        (void)raise(SIGSTOP); /* as the test sees it */
    }
}

static void whatever_ends_or_stops_the_program_restores_the_terminal(void **state)
{
    (void)state;
    int status = -1;
    assert_true(echoes_after(turn_off_and_on, &status));
    assert_int_equal(status, 0);
    assert_true(echoes_after(leave_by_exit, &status));
    assert_int_equal(status, 0);
    assert_true(echoes_after(leave_by_quit, &status));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT);
    assert_true(echoes_after(stop, &status));
    assert_true(WIFSTOPPED(status));
    assert_false(
        echoes_after(stop_without_shell, &status)); /* nobody could continue it: it runs on */
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_true(echoes_after(leave_by_interrupt, &status));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    assert_false(echoes_after(leave_killed, &status)); /* it was off */
}

static void what_is_no_terminal_is_left_alone(void **state)
{
    (void)state;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    terminal_echo_off(null);
    terminal_echo_on();
    close(null);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_ends_or_stops_the_program_restores_the_terminal),
        cmocka_unit_test(what_is_no_terminal_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

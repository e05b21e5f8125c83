/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/terminal_echo.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "specs/base/cleanup.h"

/* Not handed around: a signal handler and atexit() are given no context. `is_off` is set last and
 * cleared first, so a handler never sees half of it. */
static struct {
    volatile sig_atomic_t is_off;
    bool has_handlers;
    int fd;
    struct termios before;
} terminal;

/* What ends the program, unless it is caught elsewhere or ignored. Not SIGSEGV and SIGBUS: the
 * store's guard has those (store/lmdb/guard.h). */
static const int ending_signals[] = {
    SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT, SIGABRT, SIGFPE, SIGILL};

/* tcgetpgrp() and tcsetattr() may be called by a handler (signal-safety(7)). */
static bool is_in_foreground(void)
{
    return tcgetpgrp(terminal.fd) == getpgrp();
}

static void set_silent(void)
{
    struct termios silent = terminal.before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(terminal.fd, TCSANOW, &silent);
}

void terminal_echo_on(void)
{
    bool was_off = terminal.is_off;
    struct termios now;
    terminal.is_off = 0;
    if (was_off && is_in_foreground() && tcgetattr(terminal.fd, &now) == 0) {
        now.c_lflag |= ECHO; /* and what others have changed since stays */
        (void)tcsetattr(terminal.fd, TCSANOW, &now);
    }
}

static void on_end(int number)
{
    terminal_echo_on();
    (void)raise(number); /* SA_RESETHAND: with its default action, once this handler returns */
}

/* With the default action the kernel decides: a process that no shell could continue is not
 * stopped. Returns when SIGCONT came, or at once. */
static void stop_as_usual(void)
{
    struct sigaction usual = {.sa_handler = SIG_DFL}, ours;
    sigset_t stop, before;
    sigemptyset(&usual.sa_mask);
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    (void)sigaction(SIGTSTP, &usual, &ours);
    (void)raise(SIGTSTP);
    (void)pthread_sigmask(SIG_UNBLOCK, &stop, &before); /* it is delivered here */
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)sigaction(SIGTSTP, &ours, NULL);
}

static void on_stop(int number)
{
    int saved = errno;
    bool was_off = terminal.is_off;
    (void)number;
    terminal_echo_on();
    stop_as_usual();
    if (was_off && is_in_foreground()) {
        set_silent();
        terminal.is_off = 1;
    }
    errno = saved;
}

static void take_signals(void)
{
    struct sigaction end = {.sa_handler = on_end, .sa_flags = SA_RESETHAND};
    struct sigaction stop = {.sa_handler = on_stop, .sa_flags = SA_RESTART}, old;
    sigemptyset(&end.sa_mask);
    sigemptyset(&stop.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(ending_signals); i++) {
        bool is_free = sigaction(ending_signals[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL;
        if (is_free) {
            (void)sigaction(ending_signals[i], &end, NULL);
        }
    }
    if (sigaction(SIGTSTP, NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
        (void)sigaction(SIGTSTP, &stop, NULL);
    }
    (void)atexit(terminal_echo_on);
    terminal.has_handlers = true;
}

void terminal_echo_off(int fd)
{
    terminal_echo_on();
    terminal.fd = fd;
    if (!isatty(fd) || !is_in_foreground() || tcgetattr(fd, &terminal.before) < 0 ||
        !(terminal.before.c_lflag & ECHO)) {
        return;
    }
    if (!terminal.has_handlers) {
        take_signals();
    }
    terminal.is_off = 1;
    set_silent();
}

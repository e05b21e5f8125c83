/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/raw_mode.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"

/*
 * The one thing here that is not handed around: a signal handler and atexit() are given no context.
 * `is_raw` is set last and cleared first, so a handler never sees half of it.
 */
static struct {
    volatile sig_atomic_t is_raw;
    int fd;
    struct termios before;
} terminal;

/* Scroll region last, between save and restore: setting it sends the cursor home. */
static const char screen_reset[] =
    "\033[0m\033(B\017\033[?25h\033[?1047l\033[?7h\033[?1l\033>\033[?1000l\033[?1002l\033[?1003l"
    "\033[?1006l\033[?2004l\033[4l\0337\033[r\0338";

/* Those a program gets for its own mistakes, and abort(). */
static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};

/* Not TCSADRAIN: a terminal that takes no more output must not keep us here. */
void raw_mode_pause(void)
{
    if (terminal.is_raw) {
        (void)tcsetattr(terminal.fd, TCSANOW, &terminal.before);
    }
}

/* Only async-signal-safe calls (signal-safety(7)): tcsetattr() is one. */
void raw_mode_leave(void)
{
    raw_mode_pause();
    terminal.is_raw = 0;
}

static void on_crash(int number)
{
    raw_mode_leave();
    (void)raise(number); /* SA_RESETHAND: now with its default action, once this handler returns */
}

/* tcsetattr() succeeds when it could make any part of the change; EINTR: SIGCONT came. */
static int set_raw(void)
{
    struct termios raw = terminal.before;
    int rc;
    cfmakeraw(&raw);
    do {
        rc = tcsetattr(terminal.fd, TCSANOW, &raw);
    } while (rc < 0 && errno == EINTR);
    return rc;
}

int raw_mode_enter(int fd, struct error *err)
{
    if (!isatty(fd)) {
        return 0;
    }
    if (tcgetattr(fd, &terminal.before) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read the terminal's mode");
    }
    terminal.fd = fd;
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(crash_signals); i++) {
        (void)sigaction(crash_signals[i], &action, NULL);
    }
    (void)atexit(raw_mode_leave);
    terminal.is_raw = 1;
    if (set_raw() < 0) {
        terminal.is_raw = 0;
        return error_set_errno(err, ERR_IO, errno, "cannot set the terminal's mode");
    }
    return 0;
}

void raw_mode_renew(void)
{
    if (terminal.is_raw) {
        (void)set_raw();
    }
}

void raw_mode_reset_screen(int fd)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    if (isatty(fd) && poll(&writable, 1, 0) == 1 && (writable.revents & POLLOUT)) {
        (void)!write(fd, screen_reset, sizeof(screen_reset) - 1);
    }
}

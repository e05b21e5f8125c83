/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/wakeup.h"

#include <poll.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/log.h"

enum {
    NO_BELL_MS = 250, /* when it cannot be watched */
    SIGNALLED_BASE = 128,
};

void wakeup_open(struct wakeup *wakeup, const struct paths *paths)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
    struct error err = {.code = ERR_NONE};
    struct sigaction action;
    sigset_t set;
    *wakeup = (struct wakeup){.bell = {.fd = -1, .armed = -1}, .signal_fd = -1, .process_fd = -1};
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(ending); i++) { /* only what would end the process anyway */
        if (sigaction(ending[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN) {
            sigaddset(&set, ending[i]);
        }
    }
    sigaddset(&set, SIGWINCH); /* these two only end the wait: what is drawn has to fit again, */
    sigaddset(&set, SIGCONT);  /* or stands above what the shell has printed since Ctrl-Z */
    sigprocmask(SIG_BLOCK, &set, &wakeup->old_mask);
    wakeup->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (wakeup->signal_fd < 0) { /* out of descriptors: they end the process, as they always do */
        sigprocmask(SIG_SETMASK, &wakeup->old_mask, NULL);
    }
    if (bell_watch_open(&wakeup->bell, paths, BELL_STATUS, &err) < 0) {
        log_debug("wakeup", "%s; polling instead", err.message);
    }
}

void wakeup_close(struct wakeup *wakeup)
{
    bell_watch_close(&wakeup->bell);
    if (wakeup->process_fd >= 0) {
        close(TAKE_FD(wakeup->process_fd));
    }
    if (wakeup->signal_fd >= 0) {
        close(TAKE_FD(wakeup->signal_fd));
        sigprocmask(SIG_SETMASK, &wakeup->old_mask, NULL);
    }
}

int wakeup_wait(struct wakeup *wakeup, int64_t limit_ms)
{
    if (wakeup->bell.fd < 0 && limit_ms > NO_BELL_MS) {
        limit_ms = NO_BELL_MS;
    }
    struct pollfd fds[] = {
        {.fd = wakeup->bell.fd, .events = POLLIN}, {.fd = wakeup->signal_fd, .events = POLLIN},
        {.fd = wakeup->process_fd, .events = POLLIN},
        {.fd = wakeup->feeds_reader ? STDOUT_FILENO : -1}, /* POLLERR is always reported */
    };
    (void)poll(fds, ARRAY_LEN(fds), limit_ms > 0 ? (int)limit_ms : 0);
    if (wakeup->bell.fd >= 0) {
        (void)bell_watch_drain(&wakeup->bell);
    }
    struct signalfd_siginfo info;
    ssize_t n = wakeup->signal_fd < 0 ? -1 : read(wakeup->signal_fd, &info, sizeof(info));
    int number = n == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
    wakeup->was_suspended |= number == SIGCONT;
    number = number == SIGWINCH || number == SIGCONT ? 0 : number;
    bool is_reader_gone = (fds[ARRAY_LEN(fds) - 1].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
    return number == 0 && is_reader_gone ? SIGPIPE : number;
}

void wakeup_end_line(int signal_number)
{
    if (signal_number == SIGINT && isatty(STDERR_FILENO)) {
        fputc('\n', stderr);
    }
}

int wakeup_exit_status(int signal_number)
{
    return SIGNALLED_BASE + signal_number;
}

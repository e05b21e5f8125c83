/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/wakeup.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/log.h"

enum {
    NO_BELL_MS = 250, /* when inotify is exhausted */
    SIGNALLED_BASE = 128,
};

/* Only what would end the process anyway. */
static void add_signal(sigset_t *set, int number)
{
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_IGN) {
        sigaddset(set, number);
    }
}

static void catch_signals(struct news *news)
{
    sigset_t set;
    sigemptyset(&set);
    add_signal(&set, SIGINT);
    add_signal(&set, SIGTERM);
    add_signal(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, &news->old_mask);
    news->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (news->signal_fd < 0) { /* out of descriptors: they end the process, as they always do */
        sigprocmask(SIG_SETMASK, &news->old_mask, NULL);
    }
}

void news_open(struct news *news, const struct places *places)
{
    struct error err = {.code = ERR_NONE};
    *news = (struct news){.bell = {.fd = -1, .wd = -1}, .signal_fd = -1, .process_fd = -1};
    catch_signals(news);
    if (bell_watch_open(&news->bell, places, BELL_STATUS, &err) < 0) {
        log_debug("news", "%s; polling instead", err.message);
    }
}

void news_close(struct news *news)
{
    bell_watch_close(&news->bell);
    if (news->process_fd >= 0) {
        close(TAKE_FD(news->process_fd));
    }
    if (news->signal_fd >= 0) {
        close(TAKE_FD(news->signal_fd));
        sigprocmask(SIG_SETMASK, &news->old_mask, NULL);
    }
}

static int caught_signal(const struct news *news)
{
    struct signalfd_siginfo info;
    ssize_t n = news->signal_fd < 0 ? -1 : read(news->signal_fd, &info, sizeof(info));
    return n == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}

int news_wait(struct news *news, int64_t limit_ms)
{
    if (news->bell.fd < 0 && limit_ms > NO_BELL_MS) {
        limit_ms = NO_BELL_MS;
    }
    struct pollfd fds[] = {
        {.fd = news->bell.fd, .events = POLLIN},
        {.fd = news->signal_fd, .events = POLLIN},
        {.fd = news->process_fd, .events = POLLIN},
        {.fd = news->feeds_reader ? STDOUT_FILENO : -1}, /* POLLERR needs no asking */
    };
    (void)poll(fds, ARRAY_LEN(fds), limit_ms > 0 ? (int)limit_ms : 0);
    if (news->bell.fd >= 0) {
        (void)bell_watch_drain(&news->bell);
    }
    int number = caught_signal(news);
    bool is_reader_gone = (fds[ARRAY_LEN(fds) - 1].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
    return number == 0 && is_reader_gone ? SIGPIPE : number;
}

int news_exit_status(int signal_number)
{
    return SIGNALLED_BASE + signal_number;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

struct signals {
    int fd;
    struct loop_io *io;
    signal_fn *fn;
    void *context;
};

static void on_signal(void *context, int fd, unsigned ready)
{
    struct signals *signals = context;
    struct signalfd_siginfo info;
    (void)ready;
    if (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) { /* the next one rings again */
        signals->fn(signals->context, (int)info.ssi_signo);
    }
}

int signals_watch(struct loop *loop, const int *numbers, size_t count, signal_fn *fn, void *context,
    struct signals **ret, struct error *err)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < count; i++) {
        sigaddset(&set, numbers[i]);
    }
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot make a signalfd");
    }
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    struct signals *signals = mem_new(struct signals);
    signals->fd = fd;
    signals->fn = fn;
    signals->context = context;
    signals->io = loop_io_new(loop, fd, LOOP_READ, on_signal, signals);
    *ret = signals;
    return 0;
}

void signals_free(struct signals *signals)
{
    if (signals) {
        loop_io_free(signals->io);
        close(signals->fd);
        free(signals);
    }
}

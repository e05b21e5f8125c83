/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

struct signals {
    int fd;
    struct loop_io *io;
    sigset_t set;
    struct signals_request request; /* its numbers are in `set` */
};

static void report_pending(struct signals *signals)
{
    sigset_t pending;
    loop_io_set(signals->io, 0);
    for (int number = 1; sigpending(&pending) == 0 && number < NSIG; number++) {
        if (sigismember(&pending, number) == 1 && sigismember(&signals->set, number) == 1) {
            signals->request.fn(signals->request.context, number);
            return;
        }
    }
}

static void on_signal(void *context, int fd, unsigned ready)
{
    struct signals *signals = context;
    struct signalfd_siginfo info;
    (void)ready;
    if (signals->request.stay_pending) {
        report_pending(signals);
    } else if (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) { /* the next rings again */
        signals->request.fn(signals->request.context, (int)info.ssi_signo);
    }
}

int signals_watch(struct loop *loop, const struct signals_request *request, struct signals **ret,
    struct error *err)
{
    struct signals *signals = mem_new(struct signals);
    signals->request = *request;
    sigemptyset(&signals->set);
    for (size_t i = 0; i < request->count; i++) {
        sigaddset(&signals->set, request->numbers[i]);
    }
    signals->fd = signalfd(-1, &signals->set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals->fd < 0) {
        free(signals);
        return error_set_errno(err, ERR_IO, errno, "cannot create a signalfd");
    }
    (void)pthread_sigmask(SIG_BLOCK, &signals->set, NULL);
    signals->io = loop_io_new(loop, signals->fd, LOOP_READ, on_signal, signals);
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

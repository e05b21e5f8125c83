/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/spawn_detached.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

pid_t spawn_detached(void)
{
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        /* Ignored signals too: exec would inherit them. A disk that meets the limit of `ulimit -f`
         * is an I/O error of the guest, and does not end QEMU. */
        struct sigaction standard = {.sa_handler = SIG_DFL};
        for (int number = 1; number < NSIG; number++) {
            (void)sigaction(number, &standard, NULL); /* fails for KILL, STOP and libc's own */
        }
        (void)signal(SIGXFSZ, SIG_IGN);
        sigemptyset(&all);
        (void)sigprocmask(SIG_SETMASK, &all, NULL);
        return 0;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

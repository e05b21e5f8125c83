/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/child_run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/guest/relay.h"
#include "cli/wait/wakeup.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/text.h"

extern char **environ;

/* Restores the signal mask: the program must receive SIGINT. */
int child_spawn(char *const *argv, const struct wakeup *wakeup, const int fds[3], pid_t *ret_pid)
{
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &wakeup->old_mask);
    posix_spawn_file_actions_init(&actions);
    for (int i = 0; fds && i <= STDERR_FILENO; i++) {
        posix_spawn_file_actions_adddup2(&actions, fds[i], i);
    }
    int rc = posix_spawnp(ret_pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

/* Returns the signal that came first; 0: the child ended by itself. It is not reaped here, so its
 * pid cannot come to mean another process. */
static int await_end(pid_t pid, int pidfd, struct wakeup *wakeup, struct relay *relay)
{
    enum { GRACE_MS = 2000, NO_PIDFD_MS = 50 };
    struct pollfd fds[] = {{.fd = pidfd, .events = POLLIN},
        {.fd = wakeup->signal_fd, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    siginfo_t ended = {.si_pid = 0};
    int number = 0, limit_ms = pidfd < 0 ? NO_PIDFD_MS : -1;
    while (
        waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == 0) {
        fds[2].fd = relay ? relay->input : -1;
        int n_ready = poll(fds, ARRAY_LEN(fds), limit_ms);
        if (relay) {
            relay_pass(relay);
        }
        int caught = n_ready > 0 && fds[1].revents ? wakeup_wait(wakeup, 0) : 0;
        if (caught > 0) {
            (void)kill(pid, SIGTERM);
            number = number ? number : caught;
            limit_ms = GRACE_MS;
        } else if (number > 0 && n_ready == 0) {
            (void)kill(pid, SIGKILL);
        }
    }
    return number;
}

int child_await(pid_t pid, struct wakeup *wakeup, struct relay *relay, int *ret_signal)
{
    cleanup_close int pidfd = pidfd_open(pid, 0);
    int status = 0;
    *ret_signal = await_end(pid, pidfd, wakeup, relay);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return *ret_signal > 0     ? wakeup_exit_status(*ret_signal)
           : WIFEXITED(status) ? WEXITSTATUS(status)
                               : -1;
}

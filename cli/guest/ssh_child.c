/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/ssh_child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/guest/ssh_login.h"
#include "cli/wait/wakeup.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

extern char **environ;

/* With the signals as they were before we caught them: it is to hear of Ctrl-C itself. */
static int spawn(char *const *argv, const struct wakeup *wakeup, pid_t *ret_pid)
{
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &wakeup->old_mask);
    int rc = posix_spawnp(ret_pid, argv[0], NULL, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

/* Returns the signal that came first, 0 when it ended by itself. A child is not reaped meanwhile, so
 * its pid stays its own. */
static int await_end(pid_t pid, int pidfd, struct wakeup *wakeup)
{
    enum { GRACE_MS = 2000, NO_PIDFD_MS = 50 };
    struct pollfd fds[] = {
        {.fd = pidfd, .events = POLLIN}, {.fd = wakeup->signal_fd, .events = POLLIN}};
    siginfo_t ended = {.si_pid = 0};
    int number = 0, limit_ms = pidfd < 0 ? NO_PIDFD_MS : -1;
    while (waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        ended.si_pid == 0) {
        int n_ready = poll(fds, ARRAY_LEN(fds), limit_ms);
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

int ssh_child_run(char *const *argv, struct wakeup *wakeup, struct error *err)
{
    pid_t pid = -1;
    (void)fflush(stdout);
    int rc = spawn(argv, wakeup, &pid);
    if (rc != 0) {
        (void)error_set_errno(err, ERR_SSH, rc, "cannot run ssh");
        return error_help(err, "install the SSH client (package openssh-client)");
    }
    cleanup_close int pidfd = pidfd_open(pid, 0);
    int number = await_end(pid, pidfd, wakeup), status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (number > 0) {
        return wakeup_exit_status(number);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : SSH_TRANSPORT_FAILED;
}

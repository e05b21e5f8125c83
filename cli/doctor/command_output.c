/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/doctor/command_output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"

extern char **environ;

static int spawn(char *const *argv, int output_fd, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    int rc = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    rc |= posix_spawn_file_actions_adddup2(&actions, output_fd, 1);
    rc |= posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    if (rc == 0) {
        rc = posix_spawnp(ret_pid, argv[0], &actions, NULL, argv, environ);
    }
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* True at the end of its output; false when the time is up. What does not fit is dropped. */
static bool read_all(int fd, int limit_ms, struct buf *out)
{
    int64_t deadline_ms = clock_monotonic_ms(clock_system()) + limit_ms;
    for (;;) {
        char bytes[4096];
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int64_t left_ms = deadline_ms - clock_monotonic_ms(clock_system());
        if (left_ms <= 0 || (poll(&ready, 1, (int)left_ms) < 0 && errno != EINTR)) {
            return false;
        }
        ssize_t n = ready.revents ? read(fd, bytes, sizeof(bytes)) : -1;
        if (n == 0) {
            return true;
        }
        if (n > 0) {
            buf_add(out, bytes, (size_t)n);
        }
    }
}

int command_output(char *const *argv, int limit_ms, struct buf *out)
{
    int ends[2], status = 0;
    pid_t pid = -1;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -1;
    }
    int rc = spawn(argv, ends[1], &pid);
    close(ends[1]);
    bool is_complete = rc == 0 && read_all(ends[0], limit_ms, out);
    close(ends[0]);
    if (rc != 0) {
        return -1;
    }
    if (!is_complete) {
        (void)kill(pid, SIGKILL); /* not reaped yet, so the pid is still its own */
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return is_complete && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

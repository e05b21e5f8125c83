/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"

bool relay_is_wanted(void)
{
    struct stat st;
    int flags = fcntl(STDOUT_FILENO, F_GETFL);
    if (flags < 0 || fstat(STDOUT_FILENO, &st) < 0) {
        return false;
    }
    bool is_closed = (flags & O_ACCMODE) == O_RDONLY; /* fs_hold_standard_fds() */
    if (S_ISCHR(st.st_mode)) {
        return is_closed || (st.st_rdev != makedev(1, 3) && !isatty(STDOUT_FILENO));
    }
    return is_closed || S_ISREG(st.st_mode) || S_ISBLK(st.st_mode);
}

static void close_input(struct relay *relay)
{
    if (relay->input >= 0) {
        (void)close(relay->input);
        relay->input = -1;
    }
}

void relay_open(struct relay *relay)
{
    int fds[2];
    *relay = (struct relay){.input = -1, .output = STDOUT_FILENO};
    if (!relay_is_wanted() || pipe2(fds, O_CLOEXEC) < 0) {
        return;
    }
    (void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
    relay->input = fds[0];
    relay->output = fds[1];
}

void relay_close_output(struct relay *relay)
{
    if (relay->output != STDOUT_FILENO) {
        (void)close(relay->output);
        relay->output = STDOUT_FILENO;
    }
}

static int write_all(const char *bytes, size_t n_bytes)
{
    while (n_bytes > 0) {
        ssize_t n = write(STDOUT_FILENO, bytes, n_bytes);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd writable = {.fd = STDOUT_FILENO, .events = POLLOUT};
            (void)poll(&writable, 1, -1);
        } else if (n < 0 && errno != EINTR) {
            return errno;
        } else if (n > 0) {
            bytes += n;
            n_bytes -= (size_t)n;
        }
    }
    return 0;
}

void relay_pass(struct relay *relay)
{
    enum { PIPE_SIZE = 64 * 1024 };
    char bytes[PIPE_SIZE];
    ssize_t n = -1;
    while (relay->input >= 0 && relay->lost == 0) {
        n = read(relay->input, bytes, sizeof(bytes));
        if (n > 0) {
            relay->lost = write_all(bytes, (size_t)n);
        } else if (n == 0 || errno != EINTR) {
            break;
        }
    }
    if (relay->lost != 0 || n == 0) {
        close_input(relay);
    }
}

/* The pipe's end would not do: what the program leaves behind may hold it. */
void relay_await(struct relay *relay, pid_t pid)
{
    enum { NO_PIDFD_MS = 50 };
    cleanup_close int pidfd = pidfd_open(pid, 0);
    siginfo_t ended = {.si_pid = 0};
    while (relay->input >= 0 &&
           waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           ended.si_pid == 0) {
        struct pollfd fds[] = {
            {.fd = relay->input, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
        (void)poll(fds, ARRAY_LEN(fds), pidfd < 0 ? NO_PIDFD_MS : -1);
        relay_pass(relay);
    }
}

int relay_close(struct relay *relay, struct error *err)
{
    relay_close_output(relay);
    relay_pass(relay);
    close_input(relay);
    if (relay->lost == 0) {
        return 0;
    }
    (void)error_set_errno(err, ERR_IO, relay->lost, "cannot write to the standard output");
    return error_help(err, "free some space where the output goes, then run the command again");
}

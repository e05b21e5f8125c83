/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/terminal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/guest/raw_mode.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"

enum {
    DETACH_KEY = 0x1d, /* Ctrl+], as telnet(1) has it */
    ROOM = 16 * 1024,
    /* Our descriptors are shared with the shell, so they stay blocking: but what poll(2) calls
     * writable takes this much of a pipe at once (pipe(7)). */
    WRITE_MAX = PIPE_BUF,
};

/* Bytes on their way. */
struct lane {
    char bytes[ROOM];
    size_t start, end;
};

enum { POLL_INPUT, POLL_OUTPUT, POLL_PEER, POLL_SIGNALS, POLL_COUNT_ };

struct session {
    const struct terminal_bridge *bridge;
    struct lane to_guest, to_user;
    bool is_terminal; /* the input */
    bool input_ended, peer_ended;
    int64_t last_moved_ms; /* bytes to or from the guest, or the end of the input */
    int signal_fd;
    sigset_t old_mask;
    bool is_over;
    struct terminal_result result;
};

static int64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

static bool is_empty(const struct lane *lane)
{
    return lane->start == lane->end;
}

static void terminal_finish(struct session *session, enum terminal_end end)
{
    if (!session->is_over) {
        session->is_over = true;
        session->result.end = end;
    }
}

/* ---- signals ---- */

static int catch_signals(struct session *session, struct error *err)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct sigaction action;
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN) {
            sigaddset(&set, numbers[i]);
        }
    }
    session->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (session->signal_fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot watch for signals");
    }
    sigaddset(&set, SIGPIPE); /* reported as EPIPE */
    sigprocmask(SIG_BLOCK, &set, &session->old_mask);
    return 0;
}

/* A SIGPIPE that waits would end us as soon as it is let through. */
static void release_signals(struct session *session)
{
    static const struct timespec at_once = {0};
    sigset_t pipe_only;
    if (session->signal_fd < 0) {
        return;
    }
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (!sigismember(&session->old_mask, SIGPIPE)) {
        (void)sigtimedwait(&pipe_only, NULL, &at_once);
    }
    sigprocmask(SIG_SETMASK, &session->old_mask, NULL);
    close(session->signal_fd);
}

static void read_signals(struct session *session)
{
    struct signalfd_siginfo info;
    while (read(session->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGTSTP) {
            raw_mode_pause();
            (void)raise(SIGSTOP); /* SIGTSTP is blocked; returns after SIGCONT */
            raw_mode_renew();
        } else if (info.ssi_signo == SIGCONT) {
            raw_mode_renew();
        } else {
            terminal_finish(session, TERMINAL_SIGNALLED);
            session->result.signal = (int)info.ssi_signo;
        }
    }
}

/* ---- the two lanes ---- */

/* Appends what there is to read. 0: the end. Negative: nothing now. */
static ssize_t fill(struct lane *lane, int fd)
{
    memmove(lane->bytes, lane->bytes + lane->start, lane->end - lane->start);
    lane->end -= lane->start;
    lane->start = 0;
    ssize_t n = read(fd, lane->bytes + lane->end, sizeof(lane->bytes) - lane->end);
    if (n > 0) {
        lane->end += (size_t)n;
    }
    bool is_later = n < 0 && (errno == EAGAIN || errno == EINTR);
    return n > 0 || is_later ? n : 0; /* EIO: the terminal hung up; ECONNRESET: the guest is gone */
}

/* False: the other end does not read. */
static bool drain(struct lane *lane, ssize_t n)
{
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    lane->start += (size_t)n;
    return true;
}

static void write_peer(struct session *session)
{
    struct lane *lane = &session->to_guest;
    size_t n = lane->end - lane->start;
    if (!drain(lane, send(session->bridge->peer_fd, lane->bytes + lane->start, n, MSG_NOSIGNAL))) {
        lane->start = lane->end; /* what it wrote before it went is still to be read */
    }
    session->last_moved_ms = now_ms();
}

static void write_output(struct session *session)
{
    struct lane *lane = &session->to_user;
    size_t n = lane->end - lane->start;
    n = n < WRITE_MAX ? n : WRITE_MAX;
    if (!drain(lane, write(session->bridge->output_fd, lane->bytes + lane->start, n))) {
        terminal_finish(session, TERMINAL_OUTPUT_CLOSED);
    }
}

/* A guest that reads nothing must not keep the user from detaching: keys it has no room for are
 * dropped. A pipe waits instead. */
static void read_input(struct session *session)
{
    struct lane *lane = &session->to_guest;
    if (lane->end - lane->start == sizeof(lane->bytes)) {
        lane->start = lane->end;
    }
    ssize_t n = fill(lane, session->bridge->input_fd);
    if (n == 0) {
        session->input_ended = true;
        session->last_moved_ms = now_ms();
    }
    char *key = n > 0 && session->is_terminal
                    ? memchr(lane->bytes + lane->end - n, DETACH_KEY, (size_t)n)
                    : NULL;
    if (key) { /* keys typed before Ctrl+] still go, if the guest takes them at once */
        lane->end = (size_t)(key - lane->bytes);
        write_peer(session);
        terminal_finish(session, TERMINAL_DETACHED);
    }
}

/* ---- the loop ---- */

static bool is_draining(const struct session *session)
{
    return session->input_ended && is_empty(&session->to_guest) && is_empty(&session->to_user);
}

static void look_for_end(struct session *session)
{
    int64_t silent_ms = now_ms() - session->last_moved_ms;
    if (session->peer_ended && is_empty(&session->to_user)) {
        terminal_finish(session, TERMINAL_PEER_CLOSED);
    } else if (session->input_ended && session->is_terminal) {
        terminal_finish(session, TERMINAL_DETACHED); /* it hung up */
    } else if (is_draining(session) && silent_ms >= session->bridge->idle_ms) {
        terminal_finish(session, TERMINAL_DRAINED);
    }
}

static int timeout_ms(const struct session *session)
{
    if (!is_draining(session)) {
        return -1;
    }
    int64_t left_ms = session->last_moved_ms + session->bridge->idle_ms - now_ms();
    return left_ms < 0 ? 0 : left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

/* A descriptor asked for nothing is left out: poll(2) would report its hang-up forever. */
static void await(struct session *session, struct pollfd polls[POLL_COUNT_])
{
    const struct terminal_bridge *bridge = session->bridge;
    bool reads_input =
        !session->input_ended && (session->is_terminal || is_empty(&session->to_guest));
    bool reads_peer = is_empty(&session->to_user) && !session->peer_ended;
    bool writes_peer = !is_empty(&session->to_guest);
    bool writes_output = !is_empty(&session->to_user);
    short peer_events = (short)((reads_peer ? POLLIN : 0) | (writes_peer ? POLLOUT : 0));
    polls[POLL_INPUT] =
        (struct pollfd){.fd = reads_input ? bridge->input_fd : -1, .events = POLLIN};
    polls[POLL_OUTPUT] =
        (struct pollfd){.fd = writes_output ? bridge->output_fd : -1, .events = POLLOUT};
    polls[POLL_PEER] =
        (struct pollfd){.fd = peer_events ? bridge->peer_fd : -1, .events = peer_events};
    polls[POLL_SIGNALS] = (struct pollfd){.fd = session->signal_fd, .events = POLLIN};
    if (poll(polls, POLL_COUNT_, timeout_ms(session)) < 0) {
        memset(polls, 0, POLL_COUNT_ * sizeof(*polls)); /* EINTR: check all again */
    }
}

static void turn(struct session *session)
{
    struct pollfd polls[POLL_COUNT_];
    await(session, polls);
    short peer = polls[POLL_PEER].revents;
    if (polls[POLL_SIGNALS].revents) {
        read_signals(session);
    }
    if (polls[POLL_OUTPUT].revents) {
        write_output(session);
    }
    if (peer && !is_empty(&session->to_guest)) {
        write_peer(session);
    }
    if ((peer & (POLLIN | POLLHUP | POLLERR)) && is_empty(&session->to_user)) {
        ssize_t n = fill(&session->to_user, session->bridge->peer_fd);
        session->peer_ended = n == 0;
        session->last_moved_ms = n > 0 ? now_ms() : session->last_moved_ms;
    }
    if (polls[POLL_INPUT].revents) {
        read_input(session);
    }
    look_for_end(session);
}

int terminal_run(
    const struct terminal_bridge *bridge, struct terminal_result *ret, struct error *err)
{
    struct session session = {
        .bridge = bridge,
        .is_terminal = isatty(bridge->input_fd) == 1,
        .signal_fd = -1,
    };
    int rc = catch_signals(&session, err);
    if (rc == 0) {
        rc = raw_mode_enter(bridge->input_fd, err);
    }
    while (rc == 0 && !session.is_over) {
        turn(&session);
    }
    raw_mode_leave();
    if (rc == 0 && session.is_terminal) {
        raw_mode_reset_screen(bridge->output_fd);
    }
    release_signals(&session);
    if (rc == 0) {
        *ret = session.result;
    }
    return rc;
}

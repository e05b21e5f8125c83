/* SPDX-License-Identifier: MPL-2.0 */
/* One connection within the guest on one channel (RFC 4254, 7.2): open, send, read a line, close.
 */
#include <stdlib.h>
#include <string.h>

#include "reconcilers/ssh/session.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

enum stage { DIAL_OPEN, DIAL_SEND, DIAL_READ, DIAL_CLOSE };

enum { CHUNK_SIZE = 1024 };

struct dial {
    struct ssh_task task; /* first */
    enum stage stage;
    uint16_t port;
    char *request;
    size_t n_sent;
    int64_t timeout_ms;
    bool (*is_complete)(const char *answer);
    struct buf *answer; /* borrowed from the caller until `done` */
    LIBSSH2_CHANNEL *channel;
};

static enum ssh_progress dial_enter(struct dial *dial, enum stage stage)
{
    dial->stage = stage;
    return SSH_AGAIN;
}

/* libssh2 keeps the server's reason code in its message only (channel.c, _libssh2_channel_open). */
static enum ssh_progress dial_refuse(LIBSSH2_SESSION *ssh, struct error *err)
{
    char *reason = NULL;
    (void)libssh2_session_last_error(ssh, &reason, NULL, 0);
    if (reason && strstr(reason, "connect failed")) {
        error_set(err, ERR_PROBE, "connection refused");
    } else if (reason && strstr(reason, "prohibited")) {
        error_set(err, ERR_PROBE, "the guest's sshd forwards no TCP (AllowTcpForwarding)");
    } else {
        error_set(err, ERR_PROBE, "the guest's sshd does not connect: %s", reason ? reason : "?");
    }
    return SSH_REFUSED;
}

static enum ssh_progress step_open(struct dial *dial, struct error *err)
{
    struct ssh_session *session = dial->task.session;
    dial->channel =
        libssh2_channel_direct_tcpip_ex(session->ssh, "127.0.0.1", dial->port, "127.0.0.1", 0);
    if (dial->channel) {
        return dial_enter(dial, dial->request ? DIAL_SEND : DIAL_CLOSE);
    }
    int rc = libssh2_session_last_errno(session->ssh);
    return rc == LIBSSH2_ERROR_CHANNEL_FAILURE
               ? dial_refuse(session->ssh, err)
               : ssh_blocked_or_fail(session, rc, err, "cannot open a channel");
}

static enum ssh_progress step_send(struct dial *dial, struct error *err)
{
    size_t left = strlen(dial->request) - dial->n_sent;
    if (left == 0) {
        return dial_enter(dial, DIAL_READ);
    }
    ssize_t n = libssh2_channel_write(dial->channel, dial->request + dial->n_sent, left);
    if (n == LIBSSH2_ERROR_CHANNEL_CLOSED || n == LIBSSH2_ERROR_CHANNEL_EOF_SENT) {
        return dial_enter(
            dial, DIAL_READ); /* closed without reading all: its answer may be there */
    }
    if (n < 0) {
        return ssh_blocked_or_fail(dial->task.session, n, err, "cannot send to the guest's port");
    }
    dial->n_sent += (size_t)n;
    return SSH_AGAIN;
}

static enum ssh_progress step_read(struct dial *dial, struct error *err)
{
    char bytes[CHUNK_SIZE];
    struct buf *answer = dial->answer;
    size_t room = answer->max - answer->len;
    ssize_t n =
        libssh2_channel_read(dial->channel, bytes, room < sizeof(bytes) ? room : sizeof(bytes));
    if (n < 0) {
        return ssh_blocked_or_fail(
            dial->task.session, n, err, "the connection was lost while a port was probed");
    }
    buf_add(answer, bytes, (size_t)n);
    if (dial->is_complete(buf_str(answer)) || answer->len == answer->max ||
        libssh2_channel_eof(dial->channel)) {
        return dial_enter(dial, DIAL_CLOSE);
    }
    return n > 0 ? SSH_AGAIN : SSH_BLOCKED;
}

static enum ssh_progress step_close(struct dial *dial, struct error *err)
{
    int rc = libssh2_channel_free(dial->channel); /* sends our CLOSE, waits for the server's */
    if (rc != 0) {
        return ssh_blocked_or_fail(dial->task.session, rc, err, "cannot close the channel");
    }
    dial->channel = NULL;
    return SSH_DONE;
}

static enum ssh_progress dial_step(struct ssh_task *task, struct error *err)
{
    static enum ssh_progress (*const steps[])(struct dial *, struct error *) = {
        [DIAL_OPEN] = step_open,
        [DIAL_SEND] = step_send,
        [DIAL_READ] = step_read,
        [DIAL_CLOSE] = step_close,
    };
    struct dial *dial = (struct dial *)(void *)task;
    return steps[dial->stage](dial, err);
}

static void dial_expire(struct ssh_task *task, struct error *err)
{
    const struct dial *dial = (struct dial *)(void *)task;
    double limit_s = (double)dial->timeout_ms / 1000.;
    error_set(err, ERR_TIMEOUT,
        dial->stage == DIAL_OPEN ? "no connection within %g s" : "no answer within %g s", limit_s);
}

static void dial_release(struct ssh_task *task)
{
    struct dial *dial = (struct dial *)(void *)task;
    free(dial->request);
    free(dial); /* the broken session frees the channel */
}

static const struct ssh_task_kind kind = {
    .name = "dial", .step = dial_step, .expire = dial_expire, .release = dial_release};

struct op *ssh_dial(struct ssh_session *session, const struct ssh_dial_request *request,
    struct buf *answer, op_done_fn *done, void *context)
{
    struct dial *dial = mem_new(struct dial);
    dial->port = request->port;
    dial->request = mem_strdup(request->request);
    dial->is_complete = request->is_complete;
    dial->timeout_ms = request->timeout_ms;
    dial->answer = answer;
    ssh_task_start(&dial->task, &kind, session, request->timeout_ms, done, context);
    return &dial->task.op;
}

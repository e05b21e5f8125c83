/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/qmp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/qemu/qmp_message.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum {
    OUTPUT_MAX = 1 << 20,
    READ_SIZE = 16384,
    READS_PER_TURN = 16, /* a peer that keeps sending must not block the loop */
};

enum qmp_state {
    QMP_STATE_GREETING,
    QMP_STATE_READY,
    QMP_STATE_DISCONNECTED,
};

struct pending {
    int64_t id;
    int64_t sent_ms;
    char *command;
    qmp_reply_fn *reply; /* NULL: forgotten */
    void *context;
};

struct qmp {
    struct loop *loop;
    int fd;
    struct loop_io *io;
    struct loop_timer *timer; /* for the oldest command; all have the same timeout */
    enum qmp_state state;
    struct qmp_stream stream;
    struct buf output;
    int attached_fd;         /* goes out with the next piece of `output`; -1: none */
    struct pending *pending; /* oldest first */
    size_t n_pending;
    int64_t last_id;
    const struct qmp_listener *listener;
    void *context;
    unsigned in_callback; /* depth; the object is freed when the outermost call returns */
    bool is_free_wanted;
};

/* One piece of the output, with the descriptor if there is one (unix(7), SCM_RIGHTS). */
static ssize_t send_piece(struct qmp *qmp)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec piece = {qmp->output.data, qmp->output.len};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (qmp->attached_fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        *rights = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(rights), &qmp->attached_fd, sizeof(int));
    }
    ssize_t n = sendmsg(qmp->fd, &message, MSG_NOSIGNAL);
    if (n >= 0) {
        cleanup_close_(&qmp->attached_fd);
        qmp->attached_fd = -1;
    }
    return n;
}

static void flush_output(struct qmp *qmp)
{
    while (qmp->output.len > 0) {
        ssize_t n = send_piece(qmp);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            /* Reading reports a broken connection, too, after what arrived before it. */
            break;
        }
        buf_consume(&qmp->output, (size_t)n);
    }
    loop_io_set(qmp->io, qmp->output.len > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void qmp_enter(struct qmp *qmp)
{
    qmp->in_callback++;
}

/* Returns false when qmp_free() was called in between; the object is gone then. What the callbacks
 * sent goes out in one piece. */
static bool qmp_leave(struct qmp *qmp)
{
    if (--qmp->in_callback > 0 || !qmp->is_free_wanted) {
        if (qmp->in_callback == 0 && qmp->output.len > 0 && qmp->state == QMP_STATE_READY) {
            flush_output(qmp);
        }
        return !qmp->is_free_wanted;
    }
    qmp_stream_clear(&qmp->stream);
    buf_clear(&qmp->output);
    cleanup_close_(&qmp->attached_fd);
    loop_timer_free(qmp->timer);
    free(qmp->pending);
    free(qmp);
    return false;
}

static void close_socket(struct qmp *qmp)
{
    loop_io_free(TAKE_PTR(qmp->io));
    if (qmp->fd >= 0) {
        close(TAKE_FD(qmp->fd));
    }
    qmp->state = QMP_STATE_DISCONNECTED;
}

static struct pending take_pending(struct qmp *qmp, size_t index)
{
    struct pending taken = qmp->pending[index];
    qmp->n_pending--;
    memmove(&qmp->pending[index], &qmp->pending[index + 1],
        (qmp->n_pending - index) * sizeof(*qmp->pending));
    return taken;
}

static void arm_timer(struct qmp *qmp)
{
    if (qmp->n_pending == 0 || qmp->state == QMP_STATE_DISCONNECTED) {
        loop_timer_stop(qmp->timer);
        return;
    }
    int64_t left = qmp->pending[0].sent_ms + QMP_COMMAND_TIMEOUT_MS - loop_now_ms(qmp->loop);
    loop_timer_start(qmp->timer, left > 0 ? left : 0);
}

static void complete(struct pending *pending, const json_t *value, const struct error *err)
{
    if (pending->reply) {
        pending->reply(pending->context, value, err);
    } else if (err) {
        log_debug("qmp", "%s: %s", pending->command, err->message);
    }
    free(pending->command);
}

static void fail_all_pending(struct qmp *qmp)
{
    while (qmp->n_pending > 0) {
        struct pending pending = take_pending(qmp, 0);
        struct error err = {0};
        (void)error_set(&err, ERR_QMP_CONNECT,
            "the connection to QEMU ended before it answered '%s'", pending.command);
        complete(&pending, NULL, &err);
    }
}

/* Idempotent: fails all pending commands, then notifies the owner. */
static void disconnect(struct qmp *qmp, const struct error *why)
{
    if (qmp->state == QMP_STATE_DISCONNECTED) {
        return;
    }
    close_socket(qmp);
    loop_timer_stop(qmp->timer);
    qmp_enter(qmp);
    fail_all_pending(qmp);
    if (!qmp->is_free_wanted) {
        qmp->listener->closed(qmp->context, why);
    }
    (void)qmp_leave(qmp);
}

static void send_command(struct qmp *qmp, const char *command, json_t *arguments_take,
    qmp_reply_fn *reply, void *context)
{
    cleanup_json json_t *object = json_object();
    json_put_text(object, "execute", command);
    json_put_int(object, "id", ++qmp->last_id);
    if (arguments_take) {
        json_put(object, "arguments", arguments_take);
    }
    cleanup_free char *text = json_canonical(object);
    log_trace("qmp", "-> %s", text);
    buf_add_str(&qmp->output, text);
    buf_add_char(&qmp->output, '\n');
    mem_grow(qmp->pending, qmp->n_pending);
    qmp->pending[qmp->n_pending++] = (struct pending){.id = qmp->last_id,
        .sent_ms = loop_now_ms(qmp->loop),
        .command = mem_strdup(command),
        .reply = reply,
        .context = context};
    arm_timer(qmp);
    if (qmp->in_callback == 0) {
        flush_output(qmp);
    }
}

static void negotiated(void *context, const json_t *value, const struct error *err)
{
    struct qmp *qmp = context;
    (void)value;
    if (err) {
        disconnect(qmp, err);
    }
}

static void handle_response(struct qmp *qmp, const struct qmp_message *message)
{
    for (size_t i = 0; i < qmp->n_pending; i++) {
        if (qmp->pending[i].id != message->id) {
            continue;
        }
        struct pending pending = take_pending(qmp, i);
        arm_timer(qmp);
        struct error err = {0};
        if (message->kind == QMP_ERROR) {
            (void)error_set(
                &err, ERR_QMP_COMMAND, "QEMU refused '%s': %s", pending.command, message->text);
        }
        complete(&pending, message->value, err.code ? &err : NULL);
        return;
    }
    log_debug("qmp", "a response without a pending command (id %lld)", (long long)message->id);
}

static void dispatch(struct qmp *qmp, const struct qmp_message *message)
{
    qmp->listener->received(qmp->context);
    if (qmp->state == QMP_STATE_DISCONNECTED) {
        return;
    }
    switch (message->kind) {
    case QMP_GREETING:
        if (qmp->state == QMP_STATE_GREETING) {
            qmp->state = QMP_STATE_READY;
            send_command(qmp, "qmp_capabilities", NULL, negotiated, qmp);
            qmp->listener->ready(qmp->context);
        }
        break;
    case QMP_EVENT:
        if (qmp->state == QMP_STATE_READY) {
            log_debug("qmp", "event %s", message->event);
            qmp->listener->event(qmp->context, message->event, message->value);
        }
        break;
    case QMP_RETURN:
    case QMP_ERROR:
        handle_response(qmp, message);
        break;
    }
}

static void dispatch_all(struct qmp *qmp)
{
    while (qmp->state != QMP_STATE_DISCONNECTED) {
        struct error err = {0};
        struct qmp_message message;
        int rc = qmp_stream_next(&qmp->stream, &message, &err);
        if (rc < 0) {
            disconnect(qmp, &err);
        }
        if (rc <= 0) {
            return;
        }
        dispatch(qmp, &message);
        qmp_message_clear(&message);
    }
}

/* Returns whether there may be more to read. */
static bool read_some(struct qmp *qmp)
{
    char chunk[READ_SIZE];
    ssize_t n = recv(qmp->fd, chunk, sizeof(chunk), 0);
    struct error err = {0};
    if (n == 0 ||
        (n < 0 && errno == ECONNRESET)) { /* reset: QEMU closed without reading everything */
        (void)error_set(&err, ERR_QMP_CONNECT, "QEMU closed the connection");
        disconnect(qmp, &err);
        return false;
    }
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            (void)error_set_errno(&err, ERR_QMP_CONNECT, errno, "cannot read from QEMU");
            disconnect(qmp, &err);
        }
        return false;
    }
    if (qmp_stream_feed(&qmp->stream, chunk, (size_t)n, &err) < 0) {
        disconnect(qmp, &err);
        return false;
    }
    dispatch_all(qmp);
    return qmp->state != QMP_STATE_DISCONNECTED && (size_t)n == sizeof(chunk);
}

static void socket_ready(void *context, int fd, unsigned ready)
{
    struct qmp *qmp = context;
    (void)fd;
    qmp_enter(qmp);
    if (ready & LOOP_WRITE) {
        flush_output(qmp);
    }
    if (ready & LOOP_READ) {
        for (int i = 0; i < READS_PER_TURN && read_some(qmp); i++) {
        }
    }
    (void)qmp_leave(qmp);
}

/* Fails every command past its timeout; the connection stays, the response may still arrive. */
static void timer_fired(void *context)
{
    struct qmp *qmp = context;
    int64_t now = loop_now_ms(qmp->loop);
    bool is_late = false;
    qmp_enter(qmp);
    while (qmp->n_pending > 0 && qmp->pending[0].sent_ms + QMP_COMMAND_TIMEOUT_MS <= now) {
        struct pending pending = take_pending(qmp, 0);
        struct error err = {0};
        (void)error_set(&err, ERR_TIMEOUT, "QEMU did not answer '%s' within %d s", pending.command,
            QMP_COMMAND_TIMEOUT_MS / 1000);
        complete(&pending, NULL, &err);
        is_late = true;
    }
    if (is_late && !qmp->is_free_wanted) {
        qmp->listener->timed_out(qmp->context);
    }
    if (qmp_leave(qmp)) {
        arm_timer(qmp);
    }
}

struct qmp *qmp_new(
    struct loop *loop, int fd_take, const struct qmp_listener *listener, void *context)
{
    struct qmp *qmp = mem_new(struct qmp);
    *qmp = (struct qmp){.loop = loop,
        .fd = fd_take,
        .attached_fd = -1,
        .output = BUF_INIT(OUTPUT_MAX),
        .listener = listener,
        .context = context};
    qmp_stream_init(&qmp->stream);
    qmp->timer = loop_timer_new(loop, timer_fired, qmp);
    qmp->io = loop_io_new(loop, fd_take, LOOP_READ, socket_ready, qmp);
    return qmp;
}

void qmp_free(struct qmp *qmp)
{
    if (!qmp || qmp->is_free_wanted) {
        return;
    }
    qmp_enter(qmp);
    qmp->is_free_wanted = true;
    close_socket(qmp);
    loop_timer_stop(qmp->timer);
    fail_all_pending(qmp);
    (void)qmp_leave(qmp);
}

bool qmp_is_ready(const struct qmp *qmp)
{
    return qmp->state == QMP_STATE_READY;
}

int qmp_execute(struct qmp *qmp, const char *command, json_t *arguments_take, qmp_reply_fn *reply,
    void *context, struct error *err)
{
    if (qmp->state != QMP_STATE_READY || qmp->output.is_full) {
        json_decref(arguments_take);
        return error_set(err, ERR_QMP_CONNECT, "cannot send '%s': QEMU does not answer", command);
    }
    send_command(qmp, command, arguments_take, reply, context);
    return 0;
}

void qmp_attach_fd(struct qmp *qmp, int fd_take)
{
    cleanup_close_(&qmp->attached_fd);
    qmp->attached_fd = fd_take;
}

void qmp_forget(struct qmp *qmp, const void *context)
{
    for (size_t i = 0; i < qmp->n_pending; i++) {
        if (qmp->pending[i].context == context) {
            qmp->pending[i].reply = NULL;
        }
    }
}

int64_t qmp_waiting_since(const struct qmp *qmp)
{
    return qmp->n_pending > 0 ? qmp->pending[0].sent_ms : -1;
}

pid_t qmp_peer_pid(const struct qmp *qmp)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    bool is_known = qmp->fd >= 0 && getsockopt(qmp->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    return is_known ? peer.pid : 0;
}

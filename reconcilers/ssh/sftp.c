/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The first upload of a session requests the subsystem on a channel of its own, and checks that a
 * server responds there (dropbear offers it without checking for the program): inside
 * libssh2_sftp_init(), libssh2 1.10 would spin over a refusal until the server acknowledges its
 * CLOSE, and wait forever for a program that does not exist.
 *
 *   PROBE, REQUEST, ANSWER, PROBE_CLOSE, PROBE_FREE, INIT   once a session
 *   SKIP_ID                                             when INIT failed all the same
 *   OPEN, WRITE, MODE, SYNC, CLOSE
 *   UNDO_CLOSE, UNDO_REMOVE                             when the guest refused after OPEN
 *
 * libssh2 gives a new channel the number of one that was freed, and takes what the server still
 * sends for the old one as meant for the new. So a channel is freed only after the server's CLOSE;
 * where libssh2 itself frees one too early, the next channel is made only to use its number up.
 */
#include "reconcilers/ssh/sftp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reconcilers/ssh/input.h"
#include "reconcilers/ssh/session.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

enum stage {
    PUT_LOCAL,
    PUT_PROBE,
    PUT_REQUEST,
    PUT_ANSWER,
    PUT_PROBE_CLOSE,
    PUT_PROBE_FREE,
    PUT_INIT,
    PUT_SKIP_ID,
    PUT_OPEN,
    PUT_WRITE,
    PUT_MODE,
    PUT_SYNC,
    PUT_CLOSE,
    PUT_UNDO_CLOSE,
    PUT_UNDO_REMOVE,
};

/*
 * libssh2 makes packets of up to 30000 bytes and keeps WINDOW_SIZE of them under way. The channel
 * of a small server (dropbear: 24 KiB) takes less at a time: libssh2 would cut each packet where
 * the channel is full, into three or four, each of which costs the guest a read, a checksum, a
 * write and an answer. So a packet is made as large as the channel is when it is empty.
 */
enum { WINDOW_SIZE = 240000, PACKET_MAX = 30000, PACKET_MIN = 4096, PACKET_HEADER = 64 };

struct put {
    struct ssh_task task; /* first */
    enum stage stage;
    char *local_path, *remote_path;
    unsigned mode;
    int64_t timeout_ms;
    bool *ret_has_sftp;
    struct ssh_input input;
    LIBSSH2_CHANNEL *probe;
    size_t n_requested; /* bytes of the request that are sent */
    LIBSSH2_SFTP_HANDLE *handle;
    struct buf window; /* starts with the first byte that the server has not acknowledged */
    bool is_at_end;
    bool has_more;        /* there is room in the window, and more may be there to put into it */
    struct error refusal; /* to be reported after undoing */
};

static enum ssh_progress put_enter(struct put *put, enum stage stage)
{
    put->stage = stage;
    return SSH_AGAIN;
}

/* ---- refusals ---- */

/* Section 7 of the draft, and the later codes that servers send all the same. */
static const char *status_text(unsigned long status)
{
    switch (status) {
    case LIBSSH2_FX_NO_SUCH_FILE:
    case LIBSSH2_FX_NO_SUCH_PATH:
        return "no such file or directory in the guest";
    case LIBSSH2_FX_PERMISSION_DENIED:
    case LIBSSH2_FX_WRITE_PROTECT:
        return "permission denied in the guest";
    case LIBSSH2_FX_NO_SPACE_ON_FILESYSTEM:
    case LIBSSH2_FX_QUOTA_EXCEEDED:
        return "no space left in the guest";
    case LIBSSH2_FX_FAILURE:
        return "the guest's SFTP server failed (is its disk full, or the target a directory?)";
    default:
        return "the guest's SFTP server refused";
    }
}

/* EAGAIN waits; an error status of the SFTP server is a refusal; any other error breaks the
 * session. */
static enum ssh_progress refused(struct put *put, long rc, struct error *err)
{
    struct ssh_session *session = put->task.session;
    if (rc != LIBSSH2_ERROR_SFTP_PROTOCOL || session->sys_errno || session->is_closed_by_peer) {
        return ssh_blocked_or_fail(session, rc, err, "the connection was lost during an upload");
    }
    unsigned long status = libssh2_sftp_last_error(session->sftp);
    struct error *refusal = put->handle ? &put->refusal : err;
    error_set(
        refusal, ERR_PROVISION, "cannot write '%s': %s", put->remote_path, status_text(status));
    return put->handle ? put_enter(put, PUT_UNDO_CLOSE) : SSH_REFUSED;
}

/* ---- the subsystem ---- */

static enum ssh_progress step_local(struct put *put, struct error *err)
{
    if (ssh_input_open(&put->input, &put->task, put->local_path, err) < 0) {
        return SSH_REFUSED;
    }
    if (put->task.session->has_no_sftp) {
        *put->ret_has_sftp = false;
        return SSH_DONE;
    }
    return put_enter(put, put->task.session->sftp ? PUT_OPEN : PUT_PROBE);
}

static enum ssh_progress step_probe(struct put *put, struct error *err)
{
    struct ssh_session *session = put->task.session;
    if (!put->probe) {
        put->probe = libssh2_channel_open_session(session->ssh);
    }
    if (!put->probe) {
        return ssh_blocked_or_fail(
            session, libssh2_session_last_errno(session->ssh), err, "cannot open a channel");
    }
    int rc = libssh2_channel_subsystem(put->probe, "sftp");
    if (rc != 0 && rc != LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED) {
        return ssh_blocked_or_fail(session, rc, err, "cannot request SFTP");
    }
    session->has_no_sftp = rc != 0;
    return put_enter(put, session->has_no_sftp ? PUT_PROBE_CLOSE : PUT_REQUEST);
}

static enum ssh_progress step_request(struct put *put, struct error *err)
{
    static const char init[] = {0, 0, 0, 5, 1, 0, 0, 0, 3}; /* SSH_FXP_INIT, version 3 */
    ssize_t n =
        libssh2_channel_write(put->probe, init + put->n_requested, sizeof(init) - put->n_requested);
    if (n < 0 && n != LIBSSH2_ERROR_CHANNEL_CLOSED && n != LIBSSH2_ERROR_CHANNEL_EOF_SENT) {
        return ssh_blocked_or_fail(put->task.session, n, err, "cannot request SFTP");
    }
    put->n_requested += n > 0 ? (size_t)n : 0;
    return n < 0 || put->n_requested == sizeof(init) ? put_enter(put, PUT_ANSWER) : SSH_AGAIN;
}

static enum ssh_progress step_answer(struct put *put, struct error *err)
{
    char bytes[256];
    ssize_t n = libssh2_channel_read(put->probe, bytes, sizeof(bytes));
    if (n < 0) {
        return ssh_blocked_or_fail(put->task.session, n, err, "cannot request SFTP");
    }
    put->task.session->has_no_sftp = n == 0;
    return put_enter(put, PUT_PROBE_CLOSE);
}

/* libssh2_channel_close() does not wait for the server's CLOSE once any other packet has come. */
static enum ssh_progress step_probe_close(struct put *put, struct error *err)
{
    char bytes[256];
    int rc = libssh2_channel_close(put->probe);
    if (rc < 0) {
        return ssh_blocked_or_fail(put->task.session, rc, err, "cannot close a channel");
    }
    ssize_t n = libssh2_channel_read(put->probe, bytes, sizeof(bytes));
    if (n > 0) {
        return SSH_AGAIN;
    }
    if (n < 0) {
        return ssh_blocked_or_fail(put->task.session, n, err, "cannot close a channel");
    }
    rc = libssh2_channel_wait_closed(put->probe);
    if (rc < 0) {
        return ssh_blocked_or_fail(put->task.session, rc, err, "cannot close a channel");
    }
    return put_enter(put, PUT_PROBE_FREE);
}

static enum ssh_progress step_probe_free(struct put *put, struct error *err)
{
    struct ssh_session *session = put->task.session;
    int rc = libssh2_channel_free(put->probe);
    if (rc != 0) {
        return ssh_blocked_or_fail(session, rc, err, "cannot close a channel");
    }
    put->probe = NULL;
    *put->ret_has_sftp = !session->has_no_sftp;
    return session->has_no_sftp ? SSH_DONE : put_enter(put, PUT_INIT);
}

static enum ssh_progress step_init(struct put *put, struct error *err)
{
    struct ssh_session *session = put->task.session;
    session->sftp = libssh2_sftp_init(session->ssh);
    if (session->sftp) {
        session->sftp_window =
            libssh2_channel_window_write(libssh2_sftp_get_channel(session->sftp));
        return put_enter(put, PUT_OPEN);
    }
    int rc = libssh2_session_last_errno(session->ssh);
    if (ssh_would_block(rc) || session->sys_errno || session->is_closed_by_peer) {
        return ssh_blocked_or_fail(session, rc, err, "cannot start SFTP");
    }
    session->has_no_sftp = true;
    *put->ret_has_sftp = false;
    return put_enter(put, PUT_SKIP_ID);
}

static enum ssh_progress step_skip_id(struct put *put, struct error *err)
{
    struct ssh_session *session = put->task.session;
    if (!libssh2_channel_open_session(session->ssh)) { /* stays with the session */
        return ssh_blocked_or_fail(
            session, libssh2_session_last_errno(session->ssh), err, "cannot open a channel");
    }
    return SSH_DONE;
}

/* ---- the file ---- */

static enum ssh_progress step_open(struct put *put, struct error *err)
{
    struct ssh_session *session = put->task.session;
    *put->ret_has_sftp = true;
    put->handle =
        libssh2_sftp_open_ex(session->sftp, put->remote_path, (unsigned)strlen(put->remote_path),
            LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT | LIBSSH2_FXF_TRUNC, (long)put->mode,
            LIBSSH2_SFTP_OPENFILE);
    if (!put->handle) {
        return refused(put, libssh2_session_last_errno(session->ssh), err);
    }
    return put_enter(put, PUT_WRITE);
}

/* Appends the next packet to the window. */
static int refill(struct put *put)
{
    unsigned long window = put->task.session->sftp_window;
    size_t packet = window < PACKET_MIN + PACKET_HEADER   ? PACKET_MIN
                    : window > PACKET_MAX + PACKET_HEADER ? PACKET_MAX
                                                          : window - PACKET_HEADER;
    char bytes[PACKET_MAX];
    put->has_more = !put->is_at_end && put->window.len + packet <= WINDOW_SIZE;
    ssize_t n = put->has_more ? ssh_input_read(&put->input, bytes, packet, &put->refusal) : 0;
    if (n < 0 && n != -EAGAIN) {
        return -(int)put->refusal.code;
    }
    put->is_at_end |= put->has_more && n == 0;
    put->has_more = put->has_more && n > 0;
    buf_add(&put->window, bytes, n > 0 ? (size_t)n : 0);
    return 0;
}

/* libssh2 makes one packet of what it has not seen before: so the window grows by one at a time. */
static enum ssh_progress step_write(struct put *put, struct error *err)
{
    if (refill(put) < 0) {
        return put_enter(put, PUT_UNDO_CLOSE);
    }
    if (put->window.len == 0) {
        return put->is_at_end ? put_enter(put, PUT_MODE) : SSH_BLOCKED;
    }
    ssize_t n = libssh2_sftp_write(put->handle, put->window.data, put->window.len);
    if (n < 0) {
        return ssh_would_block(n) && put->has_more ? SSH_AGAIN : refused(put, n, err);
    }
    buf_consume(&put->window, (size_t)n);
    return SSH_AGAIN;
}

/* The mode given to OPEN went through the guest's umask. */
static enum ssh_progress step_mode(struct put *put, struct error *err)
{
    LIBSSH2_SFTP_ATTRIBUTES attributes = {
        .flags = LIBSSH2_SFTP_ATTR_PERMISSIONS, .permissions = put->mode};
    int rc = libssh2_sftp_fsetstat(put->handle, &attributes);
    return rc < 0 ? refused(put, rc, err) : put_enter(put, PUT_SYNC);
}

/* An extension of OpenSSH: a server without it refuses, and the upload stays unsynced. */
static enum ssh_progress step_sync(struct put *put, struct error *err)
{
    int rc = libssh2_sftp_fsync(put->handle);
    if (rc < 0 && rc != LIBSSH2_ERROR_SFTP_PROTOCOL) {
        return refused(put, rc, err);
    }
    return put_enter(put, PUT_CLOSE);
}

static enum ssh_progress step_close(struct put *put, struct error *err)
{
    int rc = libssh2_sftp_close(put->handle);
    if (rc == 0) {
        put->handle = NULL;
        return SSH_DONE;
    }
    if (!ssh_would_block(rc)) {
        put->handle = NULL; /* libssh2 has freed it */
    }
    return refused(put, rc, err);
}

static enum ssh_progress step_undo_close(struct put *put, struct error *err)
{
    (void)err;
    if (ssh_would_block(libssh2_sftp_close(put->handle))) {
        return SSH_BLOCKED;
    }
    put->handle = NULL;
    return put_enter(put, PUT_UNDO_REMOVE);
}

static enum ssh_progress step_undo_remove(struct put *put, struct error *err)
{
    struct ssh_session *session = put->task.session;
    if (ssh_would_block(libssh2_sftp_unlink_ex(
            session->sftp, put->remote_path, (unsigned)strlen(put->remote_path)))) {
        return SSH_BLOCKED;
    }
    *err = put->refusal;
    return session->sys_errno || session->is_closed_by_peer ? SSH_FAILED : SSH_REFUSED;
}

/* ---- the task ---- */

static enum ssh_progress sftp_step(struct ssh_task *task, struct error *err)
{
    static enum ssh_progress (*const steps[])(struct put *, struct error *) = {
        [PUT_LOCAL] = step_local,
        [PUT_PROBE] = step_probe,
        [PUT_REQUEST] = step_request,
        [PUT_ANSWER] = step_answer,
        [PUT_PROBE_CLOSE] = step_probe_close,
        [PUT_PROBE_FREE] = step_probe_free,
        [PUT_INIT] = step_init,
        [PUT_SKIP_ID] = step_skip_id,
        [PUT_OPEN] = step_open,
        [PUT_WRITE] = step_write,
        [PUT_MODE] = step_mode,
        [PUT_SYNC] = step_sync,
        [PUT_CLOSE] = step_close,
        [PUT_UNDO_CLOSE] = step_undo_close,
        [PUT_UNDO_REMOVE] = step_undo_remove,
    };
    struct put *put = (struct put *)(void *)task;
    enum ssh_progress progress = steps[put->stage](put, err);
    /* libssh2 1.10 keeps waiting for a response after the end of the SFTP server's output. */
    LIBSSH2_SFTP *sftp = task->session->sftp;
    bool has_server_ended = sftp && libssh2_channel_eof(libssh2_sftp_get_channel(sftp)) == 1;
    return progress == SSH_BLOCKED && has_server_ended
               ? ssh_session_fail(task->session, err, "the guest's SFTP server ended")
               : progress;
}

static void sftp_expire(struct ssh_task *task, struct error *err)
{
    const struct put *put = (struct put *)(void *)task;
    error_set(err, ERR_TIMEOUT, "uploading '%s' took longer than %g s", put->local_path,
        (double)put->timeout_ms / 1000.);
}

static void sftp_release(struct ssh_task *task)
{
    struct put *put = (struct put *)(void *)task;
    if (put->handle) {
        (void)libssh2_sftp_close(put->handle); /* the socket is closed: only frees */
    }
    ssh_input_close(&put->input);
    buf_clear(&put->window);
    free(put->local_path);
    free(put->remote_path);
    free(put);
}

static const struct ssh_task_kind kind = {
    .name = "upload", .step = sftp_step, .expire = sftp_expire, .release = sftp_release};

struct op *sftp_put(struct ssh_session *session, const struct ssh_upload_request *request,
    bool *ret_has_sftp, op_done_fn *done, void *context)
{
    struct put *put = mem_new(struct put);
    put->local_path = mem_strdup(request->local_path);
    put->remote_path = mem_strdup(request->remote_path);
    put->mode = request->mode;
    put->timeout_ms = request->timeout_ms;
    put->ret_has_sftp = ret_has_sftp;
    put->window = BUF_INIT(WINDOW_SIZE);
    ssh_task_start(&put->task, &kind, session, request->timeout_ms, done, context);
    return &put->task.op;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/ssh/session.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"

enum {
    DRY_READS_MAX = 10000, /* a sane call reads dry once or twice, see on_receive() */
    EARLY_MAX = 16384,
    KEEPALIVE_DEFAULT_MS = 15000,
    TURN_BYTES = 256 * 1024, /* received, and sent, in one turn of the loop */
    MISSED_MAX = 3,          /* keepalives in a row without an answer */
};

static void init_once(void)
{
    (void)libssh2_init(0); /* a failure shows as a session that cannot be made */
}

void ssh_library_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_once);
}

/* ---- callbacks of libssh2: *abstract is the session ---- */

/*
 * The memory of one libssh2 session, freed as a whole with the session: libssh2 1.10 leaks the
 * buffers of a call that is abandoned half-way (an SFTP open that waits for its response), and
 * vmctld abandons sessions often.
 */
struct ssh_block {
    struct ssh_block *next, *previous;
    alignas(max_align_t) char bytes[];
};

static struct ssh_block *block_of(void *p)
{
    return (struct ssh_block *)(void *)((char *)p - offsetof(struct ssh_block, bytes));
}

static void unlink_block(struct ssh_session *session, struct ssh_block *block)
{
    if (block->previous) {
        block->previous->next = block->next;
    } else {
        session->blocks = block->next;
    }
    if (block->next) {
        block->next->previous = block->previous;
    }
}

static LIBSSH2_REALLOC_FUNC(on_realloc)
{
    struct ssh_session *session = *abstract;
    struct ssh_block *block = ptr ? block_of(ptr) : NULL;
    if (block) {
        unlink_block(session, block);
    }
    block = mem_resize(block, sizeof(*block) + count, 1);
    block->previous = NULL;
    block->next = session->blocks;
    if (block->next) {
        block->next->previous = block;
    }
    session->blocks = block;
    return block->bytes;
}

static LIBSSH2_ALLOC_FUNC(on_alloc)
{
    return on_realloc(NULL, count, abstract);
}

static LIBSSH2_FREE_FUNC(on_free)
{
    if (ptr) {
        unlink_block(*abstract, block_of(ptr));
        free(block_of(ptr));
    }
}

ssize_t ssh_session_receive(struct ssh_session *session, void *bytes, size_t n)
{
    ssize_t got = recv(session->fd, bytes, n, MSG_DONTWAIT);
    if (got > 0) {
        session->received += (uint64_t)got;
        return got;
    }
    if (got == 0) {
        session->is_closed_by_peer = true;
        return 0;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return -EAGAIN;
    }
    session->sys_errno = errno;
    return -errno;
}

/*
 * Returns the bytes read with the banner first. Also returns EAGAIN once the turn's budget is used:
 * the socket stays readable, so the loop comes back after the other VMs' turns.
 *
 * libssh2 1.10 spins on EAGAIN in a few error paths (sftp_init) until the peer has responded. A
 * peer that never does would hang the loop; so after DRY_READS_MAX such reads the connection fails.
 */
static LIBSSH2_RECV_FUNC(on_receive)
{
    (void)socket;
    (void)flags;
    struct ssh_session *session = *abstract;
    if (session->fd < 0) {
        return -ECONNABORTED;
    }
    if (session->early.len > 0) {
        size_t n = length < session->early.len ? length : session->early.len;
        memcpy(buffer, session->early.data, n);
        buf_consume(&session->early, n);
        return (ssize_t)n;
    }
    if (session->dry_reads > DRY_READS_MAX) {
        session->sys_errno = ETIMEDOUT;
        return -ETIMEDOUT;
    }
    size_t share = length < session->receive_budget ? length : session->receive_budget;
    ssize_t got = share > 0 ? ssh_session_receive(session, buffer, share) : -EAGAIN;
    if (got > 0) {
        session->receive_budget -= (size_t)got;
    } else {
        session->dry_reads++;
    }
    return got;
}

static LIBSSH2_SEND_FUNC(on_send)
{
    (void)socket;
    (void)flags;
    struct ssh_session *session = *abstract;
    if (session->fd < 0) {
        return -ECONNABORTED;
    }
    size_t share = length < session->send_budget ? length : session->send_budget;
    if (share == 0) {
        return -EAGAIN; /* the socket is still writable, so the next turn continues */
    }
    ssize_t sent = send(session->fd, buffer, share, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
        session->send_budget -= (size_t)sent;
        return sent;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return -EAGAIN;
    }
    session->sys_errno = errno;
    return -errno;
}

/* ---- opening and closing ---- */

struct ssh_session *ssh_session_new(struct loop *loop, const char *name)
{
    struct ssh_session *session = mem_new(struct ssh_session);
    session->loop = loop;
    session->name = mem_strdup(name);
    session->fd = -1;
    session->early = BUF_INIT(EARLY_MAX);
    session->keepalive_ms = KEEPALIVE_DEFAULT_MS;
    return session;
}

static void on_socket(void *context, int fd, unsigned ready)
{
    (void)fd;
    (void)ready;
    struct ssh_session *session = context;
    ssh_task_run(session->task);
}

int ssh_session_attach(struct ssh_session *session, int fd_take, struct error *err)
{
    session->fd = fd_take;
    session->io = loop_io_new(session->loop, fd_take, 0, on_socket, session);
    session->ssh = libssh2_session_init_ex(on_alloc, on_free, on_realloc, session);
    if (!session->ssh) {
        return error_set(err, ERR_SSH, "cannot create an SSH session: libssh2 failed to start");
    }
    libssh2_session_set_blocking(session->ssh, 0);
    libssh2_keepalive_config(session->ssh, 1, 1);
    libssh2_session_callback_set(
        session->ssh, LIBSSH2_CALLBACK_RECV, __extension__(void *) on_receive);
    libssh2_session_callback_set(
        session->ssh, LIBSSH2_CALLBACK_SEND, __extension__(void *) on_send);
    return 0;
}

void ssh_session_break(struct ssh_session *session)
{
    loop_io_free(TAKE_PTR(session->io));
    if (session->fd >= 0) {
        close(TAKE_FD(session->fd));
    }
}

void ssh_session_close(struct ssh_session *session)
{
    if (!session) {
        return;
    }
    assert(!session->task);
    ssh_session_break(session);
    if (session->ssh) {
        (void)libssh2_session_free(session->ssh); /* cannot block: the socket is gone */
    }
    for (struct ssh_block *block; (block = session->blocks);) {
        session->blocks = block->next;
        free(block);
    }
    buf_clear(&session->early);
    free(session->name);
    free(session);
}

/* No MSG_PEEK: unread data of an idle connection (OpenSSH announces its host keys) hides the EOF
 * behind it. */
bool ssh_session_is_usable(struct ssh_session *session)
{
    struct pollfd socket = {.fd = session->fd, .events = POLLRDHUP};
    return session->fd >= 0 && poll(&socket, 1, 0) == 0;
}

/* ---- errors ---- */

enum ssh_progress ssh_session_fail(struct ssh_session *session, struct error *err, const char *what)
{
    char *reason = NULL;
    (void)libssh2_session_last_error(session->ssh, &reason, NULL, 0);
    if (session->sys_errno) {
        error_set_errno(err, ERR_SSH, session->sys_errno, "%s", what);
    } else if (session->is_closed_by_peer) {
        error_set(err, ERR_SSH, "%s: the guest closed the connection", what);
    } else {
        error_set(err, ERR_SSH, "%s: %s", what, reason && reason[0] ? reason : "unknown reason");
    }
    return SSH_FAILED;
}

enum ssh_progress ssh_blocked_or_fail(
    struct ssh_session *session, long rc, struct error *err, const char *what)
{
    return ssh_would_block(rc) ? SSH_BLOCKED : ssh_session_fail(session, err, what);
}

/* ---- the task ---- */

/* A task that was cancelled in the middle of an exchange, or failed, leaves a session that cannot
 * be used: it is closed before libssh2's objects are freed. */
static void on_cancel(struct op *op)
{
    struct ssh_task *task = (struct ssh_task *)(void *)op;
    struct ssh_session *session = task->session;
    loop_timer_free(TAKE_PTR(task->start));
    loop_timer_free(TAKE_PTR(task->deadline));
    loop_timer_free(TAKE_PTR(task->keepalive));
    session->task = NULL;
    if (!task->keeps_session) {
        ssh_session_break(session);
    } else if (session->io) {
        loop_io_set(session->io, 0);
    }
    task->kind->release(task);
}

static void task_finish(struct ssh_task *task, bool is_broken, const struct error *err)
{
    if (err) {
        log_debug("ssh", "%s: %s failed: %s", task->session->name, task->kind->name, err->message);
    }
    task->keeps_session = !is_broken;
    op_finish(&task->op, err);
}

/* The direction that libssh2 waits for; when it reports none, input. */
static unsigned interest_of(const struct ssh_task *task)
{
    if (task->interest) {
        return task->interest;
    }
    int directions = libssh2_session_block_directions(task->session->ssh);
    unsigned interest = 0;
    interest |= directions & LIBSSH2_SESSION_BLOCK_INBOUND ? LOOP_READ : 0u;
    interest |= directions & LIBSSH2_SESSION_BLOCK_OUTBOUND ? LOOP_WRITE : 0u;
    return interest ? interest : LOOP_READ;
}

static void begin_turn(struct ssh_session *session)
{
    session->receive_budget = TURN_BYTES;
    session->send_budget = TURN_BYTES;
    session->dry_reads = 0;
}

void ssh_task_run(struct ssh_task *task)
{
    struct error err = {.code = ERR_NONE};
    enum ssh_progress progress;
    begin_turn(task->session);
    do {
        task->interest = 0;
        progress = task->kind->step(task, &err);
    } while (progress == SSH_AGAIN);
    switch (progress) {
    case SSH_DONE:
        task_finish(task, false, NULL);
        break;
    case SSH_FAILED:
    case SSH_REFUSED:
        task_finish(task, progress == SSH_FAILED, &err);
        break;
    case SSH_BLOCKED:
    case SSH_AGAIN:
        loop_io_set(task->session->io, interest_of(task));
        break;
    }
}

static void on_start(void *context)
{
    struct ssh_task *task = context;
    if (task->session->fd >= 0 || task->kind->is_opening) {
        ssh_task_run(task);
        return;
    }
    struct error err = {.code = ERR_NONE};
    error_set(&err, ERR_SSH, "the connection to the guest is closed");
    task_finish(task, true, &err);
}

static void on_deadline(void *context)
{
    struct ssh_task *task = context;
    struct error err = {.code = ERR_NONE};
    task->kind->expire(task, &err);
    task_finish(task, true, &err);
}

/* Counts missed responses, not time: after a suspend of the host the guest must not appear dead.
 * While libssh2 has a packet half-sent another one must not be started. */
static void on_keepalive(void *context)
{
    struct ssh_task *task = context;
    struct ssh_session *session = task->session;
    task->missed = session->received == task->received ? task->missed + 1 : 0;
    task->received = session->received;
    if (task->missed >= MISSED_MAX) {
        struct error err = {.code = ERR_NONE};
        error_set(&err, ERR_SSH, "the guest has not answered for %g s",
            (double)(session->keepalive_ms * MISSED_MAX) / 1000.);
        task_finish(task, true, &err);
        return;
    }
    int directions = libssh2_session_block_directions(session->ssh);
    if (!(directions & LIBSSH2_SESSION_BLOCK_OUTBOUND)) {
        int next_s;
        begin_turn(session);
        (void)libssh2_keepalive_send(session->ssh, &next_s); /* a failure shows in the next step */
    }
    loop_timer_start(task->keepalive, session->keepalive_ms);
}

void ssh_task_set_deadline(struct ssh_task *task, int64_t timeout_ms)
{
    loop_timer_start(task->deadline, timeout_ms);
}

void ssh_task_start(struct ssh_task *task, const struct ssh_task_kind *kind,
    struct ssh_session *session, int64_t timeout_ms, op_done_fn *done, void *context)
{
    assert(!session->task);
    session->task = task;
    task->op = (struct op){on_cancel, done, context};
    task->kind = kind;
    task->session = session;
    task->start = loop_timer_new(session->loop, on_start, task);
    task->deadline = loop_timer_new(session->loop, on_deadline, task);
    task->keepalive = loop_timer_new(session->loop, on_keepalive, task);
    task->received = session->received;
    loop_timer_start(task->start, 0);
    if (!kind->is_opening) {
        loop_timer_start(task->keepalive, session->keepalive_ms);
    }
    if (timeout_ms > 0) {
        ssh_task_set_deadline(task, timeout_ms);
    }
}

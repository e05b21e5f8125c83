/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The inside of an SSH session: the socket under libssh2, and the task, which every operation on it
 * is.
 *
 * A task is a state machine whose step() makes one libssh2 call and returns how it went (curl's
 * ssh_statemachine is the model). session.c calls it until it would block, waits for the socket as
 * libssh2 requires, keeps the deadline and the keepalive, and completes exactly once.
 */
#pragma once

#include <libssh2.h>
#include <libssh2_sftp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/loop/loop.h"
#include "controller/loop/op.h"
#include "reconcilers/ssh/ssh.h"
#include "specs/base/buf.h"
#include "specs/base/error.h"

struct ssh_block;
struct ssh_task;

struct ssh_session {
    struct loop *loop; /* borrowed, outlives every session */
    char *name;        /* "vm@127.0.0.1:10022" for messages */
    int fd;            /* -1 once broken */
    struct loop_io *io;
    LIBSSH2_SESSION *ssh;      /* NULL once broken */
    LIBSSH2_SFTP *sftp;        /* opened by the first upload; goes with `ssh` */
    unsigned long sftp_window; /* bytes that its channel takes at a time */
    bool has_no_sftp;          /* the server has none */
    struct ssh_block *blocks;  /* the memory of libssh2 */
    struct ssh_task *task;     /* the one under way, borrowed; NULL: idle */
    struct buf early;          /* bytes read with the banner, which libssh2 reads first */
    size_t receive_budget;     /* bytes that may still be received in this turn */
    size_t send_budget;
    unsigned dry_reads; /* reads in this turn that returned nothing */
    uint64_t received;  /* bytes ever */
    bool is_closed_by_peer;
    int sys_errno; /* of the first failed socket call */
    int64_t keepalive_ms;
};

enum ssh_progress {
    SSH_BLOCKED, /* wait for the socket, then call step() again */
    SSH_AGAIN,   /* the state moved on: call at once */
    SSH_DONE,
    SSH_FAILED,  /* the error is set; the session breaks */
    SSH_REFUSED, /* the error is set; the session stays usable */
};

struct ssh_task_kind {
    const char *name; /* for trace lines */
    bool is_opening;  /* makes the connection; owns the session until it is done */
    enum ssh_progress (*step)(struct ssh_task *task, struct error *err);
    /* The deadline passed: sets err. */
    void (*expire)(struct ssh_task *task, struct error *err);
    /* Frees what the task holds, and the task. On a broken session the socket is closed, but
     * libssh2's objects can still be freed. */
    void (*release)(struct ssh_task *task);
};

struct ssh_task {
    struct op op; /* first: what callers hold */
    const struct ssh_task_kind *kind;
    struct ssh_session *session; /* borrowed; a task of kind "open" owns it */
    struct loop_timer *start, *deadline, *keepalive;
    unsigned interest;  /* LOOP_… to wait for; 0: as libssh2 reports */
    uint64_t received;  /* the session's count at the last keepalive */
    unsigned missed;    /* keepalives in a row without a byte received */
    bool keeps_session; /* it ended and left the connection usable */
};

/* A session that is not connected. */
struct ssh_session *ssh_session_new(struct loop *loop, const char *name);
/* Takes the socket and gives it to libssh2. */
int ssh_session_attach(struct ssh_session *session, int fd_take, struct error *err);
/* Drops the connection at once: closes the socket first, because libssh2 would otherwise wait for
 * answers (libssh2 issues 232 and 344). Twice is fine. */
void ssh_session_break(struct ssh_session *session);

/* Reads the socket itself, for the time before libssh2 does. As recv(2), -errno on failure. */
ssize_t ssh_session_receive(struct ssh_session *session, void *bytes, size_t n);

/* Of a libssh2 call's result; calls that return NULL leave EAGAIN in the session. */
static inline bool ssh_would_block(long rc)
{
    return rc == LIBSSH2_ERROR_EAGAIN;
}

/* Sets err to ERR_SSH with `what` and the reason: of the socket if that failed, else libssh2's. */
enum ssh_progress ssh_session_fail(
    struct ssh_session *session, struct error *err, const char *what);

/* BLOCKED on EAGAIN, else ssh_session_fail(). */
enum ssh_progress ssh_blocked_or_fail(
    struct ssh_session *session, long rc, struct error *err, const char *what);

/* Initialises the embedded `task` and starts it from the loop. timeout_ms 0: no deadline. */
void ssh_task_start(struct ssh_task *task, const struct ssh_task_kind *kind,
    struct ssh_session *session, int64_t timeout_ms, op_done_fn *done, void *context);
/* Moves the deadline, for a task with stages. */
void ssh_task_set_deadline(struct ssh_task *task, int64_t timeout_ms);

/* One turn: steps until it would block or is over. */
void ssh_task_run(struct ssh_task *task);

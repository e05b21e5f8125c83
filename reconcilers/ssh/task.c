/* SPDX-License-Identifier: MPL-2.0 */
#include <assert.h>
#include <stdlib.h>

#include "reconcilers/ssh/session.h"
#include "specs/base/cleanup.h"
#include "specs/base/log.h"

enum {
    TURN_BYTES = 256 * 1024, /* received, and sent, in one turn of the loop */
    MISSED_MAX = 3,
};

static void stop_timers(struct ssh_task *task)
{
    loop_timer_free(TAKE_PTR(task->start));
    loop_timer_free(TAKE_PTR(task->deadline));
    loop_timer_free(TAKE_PTR(task->keepalive));
}

/* Cancelled in the middle of an exchange, or failed, it leaves a session that cannot be used: that
 * one is closed before libssh2's objects are freed. */
static void on_cancel(struct op *op)
{
    struct ssh_task *task = (struct ssh_task *)(void *)op;
    struct ssh_session *session = task->session;
    stop_timers(task);
    session->task = NULL;
    if (!task->keeps_session) {
        ssh_session_break(session);
    } else if (session->io) {
        loop_io_set(session->io, 0);
    }
    task->kind->release(task);
}

static void finish(struct ssh_task *task, bool is_broken, const struct error *err)
{
    if (err) {
        log_debug("ssh", "%s: %s failed: %s", task->session->name, task->kind->name, err->message);
    }
    task->keeps_session = !is_broken;
    op_finish(&task->op, err);
}

/* What libssh2 waits for; when it does not say, for an answer. */
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
        finish(task, false, NULL);
        break;
    case SSH_FAILED:
    case SSH_REFUSED:
        finish(task, progress == SSH_FAILED, &err);
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
    error_set(&err, ERR_SSH, "the connection to the guest is gone");
    finish(task, true, &err);
}

static void on_deadline(void *context)
{
    struct ssh_task *task = context;
    struct error err = {.code = ERR_NONE};
    task->kind->expire(task, &err);
    finish(task, true, &err);
}

/* Counts answers, not time: a host that was suspended must not look like a guest that is gone.
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
        finish(task, true, &err);
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

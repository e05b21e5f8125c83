/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A QMP client on the loop: one connection (QEMU's docs/interop/qmp-spec.rst).
 *
 *   GREETING --greeting--> READY
 *   any --end of stream, garbage, too long a message, no capabilities--> DISCONNECTED
 *
 * READY commands follow qmp_capabilities at once: QEMU executes them in their order. What is sent
 * from within the callbacks of one turn goes out in one piece.
 *
 * The greeting has no deadline: QEMU serves one client at a time and greets the next in the queue
 * when that one leaves, so a reconnect would only lose the place in the queue. The owner measures
 * the silence (monitor.h).
 *
 * An event only means that something changed; the owner must query the state, because QEMU drops
 * events while no client is connected and limits some to one a second.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "specs/base/json.h"

struct error;
struct loop;
struct qmp;

/* All called from the loop only; each may call qmp_free(). */
struct qmp_listener {
    void (*ready)(void *context);
    void (*event)(void *context, const char *name, const json_t *data);
    void (*received)(void *context);  /* any message arrived, even a response after its timeout */
    void (*timed_out)(void *context); /* commands have failed with ERR_TIMEOUT just now */
    void (*closed)(void *context, const struct error *why); /* once; then it is DISCONNECTED */
};

/* `value` is borrowed for the call, NULL with `err`: ERR_QMP_COMMAND (QEMU refused it, with QEMU's
 * text), ERR_TIMEOUT (no answer in QMP_COMMAND_TIMEOUT_MS) or ERR_QMP_CONNECT (connection lost). */
typedef void qmp_reply_fn(void *context, const json_t *value, const struct error *err);

enum { QMP_COMMAND_TIMEOUT_MS = 5000 };

/* Takes the connected, non-blocking socket. */
struct qmp *qmp_new(
    struct loop *loop, int fd_take, const struct qmp_listener *listener, void *context);
/* Pending commands complete with ERR_QMP_CONNECT during the call. NULL is fine. */
void qmp_free(struct qmp *qmp);

bool qmp_is_ready(const struct qmp *qmp);

/*
 * Sends a command; `arguments_take` may be NULL. `reply` is called once, from the loop or from
 * qmp_free(); NULL: the reply is ignored. -ERR_QMP_CONNECT, and no call, when it is not ready.
 */
int qmp_execute(struct qmp *qmp, const char *command, json_t *arguments_take, qmp_reply_fn *reply,
    void *context, struct error *err);
/* The next command carries this descriptor (SCM_RIGHTS), for `add-fd`; only one at a time. */
void qmp_attach_fd(struct qmp *qmp, int fd_take);
/* Drops all later replies for `context`. */
void qmp_forget(struct qmp *qmp, const void *context);

/* When the oldest pending command was sent (loop time); -1: none is pending. */
int64_t qmp_waiting_since(const struct qmp *qmp);

/* The pid of the process that listens at the other end (unix(7), SO_PEERCRED), 0 when unknown. For
 * a connection queued before QEMU ran it is the process that made the socket. */
pid_t qmp_peer_pid(const struct qmp *qmp);

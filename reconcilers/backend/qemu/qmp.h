/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A QMP client on the loop: one connection (QEMU's docs/interop/qmp-spec.rst).
 *
 *   GREETING --greeting--> NEGOTIATING --qmp_capabilities answered--> READY
 *   any --end of stream, garbage, too long a message--> DISCONNECTED
 *
 * There is no deadline for the greeting: QEMU serves one client at a time and greets the next in
 * the queue when the one before leaves, so leaving the queue only means to stand at its end again.
 * The owner sees the time pass (monitor.h).
 *
 * Events say that something changed; what it is must be asked, because events sent while nobody was
 * connected are gone and some are held back to one a second.
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
    void (*spoke)(void *context); /* any message came, also the late answer of a given-up command */
    void (*closed)(void *context, const struct error *why); /* once; then it is DISCONNECTED */
};

/* `value` is borrowed for the call, NULL with `err`: ERR_QMP_COMMAND (QEMU refused it, text is
 * QEMU's), ERR_TIMEOUT (no answer in QMP_COMMAND_TIMEOUT_MS) or ERR_QMP_CONNECT (connection lost).
 */
typedef void qmp_reply_fn(void *context, const json_t *value, const struct error *err);

enum { QMP_COMMAND_TIMEOUT_MS = 5000 };

/* Takes the connected, non-blocking socket. */
struct qmp *qmp_new(
    struct loop *loop, int fd_take, const struct qmp_listener *listener, void *context);
/* Commands under way complete with ERR_QMP_CONNECT during the call. NULL is fine. */
void qmp_free(struct qmp *qmp);

bool qmp_is_ready(const struct qmp *qmp);

/*
 * Sends a command; `arguments_take` may be NULL. `reply` is called once, from the loop or out of
 * qmp_free(); NULL: nobody wants to know. -ERR_QMP_CONNECT, and no call, when it is not ready.
 */
int qmp_execute(struct qmp *qmp, const char *command, json_t *arguments_take, qmp_reply_fn *reply,
    void *context, struct error *err);
/* Replies meant for `context` are dropped from now on. */
void qmp_forget(struct qmp *qmp, const void *context);

/* When the oldest command without an answer was sent (loop time); -1: none is out. */
int64_t qmp_waiting_since(const struct qmp *qmp);

/* Who listens at the other end (unix(7), SO_PEERCRED), 0 when unknown. A connection that waited in
 * the queue since before QEMU ran names the process that made the socket instead. */
pid_t qmp_peer_pid(const struct qmp *qmp);

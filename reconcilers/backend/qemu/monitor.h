/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Keeps one QMP connection to one instance: connects, reconnects with a backoff (50 ms doubling to
 * 2 s) until it is freed, verifies the instance by its UUID, and tracks the run state.
 * Level-triggered: an event only triggers `query-status`, which also runs every 15 seconds. Resets
 * alone are counted from events, because no query reports them. That the host was suspended, which
 * causes no event either, is noticed at the same time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "reconcilers/backend/backend.h"
#include "reconcilers/backend/qemu/qmp.h"
#include "specs/base/json.h"

struct loop;
struct monitor;

/* An idle machine is looked at this often, to detect a hang or a lost event. All are at the same
 * moment: a hundred idle VMs wake the host no more often than one. */
enum { MONITOR_POLL_MS = 15000 };

/* `instance_id` "": any QEMU at `socket_path` is accepted. `changed` is called when the result of a
 * function below has changed. */
struct monitor *monitor_new(struct loop *loop, const char *vm_name, const char *socket_path,
    const char *instance_id, void (*changed)(void *context), void *context);
void monitor_free(struct monitor *monitor); /* NULL is fine; as qmp_free() */

const char *monitor_instance_id(const struct monitor *monitor);
/* RUN_STATE_UNKNOWN while QEMU does not answer. */
enum run_state monitor_run_state(const struct monitor *monitor);
/* The guest runs, and a program in it has opened the port of its agent. */
bool monitor_has_agent(const struct monitor *monitor);
/* The guest runs, and QEMU was not heard of that yet. */
bool monitor_is_agent_unknown(const struct monitor *monitor);
/* How often the guest was reset while connected. */
uint32_t monitor_resets(const struct monitor *monitor);
/* How long QEMU has left a command unanswered, in ms; 0: it answers. */
int64_t monitor_silent_ms(const struct monitor *monitor);
/* The verified connection's peer (qmp_peer_pid), 0 unknown. */
pid_t monitor_peer_pid(const struct monitor *monitor);

/* As qmp_execute(): -ERR_QMP_CONNECT without a monitor (NULL: QEMU does not run), and until the
 * instance is verified. Without `reply` the run state is queried after it. */
int monitor_execute(struct monitor *monitor, const char *command, json_t *arguments_take,
    qmp_reply_fn *reply, void *context, struct error *err);
/* As qmp_attach_fd(); without a connection the descriptor is closed. */
void monitor_attach_fd(struct monitor *monitor, int fd_take);
void monitor_forget(struct monitor *monitor, const void *context);
/* Updates the run state from the result of a `query-status` that the caller sent. */
void monitor_note_status(struct monitor *monitor, const json_t *value);

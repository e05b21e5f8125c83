/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A client of the agent in a guest (specs/vm/agent_protocol.h), on the loop:
 *
 *   IDLE --call--> CONNECTING --> SYNCING --> READY <--> CALLING
 *   any --deadline, end of stream, garbage, too long an answer--> IDLE
 *
 * QEMU serves one client at a time and sends no greeting, so a connection is held only while the
 * caller has calls to make: the next client, also `vmctl exec --agent`, waits in QEMU's queue.
 * After a failure the next call starts a new conversation, so that it cannot receive the answer to
 * an earlier one.
 */
#pragma once

#include <stdint.h>

#include "specs/base/json.h"

struct agent;
struct error;
struct loop;

/* `value` is borrowed for the call, NULL with `err`: ERR_AGENT (it refused, or is no agent) or
 * ERR_TIMEOUT. Called once, from the loop; may call agent_free() and agent_call(). */
typedef void agent_reply_fn(void *context, const json_t *value, const struct error *err);

/* Connects with the first call. */
struct agent *agent_new(struct loop *loop, const char *socket_path);
void agent_free(struct agent *agent); /* NULL is fine; a call under way is forgotten */

/* One call at a time. `timeout_ms` is for all of it, connecting too. */
void agent_call(struct agent *agent, const char *command, json_t *arguments_take,
    int64_t timeout_ms, agent_reply_fn *reply, void *context);

/* Returns the time from the last command to its answer, without the time to connect. */
int64_t agent_trip_ms(const struct agent *agent);

/* SPDX-License-Identifier: MPL-2.0 */
/* An instance has ended: why, whether that counts as a failure, and when the next one may start. */
#pragma once

#include <stdint.h>

#include "specs/vm/vm_status.h"

struct pass;
struct vm_restart;

/*
 * The guest has ended by `cause` and its process is about to be stopped: if the VM's restart policy
 * keeps it down, it stays down until the user requests a start. A request from now on counts, even
 * while the process is still there.
 */
void exit_hold(struct pass *pass, enum exit_cause cause);

/* Of a guest that is to be stopped for it: which part its machine lost, or that its `live` probes
 * failed; an event says it, and the cause is held. */
enum exit_cause exit_hold_unhealthy(struct pass *pass);

/*
 * Records the exit in the patch and clears the instance. A failure is counted once per instance id,
 * however often this is done; the next try waits by backoff. A guest that powered itself off is not
 * started again (unless `restart "always"`) until the user requests it.
 */
void exit_record(struct pass *pass);

/* An instance begins: a restart, if the one before ended without anybody's request. */
void exit_count_restart(struct vm_restart *restart);

/* The user requests a start, or has changed the VM: the next start is theirs. */
void exit_forget_restart(struct vm_restart *restart);

/* A requested restart, of which the end has been made: its start remains. */
int64_t exit_mark_restarted(struct pass *pass);

/* The time left until a crash loop's next try; 0: none. */
int64_t exit_backoff_left_ms(const struct pass *pass);

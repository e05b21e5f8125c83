/* SPDX-License-Identifier: MPL-2.0 */
/* Handles the end of an instance: its cause, whether that counts as a failure, and when the next
 * one may start. */
#pragma once

#include <stdint.h>

#include "specs/vm/vm_status.h"

struct pass;
struct vm_restart;

/*
 * Call when the guest has ended by `cause` and before its process is stopped: if the restart policy
 * keeps the VM down, it stays down until the user requests a start. A request counts from now on,
 * even while the process still exists.
 */
void exit_hold(struct pass *pass, enum exit_cause cause);

/* For a guest that is stopped because its machine lost a part or its `live` probes failed: returns
 * the cause, adds an event and holds the cause. */
enum exit_cause exit_hold_unhealthy(struct pass *pass);

/*
 * Records the exit in the patch and clears the instance. A failure is counted once per instance id,
 * however often this is done; the next try waits by backoff. A guest that powered itself off is not
 * started again (unless `restart "always"`) until the user requests it.
 */
void exit_record(struct pass *pass);

/* What the user can do about an end for lack of memory; free() it. NULL: it was none. */
char *exit_oom_kill_help(const char *name, enum exit_cause cause);

/* Called when an instance starts: counts a restart if the previous one ended without a request. */
void exit_count_restart(struct vm_restart *restart);

/* Called when the user requests a start or changes the VM: the next start is not an automatic
 * restart. */
void exit_forget_restart(struct vm_restart *restart);

/* Records that a requested restart has stopped the VM: the start remains. */
int64_t exit_mark_restarted(struct pass *pass);

/* Returns the time until a crash loop's next try; 0: no wait. */
int64_t exit_backoff_left_ms(const struct pass *pass);

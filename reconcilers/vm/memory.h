/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The memory of templates: a builder is frozen instead of shut down, and the first guest of a clone
 * is woken instead of booted. In the order of a pass:
 *
 *   WAKE_DUE     launch, load; committed: WAKE_BEGUN; run, identify; committed: WAKE_NONE
 *
 * Memory belongs to a disk as it was when the guest stopped. So a VM found in WAKE_BEGUN by another
 * controller, or without a process, has its disk replaced; and memory is loaded in WAKE_DUE alone.
 * What cannot be woken boots from its disk, with the reason in vm_warm.cold; or, with `warm
 * "require"`, is not started.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/vm/vm_status.h"

struct pass;

/* Sets the members of pass->situation about waking and freezing; call it after the others are set.
 */
void memory_assess(struct pass *pass);
/* Returns the wake state of the guest on a new disk that is a clone of the chosen, existing
 * template. */
enum wake memory_plan(const struct pass *pass);
/* Checks whether the memory of an existing template fits this host, and records why if not. Returns
 * false if the VM requires it; `*ret_requeue_ms` is then the result of pass_act(). */
bool memory_choose(struct pass *pass, int64_t *ret_requeue_ms);
/* Fails the pass of a VM that requires memory it cannot use, with the reason. Returns as
 * pass_act(). */
int64_t memory_insist(struct pass *pass, const char *why);

/* The actions, as pass_act(). */
int64_t memory_freeze(struct pass *pass);
int64_t memory_boot_cold(struct pass *pass);
int64_t memory_load(struct pass *pass);
int64_t memory_mark_woken(struct pass *pass);
int64_t memory_identify(struct pass *pass);

/* Their outcomes. True: the status changed. */
bool memory_record_frozen(struct pass *pass);
bool memory_record_identified(struct pass *pass);
/* Records that the operation failed; it is not tried again. */
void memory_record_failure(struct pass *pass);
/* Call when the guest has ended by `cause`. Returns true if it had no identity of its own yet: the
 * wake then counts as failed, and the machine only has to be ended. */
bool memory_record_guest_end(struct pass *pass, enum exit_cause cause);
/* Returns why the process ended, if the file of its memory was the cause; else NULL. free() it. */
char *memory_exit_message(const struct pass *pass);
/* Returns `cause`, or another one if the end of the process is not a failure of the VM. */
enum exit_cause memory_judge_exit(struct pass *pass, enum exit_cause cause);

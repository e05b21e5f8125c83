/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The memory of templates as a VM and a builder deal with it: the builder is frozen instead of shut
 * down, and the first guest of a clone is woken instead of booted, in the order of a pass.
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

/* Sets pass->situation's members about waking and freezing. After the rest of it. */
void memory_assess(struct pass *pass);
/* The new disk is a clone of the chosen template, which is there: as what its guest begins. */
enum wake memory_plan(const struct pass *pass);
/* Of a template that is there: looks whether its memory fits this host, or records why not. False:
 * the VM insists on it, and `*ret_requeue_ms` is what pass_act() returns. */
bool memory_choose(struct pass *pass, int64_t *ret_requeue_ms);
/* The VM insists on what it cannot have, and why: as pass_act(). */
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
/* It failed: no second try. */
void memory_record_failure(struct pass *pass);
/* The guest has ended by `cause`. True: before it was itself, which counts as the former, and its
 * machine is only to be ended. */
bool memory_record_guest_end(struct pass *pass, enum exit_cause cause);
/* Why the process ended, if it did so for the file of its memory; NULL: it did not. free() it. */
char *memory_exit_message(const struct pass *pass);
/* The process ended for `cause`, or for what is no failure of the VM. */
enum exit_cause memory_judge_exit(struct pass *pass, enum exit_cause cause);

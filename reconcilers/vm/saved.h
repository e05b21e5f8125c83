/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A guest that is suspended to disk (`suspend --disk`), in the order of a pass:
 *
 *   committed: SAVED_BEGUN; save; committed: SAVED_WHOLE; its process ends
 *   launch, load; committed: SAVED_LOADED; boot; committed: SAVED_NONE, and the file is gone
 *
 * Memory belongs to the disk as that was when the guest stood still. So it is loaded in SAVED_WHOLE
 * alone, by a machine of the spec that the guest was saved with, onto a disk whose file is the
 * same; and a process that ends in SAVED_BEGUN or SAVED_LOADED ends as one without saved memory
 * does. What cannot be loaded stays until the user gives it up (`stop`), and is not booted over.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/vm/vm_status.h"

struct error;
struct pass;

/* Sets pass->situation's members about saved memory. */
void saved_assess(struct pass *pass);
/* Returns the spec of the machine that resumes from saved memory; NULL: none does. Borrowed. */
const struct vm_spec *saved_spec(const struct vm_status *status);
/* Returns the generation of the machine that is about to start: the desired one, or that of the
 * saved guest if it resumes. */
uint64_t saved_generation(const struct pass *pass);
/* Checks that the saved memory fits the disk and this host: 0 or -ERR_SAVED_MEMORY. */
int saved_check(const struct pass *pass, struct error *err);

/* The actions, as pass_act(). */
int64_t saved_save(struct pass *pass);
int64_t saved_drop(struct pass *pass);

/* The guest runs on. */
void saved_confirm(struct pass *pass);
/* A start begins, with the instance id of its machine. A guest that continues is frozen as it was.
 */
void saved_begin(struct pass *pass);
/* Records the outcome of saving. Returns true if the status changed. */
bool saved_record(struct pass *pass);
/* Returns the cause for which the process ended: `cause` if nothing was saved. */
enum exit_cause saved_judge_exit(struct pass *pass, enum exit_cause cause);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Creates and uses templates (specs/vm/template.h), for VMs and builders.
 *
 * A VM with `warm` that needs a new disk creates a builder's record, unless the template exists;
 * the record's name is that of the template, so only one of several VMs creates it. The VM waits,
 * commits the intent to clone the template, and has its disk made on it. If the template cannot be
 * cloned, the VM uses the image instead and records why.
 *
 * A builder is a VM that is shut down when its steps are done. Its disk is sealed only after a
 * clean shutdown; after any other end it starts again on a new disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pass;
struct vm_prepared;

/* Sets pass->template, and build and template of pass->situation; the other members are set
 * already. */
void template_assess(struct pass *pass);
/* Returns whether the template in `made` is the one that the VM's spec needs now. */
bool template_fits(const struct pass *pass, const struct vm_prepared *made);
/* Returns whether the template that it was made on still exists. */
bool template_is_there(const struct pass *pass, const struct vm_prepared *made);

/* The actions, as pass_act(). */
int64_t template_begin(struct pass *pass);
int64_t template_await(struct pass *pass);
int64_t template_choose(struct pass *pass);
int64_t template_seal_disk(struct pass *pass);
int64_t template_dismiss(struct pass *pass);

/* A new disk is recorded as the VM's: the steps of its template count as run. */
void template_note_steps(struct pass *pass);
/* Call on a new generation: a template that failed may be tried again. */
void template_observe_generation(struct pass *pass);
/* Records that a stalled builder has failed. Returns true if the status changed. Call it after
 * pass_describe_stalled(). */
bool template_note_failure(struct pass *pass);
/* The condition Warm, and that Prepared waits for the template. */
void template_describe(struct pass *pass);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Templates (specs/vm/template.h) as a VM and a builder deal with them, in the order of a pass.
 *
 * A VM that is to have a new disk and whose spec is `warm` has a builder's record put, unless the
 * template is there; the name of that record is that of the template, so that of many VMs one puts
 * it. The VM waits, commits the intent to clone the template, and has its disk made on it. What
 * cannot be cloned is reason enough to take the image instead, and is recorded in words.
 *
 * A builder is a VM that is shut down when its steps are done. Its disk is sealed only if it was
 * shut down in order; whatever else ended it, it begins again on a new one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pass;
struct vm_prepared;

/* Sets build and template of pass->situation, which has all the rest; and pass->template. */
void template_assess(struct pass *pass);
/* What was made for the VM is what its spec asks for now, as far as a template goes. */
bool template_fits(const struct pass *pass, const struct vm_prepared *made);
/* Nobody has removed the template that it was made on. */
bool template_is_there(const struct pass *pass, const struct vm_prepared *made);

/* The actions, as pass_act(). */
int64_t template_begin(struct pass *pass);
int64_t template_await(struct pass *pass);
int64_t template_choose(struct pass *pass);
int64_t template_seal_disk(struct pass *pass);
int64_t template_dismiss(struct pass *pass);

/* A new disk is recorded as the VM's: the steps of its template count as run. */
void template_note_steps(struct pass *pass);
/* The user wants something else: what stood in the way of a template may not any more. */
void template_observe_generation(struct pass *pass);
/* A builder that is stalled has failed. True: the status changed. After pass_describe_stalled(). */
bool template_note_failure(struct pass *pass);
/* The condition Warm, and that Prepared waits for the template. */
void template_describe(struct pass *pass);

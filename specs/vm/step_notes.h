/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Which provision steps need not run again: for `run "once"` a step that succeeded on this disk,
 * for `run "on-change"` one whose content is that of its last success. Kept in vm_provision.done,
 * which is dropped with the disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vm_desired;
struct vm_provision;
struct vm_spec;
struct vm_status;

/* A digest of what the step does, in 16 digits (`ret_hex` holds STEP_CONTENT_SIZE bytes). */
void step_content(const struct vm_spec *spec, uint32_t index, char *ret_hex);

/* `secrets` is a digest of those that the step is given: "" none; NULL not known, so that a step on
 * change that has some is not done. */
bool step_is_done(const struct vm_provision *provision, const struct vm_spec *spec, uint32_t index,
    const char *secrets);

/* Notes a success in place of the one before; a step that always runs leaves no note, nor does one
 * whose secrets are not known any more though they matter. */
void step_mark_done(struct vm_provision *provision, const struct vm_spec *spec, uint32_t index,
    const char *secrets);

/* The first step that is under way or due, from 0, by the desired record and the status it has then
 * (NULL: none yet); as many as the spec has, or more: none. *ret_skips: of each of the spec's
 * steps, whether it is `run "once"` and done, so that it need not run; NULL: none is. free() it. */
uint32_t steps_due(
    const struct vm_desired *desired, const struct vm_status *status, bool **ret_skips);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Which provision steps need not run again: for `run "once"` a step that succeeded on this disk,
 * for `run "on-change"` one whose content is that of its last success. Kept in vm_provision.done,
 * which is dropped with the disk. pass.h declares the other functions of steps.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vm_provision;
struct vm_spec;

/* A digest of what the step does, in 16 digits (`ret_hex` holds STEP_CONTENT_SIZE bytes). */
void step_content(const struct vm_spec *spec, uint32_t index, char *ret_hex);

/* `secrets` is step_secrets_digest(). */
bool step_is_done(const struct vm_provision *provision, const struct vm_spec *spec, uint32_t index,
    const char *secrets);

/* Notes a success in place of the one before; a step that always runs leaves no note, nor does one
 * whose secrets are not known any more though they matter. */
void step_mark_done(struct vm_provision *provision, const struct vm_spec *spec, uint32_t index,
    const char *secrets);

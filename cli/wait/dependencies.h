/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Checks by the present records whether a VM is still stalled on another one. Its own status shows
 * it until the controller observes it again, even after `vmctl start` of the other VM has returned.
 */
#pragma once

#include <stdbool.h>

struct store;
struct vm_record;

/* Its status says so. */
bool dependencies_stalled(const struct vm_record *record);
/* So do the records of what it depends on, and of what keeps those. */
bool dependencies_are_stuck(struct store *store, const struct vm_record *record);

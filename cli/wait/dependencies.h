/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Whether a VM that is stalled on another one still is, as the records are now. Its own status says
 * so until the controller looks at it again, also after `vmctl start` of the other one has
 * returned.
 */
#pragma once

#include <stdbool.h>

struct store;
struct vm_record;

/* Its status says so. */
bool dependencies_stalled(const struct vm_record *record);
/* So do the records of what it depends on, and of what keeps those. */
bool dependencies_are_stuck(struct store *store, const struct vm_record *record);

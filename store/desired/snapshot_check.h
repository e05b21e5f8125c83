/* SPDX-License-Identifier: MPL-2.0 */
/* Whether what is asked for a VM's snapshots may be recorded. Of a VM that has a desired record. */
#pragma once

#include <stdbool.h>

struct error;
struct snapshot_order;
struct vm_record;

/* The very same is under way: a command that was killed is given again, and follows that. */
bool snapshot_is_under_way(const struct vm_record *record, const struct snapshot_order *order);

/* What the controller would refuse is an error at once, and is not recorded: -ERR_VM_CONFLICT,
 * -ERR_VM_INVALID_STATE, -ERR_SNAPSHOT_NOT_FOUND. */
int snapshot_check(const struct vm_record *record, const struct snapshot_order *order,
    const char *vm_name, struct error *err);

/* Whether its guest can be suspended to disk: what its memory depends on must be as it was when it
 * is loaded. Of a VM that has a desired record. -ERR_VM_INVALID_STATE: why not, and what to do
 * instead. */
int save_check(const struct vm_record *record, const char *vm_name, struct error *err);

/* SPDX-License-Identifier: MPL-2.0 */
/* Checks a request for a VM's snapshots before it is recorded. The VM has a desired record. */
#pragma once

#include <stdbool.h>

struct error;
struct snapshot_order;
struct vm_record;

/* Returns whether an identical request is in progress: a command that was killed and repeated then
 * follows it. */
bool snapshot_is_under_way(const struct vm_record *record, const struct snapshot_order *order);

/* Fails at once for a request that the controller would refuse: -ERR_VM_CONFLICT,
 * -ERR_VM_INVALID_STATE, -ERR_SNAPSHOT_NOT_FOUND. */
int snapshot_check(const struct vm_record *record, const struct snapshot_order *order,
    const char *vm_name, struct error *err);

/* Checks that the guest can be suspended to disk: what its memory depends on must not change until
 * it is loaded. The VM has a desired record. -ERR_VM_INVALID_STATE says why not and what to do
 * instead. */
int save_check(const struct vm_record *record, const char *vm_name, struct error *err);

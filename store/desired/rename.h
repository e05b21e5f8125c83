/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Another name for a stopped VM. One transaction moves all that the store has of it, and from then
 * on it has the new name and no other; its files follow:
 *
 *   rename_vm() --records, leases, events; status.renamed_from--> controller --directory, known
 *   hosts--> renamed_from goes, and with it the lease of the old name
 *
 * Killed before the commit, nothing happened. After it the next pass over the VM moves the files,
 * before it does anything else, and as often as it is begun; what is at the new place already is
 * the VM's if its inode is the recorded one. What the controller decided on under the old name and
 * has not committed is stale (store_batch_expect_vm()).
 *
 * The old name is not given to another VM (a lease, name_lease_key()) until the files have moved;
 * nor, of a VM that comes from a VMFile, until that names it by the new one: else the VMFile, which
 * is edited before or after, would make another VM in the place of the one that it means.
 */
#pragma once

#include <stdint.h>

#include "specs/base/text.h"

struct error;
struct store;
struct strings;
struct vm_spec;
struct vmfile;

struct renamed {
    char uid[TEXT_ID_SIZE];
    uint64_t generation;
    char *source; /* the VMFile that has still to be edited; NULL: none. free() it */
};

/*
 * 0, or: -ERR_VM_NOT_FOUND, -ERR_VM_DELETING, -ERR_VM_INVALID_STATE (it is not stopped, has work
 * under way, is of a `run`, or cannot have another name), -ERR_VM_CONFLICT (the new name is taken,
 * or files are there), -ERR_CONTROLLER (one runs that knows nothing of renaming), a store error.
 * Both names are vm_spec_name_is_valid(). Rings the desired bell.
 */
int rename_vm(struct store *store, const char *old_name, const char *new_name, struct renamed *ret,
    struct error *err);

/* -ERR_VM_CONFLICT: the name is still that of a VM which was renamed. */
int rename_check_free(struct store *store, const char *name, struct error *err);

/* The same for what the spec depends on and `before` (NULL: nothing) does not. */
int rename_check_dependencies(struct store *store, const struct vm_spec *before,
    const struct vm_spec *spec, struct error *err);

/* Those of the VMs that the VMFile does not name, nor means by the name that they had. Adds to
 * `ret`. */
int rename_find_removed(struct store *store, const struct strings *vms, const struct vmfile *file,
    struct strings *ret, struct error *err);

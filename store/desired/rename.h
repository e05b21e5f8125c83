/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Renames a stopped VM. One transaction moves all of its records; from then on it has only the new
 * name. Its files follow:
 *
 *   rename_vm() --records, leases, events; status.renamed_from--> controller --directory, known
 *   hosts--> renamed_from goes, and with it the lease of the old name
 *
 * Killed before the commit: nothing happened. After it, every pass over the VM first moves the
 * files, until that is complete; a directory at the new place is the VM's if its inode is the
 * recorded one. Decisions of the controller under the old name that are not committed yet are stale
 * (store_batch_expect_vm()).
 *
 * A lease (name_lease_key()) keeps the old name from other VMs until the files have moved and, for
 * a VM from a VMFile, until that file has the new name: else the VMFile, which is edited before or
 * after, would create a second VM.
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

/* -ERR_VM_CONFLICT: the name still belongs to a VM that was renamed. */
int rename_check_free(struct store *store, const char *name, struct error *err);

/* The same for the VMs that the spec depends on and `before` (NULL: no spec) does not. */
int rename_check_dependencies(struct store *store, const struct vm_spec *before,
    const struct vm_spec *spec, struct error *err);

/* Those of the VMs that the VMFile does not name, nor means by the name that they had. Adds to
 * `ret`. */
int rename_find_removed(struct store *store, const struct strings *vms, const struct vmfile *file,
    struct strings *ret, struct error *err);

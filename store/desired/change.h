/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Changes of desired records. Every command and the VMFile watcher write them only through here.
 *
 * A change is applied by read, modify, compare-and-set, and retried when another process committed
 * first. Concurrent commands lose nothing, and applying a change twice equals applying it once. The
 * controller is notified after the commit (store/bell.h).
 */
#pragma once

#include <stddef.h>

#include "store/desired/change_decide.h"
#include "store/store.h"

struct error;
struct store_batch;

/*
 * Applies the changes (of different VMs) in one transaction: all of them or none. Returns 0 and
 * ret[0 … count-1] (change_outcome_clear() each), or: -ERR_VM_NOT_FOUND (no spec and no such VM),
 * -ERR_VM_CONFLICT (belongs to another VMFile, is not new, or its ports are held),
 * -ERR_VM_DELETING, -ERR_VM_INVALID_STATE (it is protected, or its memory cannot be saved), a store
 * error; of a snapshot: -ERR_VM_INVALID_STATE (it runs, or has no disk), -ERR_VM_CONFLICT (the name
 * is taken, or another request is under way), -ERR_SNAPSHOT_NOT_FOUND; of an origin:
 * -ERR_VM_CONFLICT (that VM no longer exists under its name); of a volume: -ERR_VOLUME_IN_USE,
 * -ERR_VOLUME_NOT_FOUND, -ERR_VM_CONFLICT (it is of the VM's VMFile, or one too many),
 * -ERR_VM_INVALID_STATE (the VM cannot have or mount it), -ERR_DISK_SHRINK. Deleting a VM that is
 * being deleted succeeds.
 */
int change_apply(struct store *store, const struct change *changes, size_t count,
    struct change_outcome *ret, struct error *err);
/* Returns what change_apply() would do now; writes nothing. Treats a VM that is being deleted as
 * gone. */
int change_plan(struct store *store, const struct change *changes, size_t count,
    struct change_outcome *ret, struct error *err);

/* Adds more writes to the transaction. Called at every try, so that it reads current records. An
 * error aborts the transaction; nothing is written. */
struct change_extra {
    int (*add)(void *context, struct store_batch *batch, struct error *err);
    void *context;
};
/* change_apply() with something else in the same transaction; `extra` may be NULL, `count` 0. */
int change_apply_with(struct store *store, const struct change *changes, size_t count,
    const struct change_extra *extra, struct change_outcome *ret, struct error *err);

/*
 * Fills the digests of the files the spec names, so that a changed script or key is a changed spec.
 * An unreadable file is an error that names it and the VM. Files to upload that are larger than
 * 16 MiB are compared by size and modification time instead of content.
 */
int change_read_files(struct vm_spec *spec, struct error *err);

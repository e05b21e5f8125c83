/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The files of snapshots, in vms/NAME/snapshots: FILE.qcow2 is a copy of the disk, beside
 * it are those of what belongs to it (disk_files.h). A copy shares its blocks with the disk where
 * the file system can (btrfs, XFS); elsewhere it takes the time and the room of what the disk
 * holds. It gets its name when it is complete, and the disk is replaced by one rename; so all of it
 * may be done twice, and a power loss leaves the old disk or the new one. One of a disk in use is
 * what a power loss at that moment would have left.
 */
#pragma once

#include "reconcilers/backend/backend.h"

/* vms/NAME/snapshots/FILE.qcow2. free() it. */
char *snapshot_path(const struct paths *paths, const char *vm_name, const char *file);

/* media_ops.keep(): the present disk has this name, too; so it is not copied, and outlives what
 * discard() does with the name it has. */
int snapshot_keep(const struct vm_env *env, const char *file, struct error *err);

/* ---- of a disk in use: the hypervisor copies it to an overlay that is made here ---- */

/* Makes an empty overlay `made` over what the disk is over, or with `is_partial` over nothing, and
 * the snapshot's seed; of the order's volume, over nothing and without a seed. */
struct op *snapshot_make_target(struct reconciler_host *host, const char *vm_name,
    const struct snapshot_order *order, const char *made, bool is_partial, op_done_fn *done,
    void *context);
/* Gives it its name, durably. */
struct op *snapshot_publish(struct reconciler_host *host, const char *made, const char *path,
    op_done_fn *done, void *context);

/* media_ops.clone() */
struct op *snapshot_clone(
    const struct vm_env *env, struct vm_prepared *result, op_done_fn *done, void *context);

/* media_ops.snapshot() */
struct op *snapshot_start(
    const struct vm_env *env, const struct snapshot_order *order, op_done_fn *done, void *context);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The files of snapshots, in vms/NAME/snapshots: FILE.qcow2 is a copy of the disk, FILE.iso one of
 * the seed. A copy shares its blocks with the disk where the file system can (btrfs, XFS);
 * elsewhere it takes the time and the room of what the disk holds. It gets its name when it is
 * complete, and the disk is replaced by one rename; so all of it may be done twice, and a power
 * loss leaves the old disk or the new one.
 */
#pragma once

#include "reconcilers/backend/backend.h"

/* vms/NAME/snapshots/FILE.qcow2. free() it. */
char *snapshot_path(const struct paths *paths, const char *vm_name, const char *file);

/* media_ops.snapshot() */
struct op *snapshot_start(
    const struct vm_env *env, const struct snapshot_order *order, op_done_fn *done, void *context);

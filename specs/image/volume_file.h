/* SPDX-License-Identifier: MPL-2.0 */
/* The file of a volume: DATA/volumes/NAME/volume.qcow2, on no other file; and that of a disk which
 * is empty at every start. */
#pragma once

#include <stdint.h>

struct paths;

/* free() it. */
char *volume_path(const struct paths *paths, const char *name);

/* In STORE_META: {fileBytes}, how long its file was when a VM that had it last ended. The record
 * goes with the volume. free() it. */
char *volume_record_key(const char *name);

/* vms/VM/scratch-NAME.qcow2. free() it. */
char *scratch_path(const struct paths *paths, const char *vm_name, const char *name);

enum { VOLUME_IS_MISSING = -1, VOLUME_IS_FOREIGN = -2 };

/* Returns the size of the disk in bytes from its header; VOLUME_IS_MISSING; VOLUME_IS_FOREIGN: not
 * a qcow2 file, or one that refers to another file. */
int64_t volume_bytes(const struct paths *paths, const char *name);

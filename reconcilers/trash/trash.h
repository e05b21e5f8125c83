/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Removing files: an atomic rename into DATA/trash, then deletion there on the pool. Killed in
 * between, the rest is swept at the next start. Both reach their files below the data directory
 * without following a symbolic link, and neither takes room: a full disk can be freed.
 */
#pragma once

#include <stdbool.h>

struct error;
struct reconciler_host;
struct vm_snapshot;

/* Removes overlay and seed of a VM, and what its firmware and TPM kept, or with `whole_dir` its
 * directory; missing files are fine. Only while no process uses them. */
int removal_discard(struct reconciler_host *host, const char *vm_name, const char *uid,
    bool whole_dir, struct error *err);

/* Removes one file of the data directory. */
int removal_discard_file(struct reconciler_host *host, const char *path, struct error *err);

/* -ERR_VM_CONFLICT while there is a directory of a VM that has no record, as after the store was
 * lost: its disk may lie on any image and any template. -ERR_STORE. Before removing either. */
int removal_check_orphans(struct reconciler_host *host, struct error *err);

/* "db@before"; of a snapshot that is nobody's but a clone's, and goes by itself, "db". free() it.
 */
char *removal_snapshot_user(const char *vm_name, const struct vm_snapshot *snapshot);
/* Adds the commands that remove `users`, such as "web db@before ~3f2ad08b11c5": VMs, snapshots and
 * templates, with blanks between. Returns the error's code, as error_help(). */
int removal_help_users(const char *users, struct error *err);

/* Deletes the trash and the temporary files of downloads, in the background. At the start, before
 * any operation. */
void removal_sweep(struct reconciler_host *host);

/* Removes temporary files ("*.tmp-*") in a directory; a directory that is not there is fine. */
void removal_sweep_temporary(const char *directory);

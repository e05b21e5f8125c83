/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Throwing away: a rename into DATA/trash, at once and whole, then deletion there on the pool.
 * Killed in between, the rest is swept at the next start.
 */
#pragma once

#include <stdbool.h>

struct error;
struct reconciler_host;

/*
 * Takes away overlay and seed of a VM, or with `whole_dir` its directory. What is gone is fine.
 * Only while no process uses them.
 */
int removal_discard(struct reconciler_host *host, const char *vm_name, const char *uid,
    bool whole_dir, struct error *err);

/* Takes away one file. Not synced: after a power loss it may be back. */
int removal_discard_file(struct reconciler_host *host, const char *path, struct error *err);

/* Deletes what lies in the trash and downloads' temporary files, in the background. For the start,
 * before any operation. */
void removal_sweep(struct reconciler_host *host);

/* Removes temporary files ("*.tmp-*") in a directory; a directory that is not there is fine. */
void removal_sweep_temporary(const char *directory);

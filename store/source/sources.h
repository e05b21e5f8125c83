/* SPDX-License-Identifier: MPL-2.0 */
/* The sources table: the records of watched VMFiles (specs/vm/source_record.h). */
#pragma once

#include "specs/vm/source_record.h"

struct error;
struct store;
struct strings;
struct store_batch;

/* *ret is NULL when `path` is not watched. source_record_free() it. */
int sources_get(
    struct store *store, const char *path, struct source_record **ret, struct error *err);

/* All of them, by path. */
struct source_list {
    struct source_record **items;
    size_t count;
};
int sources_list(struct store *store, struct source_list *ret, struct error *err);
void source_list_clear(struct source_list *list);

/* Compare-and-set: stale unless the table has `before` (NULL: nothing) under the path; then it has
 * `after` (NULL: nothing). At least one is given, both of the same path. */
void sources_change(struct store_batch *batch, const struct source_record *before,
    const struct source_record *after);

/*
 * Watches the file or directory of `wanted`, or watches it as `wanted` says from now on: what came
 * of it so far is kept, a directory's file becomes registered by itself. Adds to the batch.
 */
int sources_add_registration(struct store *store, struct store_batch *batch,
    const struct source_record *wanted, struct error *err);

/* Notes that a command applied the VMFile at `path` as a whole with these inputs, if that is
 * watched: the watcher then finds out by itself when the command read an older file than the
 * watcher had, and reads it with the same inputs and overrides from now on. Of another project than
 * is watched it notes nothing: those VMs are others. Adds to the batch. */
int sources_add_applied(struct store *store, struct store_batch *batch, const char *path,
    const char *sha256, const char *digest, const struct strings *inputs,
    const struct strings *overrides, struct error *err);

/*
 * Forgets that `path` is watched; of a directory, its files, too. Its VMs stay as they are.
 * *ret_was_watched is false when it was not. Commits and rings the desired bell.
 */
int sources_forget(struct store *store, const char *path, bool *ret_was_watched, struct error *err);

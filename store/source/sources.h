/* SPDX-License-Identifier: MPL-2.0 */
/* The sources table: the records of watched VMFiles (specs/vm/source_record.h). */
#pragma once

#include "specs/vm/source_record.h"

struct error;
struct store;
struct strings;
struct store_batch;
struct vmfile_load;

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
 * Starts to watch the file or directory of `wanted`, or updates how it is watched; keeps the
 * results so far, and a file of a watched directory becomes registered itself. Adds to the batch.
 */
int sources_add_registration(struct store *store, struct store_batch *batch,
    const struct source_record *wanted, struct error *err);

/* A command applies a VMFile, with these inputs and overrides. */
struct source_applied {
    const struct vmfile_load *load; /* valid, with the files that it names (vmfile_load_files()) */
    bool is_whole;                  /* all its VMs are meant; else some, */
    const struct strings *names;    /* which are these */
    const struct strings *inputs, *overrides;
    enum source_prune prune; /* what the command itself does to VMs that the file does not name */
};

/*
 * -ERR_VM_CONFLICT when the VMFile is watched, for the same project, and
 *  - with other overrides: its VMs would have other settings than it is watched for, and
 *    with --prune those of an override that is left out would be destroyed;
 *  - or with other inputs and --prune, and the watcher would take away VMs that the file names with
 *    one of the two inputs only, which the command does not do by itself.
 * Nobody has asked for that. `sources_add_applied` checks it in the transaction, too.
 */
int sources_check_applied(
    struct store *store, const struct source_applied *applied, struct error *err);

/* Notes that a command applied the VMFile as a whole, if that is watched: the watcher then finds
 * out by itself when the command read an older file than the watcher had, and reads it with the
 * same inputs from now on. Of another project than is watched it notes nothing: those VMs are
 * others. Adds to the batch. */
int sources_add_applied(struct store *store, struct store_batch *batch,
    const struct source_applied *applied, struct error *err);

/*
 * Forgets that `path` is watched; of a directory, its files, too. Its VMs stay as they are.
 * *ret_was_watched is false when it was not. Commits and rings the desired bell.
 */
int sources_forget(struct store *store, const char *path, bool *ret_was_watched, struct error *err);

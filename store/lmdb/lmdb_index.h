/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The index from a VMFile to the names of its VMs, so that a command that means one VMFile, or one
 * VM, does not read them all; the names of what changed last, so that the controller does not
 * either; and that from a VM to the leases it holds, and to its events (lmdb_event_blocks.h).
 * Private to store/.
 *
 *   by-source      key HASH NAME    (of the source, 8 bytes; the value says nothing)
 *   changes        key TXN NAME     what transactions wrote or removed, the last 1,024 records;
 *                                   their numbers of 8 bytes, most significant first
 *   leases-by-vm   key NAME \t KEY  (record_key()); value KEY, of the lease. By name, as VMs that
 *                                   start together mostly share a page
 *   main           key "indexed"    what it is as of: the layout, the number of a transaction, and
 *                                   that of the last one of which changes were left out; u64 each
 *
 * They are written in the transaction that writes the records. A reader uses them only if they are
 * as of the very transaction that is read, and else reads all records; a writer makes them again if
 * they are not as of the transaction before. So an index that is missing, or that a vmctl without
 * one has written beside, is never used. The numbers are in LMDB's main table, on a page that every
 * commit writes.
 */
#pragma once

#include "specs/base/strings.h"
#include "store/lmdb/lmdb_env.h"

/* Opens the tables, if they are there: else store->by_source is LMDB_NO_TABLE. */
int lmdb_index_open(struct store *store, MDB_txn *txn);

/* Makes tables and contents, in a write transaction. */
int lmdb_index_make(struct store *store, MDB_txn *txn);

/* Makes the contents again in a write transaction that begins, if they are not as of the one
 * before: *ret_is_made. From then on lmdb_put() and lmdb_remove() keep the index. */
int lmdb_index_begin(struct store *store, MDB_txn *txn, bool *ret_is_made);
/* The transaction is about to be committed. */
int lmdb_index_end(struct store *store, MDB_txn *txn);

/* A desired record will be written (`value`) or removed (NULL). */
int lmdb_index_change(struct store *store, MDB_txn *txn, MDB_val name, const struct bytes *value);

/* A lease will be written (`value`) or removed (NULL). */
int lmdb_index_change_lease(
    struct store *store, MDB_txn *txn, MDB_val key, const struct bytes *value);

/* Appends the keys of the leases that say to be held by the VM of this name. MDB_NOTFOUND: the
 * index cannot be used, or is damaged, and `keys` says nothing. */
int lmdb_index_leases(
    struct store *store, const struct lmdb_read *read, const char *vm_name, struct strings *keys);
/* The same in a write transaction, with what it has written. */
int lmdb_index_leases_now(
    struct store *store, MDB_txn *txn, const char *vm_name, struct strings *keys);

/* Calls back with each desired record that may be of the source, as it is in record_source(), in
 * the order of their names, until one returns an LMDB code. MDB_NOTFOUND: the index cannot be used.
 */
typedef int lmdb_index_visit(
    struct store *store, struct bytes name, struct bytes stored, void *context);
int lmdb_index_each(struct store *store, const struct lmdb_read *read, struct bytes source,
    lmdb_index_visit *visit, void *context);

/* Adds each name that a transaction after `since` has written or removed, once. MDB_NOTFOUND: the
 * index cannot be used, is damaged, or does not go back so far. *ret_now, always set: the
 * transaction that is read. */
int lmdb_index_changed(struct store *store, const struct lmdb_read *read, uint64_t since,
    struct strings *names, uint64_t *ret_now);

/* Whether it is as of the transaction that is read. */
bool lmdb_index_is_usable(const struct store *store, const struct lmdb_read *read);

/* Whether the index, if it is one that is used, says what the records say. */
struct index_agreement {
    bool of_sources, of_leases, of_events;
};
int lmdb_index_agrees(
    struct store *store, const struct lmdb_read *read, struct index_agreement *ret);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The index from a VM to its events, so that those of one VM are found without reading the others.
 * Private to store/.
 *
 *   event-blocks   key BLOCK (sequence / 128; u64, most significant byte first)
 *                  value 128 times u32: a hash of the VM's name, by sequence; 0: no event
 *
 * Part of the index of lmdb_index.h: made, used and given up with it. A block is written once, with
 * the first event behind it, so that most events cost no page more. The newest is never in it, and
 * others need not be: their events are read. An event that has gone since leaves its hash.
 */
#pragma once

#include "store/lmdb/lmdb_env.h"

enum { EVENT_BLOCK = 128 };

/* Makes the contents, in a write transaction. */
int lmdb_event_blocks_make(struct store *store, MDB_txn *txn);

/* An event will be added behind the one of sequence `last`: writes the block that ends with that.
 */
int lmdb_event_blocks_end(struct store *store, MDB_txn *txn, uint64_t last);

/* An event will be changed in its place. */
int lmdb_event_blocks_change(
    struct store *store, MDB_txn *txn, MDB_val key, const struct bytes *value);

/* The places in the block, newest first, whose events may be of the VM. MDB_NOTFOUND: it is not
 * known. */
int lmdb_event_block_find(struct store *store, MDB_txn *txn, uint64_t block, struct bytes vm_name,
    unsigned char ret[EVENT_BLOCK], size_t *ret_n);

/* Whether the blocks say what the events say. */
int lmdb_event_blocks_agree(struct store *store, MDB_txn *txn, bool *ret);

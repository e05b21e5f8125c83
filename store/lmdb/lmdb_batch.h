/* SPDX-License-Identifier: MPL-2.0 */
/* What is in a batch, and how it is applied inside a write transaction. Private to store/. */
#pragma once

#include "specs/base/error.h"
#include "store/batch.h"
#include "store/lmdb/lmdb_env.h"

enum batch_op_kind {
    OP_PUT_DESIRED,
    OP_PUT_STATUS,
    OP_EXPECT_VM,
    OP_FORGET_VM,
    OP_TAKE_LEASE,
    OP_DROP_LEASE,
    OP_PUT_JSON,
    OP_REMOVE_JSON,
    OP_EXPECT_JSON,
    OP_ADD_EVENT,
};

struct batch_op {
    enum batch_op_kind kind;
    enum store_table table;
    char *key;   /* VM name, lease key, JSON key */
    char *value; /* the encoded record, NULL: none; OP_ADD_EVENT: the message */
    size_t value_len;
    char uid[TEXT_ID_SIZE];
    uint64_t expected_revision; /* OP_PUT_DESIRED */
    bool is_warning;            /* OP_ADD_EVENT, and the two below */
    enum reason reason;
    int64_t now_ms;
};

struct store_batch {
    struct batch_op *ops;
    size_t n_ops;
};

/*
 * Applies the operations in order. Returns 0, an LMDB code, or -ERR_STORE_STALE with `err` set when
 * an expectation does not hold; `ret_has_written` (always set) is whether the transaction has
 * been changed by then and must be given up.
 */
int lmdb_apply_batch(struct store *store, MDB_txn *txn, const struct store_batch *batch,
    bool *ret_has_written, struct error *err);

/*
 * Group commit: all batches in one transaction, each all-or-nothing. results[i].code is ERR_NONE,
 * ERR_STORE_STALE for a batch that lost alone, or the error that made the transaction fail, the
 * same for all others. `n` is at least 1.
 */
void lmdb_commit_group(
    struct store *store, const struct store_batch *const *batches, struct error *results, size_t n);

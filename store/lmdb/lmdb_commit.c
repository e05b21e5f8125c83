/* SPDX-License-Identifier: MPL-2.0 */
#include "store/lmdb/lmdb_batch.h"

#include <assert.h>

#include "specs/base/error.h"

/* A code of our own beside LMDB's: a stale batch spoilt the transaction; run it again. */
enum { RUN_AGAIN = -1 };
_Static_assert(ERR_STORE_STALE != 1, "the codes of lmdb_write()'s bodies differ");

struct group {
    const struct store_batch *const *batches;
    struct error *results;
    size_t n;
};

/*
 * A stale batch is left out and the others continue. When it had written something before it turned
 * out to be stale, the whole transaction is run again without it: rarer, and cheaper, than a nested
 * transaction (2 MiB of page lists each) around every batch. What a batch sees are the batches
 * before it that stay, so the result is the same as committing one after the other.
 */
static int apply_group(struct store *store, MDB_txn *txn, void *context)
{
    struct group *group = context;
    bool is_changed = false;
    for (size_t i = 0; i < group->n; i++) {
        bool has_written;
        if (group->results[i].code != ERR_NONE) {
            continue;
        }
        int rc = lmdb_apply_batch(store, txn, group->batches[i], &has_written, &group->results[i]);
        if (rc == -ERR_STORE_STALE && has_written) {
            return RUN_AGAIN;
        }
        if (rc != 0 && rc != -ERR_STORE_STALE) {
            return rc;
        }
        is_changed |= rc == 0 && has_written;
    }
    return is_changed ? 0 : LMDB_UNCHANGED;
}

void lmdb_commit_group(
    struct store *store, const struct store_batch *const *batches, struct error *results, size_t n)
{
    struct group group = {.batches = batches, .results = results, .n = n};
    struct error failure = {0};
    int rc;
    for (size_t i = 0; i < n; i++) {
        error_clear(&results[i]);
    }
    do {
        rc = lmdb_write(store, apply_group, &group);
    } while (rc == RUN_AGAIN);
    if (rc == 0) {
        return;
    }
    (void)lmdb_error(store, rc, "cannot write to the store", &failure);
    for (size_t i = 0; i < n; i++) { /* a stale batch stays what it is: it wrote nothing either */
        if (results[i].code == ERR_NONE) {
            results[i] = failure;
        }
    }
}

/* A user's change must survive a power cut, also when the controller's VMFile watcher commits it.
 */
int store_commit(struct store *store, const struct store_batch *batch, struct error *err)
{
    struct error result;
    assert(err->code == ERR_NONE);
    if (store_batch_is_empty(batch)) {
        return 0;
    }
    lmdb_commit_group(store, &batch, &result, 1);
    if (result.code != ERR_NONE) {
        *err = result;
        return -(int)result.code;
    }
    int rc = store->is_relaxed ? lmdb_sync(store) : 0;
    return rc == 0 ? 0 : lmdb_error(store, rc, "cannot sync the store", err);
}

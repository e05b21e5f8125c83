/* SPDX-License-Identifier: MPL-2.0 */
/* Write transactions, which keep the index, and what they write. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "store/lmdb/checksum.h"
#include "store/lmdb/guard.h"
#include "store/lmdb/lmdb_event_blocks.h"
#include "store/lmdb/lmdb_index.h"

enum {
    READER_CHECK_INTERVAL = 64 /* commits; a dead reader costs a few pages for each until then */
};

/* An index that has to be made again is large, and the disk may be full: then without. */
static int change_records(
    struct store *store, MDB_txn *txn, lmdb_write_body *body, void *context, bool *makes_index)
{
    bool is_made = false;
    store->is_indexing = false;
    int rc = *makes_index ? lmdb_index_begin(store, txn, &is_made) : 0;
    *makes_index = is_made;
    rc = rc == 0 ? body(store, txn, context) : rc;
    rc = rc == LMDB_UNCHANGED && is_made ? 0 : rc;
    return rc == 0 ? lmdb_index_end(store, txn) : rc;
}

/* LMDB calls it an I/O error that not all of its pages could be written. */
static int cause_of(const struct store *store, int rc)
{
    enum { LEAST_BYTES = 64 * 1024 };
    struct statvfs fs;
    int fd;
    bool is_full = rc == EIO && mdb_env_get_fd(store->env, &fd) == 0 && fstatvfs(fd, &fs) == 0 &&
                   (uint64_t)fs.f_bavail * fs.f_frsize < LEAST_BYTES;
    return is_full ? ENOSPC : rc;
}

/* *makes_index: whether it may, if it is not current; then whether it has tried to. */
static int write_once(struct store *store, lmdb_write_body *body, void *context, bool *makes_index)
{
    MDB_txn *txn = NULL;
    (void)pthread_rwlock_rdlock(&store->map_lock);
    guard_enter();
    int rc = !store->env           ? MDB_PANIC
             : store->is_read_only ? EROFS
                                   : mdb_txn_begin(store->env, NULL, 0, &txn);
    if (rc == 0) {
        rc = change_records(store, txn, body, context, makes_index);
        if (rc == 0) {
            rc = cause_of(store, mdb_txn_commit(txn));
        } else {
            mdb_txn_abort(txn);
        }
    } else {
        *makes_index = false;
    }
    guard_leave();
    if (rc == 0 && atomic_fetch_add(&store->commits, 1) % READER_CHECK_INTERVAL == 0) {
        (void)lmdb_clear_dead_readers(store);
    }
    (void)pthread_rwlock_unlock(&store->map_lock);
    return rc == LMDB_UNCHANGED ? 0 : rc;
}

int lmdb_write(struct store *store, lmdb_write_body *body, void *context)
{
    sigset_t previous;
    int rc, attempt = 0;
    bool makes_index, may_make_index = true;
    lmdb_hold_signals(&previous);
    do {
        makes_index = may_make_index;
        rc = write_once(store, body, context, &makes_index);
        may_make_index &= !(makes_index && (rc == ENOSPC || rc == EDQUOT || rc == EIO));
    } while (rc != 0 && ((makes_index && !may_make_index) || lmdb_recover(store, rc, attempt++)));
    lmdb_release_signals(&previous);
    return rc;
}

static int change_index(struct store *store, MDB_txn *txn, enum store_table table, MDB_val key,
    const struct bytes *value)
{
    return table == STORE_DESIRED  ? lmdb_index_change(store, txn, key, value)
           : table == STORE_LEASES ? lmdb_index_change_lease(store, txn, key, value)
           : table == STORE_EVENTS ? lmdb_event_blocks_change(store, txn, key, value)
                                   : 0;
}

int lmdb_put(
    struct store *store, MDB_txn *txn, enum store_table table, MDB_val key, struct bytes value)
{
    MDB_val room = {.mv_size = value.n + CHECKSUM_BYTES};
    int rc = change_index(store, txn, table, key, &value);
    rc = rc == 0 ? mdb_put(txn, store->tables[table], &key, &room, MDB_RESERVE) : rc;
    if (rc == 0) {
        memcpy(room.mv_data, value.data, value.n);
        checksum_write(table, lmdb_bytes(key), value, (unsigned char *)room.mv_data + value.n);
    }
    return rc;
}

int lmdb_remove(struct store *store, MDB_txn *txn, enum store_table table, MDB_val key)
{
    int rc = change_index(store, txn, table, key, NULL);
    return rc == 0 ? mdb_del(txn, store->tables[table], &key, NULL) : rc;
}

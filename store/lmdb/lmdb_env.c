/* SPDX-License-Identifier: MPL-2.0 */
#include "store/lmdb/lmdb_env.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/error.h"
#include "store/lmdb/checksum.h"
#include "store/lmdb/guard.h"

enum {
    RETRIES_MAX = 20 /* enough to double the smallest map up to MAP_BYTES_MAX */
};

/* Far more than ten thousand VMs need: past this a stuck reader pins old pages. */
#define MAP_BYTES_MAX ((uint64_t)8 << 30)

/* ---- errors ---- */

int lmdb_error(const struct store *store, int rc, const char *what, struct error *err)
{
    if (rc == MDB_MAP_FULL) {
        (void)error_set(err, ERR_NO_SPACE, "%s: the store in '%s' is full", what, store->path);
        return error_help(err, "find and end a stopped vmctl process that still reads it");
    }
    if (rc == MDB_INVALID || rc == MDB_CORRUPTED || rc == MDB_VERSION_MISMATCH ||
        rc == MDB_PAGE_NOTFOUND || rc == MDB_PANIC || rc == MDB_CURSOR_FULL ||
        rc == MDB_INCOMPATIBLE || rc == MDB_BAD_TXN) {
        (void)error_set(err, ERR_STORE, "%s: the store in '%s' is damaged: %s", what, store->path,
            mdb_strerror(rc));
        return error_help(err,
            "move it aside (the disks in vms/ stay untouched): mv %s %s.broken; then `vmctl up` "
            "with each VMFile takes its disks back",
            store->path, store->path);
    }
    if (rc > 0) {
        (void)error_set_errno(err, ERR_STORE, rc, "%s in '%s'", what, store->path);
        return rc == EROFS ? error_help(err,
                                 "see the cause in dmesg, then make it writable: findmnt -T %s; "
                                 "running VMs keep running",
                                 store->path)
                           : -ERR_STORE;
    }
    return error_set(err, ERR_STORE, "%s in '%s': %s", what, store->path, mdb_strerror(rc));
}

/* ---- recovery ---- */

int lmdb_clear_dead_readers(struct store *store)
{
    int dead = 0;
    return mdb_reader_check(store->env, &dead) == 0 ? dead : 0;
}

/*
 * Dead readers first: they keep pages from being used again, and then nothing needs to grow. There
 * is nothing to trim: the one table that grows by itself, the events, is a ring.
 */
static bool grow(struct store *store)
{
    if (lmdb_clear_dead_readers(store) > 0) {
        return true;
    }
    MDB_envinfo before, now;
    if (mdb_env_info(store->env, &before) != 0 || mdb_env_set_mapsize(store->env, 0) != 0 ||
        mdb_env_info(store->env, &now) != 0) {
        return false;
    }
    if (now.me_mapsize > before.me_mapsize) { /* another process was faster */
        return true;
    }
    uint64_t bytes = (uint64_t)before.me_mapsize * 2;
    return bytes <= MAP_BYTES_MAX && bytes <= SIZE_MAX &&
           mdb_env_set_mapsize(store->env, (size_t)bytes) == 0;
}

bool lmdb_recover(struct store *store, int rc, int attempt)
{
    bool is_better = false;
    bool is_reopened = rc == MDB_PANIC || (rc == EROFS && store->is_read_only);
    bool is_known =
        is_reopened || rc == MDB_MAP_RESIZED || rc == MDB_MAP_FULL || rc == MDB_READERS_FULL;
    if (!is_known || attempt >= RETRIES_MAX) {
        return false;
    }
    (void)pthread_rwlock_wrlock(&store->map_lock);
    if (is_reopened) {
        struct error ignored = {0}; /* the caller reports the error that led here */
        lmdb_close(store);
        is_better = lmdb_open(store, &ignored) == 0 && (rc != EROFS || !store->is_read_only);
    } else if (store->env && rc == MDB_MAP_RESIZED) {
        is_better = mdb_env_set_mapsize(store->env, 0) == 0;
    } else if (store->env && rc == MDB_MAP_FULL) {
        is_better = grow(store);
    } else if (store->env && rc == MDB_READERS_FULL) {
        is_better = lmdb_clear_dead_readers(store) > 0;
    }
    if (store->env) {
        guard_watch(store->env, store->path); /* the map may have another address now */
    }
    (void)pthread_rwlock_unlock(&store->map_lock);
    return is_better;
}

/* ---- reading ---- */

void lmdb_hold_signals(sigset_t *ret_previous)
{
    static const int held[] = {SIGINT, SIGTERM, SIGTSTP, SIGHUP, SIGQUIT};
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++) {
        (void)sigaddset(&set, held[i]);
    }
    (void)pthread_sigmask(SIG_BLOCK, &set, ret_previous);
}

void lmdb_release_signals(const sigset_t *previous)
{
    (void)pthread_sigmask(SIG_SETMASK, previous, NULL);
}

bool lmdb_lacks_slot(int rc)
{
    return rc == EAGAIN || rc == MDB_BAD_RSLOT || rc == MDB_READERS_FULL;
}

/* Leaves map_lock held on success. `is_locked`: in a write transaction, which needs no reader slot.
 */
static int begin_read(struct store *store, struct lmdb_read *read, bool is_locked)
{
    if (is_locked) {
        lmdb_hold_signals(&read->mask);
    }
    (void)pthread_rwlock_rdlock(&store->map_lock);
    guard_enter();
    unsigned flags = is_locked ? 0 : MDB_RDONLY;
    int rc = store->env ? mdb_txn_begin(store->env, NULL, flags, &read->txn) : MDB_PANIC;
    read->is_write = is_locked && rc == 0;
    if (rc != 0) {
        guard_leave();
        (void)pthread_rwlock_unlock(&store->map_lock);
    }
    if (rc != 0 && is_locked) {
        lmdb_release_signals(&read->mask);
    }
    return rc;
}

int lmdb_read_begin(struct store *store, struct lmdb_read *read, struct error *err)
{
    bool is_locked = false;
    *read = (struct lmdb_read){0};
    for (int attempt = 0;; attempt++) {
        int rc = begin_read(store, read, is_locked);
        if (rc == 0) {
            return 0;
        }
        if (lmdb_recover(store, rc, attempt)) {
            continue;
        }
        if (is_locked || !lmdb_lacks_slot(rc)) {
            return lmdb_error(store, rc, "cannot read the store", err);
        }
        is_locked = true;
    }
}

void lmdb_read_end(struct store *store, struct lmdb_read *read)
{
    mdb_txn_abort(read->txn);
    guard_leave();
    (void)pthread_rwlock_unlock(&store->map_lock);
    if (read->is_write) {
        lmdb_release_signals(&read->mask);
    }
}

/* ---- syncing and mapping ---- */

void lmdb_relax(struct store *store)
{
    (void)pthread_rwlock_wrlock(&store->map_lock);
    store->is_relaxed = true; /* for a reopening, too */
    if (store->env) {
        (void)mdb_env_set_flags(store->env, MDB_NOMETASYNC, 1);
    }
    (void)pthread_rwlock_unlock(&store->map_lock);
}

/* Mapping it again at its size is what LMDB offers for that. */
bool store_unload(struct store *store)
{
    if (pthread_rwlock_trywrlock(&store->map_lock) != 0) {
        return false;
    }
    if (store->env && mdb_env_set_mapsize(store->env, 0) == 0) {
        guard_watch(store->env, store->path);
    } else {
        lmdb_close(store); /* the next transaction opens it again */
    }
    (void)pthread_rwlock_unlock(&store->map_lock);
    return true;
}

int lmdb_sync(struct store *store)
{
    (void)pthread_rwlock_rdlock(&store->map_lock);
    int rc = store->env ? mdb_env_sync(store->env, 1) : MDB_PANIC;
    (void)pthread_rwlock_unlock(&store->map_lock);
    return rc;
}

/* The record as it is stored, checksum included, and its key. */
static int find_stored(struct store *store, MDB_txn *txn, enum store_table table,
    char key[RECORD_KEY_SIZE], struct bytes *ret)
{
    MDB_val k = lmdb_value(key, strlen(key)), value;
    if (!key[0] || store->tables[table] == LMDB_NO_TABLE) {
        return MDB_NOTFOUND;
    }
    int rc = mdb_get(txn, store->tables[table], &k, &value);
    if (rc == 0) {
        *ret = lmdb_bytes(value);
    }
    return rc;
}

int lmdb_get_summed(struct store *store, MDB_txn *txn, enum store_table table, const char *key,
    struct bytes *ret, uint64_t *ret_sum)
{
    char bounded[RECORD_KEY_SIZE];
    struct bytes stored;
    record_key(key, bounded);
    int rc = find_stored(store, txn, table, bounded, &stored);
    if (rc == 0) {
        *ret =
            checksum_take_summed(table, (struct bytes){bounded, strlen(bounded)}, stored, ret_sum);
    }
    return rc;
}

int lmdb_is_unchanged(struct store *store, MDB_txn *txn, enum store_table table, const char *key,
    uint64_t sum, bool *ret)
{
    char bounded[RECORD_KEY_SIZE];
    struct bytes stored;
    record_key(key, bounded);
    int rc = find_stored(store, txn, table, bounded, &stored);
    *ret = rc == 0 ? checksum_is(stored, sum) : sum == 0;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_get(
    struct store *store, MDB_txn *txn, enum store_table table, const char *key, struct bytes *ret)
{
    uint64_t ignored;
    return lmdb_get_summed(store, txn, table, key, ret, &ignored);
}

MDB_val lmdb_number_key(uint64_t number, unsigned char bytes[LMDB_NUMBER_BYTES])
{
    for (int i = LMDB_NUMBER_BYTES; i-- > 0; number >>= 8) {
        bytes[i] = (unsigned char)(number & 0xff);
    }
    return lmdb_value(bytes, LMDB_NUMBER_BYTES);
}

uint64_t lmdb_number_of(MDB_val key)
{
    const unsigned char *bytes = key.mv_data;
    uint64_t number = 0;
    for (size_t i = 0; i < LMDB_NUMBER_BYTES && i < key.mv_size; i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}

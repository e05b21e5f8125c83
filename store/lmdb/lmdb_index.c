/* SPDX-License-Identifier: MPL-2.0 */
#include "store/lmdb/lmdb_index.h"

#include <string.h>

#include "specs/base/compat.h"
#include "specs/base/vm_name.h"
#include "store/lmdb/checksum.h"

#define MARK_KEY "indexed"

enum { LAYOUT = 1, HASH_BYTES = 8, KEY_BYTES = HASH_BYTES + VM_FULL_NAME_MAX };

struct mark {
    uint64_t layout, txn;
};

struct source_entry {
    unsigned char key[KEY_BYTES];
    size_t n;
};

/* ---- what it is as of ---- */

static MDB_val mark_key(void)
{
    return lmdb_value(MARK_KEY, strlen(MARK_KEY));
}

static bool is_as_of(const struct store *store, MDB_txn *txn, uint64_t number)
{
    MDB_dbi main_table;
    MDB_val key = mark_key(), value;
    struct mark mark;
    if (store->by_source == LMDB_NO_TABLE || mdb_dbi_open(txn, NULL, 0, &main_table) != 0 ||
        mdb_get(txn, main_table, &key, &value) != 0 || value.mv_size != sizeof(mark)) {
        return false;
    }
    memcpy(&mark, value.mv_data, sizeof(mark));
    return mark.layout == LAYOUT && mark.txn == number;
}

int lmdb_index_end(struct store *store, MDB_txn *txn)
{
    MDB_dbi main_table;
    const struct mark mark = {LAYOUT, mdb_txn_id(txn)};
    MDB_val key = mark_key(), value = lmdb_value(&mark, sizeof(mark));
    if (!store->is_indexing) {
        return 0;
    }
    int rc = mdb_dbi_open(txn, NULL, 0, &main_table);
    return rc == 0 ? mdb_put(txn, main_table, &key, &value, 0) : rc;
}

/* ---- entries ---- */

static uint64_t hash_of(struct bytes source)
{
    return checksum_of(STORE_DESIRED, source, (struct bytes){"", 0});
}

static bool entry_of(struct bytes name, struct bytes stored, struct source_entry *ret)
{
    struct bytes source;
    if (name.n > VM_FULL_NAME_MAX || !record_source(stored, &source)) {
        return false;
    }
    uint64_t hash = hash_of(source);
    memcpy(ret->key, &hash, HASH_BYTES);
    memcpy(ret->key + HASH_BYTES, name.data, name.n);
    ret->n = HASH_BYTES + name.n;
    return true;
}

static int put_entry(struct store *store, MDB_txn *txn, const struct source_entry *entry)
{
    MDB_val key = lmdb_value(entry->key, entry->n), value = lmdb_value("", 0);
    return mdb_put(txn, store->by_source, &key, &value, 0);
}

int lmdb_index_change(struct store *store, MDB_txn *txn, MDB_val name, const struct bytes *value)
{
    struct source_entry before, after;
    MDB_val stored;
    if (!store->is_indexing) {
        return 0;
    }
    int rc = mdb_get(txn, store->tables[STORE_DESIRED], &name, &stored);
    bool had = rc == 0 && entry_of(lmdb_bytes(name), lmdb_bytes(stored), &before);
    bool has = value && entry_of(lmdb_bytes(name), *value, &after);
    bool is_same = had && has && memcmp(before.key, after.key, before.n) == 0;
    rc = rc == MDB_NOTFOUND ? 0 : rc;
    if (rc == 0 && had && !is_same) {
        MDB_val key = lmdb_value(before.key, before.n);
        rc = mdb_del(txn, store->by_source, &key, NULL);
        rc = rc == MDB_NOTFOUND ? 0 : rc;
    }
    return rc == 0 && has && !is_same ? put_entry(store, txn, &after) : rc;
}

/* ---- all of it ---- */

typedef int visit_entry(
    struct store *store, MDB_txn *txn, const struct source_entry *entry, void *context);

static int each_record(struct store *store, MDB_txn *txn, visit_entry *visit, void *context)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, store->tables[STORE_DESIRED], &cursor);
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        struct source_entry entry;
        if (entry_of(lmdb_bytes(key), lmdb_bytes(value), &entry)) {
            rc = visit(store, txn, &entry, context);
        }
    }
    if (cursor) {
        mdb_cursor_close(cursor);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int index_record(
    struct store *store, MDB_txn *txn, const struct source_entry *entry, void *context)
{
    (void)context;
    return put_entry(store, txn, entry);
}

static int make_contents(struct store *store, MDB_txn *txn)
{
    int rc = mdb_drop(txn, store->by_source, 0);
    store->is_indexing = true;
    return rc == 0 ? each_record(store, txn, index_record, NULL) : rc;
}

int lmdb_index_open(struct store *store, MDB_txn *txn)
{
    int rc = mdb_dbi_open(txn, LMDB_INDEX_NAME, 0, &store->by_source);
    if (rc != 0) {
        store->by_source = LMDB_NO_TABLE;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_index_make(struct store *store, MDB_txn *txn)
{
    int rc = mdb_dbi_open(txn, LMDB_INDEX_NAME, MDB_CREATE, &store->by_source);
    rc = rc == 0 ? make_contents(store, txn) : rc;
    return rc == 0 ? lmdb_index_end(store, txn) : rc;
}

int lmdb_index_begin(struct store *store, MDB_txn *txn, bool *ret_is_made)
{
    *ret_is_made = false;
    store->is_indexing = store->by_source != LMDB_NO_TABLE;
    if (!store->is_indexing || is_as_of(store, txn, mdb_txn_id(txn) - 1)) {
        return 0;
    }
    *ret_is_made = true;
    return make_contents(store, txn);
}

/* ---- reading ---- */

static bool is_usable(const struct store *store, const struct lmdb_read *read)
{
    return is_as_of(store, read->txn, mdb_txn_id(read->txn) - (read->is_write ? 1 : 0));
}

/* The entries of one hash; *ret_is_whole is false if a record is not there. */
static int visit_hash(struct store *store, MDB_cursor *cursor, uint64_t hash,
    lmdb_index_visit *visit, void *context, bool *ret_is_whole)
{
    MDB_val key = lmdb_value(&hash, HASH_BYTES), value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    *ret_is_whole = true;
    while (rc == 0 && key.mv_size > HASH_BYTES && memcmp(key.mv_data, &hash, HASH_BYTES) == 0) {
        MDB_val name = {key.mv_size - HASH_BYTES, (char *)key.mv_data + HASH_BYTES}, stored;
        rc = mdb_get(mdb_cursor_txn(cursor), store->tables[STORE_DESIRED], &name, &stored);
        *ret_is_whole = rc == 0;
        rc = rc == 0 ? visit(store, lmdb_bytes(name), lmdb_bytes(stored), context) : rc;
        rc = rc == 0 ? mdb_cursor_get(cursor, &key, &value, MDB_NEXT) : rc;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_index_each(struct store *store, const struct lmdb_read *read, struct bytes source,
    lmdb_index_visit *visit, void *context)
{
    MDB_cursor *cursor = NULL;
    bool is_whole = true;
    if (!is_usable(store, read)) {
        return MDB_NOTFOUND;
    }
    int rc = mdb_cursor_open(read->txn, store->by_source, &cursor);
    if (rc == 0) {
        rc = visit_hash(store, cursor, hash_of(source), visit, context, &is_whole);
        mdb_cursor_close(cursor);
    }
    return rc == 0 && !is_whole ? MDB_NOTFOUND : rc;
}

struct comparison {
    size_t n_records;
    bool agrees;
};

static int compare_entry(
    struct store *store, MDB_txn *txn, const struct source_entry *entry, void *context)
{
    struct comparison *comparison = context;
    MDB_val key = lmdb_value(entry->key, entry->n), value;
    int rc = mdb_get(txn, store->by_source, &key, &value);
    comparison->n_records++;
    comparison->agrees &= rc == 0;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_index_agrees(struct store *store, const struct lmdb_read *read, bool *ret)
{
    MDB_stat stat;
    struct comparison comparison = {.agrees = true};
    *ret = true;
    if (!is_usable(store, read)) {
        return 0;
    }
    int rc = each_record(store, read->txn, compare_entry, &comparison);
    rc = rc == 0 ? mdb_stat(read->txn, store->by_source, &stat) : rc;
    *ret = rc == 0 && comparison.agrees && stat.ms_entries == comparison.n_records;
    return rc;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "store/lmdb/lmdb_index.h"

#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/vm_name.h"
#include "store/lmdb/checksum.h"
#include "store/lmdb/lmdb_event_blocks.h"

#define MARK_KEY "indexed"

enum {
    LAYOUT = 4,
    KEY_BYTES = LMDB_NUMBER_BYTES + VM_FULL_NAME_MAX,
    HELD_PREFIX_SIZE = VM_FULL_NAME_MAX + 2,
    CHANGES_MAX = 1024 /* a controller that missed more reads all records */
};

struct mark {
    uint64_t layout, txn, since;
};

struct index_key {
    unsigned char bytes[KEY_BYTES];
    size_t n;
};

/* ---- what it is as of ---- */

static MDB_val mark_key(void)
{
    return lmdb_value(MARK_KEY, strlen(MARK_KEY));
}

static bool is_as_of(const struct store *store, MDB_txn *txn, uint64_t number, uint64_t *ret_since)
{
    MDB_dbi main_table;
    MDB_val key = mark_key(), value;
    struct mark mark;
    if (store->by_source == LMDB_NO_TABLE || mdb_dbi_open(txn, NULL, 0, &main_table) != 0 ||
        mdb_get(txn, main_table, &key, &value) != 0 || value.mv_size != sizeof(mark)) {
        return false;
    }
    memcpy(&mark, value.mv_data, sizeof(mark));
    *ret_since = mark.since;
    return mark.layout == LAYOUT && mark.txn == number;
}

/* Of a transaction that is gone in part, nothing is said any more. */
static int drop_oldest_changes(struct store *store, MDB_txn *txn)
{
    MDB_stat stat;
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    int rc = mdb_stat(txn, store->changes, &stat);
    if (rc != 0 || stat.ms_entries <= CHANGES_MAX) {
        return rc;
    }
    rc = mdb_cursor_open(txn, store->changes, &cursor);
    for (size_t n = stat.ms_entries; rc == 0 && n > CHANGES_MAX; n--) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        if (rc == 0) {
            uint64_t number = lmdb_number_of(key); /* later, if this transaction left some out */
            store->changes_since = number > store->changes_since ? number : store->changes_since;
            rc = mdb_cursor_del(cursor, 0);
        }
    }
    if (cursor) {
        mdb_cursor_close(cursor);
    }
    return rc;
}

int lmdb_index_end(struct store *store, MDB_txn *txn)
{
    MDB_dbi main_table;
    if (!store->is_indexing) {
        return 0;
    }
    int rc = drop_oldest_changes(store, txn);
    const struct mark mark = {LAYOUT, mdb_txn_id(txn), store->changes_since};
    MDB_val key = mark_key(), value = lmdb_value(&mark, sizeof(mark));
    rc = rc == 0 ? mdb_dbi_open(txn, NULL, 0, &main_table) : rc;
    return rc == 0 ? mdb_put(txn, main_table, &key, &value, 0) : rc;
}

/* ---- entries ---- */

/* NULL: there is none. Returns an LMDB code. */
static int replace_entry(
    MDB_txn *txn, MDB_dbi table, MDB_val *before, MDB_val *after, MDB_val value)
{
    bool is_same = before && after && before->mv_size == after->mv_size &&
                   memcmp(before->mv_data, after->mv_data, after->mv_size) == 0;
    int rc = before && !is_same ? mdb_del(txn, table, before, NULL) : 0;
    rc = rc == MDB_NOTFOUND ? 0 : rc;
    return rc == 0 && after && !is_same ? mdb_put(txn, table, after, &value, 0) : rc;
}

static uint64_t hash_of(struct bytes source)
{
    return checksum_of(STORE_DESIRED, source, (struct bytes){"", 0});
}

static bool entry_of(struct bytes name, struct bytes stored, struct index_key *ret)
{
    struct bytes source;
    if (name.n > VM_FULL_NAME_MAX || !record_source(stored, &source)) {
        return false;
    }
    uint64_t hash = hash_of(source);
    memcpy(ret->bytes, &hash, LMDB_NUMBER_BYTES);
    memcpy(ret->bytes + LMDB_NUMBER_BYTES, name.data, name.n);
    ret->n = LMDB_NUMBER_BYTES + name.n;
    return true;
}

static int put_change(struct store *store, MDB_txn *txn, MDB_val name)
{
    struct index_key change;
    if (name.mv_size > VM_FULL_NAME_MAX) {
        return MDB_CORRUPTED;
    }
    if (store->n_changes++ >= CHANGES_MAX) { /* nobody will ask for this transaction's */
        store->changes_since = mdb_txn_id(txn);
        return 0;
    }
    (void)lmdb_number_key(mdb_txn_id(txn), change.bytes);
    memcpy(change.bytes + LMDB_NUMBER_BYTES, name.mv_data, name.mv_size);
    MDB_val key = lmdb_value(change.bytes, LMDB_NUMBER_BYTES + name.mv_size);
    MDB_val value = lmdb_value("", 0);
    return mdb_put(txn, store->changes, &key, &value, 0);
}

int lmdb_index_change(struct store *store, MDB_txn *txn, MDB_val name, const struct bytes *value)
{
    struct index_key before, after;
    MDB_val stored;
    if (!store->is_indexing) {
        return 0;
    }
    int rc = mdb_get(txn, store->tables[STORE_DESIRED], &name, &stored);
    bool had = rc == 0 && entry_of(lmdb_bytes(name), lmdb_bytes(stored), &before);
    bool has = value && entry_of(lmdb_bytes(name), *value, &after);
    rc = rc == MDB_NOTFOUND ? 0 : rc;
    if (rc == 0) {
        MDB_val old = lmdb_value(before.bytes, had ? before.n : 0);
        MDB_val new = lmdb_value(after.bytes, has ? after.n : 0);
        rc = replace_entry(
            txn, store->by_source, had ? &old : NULL, has ? &new : NULL, lmdb_value("", 0));
    }
    return rc == 0 ? put_change(store, txn, name) : rc;
}

/* ---- entries of leases ---- */

struct held_key {
    char text[RECORD_KEY_SIZE];
};

/* What is before the key of the lease. */
static bool held_prefix(struct bytes vm_name, char *out)
{
    if (!lmdb_is_vm_name(vm_name)) {
        return false;
    }
    memcpy(out, vm_name.data, vm_name.n);
    memcpy(out + vm_name.n, "\t", 2);
    return true;
}

/* False for a record that says to be no VM's. */
static bool held_of(struct bytes key, struct bytes stored, struct held_key *ret)
{
    char text[HELD_PREFIX_SIZE + RECORD_KEY_SIZE];
    struct bytes vm_name;
    if (!record_lease_holder(stored, &vm_name) || key.n >= RECORD_KEY_SIZE ||
        memchr(key.data, '\0', key.n) || !held_prefix(vm_name, text)) {
        return false;
    }
    memcpy(text + vm_name.n + 1, key.data, key.n);
    text[vm_name.n + 1 + key.n] = '\0';
    record_key(text, ret->text);
    return true;
}

int lmdb_index_change_lease(
    struct store *store, MDB_txn *txn, MDB_val key, const struct bytes *value)
{
    struct held_key before, after;
    MDB_val stored;
    if (!store->is_indexing) {
        return 0;
    }
    int rc = mdb_get(txn, store->tables[STORE_LEASES], &key, &stored);
    bool had = rc == 0 && held_of(lmdb_bytes(key), lmdb_bytes(stored), &before);
    bool has = value && held_of(lmdb_bytes(key), *value, &after);
    rc = rc == MDB_NOTFOUND ? 0 : rc;
    if (rc == 0) {
        MDB_val old = lmdb_value(before.text, had ? strlen(before.text) : 0);
        MDB_val new = lmdb_value(after.text, has ? strlen(after.text) : 0);
        rc = replace_entry(txn, store->held, had ? &old : NULL, has ? &new : NULL, key);
    }
    return rc;
}

/* ---- all of it ---- */

typedef int visit_entry(
    struct store *store, MDB_txn *txn, const struct index_key *entry, void *context);
typedef int visit_held(
    struct store *store, MDB_txn *txn, const struct held_key *held, MDB_val lease, void *context);

static int each_record(struct store *store, MDB_txn *txn, visit_entry *visit, void *context)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, store->tables[STORE_DESIRED], &cursor);
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        struct index_key entry;
        if (entry_of(lmdb_bytes(key), lmdb_bytes(value), &entry)) {
            rc = visit(store, txn, &entry, context);
        }
    }
    if (cursor) {
        mdb_cursor_close(cursor);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int each_lease(struct store *store, MDB_txn *txn, visit_held *visit, void *context)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, store->tables[STORE_LEASES], &cursor);
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        struct held_key held;
        if (held_of(lmdb_bytes(key), lmdb_bytes(value), &held)) {
            rc = visit(store, txn, &held, key, context);
        }
    }
    if (cursor) {
        mdb_cursor_close(cursor);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int index_record(
    struct store *store, MDB_txn *txn, const struct index_key *entry, void *context)
{
    (void)context;
    MDB_val key = lmdb_value(entry->bytes, entry->n);
    return replace_entry(txn, store->by_source, NULL, &key, lmdb_value("", 0));
}

static int index_lease(
    struct store *store, MDB_txn *txn, const struct held_key *held, MDB_val lease, void *context)
{
    (void)context;
    MDB_val key = lmdb_value(held->text, strlen(held->text));
    return replace_entry(txn, store->held, NULL, &key, lease);
}

static int make_contents(struct store *store, MDB_txn *txn)
{
    int rc = mdb_drop(txn, store->by_source, 0);
    rc = rc == 0 ? mdb_drop(txn, store->changes, 0) : rc;
    rc = rc == 0 ? mdb_drop(txn, store->held, 0) : rc;
    store->is_indexing = true;
    store->changes_since = mdb_txn_id(txn);
    rc = rc == 0 ? each_record(store, txn, index_record, NULL) : rc;
    rc = rc == 0 ? each_lease(store, txn, index_lease, NULL) : rc;
    return rc == 0 ? lmdb_event_blocks_make(store, txn) : rc;
}

int lmdb_index_open(struct store *store, MDB_txn *txn)
{
    int rc = mdb_dbi_open(txn, LMDB_INDEX_NAME, 0, &store->by_source);
    rc = rc == 0 ? mdb_dbi_open(txn, LMDB_CHANGES_NAME, 0, &store->changes) : rc;
    rc = rc == 0 ? mdb_dbi_open(txn, LMDB_HELD_NAME, 0, &store->held) : rc;
    rc = rc == 0 ? mdb_dbi_open(txn, LMDB_BLOCKS_NAME, 0, &store->event_blocks) : rc;
    if (rc != 0) {
        store->by_source = LMDB_NO_TABLE;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_index_make(struct store *store, MDB_txn *txn)
{
    int rc = mdb_dbi_open(txn, LMDB_INDEX_NAME, MDB_CREATE, &store->by_source);
    rc = rc == 0 ? mdb_dbi_open(txn, LMDB_CHANGES_NAME, MDB_CREATE, &store->changes) : rc;
    rc = rc == 0 ? mdb_dbi_open(txn, LMDB_HELD_NAME, MDB_CREATE, &store->held) : rc;
    rc = rc == 0 ? mdb_dbi_open(txn, LMDB_BLOCKS_NAME, MDB_CREATE, &store->event_blocks) : rc;
    rc = rc == 0 ? make_contents(store, txn) : rc;
    return rc == 0 ? lmdb_index_end(store, txn) : rc;
}

int lmdb_index_begin(struct store *store, MDB_txn *txn, bool *ret_is_made)
{
    *ret_is_made = false;
    store->n_changes = 0;
    store->is_indexing = store->by_source != LMDB_NO_TABLE;
    if (!store->is_indexing || is_as_of(store, txn, mdb_txn_id(txn) - 1, &store->changes_since)) {
        return 0;
    }
    *ret_is_made = true;
    return make_contents(store, txn);
}

/* ---- reading ---- */

static uint64_t txn_of(const struct lmdb_read *read)
{
    return mdb_txn_id(read->txn) - (read->is_write ? 1 : 0);
}

bool lmdb_index_is_usable(const struct store *store, const struct lmdb_read *read)
{
    uint64_t ignored;
    return is_as_of(store, read->txn, txn_of(read), &ignored);
}

/* The entries of one hash; *ret_is_whole is false if a record is not there. */
static int visit_hash(struct store *store, MDB_cursor *cursor, uint64_t hash,
    lmdb_index_visit *visit, void *context, bool *ret_is_whole)
{
    MDB_val key = lmdb_value(&hash, LMDB_NUMBER_BYTES), value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    *ret_is_whole = true;
    while (rc == 0 && key.mv_size > LMDB_NUMBER_BYTES &&
           memcmp(key.mv_data, &hash, LMDB_NUMBER_BYTES) == 0) {
        MDB_val name = {key.mv_size - LMDB_NUMBER_BYTES, (char *)key.mv_data + LMDB_NUMBER_BYTES},
                stored;
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
    if (!lmdb_index_is_usable(store, read)) {
        return MDB_NOTFOUND;
    }
    int rc = mdb_cursor_open(read->txn, store->by_source, &cursor);
    if (rc == 0) {
        rc = visit_hash(store, cursor, hash_of(source), visit, context, &is_whole);
        mdb_cursor_close(cursor);
    }
    return rc == 0 && !is_whole ? MDB_NOTFOUND : rc;
}

static int add_changed(MDB_cursor *cursor, uint64_t since, struct strings *names)
{
    unsigned char first[LMDB_NUMBER_BYTES];
    MDB_val key = lmdb_number_key(since + 1, first), value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; rc == 0; rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        struct bytes name = lmdb_bytes(key);
        name.data += name.n > LMDB_NUMBER_BYTES ? LMDB_NUMBER_BYTES : 0;
        name.n -= name.n > LMDB_NUMBER_BYTES ? LMDB_NUMBER_BYTES : 0;
        if (!lmdb_is_vm_name(name)) { /* it is damaged: the records say what changed */
            return MDB_NOTFOUND;
        }
        cleanup_free char *text = mem_strndup(name.data, name.n);
        strings_add(names, text);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_index_changed(struct store *store, const struct lmdb_read *read, uint64_t since,
    struct strings *names, uint64_t *ret_now)
{
    MDB_cursor *cursor = NULL;
    uint64_t kept_since;
    *ret_now = txn_of(read);
    if (!is_as_of(store, read->txn, *ret_now, &kept_since) || since < kept_since) {
        return MDB_NOTFOUND;
    }
    int rc = mdb_cursor_open(read->txn, store->changes, &cursor);
    if (rc == 0) {
        rc = add_changed(cursor, since, names);
        mdb_cursor_close(cursor);
    }
    return rc;
}

/* Whether the entry is the one of this lease. */
static bool leads_to(MDB_val entry, const char *prefix, const char *lease)
{
    cleanup_free char *text = mem_printf("%s%s", prefix, lease);
    struct held_key held;
    record_key(text, held.text);
    return entry.mv_size == strlen(held.text) &&
           memcmp(entry.mv_data, held.text, entry.mv_size) == 0;
}

/* MDB_NOTFOUND: one is not there, or is another entry's: it would be found twice. */
static int append_held(struct store *store, MDB_cursor *cursor, struct bytes vm_name,
    const char *prefix, struct strings *keys)
{
    size_t n = vm_name.n + 1;
    MDB_val entry = lmdb_value(prefix, n), key, value;
    int rc = mdb_cursor_get(cursor, &entry, &key, MDB_SET_RANGE);
    for (; rc == 0; rc = mdb_cursor_get(cursor, &entry, &key, MDB_NEXT)) {
        if (entry.mv_size < n || memcmp(entry.mv_data, prefix, n) != 0) {
            return 0;
        }
        bool is_text = key.mv_size > 0 && !memchr(key.mv_data, '\0', key.mv_size);
        rc = is_text ? mdb_get(mdb_cursor_txn(cursor), store->tables[STORE_LEASES], &key, &value)
                     : MDB_NOTFOUND;
        if (rc != 0) {
            return rc == MDB_BAD_VALSIZE ? MDB_NOTFOUND : rc;
        }
        cleanup_free char *text = mem_strndup(key.mv_data, key.mv_size);
        if (!leads_to(entry, prefix, text)) {
            return MDB_NOTFOUND;
        }
        strings_append(keys, text);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int find_leases(struct store *store, MDB_txn *txn, const char *vm_name, struct strings *keys)
{
    MDB_cursor *cursor = NULL;
    char prefix[HELD_PREFIX_SIZE];
    const struct bytes name = {vm_name, strlen(vm_name)};
    if (!held_prefix(name, prefix)) {
        return MDB_NOTFOUND;
    }
    int rc = mdb_cursor_open(txn, store->held, &cursor);
    if (rc == 0) {
        rc = append_held(store, cursor, name, prefix, keys);
        mdb_cursor_close(cursor);
    }
    return rc;
}

int lmdb_index_leases_now(
    struct store *store, MDB_txn *txn, const char *vm_name, struct strings *keys)
{
    return store->is_indexing ? find_leases(store, txn, vm_name, keys) : MDB_NOTFOUND;
}

int lmdb_index_leases(
    struct store *store, const struct lmdb_read *read, const char *vm_name, struct strings *keys)
{
    return lmdb_index_is_usable(store, read) ? find_leases(store, read->txn, vm_name, keys)
                                             : MDB_NOTFOUND;
}

struct comparison {
    size_t n_records;
    bool agrees;
};

static int compare_entry(
    struct store *store, MDB_txn *txn, const struct index_key *entry, void *context)
{
    struct comparison *comparison = context;
    MDB_val key = lmdb_value(entry->bytes, entry->n), value;
    int rc = mdb_get(txn, store->by_source, &key, &value);
    comparison->n_records++;
    comparison->agrees &= rc == 0;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int compare_held(
    struct store *store, MDB_txn *txn, const struct held_key *held, MDB_val lease, void *context)
{
    struct comparison *comparison = context;
    MDB_val key = lmdb_value(held->text, strlen(held->text)), value;
    int rc = mdb_get(txn, store->held, &key, &value);
    comparison->n_records++;
    comparison->agrees &= rc == 0 && value.mv_size == lease.mv_size &&
                          memcmp(value.mv_data, lease.mv_data, lease.mv_size) == 0;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_index_agrees(
    struct store *store, const struct lmdb_read *read, struct index_agreement *ret)
{
    MDB_stat sources, leases;
    struct comparison by_source = {.agrees = true}, held = {.agrees = true};
    *ret = (struct index_agreement){true, true, true};
    if (!lmdb_index_is_usable(store, read)) {
        return 0;
    }
    int rc = each_record(store, read->txn, compare_entry, &by_source);
    rc = rc == 0 ? mdb_stat(read->txn, store->by_source, &sources) : rc;
    rc = rc == 0 ? each_lease(store, read->txn, compare_held, &held) : rc;
    rc = rc == 0 ? mdb_stat(read->txn, store->held, &leases) : rc;
    if (rc == 0) {
        ret->of_sources = by_source.agrees && sources.ms_entries == by_source.n_records;
        ret->of_leases = held.agrees && leases.ms_entries == held.n_records;
    }
    return rc == 0 ? lmdb_event_blocks_agree(store, read->txn, &ret->of_events) : rc;
}

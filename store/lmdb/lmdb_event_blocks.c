/* SPDX-License-Identifier: MPL-2.0 */
#include "store/lmdb/lmdb_event_blocks.h"

#include <string.h>

#include "store/lmdb/checksum.h"
#include "store/lmdb/lmdb_events.h"

/* As many as all events have, and again as many for those that are not full. */
enum { BLOCKS_MAX = 2 * EVENTS_MAX / EVENT_BLOCK };

struct block {
    uint32_t hashes[EVENT_BLOCK];
};

static uint32_t hash_of_name(struct bytes vm_name)
{
    uint64_t sum = checksum_of(STORE_EVENTS, vm_name, (struct bytes){"", 0});
    uint32_t hash = (uint32_t)(sum >> 32);
    return hash == 0 ? 1 : hash;
}

static uint32_t hash_of_event(struct bytes stored)
{
    struct bytes vm_name;
    return hash_of_name(record_event_vm(stored, &vm_name) ? vm_name : (struct bytes){"", 0});
}

static uint64_t block_of(MDB_val key)
{
    return lmdb_number_of(key) / EVENT_BLOCK;
}

/* MDB_NOTFOUND: there is none. */
static int get_block(struct store *store, MDB_txn *txn, uint64_t number, struct block *ret)
{
    unsigned char bytes[LMDB_NUMBER_BYTES];
    MDB_val key = lmdb_number_key(number, bytes), value;
    int rc = mdb_get(txn, store->event_blocks, &key, &value);
    if (rc == 0 && value.mv_size != sizeof(*ret)) {
        return MDB_NOTFOUND;
    }
    if (rc == 0) {
        memcpy(ret, value.mv_data, sizeof(*ret));
    }
    return rc;
}

static int put_block(struct store *store, MDB_txn *txn, uint64_t number, const struct block *block)
{
    unsigned char bytes[LMDB_NUMBER_BYTES];
    MDB_val key = lmdb_number_key(number, bytes), value = lmdb_value(block, sizeof(*block));
    return mdb_put(txn, store->event_blocks, &key, &value, 0);
}

/* ---- writing ---- */

/* From the first event that is not before `from`: *ret_number is its block, which is written.
 * MDB_NOTFOUND: there is none before block `end`. */
static int write_next(
    struct store *store, MDB_cursor *cursor, uint64_t from, uint64_t end, uint64_t *ret_number)
{
    struct block block = {{0}};
    unsigned char bytes[LMDB_NUMBER_BYTES];
    MDB_val key = lmdb_number_key(from, bytes), value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    *ret_number = rc == 0 ? block_of(key) : end;
    if (*ret_number >= end) {
        return rc == 0 ? MDB_NOTFOUND : rc;
    }
    while (rc == 0 && block_of(key) == *ret_number) {
        block.hashes[lmdb_number_of(key) % EVENT_BLOCK] = hash_of_event(lmdb_bytes(value));
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    return rc == 0 || rc == MDB_NOTFOUND
               ? put_block(store, mdb_cursor_txn(cursor), *ret_number, &block)
               : rc;
}

/* Events that are counted up leave old blocks with few. */
static int drop_oldest_blocks(struct store *store, MDB_txn *txn)
{
    MDB_stat stat;
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    int rc = mdb_stat(txn, store->event_blocks, &stat);
    rc = rc == 0 ? mdb_cursor_open(txn, store->event_blocks, &cursor) : rc;
    for (size_t n = stat.ms_entries; rc == 0 && n > BLOCKS_MAX; n--) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        rc = rc == 0 ? mdb_cursor_del(cursor, 0) : rc;
    }
    if (cursor) {
        mdb_cursor_close(cursor);
    }
    return rc;
}

static int write_blocks(struct store *store, MDB_txn *txn, uint64_t first, uint64_t end)
{
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, store->tables[STORE_EVENTS], &cursor);
    for (uint64_t next = first; rc == 0; next++) {
        rc = write_next(store, cursor, next * EVENT_BLOCK, end, &next);
        rc = rc == 0 ? drop_oldest_blocks(store, txn) : rc; /* so that their pages serve again */
    }
    if (cursor) {
        mdb_cursor_close(cursor);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_event_blocks_end(struct store *store, MDB_txn *txn, uint64_t last)
{
    uint64_t block = last / EVENT_BLOCK;
    if (!store->is_indexing || (last + 1) % EVENT_BLOCK != 0) {
        return 0;
    }
    return write_blocks(store, txn, block, block + 1);
}

int lmdb_event_blocks_change(
    struct store *store, MDB_txn *txn, MDB_val key, const struct bytes *value)
{
    struct block block;
    if (!store->is_indexing || !value) {
        return 0;
    }
    int rc = get_block(store, txn, block_of(key), &block);
    if (rc != 0) {
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    block.hashes[lmdb_number_of(key) % EVENT_BLOCK] = hash_of_event(*value);
    return put_block(store, txn, block_of(key), &block);
}

/* The number of the newest block; MDB_NOTFOUND: there are no events. */
static int find_newest(struct store *store, MDB_txn *txn, uint64_t *ret)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, store->tables[STORE_EVENTS], &cursor);
    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
        *ret = rc == 0 ? block_of(key) : 0;
        mdb_cursor_close(cursor);
    }
    return rc;
}

int lmdb_event_blocks_make(struct store *store, MDB_txn *txn)
{
    uint64_t newest;
    int rc = mdb_drop(txn, store->event_blocks, 0);
    rc = rc == 0 ? find_newest(store, txn, &newest) : rc;
    rc = rc == 0 ? write_blocks(store, txn, 0, newest) : rc;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- reading ---- */

int lmdb_event_block_find(struct store *store, MDB_txn *txn, uint64_t block, struct bytes vm_name,
    unsigned char ret[EVENT_BLOCK], size_t *ret_n)
{
    struct block found;
    const uint32_t hash = hash_of_name(vm_name);
    int rc = get_block(store, txn, block, &found);
    *ret_n = 0;
    for (size_t i = EVENT_BLOCK; rc == 0 && i-- > 0;) {
        if (found.hashes[i] == hash) {
            ret[(*ret_n)++] = (unsigned char)i;
        }
    }
    return rc;
}

int lmdb_event_blocks_agree(struct store *store, MDB_txn *txn, bool *ret)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    uint64_t newest, read = UINT64_MAX;
    struct block block = {{0}};
    *ret = true;
    int rc = find_newest(store, txn, &newest), found = MDB_NOTFOUND;
    rc = rc == 0 ? mdb_cursor_open(txn, store->tables[STORE_EVENTS], &cursor) : rc;
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        if (block_of(key) == newest) {
            break;
        }
        if (block_of(key) != read) {
            read = block_of(key);
            found = get_block(store, txn, read, &block);
            if (found != 0 && found != MDB_NOTFOUND) {
                rc = found;
                break;
            }
        }
        *ret &= found != 0 ||
                block.hashes[lmdb_number_of(key) % EVENT_BLOCK] == hash_of_event(lmdb_bytes(value));
    }
    if (cursor) {
        mdb_cursor_close(cursor);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "store/lmdb/lmdb_events.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "store/lmdb/checksum.h"
#include "store/lmdb/lmdb_event_blocks.h"
#include "store/lmdb/lmdb_index.h"

static struct bytes event_bytes(MDB_val key, MDB_val value)
{
    return checksum_take(STORE_EVENTS, lmdb_bytes(key), lmdb_bytes(value));
}

static bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.data, b.data, a.n) == 0);
}

/* ---- adding ---- */

/* When the VM that has this name now was created (wall, ms): what an earlier one of that name did
 * is not counted into its life. 0: not known. */
static int64_t created_ms(struct store *store, MDB_txn *txn, struct bytes vm_name)
{
    struct desired_summary summary = {.created_ms = 0};
    MDB_val key = lmdb_value(vm_name.data, vm_name.n), value;
    bool is_found = mdb_get(txn, store->tables[STORE_DESIRED], &key, &value) == 0 &&
                    record_desired_summary(lmdb_bytes(value), &summary);
    return is_found ? summary.created_ms : 0;
}

static bool is_alike(MDB_val key, MDB_val value, const struct event_view *event, int64_t since_ms,
    struct event_view *ret)
{
    return record_event_view(event_bytes(key, value), ret) && ret->last_ms >= since_ms &&
           ret->is_warning == event->is_warning && bytes_equal(ret->vm_name, event->vm_name) &&
           bytes_equal(ret->reason, event->reason) && bytes_equal(ret->message, event->message);
}

/* How many events from the last one down to that of `sequence`, where the cursor is left, are of
 * the VM; EVENT_FOLD_WINDOW at most. */
static int count_newer(MDB_cursor *cursor, struct bytes vm_name, uint64_t sequence, int *ret_count)
{
    MDB_val key, value;
    *ret_count = 0;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    while (rc == 0 && lmdb_number_of(key) > sequence && *ret_count < EVENT_FOLD_WINDOW) {
        struct event_view seen;
        *ret_count +=
            record_event_view(event_bytes(key, value), &seen) && bytes_equal(seen.vm_name, vm_name);
        rc = mdb_cursor_get(cursor, &key, &value, MDB_PREV);
    }
    return rc;
}

/* Leaves the cursor at the equal event, of `since_ms` or later: 0, or MDB_NOTFOUND. Most events are
 * of other VMs, or say something else: those end differently, and are not parsed. */
static int find_alike(
    MDB_cursor *cursor, const struct event_view *event, int64_t since_ms, struct event_view *ret)
{
    MDB_val key, value;
    cleanup_buf struct buf tail = BUF_INIT(0);
    record_add_event_texts(&tail, event);
    size_t n = tail.len + CHECKSUM_BYTES;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    for (int i = 0; rc == 0 && i < EVENT_FOLD_SCAN; i++) {
        const char *end = (const char *)value.mv_data + value.mv_size;
        if (value.mv_size > n && memcmp(end - n, tail.data, tail.len) == 0 &&
            is_alike(key, value, event, since_ms, ret)) {
            int newer;
            rc = count_newer(cursor, event->vm_name, lmdb_number_of(key), &newer);
            return rc != 0 || newer < EVENT_FOLD_WINDOW ? rc : MDB_NOTFOUND;
        }
        rc = mdb_cursor_get(cursor, &key, &value, MDB_PREV);
    }
    return rc == 0 ? MDB_NOTFOUND : rc;
}

static int drop_oldest(struct store *store, MDB_txn *txn, MDB_cursor *cursor)
{
    MDB_stat stat;
    MDB_val key, value;
    int rc = mdb_stat(txn, store->tables[STORE_EVENTS], &stat);
    for (size_t n = stat.ms_entries; rc == 0 && n > EVENTS_MAX; n--) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        if (rc == 0) {
            rc = mdb_cursor_del(cursor, 0);
        }
    }
    return rc;
}

static int append(MDB_cursor *cursor, uint64_t sequence, const struct event_view *event)
{
    cleanup_buf struct buf value = BUF_INIT(0);
    unsigned char key_bytes[LMDB_NUMBER_BYTES], sum[CHECKSUM_BYTES];
    MDB_val key = lmdb_number_key(sequence, key_bytes);
    record_encode_event(&value, event);
    checksum_write(STORE_EVENTS, lmdb_bytes(key), (struct bytes){value.data, value.len}, sum);
    buf_add(&value, sum, sizeof(sum));
    MDB_val v = lmdb_value(value.data, value.len);
    return mdb_cursor_put(cursor, &key, &v, MDB_APPEND);
}

static int fold_and_append(
    struct store *store, MDB_cursor *cursor, const struct event_view *event, int64_t since_ms)
{
    struct event_view added = *event, alike;
    MDB_val key, value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST); /* before the last one may go */
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return rc;
    }
    uint64_t sequence = rc == 0 ? lmdb_number_of(key) + 1 : 1;
    if (rc == 0 && (rc = lmdb_event_blocks_end(store, mdb_cursor_txn(cursor), sequence - 1)) != 0) {
        return rc;
    }
    rc = find_alike(cursor, event, since_ms, &alike);
    if (rc == 0) {
        added.count = alike.count < UINT32_MAX ? alike.count + 1 : alike.count;
        added.first_ms = alike.first_ms;
        rc = mdb_cursor_del(cursor, 0);
    } else if (rc == MDB_NOTFOUND) {
        rc = 0;
    }
    return rc == 0 ? append(cursor, sequence, &added) : rc;
}

int lmdb_add_event(struct store *store, MDB_txn *txn, const struct event_view *event)
{
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, store->tables[STORE_EVENTS], &cursor);
    if (rc != 0) {
        return rc;
    }
    rc = fold_and_append(store, cursor, event, created_ms(store, txn, event->vm_name));
    if (rc == 0) {
        rc = drop_oldest(store, txn, cursor);
    }
    mdb_cursor_close(cursor);
    return rc;
}

/* ---- listing ---- */

static char *text_copy(struct bytes bytes)
{
    return bytes.n > 0 ? mem_strndup(bytes.data, bytes.n) : mem_strdup("");
}

static void add_event(struct event_list *list, uint64_t sequence, const struct event_view *view)
{
    char *reason_text = text_copy(view->reason);
    int reason = enum_names_find(&reason_words, reason_text);
    free(reason_text);
    mem_grow(list->items, list->count);
    list->items[list->count++] = (struct vm_event){
        .sequence = sequence,
        .vm_name = text_copy(view->vm_name),
        .is_warning = view->is_warning,
        .reason = reason < 0 ? REASON_NONE : (enum reason)reason,
        .message = text_copy(view->message),
        .count = view->count,
        .first_ms = view->first_ms,
        .last_ms = view->last_ms,
    };
}

struct event_search {
    struct store *store;
    MDB_cursor *cursor;
    struct bytes vm_name; /* data NULL: of any */
    uint64_t after;
    size_t limit;
    bool has_index;
    struct event_list list; /* the newest first */
};

static bool has_enough(const struct event_search *search)
{
    return search->limit > 0 && search->list.count >= search->limit;
}

/* Of another VM's no more is read than whose it is. */
static void take_wanted(struct event_search *search, MDB_val key, MDB_val value)
{
    uint64_t sequence = lmdb_number_of(key);
    struct event_view view;
    if (sequence > search->after && !has_enough(search) &&
        (!search->vm_name.data || record_event_is_of(lmdb_bytes(value), search->vm_name)) &&
        record_event_view(event_bytes(key, value), &view)) {
        add_event(&search->list, sequence, &view);
    }
}

/* Leaves the cursor at the last event before `end`; 0: at the last one. */
static int seek_before(MDB_cursor *cursor, uint64_t end, MDB_val *key, MDB_val *value)
{
    unsigned char bytes[LMDB_NUMBER_BYTES];
    *key = lmdb_number_key(end, bytes);
    int rc = end > 0 ? mdb_cursor_get(cursor, key, value, MDB_SET_RANGE) : MDB_NOTFOUND;
    return rc == 0              ? mdb_cursor_get(cursor, key, value, MDB_PREV)
           : rc == MDB_NOTFOUND ? mdb_cursor_get(cursor, key, value, MDB_LAST)
                                : rc;
}

/* MDB_NOTFOUND: the index does not have the block. */
static int take_indexed(struct event_search *search, uint64_t block)
{
    MDB_txn *txn = mdb_cursor_txn(search->cursor);
    unsigned char places[EVENT_BLOCK], bytes[LMDB_NUMBER_BYTES];
    size_t n;
    int rc = lmdb_event_block_find(search->store, txn, block, search->vm_name, places, &n);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        MDB_val key = lmdb_number_key(block * EVENT_BLOCK + places[i], bytes), value;
        rc = mdb_get(txn, search->store->tables[STORE_EVENTS], &key, &value);
        if (rc == 0) {
            take_wanted(search, key, value);
        }
        rc = rc == MDB_NOTFOUND ? 0 : rc; /* it has gone since */
    }
    return rc;
}

/* From where the cursor is. */
static int take_block(struct event_search *search, uint64_t block, MDB_val key, MDB_val value)
{
    int rc = 0;
    while (rc == 0 && lmdb_number_of(key) / EVENT_BLOCK == block && !has_enough(search)) {
        take_wanted(search, key, value);
        rc = mdb_cursor_get(search->cursor, &key, &value, MDB_PREV);
    }
    return rc;
}

/* From the newest backwards, as it is the newest that `limit` keeps. Returns an LMDB code. */
static int collect(struct event_search *search)
{
    MDB_val key, value;
    uint64_t end = 0;
    bool is_newest = true;
    int rc;
    while ((rc = seek_before(search->cursor, end, &key, &value)) == 0 && !has_enough(search) &&
           lmdb_number_of(key) > search->after) {
        uint64_t block = lmdb_number_of(key) / EVENT_BLOCK;
        rc = search->has_index && !is_newest ? take_indexed(search, block) : MDB_NOTFOUND;
        rc = rc == MDB_NOTFOUND ? take_block(search, block, key, value) : rc;
        if (rc != 0 || block == 0) {
            break;
        }
        end = block * EVENT_BLOCK;
        is_newest = false;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int store_list_events(struct store *store, const char *vm_name, uint64_t after, size_t limit,
    struct event_list *ret, struct error *err)
{
    struct lmdb_read read;
    struct event_search search = {
        .store = store,
        .vm_name = {vm_name, vm_name ? strlen(vm_name) : 0},
        .after = after,
        .limit = limit,
    };
    if (lmdb_read_begin(store, &read, err) < 0) {
        return -(int)err->code;
    }
    search.has_index = vm_name && lmdb_index_is_usable(store, &read);
    int rc = mdb_cursor_open(read.txn, store->tables[STORE_EVENTS], &search.cursor);
    if (rc == 0) {
        rc = collect(&search);
        mdb_cursor_close(search.cursor);
    }
    lmdb_read_end(store, &read);
    struct event_list *list = &search.list;
    if (rc != 0) {
        event_list_clear(list);
        return lmdb_error(store, rc, "cannot list the events", err);
    }
    for (size_t i = 0, j = list->count; i + 1 < j; i++) { /* oldest first */
        struct vm_event swapped = list->items[i];
        list->items[i] = list->items[--j];
        list->items[j] = swapped;
    }
    *ret = *list;
    return 0;
}

void event_list_clear(struct event_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].vm_name);
        free(list->items[i].message);
    }
    free(list->items);
    *list = (struct event_list){0};
}

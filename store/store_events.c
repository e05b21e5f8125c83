/* SPDX-License-Identifier: MPL-2.0 */
#include "store/lmdb/lmdb_events.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "store/lmdb/checksum.h"

enum { SEQUENCE_BYTES = 8 };

/* Keys are big-endian, so that LMDB's order of bytes is the order of numbers. */
uint64_t lmdb_event_sequence(MDB_val key)
{
    const unsigned char *bytes = key.mv_data;
    uint64_t sequence = 0;
    for (size_t i = 0; i < key.mv_size && i < SEQUENCE_BYTES; i++) {
        sequence = sequence << 8 | bytes[i];
    }
    return sequence;
}

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
    while (rc == 0 && lmdb_event_sequence(key) > sequence && *ret_count < EVENT_FOLD_WINDOW) {
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
            rc = count_newer(cursor, event->vm_name, lmdb_event_sequence(key), &newer);
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
    unsigned char key_bytes[SEQUENCE_BYTES];
    for (int i = SEQUENCE_BYTES; i-- > 0; sequence >>= 8) {
        key_bytes[i] = (unsigned char)(sequence & 0xff);
    }
    record_encode_event(&value, event);
    unsigned char sum[CHECKSUM_BYTES];
    struct bytes key = {(const char *)key_bytes, sizeof(key_bytes)};
    checksum_write(STORE_EVENTS, key, (struct bytes){value.data, value.len}, sum);
    buf_add(&value, sum, sizeof(sum));
    MDB_val k = lmdb_value(key_bytes, sizeof(key_bytes)), v = lmdb_value(value.data, value.len);
    return mdb_cursor_put(cursor, &k, &v, MDB_APPEND);
}

static int fold_and_append(MDB_cursor *cursor, const struct event_view *event, int64_t since_ms)
{
    struct event_view added = *event, alike;
    MDB_val key, value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST); /* before the last one may go */
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return rc;
    }
    uint64_t sequence = rc == 0 ? lmdb_event_sequence(key) + 1 : 1;
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
    rc = fold_and_append(cursor, event, created_ms(store, txn, event->vm_name));
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

/* From the newest backwards, as it is the newest that `limit` keeps. Of the others, which are many,
 * no more is read than whose they are. Returns an LMDB code. */
static int collect(
    MDB_cursor *cursor, const char *vm_name, uint64_t after, size_t limit, struct event_list *list)
{
    const struct bytes wanted = {vm_name, vm_name ? strlen(vm_name) : 0};
    MDB_val key, value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    while (rc == 0 && (limit == 0 || list->count < limit)) {
        uint64_t sequence = lmdb_event_sequence(key);
        struct event_view view;
        if (sequence <= after) {
            return 0;
        }
        if ((!vm_name || record_event_is_of(lmdb_bytes(value), wanted)) &&
            record_event_view(event_bytes(key, value), &view)) {
            add_event(list, sequence, &view);
        }
        rc = mdb_cursor_get(cursor, &key, &value, MDB_PREV);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int store_list_events(struct store *store, const char *vm_name, uint64_t after, size_t limit,
    struct event_list *ret, struct error *err)
{
    struct lmdb_read read;
    struct event_list list = {0};
    MDB_cursor *cursor = NULL;
    if (lmdb_read_begin(store, &read, err) < 0) {
        return -(int)err->code;
    }
    int rc = mdb_cursor_open(read.txn, store->tables[STORE_EVENTS], &cursor);
    if (rc == 0) {
        rc = collect(cursor, vm_name, after, limit, &list);
        mdb_cursor_close(cursor);
    }
    lmdb_read_end(store, &read);
    if (rc != 0) {
        event_list_clear(&list);
        return lmdb_error(store, rc, "cannot list the events", err);
    }
    for (size_t i = 0, j = list.count; i + 1 < j; i++) { /* oldest first */
        struct vm_event swapped = list.items[i];
        list.items[i] = list.items[--j];
        list.items[j] = swapped;
    }
    *ret = list;
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

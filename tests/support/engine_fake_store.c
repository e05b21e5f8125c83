/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/support/engine_fake_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/error.h"
#include "specs/base/mem.h"

static void change_clear(struct fake_change *change)
{
    free(change->key);
    free(change->value);
}

static char *copy_value(const char *data, size_t n)
{
    char *copy = mem_calloc(1, n + 1);
    if (n > 0) {
        memcpy(copy, data, n);
    }
    return copy;
}

void fake_store_clear(struct fake_store *store)
{
    for (size_t i = 0; i < store->n; i++) {
        change_clear(&store->changes[i]);
    }
    free(store->changes);
    *store = (struct fake_store){0};
}

void fake_store_copy(struct fake_store *to, const struct fake_store *from)
{
    *to = *from;
    to->changes = mem_calloc(from->n ? from->n : 1, sizeof(*to->changes));
    to->n = 0;
    for (size_t i = 0; i < from->n; i++) {
        struct fake_change copy = from->changes[i];
        copy.key = mem_strdup(copy.key);
        copy.value = copy.value ? copy_value(copy.value, copy.n_value) : NULL;
        to->changes[i] = copy;
        to->n++;
    }
    /* mem_grow() expects room up to the next power of two */
    size_t room = 1;
    while (room < to->n) {
        room *= 2;
    }
    to->changes = mem_resize(to->changes, room, sizeof(*to->changes));
}

/* The newest change of `key` up to `revision`; NULL: none. */
static const struct fake_change *change_find(
    const struct fake_store *store, const char *key, int64_t revision)
{
    for (size_t i = store->n; i > 0; i--) {
        const struct fake_change *change = &store->changes[i - 1];
        if (change->revision <= revision && strcmp(change->key, key) == 0) {
            return change;
        }
    }
    return NULL;
}

/* NULL: absent. */
static const struct fake_change *find_now(const struct fake_store *store, const char *key)
{
    const struct fake_change *change = change_find(store, key, store->revision);
    return change && change->value ? change : NULL;
}

const char *fake_store_get(const struct fake_store *store, const char *key)
{
    const struct fake_change *change = find_now(store, key);
    return change ? change->value : NULL;
}

void fake_store_compact(struct fake_store *store, int64_t revision)
{
    assert(revision > store->compacted && revision <= store->revision);
    size_t n = 0;
    store->compacted = revision;
    /* from the newest: what is still found there supersedes the older ones */
    bool *is_kept = mem_calloc(store->n + 1, sizeof(*is_kept));
    for (size_t i = 0; i < store->n; i++) {
        const struct fake_change *change = &store->changes[i];
        is_kept[i] = change->revision > revision ||
                     (change->value && change_find(store, change->key, revision) == change);
    }
    for (size_t i = 0; i < store->n; i++) {
        if (is_kept[i]) {
            store->changes[n++] = store->changes[i];
        } else {
            change_clear(&store->changes[i]);
        }
    }
    free(is_kept);
    store->n = n;
    size_t room = 1;
    while (room < n) {
        room *= 2;
    }
    store->changes = mem_resize(store->changes, room, sizeof(*store->changes));
}

/* ---- reading ---- */

static bool is_in_range(const struct engine_range *range, const char *key)
{
    if (!range->is_prefix) {
        return strcmp(key, range->key) == 0;
    }
    return text_starts_with(key, range->key) && (!range->after || strcmp(key, range->after) > 0);
}

static struct engine_row row_of(const struct fake_change *change, bool has_value)
{
    char *value = has_value && change->value ? copy_value(change->value, change->n_value) : NULL;
    return (struct engine_row){
        .key = mem_strdup(change->key),
        .value = {value ? value : copy_value("", 0), value ? change->n_value : 0},
        .create_revision = change->value ? change->create_revision : 0,
        .mod_revision = change->revision,
        .lease = change->value ? change->lease : 0,
    };
}

static void row_clear(struct engine_row *row)
{
    free((char *)(uintptr_t)row->key);
    free((char *)(uintptr_t)row->value.data);
}

struct memory {
    struct engine_row *rows; /* the texts of these, which the caller's array has, too */
    size_t n;
};

static void free_memory(void *context)
{
    struct memory *memory = context;
    for (size_t i = 0; i < memory->n; i++) {
        row_clear(&memory->rows[i]);
    }
    free(memory->rows);
    free(memory);
}

static int row_compare(const void *a, const void *b)
{
    return strcmp(((const struct engine_row *)a)->key, ((const struct engine_row *)b)->key);
}

/* The caller's rows, sorted and cut, of which `memory` frees the texts. */
static void finish_rows(struct engine_rows *rows, uint32_t limit)
{
    struct memory *memory = mem_new(struct memory);
    if (rows->n > 0) {
        qsort(rows->rows, rows->n, sizeof(*rows->rows), row_compare);
    }
    memory->rows = mem_dup(rows->rows, rows->n * sizeof(*rows->rows));
    memory->n = rows->n;
    rows->memory = memory;
    rows->free_memory = free_memory;
    if (limit > 0 && rows->n > limit) {
        rows->n = limit;
        rows->has_more = true;
    }
}

int fake_store_range(const struct fake_store *store, const struct engine_range *range,
    struct engine_rows *rows, struct error *err)
{
    int64_t revision = range->revision > 0 ? range->revision : store->revision;
    if (revision < store->compacted) {
        return error_set(
            err, ERR_FLEET_COMPACTED, "fake: revision %lld is compacted", (long long)revision);
    }
    if (revision > store->revision) {
        return error_set(
            err, ERR_FLEET_COMPACTED, "fake: revision %lld is a future one", (long long)revision);
    }
    *rows = (struct engine_rows){.revision = store->revision, .store = store->id};
    for (size_t i = 0; i < store->n; i++) {
        const struct fake_change *change = &store->changes[i];
        if (change->revision <= revision && change->value && is_in_range(range, change->key) &&
            change_find(store, change->key, revision) == change) {
            mem_grow(rows->rows, rows->n);
            rows->rows[rows->n++] = row_of(change, !range->has_keys_only);
        }
    }
    finish_rows(rows, range->limit);
    return 0;
}

void fake_store_events(const struct fake_store *store, const char *prefix, int64_t from, int64_t to,
    struct fake_events *ret)
{
    for (size_t i = 0; i < store->n; i++) {
        const struct fake_change *change = &store->changes[i];
        if (change->revision >= from && change->revision <= to &&
            text_starts_with(change->key, prefix)) {
            mem_grow(ret->events, ret->n);
            ret->events[ret->n++] = (struct engine_event){
                change->value ? ENGINE_WAS_PUT : ENGINE_WAS_DELETED, row_of(change, true)};
        }
    }
}

void fake_events_clear(struct fake_events *events)
{
    for (size_t i = 0; i < events->n; i++) {
        row_clear(&events->events[i].row);
    }
    free(events->events);
    *events = (struct fake_events){0};
}

/* ---- writing ---- */

static bool compare_holds(const struct fake_store *store, const struct engine_compare *compare)
{
    const struct fake_change *now = find_now(store, compare->key);
    switch (compare->condition) {
    case ENGINE_IF_ABSENT:
        return !now;
    case ENGINE_IF_PRESENT:
        return now;
    case ENGINE_IF_REVISION:
        return (now ? now->revision : 0) == compare->revision;
    case ENGINE_IF_VALUE:
        return now && now->n_value == compare->value.n &&
               (now->n_value == 0 || memcmp(now->value, compare->value.data, now->n_value) == 0);
    }
    return false;
}

bool fake_store_holds(const struct fake_store *store, const struct engine_txn *txn)
{
    for (size_t i = 0; i < txn->n_compares; i++) {
        if (!compare_holds(store, &txn->compares[i])) {
            return false;
        }
    }
    return true;
}

/* `value` NULL: deletes it. */
static void change_add(
    struct fake_store *store, const char *key, const struct bytes *value, int64_t lease)
{
    const struct fake_change *now = find_now(store, key);
    int64_t revision = store->revision + 1; /* of all changes of the transaction */
    int64_t created = now ? now->create_revision : revision;
    assert(!now || now->revision <= store->revision);
    mem_grow(store->changes, store->n);
    store->changes[store->n++] = (struct fake_change){
        .key = mem_strdup(key),
        .value = value ? copy_value(value->data, value->n) : NULL,
        .n_value = value ? value->n : 0,
        .revision = revision,
        .create_revision = created,
        .lease = lease,
    };
}

static void delete_rows(struct fake_store *store, const struct engine_range *range)
{
    struct engine_rows rows = {0};
    struct error err = {0};
    (void)fake_store_range(store, range, &rows, &err);
    for (size_t i = 0; i < rows.n; i++) {
        change_add(store, rows.rows[i].key, NULL, 0);
    }
    engine_rows_clear(&rows);
}

static void write_one(struct fake_store *store, const struct engine_write *write)
{
    if (write->kind == ENGINE_PUT) {
        change_add(store, write->key, &write->value, write->lease);
    } else {
        delete_rows(store, &(struct engine_range){.key = write->key,
                               .is_prefix = write->kind == ENGINE_DELETE_PREFIX});
    }
}

static bool may_touch(const struct engine_write *write, const char *key)
{
    return write->kind == ENGINE_DELETE_PREFIX ? text_starts_with(key, write->key)
                                               : strcmp(key, write->key) == 0;
}

/* etcd refuses it: "duplicate key given in txn request". */
static void assert_no_key_twice(const struct engine_txn *txn)
{
    for (size_t i = 0; i < txn->n_writes; i++) {
        for (size_t j = 0; j < txn->n_writes; j++) {
            assert(i == j || txn->writes[j].kind != ENGINE_PUT ||
                   !may_touch(&txn->writes[i], txn->writes[j].key));
        }
    }
}

int fake_store_txn(struct fake_store *store, const struct engine_txn *txn,
    struct engine_result *result, struct error *err)
{
    if (engine_txn_check(txn, err) < 0) {
        return error_wrap(err, "fake");
    }
    assert_no_key_twice(txn);
    bool holds = fake_store_holds(store, txn);
    size_t n_before = store->n;
    for (size_t i = 0; holds && i < txn->n_writes; i++) {
        write_one(store, &txn->writes[i]);
    }
    store->revision += store->n != n_before ? 1 : 0;
    result->outcome = holds ? ENGINE_SUCCEEDED : ENGINE_FAILED;
    result->revision = store->revision;
    result->store = store->id;
    result->n_reads = txn->n_reads;
    result->reads = txn->n_reads ? mem_calloc(txn->n_reads, sizeof(*result->reads)) : NULL;
    for (size_t i = 0; i < txn->n_reads; i++) {
        if (fake_store_range(store, &txn->reads[i], &result->reads[i], err) < 0) {
            return error_wrap(err, "fake");
        }
    }
    return 0;
}

void fake_store_delete_of_lease(struct fake_store *store, int64_t lease)
{
    struct engine_rows rows = {0};
    struct error err = {0};
    size_t n_before = store->n;
    (void)fake_store_range(
        store, &(struct engine_range){.key = "", .is_prefix = true}, &rows, &err);
    for (size_t i = 0; i < rows.n; i++) {
        if (rows.rows[i].lease == lease) {
            change_add(store, rows.rows[i].key, NULL, 0);
        }
    }
    store->revision += store->n != n_before ? 1 : 0;
    engine_rows_clear(&rows);
}

/* ---- a copy of a transaction ---- */

static struct bytes bytes_copy(const struct bytes *bytes)
{
    return (struct bytes){copy_value(bytes->data, bytes->n), bytes->n};
}

struct fake_txn *fake_txn_copy(const struct engine_txn *from)
{
    struct fake_txn *copy = mem_new(struct fake_txn);
    struct engine_compare *compares = mem_calloc(from->n_compares + 1, sizeof(*compares));
    struct engine_write *writes = mem_calloc(from->n_writes + 1, sizeof(*writes));
    struct engine_range *reads = mem_calloc(from->n_reads + 1, sizeof(*reads));
    for (size_t i = 0; i < from->n_compares; i++) {
        compares[i] = from->compares[i];
        compares[i].key = mem_strdup(compares[i].key);
        compares[i].value = bytes_copy(&compares[i].value);
    }
    for (size_t i = 0; i < from->n_writes; i++) {
        writes[i] = from->writes[i];
        writes[i].key = mem_strdup(writes[i].key);
        writes[i].value = bytes_copy(&writes[i].value);
    }
    for (size_t i = 0; i < from->n_reads; i++) {
        reads[i] = from->reads[i];
        reads[i].key = mem_strdup(reads[i].key);
        reads[i].after = mem_strdup(reads[i].after);
    }
    copy->txn = (struct engine_txn){
        compares, from->n_compares, writes, from->n_writes, reads, from->n_reads};
    return copy;
}

static void free_text(const char *text)
{
    free((char *)(uintptr_t)text);
}

void fake_txn_free(struct fake_txn *copy)
{
    if (!copy) {
        return;
    }
    struct engine_txn *txn = &copy->txn;
    for (size_t i = 0; i < txn->n_compares; i++) {
        free_text(txn->compares[i].key);
        free_text(txn->compares[i].value.data);
    }
    for (size_t i = 0; i < txn->n_writes; i++) {
        free_text(txn->writes[i].key);
        free_text(txn->writes[i].value.data);
    }
    for (size_t i = 0; i < txn->n_reads; i++) {
        free_text(txn->reads[i].key);
        free_text(txn->reads[i].after);
    }
    free((void *)(uintptr_t)txn->compares);
    free((void *)(uintptr_t)txn->writes);
    free((void *)(uintptr_t)txn->reads);
    free(copy);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/mirror.h"

#include <stdlib.h>
#include <string.h>

#include "controller/fleet/engine.h"
#include "controller/queue/name_map.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_summary.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/store.h"

struct mirror {
    struct store *store;
    char *prefix;
    struct name_map rows;
    int64_t shown; /* the revision up to which all was read, or shown by the watch */
};

struct mirror *mirror_new(struct store *store, const char *prefix)
{
    struct mirror *mirror = mem_new(struct mirror);
    mirror->store = store;
    mirror->prefix = mem_strdup(prefix);
    return mirror;
}

static void row_free(struct mirror_row *row)
{
    if (row) {
        free(row->row);
        free(row->text);
        free(row);
    }
}

static void rows_clear(struct name_map *rows)
{
    for (size_t i = 0; i < rows->capacity; i++) {
        if (rows->slots[i].name) {
            row_free(rows->slots[i].value);
        }
    }
    name_map_clear(rows);
}

void mirror_free(struct mirror *mirror)
{
    if (mirror) {
        rows_clear(&mirror->rows);
        free(mirror->prefix);
        free(mirror);
    }
}

/* ---- in memory ---- */

static void set_row(struct name_map *rows, const char *name, const char *text, int64_t revision)
{
    struct mirror_row *row = name_map_get(rows, name);
    if (!row) {
        row = mem_new(struct mirror_row);
        row->row = mem_strdup(name);
        name_map_add(rows, row->row, row);
    }
    free(row->text);
    row->text = mem_strdup(text);
    row->mod_revision = revision;
}

const struct mirror_row *mirror_get(const struct mirror *mirror, const char *row)
{
    return name_map_get(&mirror->rows, row);
}

static json_t *object_of(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    if (!json_is_object(json)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

json_t *mirror_json(const struct mirror *mirror, const char *row)
{
    const struct mirror_row *found = mirror_get(mirror, row);
    return found ? object_of(found->text) : NULL;
}

/* Of 100,000 rows only those that begin so are taken apart. */
static void each_below(const struct mirror *mirror, const char *beginning, enum fleet_kind kind,
    mirror_each_fn *each, void *context)
{
    for (size_t i = 0; i < mirror->rows.capacity; i++) {
        const char *name = mirror->rows.slots[i].name;
        if (name && text_starts_with(name, beginning)) {
            struct fleet_key key = fleet_row_parse(name);
            if (key.kind == kind) {
                each(context, &key, mirror->rows.slots[i].value);
            }
            fleet_key_clear(&key);
        }
    }
}

void mirror_each(
    const struct mirror *mirror, enum fleet_kind kind, mirror_each_fn *each, void *context)
{
    cleanup_free char *beginning = fleet_row(kind, NULL, NULL);
    each_below(mirror, beginning, kind, each, context);
}

void mirror_each_of(const struct mirror *mirror, enum fleet_kind kind, const char *node,
    mirror_each_fn *each, void *context)
{
    cleanup_free char *row = fleet_row(kind, node, NULL);
    cleanup_free char *beginning = mem_printf("%s/", row);
    each_below(mirror, beginning, kind, each, context);
}

/* The key without the prefix; NULL: it is of something else. */
static const char *row_of(const struct mirror *mirror, const char *key)
{
    return text_starts_with(key, mirror->prefix) ? key + strlen(mirror->prefix) : NULL;
}

/* ---- in the store ---- */

static enum fleet_kind kind_of(const char *row)
{
    struct fleet_key key = fleet_row_parse(row);
    fleet_key_clear(&key);
    return key.kind;
}

static bool is_shared(enum fleet_kind kind)
{
    return kind == FLEET_KIND_FLEET || kind == FLEET_KIND_NODE || kind == FLEET_KIND_ALIVE ||
           kind == FLEET_KIND_NAME || kind == FLEET_KIND_VM || kind == FLEET_KIND_STATUS ||
           kind == FLEET_KIND_IN;
}

static bool has_summary(enum fleet_kind kind)
{
    return kind == FLEET_KIND_VM || kind == FLEET_KIND_STATUS;
}

/* What commands do not understand is not shown to them. */
static void put_row(struct store_batch *batch, const char *row, const char *text)
{
    enum fleet_kind kind = kind_of(row);
    cleanup_json json_t *json = text ? object_of(text) : NULL;
    if (json && has_summary(kind)) {
        fleet_summary_add(kind, json);
    }
    if (is_shared(kind)) {
        store_batch_put_json(batch, STORE_FLEET, row, json);
    }
}

/* When a node was missed first is kept while it is missing. */
static void note_life(const struct mirror *mirror, struct store_batch *batch, const char *node,
    bool was_lost, int64_t now_ms)
{
    cleanup_free char *alive = fleet_row(FLEET_KIND_ALIVE, node, NULL);
    cleanup_free char *lost = fleet_row(FLEET_KIND_LOST, node, NULL);
    bool is_lost = !mirror_get(mirror, alive);
    if (is_lost != was_lost) {
        cleanup_json json_t *since = is_lost ? json_integer(now_ms) : NULL;
        store_batch_put_json(batch, STORE_FLEET, lost, since);
    }
}

static int commit_rows(struct mirror *mirror, struct store_batch *batch, struct error *err)
{
    struct error ignored = {.code = ERR_NONE};
    if (store_batch_is_empty(batch)) {
        return 0;
    }
    int rc = store_commit(mirror->store, batch, err);
    (void)bell_ring(store_paths(mirror->store), BELL_STATUS, &ignored); /* costs a delay */
    return rc;
}

struct lives {
    const struct mirror *mirror;
    struct store_batch *batch;
    const json_t *stored;
    int64_t now_ms;
};

static void note_node(void *context, const struct fleet_key *key, const struct mirror_row *row)
{
    const struct lives *lives = context;
    cleanup_free char *lost = fleet_row(FLEET_KIND_LOST, key->first, NULL);
    (void)row;
    note_life(lives->mirror, lives->batch, key->first, json_object_get(lives->stored, lost) != NULL,
        lives->now_ms);
}

/* With a summary that this version reads, if the row can have one. */
static bool is_as_stored(const char *row, json_t *json, const json_t *stored)
{
    enum fleet_kind kind = kind_of(row);
    if (!json || !stored || !has_summary(kind)) {
        return json_equal(json, stored);
    }
    cleanup_json json_t *known = json_copy((json_t *)(uintptr_t)stored);
    (void)fleet_summary_remove(json); /* another node's word for it */
    if (fleet_summary_remove(known)) {
        return json_equal(json, known);
    }
    fleet_summary_add(kind, json);
    return json_equal(json, stored);
}

/* Rows that are as they were are not written. */
static void put_differences(struct mirror *mirror, struct store_batch *batch, json_t *stored)
{
    const char *row;
    json_t *value;
    for (size_t i = 0; i < mirror->rows.capacity; i++) {
        const struct mirror_row *now = mirror->rows.slots[i].value;
        if (mirror->rows.slots[i].name) {
            cleanup_json json_t *json = object_of(now->text);
            if (!is_as_stored(now->row, json, json_object_get(stored, now->row))) {
                put_row(batch, now->row, now->text);
            }
        }
    }
    json_object_foreach(stored, row, value)
    {
        if (!mirror_get(mirror, row)) {
            put_row(batch, row, NULL);
        }
    }
}

int mirror_replace(
    struct mirror *mirror, const struct engine_rows *rows, int64_t now_ms, struct error *err)
{
    cleanup_json json_t *stored = NULL;
    rows_clear(&mirror->rows);
    mirror->shown = rows->revision;
    for (size_t i = 0; i < rows->n; i++) {
        const char *row = row_of(mirror, rows->rows[i].key);
        if (row) {
            set_row(&mirror->rows, row, rows->rows[i].value.data, rows->rows[i].mod_revision);
        }
    }
    int rc = store_list_json(mirror->store, STORE_FLEET, &stored, err);
    if (rc < 0) {
        return rc;
    }
    struct store_batch *batch = store_batch_new();
    put_differences(mirror, batch, stored);
    struct lives lives = {mirror, batch, stored, now_ms};
    mirror_each(mirror, FLEET_KIND_NODE, note_node, &lives);
    rc = commit_rows(mirror, batch, err);
    store_batch_free(batch);
    return rc;
}

/* False: it is known already, as a transaction of our own wrote it, or something newer. */
static bool take_event(struct mirror *mirror, const struct engine_event *event, const char *row)
{
    const struct mirror_row *known = mirror_get(mirror, row);
    if (known && known->mod_revision > event->row.mod_revision) {
        return false;
    }
    if (event->kind == ENGINE_WAS_PUT) {
        set_row(&mirror->rows, row, event->row.value.data, event->row.mod_revision);
    } else {
        row_free(name_map_remove(&mirror->rows, row));
    }
    return true;
}

int mirror_update(struct mirror *mirror, const struct engine_event *events, size_t n,
    int64_t now_ms, struct error *err)
{
    struct store_batch *batch = store_batch_new();
    for (size_t i = 0; i < n; i++) {
        const char *row = row_of(mirror, events[i].row.key);
        int64_t revision = events[i].row.mod_revision;
        mirror->shown = revision > mirror->shown ? revision : mirror->shown;
        if (!row || !take_event(mirror, &events[i], row)) {
            continue;
        }
        bool is_put = events[i].kind == ENGINE_WAS_PUT;
        put_row(batch, row, is_put ? events[i].row.value.data : NULL);
        struct fleet_key key = fleet_row_parse(row);
        if (key.kind == FLEET_KIND_ALIVE) {
            note_life(mirror, batch, key.first, is_put, now_ms);
        }
        fleet_key_clear(&key);
    }
    int rc = commit_rows(mirror, batch, err);
    store_batch_free(batch);
    return rc;
}

void mirror_note(struct mirror *mirror, const char *row, const char *text, int64_t revision)
{
    if (revision <= mirror->shown) {
        return; /* the watch was faster, also with what came of the row since */
    }
    if (text) {
        set_row(&mirror->rows, row, text, revision);
    } else {
        row_free(name_map_remove(&mirror->rows, row));
    }
}

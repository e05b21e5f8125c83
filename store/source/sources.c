/* SPDX-License-Identifier: MPL-2.0 */
#include "store/source/sources.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/text.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/source/vmfile_load.h"
#include "store/store.h"

int sources_get(
    struct store *store, const char *path, struct source_record **ret, struct error *err)
{
    cleanup_json json_t *json = NULL;
    int rc = store_get_json(store, STORE_SOURCES, path, &json, err);
    if (rc < 0) {
        return rc;
    }
    struct source_record *record = json ? source_record_from_json(json, err) : NULL;
    if (json && !record) {
        return -(int)err->code;
    }
    *ret = record;
    return 0;
}

int sources_list(struct store *store, struct source_list *ret, struct error *err)
{
    cleanup_json json_t *all = NULL;
    struct source_list list = {.count = 0};
    const char *path;
    json_t *json;
    int rc = store_list_json(store, STORE_SOURCES, &all, err);
    if (rc < 0) {
        return rc;
    }
    json_object_foreach(all, path, json)
    {
        struct error cause = {.code = ERR_NONE};
        struct source_record *record = source_record_from_json(json, &cause);
        if (record) {
            mem_grow(list.items, list.count);
            list.items[list.count++] = record;
        } else { /* one damaged record does not hide the others */
            log_warn("store", "the record of the watched VMFile '%s': %s", path, cause.message);
        }
    }
    *ret = list;
    return 0;
}

void source_list_clear(struct source_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        source_record_free(list->items[i]);
    }
    free(list->items);
    *list = (struct source_list){.count = 0};
}

void sources_change(struct store_batch *batch, const struct source_record *before,
    const struct source_record *after)
{
    cleanup_json json_t *old = before ? source_record_to_json(before) : NULL;
    cleanup_json json_t *new = after ? source_record_to_json(after) : NULL;
    const char *path = before ? before->path : after->path;
    store_batch_expect_json(batch, STORE_SOURCES, path, old);
    store_batch_put_json(batch, STORE_SOURCES, path, new);
}

/* ---- what users ask for ---- */

static void take_applied(struct source_record *record, const char *sha256, const char *digest)
{
    record->state = SOURCE_SYNCED;
    record->line = record->column = 0;
    free(TAKE_PTR(record->message));
    memset(record->failed_digest, 0, DIGEST_SIZE);
    memcpy(record->applied_sha, sha256, DIGEST_SIZE);
    memcpy(record->applied_digest, digest, DIGEST_SIZE);
    record->applied_ms = clock_wall_ms(clock_system());
}

static void take_registration(struct source_record *record, const struct source_record *wanted)
{
    free(record->directory);
    record->directory = mem_strdup(wanted->directory);
    record->is_directory = wanted->is_directory;
    source_record_follow(record, wanted);
    memset(record->pruned_digest, 0, DIGEST_SIZE); /* what was left alone is looked at again */
    if (wanted->applied_digest[0]) {
        take_applied(record, wanted->applied_sha, wanted->applied_digest);
    }
}

int sources_add_registration(struct store *store, struct store_batch *batch,
    const struct source_record *wanted, struct error *err)
{
    struct source_record *before = NULL;
    int rc = sources_get(store, wanted->path, &before, err);
    if (rc < 0) {
        return rc;
    }
    struct source_record *after =
        before ? source_record_copy(before) : source_record_new(wanted->path, wanted->since_ms);
    take_registration(after, wanted);
    sources_change(batch, before, after);
    source_record_free(before);
    source_record_free(after);
    return 0;
}

int sources_add_applied(struct store *store, struct store_batch *batch, const char *path,
    const char *sha256, const char *digest, const struct strings *inputs,
    const struct strings *overrides, struct error *err)
{
    struct source_record *before = NULL;
    int rc = sources_get(store, path, &before, err);
    bool is_same =
        rc == 0 && before &&
        text_eq(vmfile_load_given_project(&before->inputs), vmfile_load_given_project(inputs));
    if (is_same) {
        struct source_record *after = source_record_copy(before);
        take_applied(after, sha256, digest);
        source_record_set_inputs(after, inputs, overrides);
        sources_change(batch, before, after);
        source_record_free(after);
    }
    source_record_free(before);
    return rc;
}

static int try_to_forget(
    struct store *store, const char *path, bool *ret_was_watched, struct error *err)
{
    cleanup_with(source_list_clear) struct source_list list = {.count = 0};
    int rc = sources_list(store, &list, err);
    if (rc < 0) {
        return rc;
    }
    struct store_batch *batch = store_batch_new();
    for (size_t i = 0; i < list.count; i++) {
        const struct source_record *record = list.items[i];
        if (text_eq(record->path, path) || text_eq(record->directory, path)) {
            sources_change(batch, list.items[i], NULL);
        }
    }
    bool is_any = !store_batch_is_empty(batch);
    rc = is_any ? store_commit(store, batch, err) : 0;
    store_batch_free(batch);
    if (rc == 0) {
        *ret_was_watched = is_any;
    }
    return rc;
}

int sources_forget(struct store *store, const char *path, bool *ret_was_watched, struct error *err)
{
    enum { TRIES = 100 }; /* every lost try means that vmctld wrote what it found */
    int rc = try_to_forget(store, path, ret_was_watched, err);
    for (int i = 0; rc == -ERR_STORE_STALE && i < TRIES; i++) {
        error_clear(err);
        rc = try_to_forget(store, path, ret_was_watched, err);
    }
    struct error notify_error = {.code = ERR_NONE};
    if (rc == 0 && bell_ring(store_paths(store), BELL_DESIRED, &notify_error) < 0) {
        log_debug("store", "%s", notify_error.message);
    }
    return rc;
}

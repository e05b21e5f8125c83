/* SPDX-License-Identifier: MPL-2.0 */
#include "store/source/sources.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/desired/rename.h"
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
    if (wanted->is_directory && !strings_equal(&record->inputs, &wanted->inputs)) {
        record->state = SOURCE_PENDING; /* its files get them */
    }
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

/* ---- what a command applies ---- */

/* VMs of the source that the file, as the command read it, does not name. */
static int find_unnamed(
    struct store *store, const struct vmfile_load *load, struct strings *ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings vms = {.count = 0};
    int rc = store_list_source(store, load->path, &vms, err);
    vm_names_keep(&vms, load->file->project);
    return rc < 0 ? rc : rename_find_removed(store, &vms, load->file, ret, err);
}

static int refuse_overrides(
    const struct source_record *record, const struct source_applied *applied, struct error *err)
{
    cleanup_buf struct buf known = BUF_INIT(0), named = BUF_INIT(0);
    for (size_t i = 0; i < record->overrides.count; i++) {
        buf_printf(&known, " -f '%s'", record->overrides.items[i]);
    }
    for (size_t i = 0; i < applied->overrides->count; i++) {
        buf_printf(&named, " -f '%s'", applied->overrides->items[i]);
    }
    (void)error_set(err, ERR_VM_CONFLICT, "'%s' is watched %s%s", record->path,
        known.len           ? "with these further files:"
        : record->directory ? "without further files, through its directory"
                            : "without further files",
        buf_str(&known));
    return known.len ? error_help(err,
                           "give them, too: -f '%s'%s; or watch it with these files: vmctl watch "
                           "-f '%s'%s",
                           record->path, buf_str(&known), record->path, buf_str(&named))
                     : error_help(err, "watch it with them first: vmctl watch -f '%s'%s",
                           record->path, buf_str(&named));
}

/* "n, tag": which inputs the two do not have in common. A value may be a secret. */
static void add_differing(
    struct strings *out, const struct strings *inputs, const struct strings *others)
{
    for (size_t i = 0; i < inputs->count; i++) {
        if (!strings_have(others, inputs->items[i])) {
            const char *input = inputs->items[i];
            cleanup_free char *name = mem_printf("%.*s", (int)strcspn(input, "="), input);
            strings_add(out, name);
        }
    }
}

static int refuse_inputs(const struct source_record *record, const struct source_applied *applied,
    const struct strings *victims, struct error *err)
{
    cleanup_with(strings_clear) struct strings differing = {.count = 0};
    cleanup_buf struct buf names = BUF_INIT(0);
    add_differing(&differing, &record->inputs, applied->inputs);
    add_differing(&differing, applied->inputs, &record->inputs);
    for (size_t i = 0; i < differing.count; i++) {
        buf_printf(&names, "%s%s", i > 0 ? ", " : "", differing.items[i]);
    }
    cleanup_free char *more =
        victims->count > 1 ? mem_printf(" and %zu more", victims->count - 1) : mem_strdup("");
    (void)error_set(err, ERR_VM_CONFLICT,
        "'%s' is watched with --prune and other values (%s): vmctld would %s vm '%s'%s",
        record->path, buf_str(&names), record->prune == SOURCE_PRUNE_DESTROY ? "destroy" : "stop",
        victims->items[0], more);
    return applied->is_whole
               ? error_help(err, "give the same values again; or agree to that: vmctl up --prune%s",
                     record->prune == SOURCE_PRUNE_STOP ? "=stop" : "")
               : error_help(err, "give these values to all of its VMs: vmctl up, without a name");
}

/* Those that neither reading names were to go before, and what `protect` keeps does not go. */
static int find_victims(struct store *store, const struct source_record *record,
    const struct source_applied *applied, struct strings *ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings found = {.count = 0};
    int rc = applied->is_whole ? find_unnamed(store, applied->load, &found, err) : 0;
    const struct strings *names = applied->is_whole ? &found : applied->names;
    for (size_t i = 0; rc == 0 && i < names->count; i++) {
        cleanup_with(vm_record_clear) struct vm_record vm = {.name = NULL};
        rc = store_get(store, names->items[i], &vm, err);
        const struct vm_desired *desired = vm.desired;
        bool is_own = rc == 0 && desired && !desired->is_deleting &&
                      text_eq(desired->source, applied->load->path);
        bool is_kept =
            is_own && record->prune == SOURCE_PRUNE_DESTROY && desired->spec->is_protected;
        bool is_victim = applied->is_whole ? is_own && !is_kept &&
                                                 !strings_have(&record->removed, names->items[i])
                                           : !is_own; /* the watcher knows nothing of this one */
        if (rc == 0 && is_victim) {
            strings_append(ret, names->items[i]);
        }
    }
    return rc;
}

/* The record is NULL when there is none, or none that is meant. */
static int get_applied(struct store *store, const struct source_applied *applied,
    struct source_record **ret, struct error *err)
{
    struct source_record *record = NULL;
    cleanup_with(strings_clear) struct strings victims = {.count = 0};
    int rc = sources_get(store, applied->load->path, &record, err);
    bool is_meant = rc == 0 && record &&
                    vmfile_load_is_same_project(applied->load, applied->inputs, &record->inputs);
    if (is_meant && !strings_equal(&record->overrides, applied->overrides)) {
        rc = refuse_overrides(record, applied, err);
    } else if (is_meant && record->prune > applied->prune &&
               !strings_equal(&record->inputs, applied->inputs)) {
        rc = find_victims(store, record, applied, &victims, err);
        rc = rc == 0 && victims.count > 0 ? refuse_inputs(record, applied, &victims, err) : rc;
    }
    if (rc < 0 || !is_meant) {
        source_record_free(TAKE_PTR(record));
    }
    *ret = record;
    return rc;
}

int sources_check_applied(
    struct store *store, const struct source_applied *applied, struct error *err)
{
    struct source_record *record;
    int rc = get_applied(store, applied, &record, err);
    source_record_free(record);
    return rc;
}

int sources_add_applied(struct store *store, struct store_batch *batch,
    const struct source_applied *applied, struct error *err)
{
    struct source_record *before;
    cleanup_with(strings_clear) struct strings unnamed = {.count = 0};
    int rc = get_applied(store, applied, &before, err);
    rc = rc == 0 && before ? find_unnamed(store, applied->load, &unnamed, err) : rc;
    if (rc == 0 && before) {
        struct source_record *after = source_record_copy(before);
        char digest[DIGEST_SIZE];
        vmfile_load_digest(applied->load, digest);
        take_applied(after, applied->load->sha256, digest);
        source_record_set_inputs(after, applied->inputs, applied->overrides);
        strings_clear(&after->removed);
        after->removed = unnamed;
        unnamed = (struct strings){.count = 0};
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

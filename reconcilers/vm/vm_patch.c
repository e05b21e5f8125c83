/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/vm_patch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/vm/lease_key.h"
#include "store/batch.h"
#include "store/source/sources.h"
#include "store/store.h"

/* ---- filling and emptying a patch ---- */

enum { MESSAGE_MAX = 1024 }; /* of an event; more is cut */

void vm_patch_event(
    struct vm_patch *patch, bool is_warning, enum reason reason, const char *fmt, ...)
{
    char message[MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    mem_grow(patch->events, patch->n_events);
    patch->events[patch->n_events++] = (struct patch_event){
        .is_warning = is_warning,
        .reason = reason,
        .message = mem_strdup(message),
    };
}

static void add_text(char ***strings, size_t *count, const char *text)
{
    mem_grow(*strings, *count);
    (*strings)[(*count)++] = mem_strdup(text);
}

/* A lease that the same patch had dropped is kept. */
void vm_patch_lease(struct vm_patch *patch, const char *key)
{
    for (size_t i = 0; i < patch->n_dropped_leases; i++) {
        if (text_eq(patch->dropped_leases[i], key)) {
            free(patch->dropped_leases[i]);
            patch->dropped_leases[i--] = patch->dropped_leases[--patch->n_dropped_leases];
        }
    }
    add_text(&patch->leases, &patch->n_leases, key);
}

void vm_patch_drop_lease(struct vm_patch *patch, const char *key)
{
    add_text(&patch->dropped_leases, &patch->n_dropped_leases, key);
}

void vm_patch_image(struct vm_patch *patch, const char *key, json_t *record_take)
{
    mem_grow(patch->images, patch->n_images);
    patch->images[patch->n_images++] =
        (struct patch_image){.key = mem_strdup(key), .record = record_take};
}

void vm_patch_meta(struct vm_patch *patch, const char *key, json_t *record_take)
{
    vm_patch_image(patch, key, record_take);
    patch->images[patch->n_images - 1].is_meta = true;
}

bool vm_patch_is_empty(const struct vm_patch *patch, const struct vm_status *committed)
{
    return !patch->forget && !patch->deletes && !patch->creates && patch->n_leases == 0 &&
           patch->n_dropped_leases == 0 && patch->n_images == 0 &&
           vm_status_equal(patch->status, committed);
}

static void free_strings(char **strings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(strings[i]);
    }
    free(strings);
}

void vm_patch_clear(struct vm_patch *patch)
{
    vm_status_free(patch->status);
    vm_desired_free(patch->creates);
    free_strings(patch->leases, patch->n_leases);
    free_strings(patch->dropped_leases, patch->n_dropped_leases);
    for (size_t i = 0; i < patch->n_events; i++) {
        free(patch->events[i].message);
    }
    free(patch->events);
    for (size_t i = 0; i < patch->n_images; i++) {
        free(patch->images[i].key);
        json_decref(patch->images[i].record);
    }
    free(patch->images);
    *patch = (struct vm_patch){0};
}

/* ---- the batch ---- */

struct patch_context {
    struct store *store;
    const struct vm_view *view;
    const struct vm_patch *patch;
    struct store_batch *batch;
    bool is_status_new;
    uint64_t *status_mark; /* becomes that of the new one */
};

static int find_holder(
    const struct patch_context *c, const char *key, bool *ret_is_ours, struct error *err)
{
    char uid[TEXT_ID_SIZE];
    int rc = store_lease_holder(c->store, key, uid, NULL, err);
    if (rc == 0) {
        *ret_is_ours = text_eq(uid, c->patch->status->uid);
    }
    return rc;
}

static void take_lease(const struct patch_context *c, char *key)
{
    cleanup_free char *vm_name = mem_strdup(c->view->name);
    struct lease lease = {
        .key = key,
        .vm_name = vm_name,
        .purpose = (char *)(uintptr_t)lease_purpose(key),
    };
    snprintf(lease.uid, sizeof(lease.uid), "%s", c->patch->status->uid);
    store_batch_take_lease(c->batch, &lease);
}

/* Only leases of this very VM are dropped: another may have taken the key meanwhile. */
static int add_leases(const struct patch_context *c, struct error *err)
{
    const struct vm_patch *patch = c->patch;
    bool is_ours = false;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < patch->n_dropped_leases; i++) {
        rc = find_holder(c, patch->dropped_leases[i], &is_ours, err);
        if (rc == 0 && is_ours) {
            store_batch_drop_lease(c->batch, patch->dropped_leases[i]);
        }
    }
    for (size_t i = 0; rc == 0 && i < patch->n_leases; i++) {
        rc = find_holder(c, patch->leases[i], &is_ours, err);
        if (rc == 0 && !is_ours) {
            take_lease(c, patch->leases[i]);
        }
    }
    return rc;
}

static int add_images(const struct patch_context *c, struct error *err)
{
    for (size_t i = 0; i < c->patch->n_images; i++) {
        const struct patch_image *image = &c->patch->images[i];
        enum store_table table = image->is_meta ? STORE_META : STORE_IMAGES;
        cleanup_json json_t *stored = NULL;
        int rc = store_get_json(c->store, table, image->key, &stored, err);
        if (rc < 0) {
            return rc;
        }
        bool is_same = image->record ? stored && json_equal(stored, image->record) : !stored;
        if (!is_same) {
            store_batch_put_json(c->batch, table, image->key, image->record);
        }
    }
    return 0;
}

static int fill(const struct patch_context *c, int64_t wall_ms, struct error *err)
{
    if (c->patch->forget) {
        store_batch_forget_vm(c->batch, c->view->name, c->patch->status->uid);
    } else {
        if (c->is_status_new) {
            *c->status_mark = store_batch_put_status(c->batch, c->view->name, c->patch->status);
        }
        int rc = add_leases(c, err);
        if (rc < 0) {
            return rc;
        }
    }
    if (c->patch->deletes) {
        /* As `vmctl destroy` would: the new generation shows every reader that something changed.
         */
        struct vm_desired *next = vm_desired_copy(c->view->desired);
        next->is_deleting = true;
        next->generation++;
        store_batch_put_desired(c->batch, next, c->view->desired->revision);
        vm_desired_free(next);
    }
    if (c->patch->creates) {
        store_batch_put_desired(c->batch, c->patch->creates, 0);
    }
    for (size_t i = 0; i < c->patch->n_events; i++) {
        const struct patch_event *event = &c->patch->events[i];
        store_batch_add_event(
            c->batch, c->view->name, event->is_warning, event->reason, event->message, wall_ms);
    }
    return add_images(c, err);
}

/* ---- the pass ---- */

/* Also when the status is of another VM that had this name before: the record is not this one's. */
static void ensure_status(struct vm_record *record)
{
    const char *uid = record->desired ? record->desired->uid : "";
    if (record->status && (!record->desired || text_eq(record->status->uid, uid))) {
        return;
    }
    vm_status_free(record->status);
    record->status = vm_status_new(uid);
}

/* NULL when nothing changes, or when the store cannot be read: *err is set then. */
static struct store_batch *make_batch(struct reconciler_host *host, const struct vm_view *view,
    const struct vm_patch *patch, bool is_status_new, uint64_t *status_mark, struct error *err)
{
    struct store_batch *batch = store_batch_new();
    struct patch_context context = {.store = host->store,
        .view = view,
        .patch = patch,
        .batch = batch,
        .is_status_new = is_status_new,
        .status_mark = status_mark};
    int rc = fill(&context, clock_wall_ms(host->clock), err);
    if (rc < 0 || store_batch_is_empty(batch)) {
        store_batch_free(TAKE_PTR(batch));
    } else if (view->desired && !patch->forget) { /* that one looks whose the name is by itself */
        store_batch_expect_vm(batch, view->name, view->desired->uid);
    }
    return batch;
}

static struct verdict fail(const char *what, const char *name, const struct error *err)
{
    log_error("controller", "%s: %s: %s", name, what, err->message);
    return (struct verdict){.is_failure = true};
}

/* Leaves in `known` what is stored. */
static int read_again(
    struct store *store, const char *name, struct vm_record *known, struct error *err)
{
    struct vm_record record = {.name = NULL};
    struct vm_mark mark = known->name ? known->mark : VM_MARK_NEVER;
    bool is_changed = true;
    int rc = store_get_changed(store, name, &mark, &record, &is_changed, err);
    if (rc < 0 || is_changed) {
        vm_record_clear(known);
        *known = record;
    }
    return rc;
}

struct verdict vm_patch_make(struct reconciler_host *host, const char *name,
    struct vm_record *known, vm_pass_fn *pass, void *context, struct store_batch **ret_batch)
{
    struct source_record *source = NULL;
    struct error err = {0}, ignored = {0};
    if (read_again(host->store, name, known, &err) < 0) {
        return fail("cannot read its records", name, &err);
    }
    ensure_status(known);
    if (known->desired && known->desired->source) {
        /* A record that cannot be read blocks no VM: the watcher reports it. */
        (void)sources_get(host->store, known->desired->source, &source, &ignored);
    }
    struct vm_view view = {
        .name = name, .desired = known->desired, .status = known->status, .source = source};
    cleanup_with(vm_patch_clear) struct vm_patch patch = {.status = vm_status_copy(view.status)};
    struct verdict verdict = pass(context, &view, &patch);
    source_record_free(source);
    bool is_status_new = !vm_status_equal(patch.status, view.status);
    if (view.desired && is_status_new) {
        memcpy(patch.status->observer, host->session, TEXT_ID_SIZE);
    }
    for (size_t i = 0; i < patch.n_events; i++) {
        const struct patch_event *event = &patch.events[i];
        log_line(event->is_warning ? LOG_WARN : LOG_INFO, "vm", "%s: %s: %s", name,
            reason_name(event->reason), event->message);
    }
    known->mark.status = is_status_new ? VM_MARK_NEVER.status : known->mark.status;
    *ret_batch = make_batch(host, &view, &patch, is_status_new, &known->mark.status, &err);
    if (is_status_new) { /* view.status is no longer valid */
        vm_status_free(known->status);
        known->status = TAKE_PTR(patch.status);
    }
    return err.code ? fail("cannot read what its status would change", name, &err) : verdict;
}

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The input and output of a pass over a VM's records: a view goes in, a patch comes out, and its
 * changes become the batch that the controller commits. Unchanged records are not written: that
 * would wake all waiters and cost a commit.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "controller/reconciler.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"
#include "store/store.h"

/* The writes for one VM, all or nothing. The patch owns everything in it. */
struct vm_patch {
    struct vm_status *status;   /* starts as a copy of the view's; written if it differs */
    bool deletes;               /* mark the desired record for deletion, if it is still as seen */
    struct vm_desired *creates; /* the record of another VM, which must not be there yet; owned */
    bool forget;                /* the deletion is complete: drop all records of this VM */
    char **leases;              /* keys to hold ("tcp/10022"); stale if another VM has one */
    size_t n_leases;
    char **dropped_leases;
    size_t n_dropped_leases;
    struct patch_event {
        bool is_warning;
        enum reason reason;
        char *message;
    } * events;
    size_t n_events;
    struct patch_image {
        char *key;
        json_t *record; /* NULL: remove */
        bool is_meta;
    } * images; /* records of STORE_IMAGES, or of STORE_META */
    size_t n_images;
};

void vm_patch_event(struct vm_patch *patch, bool is_warning, enum reason reason, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));
void vm_patch_lease(struct vm_patch *patch, const char *key);
void vm_patch_drop_lease(struct vm_patch *patch, const char *key);
void vm_patch_image(struct vm_patch *patch, const char *key, json_t *record_take);
void vm_patch_meta(struct vm_patch *patch, const char *key, json_t *record_take);
/* Returns whether the patch changes neither this status nor leases nor images; events alone do not
 * count. */
bool vm_patch_is_empty(const struct vm_patch *patch, const struct vm_status *committed);
void vm_patch_clear(struct vm_patch *patch);

/* A pass: reads the view, fills the patch, returns the verdict. */
typedef struct verdict vm_pass_fn(
    void *context, const struct vm_view *view, struct vm_patch *patch);

/*
 * Shows `pass` the records of the VM in one snapshot and makes its patch the batch *ret_batch, NULL
 * when the store already is as the patch wants it; the caller owns it. Records that cannot be read
 * are logged, and the verdict then is a failure.
 *
 * `known` saves the next pass the reading: it is what this one leaves in the store when the batch
 * is committed, and is shown to the next if the bytes in the store are just those, by their
 * checksums (vm_mark); whatever else is there is read. It begins empty, and is the caller's to
 * clear.
 */
struct verdict vm_patch_make(struct reconciler_host *host, const char *name,
    struct vm_record *known, vm_pass_fn *pass, void *context, struct store_batch **ret_batch);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The interface between the controller, which knows keys and verdicts, and the reconcilers, which
 * know VMs. A view goes in, a patch comes out; the controller commits the patch and then asks
 * again.
 *
 * So "intent before effect" has one mechanism: a pass that wants to act writes its intent into the
 * patch and asks to be called again; the next pass finds the intent committed and acts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/queue/workqueue.h"
#include "specs/base/json.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"

struct clock;
struct error;
struct loop;
struct paths;
struct pool;
struct source_record;

/* What the store holds of one VM, in one snapshot. Borrowed for the call. */
struct vm_view {
    const char *name;
    const struct vm_desired *desired;   /* NULL: no such record (an orphan's status may remain) */
    const struct vm_status *status;     /* never NULL: a fresh one when there is no record */
    const struct source_record *source; /* of the VMFile it came from; NULL: that is not watched */
};

/* What the reconciler wants written, all or nothing. Everything is owned by the patch. */
struct vm_patch {
    struct vm_status *status; /* starts as a copy of the view's; written if it differs */
    bool deletes;             /* mark the desired record for deletion, if it is still as seen */
    bool forget;              /* the deletion is complete: drop all records of this VM */
    char **leases;            /* keys to hold ("tcp/10022"); stale if another VM has one */
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
    } * images;         /* records of STORE_IMAGES */
    size_t n_images;
};

void vm_patch_event(struct vm_patch *patch, bool is_warning, enum reason reason, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));
void vm_patch_lease(struct vm_patch *patch, const char *key);
void vm_patch_drop_lease(struct vm_patch *patch, const char *key);
void vm_patch_image(struct vm_patch *patch, const char *key, json_t *record_take);
void vm_patch_clear(struct vm_patch *patch);

/* When to look again, unless something wakes the VM earlier. Applied after the commit. */
#define VERDICT_WHEN_WOKEN ((int64_t)-1) /* nothing to do until something changes */
#define VERDICT_NOW ((int64_t)0)
struct verdict {
    int64_t requeue_ms;
    bool is_failure; /* requeue by backoff instead; the count starts over with the next success */
};

/* What the controller offers to the reconcilers. Functions never call back into reconcile(). */
struct reconciler_host {
    struct loop *loop;
    struct pool *pool;
    const struct paths *paths;
    const struct clock *clock;
    /* "Look at this VM again": cheap, coalesced, allowed anywhere. */
    void (*wake)(struct reconciler_host *host, const char *name, enum work_priority priority);
    /* Who holds a lease: the VM's name (borrowed until the next call), NULL: nobody. */
    const char *(*lease_holder)(struct reconciler_host *host, const char *key);
    /* Whether that VM is Ready, as of its newest generation; an unknown VM is not. */
    bool (*is_ready)(struct reconciler_host *host, const char *name);
    /* A record of the image table, NULL when absent. Caller owns. */
    json_t *(*image_record)(struct reconciler_host *host, const char *key);
    /* Writes a record of the image table, or removes it (NULL). Writes stay in order; one that
     * fails is logged. */
    void (*write_image)(struct reconciler_host *host, const char *key, json_t *record_take);
    /* Shows all VMs in one snapshot. An error also when one cannot be read. */
    int (*each_vm)(struct reconciler_host *host,
        void (*each)(void *context, const struct vm_view *view), void *context, struct error *err);
    /* A random number; seeded in simulations. */
    uint32_t (*rng)(struct reconciler_host *host);
    void *backend_data; /* media.c's: one image cache per host; starts as NULL, see media_free() */
};

struct image_handler;

struct reconciler {
    /* One pass over one VM. Never blocks. */
    struct verdict (*reconcile)(
        struct reconciler *self, const struct vm_view *view, struct vm_patch *patch);
    /* After the first complete list: directories and processes that no record knows. Names found
     * this way are woken and arrive in reconcile() with view->desired == NULL. */
    void (*find_orphans)(struct reconciler *self);
    /* After the commit of a patch that dropped leases or forgot a VM. May be NULL. */
    void (*leases_dropped)(struct reconciler *self);
    /* Frees everything in memory; VMs keep running. */
    void (*free)(struct reconciler *self);
    struct image_handler
        *images; /* NULL: nothing is done about requests for images. Freed before it */
};

/* A VM needs the image file at `path`; NULL: none. */
typedef void image_pin_fn(void *context, const char *vm_name, const char *path);

/* The images that VMs were found or made from and that no record may have yet: `each` shows them.
 */
struct image_pins {
    void (*each)(void *source, image_pin_fn *pin, void *context);
    void *source;
};

/* What handles requests for images; main.c plugs it in beside the VMs. */
struct image_handler {
    /* The image table, {key: record}, at the start and whenever something may have changed in it.
     */
    void (*changed)(struct image_handler *self, const json_t *images);
    void (*free)(struct image_handler *self);
};

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The interface between the controller, which knows keys and verdicts, and the reconcilers, which
 * know what a key means: one reconciler per kind of key. A name goes in, a patch and a verdict come
 * out; the controller commits the patch and then applies the verdict.
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
#include "specs/base/text.h"
#include "specs/vm/dependency.h"

struct clock;
struct error;
struct loop;
struct paths;
struct pool;
struct secrets;
struct store;
struct store_batch;
struct vm_view;

/* What a pass wants written, all or nothing. */
struct patch {
    struct store_batch *batch; /* owned; NULL or empty: nothing. Compare-and-set: one that lost a
                                * race is dropped, and the key is reconciled again */
    /* Called after the commit of the batch and before the next pass over the key; not when the
     * commit fails. NULL: nothing to do then. */
    void (*committed)(void *context);
    void *context;
    bool frees_room; /* it may use the room kept aside on a full disk (specs/base/reserve.h) */
};

/* When to look again, unless something wakes the key earlier. Applied after the commit. */
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
    struct store *store; /* to read from; writes go into patches */
    const struct clock *clock;
    struct secrets *secrets;    /* that commands handed over; NULL: none ever */
    char session[TEXT_ID_SIZE]; /* of this run of the controller */
    /* "Look at this key again": cheap, coalesced, allowed anywhere. */
    void (*wake)(struct reconciler_host *host, struct key key, enum work_priority priority);
    /* Returns the name of the VM that holds the lease (borrowed until the next call); NULL: none.
     */
    const char *(*lease_holder)(struct reconciler_host *host, const char *key);
    /* Shows the keys from `first` to `last` that committed leases hold. */
    void (*each_lease_between)(struct reconciler_host *host, const char *first, const char *last,
        void (*each)(void *context, const char *key), void *context);
    /* Shows the keys of the leases that a VM holds. */
    void (*each_lease)(struct reconciler_host *host, const char *vm_name,
        void (*each)(void *context, const char *key), void *context);
    /* dependency_state() of that VM, once this controller has looked at it. */
    enum dependency_state (*dependency)(
        struct reconciler_host *host, const char *name, struct error *err);
    /* A record of the image table, NULL when absent. Caller owns. */
    json_t *(*image_record)(struct reconciler_host *host, const char *key);
    /* Shows all VMs in one snapshot. An error also when one cannot be read. */
    int (*each_vm)(struct reconciler_host *host,
        void (*each)(void *context, const struct vm_view *view), void *context, struct error *err);
    /* A random number; seeded in simulations. */
    uint32_t (*rng)(struct reconciler_host *host);
    void *backend_data; /* media.c's: one image cache per host; starts as NULL, see media_free() */
};

/* What the store holds of one VM, in one snapshot. Borrowed for the call. */
struct vm_view {
    const char *name;
    const struct vm_desired *desired;   /* NULL: no such record (an orphan's status may remain) */
    const struct vm_status *status;     /* never NULL: a fresh one when there is no record */
    const struct source_record *source; /* of the VMFile it came from; NULL: that is not watched */
};

struct reconciler {
    enum key_kind kind; /* of the keys it is given */
    /* One pass over one key. Never blocks. `patch` starts as all zero. */
    struct verdict (*reconcile)(struct reconciler *self, const char *name, struct patch *patch);
    /* Wakes all its keys that may have something to do: called at the start, after each ring of the
     * desired bell, and at each resync. NULL for VMs, which the controller lists itself
     * (controller/queue/desired_watch.h). */
    void (*list)(struct reconciler *self);
    /* After the first complete list: wakes what no record knows. May be NULL. */
    void (*find_orphans)(struct reconciler *self);
    /* Over how many of its keys another pass comes soon. May be NULL. */
    size_t (*count_under_way)(const struct reconciler *self);
    /* Ends the process of every VM at once: their disks are deleted. May be NULL. */
    void (*end_machines)(struct reconciler *self);
    /* Frees everything in memory; VMs keep running. */
    void (*free)(struct reconciler *self);
};

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The manager: takes keys from the one work queue, lets the reconciler of their kind make a pass,
 * commits the patch that comes back, and applies the verdict.
 *
 *   bell, timers, reconciler's wake() -> queue -> reconcile() -> patch -> store writer
 *                                          ^                                   |
 *                                          +--- verdict, once it is committed -+
 *
 * A key stays "processing" until its patch is committed, so that the next pass sees it. A commit
 * that lost a race (ERR_STORE_STALE) triggers another pass; one that failed (a full disk) is
 * retried forever with backoff. A turn of the loop takes a limited number of keys of whatever kind,
 * by priority: many sources or image requests delay no VM. Without events nothing wakes up, except
 * for the resync about every ten minutes and the check of watched VMFiles every half minute
 * (controller/source/source_watch.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/reconciler.h"

struct controller;
struct error;
struct store;
struct store_writer;

/* All borrowed; they must outlive the controller, except that the writer may stop before. */
struct controller_options {
    struct loop *loop;
    struct pool *pool;
    const struct paths *paths;
    struct store *store;
    struct store_writer *writer;
    uint64_t seed; /* of the jitter; any number */
};

struct controller *controller_new(const struct controller_options *options);

/* What the reconcilers are made with; lives as long as the controller. */
struct reconciler_host *controller_host(struct controller *controller);

/* Plugs in the reconciler of a kind of key, one each, before the start. controller_free() frees it,
 * in the reverse order of enum key_kind: image requests before the VMs' image cache. */
void controller_add(struct controller *controller, struct reconciler *reconciler_take);

/*
 * Arms the bell, lists all keys into the queue, records itself in the store's meta table under
 * "controller", and lets the reconcilers look for orphans.
 */
int controller_start(struct controller *controller, struct error *err);

/* Ends the process of every VM at once: for disks that are deleted, and would be lost unseen. */
void controller_end_machines(struct controller *controller);

/* Takes no further key and watches nothing any more. What the writer was given stays there. */
void controller_stop(struct controller *controller);

/* Stops, and frees the reconcilers: VMs keep running. NULL is fine. */
void controller_free(struct controller *controller);

/* Nothing is ready and no commit is under way: what happens next comes from outside or later. */
bool controller_is_quiet(const struct controller *controller);

/* How many passes were made: for tests and benchmarks. */
uint64_t controller_pass_count(const struct controller *controller);

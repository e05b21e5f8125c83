/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The manager: takes keys from the work queue, shows the reconciler what the store holds of a VM,
 * commits the patch that comes back, and applies the verdict. It knows names and verdicts, not VMs.
 *
 *   bell, timers, reconciler's wake() -> queue -> view -> reconcile() -> patch -> store writer
 *                                          ^                                          |
 *                                          +---- verdict, once it is committed <------+
 *
 * A key stays "processing" until its patch is committed, so that the next pass sees it. A commit
 * that lost a race (ERR_STORE_STALE) is a reason to look again; one that failed (a full disk) backs
 * off and is retried forever. Nothing wakes up while nothing happens, but for the resync every ten
 * minutes or so, and a look at watched VMFiles every half minute
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

/* What the reconciler is made with; lives as long as the controller. */
struct reconciler_host *controller_host(struct controller *controller);

/*
 * Arms the bell, lists every VM into the queue, records itself in the store's meta table under
 * "controller", and lets the reconciler look for orphans. Takes the reconciler (also on failure);
 * controller_free() frees it.
 */
int controller_start(
    struct controller *controller, struct reconciler *reconciler_take, struct error *err);

/* Takes no further key and watches nothing any more. What the writer was given stays there. */
void controller_stop(struct controller *controller);

/* Stops, and frees the reconciler: VMs keep running. NULL is fine. */
void controller_free(struct controller *controller);

/* Nothing is ready and no commit is under way: what happens next comes from outside or later. */
bool controller_is_quiet(const struct controller *controller);

/* How many passes were made: for tests and benchmarks. */
uint64_t controller_pass_count(const struct controller *controller);

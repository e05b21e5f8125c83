/* SPDX-License-Identifier: MPL-2.0 */
/* One pass: reconcile() -> patch -> commit -> verdict. */
#include "controller/controller_internal.h"

#include <stdlib.h>

#include "controller/loop/loop.h"
#include "controller/queue/backoff.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/reserve.h"
#include "store/batch.h"
#include "store/writer.h"

/* A reconciler that asks for "now" this often without writing anything is spinning: our own bug,
 * which must not take the machine with it. */
enum { SPINS_MAX = 100 };

/* ---- what is remembered between passes ---- */

static struct key_state *state_of(struct controller *controller, struct key key)
{
    struct name_map *states = &controller->states[key.kind];
    struct key_state *state = name_map_get(states, key.name);
    if (!state) {
        state = mem_new(struct key_state);
        state->name = mem_strdup(key.name);
        name_map_add(states, state->name, state);
    }
    return state;
}

static void state_free(struct key_state *state)
{
    if (state) {
        free(state->name);
        free(state);
    }
}

/* ---- the verdict ---- */

static void requeue_by_backoff(struct controller *controller, struct key key, uint32_t failures)
{
    uint32_t rng = controller->host.rng(&controller->host);
    int64_t delay_ms = backoff_delay_ms(&backoff_reconcile, failures, rng);
    workqueue_add_at(controller->queue, key, loop_now_ms(controller->host.loop) + delay_ms);
}

static void settle_failure(struct controller *controller, struct key key)
{
    struct key_state *state = state_of(controller, key);
    state->stales = 0;
    requeue_by_backoff(controller, key, ++state->failures);
    workqueue_done(controller->queue, key);
}

/* Somebody else wrote first, which is cured by looking again, at once. When it is lost time and
 * again, as for a lease that another VM holds, it is treated as a failure. */
static void settle_stale(struct controller *controller, struct key key)
{
    struct key_state *state = state_of(controller, key);
    if (state->stales++ == 0) {
        workqueue_add(controller->queue, key, WORK_EVENT);
    } else {
        requeue_by_backoff(controller, key, state->stales - 1);
    }
    workqueue_done(controller->queue, key);
}

static bool is_spinning(struct controller *controller, struct key key, bool did_write)
{
    struct key_state *state = state_of(controller, key);
    state->failures = 0;
    state->stales = 0;
    state->spins = did_write ? 0 : state->spins + 1;
    if (state->spins <= SPINS_MAX) {
        return false;
    }
    log_warn("controller", "%s: %d passes in a row changed nothing", key.name, SPINS_MAX);
    state->spins = 0;
    return true;
}

static void settle(
    struct controller *controller, struct key key, struct verdict verdict, bool did_write)
{
    bool is_now = verdict.requeue_ms == VERDICT_NOW;
    controller_note_observed(controller, key);
    if (verdict.is_failure || (is_now && is_spinning(controller, key, did_write))) {
        settle_failure(controller, key);
        return;
    }
    if (is_now) {
        workqueue_add(controller->queue, key, WORK_EVENT);
    } else {
        state_free(name_map_remove(&controller->states[key.kind], key.name));
    }
    if (verdict.requeue_ms > 0) {
        workqueue_add_at(
            controller->queue, key, loop_now_ms(controller->host.loop) + verdict.requeue_ms);
    }
    workqueue_done(controller->queue, key);
}

/* ---- the commit ---- */

static void pass_free(struct pass *pass)
{
    *pass->link = pass->next;
    if (pass->next) {
        pass->next->link = pass->link;
    }
    free(pass->name);
    free(pass);
}

/* Of two passes that take one lease the first counts: the other's commit will be stale. */
static void add_pending(void *context, const char *key)
{
    struct pass *pass = context;
    if (!name_map_get(&pass->controller->pending_leases, key)) {
        name_map_add(&pass->controller->pending_leases, key, pass);
    }
}

static void remove_pending(void *context, const char *key)
{
    struct pass *pass = context;
    if (name_map_get(&pass->controller->pending_leases, key) == pass) {
        (void)name_map_remove(&pass->controller->pending_leases, key);
    }
}

void controller_drop_passes(struct controller *controller)
{
    name_map_clear(&controller->pending_leases);
    while (controller->passes) {
        pass_free(controller->passes);
    }
    for (int kind = 0; kind < KEY_KIND_COUNT_; kind++) {
        struct name_map *states = &controller->states[kind];
        for (size_t i = 0; i < states->capacity; i++) {
            state_free(states->slots[i].value);
        }
        name_map_clear(states);
    }
}

static void on_committed(void *context, int rc, const struct error *err)
{
    struct pass *pass = context;
    struct controller *controller = pass->controller;
    if (rc == 0) {
        if (pass->patch.committed) {
            pass->patch.committed(pass->patch.context);
        }
        settle(controller, pass->key, pass->verdict, true);
    } else if (rc == -ERR_STORE_STALE) {
        log_debug("controller", "%s: %s; checking again", pass->name, err->message);
        settle_stale(controller, pass->key);
    } else {
        struct error cause = *err;
        log_error("controller", "%s: cannot write the status: %s", pass->name, err->message);
        bool is_retried = pass->patch.frees_room && reserve_give_up(controller->host.paths, &cause);
        (is_retried ? settle_stale : settle_failure)(controller, pass->key);
    }
    store_batch_each_lease(pass->batch, remove_pending, pass);
    pass_free(pass);
}

static struct pass *pass_new(struct controller *controller, struct key key)
{
    struct pass *pass = mem_new(struct pass);
    pass->controller = controller;
    pass->name = mem_strdup(key.name); /* the key may go with workqueue_done() */
    pass->key = key_of(key.kind, pass->name);
    pass->next = controller->passes;
    pass->link = &controller->passes;
    if (pass->next) {
        pass->next->link = &pass->next;
    }
    controller->passes = pass;
    return pass;
}

void controller_pass(struct controller *controller, struct key key)
{
    struct pass *pass = pass_new(controller, key);
    struct reconciler *reconciler = controller->reconcilers[key.kind];
    controller->n_passes++;
    controller->n_read++;
    pass->verdict = reconciler->reconcile(reconciler, pass->name, &pass->patch);
    struct store_batch *batch = TAKE_PTR(pass->patch.batch);
    if (batch && !store_batch_is_empty(batch)) {
        pass->batch = batch;
        store_batch_each_lease(batch, add_pending, pass);
        store_writer_submit(controller->writer, batch, on_committed, pass);
        return;
    }
    store_batch_free(batch);
    settle(controller, pass->key, pass->verdict, false);
    pass_free(pass);
}

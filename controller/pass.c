/* SPDX-License-Identifier: MPL-2.0 */
/* One pass: view -> reconcile() -> patch -> commit -> verdict. */
#include "controller/controller_internal.h"

#include <stdlib.h>
#include <string.h>

#include "controller/loop/loop.h"
#include "controller/patch.h"
#include "controller/queue/backoff.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "store/batch.h"
#include "store/source/sources.h"
#include "store/store.h"
#include "store/writer.h"

/* A reconciler that asks for "now" this often without writing anything is spinning: our own bug,
 * which must not take the machine with it. */
enum { SPINS_MAX = 100 };

/* ---- what is remembered between passes ---- */

static struct key_state *state_of(struct controller *controller, const char *name)
{
    struct key_state *state = name_map_get(&controller->states, name);
    if (!state) {
        state = mem_new(struct key_state);
        state->name = mem_strdup(name);
        name_map_add(&controller->states, state->name, state);
    }
    return state;
}

static void forget_state(struct controller *controller, const char *name)
{
    struct key_state *state = name_map_remove(&controller->states, name);
    if (state) {
        free(state->name);
        free(state);
    }
}

/* ---- the verdict ---- */

static void requeue_by_backoff(struct controller *controller, const char *name, uint32_t failures)
{
    uint32_t rng = controller->host.rng(&controller->host);
    int64_t delay_ms = backoff_delay_ms(&backoff_reconcile, failures, rng);
    workqueue_add_at(controller->queue, name, loop_now_ms(controller->host.loop) + delay_ms);
}

static void settle_failure(struct controller *controller, const char *name)
{
    struct key_state *state = state_of(controller, name);
    state->stales = 0;
    requeue_by_backoff(controller, name, ++state->failures);
    workqueue_done(controller->queue, name);
}

/* Somebody else wrote first, which is cured by looking again, at once. When it is lost time and
 * again, as for a lease that another VM holds, it is treated as a failure. */
static void settle_stale(struct controller *controller, const char *name)
{
    struct key_state *state = state_of(controller, name);
    if (state->stales++ == 0) {
        workqueue_add(controller->queue, name, WORK_EVENT);
    } else {
        requeue_by_backoff(controller, name, state->stales - 1);
    }
    workqueue_done(controller->queue, name);
}

static bool is_spinning(struct controller *controller, const char *name, bool did_write)
{
    struct key_state *state = state_of(controller, name);
    state->failures = 0;
    state->stales = 0;
    state->spins = did_write ? 0 : state->spins + 1;
    if (state->spins <= SPINS_MAX) {
        return false;
    }
    log_warn("controller", "%s: %d passes in a row changed nothing", name, SPINS_MAX);
    state->spins = 0;
    return true;
}

static void settle(
    struct controller *controller, const char *name, struct verdict verdict, bool did_write)
{
    if (verdict.is_failure) {
        settle_failure(controller, name);
        return;
    }
    if (verdict.requeue_ms == VERDICT_NOW) {
        if (is_spinning(controller, name, did_write)) {
            settle_failure(controller, name);
            return;
        }
        workqueue_add(controller->queue, name, WORK_EVENT);
    } else {
        forget_state(controller, name);
    }
    if (verdict.requeue_ms > 0) {
        workqueue_add_at(
            controller->queue, name, loop_now_ms(controller->host.loop) + verdict.requeue_ms);
    }
    workqueue_done(controller->queue, name);
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

void controller_drop_passes(struct controller *controller)
{
    while (controller->passes) {
        pass_free(controller->passes);
    }
}

static void on_committed(void *context, int rc, const struct error *err)
{
    struct pass *pass = context;
    struct controller *controller = pass->controller;
    if (rc == 0) {
        settle(controller, pass->name, pass->verdict, true);
        if (pass->drops_leases && controller->reconciler->leases_dropped) {
            controller->reconciler->leases_dropped(controller->reconciler);
        }
    } else if (rc == -ERR_STORE_STALE) {
        log_debug("controller", "%s: %s; looking again", pass->name, err->message);
        settle_stale(controller, pass->name);
    } else {
        log_error("controller", "%s: cannot write its status: %s", pass->name, err->message);
        settle_failure(controller, pass->name);
    }
    pass_free(pass);
}

static void submit(struct controller *controller, const char *name, struct verdict verdict,
    const struct vm_patch *patch, struct store_batch *batch_take)
{
    struct pass *pass = mem_new(struct pass);
    pass->controller = controller;
    pass->name = mem_strdup(name);
    pass->verdict = verdict;
    pass->drops_leases = patch->forget || patch->n_dropped_leases > 0;
    pass->next = controller->passes;
    pass->link = &controller->passes;
    if (pass->next) {
        pass->next->link = &pass->next;
    }
    controller->passes = pass;
    store_writer_submit(controller->writer, batch_take, on_committed, pass);
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

/* A record that cannot be read blocks no VM: the watcher reports it. */
static struct source_record *source_of(
    struct controller *controller, const struct vm_record *record)
{
    struct source_record *source = NULL;
    struct error ignored = {0};
    if (record->desired && record->desired->source) {
        (void)sources_get(controller->store, record->desired->source, &source, &ignored);
    }
    return source;
}

static void log_events(const char *name, const struct vm_patch *patch)
{
    for (size_t i = 0; i < patch->n_events; i++) {
        const struct patch_event *event = &patch->events[i];
        log_line(event->is_warning ? LOG_WARN : LOG_INFO, "vm", "%s: %s: %s", name,
            reason_name(event->reason), event->message);
    }
}

static void reconcile(struct controller *controller, const struct vm_view *view)
{
    cleanup_with(vm_patch_clear) struct vm_patch patch = {.status = vm_status_copy(view->status)};
    struct reconciler *reconciler = controller->reconciler;
    struct verdict verdict = reconciler->reconcile(reconciler, view, &patch);
    struct store_batch *batch = NULL;
    struct error err = {0};
    if (view->desired) {
        memcpy(patch.status->observer, controller->session, TEXT_ID_SIZE);
    }
    int64_t wall_ms = clock_wall_ms(controller->host.clock);
    log_events(view->name, &patch);
    if (patch_to_batch(controller->store, view, &patch, wall_ms, &batch, &err) < 0) {
        log_error("controller", "%s: cannot write its status: %s", view->name, err.message);
        settle_failure(controller, view->name);
    } else if (batch) {
        submit(controller, view->name, verdict, &patch, batch);
    } else {
        settle(controller, view->name, verdict, false);
    }
}

void controller_pass(struct controller *controller, const char *key)
{
    cleanup_with(vm_record_clear) struct vm_record record = {0};
    cleanup_free char *name = mem_strdup(key); /* the key may go with workqueue_done() */
    struct error err = {0};
    controller->n_passes++;
    if (store_get(controller->store, name, &record, &err) < 0) {
        log_error("controller", "%s: cannot read its records: %s", name, err.message);
        settle_failure(controller, name);
        return;
    }
    ensure_status(&record);
    struct source_record *source = source_of(controller, &record);
    struct vm_view view = {
        .name = name, .desired = record.desired, .status = record.status, .source = source};
    reconcile(controller, &view);
    source_record_free(source);
}

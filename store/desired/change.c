/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/change.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_steps.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/desired/impact.h"
#include "store/desired/port_lease.h"

/* One wish being tried: what is stored, what it becomes, what to tell. */
struct attempt {
    const struct change *change;
    struct vm_record record;
    struct vm_desired *next;
    bool is_plan;
    bool is_down; /* stopped, or stayed down by itself: `up` starts it */
    struct change_outcome outcome;
};

static void attempts_free(struct attempt *attempts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        vm_record_clear(&attempts[i].record);
        vm_desired_free(attempts[i].next);
        change_outcome_clear(&attempts[i].outcome);
    }
    free(attempts);
}

static bool belongs_elsewhere(const struct vm_desired *desired, const struct change *change)
{
    return (change->spec || change->source) && !change->takes_over &&
           !text_eq(desired->source, change->source);
}

static int report_conflict(const char *name, const struct vm_desired *desired, struct error *err)
{
    if (!desired->source) {
        (void)error_set(
            err, ERR_VM_CONFLICT, "vm '%s' exists already, made by `vmctl create`", name);
    } else {
        (void)error_set(
            err, ERR_VM_CONFLICT, "vm '%s' belongs to another VMFile, '%s'", name, desired->source);
    }
    return error_help(err,
        "use another name, take it over (vmctl up --adopt), or destroy it: vmctl destroy %s", name);
}

/* A file system that is cut off is lost: only a disk made anew may be smaller. */
static int check_disk(
    const struct vm_desired *desired, const struct change *change, struct error *err)
{
    uint32_t now = desired->spec->disk_gib, wanted = change->spec ? change->spec->disk_gib : 0;
    if (change->recreates || wanted == 0 || wanted >= now) {
        return 0;
    }
    (void)error_set(err, ERR_DISK_SHRINK, "vm '%s': its disk cannot shrink from %u to %u GB",
        change->name, now, wanted);
    return error_help(err,
        "keep `disk %u`, or make it anew, which erases it: vmctl reload --name %s", now,
        change->name);
}

static int check(const struct attempt *attempt, struct error *err)
{
    const struct vm_desired *desired = attempt->record.desired;
    const struct change *change = attempt->change;
    if (!desired && !change->spec) {
        return error_set(err, ERR_VM_NOT_FOUND, "there is no vm '%s'", change->name);
    }
    if (desired && change->must_be_new) {
        return error_set(err, ERR_VM_CONFLICT, "vm '%s' exists already", change->name);
    }
    if (desired && desired->is_deleting && !change->deletes) {
        (void)error_set(err, ERR_VM_DELETING, "vm '%s' is being deleted", change->name);
        return error_help(err, "wait until it is gone: vmctl wait %s --deleted", change->name);
    }
    if (desired && belongs_elsewhere(desired, change)) {
        return report_conflict(change->name, desired, err);
    }
    return desired ? check_disk(desired, change, err) : 0;
}

static bool stayed_down(const struct vm_record *record)
{
    const struct vm_status *status = record_status(record);
    return status && status->restart.held_generation == record->desired->generation;
}

static bool is_stalled(const struct vm_record *record)
{
    const struct vm_status *status = record_status(record);
    return status && vm_status_is_true(status, CONDITION_STALLED);
}

static void begin(struct attempt *attempt)
{
    const struct change *change = attempt->change;
    const struct vm_desired *stored = attempt->record.desired;
    if (!stored) {
        attempt->next = vm_desired_new(vm_spec_copy(change->spec), clock_wall_ms(clock_system()));
        attempt->next->wants_prepared = change->wants_prepared;
        attempt->next->power = change->starts_new ? POWER_RUNNING : POWER_STOPPED;
        attempt->next->source = mem_strdup(change->source);
        attempt->next->owner = change->owner;
        attempt->outcome.result = CHANGE_CREATED;
        attempt->is_down = true;
    } else {
        attempt->next = vm_desired_copy(stored);
        attempt->is_down = stored->power == POWER_STOPPED || stayed_down(&attempt->record);
    }
}

/* Of several results the most telling is told: a start says more than the change of a field. */
static void report(struct attempt *attempt, enum change_result result)
{
    static const int weights[] = {
        [CHANGE_UNCHANGED] = 0,
        [CHANGE_REQUESTED] = 1,
        [CHANGE_CONFIGURED] = 2,
        [CHANGE_STOPPED] = 3,
        [CHANGE_STARTED] = 4,
        [CHANGE_RESTARTED] = 5,
        [CHANGE_RECREATED] = 6,
        [CHANGE_CREATED] = 7,
        [CHANGE_DELETED] = 8,
    };
    if (weights[result] > weights[attempt->outcome.result]) {
        attempt->outcome.result = result;
    }
}

static void change_spec(struct attempt *attempt)
{
    struct vm_desired *next = attempt->next;
    const struct vm_spec *spec = attempt->change->spec;
    char digest[DIGEST_SIZE];
    if (!spec || !attempt->record.desired) {
        return;
    }
    vm_spec_digest(spec, digest);
    free(next->source);
    next->source = mem_strdup(attempt->change->source);
    if (text_eq(digest, next->spec_digest)) {
        return;
    }
    attempt->outcome.diff = record_diff(
        &attempt->record, next->spec, spec, attempt->change->provision != PROVISION_SKIP);
    vm_spec_free(next->spec);
    next->spec = vm_spec_copy(spec);
    memcpy(next->spec_digest, digest, sizeof(digest));
    report(attempt, CHANGE_CONFIGURED);
}

static void change_owner(struct attempt *attempt)
{
    if (attempt->change->disowns) {
        attempt->next->owner = 0;
    }
}

static void change_power(struct attempt *attempt)
{
    const struct change *change = attempt->change;
    struct vm_desired *next = attempt->next;
    if (!change->sets_power) {
        return;
    }
    if (change->power == POWER_RUNNING && attempt->is_down) {
        report(attempt, CHANGE_STARTED);
    } else if (next->power != change->power) {
        report(attempt, change->power == POWER_STOPPED ? CHANGE_STOPPED : CHANGE_REQUESTED);
    }
    next->power = change->power;
    next->stop_timeout_s = change->power == POWER_STOPPED ? change->stop_timeout_s : 0;
}

static bool needs_provision(const struct attempt *attempt)
{
    const struct change *change = attempt->change;
    const struct vm_status *status = record_status(&attempt->record);
    bool is_starting = change->sets_power && change->power != POWER_STOPPED && attempt->is_down;
    bool has_failed = status && status->provision.is_failed;
    return change->provision == PROVISION_AGAIN ||
           (change->starts_new && !attempt->record.desired) ||
           (change->provision == PROVISION_ON_START &&
               (!attempt->record.desired || is_starting || has_failed || change->recreates));
}

static enum steps_state steps_state_of(const struct attempt *attempt, const char *left_out)
{
    const struct vm_status *status = record_status(&attempt->record);
    return status ? vm_steps_state(&status->provision, attempt->next->spec, left_out)
                  : STEPS_NEVER_RUN;
}

/* What an earlier wish left out, and this one does not, is news even of an unchanged spec. */
static void change_skipped(struct attempt *attempt)
{
    struct vm_desired *next = attempt->next;
    enum change_provision provision = attempt->change->provision;
    if (provision == PROVISION_KEEP) {
        return;
    }
    if (steps_state_of(attempt, next->skipped_steps) == STEPS_LEFT_OUT &&
        provision != PROVISION_SKIP) {
        report(attempt, CHANGE_REQUESTED);
    }
    memset(next->skipped_steps, 0, DIGEST_SIZE);
    if (provision == PROVISION_SKIP) {
        vm_steps_digest(next->spec, next->spec->n_steps, next->skipped_steps);
    }
}

static void change_tokens(struct attempt *attempt)
{
    const struct change *change = attempt->change;
    struct vm_desired *next = attempt->next;
    if (change->recreates && attempt->record.desired) {
        digest_random_id(next->recreate_token);
        report(attempt, CHANGE_RECREATED);
    }
    if (change->restarts && attempt->record.desired && !attempt->is_down) {
        digest_random_id(next->restart_token);
        report(attempt, CHANGE_RESTARTED);
    }
    if (needs_provision(attempt)) {
        digest_random_id(next->provision_token);
        next->provision_from = change->provision == PROVISION_AGAIN ? change->provision_from : 0;
        report(attempt, CHANGE_REQUESTED);
    }
    if (change->deletes && !next->is_deleting) {
        next->is_deleting = true;
        report(attempt, CHANGE_DELETED);
    }
    if ((change->retries || change->deletes) && attempt->record.desired &&
        is_stalled(&attempt->record)) {
        report(attempt, CHANGE_REQUESTED);
    }
}

/* The generation tells waiters and the controller that there is something new, so it moves for
 * every change. */
static bool has_changed(const struct attempt *attempt)
{
    if (!attempt->record.desired || attempt->outcome.result != CHANGE_UNCHANGED) {
        return true;
    }
    return !vm_desired_equal(attempt->record.desired, attempt->next);
}

/* Taken in the transaction that creates it: of two that chose one port, one finds it taken. */
static bool takes_ports(const struct attempt *attempt)
{
    return attempt->change->holds_ports && !attempt->record.desired;
}

static void write_next(struct store_batch *batch, struct attempt *attempt)
{
    const struct vm_desired *stored = attempt->record.desired;
    if (has_changed(attempt)) {
        attempt->next->generation++;
        store_batch_put_desired(batch, attempt->next, stored ? stored->revision : 0);
    }
    if (takes_ports(attempt)) {
        port_lease_take(batch, attempt->next);
    }
    memcpy(attempt->outcome.uid, attempt->next->uid, TEXT_ID_SIZE);
    attempt->outcome.generation = attempt->next->generation;
}

static void forget_deleted(struct attempt *attempt)
{
    if (attempt->record.desired && attempt->record.desired->is_deleting) {
        vm_record_clear(&attempt->record);
        attempt->record = (struct vm_record){.name = NULL};
    }
}

static int work_out(struct store *store, struct attempt *attempt, struct error *err)
{
    int rc = store_get(store, attempt->change->name, &attempt->record, err);
    if (rc == 0 && attempt->is_plan) {
        forget_deleted(attempt);
    }
    if (rc < 0 || (rc = check(attempt, err)) < 0) {
        return rc;
    }
    begin(attempt);
    change_spec(attempt);
    change_owner(attempt);
    change_power(attempt);
    change_skipped(attempt);
    change_tokens(attempt);
    return takes_ports(attempt) ? port_lease_check(store, attempt->next, err) : 0;
}

static int work_out_all(struct store *store, struct attempt *attempts, size_t count,
    struct store_batch *batch, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = work_out(store, &attempts[i], err);
        if (rc == 0) {
            write_next(batch, &attempts[i]);
        }
    }
    return rc;
}

static int try_once(struct store *store, struct attempt *attempts, size_t count,
    const struct change_extra *extra, struct error *err)
{
    struct store_batch *batch = store_batch_new();
    int rc = work_out_all(store, attempts, count, batch, err);
    if (rc == 0 && extra) {
        rc = extra->add(extra->context, batch, err);
    }
    if (rc == 0 && !store_batch_is_empty(batch)) {
        rc = store_commit(store, batch, err);
    }
    store_batch_free(batch);
    return rc;
}

/* A bell that cannot be rung (full disk, read-only) costs the controller's delay, not the wish. */
static void ring(struct store *store)
{
    struct error err = {.code = ERR_NONE};
    if (bell_ring(store_paths(store), BELL_DESIRED, &err) < 0) {
        log_debug("store", "%s", err.message);
    }
}

static struct attempt *attempts_new(const struct change *changes, size_t count)
{
    struct attempt *attempts = mem_calloc(count, sizeof(*attempts));
    for (size_t i = 0; i < count; i++) {
        attempts[i].change = &changes[i];
    }
    return attempts;
}

static void hand_out(struct attempt *attempts, size_t count, struct change_outcome *ret)
{
    for (size_t i = 0; i < count; i++) {
        ret[i] = attempts[i].outcome;
        attempts[i].outcome = (struct change_outcome){.result = CHANGE_UNCHANGED};
    }
}

int change_apply_with(struct store *store, const struct change *changes, size_t count,
    const struct change_extra *extra, struct change_outcome *ret, struct error *err)
{
    enum { TRIES = 100 }; /* every lost try means that another process got its wish in */
    for (int i = 0;; i++) {
        struct attempt *attempts = attempts_new(changes, count);
        int rc = try_once(store, attempts, count, extra, err);
        if (rc == 0) {
            hand_out(attempts, count, ret);
            ring(store);
        }
        attempts_free(attempts, count);
        if (rc != -ERR_STORE_STALE || i == TRIES) {
            return rc;
        }
        error_clear(err);
    }
}

int change_plan(struct store *store, const struct change *changes, size_t count,
    struct change_outcome *ret, struct error *err)
{
    struct store_batch *batch = store_batch_new(); /* never committed */
    struct attempt *attempts = attempts_new(changes, count);
    for (size_t i = 0; i < count; i++) {
        attempts[i].is_plan = true;
    }
    int rc = work_out_all(store, attempts, count, batch, err);
    if (rc == 0) {
        hand_out(attempts, count, ret);
    }
    attempts_free(attempts, count);
    store_batch_free(batch);
    return rc;
}

int change_apply(struct store *store, const struct change *changes, size_t count,
    struct change_outcome *ret, struct error *err)
{
    return change_apply_with(store, changes, count, NULL, ret, err);
}

void change_outcome_clear(struct change_outcome *outcome)
{
    spec_diff_clear(&outcome->diff);
}

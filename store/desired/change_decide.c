/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/change_decide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/enum_names.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/text.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/step_notes.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "specs/vm/vm_steps.h"
#include "store/desired/impact.h"
#include "store/desired/snapshot_check.h"
#include "store/desired/volume_check.h"
#include "store/store.h"

DEFINE_WORD_LIST(change_result,
    CHANGE_REQUESTED + 1, [CHANGE_UNCHANGED] = "unchanged", [CHANGE_CREATED] = "created",
    [CHANGE_STARTED] = "started", [CHANGE_STOPPED] = "stopped", [CHANGE_CONFIGURED] = "configured",
    [CHANGE_RESTARTED] = "restarted", [CHANGE_RECREATED] = "recreated",
    [CHANGE_DELETED] = "deleted", [CHANGE_REQUESTED] = "requested")

/* A decision under way. */
struct attempt {
    const struct change *change;
    const struct vm_record *record;
    const struct change_host *host;
    struct vm_desired *next;
    bool is_plan, is_of_fleet;
    bool is_down; /* stopped, or held down after a guest shutdown: `up` starts it */
    struct change_outcome outcome;
};

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

/* The size of the VM's disk as far as it is known, in bytes. One that is about to be recreated has
 * the spec's. */
static uint64_t disk_size(const struct vm_record *record)
{
    const struct vm_desired *desired = record->desired;
    const struct vm_status *status = record_status(record);
    uint64_t of_spec = (uint64_t)desired->spec->disk_gib << 30;
    bool is_kept = status && (!desired->recreate_token[0] ||
                                 text_eq(desired->recreate_token, status->handled_recreate_token));
    if (!is_kept) {
        return of_spec;
    }
    const struct vm_prepared *prepared = &status->prepared;
    uint64_t asked = (uint64_t)prepared->disk_gib << 30;
    uint64_t recorded = prepared->disk_bytes > asked ? prepared->disk_bytes : asked;
    return recorded > of_spec ? recorded : of_spec;
}

/* Cutting off a file system destroys it: only a new disk may be smaller. */
static int check_disk(
    const struct vm_record *record, const struct change *change, struct error *err)
{
    const double gib = 1 << 30;
    uint64_t now = disk_size(record);
    uint32_t wanted = change->spec ? change->spec->disk_gib : 0;
    if (change->recreates || wanted == 0 || (uint64_t)wanted << 30 >= now) {
        return 0;
    }
    (void)error_set(err, ERR_DISK_SHRINK, "vm '%s': its disk cannot shrink from %.6g to %u GB",
        change->name, (double)now / gib, wanted);
    return error_help(err,
        "write `disk %llu`, or recreate the disk, which erases it: vmctl reload --name %s",
        (unsigned long long)((now + (1 << 30) - 1) >> 30), change->name);
}

int change_check_protected(
    const struct vm_desired *desired, const struct change *change, struct error *err)
{
    const struct vm_spec *spec = change->spec ? change->spec : desired->spec;
    const struct snapshot_order *order = change->snapshot;
    bool takes_snapshot = order &&
                          (order->verb == SNAPSHOT_RESTORE || order->verb == SNAPSHOT_REMOVE) &&
                          !text_starts_with(order->name, SNAPSHOT_PASSING);
    bool takes_away = change->deletes || change->recreates || takes_snapshot;
    if (!spec->is_protected || !takes_away || desired->is_deleting) {
        return 0;
    }
    (void)error_set(
        err, ERR_VM_INVALID_STATE, "vm '%s' is protected and keeps its disk", change->name);
    return error_help(err, "remove `protect` from its block, then: vmctl apply %s%s%s",
        change->name, desired->source ? " --file " : "", desired->source ? desired->source : "");
}

/* What a VM of a fleet is, and whether, is not for its host alone to say. */
static int check_fleet(const struct attempt *attempt, struct error *err)
{
    const struct vm_desired *desired = attempt->record->desired;
    const struct change *change = attempt->change;
    bool is_ours = attempt->is_of_fleet || desired->fleet.epoch == 0;
    if (is_ours || (!change->spec && !change->deletes)) {
        return 0;
    }
    (void)error_set(err, ERR_VM_CONFLICT, "vm '%s' belongs to the fleet", change->name);
    return error_help(err, "it was requested on node '%s': change or destroy it there",
        desired->fleet.home ? desired->fleet.home : "?");
}

/* What is on its way to another node stays as it is: its disk is being copied. */
static int check_move(const struct attempt *attempt, struct error *err)
{
    const struct vm_desired *desired = attempt->record->desired;
    const struct change *change = attempt->change;
    bool is_halt = change->halt_boot || change->halt_owner; /* it is off anyway */
    if (!desired->fleet.move_to || change->deletes || is_halt) {
        return 0;
    }
    (void)error_set(err, ERR_VM_INVALID_STATE, "vm '%s' is already moving to node '%s'",
        change->name, desired->fleet.move_to);
    return error_help(err, "wait until it is there, or: vmctl move --cancel %s", change->name);
}

static int attempt_check(const struct attempt *attempt, struct error *err)
{
    const struct change_host *host = attempt->host;
    const struct vm_desired *desired = attempt->record->desired;
    const struct change *change = attempt->change;
    if (!desired && !change->spec) {
        return error_set(err, ERR_VM_NOT_FOUND, "there is no vm '%s'", change->name);
    }
    if (desired && change->must_be_new) {
        (void)error_set(err, ERR_VM_CONFLICT, "vm '%s' exists already", change->name);
        return error_help(
            err, "choose another name; see what has this one: vmctl status %s", change->name);
    }
    if (desired && desired->is_deleting && !change->deletes) {
        (void)error_set(err, ERR_VM_DELETING, "vm '%s' is being deleted", change->name);
        return error_help(err, "wait until it is gone: vmctl wait %s --deleted", change->name);
    }
    bool is_new = !desired && host->check_name;
    int rc = is_new ? host->check_name(host->context, change->name, err) : 0;
    if (rc == 0 && change->spec && host->check_dependencies) {
        const struct vm_spec *before = desired ? desired->spec : NULL;
        rc = host->check_dependencies(host->context, before, change->spec, err);
    }
    if (rc < 0 || !desired) {
        return rc;
    }
    bool is_bound = (change->spec || change->source) && !change->takes_over;
    if (is_bound && !text_eq(desired->source, change->source)) {
        return report_conflict(change->name, desired, err);
    }
    rc = check_fleet(attempt, err);
    rc = rc == 0 ? check_move(attempt, err) : rc;
    rc = rc == 0 ? change_check_protected(desired, change, err) : rc;
    rc = rc == 0 && change->saves ? save_check(attempt->record, change->name, err) : rc;
    if (rc < 0) {
        return rc;
    }
    if (change->snapshot) {
        return snapshot_is_under_way(attempt->record, change->snapshot)
                   ? 0
                   : snapshot_check(attempt->record, change->snapshot, change->name, err);
    }
    if (change->attaches) {
        return host->check_attach(host->context, desired, change->attaches, err);
    }
    if (change->detaches) {
        return volume_check_detach(attempt->record, change->detaches, err);
    }
    rc = check_disk(attempt->record, change, err);
    return rc == 0 && change->spec ? volume_check_spec(desired, change->spec, err) : rc;
}

static void attempt_begin(struct attempt *attempt, int64_t now_ms)
{
    const struct change *change = attempt->change;
    const struct vm_desired *stored = attempt->record->desired;
    if (!stored) {
        attempt->next = vm_desired_new(vm_spec_copy(change->spec), now_ms);
        attempt->next->wants_prepared = change->wants_prepared;
        attempt->next->power = change->starts_new ? POWER_RUNNING : POWER_STOPPED;
        attempt->next->source = mem_strdup(change->source);
        attempt->next->owner = change->owner;
        attempt->next->template_vm = mem_strdup(change->stands_for);
        attempt->next->origin = fields_copy(&vm_origin_fields, change->origin);
        attempt->next->n_origins = change->origin != NULL;
        attempt->outcome.result = CHANGE_CREATED;
        attempt->is_down = true;
    } else {
        attempt->next = vm_desired_copy(stored);
        const struct vm_status *status = record_status(attempt->record);
        bool is_held = status && status->restart.held_generation == stored->generation;
        attempt->is_down = stored->power == POWER_STOPPED || is_held;
    }
}

/* Of several results, keeps the weightiest: a start outweighs the change of a field. */
static void attempt_report(struct attempt *attempt, enum change_result result)
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

/* Attached once more, it is attached as it is asked for now. */
static void change_volumes(struct attempt *attempt)
{
    const struct change *change = attempt->change;
    struct vm_desired *next = attempt->next;
    const char *name = change->attaches ? change->attaches->name : change->detaches;
    for (uint32_t i = 0; name && i < next->n_volumes; i++) {
        if (text_eq(next->volumes[i].name, name)) {
            free(next->volumes[i].name);
            free(next->volumes[i].mount);
            next->volumes[i] = next->volumes[--next->n_volumes];
        }
    }
    if (change->attaches) {
        mem_grow(next->volumes, next->n_volumes);
        next->volumes[next->n_volumes++] = (struct spec_volume){.name = mem_strdup(name),
            .size_gib = change->attaches->size_gib,
            .mount = mem_strdup(change->attaches->mount)};
    }
    if (name) {
        attempt_report(attempt, CHANGE_REQUESTED);
    }
}

static void change_spec(struct attempt *attempt)
{
    struct vm_desired *next = attempt->next;
    const struct vm_spec *spec = attempt->change->spec;
    if (!spec || !attempt->record->desired) {
        return;
    }
    free(next->source);
    next->source = mem_strdup(attempt->change->source);
    free(TAKE_PTR(next->renamed_from)); /* its VMFile names it */
    if (vm_spec_equal(spec, next->spec)) {
        return;
    }
    attempt->outcome.diff = record_diff(
        attempt->record, next->spec, spec, attempt->change->provision != PROVISION_SKIP);
    vm_spec_free(next->spec);
    next->spec = vm_spec_copy(spec);
    vm_spec_digest(spec, next->spec_digest);
    if (attempt->outcome.diff.count > 0) {
        attempt_report(attempt, CHANGE_CONFIGURED);
    }
}

static void change_power(struct attempt *attempt)
{
    const struct change *change = attempt->change;
    const struct vm_status *status = record_status(attempt->record);
    struct vm_desired *next = attempt->next;
    if (!change->sets_power) {
        return;
    }
    if (change->power == POWER_RUNNING && attempt->is_down) {
        attempt_report(attempt, CHANGE_STARTED);
    } else if (next->power != change->power || (change->saves && !next->is_saved)) {
        attempt_report(attempt, change->power == POWER_STOPPED ? CHANGE_STOPPED : CHANGE_REQUESTED);
    }
    next->power = change->power;
    bool stays_saved = change->power == POWER_SUSPENDED && next->is_saved && status &&
                       status->saved.phase == SAVED_WHOLE; /* suspended it is already */
    next->is_saved = change->saves || stays_saved;
    next->stop_timeout_s = change->power == POWER_STOPPED ? change->stop_timeout_s : 0;
}

/* `*ret_from` is the step to begin with, from 1; 0: the first. */
static bool needs_provision(const struct attempt *attempt, uint32_t *ret_from)
{
    const struct change *change = attempt->change;
    const struct vm_desired *next = attempt->next;
    const struct vm_status *status = record_status(attempt->record);
    bool is_new = !attempt->record->desired;
    bool is_starting = change->sets_power && change->power != POWER_STOPPED && attempt->is_down;
    bool has_failed = status && status->provision.is_failed;
    /* a request of a certain step, which no controller has seen yet */
    bool waits = next->provision_from > 0 && status &&
                 !text_eq(next->provision_token, status->handled_provision_token);
    uint32_t at = has_failed ? vm_steps_continue_at(&status->provision, next->spec) : 0;
    *ret_from = change->provision == PROVISION_AGAIN ? change->provision_from : 0;
    if (change->provision == PROVISION_ON_START && !is_new && !is_starting && !change->recreates) {
        *ret_from = at;
        return has_failed && !waits && at != next->spec->n_steps + 1;
    }
    return change->provision == PROVISION_AGAIN || (change->starts_new && is_new) ||
           change->provision == PROVISION_ON_START;
}

/* Steps that an earlier change skipped and this one does not are a change of the same spec. */
static void change_skipped(struct attempt *attempt)
{
    struct vm_desired *next = attempt->next;
    enum change_provision provision = attempt->change->provision;
    if (provision == PROVISION_KEEP) {
        return;
    }
    const struct vm_status *status = record_status(attempt->record);
    bool were_skipped = status && vm_steps_state(&status->provision, next->spec,
                                      next->skipped_steps) == STEPS_LEFT_OUT;
    if (were_skipped && provision != PROVISION_SKIP) {
        attempt_report(attempt, CHANGE_REQUESTED);
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
    if (change->recreates && attempt->record->desired) {
        digest_random_id(next->recreate_token);
        next->erases_at_once = change->erases_at_once;
        attempt_report(attempt, CHANGE_RECREATED);
    }
    if (change->restarts && attempt->record->desired && !attempt->is_down) {
        digest_random_id(next->restart_token);
        attempt_report(attempt, CHANGE_RESTARTED);
    }
    uint32_t from;
    if (needs_provision(attempt, &from)) {
        digest_random_id(next->provision_token);
        next->provision_from = from;
        memcpy(attempt->outcome.provision_token, next->provision_token, TEXT_ID_SIZE);
        attempt_report(attempt, CHANGE_REQUESTED);
    }
    if (change->deletes && !next->is_deleting) {
        next->is_deleting = true;
        attempt_report(attempt, CHANGE_DELETED);
    }
    const struct vm_status *status = record_status(attempt->record);
    bool is_stalled = status && vm_status_is_true(status, CONDITION_STALLED);
    /* A download that is tried again from time to time is tried at once by another way. */
    bool has_other_way = change->retries && change->proxies && status &&
                         !vm_status_is_true(status, CONDITION_IMAGE_READY) &&
                         !proxies_equal(change->proxies, &next->proxies);
    if (((change->retries || change->deletes) && is_stalled) || has_other_way) {
        attempt_report(attempt, CHANGE_REQUESTED);
    }
}

static bool has_secrets(const struct vm_spec *spec)
{
    bool has = false;
    for (size_t i = 0; i < spec->n_steps; i++) {
        has |= spec->steps[i].n_secrets > 0;
    }
    return has;
}

/* Waiters and the controller compare the generation, so it moves for every change. */
static void attempt_finish(struct attempt *attempt)
{
    const struct change *change = attempt->change;
    const struct vm_desired *stored = attempt->record->desired;
    bool is_same = stored && attempt->outcome.result == CHANGE_UNCHANGED &&
                   (change->halt_boot || vm_desired_equal(stored, attempt->next));
    if (is_same && change->halt_boot) {
        attempt->next->halt_owner = change->halt_owner;
        (void)snprintf(attempt->next->halt_boot, CLOCK_BOOT_ID_SIZE, "%s", change->halt_boot);
    } else if (!is_same) {
        if (stored && stored->fleet.epoch && !stored->fleet.is_ahead && !attempt->is_of_fleet) {
            attempt->next->fleet.is_ahead = true;
            attempt->next->fleet.base = stored->generation;
        }
        attempt->next->generation++;
    }
    if (change->proxies) {
        proxies_assign(&attempt->next->proxies, change->proxies);
    }
    if (attempt->is_plan) { /* it hashes steps: those of a thousand VMs, if few had secrets */
        attempt->outcome.steps_from = has_secrets(attempt->next->spec)
                                          ? steps_due(attempt->next, record_status(attempt->record),
                                                &attempt->outcome.skips_step)
                                          : (uint32_t)attempt->next->spec->n_steps;
    }
    memcpy(attempt->outcome.uid, attempt->next->uid, TEXT_ID_SIZE);
    attempt->outcome.generation = attempt->next->generation;
    const struct vm_status *status = record_status(attempt->record);
    attempt->outcome.drops_memory = status && status->saved.phase == SAVED_WHOLE &&
                                    attempt->outcome.result != CHANGE_UNCHANGED &&
                                    (change->deletes || change->restarts || change->recreates ||
                                        (change->sets_power && change->power == POWER_STOPPED));
}

bool change_takes_ports(const struct change *change, const struct vm_record *record)
{
    return change->holds_ports && !record->desired;
}

int change_decide(const struct change_input *input, struct vm_desired **ret_next,
    struct change_outcome *ret, struct error *err)
{
    struct attempt attempt = {.change = input->change,
        .record = input->record,
        .host = input->host,
        .is_plan = input->is_plan,
        .is_of_fleet = input->is_of_fleet};
    const struct change *change = input->change;
    int rc = attempt_check(&attempt, err);
    if (rc < 0) {
        return rc;
    }
    attempt_begin(&attempt, input->now_ms);
    change_spec(&attempt);
    if (change->disowns) {
        attempt.next->owner = 0;
    }
    change_power(&attempt);
    change_skipped(&attempt);
    change_tokens(&attempt);
    change_volumes(&attempt);
    if (change->spec || change->recreates) { /* nothing that is there changes */
        attempt.next->is_cold = change->is_cold;
    }
    if (change->snapshot && !snapshot_is_under_way(input->record, change->snapshot)) {
        attempt.next->snapshot = *change->snapshot;
        digest_random_id(attempt.next->snapshot.token);
        attempt_report(&attempt, CHANGE_REQUESTED);
    }
    if (change->snapshot) {
        memcpy(attempt.outcome.snapshot_token, attempt.next->snapshot.token, TEXT_ID_SIZE);
    }
    if (input->host->check_ports && change_takes_ports(change, input->record)) {
        rc = input->host->check_ports(input->host->context, attempt.next, err);
    }
    if (rc < 0) {
        change_outcome_clear(&attempt.outcome);
        vm_desired_free(attempt.next);
        return rc;
    }
    attempt_finish(&attempt);
    *ret_next = attempt.next;
    *ret = attempt.outcome;
    return 0;
}

void change_outcome_clear(struct change_outcome *outcome)
{
    spec_diff_clear(&outcome->diff);
    free(TAKE_PTR(outcome->skips_step));
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/pass.h"

#include <stdlib.h>
#include <string.h>

#include "reconcilers/vm/addresses.h"
#include "reconcilers/vm/clock.h"
#include "reconcilers/vm/exit.h"
#include "reconcilers/vm/failure.h"
#include "reconcilers/vm/hot_change.h"
#include "reconcilers/vm/memory.h"
#include "reconcilers/vm/ports.h"
#include "reconcilers/vm/probes.h"
#include "reconcilers/vm/saved.h"
#include "reconcilers/vm/secrets.h"
#include "reconcilers/vm/volumes.h"
#include "reconcilers/vm/templates.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/media_digest.h"
#include "specs/vm/step_notes.h"

/* Limits: a step that is lost so often may reboot the guest itself and would run forever. A lost
 * connection does not harm a step, but a guest that keeps losing it must not be retried forever
 * either. So many taken ports in a row are not a fault of our leases. */
enum { STEP_TRIES_MAX = 3, INTERRUPTIONS_MAX = 20, PORTS_TRIED_MAX = 10 };

static void replace_text(char **field, char **taken)
{
    free(*field);
    *field = TAKE_PTR(*taken);
}

/* ---- successes, by action ---- */

static bool record_image(struct pass *pass)
{
    struct image_result *image = &pass->vm->outcome->image;
    if (image->record) {
        cleanup_free char *key = spec_image_record_key(&pass->env.spec->image);
        vm_patch_event(pass->patch, false, REASON_CACHED, "downloaded the image, %lld MB",
            (long long)(json_int(image->record, "size", 0) + 999999) / 1000000);
        vm_patch_image(pass->patch, key, TAKE_PTR(image->record));
    }
    replace_text(&pass->vm->image.path, &image->path);
    memcpy(pass->vm->image.id, image->id, sizeof(image->id));
    return true;
}

static bool record_prepared(struct pass *pass)
{
    struct vm_prepared *prepared = &pass->vm->outcome->prepared;
    struct vm_prepared *recorded = &pass->patch->status->prepared;
    bool is_new = !recorded->digest[0];
    if (is_new && !template_is_there(pass, prepared)) {
        return true; /* removed by hand meanwhile: nothing has run on this disk, it is made again */
    }
    free(recorded->image_path);
    *recorded = *prepared;
    prepared->image_path = NULL;
    memset(pass->patch->status->warm.template_digest, 0, DIGEST_SIZE);
    if (is_new) {
        template_note_steps(pass);
    }
    return true;
}

static bool record_checked_disk(struct pass *pass)
{
    memcpy(pass->vm->checked_disk_stamp, pass->vm->outcome->disk_stamp, DIGEST_SIZE);
    return true;
}

static bool record_identity(struct pass *pass)
{
    const struct vm_prepared *found = &pass->vm->outcome->prepared;
    struct vm_prepared *recorded = &pass->patch->status->prepared;
    if (found->image_sha256[0]) {
        memcpy(recorded->image_sha256, found->image_sha256, DIGEST_SIZE);
        recorded->image_size = found->image_size;
    }
    if (found->image_id[0]) {
        memcpy(recorded->image_id, found->image_id, DIGEST_SIZE);
    }
    return true;
}

static bool record_replacement(struct pass *pass)
{
    struct vm_outcome *outcome = pass->vm->outcome;
    struct vm_status *status = pass->patch->status;
    vm_failure_clear(&pass->vm->put_off);
    if (outcome->image.path) {
        return record_image(pass);
    }
    pass_forget_replacement(pass);
    status->replacement = outcome->prepared;
    outcome->prepared.image_path = NULL;
    memset(status->warm.template_digest, 0, DIGEST_SIZE);
    memcpy(status->replacement_stamp, outcome->disk_stamp, sizeof(outcome->disk_stamp));
    memcpy(status->replacement_token, pass->view->desired->recreate_token, TEXT_ID_SIZE);
    return true;
}

static bool record_launch(struct pass *pass)
{
    struct vm_instance *launched = &pass->vm->outcome->instance;
    struct vm_instance *recorded = &pass->patch->status->instance;
    if (!text_eq(recorded->instance_id, launched->instance_id)) {
        return false; /* superseded: the waiting child is cancelled */
    }
    recorded->pid = launched->pid;
    recorded->start_ticks = launched->start_ticks;
    memcpy(recorded->boot_id, launched->boot_id, sizeof(launched->boot_id));
    replace_text(&recorded->accel, &launched->accel);
    replace_text(&recorded->server, &launched->server);
    replace_text(&recorded->guest, &launched->guest);
    replace_text(&recorded->no_virtiofs, &launched->no_virtiofs);
    replace_text(&recorded->memory_host, &launched->memory_host);
    recorded->is_woken = launched->is_woken;
    recorded->has_agent = launched->has_agent;
    recorded->started_at_ms = pass->wall_ms;
    recorded->start_deadline_ms = pass->now_ms + START_DEADLINE_MS;
    memcpy(pass->vm->launched_instance_id, recorded->instance_id, TEXT_ID_SIZE);
    return true;
}

static bool record_boot(struct pass *pass)
{
    pass->vm->checked_at_ms = pass->now_ms;
    replace_text(&pass->vm->booted_vnc, &pass->vm->outcome->boot.vnc);
    replace_text(&pass->vm->booted_machine, &pass->vm->outcome->boot.machine);
    memcpy(pass->vm->booted_instance_id, pass->view->status->instance.instance_id, TEXT_ID_SIZE);
    return true;
}

static bool record_apply(struct pass *pass)
{
    const char *changes = pass->vm->outcome->boot.changes;
    bool is_rejoined = pass->vm->outcome->boot.is_rejoined;
    bool is_desired = hot_change_is_pending(pass);
    /* Begun for an older generation, it lacks what was added since: the next pass applies that. */
    bool is_outdated = pass->vm->op_generation != pass->view->desired->generation;
    pass->vm->checked_at_ms = pass->now_ms;
    if (is_rejoined) {
        vm_patch_event(pass->patch, true, REASON_NETWORK_RESTORED,
            "the switch of its network had ended and was restarted");
    }
    if (is_desired && !is_outdated) {
        hot_change_record(pass);
        addresses_release_undeclared(pass);
        vm_patch_event(pass->patch, false, REASON_SYNCED, "applied to the running VM%s%s",
            changes ? ": " : "", changes ? changes : "");
    } else if (changes && !is_desired) {
        vm_patch_event(pass->patch, true, REASON_DRIFT_CORRECTED,
            "another program changed the VM; corrected: %s", changes);
    }
    return is_desired || changes || is_rejoined; /* none: a check that found no drift */
}

static void report_cloud_init(struct pass *pass, enum cloud_init_state before)
{
    const struct vm_cloud_init *now = &pass->patch->status->cloud_init;
    const char *message = now->message ? now->message : "no reason is given";
    if (pass_has_setup_failed(pass, pass->patch->status)) {
        vm_patch_event(
            pass->patch, true, REASON_CLOUD_INIT_FAILED, "cloud-init failed: %s", message);
    } else if (now->state == CLOUD_INIT_FAILED) {
        vm_patch_event(pass->patch, true, REASON_CLOUD_INIT_DEGRADED,
            "cloud-init failed, which the VMFile allows (on-error \"warn\"): %s", message);
    } else if (now->state == CLOUD_INIT_DEGRADED) {
        vm_patch_event(pass->patch, true, REASON_CLOUD_INIT_DEGRADED,
            "cloud-init is done, with warnings: %s", message);
    } else if (now->state == CLOUD_INIT_DONE && before == CLOUD_INIT_RUNNING) {
        vm_patch_event(pass->patch, false, REASON_CLOUD_INIT_DONE, "cloud-init is done");
    }
}

/* While it runs, only a new stage changes the status: the next query has its own timer, for guests
 * that do not wait in it. */
static bool record_cloud_init(struct pass *pass)
{
    enum { REPEAT_MS = 1000 };
    struct cloud_init_report *report = &pass->vm->outcome->cloud_init;
    struct vm_cloud_init *recorded = &pass->patch->status->cloud_init;
    enum cloud_init_state before = recorded->state;
    bool is_same = before == report->state && text_eq(recorded->message, report->message);
    pass->vm->setup_due_ms = pass->vm->op_began_ms + REPEAT_MS;
    recorded->state = report->state;
    replace_text(&recorded->message, &report->message);
    if (before != report->state) {
        report_cloud_init(pass, before);
    }
    return !is_same;
}

static bool record_reached(struct pass *pass)
{
    pass->patch->status->was_reached = true;
    pass->vm->reach_deadline_ms = 0;
    pass->vm->refused_since_ms = 0;
    if (pass->vm->outcome->cloud_init.state != CLOUD_INIT_UNKNOWN) {
        (void)record_cloud_init(pass);
        pass->vm->setup_due_ms = 0; /* the login did not wait for its end: the next query does */
    }
    return true;
}

static void record_step(struct pass *pass, enum step_outcome outcome)
{
    struct vm_provision *provision = &pass->patch->status->provision;
    uint32_t index = provision->next_step;
    if (index >= pass->env.spec->n_steps) {
        return; /* the steps changed while it ran */
    }
    int64_t took_ms = pass->wall_ms - provision->run.started_at_ms;
    struct vm_step_record record = {
        .outcome = outcome,
        .exit_status = pass->vm->outcome->step.exit_status,
        .ended_at_ms = pass->wall_ms,
        .duration_ms = took_ms > 0 ? took_ms : 0,
    };
    step_content(pass->env.spec, index, record.content);
    vm_provision_record(provision, index, &record);
}

static bool record_step_outcome(struct pass *pass)
{
    struct vm_provision *provision = &pass->patch->status->provision;
    pass->vm->n_interrupted = 0;
    record_step(pass, STEP_DONE);
    if (provision->next_step < pass->env.spec->n_steps) {
        step_mark_done(provision, pass->env.spec, provision->next_step, step_secrets_digest(pass));
    }
    pass_finish_step(pass);
    return true;
}

/* ---- failures ---- */

/* The SSH port had no lease but is taken on the host: drop its lease and try the next port. */
static bool change_ssh_port(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    cleanup_free char *lease = mem_printf("tcp/%u", status->ssh_port);
    if (!text_eq(pass->vm->outcome->boot.taken_port, lease)) {
        return false; /* a port the VMFile declares: only the user can choose another */
    }
    if (pass->vm->n_ports_tried++ == PORTS_TRIED_MAX) {
        pass->vm->n_ports_tried = 0;
        return false;
    }
    status->ssh_port = ports_next_ssh(pass->vm->host, pass->vm->name, status->ssh_port);
    cleanup_free char *next = mem_printf("tcp/%u", status->ssh_port);
    vm_patch_drop_lease(pass->patch, lease);
    vm_patch_lease(pass->patch, next);
    vm_patch_event(pass->patch, true, REASON_PORT_CONFLICT,
        "host port %s is in use by another program, using %u", lease + 4, status->ssh_port);
    return true;
}

/* A failed step is final until the user requests it again: the token is handled, the failure
 * stays. */
static void fail_step(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    enum error_code code = pass->vm->outcome->error->code;
    record_step(pass, code == ERR_PROVISION           ? STEP_FAILED
                      : code == ERR_PROVISION_TIMEOUT ? STEP_TIMED_OUT
                                                      : STEP_INTERRUPTED);
    status->provision.is_failed = true;
    status->provision.last_exit_status = pass->vm->outcome->step.exit_status;
    memcpy(status->handled_provision_token, pass->view->desired->provision_token, TEXT_ID_SIZE);
    step_secrets_forget(pass);
}

/* A lost step runs again unless it is `run "once"`: then only the user can judge how far it got. */
static bool may_try_again(const struct pass *pass)
{
    const struct vm_provision *provision = &pass->patch->status->provision;
    const struct vm_spec *spec = pass->env.spec;
    bool is_once =
        provision->next_step < spec->n_steps && spec->steps[provision->next_step].run == RUN_ONCE;
    return !is_once && provision->run.tries + 1 < STEP_TRIES_MAX;
}

/* The guest's sshd responds, or there is none: the boot will not get any further. */
static bool is_refusal(enum error_code code)
{
    return code == ERR_SSH_AUTH || code == ERR_SSH_HOSTKEY || code == ERR_SSH_PORT;
}

/* A guest that was reached, and refuses the login now, or has no key for it any more: nothing has
 * run, and reaching it again shows in GuestReachable what is wrong. */
static bool is_login_lost(enum error_code code)
{
    return is_refusal(code) || code == ERR_KEY_UNREADABLE || code == ERR_IP_TIMEOUT;
}

/* After a lost connection the guest is reached again first and the run is resumed; after a lost run
 * another one begins. */
static void record_step_failure(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    enum error_code code = pass->vm->outcome->error->code;
    bool is_lost = code == ERR_PROVISION_LOST;
    if (is_login_lost(code)) {
        status->was_reached = false;
        return;
    }
    bool is_interrupted = failure_classify(ACTION_RUN_STEP, code).reason == REASON_INTERRUPTED;
    bool is_retried = is_lost ? may_try_again(pass)
                              : is_interrupted && ++pass->vm->n_interrupted < INTERRUPTIONS_MAX;
    if (!is_retried) {
        fail_step(pass);
        return;
    }
    status->was_reached = false;
    if (is_lost) {
        status->provision.run = (struct vm_step_run){.tries = status->provision.run.tries + 1};
    }
}

/* A slow guest misses the time for a login now and then: such an attempt between refusals does not
 * replace the refusal. */
static bool is_still_refused(const struct vm *vm, int64_t now_ms)
{
    enum { REFUSAL_LASTS_MS = 30000 };
    return vm->op_action == ACTION_REACH && vm->outcome->error->code == ERR_SSH &&
           vm->failure.action == ACTION_REACH && is_refusal(vm->failure.error->code) &&
           vm->refused_since_ms > 0 && now_ms - vm->refused_at_ms < REFUSAL_LASTS_MS;
}

static bool record_failure(struct pass *pass)
{
    struct vm *vm = pass->vm;
    enum action action = vm->op_action;
    const struct error *error = vm->outcome->error;
    bool is_polling = action == ACTION_REACH || action == ACTION_AWAIT_CLOUD_INIT ||
                      action == ACTION_SET_CLOCK || action == ACTION_GROW_GUEST;
    if (action == ACTION_BOOT && error->code == ERR_PORT_TAKEN && change_ssh_port(pass)) {
        return true;
    }
    bool is_refused = is_still_refused(vm, pass->now_ms);
    vm_fail(vm, action, is_refused ? vm->failure.error : error, vm->op_generation);
    if (is_polling) { /* tries are so far apart; one that took longer is followed by the next */
        vm->failure.retry_at_ms -= pass->now_ms - vm->op_began_ms;
    }
    vm->checked_at_ms = action == ACTION_APPLY ? pass->now_ms : vm->checked_at_ms;
    if (!is_polling) { /* a booting guest refuses many times: not worth an event */
        vm_patch_event(
            pass->patch, true, failure_classify(action, error->code).reason, "%s", error->message);
    }
    if (action == ACTION_REACH && is_refusal(error->code)) {
        vm->refused_at_ms = pass->now_ms;
        vm->refused_since_ms = vm->refused_since_ms ? vm->refused_since_ms : vm->op_began_ms;
    }
    bool is_cut_off =
        action == ACTION_MOUNT && error->code != ERR_MOUNT && error->code != ERR_SHARE;
    if (action == ACTION_AWAIT_CLOUD_INIT ||
        is_cut_off) { /* it may have begun to boot again: log in first */
        pass->patch->status->was_reached = false;
    }
    if (action == ACTION_SET_CLOCK && (clock_failed(pass) || is_login_lost(error->code))) {
        pass->patch->status->was_reached = false;
    }
    if (action == ACTION_GROW_GUEST) {
        hot_change_guest_failed(pass);
    }
    if (action == ACTION_LOAD || action == ACTION_IDENTIFY) {
        memory_record_failure(pass);
    }
    if (action == ACTION_RUN_STEP) {
        record_step_failure(pass);
    }
    return true;
}

bool pass_record_outcomes(struct pass *pass)
{
    static bool (*const record_outcome[ACTION_COUNT_])(struct pass * pass) = {
        [ACTION_FETCH_IMAGE] = record_image,
        [ACTION_IDENTIFY_IMAGE] = record_identity,
        [ACTION_CHECK_DISK] = record_checked_disk,
        [ACTION_PREPARE] = record_prepared,
        [ACTION_REPLACE] = record_replacement,
        [ACTION_FREEZE] = memory_record_frozen,
        [ACTION_SAVE] = saved_record,
        [ACTION_LAUNCH] = record_launch,
        [ACTION_BOOT] = record_boot,
        [ACTION_IDENTIFY] = memory_record_identified,
        [ACTION_APPLY] = record_apply,
        [ACTION_DISCARD_ALL] = NULL, /* destroyed: the same action continues with the directory */
        [ACTION_DISCARD_DISK] = NULL,
        [ACTION_REACH] = record_reached,
        [ACTION_SET_CLOCK] = clock_record,
        [ACTION_GROW_GUEST] = hot_change_record_guest,
        [ACTION_MOUNT] = volumes_record_mounted,
        [ACTION_AWAIT_CLOUD_INIT] = record_cloud_init,
        [ACTION_RUN_STEP] = record_step_outcome,
    };
    struct vm *vm = pass->vm;
    enum action action = vm->op_action;
    bool has_changed = false;
    if (vm->op || !vm->outcome) {
        return false; /* the results belong to an operation that is still under way */
    }
    if (action == ACTION_PROBE) { /* success or not, a result: the probes have their own timer */
        bool is_refused = vm->outcome->error && is_login_lost(vm->outcome->error->code);
        has_changed = pass->view->desired && probes_record(pass);
        if (pass->view->desired && is_refused && pass_expects_ssh(pass)) {
            pass->patch->status->was_reached = false;
            has_changed = true;
        }
    } else if (pass->view->desired && action == ACTION_SNAPSHOT &&
               !(vm->outcome->error && pass_is_clone_due(pass))) {
        has_changed = pass_record_snapshot(pass, vm->outcome->error);
    } else if (pass->view->desired) {
        if (vm->outcome->error) {
            has_changed = record_failure(pass);
        } else {
            vm_failure_clear(&vm->failure);
            has_changed = record_outcome[action] && record_outcome[action](pass);
        }
    }
    vm_forget_outcome(vm);
    return has_changed;
}

/* ---- what the guest did ---- */

/* Repeated until the change is committed. A running step notices a reset by its connection, and may
 * have been meant to reboot the guest. */
bool pass_note_reset(struct pass *pass)
{
    struct vm *vm = pass->vm;
    bool is_reset = pass->machine.n_resets > vm->n_resets;
    if (!pass->view->desired || (is_reset && vm->op_action == ACTION_RUN_STEP)) {
        return false;
    }
    bool is_reached = pass->view->status->was_reached;
    if (is_reset && (is_reached || !pass->situation.expects_ssh)) {
        vm_patch_event(pass->patch, false, REASON_GUEST_RESET, "the guest was reset");
    }
    if (is_reset) {
        vm_forget_boot(vm);
        memset(pass->patch->status->frozen_instance_id, 0, TEXT_ID_SIZE);
    }
    if (is_reset && (is_reached || pass->view->status->cloud_init.state != CLOUD_INIT_UNKNOWN)) {
        pass->patch->status->was_reached = false;
        vm_status_forget_cloud_init(pass->patch->status);
        probes_reset(pass); /* the services they probe are down, too */
        return true;
    }
    vm->n_resets = pass->machine.n_resets;
    return false;
}

/* ---- what a new generation of the desired record resets ---- */

/* What the old spec decides: its image, or its user and keys. Beginning again is cheap, and a login
 * that was refused as the old spec has it must not count against the new one. */
static bool is_of_spec(enum action action)
{
    return action == ACTION_FETCH_IMAGE || action == ACTION_PREPARE || action == ACTION_REPLACE ||
           action == ACTION_IDENTIFY_IMAGE || action == ACTION_REACH;
}

/* A recreation that was requested for another spec, and has erased nothing yet, is withdrawn when
 * the spec asks again for what the disk was made from. */
static void observe_recreation(struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    struct vm_status *status = pass->patch->status;
    const char *token = desired->recreate_token;
    char digest[DIGEST_SIZE];
    spec_media_digest(desired->spec, digest);
    bool is_pending = token[0] && !text_eq(token, status->handled_recreate_token);
    bool is_same = text_eq(digest, status->prepared.digest);
    if (is_pending && is_same && text_eq(token, status->other_recreate_token)) {
        memcpy(status->handled_recreate_token, token, TEXT_ID_SIZE);
        pass_forget_replacement(pass);
        vm_patch_event(pass->patch, false, REASON_PREPARING,
            "the VMFile matches the present disk again, which is kept");
    }
    memcpy(status->other_recreate_token, is_same ? "" : token, is_same ? 1 : TEXT_ID_SIZE);
}

bool pass_observe_generation(struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    struct vm_status *status = pass->patch->status;
    struct vm *vm = pass->vm;
    if (!desired || status->observed_generation == desired->generation) {
        return false;
    }
    status->observed_generation = desired->generation;
    observe_recreation(pass);
    template_observe_generation(pass);
    status->restart.not_before_ms = 0;
    status->restart.count = 0;
    exit_forget_restart(&status->restart);
    if (pass_has_setup_failed(pass, status)) { /* the user may have fixed it */
        vm_status_forget_cloud_init(status);
        vm->setup_since_ms = vm->setup_due_ms = 0;
    }
    hot_change_take_over(pass);
    addresses_release_undeclared(pass);
    pass_observe_steps(pass);
    if (is_of_spec(vm->op_action)) {
        vm_cancel(vm);
    }
    vm_forget_image(vm);
    vm_failure_clear(&vm->failure);
    vm_failure_clear(&vm->put_off);
    return true;
}

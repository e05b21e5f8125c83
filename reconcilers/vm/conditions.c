/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a pass says about the VM: every condition, computed anew from what is recorded, observed and
 * under way. Nothing is decided here, and nothing here is read back by a decision.
 */
#include "reconcilers/vm/pass.h"

#include <stdlib.h>

#include "reconcilers/vm/exit.h"
#include "reconcilers/vm/failure.h"
#include "reconcilers/vm/hot_change.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/source_record.h"
#include "specs/vm/spec_diff.h"
#include "specs/vm/vm_steps.h"

void pass_set(struct pass *pass, enum condition_type type, enum condition_state state,
    enum reason reason, const char *message)
{
    vm_status_set(pass->patch->status, type, state, reason, message, pass->wall_ms);
}

static void report_failed(struct pass *pass, enum condition_type type)
{
    const struct vm_failure *failure = &pass->vm->failure;
    struct failure_class class = failure_classify(failure->action, failure->error.code);
    pass_set(pass, type, CONDITION_FALSE, class.reason, failure->error.message);
}

/* The failure that is being waited out, if it belongs to this condition. */
static bool report_failure(struct pass *pass, enum condition_type type)
{
    const struct vm_failure *failure = &pass->vm->failure;
    if (failure->action == ACTION_NONE ||
        failure_classify(failure->action, failure->error.code).condition != type) {
        return false;
    }
    report_failed(pass, type);
    return true;
}

static void describe_image(struct pass *pass)
{
    bool is_url = pass->env.spec->image.kind == IMAGE_URL;
    if (pass->media.is_image_changed) {
        pass_set(pass, CONDITION_IMAGE_READY, CONDITION_FALSE, REASON_BACKING_IMAGE_CHANGED,
            "the base image is not the one this VM's disk was made on");
    } else if (pass->vm->op_action == ACTION_FETCH_IMAGE && !pass->media.has_image) {
        pass_set(
            pass, CONDITION_IMAGE_READY, CONDITION_FALSE, REASON_DOWNLOADING, pass->vm->progress);
    } else if (!report_failure(pass, CONDITION_IMAGE_READY)) {
        bool is_ready = pass->media.has_image;
        pass_set(pass, CONDITION_IMAGE_READY, is_ready ? CONDITION_TRUE : CONDITION_FALSE,
            !is_ready ? REASON_PENDING
            : is_url  ? REASON_CACHED
                      : REASON_LOCAL_FILE,
            NULL);
    }
}

static void describe_prepared(struct pass *pass)
{
    if (pass->vm->op_action == ACTION_PREPARE) {
        pass_set(pass, CONDITION_PREPARED, CONDITION_FALSE, REASON_PREPARING, NULL);
    } else if (!report_failure(pass, CONDITION_PREPARED)) {
        bool is_ready = pass->media.disk == DISK_READY;
        pass_set(pass, CONDITION_PREPARED, is_ready ? CONDITION_TRUE : CONDITION_FALSE,
            is_ready ? REASON_PREPARED : REASON_PENDING, NULL);
    }
}

enum reason pass_reason_while_down(const struct pass *pass)
{
    const struct vm_status *status = pass->patch->status;
    const struct situation *s = &pass->situation;
    if (s->power == POWER_STOPPED || s->is_deleting) {
        return REASON_STOPPED;
    }
    if (s->is_held) {
        return status->restart.last_cause == EXIT_GUEST_SHUTDOWN ? REASON_GUEST_SHUTDOWN
               : status->restart.last_cause == EXIT_GUEST_PANIC  ? REASON_GUEST_PANICKED
               : status->restart.last_cause == EXIT_LIVENESS_FAILED ? REASON_LIVENESS_FAILED
                                                                    : REASON_PROCESS_EXITED;
    }
    if (s->is_dependency_missing) {
        return REASON_WAITING_FOR_DEPENDENCY;
    }
    bool is_looping = status->restart.count > 1 && exit_backoff_left_ms(pass) > 0;
    return is_looping ? REASON_CRASH_LOOP_BACK_OFF : REASON_STARTING;
}

static void describe_down(struct pass *pass)
{
    const struct vm_restart *restart = &pass->patch->status->restart;
    enum reason reason = pass_reason_while_down(pass);
    cleanup_free char *message = NULL;
    if (reason == REASON_CRASH_LOOP_BACK_OFF) {
        char when[CLOCK_TEXT_SIZE];
        clock_format_utc(restart->not_before_ms, when);
        message = mem_printf("ended %u times in a row (%s%s%s), next try at %s", restart->count,
            exit_cause_name(restart->last_cause), restart->last_message ? ": " : "",
            restart->last_message ? restart->last_message : "", when);
    } else if (reason == REASON_STOPPED && restart->last_cause == EXIT_BY_USER) {
        message = mem_strdup(restart->last_message); /* how it stopped */
    }
    pass_set(pass, CONDITION_RUNNING, CONDITION_FALSE, reason, message);
}

static void report_no_room(struct pass *pass)
{
    cleanup_free char *disk = paths_vm(pass->vm->host->paths, pass->vm->name, VM_OVERLAY);
    cleanup_free char *message = mem_printf("the guest is paused: no space left for its disk '%s'; "
                                            "it goes on by itself once %d MiB are free",
        disk, ROOM_MIN_MIB);
    pass_set(pass, CONDITION_RUNNING, CONDITION_FALSE, REASON_NO_SPACE, message);
}

static void describe_alive(struct pass *pass)
{
    static const struct {
        enum condition_state state;
        enum reason reason;
    } by_run_state[RUN_STATE_COUNT_] = {
        [RUN_STATE_UNKNOWN] = {CONDITION_UNKNOWN, REASON_QMP_UNRESPONSIVE},
        [RUN_STATE_PRELAUNCH] = {CONDITION_FALSE, REASON_STARTING},
        [RUN_STATE_RUNNING] = {CONDITION_TRUE, REASON_RUNNING},
        [RUN_STATE_PAUSED] = {CONDITION_FALSE, REASON_PAUSED},
        [RUN_STATE_SHUTDOWN] = {CONDITION_FALSE, REASON_GUEST_SHUTDOWN},
        [RUN_STATE_PANICKED] = {CONDITION_FALSE, REASON_GUEST_PANICKED},
        [RUN_STATE_IO_ERROR] = {CONDITION_FALSE, REASON_IO_ERROR},
        [RUN_STATE_INTERNAL_ERROR] = {CONDITION_FALSE, REASON_INTERNAL_ERROR},
    };
    enum { QUIET_MS = 2000 }; /* reconnecting after a restart of vmctld takes milliseconds */
    const struct situation *s = &pass->situation;
    const struct condition *before = &pass->view->status->conditions[CONDITION_RUNNING];
    /* said as soon as the wish is observed: a waiter must not take the old instance for the new one
     */
    if (pass->patch->status->instance.intent == INTENT_STOP || situation_must_be_down(s)) {
        pass_set(pass, CONDITION_RUNNING, CONDITION_FALSE,
            s->stage == STOP_STAGE_UNKILLABLE ? REASON_UNKILLABLE : REASON_STOPPING, NULL);
    } else if (pass->patch->status->instance.intent == INTENT_START) {
        pass_set(pass, CONDITION_RUNNING, CONDITION_FALSE, REASON_STARTING, NULL);
    } else if (pass_lacks_room(pass)) {
        report_no_room(pass);
    } else if (s->run_state != RUN_STATE_UNKNOWN || pass->machine.silent_ms > QUIET_MS ||
               before->state == CONDITION_ABSENT) {
        pass_set(pass, CONDITION_RUNNING, by_run_state[s->run_state].state,
            by_run_state[s->run_state].reason, NULL);
    } else { /* no answer for a moment: what was known still holds */
        cleanup_free char *message = mem_strdup(before->message);
        pass_set(pass, CONDITION_RUNNING, before->state, before->reason, message);
    }
}

static void describe_running(struct pass *pass)
{
    bool is_failing = !pass->situation.is_alive || pass->vm->failure.action == ACTION_BOOT;
    if (is_failing && pass->situation.power != POWER_STOPPED &&
        report_failure(pass, CONDITION_RUNNING)) {
        return;
    }
    if (pass->situation.is_alive) {
        describe_alive(pass);
    } else {
        describe_down(pass);
    }
}

bool pass_is_reach_overdue(const struct pass *pass)
{
    return pass->vm->reach_deadline_ms > 0 && pass->now_ms > pass->vm->reach_deadline_ms;
}

static void describe_reachable(struct pass *pass)
{
    const struct situation *s = &pass->situation;
    if (!vm_status_is_true(pass->patch->status, CONDITION_RUNNING)) {
        pass_set(pass, CONDITION_GUEST_REACHABLE, CONDITION_FALSE,
            pass->patch->status->conditions[CONDITION_RUNNING].reason, NULL);
    } else if (!s->expects_ssh) {
        pass_set(pass, CONDITION_GUEST_REACHABLE, CONDITION_TRUE, REASON_NOT_REQUIRED, NULL);
    } else if (pass->patch->status->was_reached) {
        pass_set(pass, CONDITION_GUEST_REACHABLE, CONDITION_TRUE, REASON_SSH_READY, NULL);
    } else if (pass_is_reach_overdue(pass) && pass->vm->failure.error.code == ERR_SSH) {
        pass_set(pass, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_SSH_TIMEOUT,
            pass->vm->failure.error.message);
    } else if (!report_failure(pass, CONDITION_GUEST_REACHABLE)) {
        pass_set(pass, CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_WAITING_FOR_SSH, NULL);
    }
}

static void describe_step_under_way(struct pass *pass)
{
    const struct vm_provision *provision = &pass->patch->status->provision;
    if (pass->vm->op_action != ACTION_RUN_STEP && provision->next_step == 0) {
        pass_set(pass, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_PENDING, NULL);
        return;
    }
    cleanup_buf struct buf message = BUF_INIT(0);
    buf_printf(&message, "step %u of %u", provision->next_step + 1, provision->total);
    if (provision->run.tries > 0) {
        buf_printf(&message, ", try %u", provision->run.tries + 1);
    }
    pass_set(
        pass, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_RUNNING_STEP, buf_str(&message));
}

/* A step was interrupted, by the connection or the guest, and will be gone on with or run again:
 * nothing has failed. */
static bool describe_step_retry(struct pass *pass)
{
    const struct vm_failure *failure = &pass->vm->failure;
    if (failure->action != ACTION_RUN_STEP) {
        return false;
    }
    pass_set(pass, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_RETRYING, failure->error.message);
    return true;
}

/* Nothing is under way: what became of the steps, and those behind them that were left out. */
static void describe_steps_through(struct pass *pass, enum steps_state standing)
{
    const struct vm_provision *provision = &pass->patch->status->provision;
    cleanup_free char *left_out =
        standing == STEPS_LEFT_OUT
            ? mem_printf("left out from step %u on, as asked (--no-provision)", provision->total + 1)
            : NULL;
    bool is_run = provision->digest[0] && !left_out;
    pass_set(pass, CONDITION_PROVISIONED, CONDITION_TRUE,
        is_run ? REASON_PROVISIONED : REASON_SKIPPED, left_out);
}

static void describe_provisioned(struct pass *pass, enum steps_state standing)
{
    const struct vm_status *status = pass->patch->status;
    const struct vm_provision *provision = &status->provision;
    const struct condition *before = &pass->view->status->conditions[CONDITION_PROVISIONED];
    const struct vm_desired *desired = pass->view->desired;
    bool is_asked = vm_steps_are_under_way(provision) ||
                    (desired->provision_token[0] &&
                        !text_eq(desired->provision_token, status->handled_provision_token));
    if (desired->spec->n_steps == 0) {
        pass_set(pass, CONDITION_PROVISIONED, CONDITION_TRUE, REASON_NOT_REQUIRED, NULL);
    } else if (provision->is_failed && pass->vm->failure.action != ACTION_RUN_STEP &&
               before->state ==
                   CONDITION_FALSE) { /* told by the pass that saw it, kept until asked again */
        cleanup_free char *message = mem_strdup(before->message);
        pass_set(pass, CONDITION_PROVISIONED, CONDITION_FALSE, before->reason, message);
    } else if (is_asked && pass->vm->op_action != ACTION_RUN_STEP && describe_step_retry(pass)) {
        return;
    } else if (is_asked) {
        describe_step_under_way(pass);
    } else if (standing == STEPS_APPENDED) {
        pass_set(pass, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_PENDING, NULL);
    } else if (provision->is_failed) {
        if (!report_failure(pass, CONDITION_PROVISIONED)) {
            pass_set(pass, CONDITION_PROVISIONED, CONDITION_FALSE, REASON_STEP_FAILED, NULL);
        }
    } else {
        describe_steps_through(pass, standing);
    }
}

/* What of the spec the running instance does not have yet, in words: "memory 1024 -> 2048". */
static char *list_changes(const struct spec_diff *diff, enum disposition disposition)
{
    struct buf out = BUF_INIT(0);
    for (size_t i = 0; i < diff->count; i++) {
        const struct spec_change *change = &diff->changes[i];
        if (change->disposition == disposition) {
            buf_printf(&out, "%s%s %s -> %s", out.len ? ", " : "", change->field, change->before,
                change->after);
        }
    }
    return buf_steal(&out);
}

/* Once, not at every pass: the condition says so as long as it lasts. */
static void report_source_event(
    struct pass *pass, enum condition_type type, enum reason reason, const char *message)
{
    if (pass->view->status->conditions[type].reason != reason) {
        vm_patch_event(pass->patch, true, reason, "%s", message);
    }
}

/* Its VMFile is watched and is not what was last applied: what is told of first, because nothing
 * else in the file counts until that is put right. */
static bool report_source_invalid(struct pass *pass)
{
    const struct source_record *source = pass->view->source;
    if (!source || !source_record_is_failing(source)) {
        return false;
    }
    cleanup_free char *message = source_record_explain(source);
    report_source_event(pass, CONDITION_SYNCED, REASON_SOURCE_INVALID, message);
    pass_set(pass, CONDITION_SYNCED, CONDITION_FALSE, REASON_SOURCE_INVALID, message);
    return true;
}

/* What is on its way is told first: it is over in a moment, and waiters wait for it. */
static void report_difference(
    struct pass *pass, const struct spec_diff *diff, enum steps_state standing)
{
    bool is_failing = pass->vm->failure.action == ACTION_APPLY;
    bool is_pending = diff->count > 0 && hot_change_is_pending(pass);
    bool is_running = pass->situation.run_state == RUN_STATE_RUNNING;
    cleanup_free char *strongest = list_changes(diff, diff->strongest);
    cleanup_free char *live = list_changes(diff, DISPOSITION_LIVE);
    if (is_pending && is_running && !is_failing) {
        pass_set(pass, CONDITION_SYNCED, CONDITION_FALSE, REASON_APPLYING, live);
    } else if (pass->media.is_outdated || diff->strongest == DISPOSITION_RECREATE) {
        pass_set(pass, CONDITION_SYNCED, CONDITION_FALSE, REASON_RECREATE_REQUIRED,
            strongest[0] ? strongest : "image or cloud-init changed");
    } else if (diff->strongest == DISPOSITION_RESTART) {
        pass_set(pass, CONDITION_SYNCED, CONDITION_FALSE, REASON_RESTART_REQUIRED, strongest);
    } else if (is_failing) {
        report_failed(pass, CONDITION_SYNCED);
    } else if (is_pending) {
        pass_set(pass, CONDITION_SYNCED, CONDITION_FALSE, REASON_APPLYING, live);
    } else if (standing == STEPS_CHANGED && pass->env.spec->n_steps > 0) {
        pass_set(pass, CONDITION_SYNCED, CONDITION_FALSE, REASON_PROVISION_OUTDATED,
            "the provision steps changed since they were run");
    } else {
        pass_set(pass, CONDITION_SYNCED, CONDITION_TRUE, REASON_SYNCED, NULL);
    }
}

/* An instance that this pass began has all of the spec. What this pass recorded as applied is told
 * by the next one, which follows at once. */
static void describe_synced(struct pass *pass, enum steps_state standing)
{
    static const struct spec_diff none = {.strongest = DISPOSITION_LIVE};
    bool is_new = pass->patch->status->applied_generation == pass->view->desired->generation;
    if (!report_source_invalid(pass)) {
        report_difference(pass, is_new ? &none : hot_change_diff(pass), standing);
    }
}

/* All is as it should be but for what the `ready` probes say. */
static void describe_unready(struct pass *pass)
{
    const char *failure = pass->patch->status->probing.failure;
    cleanup_free char *message =
        failure ? mem_printf("ready: %s", failure) : mem_strdup("its probes have not answered yet");
    pass_set(pass, CONDITION_READY, CONDITION_FALSE,
        failure ? REASON_PROBE_FAILED : REASON_WAITING_FOR_PROBE, message);
}

static void describe_ready(struct pass *pass)
{
    static const enum condition_type needed[] = {CONDITION_IMAGE_READY, CONDITION_PREPARED,
        CONDITION_RUNNING, CONDITION_GUEST_REACHABLE, CONDITION_PROVISIONED};
    const struct situation *s = &pass->situation;
    const struct vm_status *status = pass->patch->status;
    if (s->is_deleting) {
        pass_set(pass, CONDITION_READY, CONDITION_FALSE, REASON_TERMINATING, NULL);
        return;
    }
    if (s->power == POWER_SUSPENDED && s->run_state == RUN_STATE_PAUSED) {
        pass_set(pass, CONDITION_READY, CONDITION_FALSE, REASON_SUSPENDED, NULL);
        return;
    }
    if (s->power == POWER_SUSPENDED && s->run_state == RUN_STATE_RUNNING) {
        pass_set(pass, CONDITION_READY, CONDITION_FALSE, REASON_PROGRESSING, NULL);
        return;
    }
    /* a running VM does not become unready because its image vanished from the cache */
    size_t first = s->is_alive || s->power == POWER_STOPPED ? 2 : 0;
    for (size_t i = first; i < ARRAY_LEN(needed); i++) {
        const struct condition *condition = &status->conditions[needed[i]];
        if (condition->state != CONDITION_TRUE) {
            cleanup_free char *message = mem_strdup(condition->message);
            pass_set(pass, CONDITION_READY, CONDITION_FALSE, condition->reason, message);
            return;
        }
    }
    if (pass->env.spec->checks[CHECK_READY].n_probes > 0 &&
        !status->probing.is_passed) {
        describe_unready(pass);
        return;
    }
    pass_set(pass, CONDITION_READY, CONDITION_TRUE, REASON_READY, NULL);
}

/* A look that finds all well is no work; waiting for probes to pass is, also between two
 * tries. */
static void describe_reconciling(struct pass *pass)
{
    enum action action = pass->decision.action;
    enum reason ready = pass->patch->status->conditions[CONDITION_READY].reason;
    bool is_unready = ready == REASON_WAITING_FOR_PROBE || ready == REASON_PROBE_FAILED;
    bool is_looking = action == ACTION_PROBE || (action == ACTION_APPLY && !hot_change_is_pending(pass));
    bool is_idle = action == ACTION_NONE || action == ACTION_HOLD || is_looking ||
                   action == ACTION_REFUSE_IMAGE ||
                   (action == ACTION_AWAIT_MACHINE && pass->situation.intent == INTENT_NONE);
    bool is_settled = is_idle && !is_unready;
    bool has_failed = action != ACTION_NONE && pass->vm->failure.action == action;
    bool is_retrying =
        action == ACTION_BACK_OFF || has_failed || ready == REASON_PROBE_FAILED;
    pass_set(pass, CONDITION_RECONCILING, is_settled ? CONDITION_ABSENT : CONDITION_TRUE,
        is_retrying ? REASON_RETRYING : REASON_PROGRESSING, NULL);
}

/* An orphan without any record gets a uid, so that its status is one that can be read again. */
static void describe_orphan(struct pass *pass)
{
    bool is_orphan = pass->decision.action == ACTION_ADOPT_ORPHAN;
    struct vm_status *status = pass->patch->status;
    if (is_orphan && !status->uid[0]) {
        digest_random_id(status->uid);
    }
    pass_set(pass, CONDITION_ORPHANED, is_orphan ? CONDITION_TRUE : CONDITION_ABSENT,
        REASON_NO_DESIRED_RECORD, NULL);
}

/* A VM outlives its VMFile; that it does is told. */
static void describe_source(struct pass *pass)
{
    const struct source_record *source = pass->view->source;
    bool is_gone = source && source->state == SOURCE_GONE;
    if (!is_gone && (!source || !strings_have(&source->removed, pass->view->name))) {
        pass_set(pass, CONDITION_ORPHANED, CONDITION_ABSENT, REASON_NONE, NULL);
        return;
    }
    enum reason reason = is_gone ? REASON_SOURCE_MISSING : REASON_REMOVED_FROM_SOURCE;
    cleanup_free char *message = is_gone ? source_record_explain(source)
                                         : mem_printf("'%s' no longer names it", source->path);
    report_source_event(pass, CONDITION_ORPHANED, reason, message);
    pass_set(pass, CONDITION_ORPHANED, CONDITION_TRUE, reason, message);
}

void pass_describe(struct pass *pass)
{
    if (!pass->view->desired) {
        describe_orphan(pass);
        return;
    }
    enum steps_state standing = vm_steps_state(&pass->patch->status->provision,
        pass->view->desired->spec, pass->view->desired->skipped_steps);
    describe_source(pass);
    describe_image(pass);
    describe_prepared(pass);
    describe_running(pass);
    describe_reachable(pass);
    describe_provisioned(pass, standing);
    describe_synced(pass, standing);
    describe_ready(pass);
    pass_describe_stalled(pass);
    describe_reconciling(pass);
}

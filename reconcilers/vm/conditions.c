/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The conditions of a VM, computed from what is recorded, observed and under way. Nothing is
 * decided here, and no decision reads a condition. One table of rules a condition; the first rule
 * that holds wins, so their order matters.
 */
#include "reconcilers/vm/pass.h"

#include <stdlib.h>

#include "reconcilers/vm/exit.h"
#include "reconcilers/vm/failure.h"
#include "reconcilers/vm/forwards.h"
#include "reconcilers/vm/hot_change.h"
#include "reconcilers/vm/volumes.h"
#include "reconcilers/vm/templates.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/url.h"
#include "specs/vm/source_record.h"
#include "specs/vm/spec_diff.h"
#include "specs/vm/vm_steps.h"

struct rule {
    bool (*holds)(const struct pass *pass); /* NULL: always */
    enum condition_state state;
    enum reason reason;
    char *(*message)(const struct pass *pass); /* NULL: none. free() what it returns */
    void (*report)(struct pass *pass, enum condition_type type); /* instead of those three */
};

void pass_set(struct pass *pass, enum condition_type type, enum condition_state state,
    enum reason reason, const char *message)
{
    vm_status_set(pass->patch->status, type, state, reason, message, pass->wall_ms);
}

/* The last rule of every table always holds. */
static void apply_rules(struct pass *pass, enum condition_type type, const struct rule *rules)
{
    const struct rule *rule = rules;
    while (rule->holds && !rule->holds(pass)) {
        rule++;
    }
    if (rule->report) {
        rule->report(pass, type);
        return;
    }
    cleanup_free char *message = rule->message ? rule->message(pass) : NULL;
    pass_set(pass, type, rule->state, rule->reason, message);
}

#define PREDICATE(name, expression)                                                                \
    static bool name(const struct pass *pass)                                                      \
    {                                                                                              \
        return (expression);                                                                       \
    }
#define MESSAGE(name, allocated)                                                                   \
    static char *name(const struct pass *pass)                                                     \
    {                                                                                              \
        (void)pass;                                                                                \
        return (allocated);                                                                        \
    }

/* ---- what several conditions need ---- */

/* The failure whose backoff is running belongs to this condition. */
static bool is_failure_of(const struct pass *pass, enum condition_type type)
{
    const struct vm_failure *failure = &pass->vm->failure;
    return failure->action != ACTION_NONE && vm_failure_class(failure).condition == type;
}

static void report_failed(struct pass *pass, enum condition_type type)
{
    const struct vm_failure *failure = &pass->vm->failure;
    struct failure_class class = vm_failure_class(failure);
    pass_set(pass, type, CONDITION_FALSE, class.reason, failure->error->message);
}

MESSAGE(failure_message, mem_strdup(pass->vm->failure.error->message))

/* What an earlier pass found still holds. */
static void keep(struct pass *pass, enum condition_type type)
{
    const struct condition *before = &pass->view->status->conditions[type];
    cleanup_free char *message = mem_strdup(before->message);
    pass_set(pass, type, before->state, before->reason, message);
}

/* ---- ImageReady ---- */

PREDICATE(is_image_changed, pass->media.is_image_changed)
MESSAGE(image_changed_message, mem_strdup("it is not the one this VM's disk was made on"))
PREDICATE(is_image_unsure, pass->media.is_image_unsure)
MESSAGE(image_unsure_message,
    mem_printf("its timestamp or path changed: %s", pass->view->desired->power == POWER_STOPPED
                                                        ? "its bytes are compared at the next start"
                                                        : "comparing its bytes"))
PREDICATE(is_image_of_url, pass->env.spec->image.kind != IMAGE_FILE)
PREDICATE(is_fetching, pass->vm->op_action == ACTION_FETCH_IMAGE && !pass->media.has_image)
PREDICATE(is_fetching_url, is_fetching(pass) && is_image_of_url(pass))
PREDICATE(has_image_failed, is_failure_of(pass, CONDITION_IMAGE_READY))
PREDICATE(lacks_image, !pass->media.has_image)
/* How far it is, is recorded once for all VMs, with the image. */
MESSAGE(image_name, url_last_component(pass->env.spec->image.location))

static const struct rule image_rules[] = {
    {is_image_changed, CONDITION_FALSE, REASON_BACKING_IMAGE_CHANGED, image_changed_message, NULL},
    {is_image_unsure, CONDITION_UNKNOWN, REASON_BACKING_IMAGE_CHANGED, image_unsure_message, NULL},
    {is_fetching_url, CONDITION_FALSE, REASON_DOWNLOADING, image_name, NULL},
    {is_fetching, CONDITION_FALSE, REASON_PREPARING, image_name, NULL},
    {has_image_failed, .report = report_failed},
    {lacks_image, CONDITION_FALSE, REASON_PENDING, NULL, NULL},
    {is_image_of_url, CONDITION_TRUE, REASON_CACHED, NULL, NULL},
    {NULL, CONDITION_TRUE, REASON_LOCAL_FILE, NULL, NULL},
};

/* ---- Prepared ---- */

PREDICATE(is_preparing, pass->vm->op_action == ACTION_PREPARE)
PREDICATE(is_fetching_next,
    pass->vm->op_action == ACTION_REPLACE && !pass->vm->image.path && is_image_of_url(pass))
PREDICATE(has_preparing_failed, is_failure_of(pass, CONDITION_PREPARED))
PREDICATE(is_disk_unready,
    pass->media.disk != DISK_READY ||
        (pass->situation.recreation == RECREATION_READY && !pass->situation.is_alive))

static const struct rule prepared_rules[] = {
    {is_preparing, CONDITION_FALSE, REASON_PREPARING, NULL, NULL},
    {has_preparing_failed, .report = report_failed},
    {is_disk_unready, CONDITION_FALSE, REASON_PENDING, NULL, NULL},
    {NULL, CONDITION_TRUE, REASON_PREPARED, NULL, NULL},
};

/* ---- Running ---- */

PREDICATE(has_start_failed, (!pass->situation.is_alive || pass->vm->failure.action == ACTION_BOOT ||
                                (pass->vm->failure.action == ACTION_SAVE &&
                                    pass->situation.run_state != RUN_STATE_RUNNING)) &&
                                pass->situation.power != POWER_STOPPED &&
                                is_failure_of(pass, CONDITION_RUNNING))
PREDICATE(is_down, !pass->situation.is_alive)

static void report_down(struct pass *pass, enum condition_type type)
{
    const struct vm_restart *restart = &pass->patch->status->restart;
    enum reason reason = pass_reason_while_down(pass);
    cleanup_free char *message = NULL;
    if (reason == REASON_CRASH_LOOP_BACK_OFF) {
        char when[CLOCK_TEXT_SIZE];
        clock_format_utc(restart->not_before_ms, when);
        message = mem_printf("exited %u times in a row (%s%s%s), next try at %s", restart->count,
            exit_cause_name(restart->last_cause), restart->last_message ? ": " : "",
            restart->last_message ? restart->last_message : "", when);
    } else if (reason == REASON_HOST_SHUTDOWN && pass->situation.is_held) {
        message = mem_printf(
            "not started again with the host (autostart #false): vmctl start %s", pass->vm->name);
    } else if (reason == REASON_WAITING_FOR_DEPENDENCY) {
        message = mem_strdup(pass->missing.names);
    } else if (reason == REASON_HOST_SHUTDOWN) {
        message = mem_strdup("shut down with the host: it starts after the next boot, or with "
                             "`vmctl controller start`");
    } else if (reason == REASON_STOPPED && restart->last_cause == EXIT_BY_USER) {
        message = mem_strdup(restart->last_message); /* how it stopped */
    }
    pass_set(pass, type, CONDITION_FALSE, reason, message);
}

/* As soon as the desired record is observed: a waiter must not mistake the old instance for the new
 * one. */
PREDICATE(is_going_down,
    pass->patch->status->instance.intent == INTENT_STOP || situation_must_be_down(&pass->situation))
PREDICATE(is_unkillable, is_going_down(pass) && pass->situation.stage == STOP_STAGE_UNKILLABLE)
PREDICATE(is_starting, pass->patch->status->instance.intent == INTENT_START)

PREDICATE(is_being_resumed,
    (pass->decision.action == ACTION_RESUME && pass->vm->failure.action != ACTION_RESUME) ||
        (pass->situation.intent == INTENT_START && pass->situation.saved >= SAVED_WHOLE))
PREDICATE(is_being_saved, pass->situation.is_to_disk && pass->situation.saved != SAVED_NONE &&
                              !pass->situation.is_deleting)

static char *no_room_message(const struct pass *pass)
{
    cleanup_free char *disk = paths_vm(pass->vm->host->paths, pass->vm->name, VM_OVERLAY);
    return mem_printf("the guest is paused: no space left for its disk '%s'; "
                      "it resumes by itself once %d MiB are free",
        disk, ROOM_MIN_MIB);
}

/* A moment without a response does not change the condition: reconnecting after a restart of vmctld
 * takes milliseconds. */
static bool is_run_state_known(const struct pass *pass)
{
    enum { QUIET_MS = 2000 };
    return pass->situation.run_state != RUN_STATE_UNKNOWN || pass->machine.silent_ms > QUIET_MS ||
           pass->view->status->conditions[CONDITION_RUNNING].state == CONDITION_ABSENT;
}

static void report_run_state(struct pass *pass, enum condition_type type)
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
        [RUN_STATE_INMIGRATE] = {CONDITION_FALSE, REASON_STARTING},
        [RUN_STATE_POSTMIGRATE] = {CONDITION_FALSE, REASON_MIGRATED},
    };
    enum run_state run_state = pass->situation.run_state;
    pass_set(pass, type, by_run_state[run_state].state, by_run_state[run_state].reason, NULL);
}

static const struct rule running_rules[] = {
    {has_start_failed, .report = report_failed},
    {is_down, .report = report_down},
    {is_unkillable, CONDITION_FALSE, REASON_UNKILLABLE, NULL, NULL},
    {is_being_saved, CONDITION_FALSE, REASON_SAVING, NULL, NULL},
    {is_going_down, CONDITION_FALSE, REASON_STOPPING, NULL, NULL},
    {is_being_resumed, CONDITION_FALSE, REASON_RESUMING, NULL, NULL},
    {is_starting, CONDITION_FALSE, REASON_STARTING, NULL, NULL},
    {pass_lacks_room, CONDITION_FALSE, REASON_NO_SPACE, no_room_message, NULL},
    {is_run_state_known, .report = report_run_state},
    {NULL, .report = keep},
};

/* ---- GuestReachable ---- */

/* As long as the console's log grows the guest is at work, however slowly. */
static bool is_console_quiet(const struct pass *pass)
{
    enum { CONSOLE_QUIET_MS = 60000 }; /* a slow boot prints nothing for most of a minute */
    const struct vm *vm = pass->vm;
    return vm->console_grew_ms == 0 || pass->now_ms - vm->console_grew_ms > CONSOLE_QUIET_MS;
}

bool pass_is_reach_overdue(const struct pass *pass)
{
    bool is_late = pass->vm->reach_deadline_ms > 0 && pass->now_ms > pass->vm->reach_deadline_ms;
    return is_late && is_console_quiet(pass);
}

bool pass_is_refused(const struct pass *pass)
{
    enum { REFUSED_MS = 25000 };
    int64_t since_ms = pass->vm->refused_since_ms;
    return since_ms > 0 && pass->now_ms - since_ms >= REFUSED_MS;
}

bool pass_is_setup_overdue(const struct pass *pass)
{
    int64_t since_ms = pass->vm->setup_since_ms;
    bool is_late = since_ms > 0 && pass->now_ms - since_ms > (int64_t)SETUP_LIMIT_MINUTES * 60000;
    return is_late && pass->situation.is_setting_up && is_console_quiet(pass);
}

PREDICATE(is_not_running, !vm_status_is_true(pass->patch->status, CONDITION_RUNNING))

static void report_as_running(struct pass *pass, enum condition_type type)
{
    pass_set(pass, type, CONDITION_FALSE, pass->patch->status->conditions[CONDITION_RUNNING].reason,
        NULL);
}

PREDICATE(needs_no_ssh, !pass->situation.expects_ssh)
PREDICATE(is_reached, pass->patch->status->was_reached)
PREDICATE(is_ssh_overdue, pass_is_reach_overdue(pass) && pass->vm->failure.error &&
                              pass->vm->failure.error->code == ERR_SSH)
PREDICATE(has_reaching_failed, is_failure_of(pass, CONDITION_GUEST_REACHABLE))

/* Not an error, however the last try ended: most of a boot is like that. */
PREDICATE(is_booting, pass->vm->failure.action == ACTION_REACH &&
                          pass->vm->failure.error->code == ERR_SSH && pass->patch->status->ssh_port)

static const struct rule reachable_rules[] = {
    {is_not_running, .report = report_as_running},
    {needs_no_ssh, CONDITION_TRUE, REASON_NOT_REQUIRED, NULL, NULL},
    {is_reached, CONDITION_TRUE, REASON_SSH_READY, NULL, NULL},
    {is_ssh_overdue, CONDITION_FALSE, REASON_SSH_TIMEOUT, pass_explain_silence, NULL},
    {is_booting, CONDITION_FALSE, REASON_WAITING_FOR_SSH, pass_explain_silence, NULL},
    {has_reaching_failed, .report = report_failed},
    {NULL, CONDITION_FALSE, REASON_WAITING_FOR_SSH, NULL, NULL},
};

/* ---- CloudInitDone ---- */

static void report_cloud_init(struct pass *pass, enum condition_type type)
{
    static const struct {
        enum condition_state state;
        enum reason reason;
    } by_state[CLOUD_INIT_STATE_COUNT_] = {
        [CLOUD_INIT_UNKNOWN] = {CONDITION_FALSE, REASON_PENDING},
        [CLOUD_INIT_RUNNING] = {CONDITION_FALSE, REASON_CLOUD_INIT_RUNNING},
        [CLOUD_INIT_DONE] = {CONDITION_TRUE, REASON_CLOUD_INIT_DONE},
        [CLOUD_INIT_DEGRADED] = {CONDITION_TRUE, REASON_CLOUD_INIT_DEGRADED},
        [CLOUD_INIT_FAILED] = {CONDITION_FALSE, REASON_CLOUD_INIT_FAILED},
        [CLOUD_INIT_DISABLED] = {CONDITION_TRUE, REASON_CLOUD_INIT_DISABLED},
        [CLOUD_INIT_ABSENT] = {CONDITION_TRUE, REASON_NOT_INSTALLED},
    };
    const struct vm_cloud_init *cloud_init = &pass->patch->status->cloud_init;
    bool is_accepted =
        cloud_init->state == CLOUD_INIT_FAILED && !pass_has_setup_failed(pass, pass->patch->status);
    enum cloud_init_state state = is_accepted ? CLOUD_INIT_DEGRADED : cloud_init->state;
    pass_set(pass, type, by_state[state].state, by_state[state].reason, cloud_init->message);
}

PREDICATE(has_querying_failed, is_failure_of(pass, CONDITION_CLOUD_INIT_DONE))

static const struct rule cloud_init_rules[] = {
    {is_not_running, .report = report_as_running},
    {needs_no_ssh, CONDITION_TRUE, REASON_NOT_REQUIRED, NULL, NULL},
    {has_querying_failed, .report = report_failed},
    {NULL, .report = report_cloud_init},
};

/* ---- Provisioned ---- */

PREDICATE(has_no_steps, pass->view->desired->spec->n_steps == 0)

/* Set by the pass that saw the step fail, kept until steps are requested again. */
PREDICATE(is_step_failure_kept,
    pass->patch->status->provision.is_failed && pass->vm->failure.action != ACTION_RUN_STEP &&
        pass->view->status->conditions[CONDITION_PROVISIONED].state == CONDITION_FALSE)

static bool are_steps_requested(const struct pass *pass)
{
    const struct vm_status *status = pass->patch->status;
    const char *token = pass->view->desired->provision_token;
    return vm_steps_are_under_way(&status->provision) ||
           (token[0] && !text_eq(token, status->handled_provision_token));
}

PREDICATE(is_waiting_for_step, are_steps_requested(pass) && pass->vm->op_action != ACTION_RUN_STEP)

/* A step was interrupted, by the connection or the guest, and will be resumed or run again: nothing
 * has failed. */
PREDICATE(is_step_retried, is_waiting_for_step(pass) && pass->vm->failure.action == ACTION_RUN_STEP)
PREDICATE(is_secret_missing,
    is_step_retried(pass) && vm_failure_class(&pass->vm->failure).reason == REASON_SECRET_MISSING)
PREDICATE(is_first_step_pending, /* or of a clone, those behind its template's */
    is_waiting_for_step(pass) &&
        pass->patch->status->provision.next_step <= (is_reached(pass) ? 0 : pass->template.n_steps))

static char *step_progress(const struct pass *pass)
{
    const struct vm_provision *provision = &pass->patch->status->provision;
    struct buf message = BUF_INIT(0);
    buf_printf(&message, "step %u of %u", provision->next_step + 1, provision->total);
    if (provision->run.tries > 0) {
        buf_printf(&message, ", try %u", provision->run.tries + 1);
    }
    return buf_steal(&message);
}

PREDICATE(are_steps_appended, pass_steps_state(pass) == STEPS_APPENDED)
PREDICATE(is_step_failed, pass->patch->status->provision.is_failed)
PREDICATE(is_step_failing, is_step_failed(pass) && is_failure_of(pass, CONDITION_PROVISIONED))
PREDICATE(are_steps_left_out, pass_steps_state(pass) == STEPS_LEFT_OUT)
MESSAGE(left_out_message,
    mem_printf("steps from step %u on were left out, as requested (--no-provision)",
        pass->patch->status->provision.total + 1))
PREDICATE(were_steps_run, pass->patch->status->provision.digest[0])

static const struct rule provisioned_rules[] = {
    {has_no_steps, CONDITION_TRUE, REASON_NOT_REQUIRED, NULL, NULL},
    {is_step_failure_kept, .report = keep},
    {is_secret_missing, .report = report_failed},
    {is_step_retried, CONDITION_FALSE, REASON_RETRYING, failure_message, NULL},
    {is_first_step_pending, CONDITION_FALSE, REASON_PENDING, NULL, NULL},
    {are_steps_requested, CONDITION_FALSE, REASON_RUNNING_STEP, step_progress, NULL},
    {are_steps_appended, CONDITION_FALSE, REASON_PENDING, NULL, NULL},
    {is_step_failing, .report = report_failed},
    {is_step_failed, CONDITION_FALSE, REASON_STEP_FAILED, NULL, NULL},
    {are_steps_left_out, CONDITION_TRUE, REASON_SKIPPED, left_out_message, NULL},
    {were_steps_run, CONDITION_TRUE, REASON_PROVISIONED, NULL, NULL},
    {NULL, CONDITION_TRUE, REASON_SKIPPED, NULL, NULL},
};

/* ---- Synced ---- */

/* Once, not at every pass: the condition shows it as long as it lasts. */
static void report_source_event(
    struct pass *pass, enum condition_type type, enum reason reason, const char *message)
{
    if (pass->view->status->conditions[type].reason != reason) {
        vm_patch_event(pass->patch, true, reason, "%s", message);
    }
}

/* Its VMFile is watched and cannot be applied: reported first, because nothing else in the file
 * counts until that is repaired. */
PREDICATE(is_source_failing, pass->view->source &&source_record_is_failing(pass->view->source))

static void report_source_invalid(struct pass *pass, enum condition_type type)
{
    cleanup_free char *message = source_record_explain(pass->view->source);
    report_source_event(pass, type, REASON_SOURCE_INVALID, message);
    pass_set(pass, type, CONDITION_FALSE, REASON_SOURCE_INVALID, message);
}

/* An instance that this pass began has all of the spec. Changes that this pass recorded as applied
 * are left to the next one, which follows at once. */
static const struct spec_diff *diff_of(const struct pass *pass)
{
    static const struct spec_diff none = {.strongest = DISPOSITION_LIVE};
    bool is_new = pass->patch->status->applied_generation == pass->view->desired->generation;
    return is_new ? &none : hot_change_diff(pass);
}

/* The changes that the running instance does not have yet: "memory 1024 -> 2048". */
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

MESSAGE(live_changes, list_changes(diff_of(pass), DISPOSITION_LIVE))
MESSAGE(strongest_changes, list_changes(diff_of(pass), diff_of(pass)->strongest))

static char *recreate_changes(const struct pass *pass)
{
    cleanup_free char *changes = strongest_changes(pass);
    return mem_strdup(changes[0] ? changes : "image or cloud-init changed");
}

PREDICATE(has_applying_failed, pass->vm->failure.action == ACTION_APPLY)
PREDICATE(is_apply_pending, diff_of(pass)->count > 0 && hot_change_is_pending(pass))

/* Reported first: it ends in a moment, and waiters wait for it. */
PREDICATE(is_being_applied, is_apply_pending(pass) && !has_applying_failed(pass) &&
                                pass->situation.run_state == RUN_STATE_RUNNING)
PREDICATE(is_guest_growing, pass->situation.is_growth_due && !pass->patch->status->growth.refusal)
MESSAGE(growing_message, mem_strdup("the guest is being made to use the added resources"))
PREDICATE(has_not_grown, pass->situation.is_alive && pass->patch->status->growth.refusal)
MESSAGE(not_grown_message, mem_printf("the guest does not use all of the added resources: %s",
                               pass->patch->status->growth.refusal))
PREDICATE(
    needs_recreate, pass->media.is_outdated || diff_of(pass)->strongest == DISPOSITION_RECREATE)
PREDICATE(needs_restart, diff_of(pass)->strongest == DISPOSITION_RESTART)
PREDICATE(
    are_steps_outdated, pass->env.spec->n_steps > 0 && pass_steps_state(pass) == STEPS_CHANGED)
MESSAGE(outdated_message, mem_strdup("the provision steps changed since they ran"))

static const struct rule synced_rules[] = {
    {is_source_failing, .report = report_source_invalid},
    {is_being_applied, CONDITION_FALSE, REASON_APPLYING, live_changes, NULL},
    {has_applying_failed, .report = report_failed},
    {needs_recreate, CONDITION_FALSE, REASON_RECREATE_REQUIRED, recreate_changes, NULL},
    {needs_restart, CONDITION_FALSE, REASON_RESTART_REQUIRED, strongest_changes, NULL},
    {is_apply_pending, CONDITION_FALSE, REASON_APPLYING, live_changes, NULL},
    {is_guest_growing, CONDITION_FALSE, REASON_APPLYING, growing_message, NULL},
    {are_steps_outdated, CONDITION_FALSE, REASON_PROVISION_OUTDATED, outdated_message, NULL},
    {has_not_grown, CONDITION_TRUE, REASON_SYNCED, not_grown_message, NULL},
    {NULL, CONDITION_TRUE, REASON_SYNCED, NULL, NULL},
};

/* ---- Ready ---- */
PREDICATE(is_deleting, pass->situation.is_deleting)
PREDICATE(
    is_suspended, pass->situation.power == POWER_SUSPENDED &&
                      (pass->situation.is_to_disk
                              ? !pass->situation.is_alive && pass->situation.saved == SAVED_WHOLE
                              : pass->situation.run_state == RUN_STATE_PAUSED))
PREDICATE(is_being_suspended,
    pass->situation.power == POWER_SUSPENDED &&
        (pass->situation.is_to_disk ? pass->situation.is_alive
                                    : pass->situation.run_state == RUN_STATE_RUNNING))

/* The first condition that Ready needs and that is not true; NULL: all are. A running VM does not
 * become unready because its image vanished from the cache. */
static const struct condition *first_unmet(const struct pass *pass)
{
    static const enum condition_type needed[] = {CONDITION_IMAGE_READY, CONDITION_PREPARED,
        CONDITION_RUNNING, CONDITION_GUEST_REACHABLE, CONDITION_CLOUD_INIT_DONE, CONDITION_MOUNTED,
        CONDITION_SHARED, CONDITION_PROVISIONED, CONDITION_FORWARDED};
    const struct situation *s = &pass->situation;
    size_t first = s->is_alive || s->power == POWER_STOPPED ? 2 : 0;
    bool has_sockets = pass->env.spec->network.n_sockets > 0; /* `forward "auto"` is not needed */
    for (size_t i = first; i < ARRAY_LEN(needed) - !has_sockets; i++) {
        const struct condition *condition = &pass->patch->status->conditions[needed[i]];
        bool is_of_some = needed[i] == CONDITION_MOUNTED || needed[i] == CONDITION_SHARED;
        if (condition->state != CONDITION_TRUE &&
            !(is_of_some && condition->state == CONDITION_ABSENT)) {
            return condition;
        }
    }
    return NULL;
}

PREDICATE(is_any_unmet, first_unmet(pass) != NULL)

static void report_unmet(struct pass *pass, enum condition_type type)
{
    const struct condition *unmet = first_unmet(pass);
    cleanup_free char *message = mem_strdup(unmet->message);
    pass_set(pass, type, CONDITION_FALSE, unmet->reason, message);
}

PREDICATE(is_waiting_for_probes,
    pass->env.spec->checks[CHECK_READY].n_probes > 0 && !pass->patch->status->probing.is_passed)
MESSAGE(no_probe_message, mem_strdup("its probes have not passed yet"))
PREDICATE(are_probes_failing, is_waiting_for_probes(pass) && pass->patch->status->probing.failure)
MESSAGE(probe_failure, mem_printf("ready: %s", pass->patch->status->probing.failure))

PREDICATE(is_network_lost, pass->situation.is_alive && pass->machine.is_network_lost)
MESSAGE(
    network_lost_message, mem_strdup("the switch of its network ended; another is being started"))

PREDICATE(is_tpm_lost, pass->situation.is_alive && pass->machine.is_tpm_lost)
MESSAGE(tpm_lost_message, mem_printf("its TPM (swtpm) ended: vmctl restart %s", pass->vm->name))

static const struct rule ready_rules[] = {
    {is_deleting, CONDITION_FALSE, REASON_TERMINATING, NULL, NULL},
    {is_suspended, CONDITION_FALSE, REASON_SUSPENDED, NULL, NULL},
    {is_being_suspended, CONDITION_FALSE, REASON_PROGRESSING, NULL, NULL},
    {is_fetching_next, CONDITION_FALSE, REASON_DOWNLOADING, image_name, NULL},
    {pass_is_being_replaced, CONDITION_FALSE, REASON_PREPARING, NULL, NULL},
    {is_any_unmet, .report = report_unmet},
    {is_network_lost, CONDITION_FALSE, REASON_NETWORK_LOST, network_lost_message, NULL},
    {is_tpm_lost, CONDITION_FALSE, REASON_TPM_LOST, tpm_lost_message, NULL},
    {are_probes_failing, CONDITION_FALSE, REASON_PROBE_FAILED, probe_failure, NULL},
    {is_waiting_for_probes, CONDITION_FALSE, REASON_WAITING_FOR_PROBE, no_probe_message, NULL},
    {NULL, CONDITION_TRUE, REASON_READY, NULL, NULL},
};

/* A check that finds no drift is not work; waiting for probes to pass is, between tries, too. */
static void describe_reconciling(struct pass *pass)
{
    enum action action = pass->decision.action;
    enum reason ready = pass->patch->status->conditions[CONDITION_READY].reason;
    bool is_checking = action == ACTION_PROBE || action == ACTION_IDENTIFY_IMAGE ||
                       (action == ACTION_APPLY && !hot_change_is_pending(pass));
    bool is_idle = action == ACTION_NONE || action == ACTION_HOLD || is_checking ||
                   action == ACTION_REFUSE_IMAGE ||
                   (action == ACTION_AWAIT_MACHINE && pass->situation.intent == INTENT_NONE);
    bool is_settled = is_idle && ready != REASON_WAITING_FOR_PROBE && ready != REASON_PROBE_FAILED;
    bool has_failed = action != ACTION_NONE && pass->vm->failure.action == action;
    bool is_retrying = action == ACTION_BACK_OFF || has_failed || ready == REASON_PROBE_FAILED;
    pass_set(pass, CONDITION_RECONCILING, is_settled ? CONDITION_ABSENT : CONDITION_TRUE,
        is_retrying ? REASON_RETRYING : REASON_PROGRESSING, NULL);
}

/* A VM outlives its VMFile, which this condition reports. */
static void describe_source(struct pass *pass)
{
    const struct source_record *source = pass->view->source;
    bool is_gone = source && source->state == SOURCE_GONE;
    if (!is_gone && (!source || !strings_have(&source->removed, pass->view->name))) {
        pass_set(pass, CONDITION_ORPHANED, CONDITION_ABSENT, REASON_NONE, NULL);
        return;
    }
    enum reason reason = is_gone ? REASON_SOURCE_MISSING : REASON_REMOVED_FROM_SOURCE;
    bool is_kept = !is_gone && source->prune == SOURCE_PRUNE_DESTROY &&
                   pass->view->desired->spec->is_protected;
    cleanup_free char *message = is_gone ? source_record_explain(source)
                                         : mem_printf("'%s' no longer names it%s", source->path,
                                               is_kept ? "; it is protected, and kept" : "");
    report_source_event(pass, CONDITION_ORPHANED, reason, message);
    pass_set(pass, CONDITION_ORPHANED, CONDITION_TRUE, reason, message);
}

void pass_describe(struct pass *pass)
{
    if (!pass->view->desired) {
        return;
    }
    describe_source(pass);
    apply_rules(pass, CONDITION_IMAGE_READY, image_rules);
    apply_rules(pass, CONDITION_PREPARED, prepared_rules);
    template_describe(pass);
    apply_rules(pass, CONDITION_RUNNING, running_rules);
    apply_rules(pass, CONDITION_GUEST_REACHABLE, reachable_rules);
    apply_rules(pass, CONDITION_CLOUD_INIT_DONE, cloud_init_rules);
    volumes_describe(pass);
    forwards_describe(pass);
    pass_describe_limits(pass);
    apply_rules(pass, CONDITION_PROVISIONED, provisioned_rules);
    apply_rules(pass, CONDITION_SYNCED, synced_rules);
    apply_rules(pass, CONDITION_READY, ready_rules);
    describe_reconciling(pass);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/goal.h"

#include <stddef.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/store.h"

const char *goal_word(const struct goal *goal)
{
    static const char *const words[] = {
        [GOAL_READY] = "ready",
        [GOAL_RUNNING] = "running",
        [GOAL_STOPPED] = "stopped",
        [GOAL_SUSPENDED] = "suspended",
        [GOAL_PREPARED] = "prepared",
        [GOAL_PROVISIONED] = "provisioned",
        [GOAL_DELETED] = "deleted",
        [GOAL_CONDITION] = "",
        [GOAL_SETTLED] = "settled",
    };
    _Static_assert(ARRAY_LEN(words) == GOAL_KIND_COUNT_, "every kind has a word");
    return goal->kind == GOAL_CONDITION ? condition_type_name(goal->type) : words[goal->kind];
}

char *goal_describe(const struct goal *goal)
{
    return goal->kind == GOAL_CONDITION
        ? mem_printf("%s=%s", goal_word(goal), condition_state_name(goal->state))
        : mem_strdup(goal_word(goal));
}

struct goal goal_resolve(const struct goal *goal, const struct vm_record *record)
{
    static const enum goal_kind by_power[POWER_COUNT_] = {
        [POWER_RUNNING] = GOAL_READY,
        [POWER_STOPPED] = GOAL_STOPPED,
        [POWER_SUSPENDED] = GOAL_SUSPENDED,
    };
    struct goal resolved = *goal;
    if (goal->kind == GOAL_SETTLED && record->desired) {
        resolved.kind = by_power[record->desired->power];
    }
    return resolved;
}

/* ---- reached ---- */

static const struct condition *fresh(
    const struct vm_status *status, enum condition_type type, uint64_t generation)
{
    const struct condition *condition = &status->conditions[type];
    bool is_fresh = condition->state == CONDITION_ABSENT
        ? status->observed_generation >= generation
        : condition->observed_generation >= generation;
    return is_fresh ? condition : NULL;
}

static bool has(const struct vm_status *status, enum condition_type type,
    enum condition_state state, uint64_t generation)
{
    const struct condition *condition = fresh(status, type, generation);
    return condition && condition->state == state;
}

static bool is_pending(const char *asked, const char *handled)
{
    return asked[0] && !text_eq(asked, handled);
}

/* A restart or a new disk was asked for and has not begun: what runs now is not the answer. */
static bool is_renewing(const struct vm_record *record)
{
    const struct vm_desired *desired = record->desired;
    const struct vm_status *status = record->status;
    return is_pending(desired->restart_token, status->handled_restart_token) ||
        is_pending(desired->recreate_token, status->handled_recreate_token);
}

static bool is_down(const struct vm_record *record, uint64_t generation)
{
    static const enum reason reasons[] = {
        REASON_STOPPED, REASON_GUEST_SHUTDOWN, REASON_GUEST_PANICKED, REASON_PROCESS_EXITED,
        REASON_LIVENESS_FAILED};
    const struct vm_status *status = record->status;
    const struct condition *running = fresh(status, CONDITION_RUNNING, generation);
    if (!running || running->state != CONDITION_FALSE || status->instance.instance_id[0]) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (running->reason == reasons[i]) {
            return true;
        }
    }
    return false;
}

static bool is_suspended(const struct vm_status *status, uint64_t generation)
{
    const struct condition *ready = fresh(status, CONDITION_READY, generation);
    return ready && ready->reason == REASON_SUSPENDED;
}

static bool is_provisioned(const struct vm_record *record, uint64_t generation)
{
    return has(record->status, CONDITION_PROVISIONED, CONDITION_TRUE, generation) &&
        !is_pending(record->desired->provision_token, record->status->handled_provision_token);
}

static bool is_in_sync(const struct vm_status *status, uint64_t generation)
{
    return has(status, CONDITION_SYNCED, CONDITION_TRUE, generation);
}

/* A change that is being brought to the running machine is no drift: it is a moment's work. */
static bool is_applying(const struct vm_status *status)
{
    const struct condition *synced = &status->conditions[CONDITION_SYNCED];
    return synced->state == CONDITION_FALSE && synced->reason == REASON_APPLYING;
}

static bool is_of_provisioning(enum reason reason)
{
    return reason == REASON_STEP_FAILED || reason == REASON_STEP_TIMEOUT ||
        reason == REASON_UPLOAD_FAILED || reason == REASON_INTERRUPTED;
}

/* Provisioning comes last of what Ready needs but the probes: the rest is as it should be. */
static bool lacks_only_steps(const struct vm_status *status, uint64_t generation)
{
    const struct condition *ready = fresh(status, CONDITION_READY, generation);
    return ready && ready->state == CONDITION_FALSE && status->provision.is_failed &&
        is_of_provisioning(ready->reason);
}

static bool is_ready(const struct goal *goal, const struct vm_status *status, uint64_t generation)
{
    return has(status, CONDITION_READY, CONDITION_TRUE, generation) ||
        (goal->ignores_steps && lacks_only_steps(status, generation));
}

static bool is_reached(
    const struct goal *goal, const struct vm_record *record, uint64_t generation)
{
    const struct vm_status *status = record->status;
    switch (goal->kind) {
    case GOAL_READY:
        return is_ready(goal, status, generation) && !is_renewing(record) &&
            (goal->allows_drift ? !is_applying(status) : is_in_sync(status, generation));
    case GOAL_RUNNING:
        return has(status, CONDITION_RUNNING, CONDITION_TRUE, generation) && !is_renewing(record);
    case GOAL_STOPPED:
        return is_down(record, generation);
    case GOAL_SUSPENDED:
        return is_suspended(status, generation);
    case GOAL_PREPARED:
        return has(status, CONDITION_PREPARED, CONDITION_TRUE, generation);
    case GOAL_PROVISIONED:
        return is_provisioned(record, generation) && !is_renewing(record);
    case GOAL_CONDITION:
        return has(status, goal->type, goal->state, generation);
    default:
        return false; /* GOAL_DELETED: there is a record */
    }
}

/* ---- never ---- */

/* The trouble the controller wrote down, with the code it had there. */
static void report_blocker(const struct goal_subject *subject, const struct vm_status *status,
    struct error *err)
{
    const struct vm_blocker *blocker = &status->blocker;
    const struct condition *stalled = &status->conditions[CONDITION_STALLED];
    const char *message = blocker->message ? blocker->message
        : stalled->message                 ? stalled->message
                                           : reason_name(stalled->reason);
    enum error_code code = ERR_VM_FAILED;
    for (int i = 1; blocker->code && i < ERR_CODE_COUNT_; i++) {
        if (text_eq(error_code_name((enum error_code)i), blocker->code) &&
            error_exit_status((enum error_code)i) == error_exit_status(ERR_VM_FAILED)) {
            code = (enum error_code)i;
        }
    }
    cleanup_free char *named = mem_printf("vm '%s'", subject->name);
    bool is_named = strstr(message, named) != NULL;
    (void)error_set(
        err, code, "%s%s%s", is_named ? "" : named, is_named ? "" : ": ", message);
    if (blocker->help && blocker->help[0]) {
        (void)error_help(err, "%s", blocker->help);
    }
}

/* A failed provision step is no obstacle to a stop, a deletion, a suspension. */
static bool is_stalled_for(
    const struct goal *goal, const struct vm_status *status, uint64_t generation)
{
    const struct condition *stalled = fresh(status, CONDITION_STALLED, generation);
    if (!stalled || stalled->state != CONDITION_TRUE) {
        return false;
    }
    bool cares = (goal->kind == GOAL_READY && !goal->ignores_steps) || goal->kind == GOAL_PROVISIONED ||
        (goal->kind == GOAL_CONDITION &&
            (goal->type == CONDITION_READY || goal->type == CONDITION_PROVISIONED));
    return cares || !is_of_provisioning(stalled->reason);
}

/* What the user asked for meanwhile, or long ago, excludes the goal: the word for it, else NULL. */
static const char *contrary_power(const struct goal *goal, enum power power)
{
    bool needs_guest = goal->kind == GOAL_READY || goal->kind == GOAL_RUNNING ||
        goal->kind == GOAL_PROVISIONED;
    if (power == POWER_STOPPED && (needs_guest || goal->kind == GOAL_SUSPENDED)) {
        return "stopped";
    }
    return power == POWER_SUSPENDED && needs_guest ? "suspended" : NULL;
}

/* Somebody else's later wish took back the stop or suspension that is waited for. */
static bool is_taken_back(const struct goal *goal, enum power power)
{
    return goal->is_desired && ((goal->kind == GOAL_STOPPED && power != POWER_STOPPED) ||
                                  (goal->kind == GOAL_SUSPENDED && power == POWER_RUNNING));
}

static bool has_drifted(
    const struct goal *goal, const struct vm_record *record, uint64_t generation)
{
    const struct condition *synced = fresh(record->status, CONDITION_SYNCED, generation);
    return goal->kind == GOAL_READY && !goal->allows_drift && synced && !is_renewing(record) &&
        synced->state == CONDITION_FALSE &&
        (synced->reason == REASON_RESTART_REQUIRED || synced->reason == REASON_RECREATE_REQUIRED ||
            synced->reason == REASON_PROVISION_OUTDATED ||
            synced->reason == REASON_SOURCE_INVALID);
}

static void report_drift(
    const struct goal_subject *subject, const struct vm_status *status, struct error *err)
{
    const struct condition *synced = &status->conditions[CONDITION_SYNCED];
    if (synced->reason == REASON_SOURCE_INVALID) {
        (void)error_set(err, ERR_VMFILE_INVALID, "vm '%s' is not what its VMFile says now: %s",
            subject->name, synced->message ? synced->message : "it is not valid");
        (void)error_help(err, "put the VMFile right (vmctl watch --list), or accept it: "
            "--allow-drift");
        return;
    }
    if (synced->reason == REASON_PROVISION_OUTDATED) {
        (void)error_set(err, ERR_VM_FAILED, "vm '%s' does not run as its spec says: %s",
            subject->name, synced->message ? synced->message : "its provision steps changed");
        (void)error_help(
            err, "vmctl provision --name %s, or accept it: --allow-drift", subject->name);
        return;
    }
    bool needs_restart = synced->reason == REASON_RESTART_REQUIRED;
    (void)error_set(err, ERR_VM_FAILED, "vm '%s' does not run as its spec says: %s required (%s)",
        subject->name, needs_restart ? "restart" : "recreate",
        synced->message ? synced->message : "");
    (void)error_help(err, "%s, or accept it: --allow-drift",
        needs_restart ? "vmctl up --restart" : "vmctl up --recreate (erases the disk)");
}

static bool is_hopeless(const struct goal *goal, const struct goal_subject *subject,
    const struct vm_record *record, struct error *err)
{
    const struct vm_desired *desired = record->desired;
    if (goal->kind != GOAL_DELETED && desired->is_deleting) {
        (void)error_set(err, ERR_VM_DELETING, "vm '%s' is being deleted", subject->name);
        (void)error_help(err, "wait until it is gone: vmctl wait %s --deleted", subject->name);
        return true;
    }
    if (goal->kind == GOAL_DELETED && !desired->is_deleting) {
        return false; /* somebody else may delete it yet; its troubles are not ours */
    }
    const char *contrary = contrary_power(goal, desired->power);
    if (contrary) {
        (void)error_set(err, ERR_VM_FAILED, "vm '%s' is not meant to run: it was %s",
            subject->name, contrary);
        (void)error_help(err, "start it: vmctl start %s", subject->name);
        return true;
    }
    if (is_taken_back(goal, desired->power)) {
        (void)error_set(err, ERR_VM_FAILED, "vm '%s' is not %s: another command started it since",
            subject->name, goal_word(goal));
        (void)error_help(err, "see what it is meant to be: vmctl status %s", subject->name);
        return true;
    }
    if (!record->status) {
        return false;
    }
    if (is_stalled_for(goal, record->status, subject->generation)) {
        report_blocker(subject, record->status, err);
        return true;
    }
    if (has_drifted(goal, record, subject->generation)) {
        report_drift(subject, record->status, err);
        return true;
    }
    return false;
}

bool goal_ignored_steps(const struct goal *goal, const struct vm_record *record)
{
    return goal_resolve(goal, record).kind == GOAL_READY && goal->ignores_steps &&
        !vm_status_is_true(record->status, CONDITION_READY);
}

/* ---- who ---- */

static enum goal_result check_absent(
    const struct goal *goal, const struct goal_subject *subject, struct error *err)
{
    if (goal->kind == GOAL_DELETED) {
        return GOAL_REACHED;
    }
    (void)error_set(err, ERR_VM_NOT_FOUND, "vm '%s' was deleted meanwhile", subject->name);
    return GOAL_FAILED;
}

static enum goal_result check_successor(
    const struct goal *goal, const struct goal_subject *subject, struct error *err)
{
    if (goal->kind == GOAL_DELETED) {
        return GOAL_REACHED;
    }
    (void)error_set(err, ERR_VM_CONFLICT,
        "vm '%s' was deleted meanwhile, and another one of that name was made", subject->name);
    return GOAL_FAILED;
}

enum goal_result goal_check(const struct goal *goal, const struct goal_subject *subject,
    const struct vm_record *record, struct error *err)
{
    if (!record->desired) {
        return check_absent(goal, subject, err);
    }
    if (!text_eq(record->desired->uid, subject->uid)) {
        return check_successor(goal, subject, err);
    }
    const struct vm_status *status = record->status;
    const struct goal resolved = goal_resolve(goal, record);
    bool is_seen = status && text_eq(status->uid, subject->uid) && subject->session[0] &&
        text_eq(status->observer, subject->session) &&
        status->observed_generation >= subject->generation;
    if (is_seen && is_reached(&resolved, record, subject->generation)) {
        return GOAL_REACHED;
    }
    struct vm_record known = *record; /* a status of the name's former owner says nothing */
    known.status = is_seen ? record->status : NULL;
    return is_hopeless(&resolved, subject, &known, err) ? GOAL_FAILED : GOAL_PENDING;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/goal.h"

#include <stddef.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
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
        [GOAL_SNAPSHOT] = "done",
        [GOAL_VOLUME] = "attached",
        [GOAL_SETTLED] = "settled",
    };
    _Static_assert(ARRAY_LEN(words) == GOAL_KIND_COUNT_, "every kind has a word");
    return goal->kind == GOAL_CONDITION                  ? condition_type_name(goal->type)
           : goal->kind == GOAL_VOLUME && goal->detaches ? "detached"
                                                         : words[goal->kind];
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
    if (record->desired &&
        (goal->kind == GOAL_SETTLED ||
            (goal->kind == GOAL_VOLUME && record->desired->power != POWER_RUNNING))) {
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

static bool is_recreation_pending(const struct vm_record *record)
{
    return is_pending(record->desired->recreate_token, record->status->handled_recreate_token);
}

/* A new disk that cannot be made stays requested, whatever is requested besides. */
static bool needs_recreation(const struct goal *goal)
{
    return (goal->kind == GOAL_READY && !goal->ignores_steps) || goal->kind == GOAL_PROVISIONED;
}

/* A restart or a new disk was requested and has not begun: what runs now does not count. */
static bool is_renewing(const struct goal *goal, const struct vm_record *record)
{
    bool is_ignored = record->status->recreate_failure.code && !needs_recreation(goal);
    return is_pending(record->desired->restart_token, record->status->handled_restart_token) ||
           (is_recreation_pending(record) && !is_ignored);
}

/* A request is recorded only once the one before it is over, so that one's own is. */
static bool is_followed_by_another(const struct goal *goal, const struct vm_record *record)
{
    return goal->order && !text_eq(goal->token, record->desired->snapshot.token);
}

/* What is made has the token's name: of `restore` the disk that was replaced. */
static bool shows_snapshot(const struct goal *goal, const struct vm_status *status)
{
    bool has_name = false, has_file = false;
    for (uint32_t i = 0; i < status->n_snapshots; i++) {
        has_name |= text_eq(status->snapshots[i].name, goal->order->name);
        has_file |= text_eq(status->snapshots[i].file, goal->token);
    }
    return goal->order->verb == SNAPSHOT_REMOVE ? !has_name : has_file;
}

static bool is_snapshot_done(const struct goal *goal, const struct vm_record *record)
{
    const struct vm_status *status = record->status;
    return is_followed_by_another(goal, record)
               ? shows_snapshot(goal, status)
               : !is_pending(record->desired->snapshot.token, status->handled_snapshot_token) &&
                     !status->snapshot_failure.code;
}

static const struct spec_volume *find_volume(const struct vm_desired *desired, const char *name)
{
    const struct spec_volume *found = vm_spec_volume(desired->spec, name);
    for (uint32_t i = 0; !found && i < desired->n_volumes; i++) {
        found = text_eq(desired->volumes[i].name, name) ? &desired->volumes[i] : NULL;
    }
    return found;
}

/* Another command, or the VMFile, asks for the opposite since. */
static bool is_volume_taken_back(const struct goal *goal, const struct vm_desired *desired)
{
    return (goal->attaches && !find_volume(desired, goal->attaches->name)) ||
           (goal->detaches && find_volume(desired, goal->detaches));
}

/* What the machine has is what is asked for now, which may be more than this command did. */
static bool is_volume_settled(
    const struct goal *goal, const struct vm_record *record, uint64_t generation)
{
    const struct vm_status *status = record->status;
    const struct vm_spec *running = vm_status_running_spec(status);
    const char *name = goal->attaches ? goal->attaches->name : goal->detaches;
    const struct spec_volume *wanted = find_volume(record->desired, name);
    const struct spec_volume *present = running ? vm_spec_volume(running, name) : NULL;
    if (!wanted) {
        return !present;
    }
    return present && text_eq(present->mount, wanted->mount) &&
           present->size_gib == wanted->size_gib &&
           has(status, CONDITION_RUNNING, CONDITION_TRUE, generation) &&
           (!wanted->mount || has(status, CONDITION_MOUNTED, CONDITION_TRUE, generation));
}

static bool has_run_ended(const struct goal *goal, const struct vm_status *status)
{
    return goal->token[0] && status && text_eq(goal->token, status->ended_provision_token);
}

/* The steps before the one that another command's run begins with, `provision --from`, were not run
 * for this one, or are not known to have been. */
static bool is_run_overtaken(const struct goal *goal, const struct vm_record *record)
{
    const struct vm_desired *desired = record->desired;
    const struct vm_status *status = record->status;
    uint32_t own = goal->from ? goal->from : 1;
    return goal->kind == GOAL_PROVISIONED && goal->token[0] &&
           !text_eq(goal->token, desired->provision_token) && desired->provision_from > own &&
           !has_run_ended(goal, status);
}

static bool is_down(const struct vm_record *record, uint64_t generation)
{
    static const enum reason reasons[] = {REASON_STOPPED, REASON_HOST_SHUTDOWN,
        REASON_GUEST_SHUTDOWN, REASON_GUEST_PANICKED, REASON_PROCESS_EXITED, REASON_LIVENESS_FAILED,
        REASON_OOM_KILLED};
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

/* A difference that waits for the user. A change that is being applied to the running machine takes
 * a moment, and one that could not be, such as a forward of a port that is taken, is a failure. */
static bool is_drift(const struct vm_status *status)
{
    const struct condition *synced = &status->conditions[CONDITION_SYNCED];
    return synced->reason == REASON_RESTART_REQUIRED ||
           synced->reason == REASON_RECREATE_REQUIRED ||
           synced->reason == REASON_PROVISION_OUTDATED || synced->reason == REASON_SOURCE_INVALID;
}

static bool is_of_provisioning(enum reason reason)
{
    return reason == REASON_STEP_FAILED || reason == REASON_STEP_TIMEOUT ||
           reason == REASON_UPLOAD_FAILED || reason == REASON_INTERRUPTED;
}

/* A VM whose steps failed lacks nothing else but the probes: Ready requires provisioning last. */
static bool is_ready(const struct goal *goal, const struct vm_status *status, uint64_t generation)
{
    const struct condition *ready = fresh(status, CONDITION_READY, generation);
    bool lacks_only_steps = ready && ready->state == CONDITION_FALSE &&
                            status->provision.is_failed && is_of_provisioning(ready->reason);
    return has(status, CONDITION_READY, CONDITION_TRUE, generation) ||
           (goal->ignores_steps && lacks_only_steps);
}

static bool is_reached(const struct goal *goal, const struct vm_record *record, uint64_t generation)
{
    const struct vm_status *status = record->status;
    const struct condition *ready = fresh(status, CONDITION_READY, generation);
    switch (goal->kind) {
    case GOAL_READY:
        return is_ready(goal, status, generation) && !is_renewing(goal, record) &&
               (has(status, CONDITION_SYNCED, CONDITION_TRUE, generation) ||
                   (goal->allows_drift && is_drift(status)));
    case GOAL_RUNNING:
        return has(status, CONDITION_RUNNING, CONDITION_TRUE, generation) &&
               !is_renewing(goal, record);
    case GOAL_STOPPED:
        return is_down(record, generation);
    case GOAL_SUSPENDED:
        return ready && ready->reason == REASON_SUSPENDED;
    case GOAL_PREPARED:
        return has(status, CONDITION_PREPARED, CONDITION_TRUE, generation);
    case GOAL_PROVISIONED: /* by its own run, whatever another one is at */
        return !is_renewing(goal, record) && !is_run_overtaken(goal, record) &&
               ((has(status, CONDITION_PROVISIONED, CONDITION_TRUE, generation) &&
                    !is_pending(
                        record->desired->provision_token, status->handled_provision_token)) ||
                   has_run_ended(goal, status));
    case GOAL_VOLUME:
        return is_volume_settled(goal, record, generation);
    case GOAL_SNAPSHOT:
        return is_snapshot_done(goal, record);
    case GOAL_CONDITION:
        return has(status, goal->type, goal->state, generation);
    default:
        return false; /* GOAL_DELETED: there is a record */
    }
}

/* ---- unreachable ---- */

/* The error the controller wrote down, with the code it had there. */
static void report_blocker(const struct goal_subject *subject, const struct vm_status *status,
    const struct vm_blocker *blocker, struct error *err)
{
    const struct condition *stalled = &status->conditions[CONDITION_STALLED];
    const char *message = blocker->message   ? blocker->message
                          : stalled->message ? stalled->message
                                             : reason_name(stalled->reason);
    enum error_code code = error_code_find(blocker->code);
    if (!code || error_exit_status(code) != error_exit_status(ERR_VM_FAILED)) {
        code = ERR_VM_FAILED;
    }
    cleanup_free char *named = mem_printf("vm '%s'", subject->name);
    bool is_named = strstr(message, named) != NULL;
    (void)error_set(err, code, "%s%s%s", is_named ? "" : named, is_named ? "" : ": ", message);
    if (blocker->help && blocker->help[0]) {
        (void)error_help(err, "%s", blocker->help);
    }
}

/* What a row is tested on. `generation` is the one the goal is for. */
struct question {
    const struct goal *goal;
    const struct vm_record *record;
    uint64_t generation;
    bool is_dependency_coming;
};

/* Conditions that turn true only while the machine runs. */
static bool needs_guest(const struct goal *goal)
{
    if (goal->kind == GOAL_CONDITION) {
        return goal->state == CONDITION_TRUE &&
               (goal->type == CONDITION_RUNNING || goal->type == CONDITION_GUEST_REACHABLE ||
                   goal->type == CONDITION_CLOUD_INIT_DONE || goal->type == CONDITION_MOUNTED ||
                   goal->type == CONDITION_SHARED || goal->type == CONDITION_FORWARDED ||
                   goal->type == CONDITION_PROVISIONED || goal->type == CONDITION_READY);
    }
    return goal->kind == GOAL_READY || goal->kind == GOAL_RUNNING ||
           goal->kind == GOAL_PROVISIONED || goal->kind == GOAL_VOLUME;
}

static bool is_deleting(const struct question *question)
{
    return question->goal->kind != GOAL_DELETED && question->record->desired->is_deleting;
}

/* It was stopped or suspended, and the goal needs it otherwise. */
static bool is_meant_off(const struct question *question)
{
    enum power power = question->record->desired->power;
    return (needs_guest(question->goal) && power != POWER_RUNNING) ||
           (question->goal->kind == GOAL_SUSPENDED && power == POWER_STOPPED);
}

/* The host goes down: no command, not even of the user's, starts it now. */
static bool is_halted(const struct question *question)
{
    return needs_guest(question->goal) &&
           vm_desired_is_halted(question->record->desired, clock_system());
}

/* A later change of another command took back the stop or the suspension. */
static bool is_taken_back(const struct question *question)
{
    const struct goal *goal = question->goal;
    enum power power = question->record->desired->power;
    return goal->is_desired && ((goal->kind == GOAL_STOPPED && power != POWER_STOPPED) ||
                                   (goal->kind == GOAL_SUSPENDED && power == POWER_RUNNING));
}

static bool has_recreation_failed(const struct question *question)
{
    const struct vm_status *status = question->record->status;
    return status && status->recreate_failure.code && is_recreation_pending(question->record) &&
           needs_recreation(question->goal);
}

/* A halt for the host's shutdown leaves the generation as it is, so what the status has is of
 * before: a guest that nobody could log in to is shut down all the same. */
static bool is_of_before_halt(const struct question *question, enum reason reason)
{
    return question->goal->kind == GOAL_STOPPED && question->record->desired->halt_owner &&
           question->record->desired->power != POWER_STOPPED && reason != REASON_UNKILLABLE;
}

static bool is_volume_reversed(const struct question *question)
{
    return is_volume_taken_back(question->goal, question->record->desired);
}

static bool is_overtaken(const struct question *question)
{
    return is_run_overtaken(question->goal, question->record);
}

/* An attached volume is mounted in the guest, once its cloud-init has ended well, and one that is
 * detached is unmounted there: what else is wrong with the VM is in the way of neither. */
static bool is_guests_matter(const struct question *question, enum reason reason)
{
    const struct goal *goal = question->goal;
    const struct vm_status *status = question->record->status;
    const struct vm_spec *spec = question->record->desired->spec;
    bool needs_it = goal->detaches ? vm_spec_expects_ssh(spec) : goal->attaches->mount != NULL;
    bool is_set_up =
        goal->detaches || status->conditions[CONDITION_CLOUD_INIT_DONE].state != CONDITION_FALSE;
    bool is_there = vm_status_is_true(status, CONDITION_GUEST_REACHABLE) && is_set_up;
    bool is_of_guest = reason_is_lateness(reason) || reason == REASON_AUTH_FAILED ||
                       reason == REASON_HOST_KEY_MISMATCH || reason == REASON_SSH_PORT_CLOSED ||
                       reason == REASON_CLOUD_INIT_FAILED;
    bool is_of_setup = reason == REASON_SECRET_MISSING || reason == REASON_FORWARD_FAILED ||
                       is_of_provisioning(reason);
    bool is_of_share = reason == REASON_SHARE_FAILED; /* which is mounted with it */
    return vm_status_is_true(status, CONDITION_RUNNING) &&
           (is_of_setup || (is_of_guest && (!needs_it || is_there)) || (is_of_share && !needs_it));
}

/* A failed cloud-init or provision step does not prevent a stop, a deletion, a suspension; nor does
 * a new disk that cannot be made: the VM keeps the present one. */
static bool is_stalled(const struct question *question)
{
    const struct goal *goal = question->goal;
    const struct vm_status *status = question->record->status;
    const struct condition *stalled =
        status ? fresh(status, CONDITION_STALLED, question->generation) : NULL;
    if (stalled && status->recreate_failure.message &&
        text_eq(status->recreate_failure.message, status->blocker.message)) {
        return false;
    }
    if (!stalled || stalled->state != CONDITION_TRUE || goal->kind == GOAL_SNAPSHOT ||
        is_of_before_halt(question, stalled->reason)) {
        return false;
    }
    if ((goal->is_patient && reason_is_lateness(stalled->reason)) ||
        (question->is_dependency_coming && stalled->reason == REASON_WAITING_FOR_DEPENDENCY)) {
        return false;
    }
    if (goal->kind == GOAL_VOLUME) {
        return !is_guests_matter(question, stalled->reason);
    }
    bool needs_setup = goal->kind == GOAL_READY || goal->kind == GOAL_PROVISIONED ||
                       (goal->kind == GOAL_CONDITION &&
                           (goal->type == CONDITION_READY || goal->type == CONDITION_PROVISIONED));
    if (stalled->reason == REASON_CLOUD_INIT_FAILED) {
        return needs_setup ||
               (goal->kind == GOAL_CONDITION && goal->type == CONDITION_CLOUD_INIT_DONE);
    }
    bool needs_steps = needs_setup && !(goal->kind == GOAL_READY && goal->ignores_steps);
    return needs_steps || !is_of_provisioning(stalled->reason);
}

static bool has_snapshot_failed(const struct question *question)
{
    const struct vm_status *status = question->record->status;
    return question->goal->kind == GOAL_SNAPSHOT && status && status->snapshot_failure.code &&
           !is_followed_by_another(question->goal, question->record) &&
           !is_pending(question->record->desired->snapshot.token, status->handled_snapshot_token);
}

static bool is_snapshot_unknown(const struct question *question)
{
    const struct vm_status *status = question->record->status;
    return question->goal->kind == GOAL_SNAPSHOT && status &&
           is_followed_by_another(question->goal, question->record) &&
           !shows_snapshot(question->goal, status);
}

static bool has_drifted(const struct question *question, enum reason reason)
{
    const struct vm_record *record = question->record;
    const struct condition *synced =
        record->status ? fresh(record->status, CONDITION_SYNCED, question->generation) : NULL;
    return question->goal->kind == GOAL_READY && !question->goal->allows_drift && synced &&
           !is_renewing(question->goal, record) && synced->state == CONDITION_FALSE &&
           synced->reason == reason;
}

/* Why a goal cannot be reached; the first row that applies counts. In the texts {vm} is the VM's
 * name, {goal} the goal's word, {power} what the VM is meant to be and {why} Synced's message, or
 * `why` when it has none. */
static const struct refusal {
    bool (*applies)(const struct question *question);
    enum reason drift; /* instead: why the running VM does not match its spec */
    enum error_code code;
    const char *text; /* NULL: the controller's own error, … */
    size_t blocker;   /* … which is there in its status */
    const char *help;
    const char *why;
} refusals[] = {
    {.applies = is_deleting,
        .code = ERR_VM_DELETING,
        .text = "vm '{vm}' is being deleted",
        .help = "wait until it is gone: vmctl wait {vm} --deleted"},
    {.applies = is_meant_off,
        .code = ERR_VM_FAILED,
        .text = "vm '{vm}' is not meant to run: it was {power}",
        .help = "start it: vmctl start {vm}"},
    {.applies = is_halted,
        .code = ERR_VM_FAILED,
        .text = "vm '{vm}' stays down: the VMs were shut down with the host",
        .help = "it is started when the host has booted; to start all now: vmctl controller start"},
    {.applies = is_taken_back,
        .code = ERR_VM_FAILED,
        .text = "vm '{vm}' is not {goal}: another command started it since",
        .help = "see its desired state: vmctl status {vm}"},
    {.applies = is_volume_reversed,
        .code = ERR_VM_FAILED,
        .text = "vm '{vm}': the volume is not {goal}: another command undid the request",
        .help = "see its volumes: vmctl describe {vm}; vmctl volume list"},
    {.applies = is_overtaken,
        .code = ERR_VM_FAILED,
        .text =
            "vm '{vm}': another command ran the provision steps (--from) before this run had ended",
        .help = "run them again: vmctl provision --name {vm}"},
    {.applies = has_snapshot_failed, .blocker = offsetof(struct vm_status, snapshot_failure)},
    {.applies = is_snapshot_unknown,
        .code = ERR_VM_FAILED,
        .text = "vm '{vm}': the result of this request is unknown, as another one followed: it "
                "failed, or it was undone",
        .help = "see: vmctl events {vm}; vmctl snapshot list {vm}"},
    {.applies = has_recreation_failed, .blocker = offsetof(struct vm_status, recreate_failure)},
    {.applies = is_stalled, .blocker = offsetof(struct vm_status, blocker)},
    {.drift = REASON_SOURCE_INVALID,
        .code = ERR_VMFILE_INVALID,
        .text = "vm '{vm}' does not match its current VMFile: {why}",
        .help = "fix the VMFile (vmctl watch --list), or accept it: --allow-drift",
        .why = "it is not valid"},
    {.drift = REASON_PROVISION_OUTDATED,
        .code = ERR_VM_FAILED,
        .text = "vm '{vm}' does not match its spec: {why}",
        .help = "vmctl provision --name {vm}, or accept it: --allow-drift",
        .why = "its provision steps changed"},
    {.drift = REASON_RESTART_REQUIRED,
        .code = ERR_VM_FAILED,
        .text = "vm '{vm}' does not match its spec: restart required ({why})",
        .help = "vmctl up --restart, or accept it: --allow-drift",
        .why = ""},
    {.drift = REASON_RECREATE_REQUIRED,
        .code = ERR_VM_FAILED,
        .text = "vm '{vm}' does not match its spec: recreate required ({why})",
        .help = "vmctl up --recreate (replaces the disk), or accept it: --allow-drift",
        .why = ""},
};

/* free() it. */
static char *expand(const char *text, const struct refusal *refusal,
    const struct goal_subject *subject, const struct question *question)
{
    const struct vm_status *status = question->record->status;
    const char *why = status ? status->conditions[CONDITION_SYNCED].message : NULL;
    const struct {
        const char *mark, *value;
    } marks[] = {
        {"{vm}", subject->name},
        {"{goal}", goal_word(question->goal)},
        {"{power}", power_name(question->record->desired->power)},
        {"{why}", why ? why : refusal->why},
    };
    struct buf out = BUF_INIT(0);
    while (*text) {
        size_t i = 0;
        while (i < ARRAY_LEN(marks) && !text_starts_with(text, marks[i].mark)) {
            i++;
        }
        if (i < ARRAY_LEN(marks)) {
            buf_add_str(&out, marks[i].value);
            text += strlen(marks[i].mark);
        } else {
            buf_add_char(&out, *text++);
        }
    }
    return buf_steal(&out);
}

static bool goal_is_unreachable(
    const struct question *question, const struct goal_subject *subject, struct error *err)
{
    if (question->goal->kind == GOAL_DELETED && !question->record->desired->is_deleting) {
        return false; /* another command may delete it yet; its errors are not ours */
    }
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        const struct refusal *refusal = &refusals[i];
        if (refusal->applies ? !refusal->applies(question)
                             : !has_drifted(question, refusal->drift)) {
            continue;
        }
        if (!refusal->text) {
            const char *status = (const char *)question->record->status;
            report_blocker(subject, question->record->status,
                (const struct vm_blocker *)(const void *)(status + refusal->blocker), err);
            return true;
        }
        cleanup_free char *text = expand(refusal->text, refusal, subject, question);
        cleanup_free char *help = expand(refusal->help, refusal, subject, question);
        (void)error_set(err, refusal->code, "%s", text);
        (void)error_help(err, "%s", help);
        return true;
    }
    return false;
}

bool goal_ignored_steps(const struct goal *goal, const struct vm_record *record)
{
    return goal_resolve(goal, record).kind == GOAL_READY && goal->ignores_steps &&
           !vm_status_is_true(record->status, CONDITION_READY);
}

enum goal_result goal_check(const struct goal *goal, const struct goal_subject *subject,
    const struct vm_record *record, struct error *err)
{
    bool is_other = record->desired && !text_eq(record->desired->uid, subject->uid);
    if (!record->desired || is_other) {
        if (goal->kind == GOAL_DELETED) {
            return GOAL_REACHED;
        }
        (void)error_set(err, is_other ? ERR_VM_CONFLICT : ERR_VM_NOT_FOUND,
            "vm '%s' was deleted meanwhile%s", subject->name,
            is_other ? ", and another one of that name was created" : "");
        return GOAL_FAILED;
    }
    const struct vm_status *status = record->status;
    const struct goal resolved = goal_resolve(goal, record);
    bool is_seen = status && text_eq(status->uid, subject->uid) && subject->session[0] &&
                   (subject->has_observed_all || text_eq(status->observer, subject->session)) &&
                   status->observed_generation >= subject->generation;
    if (is_seen && !is_volume_taken_back(goal, record->desired) &&
        is_reached(&resolved, record, subject->generation)) {
        return GOAL_REACHED;
    }
    struct vm_record known = *record; /* a status of the name's former owner does not count */
    known.status = is_seen ? record->status : NULL;
    const struct question question = {
        &resolved, &known, subject->generation, subject->is_dependency_coming};
    return goal_is_unreachable(&question, subject, err) ? GOAL_FAILED : GOAL_PENDING;
}

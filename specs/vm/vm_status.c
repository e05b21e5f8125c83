/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"

static const char *const intent_names[] = {
    [INTENT_NONE] = "none",
    [INTENT_START] = "start",
    [INTENT_STOP] = "stop",
};
_Static_assert(ARRAY_LEN(intent_names) == INTENT_COUNT_, "every journal state has a name");

static const char *const exit_cause_names[] = {
    [EXIT_NONE] = "None",
    [EXIT_BY_USER] = "ByUser",
    [EXIT_GUEST_SHUTDOWN] = "GuestShutdown",
    [EXIT_GUEST_PANIC] = "GuestPanic",
    [EXIT_INTERNAL_ERROR] = "InternalError",
    [EXIT_PROCESS_DIED] = "ProcessDied",
    [EXIT_START_FAILED] = "StartFailed",
    [EXIT_HOST_REBOOT] = "HostReboot",
    [EXIT_LIVENESS_FAILED] = "LivenessFailed",
};
_Static_assert(ARRAY_LEN(exit_cause_names) == EXIT_CAUSE_COUNT_, "every cause has a name");

static const char *const step_outcome_names[] = {
    [STEP_NOT_RUN] = "NotRun",
    [STEP_DONE] = "Done",
    [STEP_FAILED] = "Failed",
    [STEP_TIMED_OUT] = "TimedOut",
    [STEP_INTERRUPTED] = "Interrupted",
};
_Static_assert(
    ARRAY_LEN(step_outcome_names) == STEP_OUTCOME_COUNT_, "every outcome of a step has a name");

const char *step_outcome_name(enum step_outcome outcome)
{
    return step_outcome_names[outcome];
}

const char *intent_name(enum intent intent)
{
    return intent_names[intent];
}

const char *exit_cause_name(enum exit_cause cause)
{
    return exit_cause_names[cause];
}

/* Where the owned strings are, so that freeing, copying and comparing cannot forget one. */
static const size_t text_offsets[] = {
    offsetof(struct vm_status, instance.accel),
    offsetof(struct vm_status, restart.last_message),
    offsetof(struct vm_status, prepared.image_path),
    offsetof(struct vm_status, provision.done),
    offsetof(struct vm_status, probing.failure),
    offsetof(struct vm_status, probing.live.failure),
    offsetof(struct vm_status, blocker.code),
    offsetof(struct vm_status, blocker.message),
    offsetof(struct vm_status, blocker.help),
    offsetof(struct vm_status, ssh_host),
    offsetof(struct vm_status, mac),
    offsetof(struct vm_status, vnc),
};

static char **text_at(struct vm_status *status, size_t i)
{
    return (char **)(void *)((char *)status + text_offsets[i]);
}

static const char *text_of(const struct vm_status *status, size_t i)
{
    return *(char *const *)(const void *)((const char *)status + text_offsets[i]);
}

struct vm_status *vm_status_new(const char *uid)
{
    struct vm_status *status = mem_new(struct vm_status);
    (void)snprintf(status->uid, sizeof(status->uid), "%s", uid);
    status->restart.last_exit_status = -1;
    status->provision.last_exit_status = -1;
    return status;
}

void vm_status_free(struct vm_status *status)
{
    if (!status) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(text_offsets); i++) {
        free(*text_at(status, i));
    }
    for (int i = 0; i < CONDITION_TYPE_COUNT_; i++) {
        free(status->conditions[i].message);
    }
    json_decref(status->applied_spec);
    free(status->provision.steps);
    free(status);
}

struct vm_status *vm_status_copy(const struct vm_status *status)
{
    struct vm_status *copy = mem_dup(status, sizeof(*status));
    for (size_t i = 0; i < ARRAY_LEN(text_offsets); i++) {
        *text_at(copy, i) = mem_strdup(text_of(status, i));
    }
    for (int i = 0; i < CONDITION_TYPE_COUNT_; i++) {
        copy->conditions[i].message = mem_strdup(status->conditions[i].message);
    }
    size_t n_steps = status->provision.n_steps;
    copy->provision.steps =
        n_steps ? mem_dup(status->provision.steps, n_steps * sizeof(*status->provision.steps)) : NULL;
    copy->applied_spec = json_incref(status->applied_spec); /* shared: never changed in place */
    return copy;
}

struct vm_spec *vm_status_applied_spec(const struct vm_status *status)
{
    struct error ignored = {.code = ERR_NONE};
    return status->applied_spec ? vm_spec_from_json(status->applied_spec, &ignored) : NULL;
}

static bool conditions_equal(const struct condition *a, const struct condition *b)
{
    return a->state == b->state && a->reason == b->reason &&
           a->last_transition_ms == b->last_transition_ms &&
           a->observed_generation == b->observed_generation && text_eq(a->message, b->message);
}

static bool instances_equal(const struct vm_instance *a, const struct vm_instance *b)
{
    return text_eq(a->instance_id, b->instance_id) && a->intent == b->intent && text_eq(a->boot_id, b->boot_id) &&
           a->pid == b->pid && a->start_ticks == b->start_ticks &&
           a->started_at_ms == b->started_at_ms && a->start_deadline_ms == b->start_deadline_ms &&
           a->stop_deadline_ms == b->stop_deadline_ms && a->cause == b->cause &&
           a->is_foreign == b->is_foreign;
}

static bool restarts_equal(const struct vm_restart *a, const struct vm_restart *b)
{
    return a->count == b->count && text_eq(a->last_failed_instance_id, b->last_failed_instance_id) &&
           a->not_before_ms == b->not_before_ms && a->last_cause == b->last_cause &&
           a->last_exit_status == b->last_exit_status && a->held_generation == b->held_generation;
}

static bool preparations_equal(const struct vm_prepared *a, const struct vm_prepared *b)
{
    return text_eq(a->digest, b->digest) && text_eq(a->image_id, b->image_id) &&
           a->disk_gib == b->disk_gib;
}

static bool step_runs_equal(const struct vm_step_run *a, const struct vm_step_run *b)
{
    return text_eq(a->instance_id, b->instance_id) && a->tries == b->tries &&
           a->started_at_ms == b->started_at_ms && a->log_begin == b->log_begin;
}

static bool step_records_equal(const struct vm_step_record *a, const struct vm_step_record *b)
{
    return text_eq(a->content, b->content) && a->outcome == b->outcome &&
           a->exit_status == b->exit_status && a->ended_at_ms == b->ended_at_ms &&
           a->duration_ms == b->duration_ms;
}

static bool provisions_equal(const struct vm_provision *a, const struct vm_provision *b)
{
    if (a->n_steps != b->n_steps) {
        return false;
    }
    for (uint32_t i = 0; i < a->n_steps; i++) {
        if (!step_records_equal(&a->steps[i], &b->steps[i])) {
            return false;
        }
    }
    return text_eq(a->digest, b->digest) && a->next_step == b->next_step && a->total == b->total &&
           text_eq(a->ran_digest, b->ran_digest) &&
           a->asked_step == b->asked_step && a->last_exit_status == b->last_exit_status &&
           text_eq(a->token, b->token) && a->is_failed == b->is_failed &&
           step_runs_equal(&a->run, &b->run);
}

static bool probings_equal(const struct vm_probing *a, const struct vm_probing *b)
{
    return a->is_passed == b->is_passed && a->unready_since_ms == b->unready_since_ms &&
           a->live.has_passed == b->live.has_passed && a->live.failures == b->live.failures &&
           a->live.due_ms == b->live.due_ms;
}

static bool own_fields_equal(const struct vm_status *a, const struct vm_status *b)
{
    return text_eq(a->uid, b->uid) && text_eq(a->observer, b->observer) &&
           a->observed_generation == b->observed_generation &&
           a->applied_generation == b->applied_generation &&
           text_eq(a->handled_restart_token, b->handled_restart_token) &&
           text_eq(a->handled_recreate_token, b->handled_recreate_token) &&
           text_eq(a->handled_provision_token, b->handled_provision_token) &&
           a->was_reached == b->was_reached && probings_equal(&a->probing, &b->probing) &&
           a->ssh_port == b->ssh_port;
}

/* Field by field, not by JSON: it runs once in every reconciliation that changed nothing. */
bool vm_status_equal(const struct vm_status *a, const struct vm_status *b)
{
    for (size_t i = 0; i < ARRAY_LEN(text_offsets); i++) {
        if (!text_eq(text_of(a, i), text_of(b, i))) {
            return false;
        }
    }
    for (int i = 0; i < CONDITION_TYPE_COUNT_; i++) {
        if (!conditions_equal(&a->conditions[i], &b->conditions[i])) {
            return false;
        }
    }
    bool specs_equal =
        a->applied_spec == b->applied_spec ||
        (a->applied_spec && b->applied_spec && json_equal(a->applied_spec, b->applied_spec));
    return specs_equal && own_fields_equal(a, b) && instances_equal(&a->instance, &b->instance) &&
           restarts_equal(&a->restart, &b->restart) &&
           preparations_equal(&a->prepared, &b->prepared) &&
           provisions_equal(&a->provision, &b->provision);
}

/* Messages quote guests and programs: what is not printable UTF-8 would not survive JSON. */
static char *printable_copy(const char *message)
{
    if (!message || !message[0]) {
        return NULL;
    }
    size_t n = strlen(message), plain = 0;
    while (plain < n && message[plain] >= ' ' && message[plain] <= '~') {
        plain++;
    }
    if (plain == n) {
        return mem_strndup(message, n);
    }
    struct buf out = BUF_INIT(0);
    text_add_printable(&out, message, n);
    return buf_steal(&out);
}

void vm_status_set(struct vm_status *status, enum condition_type type, enum condition_state state,
    enum reason reason, const char *message, int64_t now_ms)
{
    struct condition *condition = &status->conditions[type];
    char *copy = printable_copy(message); /* first: it may be the condition's own message */
    free(TAKE_PTR(condition->message));
    if (state == CONDITION_ABSENT) {
        free(copy);
        *condition = (struct condition){.state = CONDITION_ABSENT};
        return;
    }
    if (condition->state != state) {
        condition->last_transition_ms = now_ms;
    }
    condition->state = state;
    condition->reason = reason;
    condition->message = copy;
    condition->observed_generation = status->observed_generation;
}

bool vm_status_is_true(const struct vm_status *status, enum condition_type type)
{
    return status->conditions[type].state == CONDITION_TRUE;
}

const struct vm_step_record *vm_provision_step(
    const struct vm_provision *provision, uint32_t index)
{
    bool has_run = index < provision->n_steps && provision->steps[index].outcome != STEP_NOT_RUN;
    return has_run ? &provision->steps[index] : NULL;
}

void vm_provision_record(
    struct vm_provision *provision, uint32_t index, const struct vm_step_record *record)
{
    if (index >= provision->n_steps) {
        provision->steps =
            mem_resize(provision->steps, (size_t)index + 1, sizeof(*provision->steps));
    }
    for (; provision->n_steps <= index; provision->n_steps++) {
        provision->steps[provision->n_steps] = (struct vm_step_record){.exit_status = -1};
    }
    provision->steps[index] = *record;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_status.h"

#include "specs/base/error.h"
#include "specs/vm/json_field.h"

static json_t *conditions_to_json(const struct vm_status *status)
{
    json_t *array = json_array();
    for (int i = 0; i < CONDITION_TYPE_COUNT_; i++) {
        const struct condition *condition = &status->conditions[i];
        if (condition->state == CONDITION_ABSENT) {
            continue;
        }
        json_t *json = json_object();
        json_put_text(json, "type", condition_type_name((enum condition_type)i));
        json_put_text(json, "status", condition_state_name(condition->state));
        json_put_text(json, "reason", reason_name(condition->reason));
        json_put_text(json, "message", condition->message);
        json_put_int(json, "lastTransition", condition->last_transition_ms);
        json_put_int(json, "observedGeneration", (int64_t)condition->observed_generation);
        (void)json_array_append_new(array, json);
    }
    return array;
}

static json_t *instance_to_json(const struct vm_instance *instance)
{
    json_t *json = json_object();
    json_field_put_text(json, "iid", instance->instance_id);
    json_put_text(json, "journal", intent_name(instance->intent));
    json_field_put_text(json, "bootId", instance->boot_id);
    json_put_int(json, "pid", instance->pid);
    json_field_put_uint(json, "startTicks", instance->start_ticks);
    json_put_int(json, "startedAt", instance->started_at_ms);
    json_put_int(json, "startDeadline", instance->start_deadline_ms);
    json_put_int(json, "stopDeadline", instance->stop_deadline_ms);
    json_put_text(json, "cause", exit_cause_name(instance->cause));
    json_put_text(json, "accel", instance->accel);
    json_put_flag(json, "foreign", instance->is_foreign);
    return json;
}

static json_t *restart_to_json(const struct vm_restart *restart)
{
    json_t *json = json_object();
    json_put_int(json, "count", restart->count);
    json_field_put_text(json, "lastFailedIid", restart->last_failed_instance_id);
    json_put_int(json, "notBefore", restart->not_before_ms);
    json_put_text(json, "lastCause", exit_cause_name(restart->last_cause));
    json_put_int(json, "lastExitStatus", restart->last_exit_status);
    json_put_text(json, "lastMessage", restart->last_message);
    json_field_put_uint(json, "heldGeneration", restart->held_generation);
    return json;
}

static json_t *prepared_to_json(const struct vm_prepared *prepared)
{
    json_t *json = json_object();
    json_field_put_text(json, "digest", prepared->digest);
    json_put_text(json, "imagePath", prepared->image_path);
    json_field_put_text(json, "imageId", prepared->image_id);
    json_put_int(json, "diskGib", prepared->disk_gib);
    return json;
}

static json_t *step_run_to_json(const struct vm_step_run *run)
{
    json_t *json = json_object();
    json_field_put_text(json, "iid", run->instance_id);
    json_field_put_uint(json, "tries", run->tries);
    json_put_int(json, "startedAt", run->started_at_ms);
    json_field_put_uint(json, "logBegin", run->log_begin);
    return json;
}

static json_t *step_records_to_json(const struct vm_provision *provision)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < provision->n_steps; i++) {
        const struct vm_step_record *record = &provision->steps[i];
        json_t *json = json_object();
        json_field_put_text(json, "content", record->content);
        json_put_text(json, "outcome", step_outcome_name(record->outcome));
        json_put_int(json, "exitStatus", record->exit_status);
        json_put_int(json, "endedAt", record->ended_at_ms);
        json_put_int(json, "durationMs", record->duration_ms);
        (void)json_array_append_new(array, json);
    }
    return array;
}

static json_t *provision_to_json(const struct vm_provision *provision)
{
    json_t *json = json_object();
    json_field_put_text(json, "digest", provision->digest);
    json_put_int(json, "nextStep", provision->next_step);
    json_put_int(json, "total", provision->total);
    json_field_put_text(json, "ranDigest", provision->ran_digest);
    json_put_int(json, "lastExitStatus", provision->last_exit_status);
    json_field_put_text(json, "token", provision->token);
    json_put_flag(json, "failed", provision->is_failed);
    json_put_text(json, "done", provision->done);
    json_field_put_uint(json, "askedStep", provision->asked_step);
    if (provision->run.started_at_ms || provision->run.tries) {
        json_put(json, "run", step_run_to_json(&provision->run));
    }
    if (provision->n_steps) {
        json_put(json, "steps", step_records_to_json(provision));
    }
    return json;
}

static json_t *liveness_to_json(const struct vm_liveness *live)
{
    json_t *json = json_object();
    json_put_flag(json, "passed", live->has_passed);
    json_put_int(json, "failures", live->failures);
    json_put_int(json, "due", live->due_ms);
    json_put_text(json, "failure", live->failure);
    return json;
}

static json_t *probing_to_json(const struct vm_probing *probing)
{
    json_t *json = json_object();
    json_put_flag(json, "passed", probing->is_passed);
    json_put_text(json, "failure", probing->failure);
    json_put_int(json, "unreadySince", probing->unready_since_ms);
    json_put(json, "live", liveness_to_json(&probing->live));
    return json;
}

static json_t *blocker_to_json(const struct vm_blocker *blocker)
{
    json_t *json = json_object();
    json_put_text(json, "code", blocker->code);
    json_put_text(json, "message", blocker->message);
    json_put_text(json, "help", blocker->help);
    return json;
}

json_t *vm_status_to_json(const struct vm_status *status)
{
    json_t *json = json_object();
    json_put_text(json, "uid", status->uid);
    json_put_text(json, "observer", status->observer);
    json_put_int(json, "observedGeneration", (int64_t)status->observed_generation);
    json_put_int(json, "appliedGeneration", (int64_t)status->applied_generation);
    json_field_put_text(json, "handledRestartToken", status->handled_restart_token);
    json_field_put_text(json, "handledRecreateToken", status->handled_recreate_token);
    json_field_put_text(json, "handledProvisionToken", status->handled_provision_token);
    json_put(json, "conditions", conditions_to_json(status));
    json_put(json, "instance", instance_to_json(&status->instance));
    json_put(json, "restart", restart_to_json(&status->restart));
    json_put(json, "prepared", prepared_to_json(&status->prepared));
    json_put(json, "provision", provision_to_json(&status->provision));
    json_put(json, "probing", probing_to_json(&status->probing));
    if (status->blocker.code) {
        json_put(json, "trouble", blocker_to_json(&status->blocker));
    }
    if (status->applied_spec) {
        json_put(json, "appliedSpec", json_incref(status->applied_spec));
    }
    json_put_flag(json, "reached", status->was_reached);
    json_put_text(json, "sshHost", status->ssh_host);
    json_field_put_uint(json, "sshPort", status->ssh_port);
    json_put_text(json, "mac", status->mac);
    json_put_text(json, "vnc", status->vnc);
    return json;
}

static const char *intent_word(int value)
{
    return intent_name((enum intent)value);
}

static const char *cause_word(int value)
{
    return exit_cause_name((enum exit_cause)value);
}

static enum exit_cause read_cause(const json_t *json, const char *key)
{
    return (enum exit_cause)json_field_word(json, key, cause_word, EXIT_CAUSE_COUNT_);
}

/* A type this version does not know is left out, a reason it does not know reads as none. */
static void read_condition(struct vm_status *status, const json_t *json)
{
    const char *type_text = json_text(json, "type");
    const char *state_text = json_text(json, "status");
    const char *reason_text = json_text(json, "reason");
    int type = type_text ? condition_type_parse(type_text) : -1;
    int state = state_text ? condition_state_parse(state_text) : -1;
    int reason = reason_text ? reason_parse(reason_text) : -1;
    if (type < 0 || state <= CONDITION_ABSENT ||
        status->conditions[type].state != CONDITION_ABSENT) {
        return;
    }
    status->conditions[type] = (struct condition){
        .state = (enum condition_state)state,
        .reason = reason < 0 ? REASON_NONE : (enum reason)reason,
        .message = json_copy_text(json, "message"),
        .last_transition_ms = json_int(json, "lastTransition", 0),
        .observed_generation = json_field_uint(json, "observedGeneration", INT64_MAX),
    };
}

static void read_instance(struct vm_instance *instance, const json_t *json)
{
    json_field_text(json, "iid", instance->instance_id, sizeof(instance->instance_id));
    instance->intent =
        (enum intent)json_field_word(json, "journal", intent_word, INTENT_COUNT_);
    json_field_text(json, "bootId", instance->boot_id, sizeof(instance->boot_id));
    instance->pid = json_field_int32(json, "pid", 0);
    instance->start_ticks = json_field_uint(json, "startTicks", INT64_MAX);
    instance->started_at_ms = json_int(json, "startedAt", 0);
    instance->start_deadline_ms = json_int(json, "startDeadline", 0);
    instance->stop_deadline_ms = json_int(json, "stopDeadline", 0);
    instance->cause = read_cause(json, "cause");
    instance->accel = json_copy_text(json, "accel");
    instance->is_foreign = json_flag(json, "foreign", false);
}

static void read_restart(struct vm_restart *restart, const json_t *json)
{
    restart->count = (uint32_t)json_field_uint(json, "count", UINT32_MAX);
    json_field_text(json, "lastFailedIid", restart->last_failed_instance_id, TEXT_ID_SIZE);
    restart->not_before_ms = json_int(json, "notBefore", 0);
    restart->last_cause = read_cause(json, "lastCause");
    restart->last_exit_status = json_field_int32(json, "lastExitStatus", -1);
    restart->last_message = json_copy_text(json, "lastMessage");
    restart->held_generation = json_field_uint(json, "heldGeneration", INT64_MAX);
}

static void read_prepared(struct vm_prepared *prepared, const json_t *json)
{
    json_field_text(json, "digest", prepared->digest, sizeof(prepared->digest));
    prepared->image_path = json_copy_text(json, "imagePath");
    json_field_text(json, "imageId", prepared->image_id, sizeof(prepared->image_id));
    prepared->disk_gib = (uint32_t)json_field_uint(json, "diskGib", UINT32_MAX);
}

static const char *outcome_word(int value)
{
    return step_outcome_name((enum step_outcome)value);
}

static void read_step_run(struct vm_step_run *run, const json_t *json)
{
    json_field_text(json, "iid", run->instance_id, sizeof(run->instance_id));
    run->tries = (uint32_t)json_field_uint(json, "tries", UINT32_MAX);
    run->started_at_ms = json_int(json, "startedAt", 0);
    run->log_begin = json_field_uint(json, "logBegin", INT64_MAX);
}

static void read_step_records(struct vm_provision *provision, const json_t *array)
{
    size_t i;
    json_t *json;
    json_array_foreach(array, i, json)
    {
        struct vm_step_record record = {
            .outcome =
                (enum step_outcome)json_field_word(json, "outcome", outcome_word, STEP_OUTCOME_COUNT_),
            .exit_status = json_field_int32(json, "exitStatus", -1),
            .ended_at_ms = json_int(json, "endedAt", 0),
            .duration_ms = json_int(json, "durationMs", 0),
        };
        json_field_text(json, "content", record.content, sizeof(record.content));
        vm_provision_record(provision, (uint32_t)i, &record);
    }
}

static void read_provision(struct vm_provision *provision, const json_t *json)
{
    json_field_text(json, "digest", provision->digest, sizeof(provision->digest));
    provision->next_step = (uint32_t)json_field_uint(json, "nextStep", UINT32_MAX);
    provision->total = (uint32_t)json_field_uint(json, "total", UINT32_MAX);
    json_field_text(json, "ranDigest", provision->ran_digest, sizeof(provision->ran_digest));
    provision->last_exit_status = json_field_int32(json, "lastExitStatus", -1);
    json_field_text(json, "token", provision->token, sizeof(provision->token));
    provision->is_failed = json_flag(json, "failed", false);
    provision->done = json_copy_text(json, "done");
    provision->asked_step = (uint32_t)json_field_uint(json, "askedStep", UINT32_MAX);
    read_step_run(&provision->run, json_object_get(json, "run"));
    read_step_records(provision, json_object_get(json, "steps"));
}

static void read_liveness(struct vm_liveness *live, const json_t *json)
{
    live->has_passed = json_flag(json, "passed", false);
    live->failures = (uint32_t)json_field_uint(json, "failures", UINT32_MAX);
    live->due_ms = json_int(json, "due", 0);
    live->failure = json_copy_text(json, "failure");
}

static void read_probing(struct vm_probing *probing, const json_t *json)
{
    probing->is_passed = json_flag(json, "passed", false);
    probing->failure = json_copy_text(json, "failure");
    probing->unready_since_ms = json_int(json, "unreadySince", 0);
    read_liveness(&probing->live, json_object_get(json, "live"));
}

static void read_blocker(struct vm_blocker *blocker, const json_t *json)
{
    blocker->code = json_copy_text(json, "code");
    blocker->message = json_copy_text(json, "message");
    blocker->help = json_copy_text(json, "help");
}

static void read_own_fields(struct vm_status *status, const json_t *json)
{
    status->observed_generation = json_field_uint(json, "observedGeneration", INT64_MAX);
    status->applied_generation = json_field_uint(json, "appliedGeneration", INT64_MAX);
    json_field_text(json, "handledRestartToken", status->handled_restart_token, TEXT_ID_SIZE);
    json_field_text(json, "handledRecreateToken", status->handled_recreate_token, TEXT_ID_SIZE);
    json_field_text(json, "handledProvisionToken", status->handled_provision_token, TEXT_ID_SIZE);
    json_t *spec = json_object_get(json, "appliedSpec");
    status->applied_spec = json_is_object(spec) ? json_incref(spec) : NULL;
    status->was_reached = json_flag(json, "reached", false);
    status->ssh_host = json_copy_text(json, "sshHost");
    status->ssh_port = (uint16_t)json_field_uint(json, "sshPort", UINT16_MAX);
    status->mac = json_copy_text(json, "mac");
    status->vnc = json_copy_text(json, "vnc");
}

struct vm_status *vm_status_from_json(const json_t *json, struct error *err)
{
    char uid[TEXT_ID_SIZE];
    json_field_text(json, "uid", uid, sizeof(uid));
    if (!uid[0]) { /* without it nobody can tell whose status this is */
        (void)error_set(err, ERR_STORE, "a status record has no uid");
        return NULL;
    }
    struct vm_status *status = vm_status_new(uid);
    json_field_text(json, "observer", status->observer, sizeof(status->observer));
    size_t i;
    json_t *condition;
    json_array_foreach(json_object_get(json, "conditions"), i, condition)
    {
        read_condition(status, condition);
    }
    read_own_fields(status, json);
    read_instance(&status->instance, json_object_get(json, "instance"));
    read_restart(&status->restart, json_object_get(json, "restart"));
    read_prepared(&status->prepared, json_object_get(json, "prepared"));
    read_provision(&status->provision, json_object_get(json, "provision"));
    read_probing(&status->probing, json_object_get(json, "probing"));
    read_blocker(&status->blocker, json_object_get(json, "trouble"));
    return status;
}

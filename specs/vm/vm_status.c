/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/vm_spec.h"

DEFINE_OWN_WORDS(intent, enum intent,
    INTENT_COUNT_, [INTENT_NONE] = "none", [INTENT_START] = "start", [INTENT_STOP] = "stop")
DEFINE_WORD_LIST_(
    static, wake, WAKE_COUNT_, [WAKE_NONE] = "no", [WAKE_DUE] = "due", [WAKE_BEGUN] = "begun")
DEFINE_OWN_WORDS(exit_cause, enum exit_cause,
    EXIT_CAUSE_COUNT_, [EXIT_NONE] = "None", [EXIT_BY_USER] = "ByUser",
    [EXIT_GUEST_SHUTDOWN] = "GuestShutdown", [EXIT_GUEST_PANIC] = "GuestPanic",
    [EXIT_INTERNAL_ERROR] = "InternalError", [EXIT_PROCESS_DIED] = "ProcessDied",
    [EXIT_START_FAILED] = "StartFailed", [EXIT_HOST_REBOOT] = "HostReboot",
    [EXIT_HOST_SHUTDOWN] = "HostShutdown", [EXIT_LIVENESS_FAILED] = "LivenessFailed",
    [EXIT_SHARE_LOST] = "ShareLost", [EXIT_TPM_LOST] = "TpmLost", [EXIT_SAVED] = "Saved",
    [EXIT_OOM_KILLED] = "OOMKilled", [EXIT_HOST_OUT_OF_MEMORY] = "HostOutOfMemory")
DEFINE_WORD_LIST_(static, saved_phase, SAVED_PHASE_COUNT_, [SAVED_NONE] = "none",
    [SAVED_BEGUN] = "begun", [SAVED_WHOLE] = "whole", [SAVED_LOADED] = "loaded")
DEFINE_OWN_WORDS(step_outcome, enum step_outcome,
    STEP_OUTCOME_COUNT_, [STEP_NOT_RUN] = "NotRun", [STEP_DONE] = "Done", [STEP_FAILED] = "Failed",
    [STEP_TIMED_OUT] = "TimedOut", [STEP_INTERRUPTED] = "Interrupted")
DEFINE_OWN_WORDS(cloud_init_state, enum cloud_init_state,
    CLOUD_INIT_STATE_COUNT_, [CLOUD_INIT_UNKNOWN] = "Unknown", [CLOUD_INIT_RUNNING] = "Running",
    [CLOUD_INIT_DONE] = "Done", [CLOUD_INIT_DEGRADED] = "Degraded", [CLOUD_INIT_FAILED] = "Failed",
    [CLOUD_INIT_DISABLED] = "Disabled", [CLOUD_INIT_ABSENT] = "Absent")

bool exit_cause_is_oom_kill(enum exit_cause cause)
{
    return cause == EXIT_OOM_KILLED || cause == EXIT_HOST_OUT_OF_MEMORY;
}

/* ---- the fields, in the order in which JSON has them ---- */

static const struct field condition_rows[] = {
    FIELD_ENUM(struct condition, state, "status", &condition_state_words),
    FIELD_ENUM(struct condition, reason, "reason", &reason_words),
    FIELD(struct condition, message, "message"),
    FIELD(struct condition, last_transition_ms, "lastTransition", .is_time = true),
    FIELD(struct condition, observed_generation, "observedGeneration",
        .inherits = offsetof(struct vm_status, observed_generation)),
};
static const struct condition a_condition = {.state = CONDITION_TRUE}; /* most are */
static const struct fields condition_fields = {
    FIELDS_OF(condition_rows, struct condition), .defaults = &a_condition};

static const struct field instance_rows[] = {
    FIELD(struct vm_instance, instance_id, "iid", .omit_empty = true),
    FIELD_ENUM(struct vm_instance, intent, "journal", &intent_words),
    FIELD(struct vm_instance, boot_id, "bootId", .omit_empty = true),
    FIELD(struct vm_instance, pid, "pid"),
    FIELD(struct vm_instance, start_ticks, "startTicks", .omit_empty = true),
    FIELD(struct vm_instance, started_at_ms, "startedAt", .is_time = true),
    FIELD(struct vm_instance, start_deadline_ms, "startDeadline"),
    FIELD(struct vm_instance, stop_deadline_ms, "stopDeadline"),
    FIELD_ENUM(struct vm_instance, cause, "cause", &exit_cause_words),
    FIELD(struct vm_instance, accel, "accel"),
    FIELD(struct vm_instance, server, "server"),
    FIELD(struct vm_instance, guest, "guest"),
    FIELD(struct vm_instance, no_virtiofs, "noVirtiofs"),
    FIELD(struct vm_instance, memory_host, "memoryHost"),
    FIELD(struct vm_instance, is_woken, "woken", .omit_empty = true),
    FIELD(struct vm_instance, has_agent, "agentChannel", .omit_empty = true),
};
static const struct fields instance_fields = {FIELDS_OF(instance_rows, struct vm_instance)};

static const struct field restart_rows[] = {
    FIELD(struct vm_restart, count, "count"),
    FIELD(struct vm_restart, last_failed_instance_id, "lastFailedIid", .omit_empty = true),
    FIELD(struct vm_restart, not_before_ms, "notBefore", .is_time = true),
    FIELD_ENUM(struct vm_restart, last_cause, "lastCause", &exit_cause_words),
    FIELD(struct vm_restart, last_exit_status, "lastExitStatus"),
    FIELD(struct vm_restart, last_message, "lastMessage"),
    FIELD(struct vm_restart, held_generation, "heldGeneration", .omit_empty = true),
    FIELD(struct vm_restart, total, "total", .omit_empty = true),
    FIELD(struct vm_restart, is_due, "due", .omit_empty = true),
};
static const struct fields restart_fields = {FIELDS_OF(restart_rows, struct vm_restart)};

static const struct field prepared_rows[] = {
    FIELD(struct vm_prepared, digest, "digest", .omit_empty = true),
    FIELD(struct vm_prepared, image_path, "imagePath"),
    FIELD(struct vm_prepared, template_digest, "template", .omit_empty = true),
    FIELD_ENUM(struct vm_prepared, wake, "wake", &wake_words, .omit_empty = true),
    FIELD(struct vm_prepared, image_id, "imageId", .omit_empty = true),
    FIELD(struct vm_prepared, image_sha256, "imageSha256", .omit_empty = true),
    FIELD(struct vm_prepared, image_size, "imageSize", .omit_empty = true),
    FIELD(struct vm_prepared, seed_digest, "seedDigest", .omit_empty = true),
    FIELD(struct vm_prepared, disk_gib, "diskGib"),
    FIELD(struct vm_prepared, disk_bytes, "diskBytes", .omit_empty = true),
    FIELD(struct vm_prepared, file_bytes, "fileBytes", .omit_empty = true),
    FIELD(struct vm_prepared, is_crash_consistent, "crashConsistent", .omit_empty = true),
};
static const struct fields prepared_fields = {FIELDS_OF(prepared_rows, struct vm_prepared)};

static const struct field saved_rows[] = {
    FIELD_ENUM(struct vm_saved, phase, "phase", &saved_phase_words),
    FIELD(struct vm_saved, host, "host"),
    FIELD(struct vm_saved, accel, "accel"),
    FIELD(struct vm_saved, has_agent, "agentChannel", .omit_empty = true),
    FIELD(struct vm_saved, is_frozen, "frozen", .omit_empty = true),
    FIELD(struct vm_saved, bytes, "bytes"),
    FIELD(struct vm_saved, stamp, "stamp", .omit_empty = true),
    FIELD(struct vm_saved, disk_stamp, "diskStamp", .omit_empty = true),
    FIELD(struct vm_saved, n_refused, "refused", .omit_empty = true),
    FIELD(struct vm_saved, refused_generation, "refusedGeneration", .omit_empty = true),
    FIELD(struct vm_saved, refusal, "refusal"),
};
static const struct fields saved_fields = {FIELDS_OF(saved_rows, struct vm_saved)};

static const struct field step_run_rows[] = {
    FIELD(struct vm_step_run, instance_id, "iid", .omit_empty = true),
    FIELD(struct vm_step_run, tries, "tries", .omit_empty = true),
    FIELD(struct vm_step_run, started_at_ms, "startedAt", .is_time = true),
    FIELD(struct vm_step_run, log_begin, "logBegin", .omit_empty = true),
};
static const struct fields step_run_fields = {FIELDS_OF(step_run_rows, struct vm_step_run)};

static const struct field step_record_rows[] = {
    FIELD(struct vm_step_record, content, "content", .omit_empty = true),
    FIELD_ENUM(struct vm_step_record, outcome, "outcome", &step_outcome_words),
    FIELD(struct vm_step_record, exit_status, "exitStatus"),
    FIELD(struct vm_step_record, ended_at_ms, "endedAt", .is_time = true),
    FIELD(struct vm_step_record, duration_ms, "durationMs"),
};
static const struct vm_step_record no_step_record = {.exit_status = -1};
const struct fields vm_step_record_fields = {
    FIELDS_OF(step_record_rows, struct vm_step_record), .defaults = &no_step_record};

static const struct field provision_rows[] = {
    FIELD(struct vm_provision, digest, "digest", .omit_empty = true),
    FIELD(struct vm_provision, next_step, "nextStep"),
    FIELD(struct vm_provision, total, "total"),
    FIELD(struct vm_provision, ran_digest, "ranDigest", .omit_empty = true),
    FIELD(struct vm_provision, last_exit_status, "lastExitStatus"),
    FIELD(struct vm_provision, token, "token", .omit_empty = true),
    FIELD(struct vm_provision, is_failed, "failed"),
    FIELD(struct vm_provision, is_continued, "continued", .omit_empty = true),
    FIELD(struct vm_provision, done, "done"),
    FIELD(struct vm_provision, asked_step, "askedStep", .omit_empty = true),
    FIELD_STRUCT(struct vm_provision, run, "run", &step_run_fields, .omit_empty = true),
    FIELD_LIST(
        struct vm_provision, steps, n_steps, "steps", &vm_step_record_fields, .omit_empty = true),
};
static const struct fields provision_fields = {FIELDS_OF(provision_rows, struct vm_provision)};

static const struct field cloud_init_rows[] = {
    FIELD_ENUM(struct vm_cloud_init, state, "state", &cloud_init_state_words, .is_kept = true),
    FIELD(struct vm_cloud_init, message, "message"),
};
static const struct fields cloud_init_fields = {FIELDS_OF(cloud_init_rows, struct vm_cloud_init)};

static const struct field liveness_rows[] = {
    FIELD(struct vm_liveness, has_passed, "passed"),
    FIELD(struct vm_liveness, failures, "failures"),
    FIELD(struct vm_liveness, due_ms, "due"),
    FIELD(struct vm_liveness, failure, "failure"),
};
static const struct fields liveness_fields = {FIELDS_OF(liveness_rows, struct vm_liveness)};

static const struct field probing_rows[] = {
    FIELD(struct vm_probing, is_passed, "passed"),
    FIELD(struct vm_probing, failure, "failure"),
    FIELD(struct vm_probing, unready_since_ms, "unreadySince"),
    FIELD_STRUCT(struct vm_probing, live, "live", &liveness_fields),
};
static const struct fields probing_fields = {FIELDS_OF(probing_rows, struct vm_probing)};

static const struct field clock_rows[] = {
    FIELD(struct vm_clock, is_due, "due"),
    FIELD(struct vm_clock, slept_ms, "hostSlept"),
};
static const struct fields clock_fields = {FIELDS_OF(clock_rows, struct vm_clock)};

static const struct field growth_rows[] = {
    FIELD(struct vm_growth, vcpus, "vcpus"),
    FIELD(struct vm_growth, memory, "memory"),
    FIELD(struct vm_growth, disk, "disk"),
    FIELD(struct vm_growth, refusal, "refusal"),
};
static const struct fields growth_fields = {FIELDS_OF(growth_rows, struct vm_growth)};

static const struct field forward_rows[] = {
    FIELD(struct vm_forward, socket, "socket"),
    FIELD(struct vm_forward, guest_socket, "guestSocket"),
    FIELD_ENUM(struct vm_forward, direction, "direction", &socket_direction_words),
    FIELD(struct vm_forward, guest_port, "guestPort", .omit_empty = true),
    FIELD(struct vm_forward, host_port, "hostPort", .omit_empty = true),
    FIELD(struct vm_forward, guest_address, "guestAddress"),
    FIELD(struct vm_forward, is_leased, "leased"),
    FIELD(struct vm_forward, is_made, "made"),
    FIELD(struct vm_forward, is_leaving, "leaving", .omit_empty = true),
    FIELD(struct vm_forward, refusal, "refusal"),
};
const struct fields vm_forward_fields = {FIELDS_OF(forward_rows, struct vm_forward)};

static const struct field blocker_rows[] = {
    FIELD(struct vm_blocker, code, "code"),
    FIELD(struct vm_blocker, message, "message"),
    FIELD(struct vm_blocker, help, "help"),
};
static const struct fields blocker_fields = {FIELDS_OF(blocker_rows, struct vm_blocker)};

static const struct field warm_rows[] = {
    FIELD(struct vm_warm, template_digest, "template", .omit_empty = true),
    FIELD(struct vm_warm, refusal, "refusal"),
    FIELD(struct vm_warm, cold, "cold", .omit_empty = true),
    FIELD(struct vm_warm, host, "host", .omit_empty = true),
    FIELD(struct vm_warm, accel, "accel", .omit_empty = true),
    FIELD(struct vm_warm, has_agent, "agentChannel", .omit_empty = true),
};
static const struct fields warm_fields = {FIELDS_OF(warm_rows, struct vm_warm)};

static const struct field snapshot_rows[] = {
    FIELD(struct vm_snapshot, name, "name"),
    FIELD(struct vm_snapshot, file, "file"),
    FIELD(struct vm_snapshot, created_ms, "created", .is_time = true),
    FIELD(struct vm_snapshot, ends_ms, "ends", .is_time = true, .omit_empty = true),
    FIELD(struct vm_snapshot, bytes, "bytes"),
    FIELD(struct vm_snapshot, was_used, "crashConsistent", .omit_empty = true),
    FIELD(struct vm_snapshot, was_frozen, "filesystemConsistent", .omit_empty = true),
    FIELD(struct vm_snapshot, since, "since", .omit_empty = true),
    FIELD(struct vm_snapshot, whole_because, "wholeBecause"),
    FIELD(struct vm_snapshot, volume, "volume"),
    FIELD_STRUCT(struct vm_snapshot, prepared, "prepared", &prepared_fields),
    FIELD_STRUCT(struct vm_snapshot, provision, "provision", &provision_fields),
};
static const struct vm_snapshot no_snapshot = {.provision.last_exit_status = -1};
const struct fields vm_snapshot_fields = {
    FIELDS_OF(snapshot_rows, struct vm_snapshot), .defaults = &no_snapshot};

static const struct field origin_rows[] = {
    FIELD(struct vm_origin, vm, "vm"),
    FIELD(struct vm_origin, is_taken, "taken", .omit_empty = true),
    FIELD(struct vm_origin, import, "import"),
    FIELD(struct vm_origin, mac, "mac"),
    FIELD_STRUCT(struct vm_origin, snapshot, "snapshot", &vm_snapshot_fields),
};
static const struct vm_origin no_origin = {.snapshot.provision.last_exit_status = -1};
const struct fields vm_origin_fields = {
    FIELDS_OF(origin_rows, struct vm_origin), .defaults = &no_origin};

static const struct field card_rows[] = {
    FIELD(struct vm_card, mac, "mac"),
    FIELD(struct vm_card, address, "address"),
};
static const struct fields card_fields = {FIELDS_OF(card_rows, struct vm_card)};

static const struct field status_rows[] = {
    FIELD(struct vm_status, uid, "uid"),
    FIELD(struct vm_status, observer, "observer"),
    FIELD(struct vm_status, observed_generation, "observedGeneration"),
    FIELD(struct vm_status, applied_generation, "appliedGeneration"),
    FIELD(struct vm_status, handled_restart_token, "handledRestartToken", .omit_empty = true),
    FIELD(struct vm_status, handled_recreate_token, "handledRecreateToken", .omit_empty = true),
    FIELD(struct vm_status, handled_provision_token, "handledProvisionToken", .omit_empty = true),
    FIELD(struct vm_status, ended_provision_token, "endedProvisionToken", .omit_empty = true),
    FIELD_KEYED(struct vm_status, conditions, "conditions", &condition_fields, "type",
        &condition_type_words),
    FIELD_STRUCT(struct vm_status, instance, "instance", &instance_fields),
    FIELD_STRUCT(struct vm_status, restart, "restart", &restart_fields),
    FIELD_STRUCT(struct vm_status, prepared, "prepared", &prepared_fields),
    FIELD_STRUCT(struct vm_status, saved, "saved", &saved_fields, .omit_empty = true),
    FIELD_STRUCT(
        struct vm_status, replacement, "replacement", &prepared_fields, .omit_empty = true),
    FIELD(struct vm_status, replacement_stamp, "replacementStamp", .omit_empty = true),
    FIELD(struct vm_status, replacement_token, "replacementToken", .omit_empty = true),
    FIELD(struct vm_status, other_recreate_token, "otherRecreateToken", .omit_empty = true),
    FIELD_STRUCT(
        struct vm_status, recreate_failure, "recreateTrouble", &blocker_fields, .omit_empty = true),
    FIELD_STRUCT(struct vm_status, warm, "warm", &warm_fields, .omit_empty = true),
    FIELD_STRUCT(
        struct vm_status, build_failure, "buildTrouble", &blocker_fields, .omit_empty = true),
    FIELD(struct vm_status, build_failed_ms, "buildFailedAt", .is_time = true, .omit_empty = true),
    FIELD_STRUCT(struct vm_status, provision, "provision", &provision_fields),
    FIELD_STRUCT(struct vm_status, cloud_init, "cloudInit", &cloud_init_fields, .is_kept = true),
    FIELD(struct vm_status, mounted, "mounted", .omit_empty = true),
    FIELD(struct vm_status, share_note, "shareNote"),
    FIELD(struct vm_status, share_user, "shareUser"),
    FIELD_STRUCT(struct vm_status, probing, "probing", &probing_fields),
    FIELD_STRUCT(struct vm_status, clock, "clock", &clock_fields, .omit_empty = true),
    FIELD_STRUCT(struct vm_status, growth, "growth", &growth_fields, .omit_empty = true),
    FIELD_STRUCT(struct vm_status, blocker, "trouble", &blocker_fields, .omit_empty = true),
    FIELD_LIST(
        struct vm_status, forwards, n_forwards, "forwards", &vm_forward_fields, .omit_empty = true),
    FIELD_LIST(struct vm_status, snapshots, n_snapshots, "snapshots", &vm_snapshot_fields,
        .omit_empty = true),
    FIELD(struct vm_status, handled_snapshot_token, "handledSnapshotToken", .omit_empty = true),
    FIELD_STRUCT(
        struct vm_status, snapshot_failure, "snapshotTrouble", &blocker_fields, .omit_empty = true),
    FIELD_SHARED(struct vm_status, applied_spec, "appliedSpec", &vm_spec_fields),
    FIELD_JSON(struct vm_status, unread_spec, "appliedSpec"), /* instead of it */
    FIELD(struct vm_status, frozen_instance_id, "frozenIid", .omit_empty = true),
    FIELD(struct vm_status, agent, "agent", .omit_empty = true),
    FIELD(struct vm_status, was_reached, "reached"),
    FIELD(struct vm_status, ssh_host, "sshHost"),
    FIELD(struct vm_status, ssh_port, "sshPort", .omit_empty = true),
    FIELD(struct vm_status, mac, "mac"),
    FIELD(struct vm_status, address, "address"),
    FIELD_LIST(struct vm_status, cards, n_cards, "furtherCards", &card_fields, .omit_empty = true),
    FIELD(struct vm_status, vnc, "vnc"),
    FIELD(struct vm_status, machine, "machine"),
    FIELD(struct vm_status, renamed_from, "renamedFrom", .omit_empty = true),
    FIELD(struct vm_status, has_moved, "filesMoved", .omit_empty = true),
    FIELD(struct vm_status, dir_inode, "filesInode", .omit_empty = true),
};
static const struct vm_status no_status = {
    .restart.last_exit_status = -1, .provision.last_exit_status = -1};
const struct fields vm_status_fields = {
    FIELDS_OF(status_rows, struct vm_status), .defaults = &no_status};

/* ---- the record ---- */

struct vm_status *vm_status_new(const char *uid)
{
    struct vm_status *status = fields_new(&vm_status_fields);
    (void)snprintf(status->uid, sizeof(status->uid), "%s", uid);
    return status;
}

DEFINE_RECORD(vm_status, &vm_status_fields)

struct vm_status *vm_status_read(struct bytes json, struct error *err)
{
    struct error ignored = {.code = ERR_NONE};
    struct bytes applied = {.n = 0};
    struct vm_status *status = fields_new(&vm_status_fields);
    status->cloud_init.state = CLOUD_INIT_STATE_COUNT_; /* which stays when there is none */
    int rc = fields_read(&vm_status_fields, json, status, &applied, err);
    if (rc == 0 && !status->uid[0]) { /* without it the VM is unknown */
        rc = error_set(err, ERR_STORE, "a status record has no uid");
    }
    if (rc < 0) {
        vm_status_free(status);
        return NULL;
    }
    /* A record without it was written by a vmctl that did not wait for cloud-init: a guest that was
     * reached then counts as set up. */
    if (status->cloud_init.state == CLOUD_INIT_STATE_COUNT_) {
        status->cloud_init.state = status->was_reached ? CLOUD_INIT_DONE : CLOUD_INIT_UNKNOWN;
    }
    status->applied_spec =
        applied.n > 0 ? fields_share(&vm_spec_fields, vm_spec_read(applied, &ignored)) : NULL;
    if (applied.n > 0 && !status->applied_spec) {
        status->unread_spec = mem_strndup(applied.data, applied.n);
    }
    return status;
}

void vm_instance_clear(struct vm_instance *instance)
{
    free(instance->accel);
    free(instance->server);
    free(instance->guest);
    free(instance->no_virtiofs);
    free(instance->memory_host);
    *instance = (struct vm_instance){.intent = INTENT_NONE};
}

const char *vm_status_mac(const struct vm_status *status, size_t i)
{
    return i == 0 ? status->mac : i <= status->n_cards ? status->cards[i - 1].mac : NULL;
}

const char *vm_status_address(const struct vm_status *status, size_t i)
{
    return i == 0 ? status->address : i <= status->n_cards ? status->cards[i - 1].address : NULL;
}

const struct vm_spec *vm_status_running_spec(const struct vm_status *status)
{
    return status->instance.instance_id[0] ? status->applied_spec : NULL;
}

const struct vm_spec *vm_status_limited_spec(const struct vm_status *status)
{
    return vm_status_is_true(status, CONDITION_LIMITED) ? vm_status_running_spec(status) : NULL;
}

void vm_status_set_applied_spec(struct vm_status *status, const struct vm_spec *spec)
{
    vm_status_take_applied_spec(status, vm_spec_copy(spec)); /* it may be the status' own */
}

void vm_status_take_applied_spec(struct vm_status *status, struct vm_spec *spec_take)
{
    fields_drop(&vm_spec_fields, status->applied_spec);
    free(TAKE_PTR(status->unread_spec));
    status->applied_spec = fields_share(&vm_spec_fields, spec_take);
}

void vm_status_forget_cloud_init(struct vm_status *status)
{
    memset(status->mounted, 0, sizeof(status->mounted));
    free(TAKE_PTR(status->share_note));
    free(status->cloud_init.message);
    status->cloud_init = (struct vm_cloud_init){.state = CLOUD_INIT_UNKNOWN};
}

/* ---- conditions ---- */

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
    if (state == CONDITION_ABSENT) {
        free(condition->message);
        *condition = (struct condition){.state = CONDITION_ABSENT};
        return;
    }
    if (!condition->message || !text_eq(condition->message, message)) { /* else it is such a copy */
        char *copy = printable_copy(message);
        free(condition->message);
        condition->message = copy;
    }
    if (condition->state != state) {
        condition->last_transition_ms = now_ms;
    }
    condition->state = state;
    condition->reason = reason;
    condition->observed_generation = status->observed_generation;
}

bool vm_status_is_frozen(const struct vm_status *status)
{
    return status->frozen_instance_id[0] &&
           text_eq(status->frozen_instance_id, status->instance.instance_id);
}

bool vm_status_is_true(const struct vm_status *status, enum condition_type type)
{
    return status->conditions[type].state == CONDITION_TRUE;
}

/* ---- steps ---- */

const struct vm_step_record *vm_provision_step(const struct vm_provision *provision, uint32_t index)
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
        provision->steps[provision->n_steps] = no_step_record;
    }
    provision->steps[index] = *record;
}

/* ---- snapshots ---- */

struct vm_snapshot *vm_status_snapshot(const struct vm_status *status, const char *name)
{
    for (uint32_t i = 0; i < status->n_snapshots; i++) {
        if (text_eq(status->snapshots[i].name, name)) {
            return &status->snapshots[i];
        }
    }
    return NULL;
}

void vm_status_remove_snapshot(struct vm_status *status, const char *name)
{
    struct vm_snapshot *snapshot = vm_status_snapshot(status, name);
    if (!snapshot) {
        return;
    }
    struct vm_snapshot *gone = mem_dup(snapshot, sizeof(*snapshot));
    fields_free(&vm_snapshot_fields, gone);
    size_t behind = (size_t)(&status->snapshots[status->n_snapshots] - snapshot) - 1;
    memmove(snapshot, snapshot + 1, behind * sizeof(*snapshot));
    status->n_snapshots--;
}

void vm_status_add_snapshot(
    struct vm_status *status, const char *name, const char *file, uint64_t bytes, int64_t now_ms)
{
    struct vm_snapshot present = {.created_ms = now_ms,
        .bytes = bytes,
        .prepared = status->prepared,
        .provision = status->provision};
    (void)snprintf(present.name, sizeof(present.name), "%s", name);
    (void)snprintf(present.file, sizeof(present.file), "%s", file);
    cleanup_free struct vm_snapshot *copy = fields_copy(&vm_snapshot_fields, &present);
    copy->prepared.wake = WAKE_NONE; /* what is made of it is used */
    vm_status_remove_snapshot(status, name);
    status->snapshots =
        mem_resize(status->snapshots, (size_t)status->n_snapshots + 1, sizeof(*status->snapshots));
    status->snapshots[status->n_snapshots++] = *copy;
}

bool vm_snapshot_is_crash_consistent(const struct vm_snapshot *snapshot)
{
    return snapshot->was_used ? !snapshot->was_frozen : snapshot->prepared.is_crash_consistent;
}

void vm_status_restore_snapshot(
    struct vm_status *status, const struct vm_snapshot *snapshot, uint64_t bytes)
{
    struct vm_snapshot *copy = fields_copy(&vm_snapshot_fields, snapshot);
    if (!copy) {
        return;
    }
    struct vm_prepared prepared = copy->prepared;
    struct vm_provision provision = copy->provision;
    bool is_crash_consistent = vm_snapshot_is_crash_consistent(snapshot);
    copy->prepared = status->prepared; /* the former ones go with the copy */
    copy->provision = status->provision;
    status->prepared = prepared;
    status->prepared.file_bytes = bytes;
    status->prepared.is_crash_consistent = is_crash_consistent;
    status->provision = provision;
    fields_free(&vm_snapshot_fields, copy);
}

/* ---- what leaves the host ---- */

/* Members that are not named here stay on their host, those of later versions, too. */
static const char *const public_paths[] = {
    "observer",
    "observedGeneration",
    "appliedGeneration",
    "handledRestartToken",
    "handledRecreateToken",
    "handledProvisionToken",
    "endedProvisionToken",
    "conditions",
    "instance.iid",
    "instance.startedAt",
    "instance.accel",
    "restart.count",
    "restart.heldGeneration",
    "restart.total",
    "recreateTrouble",
    "provision.digest",
    "provision.nextStep",
    "provision.total",
    "provision.lastExitStatus",
    "provision.failed",
    "cloudInit",
    "shareNote",
    "trouble",
    "agent",
    "reached",
    "sshHost",
    "sshPort",
    "mac",
    "address",
    "furtherCards",
    "machine",
};

json_t *vm_status_public(const struct vm_status *status)
{
    struct vm_status *seen = vm_status_new(status->uid);
    for (size_t i = 0; i < ARRAY_LEN(public_paths); i++) {
        (void)fields_take(&vm_status_fields, seen, status, public_paths[i]);
    }
    json_t *json = vm_status_to_json(seen);
    vm_status_free(seen);
    return json;
}

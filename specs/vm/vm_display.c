/* SPDX-License-Identifier: MPL-2.0 */
/* One word for a VM, by tables: the first rule that holds wins (KubeVirt's setPrintableStatus). */
#include "specs/vm/vm_summary.h"

#include <stddef.h>

#include "specs/base/cleanup.h"
#include "specs/vm/vm_status.h"

enum rule_scope {
    ALWAYS,
    WHILE_RUNNING, /* holds only when Running=True: conditions of a guest that is off are stale */
    BEFORE_START,  /* holds only on the way to a start, while there is no instance yet */
};

struct display_rule {
    enum condition_type type;
    enum condition_state state; /* CONDITION_ABSENT: any */
    enum reason reason;         /* REASON_NONE: any */
    enum reason display;
    enum rule_scope scope;
};

#define ANY_STATE CONDITION_ABSENT
#define ANY_REASON REASON_NONE

static const struct display_rule rules[] = {
    /* what the user requested, under way or reached */
    {CONDITION_READY, ANY_STATE, REASON_TERMINATING, REASON_TERMINATING, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_STOPPING, REASON_STOPPING, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_SUSPENDED, REASON_SUSPENDED, ALWAYS},
    {CONDITION_READY, ANY_STATE, REASON_SUSPENDED, REASON_SUSPENDED, ALWAYS},
    {CONDITION_READY, CONDITION_FALSE, REASON_PROGRESSING, REASON_PROGRESSING, WHILE_RUNNING},
    {CONDITION_RUNNING, ANY_STATE, REASON_RESUMING, REASON_RESUMING, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_SAVING, REASON_SAVING, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_SAVED_MEMORY_FAILED, REASON_SAVED_MEMORY_FAILED, ALWAYS},
    {CONDITION_READY, CONDITION_FALSE, REASON_DOWNLOADING, REASON_DOWNLOADING, WHILE_RUNNING},
    {CONDITION_READY, CONDITION_FALSE, REASON_PREPARING, REASON_PREPARING, WHILE_RUNNING},
    /* a guest that is paused or broken */
    {CONDITION_RUNNING, ANY_STATE, REASON_PAUSED, REASON_PAUSED, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_MIGRATED, REASON_MIGRATED, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_GUEST_PANICKED, REASON_GUEST_PANICKED, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_IO_ERROR, REASON_IO_ERROR, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_NO_SPACE, REASON_NO_SPACE, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_CRASH_LOOP_BACK_OFF, REASON_CRASH_LOOP_BACK_OFF, ALWAYS},
    {CONDITION_RUNNING, CONDITION_UNKNOWN, ANY_REASON, REASON_QMP_UNRESPONSIVE, ALWAYS},
    /* a guest that runs */
    {CONDITION_PROVISIONED, ANY_STATE, REASON_RUNNING_STEP, REASON_RUNNING_STEP, WHILE_RUNNING},
    {CONDITION_PROVISIONED, ANY_STATE, REASON_RETRYING, REASON_RETRYING, WHILE_RUNNING},
    {CONDITION_PROVISIONED, ANY_STATE, REASON_STEP_FAILED, REASON_STEP_FAILED, WHILE_RUNNING},
    {CONDITION_PROVISIONED, ANY_STATE, REASON_STEP_TIMEOUT, REASON_STEP_FAILED, WHILE_RUNNING},
    {CONDITION_PROVISIONED, ANY_STATE, REASON_UPLOAD_FAILED, REASON_STEP_FAILED, WHILE_RUNNING},
    {CONDITION_PROVISIONED, ANY_STATE, REASON_INTERRUPTED, REASON_STEP_FAILED, WHILE_RUNNING},
    {CONDITION_PROVISIONED, ANY_STATE, REASON_SECRET_MISSING, REASON_SECRET_MISSING, WHILE_RUNNING},
    {CONDITION_READY, CONDITION_TRUE, ANY_REASON, REASON_READY, WHILE_RUNNING},
    {CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_AUTH_FAILED, REASON_AUTH_FAILED,
        WHILE_RUNNING},
    {CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_HOST_KEY_MISMATCH, REASON_HOST_KEY_MISMATCH,
        WHILE_RUNNING},
    {CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_SSH_PORT_CLOSED, REASON_SSH_PORT_CLOSED,
        WHILE_RUNNING},
    {CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_SSH_TIMEOUT, REASON_SSH_TIMEOUT,
        WHILE_RUNNING},
    {CONDITION_GUEST_REACHABLE, CONDITION_FALSE, REASON_KEY_UNREADABLE, REASON_KEY_UNREADABLE,
        WHILE_RUNNING},
    {CONDITION_GUEST_REACHABLE, CONDITION_FALSE, ANY_REASON, REASON_WAITING_FOR_SSH, WHILE_RUNNING},
    {CONDITION_GUEST_REACHABLE, CONDITION_UNKNOWN, ANY_REASON, REASON_WAITING_FOR_SSH,
        WHILE_RUNNING},
    {CONDITION_CLOUD_INIT_DONE, CONDITION_FALSE, REASON_CLOUD_INIT_FAILED, REASON_CLOUD_INIT_FAILED,
        WHILE_RUNNING},
    {CONDITION_CLOUD_INIT_DONE, CONDITION_FALSE, ANY_REASON, REASON_CLOUD_INIT_RUNNING,
        WHILE_RUNNING},
    {CONDITION_MOUNTED, CONDITION_FALSE, REASON_MOUNT_FAILED, REASON_MOUNT_FAILED, WHILE_RUNNING},
    {CONDITION_SHARED, CONDITION_FALSE, REASON_SHARE_FAILED, REASON_SHARE_FAILED, WHILE_RUNNING},
    {CONDITION_SHARED, CONDITION_FALSE, REASON_SHARE_LOST, REASON_SHARE_LOST, WHILE_RUNNING},
    {CONDITION_SHARED, CONDITION_FALSE, ANY_REASON, REASON_CLOUD_INIT_RUNNING, WHILE_RUNNING},
    {CONDITION_MOUNTED, CONDITION_FALSE, ANY_REASON, REASON_CLOUD_INIT_RUNNING, WHILE_RUNNING},
    {CONDITION_PROVISIONED, CONDITION_FALSE, REASON_PENDING, REASON_RUNNING_STEP, WHILE_RUNNING},
    {CONDITION_READY, CONDITION_FALSE, REASON_TPM_LOST, REASON_TPM_LOST, WHILE_RUNNING},
    {CONDITION_READY, CONDITION_FALSE, REASON_NETWORK_LOST, REASON_NETWORK_LOST, WHILE_RUNNING},
    {CONDITION_READY, CONDITION_FALSE, REASON_WAITING_FOR_PROBE, REASON_WAITING_FOR_PROBE,
        WHILE_RUNNING},
    {CONDITION_READY, CONDITION_FALSE, REASON_PROBE_FAILED, REASON_WAITING_FOR_PROBE,
        WHILE_RUNNING},
    {CONDITION_READY, CONDITION_FALSE, REASON_FORWARD_FAILED, REASON_FORWARD_FAILED, WHILE_RUNNING},
    {CONDITION_READY, CONDITION_FALSE, REASON_FORWARDING, REASON_CLOUD_INIT_RUNNING, WHILE_RUNNING},
    {CONDITION_RUNNING, CONDITION_TRUE, ANY_REASON, REASON_WAITING_FOR_SSH, ALWAYS},
    /* on the way to a start */
    {CONDITION_SYNCED, CONDITION_FALSE, REASON_INVALID_SPEC, REASON_INVALID_SPEC, ALWAYS},
    {CONDITION_SYNCED, CONDITION_FALSE, REASON_NOT_ACCEPTED, REASON_NOT_ACCEPTED, ALWAYS},
    {CONDITION_IMAGE_READY, ANY_STATE, REASON_DOWNLOADING, REASON_DOWNLOADING, ALWAYS},
    {CONDITION_IMAGE_READY, ANY_STATE, REASON_DOWNLOAD_BACK_OFF, REASON_DOWNLOAD_BACK_OFF, ALWAYS},
    {CONDITION_IMAGE_READY, ANY_STATE, REASON_IMAGE_NOT_FOUND, REASON_IMAGE_NOT_FOUND, ALWAYS},
    {CONDITION_IMAGE_READY, ANY_STATE, REASON_CHECKSUM_MISMATCH, REASON_CHECKSUM_MISMATCH, ALWAYS},
    {CONDITION_IMAGE_READY, ANY_STATE, REASON_DECOMPRESS_FAILED, REASON_DECOMPRESS_FAILED, ALWAYS},
    {CONDITION_IMAGE_READY, ANY_STATE, REASON_IMAGE_INVALID, REASON_IMAGE_INVALID, ALWAYS},
    {CONDITION_IMAGE_READY, ANY_STATE, REASON_NO_SPACE, REASON_NO_SPACE, ALWAYS},
    {CONDITION_IMAGE_READY, ANY_STATE, REASON_BACKING_IMAGE_CHANGED, REASON_BACKING_IMAGE_CHANGED,
        ALWAYS},
    {CONDITION_IMAGE_READY, CONDITION_FALSE, REASON_INTERNAL, REASON_INTERNAL, ALWAYS},
    {CONDITION_IMAGE_READY, ANY_STATE, REASON_PREPARING, REASON_PREPARING, ALWAYS},
    {CONDITION_PREPARED, ANY_STATE, REASON_PREPARING, REASON_PREPARING, ALWAYS},
    {CONDITION_PREPARED, ANY_STATE, REASON_OVERLAY_FAILED, REASON_OVERLAY_FAILED, ALWAYS},
    {CONDITION_PREPARED, ANY_STATE, REASON_SEED_FAILED, REASON_SEED_FAILED, ALWAYS},
    {CONDITION_PREPARED, ANY_STATE, REASON_KEYGEN_FAILED, REASON_KEYGEN_FAILED, ALWAYS},
    {CONDITION_PREPARED, ANY_STATE, REASON_KEY_UNREADABLE, REASON_KEY_UNREADABLE, ALWAYS},
    {CONDITION_PREPARED, ANY_STATE, REASON_DISK_SHRINK_FORBIDDEN, REASON_DISK_SHRINK_FORBIDDEN,
        ALWAYS},
    {CONDITION_PREPARED, ANY_STATE, REASON_NO_SPACE, REASON_NO_SPACE, ALWAYS},
    {CONDITION_PREPARED, CONDITION_FALSE, REASON_INTERNAL, REASON_INTERNAL, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_WAITING_FOR_DEPENDENCY, REASON_WAITING_FOR_DEPENDENCY,
        ALWAYS},
    /* between two steps of the way: the word never goes back */
    {CONDITION_IMAGE_READY, CONDITION_FALSE, REASON_PENDING, REASON_PENDING, BEFORE_START},
    {CONDITION_PREPARED, CONDITION_FALSE, REASON_PENDING, REASON_PREPARING, BEFORE_START},
    {CONDITION_RUNNING, ANY_STATE, REASON_STARTING, REASON_STARTING, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_SPAWN_FAILED, REASON_SPAWN_FAILED, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_PORT_CONFLICT, REASON_PORT_CONFLICT, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_VOLUME_IN_USE, REASON_VOLUME_IN_USE, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_KVM_UNAVAILABLE, REASON_KVM_UNAVAILABLE, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_BACKEND_UNAVAILABLE, REASON_BACKEND_UNAVAILABLE, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_QMP_TIMEOUT, REASON_QMP_TIMEOUT, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_INTERNAL_ERROR, REASON_INTERNAL_ERROR, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_PROCESS_EXITED, REASON_PROCESS_EXITED, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_OOM_KILLED, REASON_OOM_KILLED, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_HOST_REBOOTED, REASON_HOST_REBOOTED, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_LIVENESS_FAILED, REASON_LIVENESS_FAILED, ALWAYS},
    {CONDITION_RUNNING, CONDITION_FALSE, REASON_INTERNAL, REASON_INTERNAL, ALWAYS},
    /* off */
    {CONDITION_RUNNING, ANY_STATE, REASON_GUEST_SHUTDOWN, REASON_STOPPED, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_HOST_SHUTDOWN, REASON_STOPPED, ALWAYS},
    {CONDITION_RUNNING, ANY_STATE, REASON_STOPPED, REASON_STOPPED, ALWAYS},
    {CONDITION_READY, ANY_STATE, REASON_STOPPED, REASON_STOPPED, ALWAYS},
};

/* NULL: none holds. */
static const struct display_rule *find_rule(const struct vm_status *status)
{
    bool is_running = vm_status_is_true(status, CONDITION_RUNNING);
    bool is_before_start = status->instance.pid == 0 &&
                           status->conditions[CONDITION_RUNNING].reason == REASON_STARTING;
    for (const struct display_rule *rule = rules; rule < rules + ARRAY_LEN(rules); rule++) {
        const struct condition *condition = &status->conditions[rule->type];
        if ((rule->reason == ANY_REASON || rule->reason == condition->reason) &&
            condition->state != CONDITION_ABSENT &&
            (rule->state == ANY_STATE || rule->state == condition->state) &&
            (rule->scope != WHILE_RUNNING || is_running) &&
            (rule->scope != BEFORE_START || is_before_start)) {
            return rule;
        }
    }
    return NULL;
}

enum reason vm_display(const struct vm_status *status)
{
    const struct display_rule *rule = find_rule(status);
    /* Made ready by `create` and never started: the book's "prepared". */
    bool is_fresh = vm_status_is_true(status, CONDITION_PREPARED) &&
                    !status->instance.instance_id[0] && status->restart.last_cause == EXIT_NONE;
    enum reason display = rule ? rule->display : REASON_PENDING;
    return display == REASON_STOPPED && is_fresh ? REASON_PREPARED : display;
}

/* The words of `list` and of the book. A reason that is not here is a failure shown by its name. */
static const struct {
    enum reason display;
    const char *word;
    const char *book_state;
    enum vm_tone tone;
} words[] = {
    {REASON_TERMINATING, "Terminating", "destroyed", TONE_BUSY},
    {REASON_STOPPING, "Stopping", "running", TONE_BUSY},
    {REASON_SUSPENDED, "Suspended", "suspended", TONE_OFF},
    {REASON_PROGRESSING, "Suspending", "running", TONE_BUSY},
    {REASON_RESUMING, "Resuming", "suspended", TONE_BUSY},
    {REASON_SAVING, "Saving", "suspended", TONE_BUSY},
    {REASON_PAUSED, "Paused", "suspended", TONE_WARN},
    {REASON_MIGRATED, "Migrated", "suspended", TONE_WARN},
    {REASON_GUEST_PANICKED, "Panicked", "failed", TONE_BAD},
    {REASON_INVALID_SPEC, "Invalid", "failed", TONE_BAD},
    {REASON_QMP_UNRESPONSIVE, "Unknown", "running", TONE_WARN},
    {REASON_RUNNING_STEP, "Provisioning", "running", TONE_BUSY},
    {REASON_RETRYING, "Retrying", "running", TONE_WARN},
    {REASON_STEP_FAILED, "ProvisionFailed", "running", TONE_BAD},
    {REASON_READY, "Ready", "running", TONE_GOOD},
    {REASON_AUTH_FAILED, "AuthFailed", "running", TONE_BAD},
    {REASON_HOST_KEY_MISMATCH, "HostKeyMismatch", "running", TONE_BAD},
    {REASON_SSH_TIMEOUT, "SSHTimeout", "running", TONE_BAD},
    {REASON_SSH_PORT_CLOSED, "SSHPortClosed", "running", TONE_BAD},
    {REASON_CLOUD_INIT_RUNNING, "SettingUp", "running", TONE_BUSY},
    {REASON_CLOUD_INIT_FAILED, "CloudInitFailed", "running", TONE_BAD},
    {REASON_WAITING_FOR_SSH, "Booting", "running", TONE_BUSY},
    {REASON_WAITING_FOR_PROBE, "NotReady", "running", TONE_WARN},
    {REASON_STARTING, "Starting", "prepared", TONE_BUSY},
    {REASON_WAITING_FOR_DEPENDENCY, "Waiting", "prepared", TONE_WARN},
    {REASON_DOWNLOADING, "ImagePulling", "preparing", TONE_BUSY},
    {REASON_DOWNLOAD_BACK_OFF, "ImagePullBackOff", "preparing", TONE_BAD},
    {REASON_PREPARING, "Preparing", "preparing", TONE_BUSY},
    {REASON_PREPARED, "Stopped", "prepared", TONE_OFF},
    {REASON_STOPPED, "Stopped", "stopped", TONE_OFF},
    {REASON_PENDING, "Pending", "preparing", TONE_BUSY},
};

/* The status' word, corrected by requests that the controller has not observed yet. */
static enum reason display_now(
    const struct desired_summary *desired, const struct status_summary *status)
{
    enum reason display = status->display == REASON_NONE ? REASON_PENDING : status->display;
    bool is_off = display == REASON_STOPPED || display == REASON_PREPARED;
    if (desired->is_deleting) {
        return REASON_TERMINATING;
    }
    if (desired->generation <= status->observed_generation) {
        return display;
    }
    if (desired->power == POWER_STOPPED) {
        return status->pid > 0 ? REASON_STOPPING : display;
    }
    return is_off ? REASON_PENDING : display;
}

/* Its row; -1: it has none. */
static int find_word(enum reason display)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (words[i].display == display) {
            return (int)i;
        }
    }
    return -1;
}

const char *vm_display_word(
    const struct desired_summary *desired, const struct status_summary *status)
{
    enum reason display = display_now(desired, status);
    int row = find_word(display);
    return row >= 0 ? words[row].word : reason_name(display);
}

const char *vm_display_book_state(
    const struct desired_summary *desired, const struct status_summary *status)
{
    int row = find_word(display_now(desired, status));
    return row >= 0 ? words[row].book_state : "failed";
}

enum vm_tone vm_display_tone(
    const struct desired_summary *desired, const struct status_summary *status)
{
    int row = find_word(display_now(desired, status));
    return row >= 0 ? words[row].tone : TONE_BAD;
}

const char *vm_display_cause(const struct vm_status *status)
{
    const struct display_rule *rule = find_rule(status);
    if (!rule) {
        return NULL;
    }
    int row = find_word(rule->display);
    enum vm_tone tone = row >= 0 ? words[row].tone : TONE_BAD;
    return tone == TONE_WARN || tone == TONE_BAD ? status->conditions[rule->type].message : NULL;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/failure.h"

#include "specs/base/cleanup.h"

/* Only the user can fix it: retried now and then, because a fix may cause no event. */
static const struct backoff backoff_user = {
    .first_ms = 2000, .base_ms = 4000, .max_ms = 300000, .jitter_percent = 25};
/* A guest that boots. A try takes a second by itself, waiting for the banner. */
static const struct backoff backoff_probe = {
    .first_ms = 250, .base_ms = 250, .max_ms = 250, .jitter_percent = 0};

enum { NEVER_STALLED = 0 };

/* What an action's failure means when its error code has no row of its own. */
static const struct {
    enum action action;
    struct failure_class class;
} by_action[] = {
    {ACTION_FETCH_IMAGE, {CONDITION_IMAGE_READY, REASON_DOWNLOAD_BACK_OFF, 3, &backoff_download}},
    {ACTION_IDENTIFY_IMAGE,
        {CONDITION_IMAGE_READY, REASON_BACKING_IMAGE_CHANGED, 3, &backoff_user}},
    {ACTION_CHECK_DISK, {CONDITION_PREPARED, REASON_OVERLAY_FAILED, 1, &backoff_user}},
    {ACTION_CHOOSE_BASE, {CONDITION_PREPARED, REASON_TEMPLATE_FAILED, 1, &backoff_user}},
    {ACTION_FREEZE, {CONDITION_PROVISIONED, REASON_TEMPLATE_FAILED, 1, &backoff_user}},
    {ACTION_BOOT_COLD, {CONDITION_RUNNING, REASON_TEMPLATE_FAILED, 1, &backoff_user}},
    {ACTION_LOAD, {CONDITION_RUNNING, REASON_TEMPLATE_FAILED, NEVER_STALLED, &backoff_reconcile}},
    {ACTION_IDENTIFY,
        {CONDITION_RUNNING, REASON_TEMPLATE_FAILED, NEVER_STALLED, &backoff_reconcile}},
    {ACTION_PREPARE, {CONDITION_PREPARED, REASON_INTERNAL, 1, &backoff_user}},
    {ACTION_SNAPSHOT, {CONDITION_PREPARED, REASON_INTERNAL, 1, &backoff_user}}, /* of a clone */
    {ACTION_MAKE_VOLUMES, {CONDITION_PREPARED, REASON_INTERNAL, 1, &backoff_user}},
    {ACTION_MOUNT, {CONDITION_MOUNTED, REASON_MOUNTING, NEVER_STALLED, &backoff_probe}},
    {ACTION_REPLACE, {CONDITION_SYNCED, REASON_DOWNLOAD_BACK_OFF, 3, &backoff_download}},
    {ACTION_DISCARD_ALL, {CONDITION_PREPARED, REASON_INTERNAL, 3, &backoff_reconcile}},
    {ACTION_DISCARD_DISK, {CONDITION_PREPARED, REASON_INTERNAL, 3, &backoff_reconcile}},
    {ACTION_BEGIN_START, {CONDITION_RUNNING, REASON_PORT_CONFLICT, 1, &backoff_user}},
    {ACTION_LAUNCH, {CONDITION_RUNNING, REASON_SPAWN_FAILED, 1, &backoff_user}},
    {ACTION_BOOT, {CONDITION_RUNNING, REASON_SPAWN_FAILED, 3, &backoff_reconcile}},
    {ACTION_APPLY, {CONDITION_SYNCED, REASON_APPLYING, 1, &backoff_user}},
    {ACTION_REACH,
        {CONDITION_GUEST_REACHABLE, REASON_WAITING_FOR_SSH, NEVER_STALLED, &backoff_probe}},
    {ACTION_SET_CLOCK,
        {CONDITION_GUEST_REACHABLE, REASON_WAITING_FOR_SSH, NEVER_STALLED, &backoff_probe}},
    {ACTION_GROW_GUEST,
        {CONDITION_GUEST_REACHABLE, REASON_WAITING_FOR_SSH, NEVER_STALLED, &backoff_probe}},
    {ACTION_AWAIT_CLOUD_INIT,
        {CONDITION_CLOUD_INIT_DONE, REASON_RETRYING, NEVER_STALLED, &backoff_probe}},
    {ACTION_RUN_STEP, {CONDITION_PROVISIONED, REASON_INTERRUPTED, 3, &backoff_reconcile}},
};

static const struct {
    enum error_code code;
    struct failure_class class;
} by_code[] = {
    {ERR_IMAGE_NOT_FOUND, {CONDITION_IMAGE_READY, REASON_IMAGE_NOT_FOUND, 1, &backoff_user}},
    {ERR_IMAGE_CHECKSUM, {CONDITION_IMAGE_READY, REASON_CHECKSUM_MISMATCH, 1, &backoff_user}},
    {ERR_IMAGE_DECOMPRESS, {CONDITION_IMAGE_READY, REASON_DECOMPRESS_FAILED, 1, &backoff_user}},
    {ERR_IMAGE_FORMAT, {CONDITION_IMAGE_READY, REASON_IMAGE_INVALID, 1, &backoff_user}},
    {ERR_IMAGE_CONVERSION, {CONDITION_IMAGE_READY, REASON_IMAGE_INVALID, 1, &backoff_user}},
    {ERR_OVERLAY, {CONDITION_PREPARED, REASON_OVERLAY_FAILED, 1, &backoff_user}},
    {ERR_VOLUME_IN_USE, {CONDITION_RUNNING, REASON_VOLUME_IN_USE, 1, &backoff_user}},
    {ERR_SHARE, {CONDITION_SHARED, REASON_SHARE_FAILED, 1, &backoff_user}},
    {ERR_MOUNT, {CONDITION_MOUNTED, REASON_MOUNT_FAILED, 1, &backoff_user}},
    {ERR_SEED, {CONDITION_PREPARED, REASON_SEED_FAILED, 1, &backoff_user}},
    {ERR_KEYGEN, {CONDITION_PREPARED, REASON_KEYGEN_FAILED, 1, &backoff_user}},
    {ERR_DISK_SHRINK, {CONDITION_PREPARED, REASON_DISK_SHRINK_FORBIDDEN, 1, &backoff_user}},
    {ERR_KVM_UNAVAILABLE, {CONDITION_RUNNING, REASON_KVM_UNAVAILABLE, 1, &backoff_user}},
    {ERR_BACKEND_UNAVAILABLE, {CONDITION_RUNNING, REASON_BACKEND_UNAVAILABLE, 1, &backoff_user}},
    {ERR_PROPOLIS_UNREACHABLE, {CONDITION_RUNNING, REASON_BACKEND_UNAVAILABLE, 1, &backoff_user}},
    {ERR_PORT_TAKEN, {CONDITION_RUNNING, REASON_PORT_CONFLICT, 1, &backoff_user}},
    {ERR_IP_TIMEOUT,
        {CONDITION_GUEST_REACHABLE, REASON_WAITING_FOR_IP, NEVER_STALLED, &backoff_probe}},
    {ERR_SSH_AUTH, {CONDITION_GUEST_REACHABLE, REASON_AUTH_FAILED, NEVER_STALLED, &backoff_probe}},
    {ERR_SSH_HOSTKEY,
        {CONDITION_GUEST_REACHABLE, REASON_HOST_KEY_MISMATCH, NEVER_STALLED, &backoff_probe}},
    {ERR_SSH_PORT,
        {CONDITION_GUEST_REACHABLE, REASON_SSH_PORT_CLOSED, NEVER_STALLED, &backoff_probe}},
    {ERR_SAVED_MEMORY, {CONDITION_RUNNING, REASON_SAVED_MEMORY_FAILED, 1, &backoff_user}},
    {ERR_SECRET, {CONDITION_PROVISIONED, REASON_SECRET_MISSING, 1, &backoff_user}},
    {ERR_PROVISION, {CONDITION_PROVISIONED, REASON_STEP_FAILED, 1, &backoff_user}},
    {ERR_PROVISION_TIMEOUT, {CONDITION_PROVISIONED, REASON_STEP_TIMEOUT, 1, &backoff_user}},
};

struct failure_class failure_classify(enum action action, enum error_code code)
{
    struct failure_class class = {CONDITION_RUNNING, REASON_INTERNAL, 1, &backoff_user};
    for (size_t i = 0; i < ARRAY_LEN(by_action); i++) {
        if (by_action[i].action == action) {
            class = by_action[i].class;
        }
    }
    if (code == ERR_NO_SPACE || code == ERR_KEY_UNREADABLE) { /* of any action */
        class.reason = code == ERR_NO_SPACE ? REASON_NO_SPACE : REASON_KEY_UNREADABLE;
        class.stalled_after = 1;
        class.backoff = &backoff_user;
        return class;
    }
    for (size_t i = 0; i < ARRAY_LEN(by_code); i++) {
        if (by_code[i].code == code) {
            return by_code[i].class;
        }
    }
    return class;
}

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Conditions: what is true of a VM, why, and since when. The shape and polarity are Kubernetes'
 * (metav1.Condition, kstatus): Reconciling, Stalled and Orphaned are "abnormal-true" and absent
 * (CONDITION_ABSENT) when all is well. Reasons are one CamelCase word, the same in `status`, in
 * `events` and in JSON.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/enum_names.h"

enum condition_type {
    CONDITION_READY,
    CONDITION_SYNCED,
    CONDITION_IMAGE_READY,
    CONDITION_PREPARED,
    CONDITION_RUNNING,
    CONDITION_GUEST_REACHABLE,
    CONDITION_CLOUD_INIT_DONE,
    CONDITION_MOUNTED, /* absent of a VM without volumes that are to be mounted */
    CONDITION_SHARED,  /* absent of a VM without shared folders */
    CONDITION_PROVISIONED,
    CONDITION_RECONCILING,
    CONDITION_STALLED,
    CONDITION_ORPHANED,
    CONDITION_WARM,
    CONDITION_FORWARDED, /* absent of a VM that forwards nothing over SSH */
    CONDITION_LIMITED,   /* absent of one without `cpu-limit` and `memory-limit`, and of one that is
                          * off. Ready does not need it */
    CONDITION_TYPE_COUNT_
};

enum condition_state {
    CONDITION_ABSENT,
    CONDITION_TRUE,
    CONDITION_FALSE,
    CONDITION_UNKNOWN,
    CONDITION_STATE_COUNT_
};

enum reason {
    REASON_NONE,
    /* Ready */
    REASON_READY,
    REASON_STOPPED,
    REASON_SUSPENDED,
    REASON_TERMINATING,
    /* Synced */
    REASON_SYNCED,
    REASON_RESTART_REQUIRED,
    REASON_RECREATE_REQUIRED,
    REASON_PROVISION_OUTDATED,
    REASON_SOURCE_INVALID,
    REASON_INVALID_SPEC,
    REASON_OVERRIDE_DROPPED, /* in events, as the next: a change made without etcd is given up */
    REASON_FLEET_RECORD_MISSING, /* also of Orphaned: etcd has lost it */
    REASON_NOT_ACCEPTED,         /* of the fleet: its node does not take such a VM */
    REASON_APPLYING,
    REASON_DRIFT_CORRECTED,  /* in events: an outside change was reverted */
    REASON_NETWORK_LOST,     /* also of Ready: the switch of its project network ended */
    REASON_NETWORK_RESTORED, /* in events: it is on another one */
    /* ImageReady */
    REASON_CACHED,
    REASON_LOCAL_FILE,
    REASON_DOWNLOADING,
    REASON_DOWNLOAD_BACK_OFF,
    REASON_IMAGE_NOT_FOUND,
    REASON_CHECKSUM_MISMATCH,
    REASON_DECOMPRESS_FAILED,
    REASON_IMAGE_INVALID,
    REASON_NO_SPACE,
    REASON_BACKING_IMAGE_CHANGED,
    /* Prepared */
    REASON_PREPARED,
    REASON_PREPARING,
    REASON_OVERLAY_FAILED,
    REASON_SEED_FAILED,
    REASON_KEYGEN_FAILED,
    REASON_KEY_UNREADABLE,
    REASON_DISK_SHRINK_FORBIDDEN,
    /* Running */
    REASON_RUNNING,
    REASON_ADOPTED,
    REASON_STARTING,
    REASON_WAITING_FOR_DEPENDENCY,
    REASON_SPAWN_FAILED,
    REASON_PORT_CONFLICT,
    REASON_KVM_UNAVAILABLE,
    REASON_BACKEND_UNAVAILABLE,
    REASON_QMP_TIMEOUT,
    REASON_CRASH_LOOP_BACK_OFF,
    REASON_PROCESS_EXITED,
    REASON_OOM_KILLED, /* the kernel ended it, for its `memory-limit` or its host's memory */
    REASON_GUEST_SHUTDOWN,
    REASON_GUEST_PANICKED,
    REASON_IO_ERROR,
    REASON_INTERNAL_ERROR,
    REASON_PAUSED,
    REASON_RESUMING,
    REASON_SAVING,
    REASON_SAVED_MEMORY_FAILED,
    REASON_MIGRATED,
    REASON_MOVED_AWAY, /* in events: the fleet gave it to another node */
    REASON_STOPPING,
    REASON_QMP_UNRESPONSIVE,
    REASON_HOST_REBOOTED,
    REASON_HOST_SHUTDOWN,
    REASON_GUEST_RESET, /* in events, as the next two: the guest had stood still */
    REASON_CLOCK_SET,
    REASON_CLOCK_NOT_SET,
    REASON_GUEST_GREW, /* in events: it was made to use what was added to its machine */
    REASON_GUEST_NOT_GROWN,
    REASON_LIVENESS_FAILED,
    REASON_SNAPSHOT, /* in events: one was made, restored or removed, or could not be */
    /* Warm; in events of a template: it was built */
    REASON_CLONED,
    REASON_NO_TEMPLATE,
    REASON_TEMPLATE_BUILDING,
    REASON_TEMPLATE_BUILT,
    REASON_TEMPLATE_FAILED,
    /* GuestReachable */
    REASON_SSH_READY,
    REASON_NOT_REQUIRED,
    REASON_WAITING_FOR_IP,
    REASON_WAITING_FOR_SSH,
    REASON_AUTH_FAILED,
    REASON_HOST_KEY_MISMATCH,
    REASON_SSH_TIMEOUT,
    REASON_SSH_PORT_CLOSED,
    /* CloudInitDone */
    REASON_CLOUD_INIT_RUNNING,
    REASON_CLOUD_INIT_DONE,
    REASON_CLOUD_INIT_DEGRADED,
    REASON_CLOUD_INIT_FAILED,
    REASON_CLOUD_INIT_DISABLED,
    REASON_NOT_INSTALLED,
    /* Mounted */
    REASON_MOUNTED,
    REASON_MOUNTING,
    REASON_MOUNT_FAILED,
    REASON_VOLUME_IN_USE, /* of Running and Prepared: by another VM */
    /* Shared */
    REASON_SHARED,
    REASON_SHARE_FAILED,
    REASON_TPM_LOST,   /* of Ready: the emulator of its TPM ended; also of the exit that follows */
    REASON_SHARE_LOST, /* a folder's server ended; also of the exit that follows */
    /* Forwarded */
    REASON_FORWARDED,
    REASON_FORWARDING,
    REASON_FORWARD_FAILED,
    /* Limited */
    REASON_LIMITED,
    REASON_LIMITS_NOT_ENFORCED,
    /* Ready: of its probes */
    REASON_WAITING_FOR_PROBE,
    REASON_PROBE_FAILED,
    /* Provisioned */
    REASON_PROVISIONED,
    REASON_SKIPPED,
    REASON_PENDING,
    REASON_RUNNING_STEP,
    REASON_STEP_FAILED,
    REASON_STEP_TIMEOUT,
    REASON_INTERRUPTED,
    REASON_UPLOAD_FAILED,
    REASON_SECRET_MISSING,
    /* Reconciling, Stalled, Orphaned */
    REASON_NEW_GENERATION,
    REASON_PROGRESSING,
    REASON_RETRYING,
    REASON_PROGRESS_DEADLINE_EXCEEDED,
    REASON_UNKILLABLE,
    REASON_NEEDS_USER,
    REASON_SOURCE_MISSING,
    REASON_REMOVED_FROM_SOURCE,
    REASON_NO_DESIRED_RECORD,
    REASON_INTERNAL, /* vmctl's own failure: a file it cannot write, a program it cannot run */
    REASON_COUNT_
};

struct condition {
    enum condition_state state;
    enum reason reason;
    char *message;                /* owned; NULL: the reason is enough */
    int64_t last_transition_ms;   /* wall clock; moves only when `state` changes */
    uint64_t observed_generation; /* the desired generation this was computed from */
};

extern const struct enum_names condition_type_words;
extern const struct enum_names condition_state_words;
extern const struct enum_names reason_words;

/* "GuestReachable", "True", "CrashLoopBackOff". Static text. */
const char *condition_type_name(enum condition_type type);
const char *condition_state_name(enum condition_state state);
const char *reason_name(enum reason reason);

/* Of Stalled: the guest is only late, and the controller still waits for it. */
bool reason_is_lateness(enum reason reason);

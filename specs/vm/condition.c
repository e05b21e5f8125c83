/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/condition.h"

DEFINE_WORDS(condition_type, enum condition_type,
    CONDITION_TYPE_COUNT_, [CONDITION_READY] = "Ready", [CONDITION_SYNCED] = "Synced",
    [CONDITION_IMAGE_READY] = "ImageReady", [CONDITION_PREPARED] = "Prepared",
    [CONDITION_RUNNING] = "Running", [CONDITION_GUEST_REACHABLE] = "GuestReachable",
    [CONDITION_CLOUD_INIT_DONE] = "CloudInitDone", [CONDITION_MOUNTED] = "Mounted",
    [CONDITION_PROVISIONED] = "Provisioned", [CONDITION_RECONCILING] = "Reconciling",
    [CONDITION_STALLED] = "Stalled", [CONDITION_ORPHANED] = "Orphaned", [CONDITION_WARM] = "Warm")

DEFINE_WORDS(condition_state, enum condition_state,
    CONDITION_STATE_COUNT_, [CONDITION_ABSENT] = "Absent", [CONDITION_TRUE] = "True",
    [CONDITION_FALSE] = "False", [CONDITION_UNKNOWN] = "Unknown")

DEFINE_WORDS(reason, enum reason, REASON_COUNT_, [REASON_NONE] = "", [REASON_READY] = "Ready",
    [REASON_STOPPED] = "Stopped", [REASON_SUSPENDED] = "Suspended",
    [REASON_TERMINATING] = "Terminating", [REASON_SYNCED] = "Synced",
    [REASON_RESTART_REQUIRED] = "RestartRequired", [REASON_RECREATE_REQUIRED] = "RecreateRequired",
    [REASON_PROVISION_OUTDATED] = "ProvisionOutdated", [REASON_SOURCE_INVALID] = "SourceInvalid",
    [REASON_INVALID_SPEC] = "InvalidSpec", [REASON_APPLYING] = "Applying",
    [REASON_DRIFT_CORRECTED] = "DriftCorrected", [REASON_CACHED] = "Cached",
    [REASON_LOCAL_FILE] = "LocalFile", [REASON_DOWNLOADING] = "Downloading",
    [REASON_DOWNLOAD_BACK_OFF] = "DownloadBackOff", [REASON_IMAGE_NOT_FOUND] = "ImageNotFound",
    [REASON_CHECKSUM_MISMATCH] = "ChecksumMismatch",
    [REASON_DECOMPRESS_FAILED] = "DecompressFailed", [REASON_IMAGE_INVALID] = "ImageInvalid",
    [REASON_NO_SPACE] = "NoSpace", [REASON_BACKING_IMAGE_CHANGED] = "BackingImageChanged",
    [REASON_PREPARED] = "Prepared", [REASON_PREPARING] = "Preparing",
    [REASON_OVERLAY_FAILED] = "OverlayFailed", [REASON_SEED_FAILED] = "SeedFailed",
    [REASON_KEYGEN_FAILED] = "KeygenFailed", [REASON_KEY_UNREADABLE] = "KeyUnreadable",
    [REASON_DISK_SHRINK_FORBIDDEN] = "DiskShrinkForbidden", [REASON_RUNNING] = "Running",
    [REASON_ADOPTED] = "Adopted", [REASON_STARTING] = "Starting",
    [REASON_WAITING_FOR_DEPENDENCY] = "WaitingForDependency", [REASON_SPAWN_FAILED] = "SpawnFailed",
    [REASON_PORT_CONFLICT] = "PortConflict", [REASON_KVM_UNAVAILABLE] = "KvmUnavailable",
    [REASON_BACKEND_UNAVAILABLE] = "BackendUnavailable", [REASON_QMP_TIMEOUT] = "QmpTimeout",
    [REASON_CRASH_LOOP_BACK_OFF] = "CrashLoopBackOff", [REASON_PROCESS_EXITED] = "ProcessExited",
    [REASON_GUEST_SHUTDOWN] = "GuestShutdown", [REASON_GUEST_PANICKED] = "GuestPanicked",
    [REASON_IO_ERROR] = "IOError", [REASON_INTERNAL_ERROR] = "InternalError",
    [REASON_PAUSED] = "Paused", [REASON_MIGRATED] = "Migrated", [REASON_STOPPING] = "Stopping",
    [REASON_QMP_UNRESPONSIVE] = "QmpUnresponsive", [REASON_HOST_REBOOTED] = "HostRebooted",
    [REASON_HOST_SHUTDOWN] = "HostShutdown", [REASON_GUEST_RESET] = "GuestReset",
    [REASON_CLOCK_SET] = "ClockSet", [REASON_CLOCK_NOT_SET] = "ClockNotSet",
    [REASON_GUEST_GREW] = "GuestGrew", [REASON_GUEST_NOT_GROWN] = "GuestNotGrown",
    [REASON_LIVENESS_FAILED] = "LivenessFailed", [REASON_SNAPSHOT] = "Snapshot",
    [REASON_CLONED] = "Cloned", [REASON_NO_TEMPLATE] = "NoTemplate",
    [REASON_TEMPLATE_BUILDING] = "TemplateBuilding", [REASON_TEMPLATE_BUILT] = "TemplateBuilt",
    [REASON_TEMPLATE_FAILED] = "TemplateFailed", [REASON_SSH_READY] = "SSHReady",
    [REASON_NOT_REQUIRED] = "NotRequired", [REASON_WAITING_FOR_IP] = "WaitingForIP",
    [REASON_WAITING_FOR_SSH] = "WaitingForSSH", [REASON_AUTH_FAILED] = "AuthFailed",
    [REASON_HOST_KEY_MISMATCH] = "HostKeyMismatch", [REASON_SSH_TIMEOUT] = "SSHTimeout",
    [REASON_SSH_PORT_CLOSED] = "SSHPortClosed", [REASON_CLOUD_INIT_RUNNING] = "CloudInitRunning",
    [REASON_CLOUD_INIT_DONE] = "CloudInitDone", [REASON_CLOUD_INIT_DEGRADED] = "CloudInitDegraded",
    [REASON_CLOUD_INIT_FAILED] = "CloudInitFailed",
    [REASON_CLOUD_INIT_DISABLED] = "CloudInitDisabled", [REASON_NOT_INSTALLED] = "NotInstalled",
    [REASON_MOUNTED] = "Mounted", [REASON_MOUNTING] = "Mounting",
    [REASON_MOUNT_FAILED] = "MountFailed", [REASON_VOLUME_IN_USE] = "VolumeInUse",
    [REASON_WAITING_FOR_PROBE] = "WaitingForProbe", [REASON_PROBE_FAILED] = "ProbeFailed",
    [REASON_PROVISIONED] = "Provisioned", [REASON_SKIPPED] = "Skipped",
    [REASON_PENDING] = "Pending", [REASON_RUNNING_STEP] = "RunningStep",
    [REASON_STEP_FAILED] = "StepFailed", [REASON_STEP_TIMEOUT] = "StepTimeout",
    [REASON_INTERRUPTED] = "Interrupted", [REASON_UPLOAD_FAILED] = "UploadFailed",
    [REASON_NEW_GENERATION] = "NewGeneration", [REASON_PROGRESSING] = "Progressing",
    [REASON_RETRYING] = "Retrying",
    [REASON_PROGRESS_DEADLINE_EXCEEDED] = "ProgressDeadlineExceeded",
    [REASON_UNKILLABLE] = "Unkillable", [REASON_NEEDS_USER] = "NeedsUser",
    [REASON_SOURCE_MISSING] = "SourceMissing", [REASON_REMOVED_FROM_SOURCE] = "RemovedFromSource",
    [REASON_NO_DESIRED_RECORD] = "NoDesiredRecord", [REASON_INTERNAL] = "Internal")

bool reason_is_lateness(enum reason reason)
{
    return reason == REASON_SSH_TIMEOUT || reason == REASON_WAITING_FOR_IP ||
           reason == REASON_PROGRESS_DEADLINE_EXCEEDED;
}

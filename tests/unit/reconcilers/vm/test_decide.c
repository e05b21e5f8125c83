/* SPDX-License-Identifier: MPL-2.0 */
/* The table row by row, and what holds of every answer. tests/sim/test_model.c plays the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reconcilers/vm/decide.h"
#include "specs/base/cleanup.h"

/* A VM that is meant to run: image and disk are there, no process yet. */
#define READY_TO_START                                                                             \
    .is_desired = true, .has_dir = true, .has_image = true, .disk = DISK_READY, .expects_ssh = true
#define READY_TO_CHECK                                                                             \
    .is_desired = true, .has_dir = true, .has_image = true, .disk = DISK_UNCHECKED
/* Its process lives and was recorded. */
#define ALIVE READY_TO_START, .has_instance = true, .has_pid = true, .is_alive = true
#define UP ALIVE, .run_state = RUN_STATE_RUNNING
#define STOPPING ALIVE, .intent = INTENT_STOP, .run_state = RUN_STATE_RUNNING

static const struct {
    const char *when;
    struct situation situation;
    int row;
    enum action action;
} expected[] = {
    {"a process without a record", {.is_alive = true}, 1, ACTION_ADOPT_ORPHAN},
    {"files without a record", {.has_dir = true}, 2, ACTION_QUARANTINE},
    {"a status without a record", {.has_instance = true}, 3, ACTION_FORGET},
    {"deleted while the child waits",
        {ALIVE, .is_deleting = true, .is_waiting = true, .intent = INTENT_START}, 4, ACTION_KILL},
    {"restart asked while the child waits", {ALIVE, .is_restart_pending = true, .is_waiting = true},
        4, ACTION_KILL},
    {"deleted while it runs", {UP, .is_deleting = true}, 5, ACTION_BEGIN_STOP},
    {"a restart is asked for", {UP, .is_restart_pending = true}, 5, ACTION_BEGIN_STOP},
    {"a recreation is asked for", {UP, .recreation = RECREATION_READY}, 5, ACTION_BEGIN_STOP},
    {"it runs, and its record was lost",
        {.is_desired = true, .has_dir = true, .is_alive = true, .run_state = RUN_STATE_RUNNING}, 5,
        ACTION_BEGIN_STOP},
    {"less grace than was granted", {STOPPING, .is_deleting = true, .is_grace_shorter = true}, 5,
        ACTION_BEGIN_STOP},
    {"neither quit nor SIGTERM helped", {STOPPING, .stage = STOP_STAGE_KILL}, 6, ACTION_KILL},
    {"nor did SIGKILL", {STOPPING, .stage = STOP_STAGE_UNKILLABLE}, 6, ACTION_KILL},
    {"quit did not help", {STOPPING, .stage = STOP_STAGE_TERMINATE}, 7, ACTION_TERMINATE},
    {"the grace is over", {STOPPING, .stage = STOP_STAGE_QUIT}, 8, ACTION_QUIT},
    {"the guest is off already", {ALIVE, .intent = INTENT_STOP, .run_state = RUN_STATE_SHUTDOWN}, 8,
        ACTION_QUIT},
    {"the guest never ran", {ALIVE, .intent = INTENT_STOP, .run_state = RUN_STATE_PRELAUNCH}, 8,
        ACTION_QUIT},
    {"it waits for the memory of a guest",
        {ALIVE, .intent = INTENT_STOP, .run_state = RUN_STATE_INMIGRATE}, 8, ACTION_QUIT},
    {"the guest left with its memory",
        {ALIVE, .intent = INTENT_STOP, .run_state = RUN_STATE_POSTMIGRATE}, 8, ACTION_QUIT},
    {"the guest is paused", {ALIVE, .intent = INTENT_STOP, .run_state = RUN_STATE_PAUSED}, 9,
        ACTION_RESUME},
    {"within the grace", {STOPPING}, 10, ACTION_POWERDOWN},
    {"within the grace, QMP silent", {ALIVE, .intent = INTENT_STOP}, 10, ACTION_POWERDOWN},
    {"the process is gone", {READY_TO_START, .has_instance = true, .has_pid = true}, 11,
        ACTION_RECORD_EXIT},
    {"stopped before the launch",
        {READY_TO_START, .has_instance = true, .intent = INTENT_START, .is_deleting = true}, 11,
        ACTION_RECORD_EXIT},
    {"deleted, down, files left", {READY_TO_START, .is_deleting = true}, 12, ACTION_DISCARD_ALL},
    {"deleted, nothing left", {.is_desired = true, .is_deleting = true}, 13, ACTION_FORGET},
    {"a snapshot is asked for, down", {READY_TO_START, .is_snapshot_asked = true}, 19,
        ACTION_SNAPSHOT},
    {"the same, stopped", {READY_TO_START, .power = POWER_STOPPED, .is_snapshot_asked = true}, 19,
        ACTION_SNAPSHOT},
    {"the same, and it is still stopping", {STOPPING, .is_snapshot_asked = true}, 10,
        ACTION_POWERDOWN},
    {"the same, and a start is recorded",
        {READY_TO_START, .has_instance = true, .intent = INTENT_START, .is_snapshot_asked = true},
        19, ACTION_SNAPSHOT},
    {"the same, and it starts", {UP, .intent = INTENT_START, .is_snapshot_asked = true}, 54,
        ACTION_CONFIRM_START},
    {"the same, and it was started", {UP, .is_snapshot_asked = true}, 19, ACTION_SNAPSHOT},
    {"the same, and it has not answered this controller yet", {ALIVE, .is_snapshot_asked = true},
        50, ACTION_AWAIT_MACHINE},
    {"the same, and it is deleted",
        {READY_TO_START, .is_deleting = true, .is_snapshot_asked = true}, 12, ACTION_DISCARD_ALL},
    {"the same, and a new disk is asked for",
        {READY_TO_START, .recreation = RECREATION_READY, .is_snapshot_asked = true}, 19,
        ACTION_SNAPSHOT},
    {"recreation, without another disk yet", {UP, .recreation = RECREATION_ASKED}, 23,
        ACTION_REPLACE},
    {"the same, and QMP does not answer", {ALIVE, .recreation = RECREATION_ASKED}, 23,
        ACTION_REPLACE},
    {"the same, suspended",
        {ALIVE, .power = POWER_SUSPENDED, .run_state = RUN_STATE_PAUSED,
            .recreation = RECREATION_ASKED},
        23, ACTION_REPLACE},
    {"the same, to be suspended", {UP, .power = POWER_SUSPENDED, .recreation = RECREATION_ASKED},
        59, ACTION_PAUSE},
    {"the same, down", {READY_TO_START, .recreation = RECREATION_ASKED}, 23, ACTION_REPLACE},
    {"the same, and it starts", {UP, .intent = INTENT_START, .recreation = RECREATION_ASKED}, 54,
        ACTION_CONFIRM_START},
    {"the same, and the guest panicked",
        {ALIVE, .run_state = RUN_STATE_PANICKED, .recreation = RECREATION_ASKED}, 51,
        ACTION_RECORD_CAUSE},
    {"recreation, down", {READY_TO_START, .recreation = RECREATION_READY}, 24, ACTION_DISCARD_DISK},
    {"restart, down", {READY_TO_START, .is_restart_pending = true}, 25, ACTION_MARK_RESTARTED},
    {"stopped", {.is_desired = true, .power = POWER_STOPPED}, 26, ACTION_NONE},
    {"it runs, and the host goes down", {UP, .is_halted = true, .is_reached = true}, 5,
        ACTION_BEGIN_STOP},
    {"it is suspended, and the host goes down",
        {ALIVE, .power = POWER_SUSPENDED, .is_halted = true, .intent = INTENT_STOP,
            .run_state = RUN_STATE_PAUSED},
        9, ACTION_RESUME},
    {"it is down, and the host goes down", {READY_TO_START, .is_halted = true}, 26, ACTION_NONE},
    {"a start was recorded, and the host goes down",
        {READY_TO_START, .is_halted = true, .has_instance = true, .intent = INTENT_START}, 11,
        ACTION_RECORD_EXIT},
    {"ended by itself", {READY_TO_START, .is_held = true}, 27, ACTION_HOLD},
    {"another base under the disk", {READY_TO_START, .is_image_changed = true}, 29,
        ACTION_REFUSE_IMAGE},
    {"perhaps another base under the disk", {READY_TO_START, .is_image_unsure = true}, 28,
        ACTION_IDENTIFY_IMAGE},
    {"made, never started, and its base has no digest yet",
        {.is_desired = true,
            .has_dir = true,
            .has_image = true,
            .disk = DISK_READY,
            .power = POWER_STOPPED,
            .wants_prepared = true,
            .is_identity_due = true},
        28, ACTION_IDENTIFY_IMAGE},
    {"a guest whose base has no digest yet", {UP, .is_reached = true, .is_identity_due = true}, 72,
        ACTION_IDENTIFY_IMAGE},
    {"the same, and probes are due",
        {UP, .is_reached = true, .is_identity_due = true, .is_probe_due = true}, 71, ACTION_PROBE},
    {"a disk that was used", {READY_TO_CHECK}, 30, ACTION_CHECK_DISK},
    {"the same, and its start is recorded",
        {READY_TO_CHECK, .has_instance = true, .intent = INTENT_START}, 30, ACTION_CHECK_DISK},
    {"the same, only to be prepared",
        {READY_TO_CHECK, .power = POWER_STOPPED, .wants_prepared = true}, 30, ACTION_CHECK_DISK},
    {"no image", {.is_desired = true}, 31, ACTION_FETCH_IMAGE},
    {"no image, only to be prepared",
        {.is_desired = true, .power = POWER_STOPPED, .wants_prepared = true}, 31,
        ACTION_FETCH_IMAGE},
    {"no disk", {.is_desired = true, .has_image = true}, 32, ACTION_PREPARE},
    {"a disk too small", {.is_desired = true, .has_image = true, .disk = DISK_TO_GROW}, 32,
        ACTION_PREPARE},
    {"a volume is to be made", {READY_TO_START, .is_volume_due = true}, 33, ACTION_MAKE_VOLUMES},
    {"the same, and its start is recorded",
        {READY_TO_START, .is_volume_due = true, .has_instance = true, .intent = INTENT_START}, 33,
        ACTION_MAKE_VOLUMES},
    {"the same, and there is no disk yet",
        {.is_desired = true, .has_image = true, .is_volume_due = true}, 32, ACTION_PREPARE},
    {"the same, of one that is stopped",
        {READY_TO_START, .power = POWER_STOPPED, .is_volume_due = true}, 26, ACTION_NONE},
    {"the same, and it boots",
        {ALIVE, .intent = INTENT_START, .run_state = RUN_STATE_PRELAUNCH, .is_volume_due = true},
        47, ACTION_BOOT},
    {"a volume was attached that is to be made",
        {UP, .is_volume_due = true, .is_hot_change_pending = true}, 61, ACTION_MAKE_VOLUMES},
    {"a volume was attached", {UP, .is_hot_change_pending = true, .is_mount_due = true}, 63,
        ACTION_APPLY},
    {"a volume leaves",
        {UP, .is_reached = true, .is_hot_change_pending = true, .is_mount_due = true,
            .is_unmount_due = true},
        62, ACTION_MOUNT},
    {"a volume leaves, and the guest is not reached",
        {UP, .is_hot_change_pending = true, .is_mount_due = true, .is_unmount_due = true}, 64,
        ACTION_REACH},
    {"a volume leaves, and its cloud-init runs",
        {UP, .is_reached = true, .is_setting_up = true, .is_hot_change_pending = true,
            .is_mount_due = true, .is_unmount_due = true},
        66, ACTION_AWAIT_CLOUD_INIT},
    {"volumes are to be mounted",
        {UP, .is_reached = true, .is_mount_due = true, .has_step = true, .is_probe_due = true,
            .is_unhealthy = true},
        68, ACTION_MOUNT},
    {"the same, and its cloud-init runs",
        {UP, .is_reached = true, .is_setting_up = true, .is_mount_due = true}, 66,
        ACTION_AWAIT_CLOUD_INIT},
    {"the same, and its cloud-init failed",
        {UP, .is_reached = true, .has_setup_failed = true, .is_mount_due = true}, 73, ACTION_NONE},
    {"prepared, as asked", {READY_TO_START, .power = POWER_STOPPED, .wants_prepared = true}, 34,
        ACTION_NONE},
    {"a crash loop", {READY_TO_START, .is_backing_off = true}, 35, ACTION_BACK_OFF},
    {"all is there", {READY_TO_START}, 38, ACTION_BEGIN_START},
    {"the spec changed before the launch",
        {READY_TO_START, .has_instance = true, .intent = INTENT_START, .is_start_outdated = true},
        38, ACTION_BEGIN_START},
    {"a start is recorded", {READY_TO_START, .has_instance = true, .intent = INTENT_START}, 39,
        ACTION_LAUNCH},
    {"the launch has not told its pid",
        {READY_TO_START, .has_instance = true, .intent = INTENT_START, .is_alive = true,
            .is_waiting = true, .is_launching = true},
        40, ACTION_AWAIT_MACHINE},
    {"the pid was lost",
        {READY_TO_START, .has_instance = true, .intent = INTENT_START, .is_alive = true,
            .is_waiting = true},
        41, ACTION_KILL},
    {"the pid is committed", {ALIVE, .intent = INTENT_START, .is_waiting = true}, 42,
        ACTION_RELEASE},
    {"QEMU waits to be let go", {ALIVE, .intent = INTENT_START, .run_state = RUN_STATE_PRELAUNCH},
        47, ACTION_BOOT},
    {"it runs, and what the boot told is lost",
        {UP, .intent = INTENT_START, .is_boot_unknown = true}, 47, ACTION_BOOT},
    {"QMP does not answer in time", {ALIVE, .intent = INTENT_START, .is_start_overdue = true}, 48,
        ACTION_GIVE_UP_START},
    {"QMP does not answer yet", {ALIVE, .intent = INTENT_START}, 50, ACTION_AWAIT_MACHINE},
    {"QMP does not answer any more", {ALIVE}, 50, ACTION_AWAIT_MACHINE},
    {"the memory of a guest does not arrive in time",
        {ALIVE, .intent = INTENT_START, .run_state = RUN_STATE_INMIGRATE, .is_start_overdue = true},
        48, ACTION_GIVE_UP_START},
    {"the memory of a guest has not arrived yet",
        {ALIVE, .intent = INTENT_START, .run_state = RUN_STATE_INMIGRATE}, 50,
        ACTION_AWAIT_MACHINE},
    {"the guest powered off", {ALIVE, .run_state = RUN_STATE_SHUTDOWN}, 51, ACTION_RECORD_CAUSE},
    {"the guest panicked", {ALIVE, .run_state = RUN_STATE_PANICKED}, 51, ACTION_RECORD_CAUSE},
    {"QEMU failed", {ALIVE, .run_state = RUN_STATE_INTERNAL_ERROR}, 51, ACTION_RECORD_CAUSE},
    {"the disk is full", {ALIVE, .run_state = RUN_STATE_IO_ERROR}, 52, ACTION_RETRY_IO},
    {"it runs, unconfirmed", {UP, .intent = INTENT_START}, 54, ACTION_CONFIRM_START},
    {"paused by somebody", {ALIVE, .run_state = RUN_STATE_PAUSED}, 58, ACTION_RESUME},
    {"its memory was sent away",
        {ALIVE, .run_state = RUN_STATE_POSTMIGRATE, .is_clock_due = true, .has_step = true}, 73,
        ACTION_NONE},
    {"the same, to be suspended",
        {ALIVE, .power = POWER_SUSPENDED, .run_state = RUN_STATE_POSTMIGRATE}, 73, ACTION_NONE},
    {"the same, and a restart is asked for",
        {ALIVE, .run_state = RUN_STATE_POSTMIGRATE, .is_restart_pending = true}, 5,
        ACTION_BEGIN_STOP},
    {"the same, and another disk is asked for",
        {ALIVE, .run_state = RUN_STATE_POSTMIGRATE, .recreation = RECREATION_ASKED}, 23,
        ACTION_REPLACE},
    {"the same, and QEMU is gone too", {READY_TO_START, .has_instance = true, .has_pid = true}, 11,
        ACTION_RECORD_EXIT},
    {"to be suspended", {UP, .power = POWER_SUSPENDED}, 59, ACTION_PAUSE},
    {"its probes fail for good", {UP, .is_reached = true, .is_unhealthy = true}, 60,
        ACTION_END_UNHEALTHY},
    {"a shared folder is lost, also before it is reached", {UP, .is_share_lost = true}, 60,
        ACTION_END_UNHEALTHY},
    {"a shared folder is lost while a step runs",
        {UP, .is_reached = true, .has_step = true, .is_share_lost = true}, 60,
        ACTION_END_UNHEALTHY},
    {"a shared folder is lost, and it is suspended",
        {ALIVE, .power = POWER_SUSPENDED, .run_state = RUN_STATE_PAUSED, .is_share_lost = true}, 73,
        ACTION_NONE},
    {"not reached yet", {UP}, 64, ACTION_REACH},
    {"not reached yet, and its probes failed before", {UP, .is_unhealthy = true}, 64, ACTION_REACH},
    {"its cloud-init was not asked yet",
        {UP, .is_reached = true, .is_setting_up = true, .has_step = true, .is_probe_due = true,
            .is_unhealthy = true},
        66, ACTION_AWAIT_CLOUD_INIT},
    {"it stood still, and its cloud-init was not asked",
        {UP, .is_reached = true, .is_setting_up = true, .is_clock_due = true}, 65,
        ACTION_SET_CLOCK},
    {"it stood still, and steps wait",
        {UP, .is_reached = true, .is_clock_due = true, .has_step = true, .is_probe_due = true}, 65,
        ACTION_SET_CLOCK},
    {"it stood still, and is not reached", {UP, .is_clock_due = true}, 64, ACTION_REACH},
    {"it stood still, and has no SSH",
        {.is_desired = true,
            .has_dir = true,
            .has_image = true,
            .disk = DISK_READY,
            .has_instance = true,
            .has_pid = true,
            .is_alive = true,
            .run_state = RUN_STATE_RUNNING,
            .is_clock_due = true},
        65, ACTION_SET_CLOCK},
    {"something was added, and steps wait",
        {UP, .is_reached = true, .is_growth_due = true, .has_step = true, .is_probe_due = true}, 67,
        ACTION_GROW_GUEST},
    {"something was added, and its cloud-init may be growing the disk",
        {UP, .is_reached = true, .is_growth_due = true, .is_setting_up = true}, 66,
        ACTION_AWAIT_CLOUD_INIT},
    {"something was added, and its cloud-init failed",
        {UP, .is_reached = true, .is_growth_due = true, .has_setup_failed = true}, 67,
        ACTION_GROW_GUEST},
    {"something was added, and it is not reached", {UP, .is_growth_due = true}, 64, ACTION_REACH},
    {"something was added to a guest that is suspended",
        {ALIVE, .power = POWER_SUSPENDED, .run_state = RUN_STATE_PAUSED, .is_reached = true,
            .is_growth_due = true},
        73, ACTION_NONE},
    {"it stands still",
        {ALIVE, .power = POWER_SUSPENDED, .run_state = RUN_STATE_PAUSED, .is_clock_due = true}, 73,
        ACTION_NONE},
    {"not reached, and its cloud-init ran", {UP, .is_setting_up = true}, 64, ACTION_REACH},
    {"nobody logs in to ask its cloud-init",
        {.is_desired = true,
            .has_dir = true,
            .has_image = true,
            .disk = DISK_READY,
            .has_instance = true,
            .has_pid = true,
            .is_alive = true,
            .run_state = RUN_STATE_RUNNING,
            .is_setting_up = true},
        73, ACTION_NONE},
    {"its cloud-init failed, and steps wait",
        {UP, .is_reached = true, .has_setup_failed = true, .has_step = true}, 73, ACTION_NONE},
    {"its cloud-init failed, and steps were appended",
        {UP, .is_reached = true, .has_setup_failed = true, .has_appended = true}, 73, ACTION_NONE},
    {"its cloud-init failed, and its probes are due",
        {UP, .is_reached = true, .has_setup_failed = true, .is_probe_due = true}, 71, ACTION_PROBE},
    {"steps wait", {UP, .is_reached = true, .has_step = true}, 69, ACTION_RUN_STEP},
    {"steps wait before probes",
        {UP, .is_reached = true, .has_step = true, .is_probe_due = true, .is_unhealthy = true}, 69,
        ACTION_RUN_STEP},
    {"steps were appended", {UP, .is_reached = true, .has_appended = true}, 70,
        ACTION_APPEND_STEPS},
    {"steps were appended, to others that wait",
        {UP, .is_reached = true, .has_appended = true, .has_step = true}, 69, ACTION_RUN_STEP},
    {"steps were appended, and its probes fail for good",
        {UP, .is_reached = true, .has_appended = true, .is_probe_due = true, .is_unhealthy = true},
        70, ACTION_APPEND_STEPS},
    {"steps were appended, and it is not reached", {UP, .has_appended = true}, 64, ACTION_REACH},
    {"probes are due", {UP, .is_reached = true, .is_probe_due = true}, 71, ACTION_PROBE},
    {"all is well", {UP, .is_reached = true}, 73, ACTION_NONE},
    {"suspended, as asked",
        {ALIVE, .power = POWER_SUSPENDED, .run_state = RUN_STATE_PAUSED, .is_probe_due = true}, 73,
        ACTION_NONE},
    {"what it depends on is not ready", {READY_TO_START, .is_dependency_missing = true}, 36,
        ACTION_AWAIT_DEPENDENCY},
    {"a forward was added", {UP, .is_hot_change_pending = true}, 63, ACTION_APPLY},
    {"a clone whose guest was not itself yet", {READY_TO_START, .wake = WAKE_BEGUN}, 17,
        ACTION_DISCARD_DISK},
    {"the same, stopped", {READY_TO_START, .power = POWER_STOPPED, .wake = WAKE_BEGUN}, 17,
        ACTION_DISCARD_DISK},
    {"the same, and its exit is not recorded",
        {READY_TO_START, .has_instance = true, .has_pid = true, .wake = WAKE_BEGUN}, 11,
        ACTION_RECORD_EXIT},
    {"a clone that is not to be woken", {READY_TO_START, .wake = WAKE_DUE, .is_wake_refused = true},
        37, ACTION_BOOT_COLD},
    {"the same, and a start is recorded",
        {READY_TO_START, .has_instance = true, .intent = INTENT_START, .wake = WAKE_DUE,
            .is_wake_refused = true},
        37, ACTION_BOOT_COLD},
    {"a clone that is to be woken", {READY_TO_START, .wake = WAKE_DUE}, 38, ACTION_BEGIN_START},
    {"it waits for its memory",
        {ALIVE, .intent = INTENT_START, .run_state = RUN_STATE_INMIGRATE, .wake = WAKE_DUE}, 49,
        ACTION_LOAD},
    {"it waits for its memory, and stops",
        {ALIVE, .intent = INTENT_STOP, .run_state = RUN_STATE_INMIGRATE, .wake = WAKE_DUE}, 8,
        ACTION_QUIT},
    {"its memory is loaded",
        {ALIVE, .intent = INTENT_START, .run_state = RUN_STATE_PAUSED, .wake = WAKE_DUE}, 46,
        ACTION_MARK_WOKEN},
    {"its memory is loaded, and another program let it run",
        {UP, .intent = INTENT_START, .wake = WAKE_DUE}, 46, ACTION_MARK_WOKEN},
    {"its memory is loaded, and it stops: its guest is not resumed",
        {ALIVE, .intent = INTENT_STOP, .run_state = RUN_STATE_PAUSED, .wake = WAKE_DUE}, 8,
        ACTION_QUIT},
    {"its memory cannot be loaded",
        {ALIVE, .intent = INTENT_START, .run_state = RUN_STATE_INMIGRATE, .wake = WAKE_DUE,
            .is_wake_refused = true},
        45, ACTION_KILL},
    {"its guest may run",
        {ALIVE, .intent = INTENT_START, .run_state = RUN_STATE_PAUSED, .wake = WAKE_BEGUN,
            .is_wake_ours = true},
        47, ACTION_BOOT},
    {"its guest may run, as another controller said",
        {ALIVE, .intent = INTENT_START, .run_state = RUN_STATE_PAUSED, .wake = WAKE_BEGUN}, 45,
        ACTION_KILL},
    {"its guest runs, and is not itself",
        {UP, .intent = INTENT_START, .wake = WAKE_BEGUN, .is_wake_ours = true}, 53,
        ACTION_IDENTIFY},
    {"the same, and another controller may have told it",
        {UP, .intent = INTENT_START, .wake = WAKE_BEGUN}, 45, ACTION_KILL},
    {"its guest does not become itself",
        {UP, .intent = INTENT_START, .wake = WAKE_BEGUN, .is_wake_ours = true,
            .is_wake_refused = true},
        45, ACTION_KILL},
    {"its guest left before it was itself",
        {ALIVE, .intent = INTENT_START, .run_state = RUN_STATE_POSTMIGRATE, .wake = WAKE_BEGUN,
            .is_wake_ours = true},
        45, ACTION_KILL},
    {"a builder whose guest is to be frozen", {UP, .is_reached = true, .build = BUILD_TO_FREEZE},
        43, ACTION_FREEZE},
    {"a builder that is being frozen",
        {ALIVE, .run_state = RUN_STATE_PAUSED, .build = BUILD_TO_FREEZE, .is_freezing = true}, 43,
        ACTION_FREEZE},
    {"a builder that a controller before began to freeze",
        {ALIVE, .run_state = RUN_STATE_PAUSED, .build = BUILD_TO_FREEZE}, 44, ACTION_KILL},
    {"a builder that is frozen, and that is not recorded",
        {ALIVE, .run_state = RUN_STATE_POSTMIGRATE, .build = BUILD_TO_FREEZE}, 44, ACTION_KILL},
    {"a builder that is frozen",
        {ALIVE, .intent = INTENT_STOP, .run_state = RUN_STATE_POSTMIGRATE, .build = BUILD_DONE}, 8,
        ACTION_QUIT},
    {"a builder whose template is there", {READY_TO_START, .build = BUILD_SEALED}, 14,
        ACTION_DISMISS},
    {"a builder that failed", {READY_TO_START, .build = BUILD_FAILED}, 14, ACTION_DISMISS},
    {"a builder that failed and runs", {UP, .build = BUILD_FAILED}, 5, ACTION_BEGIN_STOP},
    {"a builder whose steps have run", {UP, .build = BUILD_DONE}, 5, ACTION_BEGIN_STOP},
    {"a builder that is shut down", {READY_TO_START, .build = BUILD_DONE}, 15, ACTION_SEAL},
    {"the same, while the host goes down", {READY_TO_START, .build = BUILD_DONE, .is_halted = true},
        26, ACTION_NONE},
    {"a builder that was killed", {READY_TO_START, .build = BUILD_STALE}, 16, ACTION_DISCARD_DISK},
    {"a new disk is due, and no template is there",
        {.is_desired = true, .has_image = true, .template = TEMPLATE_MISSING}, 20,
        ACTION_BEGIN_TEMPLATE},
    {"the disk is to be replaced, and no template is there",
        {UP, .recreation = RECREATION_ASKED, .template = TEMPLATE_MISSING}, 20,
        ACTION_BEGIN_TEMPLATE},
    {"a new disk is due, and its template is being made",
        {.is_desired = true, .has_image = true, .template = TEMPLATE_BUILDING}, 21,
        ACTION_AWAIT_TEMPLATE},
    {"a new disk is due, and its template is there",
        {.is_desired = true, .has_image = true, .template = TEMPLATE_READY}, 22,
        ACTION_CHOOSE_BASE},
    {"a new disk is due, and its template could not be made",
        {.is_desired = true, .has_image = true, .template = TEMPLATE_UNUSABLE}, 22,
        ACTION_CHOOSE_BASE},
    {"to be suspended to disk", {UP, .power = POWER_SUSPENDED, .is_to_disk = true}, 55,
        ACTION_SAVE},
    {"the same, paused before",
        {ALIVE, .power = POWER_SUSPENDED, .is_to_disk = true, .run_state = RUN_STATE_PAUSED}, 55,
        ACTION_SAVE},
    {"the same, and a controller before began it",
        {ALIVE, .power = POWER_SUSPENDED, .is_to_disk = true, .run_state = RUN_STATE_POSTMIGRATE,
            .saved = SAVED_BEGUN},
        55, ACTION_SAVE},
    {"the same, and its memory was sent elsewhere",
        {ALIVE, .power = POWER_SUSPENDED, .is_to_disk = true, .run_state = RUN_STATE_POSTMIGRATE},
        73, ACTION_NONE},
    {"the same, while it starts",
        {UP, .power = POWER_SUSPENDED, .is_to_disk = true, .intent = INTENT_START}, 54,
        ACTION_CONFIRM_START},
    {"the host goes down while its memory is saved",
        {ALIVE, .power = POWER_SUSPENDED, .is_to_disk = true, .run_state = RUN_STATE_POSTMIGRATE,
            .saved = SAVED_BEGUN, .is_halted = true},
        55, ACTION_SAVE},
    {"the same, and it cannot be saved",
        {ALIVE, .power = POWER_SUSPENDED, .is_to_disk = true, .run_state = RUN_STATE_PAUSED,
            .saved = SAVED_BEGUN, .is_halted = true, .is_save_failing = true},
        5, ACTION_BEGIN_STOP},
    {"stopped after it has left to our file",
        {ALIVE, .intent = INTENT_STOP, .run_state = RUN_STATE_POSTMIGRATE, .saved = SAVED_BEGUN}, 9,
        ACTION_RESUME},
    {"suspended to disk before its launch",
        {READY_TO_START, .has_instance = true, .intent = INTENT_START, .power = POWER_SUSPENDED,
            .is_to_disk = true},
        11, ACTION_RECORD_EXIT},
    {"its memory is saved",
        {ALIVE, .power = POWER_SUSPENDED, .is_to_disk = true, .run_state = RUN_STATE_POSTMIGRATE,
            .saved = SAVED_WHOLE},
        5, ACTION_BEGIN_STOP},
    {"the same, and it is wanted back before its process ended",
        {ALIVE, .run_state = RUN_STATE_POSTMIGRATE, .saved = SAVED_WHOLE}, 5, ACTION_BEGIN_STOP},
    {"the same, and its process is told to end",
        {ALIVE, .intent = INTENT_STOP, .run_state = RUN_STATE_UNKNOWN, .saved = SAVED_WHOLE}, 8,
        ACTION_QUIT},
    {"it is on disk",
        {READY_TO_START, .power = POWER_SUSPENDED, .is_to_disk = true, .saved = SAVED_WHOLE}, 26,
        ACTION_NONE},
    {"it ended before it was on disk",
        {READY_TO_START, .power = POWER_SUSPENDED, .is_to_disk = true}, 26, ACTION_NONE},
    {"it is on disk, and a snapshot is asked for",
        {READY_TO_START, .power = POWER_SUSPENDED, .is_to_disk = true, .saved = SAVED_WHOLE,
            .is_snapshot_asked = true},
        26, ACTION_NONE},
    {"it is on disk, and wanted", {READY_TO_START, .saved = SAVED_WHOLE}, 38, ACTION_BEGIN_START},
    {"it is on disk, and to be stopped",
        {READY_TO_START, .power = POWER_STOPPED, .saved = SAVED_WHOLE}, 18, ACTION_DROP_MEMORY},
    {"it is on disk, and to be restarted",
        {READY_TO_START, .is_restart_pending = true, .saved = SAVED_WHOLE}, 18, ACTION_DROP_MEMORY},
    {"it is on disk, and to get another disk",
        {READY_TO_START, .recreation = RECREATION_READY, .saved = SAVED_WHOLE}, 18,
        ACTION_DROP_MEMORY},
    {"it waits for its own memory",
        {ALIVE, .intent = INTENT_START, .run_state = RUN_STATE_INMIGRATE, .saved = SAVED_WHOLE}, 49,
        ACTION_LOAD},
    {"the same, and it is to be suspended again",
        {ALIVE, .power = POWER_SUSPENDED, .is_to_disk = true, .intent = INTENT_START,
            .run_state = RUN_STATE_INMIGRATE, .saved = SAVED_WHOLE},
        5, ACTION_BEGIN_STOP},
    {"it has its own memory",
        {ALIVE, .intent = INTENT_START, .run_state = RUN_STATE_PAUSED, .saved = SAVED_WHOLE}, 46,
        ACTION_MARK_WOKEN},
    {"the same, and that is recorded",
        {ALIVE, .intent = INTENT_START, .run_state = RUN_STATE_PAUSED, .saved = SAVED_LOADED}, 47,
        ACTION_BOOT},
    {"it runs on, unconfirmed", {UP, .intent = INTENT_START, .saved = SAVED_LOADED}, 54,
        ACTION_CONFIRM_START},
    {"saving is called off, and the guest has left",
        {ALIVE, .run_state = RUN_STATE_POSTMIGRATE, .saved = SAVED_BEGUN}, 56, ACTION_RESUME},
    {"saving is called off, and the guest stands still",
        {ALIVE, .run_state = RUN_STATE_PAUSED, .saved = SAVED_BEGUN}, 58, ACTION_RESUME},
    {"saving is called off, and the guest runs", {UP, .saved = SAVED_BEGUN}, 57,
        ACTION_DROP_MEMORY},
};

static void each_row_answers_to_its_situation(void **state)
{
    (void)state;
    bool rows[DECIDE_ROWS + 1] = {false};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        struct decision decision = decide(&expected[i].situation);
        if (decision.row != expected[i].row || decision.action != expected[i].action) {
            fail_msg("%s: row %d (%s), expected row %d (%s)", expected[i].when, decision.row,
                action_name(decision.action), expected[i].row, action_name(expected[i].action));
        }
        rows[decision.row] = true;
    }
    for (int row = 1; row <= DECIDE_ROWS; row++) {
        assert_true(rows[row]);
    }
}

/* ---- what holds of every answer ---- */

static uint32_t next_random(uint64_t *rng)
{
    *rng ^= *rng >> 12;
    *rng ^= *rng << 25;
    *rng ^= *rng >> 27;
    return (uint32_t)((*rng * UINT64_C(0x2545f4914f6cdd1d)) >> 32);
}

/* A template is looked for only when a new disk is to be made otherwise. */
static struct situation with_template(struct situation s, uint32_t bits)
{
    enum action next = decide(&s).action;
    if (next == ACTION_REPLACE || (next == ACTION_PREPARE && s.disk == DISK_NONE)) {
        s.template = (enum template_state)(bits % 5);
    }
    return s;
}

static struct situation random_situation(uint64_t *rng)
{
    uint32_t bits = next_random(rng), more = next_random(rng), most = next_random(rng);
    struct situation s = {
        .is_desired = bits & 3,
        .is_deleting = (bits >> 2 & 3) == 0,
        .wants_prepared = bits >> 4 & 1,
        .is_restart_pending = (bits >> 5 & 3) == 0,
        .is_snapshot_asked = (more >> 28 & 3) == 0,
        .recreation = (enum recreation)(more >> 20 & 3) % 3,
        .has_instance = bits >> 9 & 1,
        .has_pid = bits >> 10 & 1,
        .is_start_outdated = bits >> 11 & 1,
        .is_held = bits >> 12 & 1,
        .is_backing_off = bits >> 13 & 1,
        .is_alive = bits >> 14 & 1,
        .is_waiting = bits >> 15 & 1,
        .is_launching = bits >> 16 & 1,
        .is_volume_due = (more >> 18 & 3) == 0,
        .is_mount_due = (more >> 12 & 3) == 0,
        .is_unmount_due = (more >> 12 & 7) == 0,
        .is_start_overdue = bits >> 17 & 1,
        .is_grace_shorter = bits >> 18 & 1,
        .has_dir = bits >> 19 & 1,
        .has_image = bits >> 20 & 1,
        .is_image_changed = bits >> 21 & 1,
        .expects_ssh = bits >> 22 & 1,
        .is_reached = bits >> 23 & 1,
        .has_step = bits >> 24 & 1,
        .has_appended = bits >> 25 & 1,
        .is_setting_up = bits >> 26 & 1,
        .has_setup_failed = bits >> 27 & 1,
        .is_clock_due = bits >> 28 & 1,
        .is_growth_due = bits >> 30 & 1,
        .is_share_lost = (most >> 28 & 3) == 0,
        .is_halted = bits >> 29 & 1,
        .power = (enum power)(more % POWER_COUNT_),
        .intent = (enum intent)(more / 3 % INTENT_COUNT_),
        .run_state = (enum run_state)(more / 9 % RUN_STATE_COUNT_),
        .stage = (enum stop_stage)(more / 72 % STOP_STAGE_COUNT_),
        .disk = (enum disk_state)(more / 360 % 4),
        .is_image_unsure = (more >> 23 & 7) == 0,
        .is_identity_due = (more >> 26 & 3) == 0,
        .wake = (enum wake)((most >> 8 & 7) % WAKE_COUNT_),
        .is_wake_refused = (most >> 11 & 3) == 0,
        .is_wake_ours = most >> 13 & 1,
        .is_freezing = (most >> 14 & 3) == 0,
        .build = most & 3 ? BUILD_NONE : (enum build)(most / 4 % 7),
    };
    if (s.wake == WAKE_NONE && s.build == BUILD_NONE) { /* neither is saved before it is itself */
        s.saved = (enum saved_phase)((most >> 16 & 7) % SAVED_PHASE_COUNT_);
        s.is_to_disk = s.power == POWER_SUSPENDED && (most >> 19 & 1);
        s.is_save_failing = most >> 20 & 1;
    }
    return with_template(s, most / 24);
}

static bool is_only_for_the_dead(enum action action)
{
    return action == ACTION_QUARANTINE || action == ACTION_FORGET || action == ACTION_RECORD_EXIT ||
           action == ACTION_DISCARD_ALL || action == ACTION_DISCARD_DISK ||
           action == ACTION_DISMISS || action == ACTION_SEAL || action == ACTION_MARK_RESTARTED ||
           action == ACTION_HOLD || action == ACTION_REFUSE_IMAGE || action == ACTION_FETCH_IMAGE ||
           action == ACTION_CHECK_DISK || action == ACTION_PREPARE || action == ACTION_BACK_OFF ||
           action == ACTION_BEGIN_START || action == ACTION_LAUNCH || action == ACTION_BOOT_COLD;
}

static bool is_only_for_the_living(enum action action)
{
    return action == ACTION_ADOPT_ORPHAN || action == ACTION_BEGIN_STOP ||
           action == ACTION_POWERDOWN || action == ACTION_QUIT || action == ACTION_TERMINATE ||
           action == ACTION_KILL || action == ACTION_RELEASE || action == ACTION_REACH ||
           action == ACTION_AWAIT_CLOUD_INIT || action == ACTION_RUN_STEP ||
           action == ACTION_SET_CLOCK || action == ACTION_GROW_GUEST ||
           action == ACTION_APPEND_STEPS || action == ACTION_PAUSE || action == ACTION_RESUME ||
           action == ACTION_LOAD || action == ACTION_MARK_WOKEN || action == ACTION_IDENTIFY ||
           action == ACTION_FREEZE || action == ACTION_SAVE;
}

static void check_answer(const struct situation *s, struct decision decision)
{
    enum action action = decision.action;
    assert_false(s->is_alive && is_only_for_the_dead(action));
    assert_false(!s->is_alive && is_only_for_the_living(action));
    assert_false(action == ACTION_RELEASE && (!s->has_pid || !s->is_waiting));
    assert_false(action == ACTION_FORGET && s->has_dir);
    assert_false(action == ACTION_FORGET && s->is_desired && !s->is_deleting);
    assert_false(action == ACTION_LAUNCH && s->is_image_unsure);
    assert_false(action == ACTION_PREPARE && s->disk == DISK_UNCHECKED);
    assert_false(action == ACTION_BEGIN_START && s->disk != DISK_READY);
    assert_false(action == ACTION_DISCARD_DISK && s->recreation != RECREATION_READY &&
                 s->build != BUILD_STALE && s->wake != WAKE_BEGUN);
    assert_false(action == ACTION_SEAL && (s->build != BUILD_DONE || s->has_instance));
    assert_false(action == ACTION_DISMISS && s->build < BUILD_SEALED);
    assert_false((action == ACTION_RESUME || action == ACTION_LAUNCH) && s->build >= BUILD_DONE &&
                 s->intent != INTENT_STOP);
    bool needs_template = s->template != TEMPLATE_UNNEEDED;
    assert_false(needs_template && (action == ACTION_PREPARE || action == ACTION_REPLACE));
    assert_false(action == ACTION_REPLACE && s->recreation != RECREATION_ASKED);
    assert_false(action == ACTION_LAUNCH && (s->disk != DISK_READY || s->is_image_changed));
    assert_false(action == ACTION_LAUNCH && (s->power == POWER_STOPPED || s->is_halted));
    assert_false(action == ACTION_BEGIN_START && s->is_halted);
    assert_false(
        action == ACTION_BEGIN_START && (s->is_held || s->is_backing_off) && !s->has_instance);
    assert_false(action == ACTION_BEGIN_STOP && !situation_must_be_down(s) && s->has_instance);
    assert_false(action == ACTION_GIVE_UP_START && !s->is_start_overdue);
    assert_false(!s->is_desired && decision.row > 3);
    assert_false(s->is_deleting && s->is_desired && decision.row > 13);
    assert_false(action == ACTION_APPEND_STEPS && (!s->is_reached || s->has_step));
    assert_false((action == ACTION_RUN_STEP || action == ACTION_APPEND_STEPS) &&
                 (s->has_setup_failed || (s->is_setting_up && s->expects_ssh)));
    assert_false(action == ACTION_SET_CLOCK && s->expects_ssh && !s->is_reached);
    assert_false(action == ACTION_GROW_GUEST && !s->is_reached);
    bool runs_elsewhere =
        s->run_state == RUN_STATE_POSTMIGRATE || s->run_state == RUN_STATE_INMIGRATE;
    runs_elsewhere &= s->saved != SAVED_BEGUN; /* then it left to our own file */
    assert_false(runs_elsewhere && (action == ACTION_RESUME || action == ACTION_BOOT ||
                                       action == ACTION_RETRY_IO || action == ACTION_POWERDOWN));
    assert_false(action == ACTION_LAUNCH && s->wake == WAKE_BEGUN);
    assert_false(action == ACTION_LOAD && s->saved != SAVED_WHOLE &&
                 (s->wake != WAKE_DUE || s->is_wake_refused));
    assert_false(action == ACTION_SAVE && (!s->is_to_disk || s->saved == SAVED_WHOLE));
    assert_false(s->saved == SAVED_WHOLE && !s->is_deleting && s->is_desired &&
                 (action == ACTION_RESUME || action == ACTION_BOOT || action == ACTION_RETRY_IO ||
                     action == ACTION_POWERDOWN || action == ACTION_REACH ||
                     action == ACTION_CONFIRM_START || action == ACTION_SNAPSHOT ||
                     action == ACTION_DISCARD_DISK));
    assert_false(
        s->is_to_disk && !s->is_alive && (action == ACTION_BEGIN_START || action == ACTION_LAUNCH));
    assert_false(action == ACTION_IDENTIFY && (s->wake != WAKE_BEGUN || !s->is_wake_ours));
    assert_false(s->wake == WAKE_DUE &&
                 (action == ACTION_RESUME || action == ACTION_BOOT || action == ACTION_RETRY_IO));
    assert_false(s->wake != WAKE_NONE && (action == ACTION_CONFIRM_START ||
                                             action == ACTION_RUN_STEP || action == ACTION_REACH));
    if (action == ACTION_NONE) { /* nothing the user asked for is left */
        assert_false(s->is_restart_pending || s->recreation || s->is_deleting);
        assert_false(s->is_snapshot_asked && s->saved == SAVED_NONE &&
                     (!s->is_alive || s->intent == INTENT_NONE));
        assert_false(s->power == POWER_STOPPED && (s->is_alive || s->has_instance) &&
                     s->intent != INTENT_START && s->has_pid);
    }
}

static void no_answer_is_dangerous(void **state)
{
    (void)state;
    uint64_t rng = 1;
    for (int i = 0; i < 300000; i++) {
        struct situation s = random_situation(&rng);
        s.is_waiting = s.is_waiting && s.is_alive;
        s.has_instance = s.has_instance || s.intent != INTENT_NONE;
        check_answer(&s, decide(&s));
    }
}

/* The model (tests/sim) relies on this and on the next: it explores fewer worlds then. */
static void a_stop_reads_nothing_of_the_guest(void **state)
{
    (void)state;
    uint64_t rng = 3;
    for (int i = 0; i < 100000; i++) {
        struct situation s = random_situation(&rng);
        s.intent = INTENT_STOP;
        s.is_desired = s.has_instance = true;
        int row = decide(&s).row;
        s.is_reached = !s.is_reached;
        s.is_setting_up = !s.is_setting_up;
        s.has_setup_failed = !s.has_setup_failed;
        s.is_hot_change_pending = !s.is_hot_change_pending;
        s.is_growth_due = !s.is_growth_due;
        assert_int_equal(decide(&s).row, row);
    }
}

static void a_deletion_outweighs_other_requests(void **state)
{
    (void)state;
    uint64_t rng = 2;
    for (int i = 0; i < 100000; i++) {
        struct situation s = random_situation(&rng);
        s.is_desired = s.is_deleting = true;
        int row = decide(&s).row;
        s.is_restart_pending = !s.is_restart_pending;
        assert_int_equal(decide(&s).row, row);
        s.recreation = (enum recreation)(i % 3);
        assert_int_equal(decide(&s).row, row);
    }
}

static void every_action_is_in_the_table_and_has_a_name(void **state)
{
    (void)state;
    for (int action = 0; action < ACTION_COUNT_; action++) {
        bool is_in_table = false;
        for (int row = 1; row <= DECIDE_ROWS; row++) {
            is_in_table = is_in_table || decide_action_of_row(row) == (enum action)action;
        }
        assert_true(is_in_table);
        assert_non_null(action_name((enum action)action));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_answers_to_its_situation),
        cmocka_unit_test(no_answer_is_dangerous),
        cmocka_unit_test(a_stop_reads_nothing_of_the_guest),
        cmocka_unit_test(a_deletion_outweighs_other_requests),
        cmocka_unit_test(every_action_is_in_the_table_and_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

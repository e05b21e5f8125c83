/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/decide.h"

#include "specs/base/cleanup.h"

#define PREDICATE(name, expression)                                                                \
    static bool name(const struct situation *s)                                                    \
    {                                                                                              \
        return (expression);                                                                       \
    }

/* ---- what several rows need ---- */

/* Its memory is on disk, and this process is the one it came from; or one that has loaded it, and
 * is not wanted any more. */
PREDICATE(is_saved_away,
    s->saved == SAVED_WHOLE && s->is_alive && (s->is_to_disk || s->intent == INTENT_NONE))

/* It is finished also when the host goes down: that is what the user wants back. */
PREDICATE(
    is_being_saved, s->saved == SAVED_BEGUN && s->is_alive && s->is_to_disk && !s->is_save_failing)

bool situation_must_be_down(const struct situation *s)
{
    return s->is_deleting || s->power == POWER_STOPPED || s->is_restart_pending ||
           s->recreation == RECREATION_READY || (s->is_halted && !is_being_saved(s)) ||
           s->build >= BUILD_DONE || is_saved_away(s);
}

/* A stop that has begun is finished even if the user changes their mind: the guest may already be
 * shutting down, and only a new instance is then sure to be up. */
PREDICATE(is_stopping, situation_must_be_down(s) || s->intent == INTENT_STOP)
PREDICATE(is_stopping_alive, is_stopping(s) && s->is_alive)

PREDICATE(guest_ended, s->run_state == RUN_STATE_SHUTDOWN || s->run_state == RUN_STATE_PANICKED ||
                           s->run_state == RUN_STATE_INTERNAL_ERROR)

PREDICATE(is_started, s->is_alive && s->run_state == RUN_STATE_RUNNING && s->intent == INTENT_NONE)
PREDICATE(can_run_steps, is_started(s) && s->is_reached && !s->has_setup_failed)

bool situation_is_probeable(const struct situation *s)
{
    bool is_reached = s->is_reached && !s->is_setting_up;
    bool is_set_up = !s->has_step && !s->has_appended && !s->is_mount_due;
    return is_started(s) && (is_reached || !s->expects_ssh) && is_set_up;
}

/* ---- one predicate a row, in the table's order ---- */

PREDICATE(orphan_alive, !s->is_desired && s->is_alive)
PREDICATE(orphan_files, !s->is_desired && s->has_dir)
PREDICATE(orphan_record, !s->is_desired)
PREDICATE(stop_before_release, is_stopping_alive(s) && s->is_waiting)

/* The record of an instance may be lost with the store, so that neither its ports nor its spec are
 * known: it is stopped and started again on its disk. */
static bool stop_not_begun(const struct situation *s)
{
    bool is_unrecorded = !s->has_instance;
    bool is_due = s->intent != INTENT_STOP || s->is_grace_shorter;
    return s->is_alive && (is_unrecorded || (situation_must_be_down(s) && is_due));
}

PREDICATE(stop_unkillable, is_stopping_alive(s) && s->stage >= STOP_STAGE_KILL)
PREDICATE(stop_terminate, is_stopping_alive(s) && s->stage == STOP_STAGE_TERMINATE)
/* A guest that is off, broken, never ran, or left with its memory does not react to the power
 * button; and one that left must not run here once more, not even to shut down. Nor must one whose
 * memory was loaded and that is not itself yet: its disk, which has nothing of the user's, would be
 * used. Nor one whose memory is saved: it would be loaded onto a disk that it does not belong to.
 */
PREDICATE(has_no_guest, guest_ended(s) || s->run_state == RUN_STATE_PRELAUNCH ||
                            s->run_state == RUN_STATE_INMIGRATE ||
                            (s->run_state == RUN_STATE_POSTMIGRATE && s->saved != SAVED_BEGUN) ||
                            s->wake != WAKE_NONE || s->saved == SAVED_WHOLE)
PREDICATE(stop_quit, is_stopping_alive(s) && (s->stage == STOP_STAGE_QUIT || has_no_guest(s)))
/* Also one that has left to our file, which is not wanted any more. */
PREDICATE(stop_paused, is_stopping_alive(s) && (s->run_state == RUN_STATE_PAUSED ||
                                                   s->run_state == RUN_STATE_POSTMIGRATE))

static bool exited(const struct situation *s)
{
    bool is_start_untried =
        s->intent == INTENT_START && !s->has_pid && !s->is_to_disk && !situation_must_be_down(s);
    return s->has_instance && !s->is_alive && !is_start_untried;
}

PREDICATE(delete_files, s->is_deleting && s->has_dir)
PREDICATE(delete_record, s->is_deleting)

/* A builder, which has no process any more. */
PREDICATE(build_over, s->build == BUILD_SEALED || s->build == BUILD_FAILED)
PREDICATE(build_done, s->build == BUILD_DONE && !s->is_halted)
PREDICATE(build_stale, s->build == BUILD_STALE && !s->is_alive)
/* A guest ran on it, or may have, that was not itself yet: memory belongs to a disk that is as it
 * was, and a boot of such a disk would keep what is another's. */
PREDICATE(disk_half_woken, s->wake == WAKE_BEGUN && !s->is_alive)

/* It belongs to a disk that no guest has run on since, and the user wants a boot, or another disk.
 */
PREDICATE(memory_unwanted,
    s->saved != SAVED_NONE && !s->is_alive &&
        (s->power == POWER_STOPPED || s->is_restart_pending || s->recreation == RECREATION_READY))

/* What a new disk is made on is decided before anything of it is made. */
PREDICATE(template_missing, s->template == TEMPLATE_MISSING)
PREDICATE(template_building, s->template == TEMPLATE_BUILDING)
PREDICATE(template_found, s->template == TEMPLATE_READY || s->template == TEMPLATE_UNUSABLE)

/* Before anything else is done with the disk. That of a machine that runs is copied by itself, once
 * it answers; not one that saved memory belongs to. */
static bool snapshot_asked(const struct situation *s)
{
    bool is_undisturbed =
        s->intent == INTENT_NONE && !s->is_waiting && s->run_state != RUN_STATE_UNKNOWN;
    bool is_free = s->saved == SAVED_NONE;
    return s->is_snapshot_asked && is_free && (!s->is_alive || is_undisturbed);
}

/* A start under way is completed first. A guest that runs keeps its disk and its time until there
 * is another one, and can be suspended and resumed meanwhile. */
static bool replacement_missing(const struct situation *s)
{
    bool is_resting =
        s->run_state != (s->power == POWER_SUSPENDED ? RUN_STATE_RUNNING : RUN_STATE_PAUSED);
    bool is_undisturbed =
        s->intent == INTENT_NONE && !s->is_waiting && !guest_ended(s) && is_resting;
    return s->recreation == RECREATION_ASKED && (!s->is_alive || is_undisturbed);
}

PREDICATE(recreate, s->recreation == RECREATION_READY && !s->is_alive)
PREDICATE(restarted, s->is_restart_pending && !s->is_alive)
PREDICATE(stopped, (s->is_halted && !is_being_saved(s)) ||
                       (s->power == POWER_STOPPED && !s->wants_prepared) ||
                       (s->is_to_disk && !s->is_alive))
PREDICATE(held, s->is_held && !s->is_alive && !s->has_instance && s->power != POWER_STOPPED)
/* Also of one that was made and never started: later only its bytes may identify it. */
PREDICATE(image_unsure,
    !s->is_alive && (s->is_image_unsure || (s->power == POWER_STOPPED && s->wants_prepared &&
                                               s->disk == DISK_READY && s->is_identity_due)))
PREDICATE(image_changed, !s->is_alive && s->is_image_changed)
/* Also a disk that is gone: what has been used is never made again without a word. */
PREDICATE(disk_doubtful, !s->is_alive && s->disk == DISK_UNCHECKED)
PREDICATE(image_missing, !s->is_alive && !s->has_image)
PREDICATE(disk_missing, !s->is_alive && s->disk != DISK_READY)
/* Before the start that needs it; or of a machine that is to get it while it runs. */
PREDICATE(volume_missing, !s->is_alive && s->is_volume_due)
PREDICATE(prepared_only, s->power == POWER_STOPPED)
PREDICATE(backing_off, !s->is_alive && s->is_backing_off)
PREDICATE(dependency_missing, !s->is_alive && !s->has_instance && s->is_dependency_missing)
PREDICATE(wake_refused, !s->is_alive && s->wake == WAKE_DUE && s->is_wake_refused)
PREDICATE(start_not_begun, !s->is_alive && (!s->has_instance || s->is_start_outdated))
PREDICATE(start_begun, !s->is_alive)
PREDICATE(launching, s->is_waiting && !s->has_pid && s->is_launching)
/* Its pid was lost with a commit that failed: once released, it could never be found again. */
PREDICATE(launched_unrecorded, s->is_waiting && !s->has_pid)
PREDICATE(launched, s->is_waiting)

PREDICATE(build_to_freeze, s->build == BUILD_TO_FREEZE && (s->is_freezing || is_started(s)))
/* Stopped by a controller that is gone: how far it came is not known. */
PREDICATE(freeze_lost, s->build == BUILD_TO_FREEZE && (s->run_state == RUN_STATE_PAUSED ||
                                                          s->run_state == RUN_STATE_POSTMIGRATE))
static bool wake_lost(const struct situation *s)
{
    bool is_lost = !s->is_wake_ours || s->run_state == RUN_STATE_POSTMIGRATE;
    bool is_useless =
        s->is_wake_refused || s->intent == INTENT_NONE || (s->wake == WAKE_BEGUN && is_lost);
    return s->wake != WAKE_NONE && is_useless;
}

/* It continues where it was saved. */
PREDICATE(is_continuing, s->intent == INTENT_START && s->saved == SAVED_WHOLE)
PREDICATE(is_waking, s->intent == INTENT_START && s->wake != WAKE_NONE)
/* Also if another program let it run: then it has to be recorded all the more. */
PREDICATE(is_to_load, (is_waking(s) && s->wake == WAKE_DUE) || is_continuing(s))
PREDICATE(loaded,
    is_to_load(s) && s->run_state != RUN_STATE_UNKNOWN && s->run_state != RUN_STATE_INMIGRATE)
PREDICATE(load_due, is_to_load(s) && s->run_state == RUN_STATE_INMIGRATE)
PREDICATE(not_itself, is_waking(s) && s->run_state == RUN_STATE_RUNNING)

/* A controller may have released the guest and died before it recorded the result of the boot: then
 * the running guest is booted once more, which reports the result again. */
static bool not_booted(const struct situation *s)
{
    bool is_half_done = s->run_state == RUN_STATE_RUNNING && s->intent == INTENT_START;
    bool is_loaded = s->intent == INTENT_START && s->saved == SAVED_LOADED;
    bool is_woken =
        s->run_state == RUN_STATE_PAUSED && ((is_waking(s) && s->wake == WAKE_BEGUN) || is_loaded);
    return s->run_state == RUN_STATE_PRELAUNCH || is_woken || (is_half_done && s->is_boot_unknown);
}

/* One that waits for the memory of a guest that is none of ours is as one that does not answer yet.
 */
PREDICATE(unanswered, s->run_state == RUN_STATE_UNKNOWN || s->run_state == RUN_STATE_INMIGRATE)
PREDICATE(start_overdue, unanswered(s) && s->is_start_overdue)
PREDICATE(io_error, s->run_state == RUN_STATE_IO_ERROR)
PREDICATE(start_unconfirmed, s->intent == INTENT_START && s->wake == WAKE_NONE)
/* One that has left with its memory has left to our file, if that was begun. */
static bool save_due(const struct situation *s)
{
    bool is_there = s->run_state == RUN_STATE_RUNNING || s->run_state == RUN_STATE_PAUSED ||
                    (s->run_state == RUN_STATE_POSTMIGRATE && s->saved == SAVED_BEGUN);
    return s->is_to_disk && s->intent == INTENT_NONE && is_there;
}

PREDICATE(save_called_off,
    s->saved == SAVED_BEGUN && !s->is_to_disk && s->run_state == RUN_STATE_POSTMIGRATE)
PREDICATE(save_left, s->saved == SAVED_BEGUN && !s->is_to_disk && is_started(s))
/* Not a guest that left with its memory (RUN_STATE_POSTMIGRATE): it may run elsewhere, and would
 * then write to its disk, or into the file of its memory, twice. */
PREDICATE(paused_by_other, s->run_state == RUN_STATE_PAUSED && s->power == POWER_RUNNING)
PREDICATE(not_suspended, s->run_state == RUN_STATE_RUNNING && s->power == POWER_SUSPENDED)
PREDICATE(unhealthy,
    (situation_is_probeable(s) && s->is_unhealthy) || (is_started(s) && s->is_share_lost))
PREDICATE(volume_to_make, is_started(s) && s->is_volume_due)
/* Else what the guest has not written yet would be lost with the volume. */
PREDICATE(volume_leaves, is_started(s) && s->is_reached && !s->is_setting_up && s->is_unmount_due)
PREDICATE(hot_change_pending, is_started(s) && s->is_hot_change_pending && !s->is_unmount_due)
PREDICATE(not_reached, is_started(s) && s->expects_ssh && !s->is_reached)
PREDICATE(clock_due, is_started(s) && s->is_clock_due)
PREDICATE(setting_up, is_started(s) && s->expects_ssh && s->is_setting_up)
/* After cloud-init, which may be growing the disk itself, and before steps, which may need it. */
PREDICATE(growth_due, is_started(s) && s->is_reached && s->is_growth_due)
PREDICATE(mount_due, can_run_steps(s) && s->is_mount_due)
PREDICATE(step_waiting, can_run_steps(s) && s->has_step)
PREDICATE(steps_appended, can_run_steps(s) && s->has_appended)
PREDICATE(identity_due, is_started(s) && s->is_identity_due)
PREDICATE(probe_due, situation_is_probeable(s) && s->is_probe_due)

/*
 * The table. The order matters: what must end comes first, then deletion, then what a start needs,
 * then the start itself, then the running guest. From row 40 on the process is alive and is meant
 * to be.
 */
static const struct {
    int row;
    bool (*holds)(const struct situation *s); /* NULL: always */
    enum action action;
} rows[] = {
    {1, orphan_alive, ACTION_ADOPT_ORPHAN},
    {2, orphan_files, ACTION_QUARANTINE},
    {3, orphan_record, ACTION_FORGET},
    {4, stop_before_release, ACTION_KILL},
    {5, stop_not_begun, ACTION_BEGIN_STOP},
    {6, stop_unkillable, ACTION_KILL},
    {7, stop_terminate, ACTION_TERMINATE},
    {8, stop_quit, ACTION_QUIT},
    {9, stop_paused, ACTION_RESUME}, /* a paused guest does not receive the power button */
    {10, is_stopping_alive, ACTION_POWERDOWN},
    {11, exited, ACTION_RECORD_EXIT},
    {12, delete_files, ACTION_DISCARD_ALL},
    {13, delete_record, ACTION_FORGET},
    {14, build_over, ACTION_DISMISS},
    {15, build_done, ACTION_SEAL},
    {16, build_stale, ACTION_DISCARD_DISK},
    {17, disk_half_woken, ACTION_DISCARD_DISK},
    {18, memory_unwanted, ACTION_DROP_MEMORY},
    {19, snapshot_asked, ACTION_SNAPSHOT},
    {20, template_missing, ACTION_BEGIN_TEMPLATE},
    {21, template_building, ACTION_AWAIT_TEMPLATE},
    {22, template_found, ACTION_CHOOSE_BASE},
    {23, replacement_missing, ACTION_REPLACE},
    {24, recreate, ACTION_DISCARD_DISK},
    {25, restarted, ACTION_MARK_RESTARTED},
    {26, stopped, ACTION_NONE},
    {27, held, ACTION_HOLD},
    {28, image_unsure, ACTION_IDENTIFY_IMAGE},
    {29, image_changed, ACTION_REFUSE_IMAGE},
    {30, disk_doubtful, ACTION_CHECK_DISK},
    {31, image_missing, ACTION_FETCH_IMAGE},
    {32, disk_missing, ACTION_PREPARE},
    {33, volume_missing, ACTION_MAKE_VOLUMES},
    {34, prepared_only, ACTION_NONE},
    {35, backing_off, ACTION_BACK_OFF},
    {36, dependency_missing, ACTION_AWAIT_DEPENDENCY},
    {37, wake_refused, ACTION_BOOT_COLD},
    {38, start_not_begun, ACTION_BEGIN_START},
    {39, start_begun, ACTION_LAUNCH},
    {40, launching, ACTION_AWAIT_MACHINE},
    {41, launched_unrecorded, ACTION_KILL},
    {42, launched, ACTION_RELEASE},
    {43, build_to_freeze, ACTION_FREEZE},
    {44, freeze_lost, ACTION_KILL},
    {45, wake_lost, ACTION_KILL},
    {46, loaded, ACTION_MARK_WOKEN},
    {47, not_booted, ACTION_BOOT},
    {48, start_overdue, ACTION_GIVE_UP_START},
    {49, load_due, ACTION_LOAD},
    {50, unanswered, ACTION_AWAIT_MACHINE},
    {51, guest_ended, ACTION_RECORD_CAUSE},
    {52, io_error, ACTION_RETRY_IO},
    {53, not_itself, ACTION_IDENTIFY},
    {54, start_unconfirmed, ACTION_CONFIRM_START},
    {55, save_due, ACTION_SAVE},
    {56, save_called_off, ACTION_RESUME},
    {57, save_left, ACTION_DROP_MEMORY},
    {58, paused_by_other, ACTION_RESUME},
    {59, not_suspended, ACTION_PAUSE},
    {60, unhealthy, ACTION_END_UNHEALTHY},
    {61, volume_to_make, ACTION_MAKE_VOLUMES},
    {62, volume_leaves, ACTION_MOUNT},
    {63, hot_change_pending, ACTION_APPLY},
    {64, not_reached, ACTION_REACH},
    {65, clock_due, ACTION_SET_CLOCK},
    {66, setting_up, ACTION_AWAIT_CLOUD_INIT},
    {67, growth_due, ACTION_GROW_GUEST},
    {68, mount_due, ACTION_MOUNT},
    {69, step_waiting, ACTION_RUN_STEP},
    {70, steps_appended, ACTION_APPEND_STEPS},
    {71, probe_due, ACTION_PROBE},
    {72, identity_due, ACTION_IDENTIFY_IMAGE},
    {73, NULL, ACTION_NONE},
};
_Static_assert(ARRAY_LEN(rows) == DECIDE_ROWS, "rows are numbered without a gap");

enum action decide_action_of_row(int row)
{
    return rows[row - 1].action;
}

struct decision decide(const struct situation *s)
{
    size_t i = 0;
    while (rows[i].holds && !rows[i].holds(s)) {
        i++;
    }
    return (struct decision){.action = rows[i].action, .row = rows[i].row};
}

static const char *const names[] = {
    [ACTION_NONE] = "none",
    [ACTION_ADOPT_ORPHAN] = "adopt-orphan",
    [ACTION_QUARANTINE] = "quarantine",
    [ACTION_FORGET] = "forget",
    [ACTION_BEGIN_STOP] = "begin-stop",
    [ACTION_POWERDOWN] = "powerdown",
    [ACTION_QUIT] = "quit",
    [ACTION_TERMINATE] = "terminate",
    [ACTION_KILL] = "kill",
    [ACTION_RECORD_EXIT] = "record-exit",
    [ACTION_DISCARD_ALL] = "discard-all",
    [ACTION_SEAL] = "seal",
    [ACTION_FREEZE] = "freeze",
    [ACTION_SAVE] = "save",
    [ACTION_DROP_MEMORY] = "drop-memory",
    [ACTION_DISMISS] = "dismiss",
    [ACTION_BEGIN_TEMPLATE] = "begin-template",
    [ACTION_AWAIT_TEMPLATE] = "await-template",
    [ACTION_CHOOSE_BASE] = "choose-base",
    [ACTION_SNAPSHOT] = "snapshot",
    [ACTION_REPLACE] = "replace",
    [ACTION_DISCARD_DISK] = "discard-disk",
    [ACTION_MARK_RESTARTED] = "mark-restarted",
    [ACTION_HOLD] = "hold",
    [ACTION_IDENTIFY_IMAGE] = "identify-image",
    [ACTION_REFUSE_IMAGE] = "refuse-image",
    [ACTION_FETCH_IMAGE] = "fetch-image",
    [ACTION_CHECK_DISK] = "check-disk",
    [ACTION_PREPARE] = "prepare",
    [ACTION_MAKE_VOLUMES] = "make-volumes",
    [ACTION_BACK_OFF] = "back-off",
    [ACTION_AWAIT_DEPENDENCY] = "await-dependency",
    [ACTION_BOOT_COLD] = "boot-cold",
    [ACTION_BEGIN_START] = "begin-start",
    [ACTION_LAUNCH] = "launch",
    [ACTION_RELEASE] = "release",
    [ACTION_LOAD] = "load",
    [ACTION_MARK_WOKEN] = "mark-woken",
    [ACTION_BOOT] = "boot",
    [ACTION_IDENTIFY] = "identify",
    [ACTION_CONFIRM_START] = "confirm-start",
    [ACTION_GIVE_UP_START] = "give-up-start",
    [ACTION_RECORD_CAUSE] = "record-cause",
    [ACTION_RESUME] = "resume",
    [ACTION_PAUSE] = "pause",
    [ACTION_RETRY_IO] = "retry-io",
    [ACTION_AWAIT_MACHINE] = "await-machine",
    [ACTION_APPLY] = "apply",
    [ACTION_REACH] = "probe",
    [ACTION_SET_CLOCK] = "set-clock",
    [ACTION_GROW_GUEST] = "grow-guest",
    [ACTION_MOUNT] = "mount",
    [ACTION_AWAIT_CLOUD_INIT] = "await-cloud-init",
    [ACTION_RUN_STEP] = "run-step",
    [ACTION_APPEND_STEPS] = "append-steps",
    [ACTION_PROBE] = "check",
    [ACTION_END_UNHEALTHY] = "end-unhealthy",
};
_Static_assert(ARRAY_LEN(names) == ACTION_COUNT_, "every action has a name");

const char *action_name(enum action action)
{
    return names[action];
}

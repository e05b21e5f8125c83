/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/decide.h"

#include "specs/base/cleanup.h"

/* ---- the questions the rows ask ---- */

bool situation_must_be_down(const struct situation *s)
{
    return s->is_deleting || s->power == POWER_STOPPED || s->is_restart_pending ||
           s->is_recreate_pending;
}

/* A stop that has begun is finished even if the user changes his mind: the guest may already be
 * shutting down, and only a new instance is then sure to be up. */
static bool is_stopping(const struct situation *s)
{
    return situation_must_be_down(s) || s->intent == INTENT_STOP;
}

/* Its record was lost with the store, so neither its ports nor its spec are known: it is started
 * anew on its disk. */
static bool is_unrecorded(const struct situation *s)
{
    return s->is_alive && !s->has_instance;
}

static bool has_guest_ended(const struct situation *s)
{
    return s->run_state == RUN_STATE_SHUTDOWN || s->run_state == RUN_STATE_PANICKED ||
           s->run_state == RUN_STATE_INTERNAL_ERROR;
}

/* No guest is there to be asked: it is off, broken, or never ran. */
static bool is_guest_gone(const struct situation *s)
{
    return has_guest_ended(s) || s->run_state == RUN_STATE_PRELAUNCH;
}

static bool is_startable(const struct situation *s)
{
    return s->power != POWER_STOPPED || s->wants_prepared;
}

static bool is_started(const struct situation *s)
{
    return s->is_alive && s->run_state == RUN_STATE_RUNNING && s->intent == INTENT_NONE;
}

bool situation_is_probeable(const struct situation *s)
{
    bool is_reached = s->is_reached && !s->is_setting_up;
    bool is_set_up = !s->has_step && !s->has_appended;
    return is_started(s) && (is_reached || !s->expects_ssh) && is_set_up;
}

/* ---- rows ---- */

static bool orphan_alive(const struct situation *s)
{
    return !s->is_desired && s->is_alive;
}
static bool orphan_files(const struct situation *s)
{
    return !s->is_desired && s->has_dir;
}
static bool orphan_record(const struct situation *s)
{
    return !s->is_desired;
}
static bool stop_before_release(const struct situation *s)
{
    return is_stopping(s) && s->is_alive && s->is_waiting;
}
static bool stop_not_begun(const struct situation *s)
{
    return is_unrecorded(s) || (situation_must_be_down(s) && s->is_alive &&
                                   (s->intent != INTENT_STOP || s->is_grace_shorter));
}
static bool stop_unkillable(const struct situation *s)
{
    return is_stopping(s) && s->is_alive && s->stage >= STOP_STAGE_KILL;
}
static bool stop_terminate(const struct situation *s)
{
    return is_stopping(s) && s->is_alive && s->stage == STOP_STAGE_TERMINATE;
}
static bool stop_quit(const struct situation *s)
{
    return is_stopping(s) && s->is_alive && (s->stage == STOP_STAGE_QUIT || is_guest_gone(s));
}
static bool stop_paused(const struct situation *s)
{
    return is_stopping(s) && s->is_alive && s->run_state == RUN_STATE_PAUSED;
}
static bool stop_powerdown(const struct situation *s)
{
    return is_stopping(s) && s->is_alive;
}
static bool exited(const struct situation *s)
{
    bool is_start_untried = s->intent == INTENT_START && !s->has_pid && !situation_must_be_down(s);
    return s->has_instance && !s->is_alive && !is_start_untried;
}
static bool delete_files(const struct situation *s)
{
    return s->is_deleting && s->has_dir;
}
static bool delete_record(const struct situation *s)
{
    return s->is_deleting;
}
static bool recreate(const struct situation *s)
{
    return s->is_recreate_pending && !s->is_alive;
}
static bool restarted(const struct situation *s)
{
    return s->is_restart_pending && !s->is_alive;
}
static bool stopped(const struct situation *s)
{
    return !is_startable(s);
}
static bool held(const struct situation *s)
{
    return s->is_held && !s->is_alive && !s->has_instance && s->power != POWER_STOPPED;
}
static bool image_changed(const struct situation *s)
{
    return !s->is_alive && s->is_image_changed;
}
static bool image_missing(const struct situation *s)
{
    return !s->is_alive && !s->has_image;
}
static bool disk_missing(const struct situation *s)
{
    return !s->is_alive && s->disk != DISK_READY;
}
static bool prepared_only(const struct situation *s)
{
    return s->power == POWER_STOPPED;
}
static bool backing_off(const struct situation *s)
{
    return !s->is_alive && s->is_backing_off;
}
static bool dependency_missing(const struct situation *s)
{
    return !s->is_alive && !s->has_instance && s->is_dependency_missing;
}
static bool start_not_begun(const struct situation *s)
{
    return !s->is_alive && (!s->has_instance || s->is_start_outdated);
}
static bool start_begun(const struct situation *s)
{
    return !s->is_alive;
}
static bool launching(const struct situation *s)
{
    return s->is_waiting && !s->has_pid && s->is_launching;
}
/* Its pid was lost with a commit that failed: released, it could never be found again. */
static bool launched_unrecorded(const struct situation *s)
{
    return s->is_waiting && !s->has_pid;
}
static bool launched(const struct situation *s)
{
    return s->is_waiting;
}
/* A guest that runs already may have been let go by a controller that died before it recorded what
 * the boot had told: that is asked again. */
static bool not_booted(const struct situation *s)
{
    bool is_half_done = s->run_state == RUN_STATE_RUNNING && s->intent == INTENT_START;
    return s->run_state == RUN_STATE_PRELAUNCH || (is_half_done && s->is_boot_unknown);
}
static bool start_overdue(const struct situation *s)
{
    return s->run_state == RUN_STATE_UNKNOWN && s->is_start_overdue;
}
static bool unanswered(const struct situation *s)
{
    return s->run_state == RUN_STATE_UNKNOWN;
}
static bool guest_ended(const struct situation *s)
{
    return has_guest_ended(s);
}
static bool io_error(const struct situation *s)
{
    return s->run_state == RUN_STATE_IO_ERROR;
}
static bool start_unconfirmed(const struct situation *s)
{
    return s->intent == INTENT_START;
}
static bool paused_unasked(const struct situation *s)
{
    return s->run_state == RUN_STATE_PAUSED && s->power == POWER_RUNNING;
}
static bool not_suspended(const struct situation *s)
{
    return s->run_state == RUN_STATE_RUNNING && s->power == POWER_SUSPENDED;
}
static bool unhealthy(const struct situation *s)
{
    return situation_is_probeable(s) && s->is_unhealthy;
}
static bool live_pending(const struct situation *s)
{
    return is_started(s) && s->is_hot_change_pending;
}
static bool not_reached(const struct situation *s)
{
    return is_started(s) && s->expects_ssh && !s->is_reached;
}
static bool setting_up(const struct situation *s)
{
    return is_started(s) && s->expects_ssh && s->is_setting_up;
}
static bool step_waiting(const struct situation *s)
{
    return is_started(s) && s->is_reached && s->has_step && !s->has_setup_failed;
}
static bool steps_appended(const struct situation *s)
{
    return is_started(s) && s->is_reached && s->has_appended && !s->has_setup_failed;
}
static bool check_due(const struct situation *s)
{
    return situation_is_probeable(s) && s->is_probe_due;
}
static bool always(const struct situation *s)
{
    (void)s;
    return true;
}

/*
 * The table. Order is meaning: what must end comes first, then deletion, then what a start needs,
 * then the start itself, then the running guest. Below row 24 the process is alive and meant to be.
 */
static const struct {
    int row;
    bool (*holds)(const struct situation *s);
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
    {9, stop_paused, ACTION_RESUME}, /* a paused guest cannot hear the power button */
    {10, stop_powerdown, ACTION_POWERDOWN},
    {11, exited, ACTION_RECORD_EXIT},
    {12, delete_files, ACTION_DISCARD_ALL},
    {13, delete_record, ACTION_FORGET},
    {14, recreate, ACTION_DISCARD_DISK},
    {15, restarted, ACTION_MARK_RESTARTED},
    {16, stopped, ACTION_NONE},
    {17, held, ACTION_HOLD},
    {18, image_changed, ACTION_REFUSE_IMAGE},
    {19, image_missing, ACTION_FETCH_IMAGE},
    {20, disk_missing, ACTION_PREPARE},
    {21, prepared_only, ACTION_NONE},
    {22, backing_off, ACTION_BACK_OFF},
    {23, dependency_missing, ACTION_AWAIT_DEPENDENCY},
    {24, start_not_begun, ACTION_BEGIN_START},
    {25, start_begun, ACTION_LAUNCH},
    {26, launching, ACTION_AWAIT_MACHINE},
    {27, launched_unrecorded, ACTION_KILL},
    {28, launched, ACTION_RELEASE},
    {29, not_booted, ACTION_BOOT},
    {30, start_overdue, ACTION_GIVE_UP_START},
    {31, unanswered, ACTION_AWAIT_MACHINE},
    {32, guest_ended, ACTION_RECORD_CAUSE},
    {33, io_error, ACTION_RETRY_IO},
    {34, start_unconfirmed, ACTION_CONFIRM_START},
    {35, paused_unasked, ACTION_RESUME},
    {36, not_suspended, ACTION_PAUSE},
    {37, unhealthy, ACTION_END_UNHEALTHY},
    {38, live_pending, ACTION_APPLY},
    {39, not_reached, ACTION_REACH},
    {40, setting_up, ACTION_AWAIT_CLOUD_INIT},
    {41, step_waiting, ACTION_RUN_STEP},
    {42, steps_appended, ACTION_APPEND_STEPS},
    {43, check_due, ACTION_PROBE},
    {44, always, ACTION_NONE},
};
_Static_assert(ARRAY_LEN(rows) == DECIDE_ROWS, "rows are numbered without a gap");

enum action decide_action_of_row(int row)
{
    return rows[row - 1].action;
}

struct decision decide(const struct situation *s)
{
    size_t i = 0;
    while (!rows[i].holds(s)) {
        i++; /* the last row always holds */
    }
    return (struct decision){.action = rows[i].action, .row = rows[i].row};
}

const char *action_name(enum action action)
{
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
        [ACTION_DISCARD_DISK] = "discard-disk",
        [ACTION_MARK_RESTARTED] = "mark-restarted",
        [ACTION_HOLD] = "hold",
        [ACTION_REFUSE_IMAGE] = "refuse-image",
        [ACTION_FETCH_IMAGE] = "fetch-image",
        [ACTION_PREPARE] = "prepare",
        [ACTION_BACK_OFF] = "back-off",
        [ACTION_AWAIT_DEPENDENCY] = "await-dependency",
        [ACTION_BEGIN_START] = "begin-start",
        [ACTION_LAUNCH] = "launch",
        [ACTION_RELEASE] = "release",
        [ACTION_BOOT] = "boot",
        [ACTION_CONFIRM_START] = "confirm-start",
        [ACTION_GIVE_UP_START] = "give-up-start",
        [ACTION_RECORD_CAUSE] = "record-cause",
        [ACTION_RESUME] = "resume",
        [ACTION_PAUSE] = "pause",
        [ACTION_RETRY_IO] = "retry-io",
        [ACTION_AWAIT_MACHINE] = "await-machine",
        [ACTION_APPLY] = "apply",
        [ACTION_REACH] = "probe",
        [ACTION_AWAIT_CLOUD_INIT] = "await-cloud-init",
        [ACTION_RUN_STEP] = "run-step",
        [ACTION_APPEND_STEPS] = "append-steps",
        [ACTION_PROBE] = "check",
        [ACTION_END_UNHEALTHY] = "end-unhealthy",
    };
    _Static_assert(ARRAY_LEN(names) == ACTION_COUNT_, "every action has a name");
    return names[action];
}

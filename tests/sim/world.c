/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/sim/world.h"

#include "specs/base/cleanup.h"

/* ---- what an action does ---- */

static void may(struct outcomes *o, union world w)
{
    o->worlds[o->count++] = w;
}

union world world_without_process(union world w)
{
    w.process = PROCESS_NONE;
    w.run_state = RUN_STATE_UNKNOWN;
    w.is_silent = 0;
    w.is_launching = 0;
    w.is_boot_lost = 0;
    w.is_adopted = 0;
    w.is_identity_due = 0;
    w.volumes = w.volumes == VOLUME_TO_MAKE ? VOLUME_TO_MAKE : VOLUMES_RIGHT;
    w.is_probe_due = w.is_unhealthy = w.is_clock_due = 0; /* nobody is left to be asked */
    w.is_growth_due = 0;
    return w;
}

union world world_without_record(union world w)
{
    union world bare = {.process = w.process,
        .run_state = w.run_state,
        .is_silent = w.is_silent,
        .has_dir = w.has_dir,
        .image = w.image,
        .disk = w.disk,
        .is_up = w.is_up,
        .is_launching = w.is_launching,
        .is_adopted = w.is_adopted};
    return bare;
}

static union world with_intent(union world w, enum intent intent)
{
    w.intent = intent & 3;
    w.stage = STOP_STAGE_POWERDOWN;
    w.is_overdue = 0;
    w.is_grace_shorter = 0;
    w.is_probe_due = w.is_unhealthy = w.is_identity_due = 0;
    w.is_clock_due &= intent == INTENT_NONE;
    if (intent ==
        INTENT_STOP) { /* the guest is not read any more: a_stop_reads_nothing_of_the_guest */
        w.is_reached = w.is_setting_up = w.has_setup_failed = w.is_hot_change_pending = 0;
        w.is_growth_due = 0;
        w.volumes = w.volumes == VOLUME_TO_MAKE ? VOLUME_TO_MAKE : VOLUMES_RIGHT;
    }
    return w;
}

union world world_with_run_state(union world w, enum run_state run_state)
{
    w.run_state = w.process == PROCESS_UP ? run_state & 15 : 0;
    w.is_clock_due |= w.intent != INTENT_STOP &&
                      (w.run_state == RUN_STATE_PAUSED || w.run_state == RUN_STATE_IO_ERROR ||
                          w.run_state == RUN_STATE_POSTMIGRATE);
    return w;
}

union world world_without_controller(union world w)
{
    w.is_up = 0;
    w.is_launching = 0;
    w.is_wake_ours = 0;
    w.is_boot_lost = w.process == PROCESS_UP && w.intent == INTENT_START;
    w.is_unhealthy = 0; /* the next one counts from 0 */
    if (w.process == PROCESS_WAITING) {
        w.process = PROCESS_DYING; /* it reads the end of its pipe and goes */
    }
    return w;
}

static void record_exit(struct outcomes *o, union world w)
{
    union world next = with_intent(w, INTENT_NONE);
    next.has_instance = next.has_pid = next.is_outdated = next.is_reached = 0;
    next.is_setting_up = next.has_setup_failed = 0;
    next.disk = next.disk == DISK_NONE ? DISK_NONE : DISK_UNCHECKED; /* it was used */
    next.is_hot_change_pending = 0;
    may(o, next);
    next.is_backing_off = 1;
    may(o, next);
    if (w.wake != WAKE_NONE) { /* QEMU did not take the memory, or ended before it was itself */
        next.is_backing_off = 0;
        next.is_wake_refused = 1;
        may(o, next);
    }
}

static void discard_disk(struct outcomes *o, union world w)
{
    static const enum disk_state next[] = {
        DISK_READY, DISK_NONE}; /* where the backend has no two */
    const union world before = w;
    w.image = w.image == IMAGE_MISSING ? IMAGE_MISSING : IMAGE_THERE;
    w.wake = WAKE_NONE;
    w.is_wake_refused = w.is_wake_ours = 0;
    for (size_t i = 0; i < ARRAY_LEN(next); i++) {
        w.disk = next[i] & 3;
        union world undone = world_without_controller(w); /* the token is not recorded as handled */
        undone.wake = before.wake;
        union world done = w;
        done.recreation = RECREATION_NONE;
        may(o, done);
        may(o, undone);
    }
}

static void prepare(struct outcomes *o, union world w)
{
    w.has_dir = 1;
    may(o, w); /* partly */
    o->worlds[0].disk = DISK_READY;
    may(o, w);
    if (w.wake == WAKE_NONE) { /* a clone of a template that has memory */
        may(o, o->worlds[0]);
        o->worlds[2].wake = WAKE_DUE;
    }
}

static void begin_start(struct outcomes *o, union world w)
{
    w = with_intent(w, INTENT_START);
    w.has_instance = 1;
    w.has_pid = w.is_outdated = w.is_reached = w.is_hot_change_pending = w.has_setup_failed = 0;
    w.is_growth_due = 0;
    w.is_setting_up = 1;
    may(o, w);
}

/* Done, but not recorded yet: see world_pass_of_time(). */
static void launch(struct outcomes *o, union world w)
{
    may(o, w);
    o->worlds[0].process = PROCESS_WAITING;
    o->worlds[0].is_launching = 1;
    may(o, w);
}

static void release(struct outcomes *o, union world w)
{
    union world up = w;
    up.process = PROCESS_UP;
    may(o,
        world_with_run_state(up, w.wake == WAKE_DUE ? RUN_STATE_INMIGRATE : RUN_STATE_PRELAUNCH));
    may(o, world_without_process(w)); /* exec failed */
}

static void ask_machine(struct outcomes *o, union world w, union world obeyed)
{
    may(o, obeyed);
    may(o, w); /* it does not hear, or not yet */
}

static void record_cause(struct outcomes *o, union world w)
{
    bool stays_down = w.run_state == RUN_STATE_SHUTDOWN || w.is_held;
    if (w.wake == WAKE_BEGUN) { /* it ended before it was itself */
        w.is_wake_refused = 1;
        may(o, w);
        return;
    }
    w = with_intent(w, INTENT_STOP);
    w.stage = STOP_STAGE_QUIT;
    w.is_held = stays_down;
    may(o, w);
}

/* QEMU refuses what it is given, and goes on, or ends. */
static void load(struct outcomes *o, union world w)
{
    may(o, world_with_run_state(w, RUN_STATE_PAUSED));
    w.is_wake_refused = 1;
    may(o, w);
    may(o, world_without_process(w));
}

/* It does not answer, or not as it should. */
static void identify(struct outcomes *o, union world w)
{
    union world next = w;
    next.wake = WAKE_NONE;
    next.is_wake_ours = 0;
    may(o, next);
    next = w;
    next.is_wake_refused = 1;
    may(o, next);
}

/* It has ended, or still runs, or has failed. */
static void await_cloud_init(struct outcomes *o, union world w)
{
    union world next = w;
    next.is_setting_up = 0;
    may(o, next);
    may(o, w);
    next.has_setup_failed = 1;
    may(o, next);
}

/* The probes pass, or fail, or `live` has failed as often as it may. */
static void check(struct outcomes *o, union world w)
{
    w.is_probe_due = 0;
    may(o, w);
    w.is_unhealthy = 1;
    may(o, w);
}

static void end_unhealthy(struct outcomes *o, union world w)
{
    w = with_intent(w, INTENT_STOP);
    may(o, w);
    w.is_held = 1; /* restart "never" */
    may(o, w);
}

struct outcomes world_carry_out(union world w, enum action action)
{
    struct outcomes o = {.count = 0};
    union world next = w;
    switch (action) {
    case ACTION_QUARANTINE:
        next.has_dir = 0;
        next.disk = DISK_NONE;
        may(&o, next);
        break;
    case ACTION_FORGET:
        may(&o, world_without_record(w));
        break;
    case ACTION_BEGIN_STOP:
        may(&o, with_intent(w, INTENT_STOP));
        break;
    case ACTION_POWERDOWN:
        ask_machine(&o, w, world_with_run_state(w, RUN_STATE_SHUTDOWN));
        break;
    case ACTION_QUIT:
    case ACTION_TERMINATE:
        ask_machine(&o, w, world_without_process(w));
        break;
    case ACTION_KILL:
        may(&o, world_without_process(w));
        break;
    case ACTION_RECORD_EXIT:
        record_exit(&o, w);
        break;
    case ACTION_DISCARD_ALL:
        next.has_dir = 0;
        next.disk = DISK_NONE;
        next.wake = WAKE_NONE;
        next.image = w.image == IMAGE_MISSING ? IMAGE_MISSING : IMAGE_THERE;
        may(&o, next);
        may(&o, world_without_controller(next));
        break;
    case ACTION_SNAPSHOT: /* or refused */
        next.snapshot = 0;
        ask_machine(&o, w, next);
        break;
    case ACTION_REPLACE:
        next.recreation = RECREATION_READY;
        may(&o, next);
        next.recreation = RECREATION_NONE; /* put off: the next try is as another request */
        may(&o, next);
        break;
    case ACTION_DISCARD_DISK:
        discard_disk(&o, w);
        break;
    case ACTION_MARK_RESTARTED:
        next.restart = 0;
        may(&o, next);
        break;
    case ACTION_FETCH_IMAGE:
        next.image = IMAGE_THERE;
        ask_machine(&o, w, next);
        break;
    case ACTION_IDENTIFY_IMAGE:
        next.is_identity_due = 0;
        next.image = w.image == IMAGE_UNSURE ? IMAGE_THERE : w.image;
        ask_machine(&o, w, next);
        next.image = w.image == IMAGE_UNSURE ? IMAGE_CHANGED : w.image;
        may(&o, next);
        break;
    case ACTION_CHECK_DISK:
        next.disk = DISK_READY;
        ask_machine(&o, w, next);
        break;
    case ACTION_PREPARE:
        prepare(&o, w);
        break;
    case ACTION_MAKE_VOLUMES:
    case ACTION_MOUNT:
        next.volumes = VOLUMES_RIGHT;
        ask_machine(&o, w, next);
        break;
    case ACTION_BEGIN_START:
        begin_start(&o, w);
        break;
    case ACTION_LAUNCH:
        launch(&o, w);
        break;
    case ACTION_RELEASE:
        release(&o, w);
        break;
    case ACTION_BOOT_COLD:
        next.wake = WAKE_NONE;
        next.is_wake_refused = 0;
        may(&o, next);
        break;
    case ACTION_LOAD:
        load(&o, w);
        break;
    case ACTION_MARK_WOKEN:
        next.wake = WAKE_BEGUN;
        next.is_wake_ours = 1;
        may(&o, next);
        break;
    case ACTION_IDENTIFY:
        identify(&o, w);
        break;
    case ACTION_BOOT:
        next.is_boot_lost = 0;
        ask_machine(&o, w, world_with_run_state(next, RUN_STATE_RUNNING));
        break;
    case ACTION_RESUME:
    case ACTION_RETRY_IO:
        ask_machine(&o, w, world_with_run_state(w, RUN_STATE_RUNNING));
        break;
    case ACTION_PAUSE:
        ask_machine(&o, w, world_with_run_state(w, RUN_STATE_PAUSED));
        break;
    case ACTION_CONFIRM_START:
        next = with_intent(w, INTENT_NONE);
        next.is_boot_lost = 0;
        next.is_probe_due = 1; /* a new instance is asked at once */
        may(&o, next);
        break;
    case ACTION_GIVE_UP_START:
        next = with_intent(w, INTENT_STOP);
        next.stage = STOP_STAGE_QUIT;
        may(&o, next);
        break;
    case ACTION_RECORD_CAUSE:
        record_cause(&o, w);
        break;
    case ACTION_APPLY:
        next.is_growth_due = w.is_hot_change_pending;
        next.is_hot_change_pending = 0;
        ask_machine(&o, w, next);
        next.volumes = VOLUME_TO_MOUNT; /* one was attached */
        may(&o, next);
        break;
    case ACTION_GROW_GUEST:
        next.is_growth_due = 0;
        ask_machine(&o, w, next);
        break;
    case ACTION_REACH:
        next.is_reached = 1;
        ask_machine(&o, w, next);
        break;
    case ACTION_SET_CLOCK:
        next.is_clock_due = 0;
        ask_machine(&o, w, next);
        break;
    case ACTION_AWAIT_CLOUD_INIT:
        await_cloud_init(&o, w);
        break;
    case ACTION_RUN_STEP:
        next.has_step = 0;
        ask_machine(&o, w, next);
        break;
    case ACTION_APPEND_STEPS:
        next.has_appended = 0;
        next.has_step = 1;
        may(&o, next);
        break;
    case ACTION_PROBE:
        check(&o, w);
        break;
    case ACTION_END_UNHEALTHY:
        end_unhealthy(&o, w);
        break;
    default: /* waits for time or for the user */
        may(&o, w);
    }
    return o;
}

union world world_pass_of_time(union world w)
{
    if (w.is_launching) { /* the launch tells its pid, and that is committed */
        w.is_launching = 0;
        w.has_pid = 1;
    } else if (w.process == PROCESS_DYING) {
        w = world_without_process(w);
    } else if (w.is_backing_off) {
        w.is_backing_off = 0;
    } else if (w.intent == INTENT_STOP && w.stage < STOP_STAGE_UNKILLABLE) {
        w.stage++;
    } else if (w.is_silent) {
        w.is_silent = 0;
    } else {
        w.is_dependency_missing = 0; /* the other VM became ready */
    }
    return w;
}

/* ---- safety ---- */

const char *world_danger_of(union world w, enum action action)
{
    bool is_dead = w.process == PROCESS_NONE;
    switch (action) {
    case ACTION_QUARANTINE:
    case ACTION_DISCARD_ALL:
    case ACTION_DISCARD_DISK:
    case ACTION_PREPARE:
        return is_dead ? NULL : "files are touched under a live process";
    case ACTION_FORGET:
        return w.is_desired && !w.is_deleting ? "a VM is forgotten that is wanted"
               : is_dead && !w.has_dir        ? NULL
                                              : "forgotten with something left";
    case ACTION_RECORD_EXIT:
        return is_dead ? NULL : "an exit is recorded of a live process";
    case ACTION_BEGIN_START:
        return !is_dead || w.has_pid ? "a start over the record of another instance"
               : w.is_held           ? "a start of what has to stay down"
               : w.is_backing_off    ? "a start before its time"
                                     : NULL;
    case ACTION_LAUNCH:
        return !is_dead || w.has_pid  ? "a second instance"
               : w.wake == WAKE_BEGUN ? "a guest is started on a disk of one that was not itself"
               : w.disk != DISK_READY || w.image == IMAGE_CHANGED || w.image == IMAGE_UNSURE ||
                       w.volumes == VOLUME_TO_MAKE || w.intent != INTENT_START
                   ? "a launch without disk or intent"
                   : NULL;
    case ACTION_RELEASE:
        return w.process == PROCESS_WAITING && w.has_pid ? NULL : "released without a recorded pid";
    case ACTION_BEGIN_STOP:
        return w.is_deleting || w.power == POWER_STOPPED || w.restart ||
                       w.recreation == RECREATION_READY || (w.is_adopted && !w.has_instance)
                   ? NULL
                   : "a VM is stopped that nobody wants stopped";
    case ACTION_RUN_STEP:
        return w.is_setting_up || w.has_setup_failed || w.volumes >= VOLUME_TO_MOUNT
                   ? "a step is run before the guest is set up"
               : w.is_reached && w.has_step ? NULL
                                            : "a step is run where there is none to run";
    case ACTION_APPLY:
        return w.volumes == VOLUME_TO_MAKE    ? "a volume is attached that is not there"
               : w.volumes == VOLUME_TO_LEAVE ? "a volume is detached that is mounted"
                                              : NULL;
    case ACTION_MOUNT:
        return w.is_reached && !w.is_setting_up && w.volumes >= VOLUME_TO_MOUNT
                   ? NULL
                   : "mounted before the guest is set up";
    case ACTION_SET_CLOCK:
        return w.is_reached && w.is_clock_due ? NULL : "a clock is set that nobody asked for";
    case ACTION_GROW_GUEST:
        return w.is_setting_up   ? "a guest is grown that its cloud-init may be growing"
               : w.is_growth_due ? NULL
                                 : "a guest is grown to which nothing was added";
    case ACTION_APPEND_STEPS:
        return w.has_step ? "a list is appended to that is not through" : NULL;
    case ACTION_PROBE:
        return w.is_reached && !w.is_setting_up && !w.has_step && !w.has_appended &&
                       w.volumes < VOLUME_TO_MOUNT
                   ? NULL
                   : "probed before the guest is set up";
    case ACTION_END_UNHEALTHY:
        return !w.is_unhealthy ? "a healthy guest is restarted"
               : !w.is_reached || w.is_setting_up || w.has_step || w.has_appended
                   ? "restarted while it is being set up"
                   : NULL;
    case ACTION_SNAPSHOT: /* of one that lives it is refused, which needs a machine that runs */
        return !w.snapshot                          ? "a snapshot that nobody asked for"
               : is_dead || w.intent == INTENT_NONE ? NULL
                                                    : "a snapshot of a disk in use";
    case ACTION_LOAD:
        return w.wake == WAKE_DUE && w.run_state == RUN_STATE_INMIGRATE
                   ? NULL
                   : "memory is loaded onto a disk on which a guest may have run";
    case ACTION_IDENTIFY:
        return w.wake == WAKE_BEGUN && w.is_wake_ours ? NULL : "a guest is told twice who it is";
    case ACTION_CONFIRM_START:
        return w.wake == WAKE_NONE ? NULL : "a guest is taken for started that is not itself";
    case ACTION_RESUME:
    case ACTION_RETRY_IO:
    case ACTION_BOOT:
        return w.wake == WAKE_DUE && w.run_state != RUN_STATE_PRELAUNCH
                   ? "a guest runs whose memory may be loaded once more"
               : w.run_state == RUN_STATE_POSTMIGRATE ? "a guest runs twice"
                                                      : NULL;
    case ACTION_GIVE_UP_START:
        return w.intent == INTENT_START ? NULL : "a running VM is given up for being silent";
    default:
        return NULL;
    }
}

const char *world_state_danger_of(union world w)
{
    if (w.process == PROCESS_UP && !w.has_pid && !w.is_adopted) {
        return "a guest runs whose pid was never recorded";
    }
    return w.process == PROCESS_WAITING && !w.is_up ? "a child outlives its controller" : NULL;
}

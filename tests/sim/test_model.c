/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Exhaustive check of the decision table: the real decide() in an abstract world of one VM. Every
 * state that wishes, faults and half-done actions can lead to is visited, and in each one it is
 * asked:
 *
 *   safety    the action decided may be done here: no second instance, no deletion under a live
 *             process, no guest whose pid was not recorded before;
 *   liveness  with no more faults, deciding again and again ends, in what the user wished, and then
 *             decides to do nothing.
 *
 * An action's effect and its record are separate steps: the controller may die between them. Then
 * the same with wrong tables: every one of the mutants below must be caught.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reconcilers/vm/decide.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "tests/sim/world.h"

/* A wrong table, or a wrong eye. */
struct mutant {
    int row; /* the row whose action is replaced; 0: none */
    enum action action;
    void (*blind)(struct situation *s); /* NULL: sees right */
};

struct model {
    union world *worlds; /* every one reached, in the order of discovery */
    size_t count;
    uint64_t *table; /* open addressing; 0 is free: a world's bits are never 0 (is_up or …) */
    size_t capacity;
    struct mutant mutant;
    const char *fault; /* what was found, NULL nothing */
    union world fault_world;
    struct decision fault_decision;
    bool rows_seen[DECIDE_ROWS + 1];
    unsigned longest;
};

/* ---- the set of worlds ---- */

static size_t slot_of(const struct model *model, uint64_t bits)
{
    size_t i = (size_t)((bits * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (model->capacity - 1);
    while (model->table[i] && model->table[i] != bits + 1) {
        i = (i + 1) & (model->capacity - 1);
    }
    return i;
}

/* Small at first: most mutants are caught among few worlds. */
static void make_room(struct model *model)
{
    if (model->count < model->capacity / 2) {
        return;
    }
    model->capacity = model->capacity ? 4 * model->capacity : 4096;
    free(model->table);
    model->table = mem_calloc(model->capacity, sizeof(*model->table));
    for (size_t i = 0; i < model->count; i++) {
        model->table[slot_of(model, model->worlds[i].bits)] = model->worlds[i].bits + 1;
    }
}

static void add(struct model *model, union world world)
{
    make_room(model);
    size_t i = slot_of(model, world.bits);
    if (!model->table[i]) {
        model->table[i] = world.bits + 1;
        mem_grow(model->worlds, model->count);
        model->worlds[model->count++] = world;
    }
}

static void complain(
    struct model *model, const char *fault, union world world, struct decision decision)
{
    if (!model->fault) {
        model->fault = fault;
        model->fault_world = world;
        model->fault_decision = decision;
    }
}

/* ---- what the controller sees ---- */

static struct situation see(union world w)
{
    bool is_answering = w.process == PROCESS_UP && !w.is_silent;
    return (struct situation){
        .is_desired = w.is_desired,
        .is_deleting = w.is_deleting,
        .power = (enum power)w.power,
        .wants_prepared = w.wants_prepared,
        .is_restart_pending = w.restart,
        .is_snapshot_asked = w.snapshot,
        .recreation = (enum recreation)w.recreation,
        .has_instance = w.has_instance || w.intent != INTENT_NONE,
        .intent = (enum intent)w.intent,
        .has_pid = w.has_pid,
        .is_start_outdated = w.is_outdated && w.intent == INTENT_START && !w.has_pid,
        .is_held = w.is_held,
        .is_backing_off = w.is_backing_off,
        .is_alive = w.process != PROCESS_NONE,
        .is_waiting = w.process == PROCESS_WAITING,
        .is_launching = w.is_launching,
        .run_state = is_answering ? (enum run_state)w.run_state : RUN_STATE_UNKNOWN,
        .is_boot_unknown = w.is_boot_lost,
        .is_start_overdue = w.is_overdue && w.intent == INTENT_START,
        .stage = w.intent == INTENT_STOP ? (enum stop_stage)w.stage : STOP_STAGE_POWERDOWN,
        .is_grace_shorter = w.is_grace_shorter && w.intent == INTENT_STOP,
        .has_dir = w.has_dir,
        .has_image = w.image != IMAGE_MISSING,
        .is_image_changed = w.image == IMAGE_CHANGED,
        .is_image_unsure = w.image == IMAGE_UNSURE,
        .is_identity_due = w.is_identity_due,
        .disk = (enum disk_state)w.disk,
        .expects_ssh = true,
        .is_reached = w.is_reached,
        .is_clock_due = w.is_clock_due,
        .is_growth_due = w.is_growth_due,
        .is_setting_up = w.is_setting_up,
        .has_setup_failed = w.has_setup_failed,
        .is_volume_due = w.volumes == VOLUME_TO_MAKE,
        .is_mount_due = w.volumes >= VOLUME_TO_MOUNT,
        .is_unmount_due = w.volumes == VOLUME_TO_LEAVE,
        .has_step = w.has_step,
        .has_appended = w.has_appended && !w.has_step,
        .is_dependency_missing = w.is_dependency_missing,
        .is_hot_change_pending = w.is_hot_change_pending,
        .is_probe_due = w.is_probe_due,
        .is_unhealthy = w.is_unhealthy,
        .wake = (enum wake)w.wake,
        .is_wake_refused = w.is_wake_refused,
        .is_wake_ours = w.is_wake_ours,
    };
}

/* Rows of templates and of saved memory: test_templates.c and test_saved.c play them, with the
 * files that they are about. */
static bool is_of_files(int row)
{
    static const enum action actions[] = {ACTION_SEAL, ACTION_FREEZE, ACTION_DISMISS,
        ACTION_BEGIN_TEMPLATE, ACTION_AWAIT_TEMPLATE, ACTION_CHOOSE_BASE, ACTION_SAVE,
        ACTION_DROP_MEMORY};
    enum { BUILD_STALE_ROW = 16, FREEZE_LOST_ROW = 44, SAVE_CALLED_OFF_ROW = 56 };
    bool is_one = row == BUILD_STALE_ROW || row == FREEZE_LOST_ROW || row == SAVE_CALLED_OFF_ROW;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        is_one = is_one || decide_action_of_row(row) == actions[i];
    }
    return is_one;
}

static struct decision decide_in(struct model *model, union world w)
{
    struct situation s = see(w);
    if (model->mutant.blind) {
        model->mutant.blind(&s);
    }
    struct decision decision = decide(&s);
    model->rows_seen[decision.row] = true;
    if (model->mutant.row && decision.row == model->mutant.row) {
        decision.action = model->mutant.action;
    }
    return decision;
}

/* ---- wishes and faults ---- */

static bool is_settled_up(union world w)
{
    return w.power == POWER_RUNNING && w.process == PROCESS_UP && w.intent == INTENT_NONE &&
           w.run_state == RUN_STATE_RUNNING && w.is_reached && !w.is_setting_up &&
           !w.has_setup_failed && !w.has_step && !w.has_appended && !w.is_clock_due &&
           !w.is_growth_due && !w.volumes;
}

static void change(struct model *model, union world w)
{
    union world next = w;
    if (!w.is_desired) {
        next.is_desired = 1;
        next.power = POWER_RUNNING;
        next.has_step = 1;
        add(model, next);
        next.is_dependency_missing = 1;
        add(model, next);
        next.is_dependency_missing = 0;
        next.power = POWER_STOPPED;
        next.wants_prepared = 1;
        add(model, next);
        return;
    }
    if (w.is_deleting) {
        return;
    }
    /* every new wish ends a hold and a back-off, and outdates a start that was not tried */
    next.is_held = next.is_backing_off = 0;
    if (w.has_setup_failed) { /* it is asked again */
        next.has_setup_failed = 0;
        next.is_setting_up = 1;
    }
    next.is_outdated = w.intent == INTENT_START && !w.has_pid;
    w = next;
    if (w.wake == WAKE_DUE) { /* another machine than its template was */
        next.is_wake_refused = 1;
        add(model, next);
        next = w;
    }
    if (is_settled_up(w)) { /* a forward or a larger disk; another user */
        next.is_hot_change_pending = 1;
        add(model, next);
        next.volumes = VOLUME_TO_MAKE; /* a volume is attached; or detached */
        add(model, next);
        next.volumes = VOLUME_TO_LEAVE;
        add(model, next);
        next = w;
        next.is_reached = 0;
        add(model, next);
        next = w;
    }
    for (unsigned power = 0; power < POWER_COUNT_; power++) {
        next.power = power & 3;
        add(model, next);
    }
    next = w;
    next.is_deleting = 1;
    next.restart = next.snapshot = 0;
    next.recreation = RECREATION_NONE; /* not read any more: a_deletion_outweighs_other_requests */
    next.has_appended = 0;             /* nothing was run on the next disk */
    next.volumes = VOLUMES_RIGHT;      /* nor are its volumes */
    add(model, next);
    if (w.snapshot) { /* other wishes of a VM that is stopped are tried without one */
        return;
    }
    next = w;
    next.snapshot = w.power == POWER_STOPPED && !w.restart && !w.recreation && !w.has_appended;
    add(model, next);
    next = w;
    next.restart = w.power != POWER_STOPPED;
    add(model, next);
    next = w;
    next.recreation = RECREATION_ASKED;
    next.has_appended = 0;
    add(model, next);
    next = w;
    next.has_step = 1;
    next.has_appended = 0; /* all of them are run then */
    add(model, next);
    if (is_settled_up(w)) { /* the list before, which may be empty, is through */
        next = w;
        next.has_appended = 1;
        add(model, next);
    }
    next = w;
    next.is_grace_shorter = w.intent == INTENT_STOP && w.stage == STOP_STAGE_POWERDOWN;
    add(model, next);
}

static void guest_fault(struct model *model, union world w)
{
    union world next = w;
    /* One whose memory is to be loaded nobody else lets run. */
    if (w.run_state != RUN_STATE_PRELAUNCH && w.wake != WAKE_DUE) {
        for (unsigned state = RUN_STATE_RUNNING; state < RUN_STATE_COUNT_; state++) {
            if (state != RUN_STATE_INMIGRATE) { /* of a machine that is started for it */
                add(model, world_with_run_state(w, (enum run_state)state));
            }
        }
    }
    next.is_silent = 1;
    add(model, next);
    if (w.intent == INTENT_START && w.is_silent) {
        next.is_overdue = 1;
        add(model, next);
    }
}

static void file_fault(struct model *model, union world w)
{
    union world next = w;
    next.image = IMAGE_MISSING;
    add(model, next);
    next = w;
    next.disk = DISK_NONE;
    add(model, next);
    next.has_dir = 0;
    add(model, next);
    next = w;
    if (w.disk == DISK_READY && w.is_desired && !w.is_deleting) {
        next.volumes = VOLUME_TO_MAKE;
        add(model, next);
        next = w;
    }
    if (w.disk == DISK_READY) {
        next.disk = DISK_UNCHECKED; /* touched; or one that was used is gone */
        add(model, next);
        next = w;
    }
    if (w.disk == DISK_READY) { /* or touched, or moved */
        next.image = IMAGE_CHANGED;
        add(model, next);
        next.image = IMAGE_UNSURE;
        add(model, next);
        next = w;
    }
    if (w.disk == DISK_READY) {
        next.disk = DISK_TO_GROW;
        add(model, next);
    }
}

static void fault(struct model *model, union world w)
{
    union world next = w;
    if (!w.is_up) {
        next.is_up = 1;
        add(model, next);
    } else {
        add(model, world_without_controller(w));
    }
    if (w.process != PROCESS_NONE) {
        add(model, world_without_process(w));
    } else {
        file_fault(model, w);
    }
    if (is_settled_up(w) &&
        !w.is_unhealthy) { /* their period is over; and a new controller asks at once */
        next = w;
        next.is_probe_due = 1;
        add(model, next);
        next = w;
        next.is_identity_due = 1;
        add(model, next);
    }
    if (w.process == PROCESS_UP) {
        guest_fault(model, w);
        next = world_without_record(w); /* the store is lost, the process lives on */
        next.is_adopted = 1;
        add(model, next);
    }
    if (w.is_launching) { /* its commit fails: the pid is lost */
        next = w;
        next.is_launching = 0;
        add(model, next);
    }
    add(model, world_pass_of_time(w));
}

/* ---- liveness ---- */

static bool is_waiting_action(enum action action)
{
    return action == ACTION_AWAIT_MACHINE || action == ACTION_AWAIT_DEPENDENCY ||
           action == ACTION_BACK_OFF;
}

/* Its cloud-init failed: no step is run until the user says something else. */
static bool has_failed_setup(union world w)
{
    w.has_step = w.has_appended = 0;
    w.volumes = VOLUMES_RIGHT;
    bool has_failed = w.has_setup_failed;
    w.has_setup_failed = 0;
    return has_failed && is_settled_up(w);
}

/* As the user wished, or as it must stay until he says something else. */
static bool is_converged(union world w, enum action action)
{
    bool is_down = w.process == PROCESS_NONE && !w.has_instance && w.intent == INTENT_NONE;
    if (!w.is_desired) {
        return action == ACTION_ADOPT_ORPHAN || (w.process == PROCESS_NONE && !w.has_dir);
    }
    if (w.is_deleting || w.restart || w.recreation || w.snapshot) {
        return false;
    }
    if (w.power == POWER_STOPPED) {
        return is_down && (!w.wants_prepared || w.disk == DISK_READY);
    }
    if (action == ACTION_HOLD) {
        return is_down && w.is_held;
    }
    bool is_up = w.process == PROCESS_UP && w.intent == INTENT_NONE && w.wake == WAKE_NONE;
    if (w.run_state == RUN_STATE_POSTMIGRATE) { /* only the user knows where it runs now */
        return is_up && action == ACTION_NONE;
    }
    return w.power == POWER_SUSPENDED
               ? is_up && w.run_state == RUN_STATE_PAUSED
               : !w.is_hot_change_pending && !w.is_identity_due &&
                     (has_failed_setup(w) || (is_settled_up(w) && !w.is_probe_due));
}

/* No more faults: files that were changed are repaired, the controller runs. */
static void follow(struct model *model, union world start)
{
    enum { STEPS_MAX = 60 };
    union world w = start;
    w.is_up = 1;
    w.image = w.image == IMAGE_CHANGED ? IMAGE_THERE : w.image;
    for (unsigned n = 0; n < STEPS_MAX; n++) {
        struct decision decision = decide_in(model, w);
        const char *danger = world_danger_of(w, decision.action);
        if (danger) {
            complain(model, danger, w, decision);
            return;
        }
        bool waits =
            is_waiting_action(decision.action) || w.is_launching || w.process == PROCESS_DYING;
        union world next =
            waits ? world_pass_of_time(w) : world_carry_out(w, decision.action).worlds[0];
        bool is_idle = decision.action == ACTION_NONE || decision.action == ACTION_HOLD ||
                       decision.action == ACTION_ADOPT_ORPHAN;
        bool is_gone = !w.is_desired && w.process == PROCESS_NONE && !w.has_dir;
        if (is_idle || is_gone) {
            if (!is_converged(w, decision.action)) {
                complain(model, "settled in what nobody wished", start, decision);
            }
            model->longest = n > model->longest ? n : model->longest;
            return;
        }
        if (next.bits == w.bits) { /* a command is repeated while time passes */
            next = world_pass_of_time(w);
        }
        if (next.bits == w.bits) {
            complain(model, "acts forever without effect", w, decision);
            return;
        }
        w = next;
    }
    complain(model, "never settles", start, decide_in(model, start));
}

/* ---- the check ---- */

static void explore(struct model *model, union world w)
{
    const char *danger = world_state_danger_of(w);
    if (danger) {
        complain(model, danger, w, (struct decision){.row = 0});
    }
    change(model, w);
    fault(model, w);
    if (!w.is_up) {
        return;
    }
    struct decision decision = decide_in(model, w);
    danger = world_danger_of(w, decision.action);
    if (danger) {
        complain(model, danger, w, decision);
        return;
    }
    struct outcomes o = world_carry_out(w, decision.action);
    for (size_t i = 0; i < o.count; i++) {
        add(model, o.worlds[i]);
    }
}

static void model_check(struct model *model)
{
    add(model, (union world){.is_up = 1});
    for (size_t i = 0; i < model->count && !model->fault; i++) {
        explore(model, model->worlds[i]);
        if (!model->fault) {
            follow(model, model->worlds[i]);
        }
    }
}

static void model_clear(struct model *model)
{
    free(model->worlds);
    free(model->table);
}

static void report(const struct model *model)
{
    union world w = model->fault_world;
    print_error("%s\n  row %d (%s)\n", model->fault, model->fault_decision.row,
        action_name(model->fault_decision.action));
    print_error(
        "  desired %d deleting %d power %s prepared %d snapshot %d restart %d recreation %d\n",
        w.is_desired, w.is_deleting, power_name((enum power)w.power), w.wants_prepared, w.snapshot,
        w.restart, w.recreation);
    print_error(
        "  instance %d journal %s pid %d outdated %d held %d backoff %d rung %d overdue %d\n",
        w.has_instance, intent_name((enum intent)w.intent), w.has_pid, w.is_outdated, w.is_held,
        w.is_backing_off, w.stage, w.is_overdue);
    print_error(
        "  process %d state %d silent %d dir %d image %d identity due %d disk %d reached %d "
        "setting up "
        "%d wake %d refused %d ours %d failed %d"
        " step %d appended %d due %d unhealthy %d up %d launching %d adopted %d boot lost %d\n",
        w.process, w.run_state, w.is_silent, w.has_dir, w.image, w.is_identity_due, w.disk,
        w.is_reached, w.is_setting_up, w.wake, w.is_wake_refused, w.is_wake_ours,
        w.has_setup_failed, w.has_step, w.has_appended, w.is_probe_due, w.is_unhealthy, w.is_up,
        w.is_launching, w.is_adopted, w.is_boot_lost);
}

static void the_table_is_safe_and_converges_from_everywhere(void **state)
{
    (void)state;
    struct model model = {.count = 0};
    model_check(&model);
    if (model.fault) {
        report(&model);
        fail();
    }
    print_message("%zu worlds, longest way %u actions\n", model.count, model.longest);
    assert_true(model.count > 10000); /* the model has not become trivial */
    for (int row = 1; row <= DECIDE_ROWS; row++) {
        if (!model.rows_seen[row] && !is_of_files(row)) {
            fail_msg("row %d is never reached", row);
        }
    }
    model_clear(&model);
}

/* ---- mutants ---- */

static void see_no_process(struct situation *s)
{
    s->is_alive = s->is_waiting = false;
}
static void see_every_pid_recorded(struct situation *s)
{
    s->has_pid = true;
}
static void see_every_volume_made(struct situation *s)
{
    s->is_volume_due = false;
}
static void see_no_volume_leave(struct situation *s)
{
    s->is_unmount_due = false;
}
static void see_no_pid(struct situation *s)
{
    s->has_pid = false;
}
static void see_no_waiting(struct situation *s)
{
    s->is_waiting = false;
}
static void see_no_intent(struct situation *s)
{
    s->intent = INTENT_NONE;
}
static void see_no_instance(struct situation *s)
{
    s->has_instance = false;
}
static void see_every_disk_ready(struct situation *s)
{
    s->disk = DISK_READY;
}
static void see_no_directory(struct situation *s)
{
    s->has_dir = false;
}
static void see_no_image_change(struct situation *s)
{
    s->is_image_changed = false;
}
static void see_no_image_doubt(struct situation *s)
{
    s->is_image_unsure = false;
}
static void see_no_deletion(struct situation *s)
{
    s->is_deleting = false;
}
static void see_no_record(struct situation *s)
{
    s->is_desired = s->is_desired && !s->is_deleting;
}
static void see_every_start_overdue(struct situation *s)
{
    s->is_start_overdue = true;
    s->intent = s->intent == INTENT_NONE ? INTENT_START : s->intent;
}
static void see_no_stage(struct situation *s)
{
    s->stage = STOP_STAGE_POWERDOWN;
    s->is_grace_shorter = true;
}
static void see_no_hold(struct situation *s)
{
    s->is_held = false;
}
static void see_every_guest_here(struct situation *s)
{
    s->run_state = s->run_state == RUN_STATE_POSTMIGRATE ? RUN_STATE_PAUSED : s->run_state;
}
static void see_no_back_off(struct situation *s)
{
    s->is_backing_off = false;
}

/* A probe that fails once is taken for one that failed for good. */
static void see_every_check_fatal(struct situation *s)
{
    s->is_unhealthy = s->is_unhealthy || s->is_probe_due;
}
/* Appended to a list that is not through: the end of that one is lost. */
static void see_every_list_through(struct situation *s)
{
    s->has_appended = s->has_appended || s->has_step;
    s->has_step = false;
}
static void see_nothing_appended(struct situation *s)
{
    s->has_appended = false;
}
static void see_every_guest_reached(struct situation *s)
{
    s->is_reached = true;
}
static void see_every_guest_set_up(struct situation *s)
{
    s->is_setting_up = false;
}
static void see_no_failed_setup(struct situation *s)
{
    s->has_setup_failed = false;
}

static void see_no_wake(struct situation *s)
{
    s->wake = WAKE_NONE;
}
static void see_every_clone_unused(struct situation *s)
{
    s->wake = s->wake == WAKE_BEGUN ? WAKE_DUE : s->wake;
}
static void see_every_wake_ours(struct situation *s)
{
    s->is_wake_ours = true;
}

static bool is_caught_by_model(struct mutant mutant, const char *what)
{
    struct model model = {.mutant = mutant};
    model_check(&model);
    bool is_caught = model.fault;
    model_clear(&model);
    if (!is_caught) {
        print_error("a mutant survives: %s, row %d\n", what, mutant.row);
    }
    return is_caught;
}

/* Where doing nothing is what the row does anyway. Row 3 drops what is left of a record: the model
 * has no such remainder. */
static bool is_passive(int row)
{
    enum action action = decide_action_of_row(row);
    return row == 3 || action == ACTION_NONE || action == ACTION_HOLD ||
           action == ACTION_ADOPT_ORPHAN || action == ACTION_REFUSE_IMAGE;
}

static void every_row_is_needed(void **state)
{
    int n_survivors = 0;
    (void)state;
    for (int row = 1; row <= DECIDE_ROWS; row++) {
        if (!is_passive(row) && !is_of_files(row)) {
            n_survivors +=
                !is_caught_by_model((struct mutant){.row = row, .action = ACTION_NONE}, "none");
        }
    }
    assert_int_equal(n_survivors, 0);
}

static void a_wrong_action_is_caught(void **state)
{
    int n_survivors = 0;
    (void)state;
    static const enum action wrong[] = {ACTION_DISCARD_DISK, ACTION_FORGET, ACTION_LAUNCH};
    for (int row = 4; row <= DECIDE_ROWS; row += 3) {
        enum action action = wrong[(size_t)row % ARRAY_LEN(wrong)];
        if (decide_action_of_row(row) != action && !is_of_files(row)) {
            n_survivors += !is_caught_by_model(
                (struct mutant){.row = row, .action = action}, action_name(action));
        }
    }
    assert_int_equal(n_survivors, 0);
}

static void a_wrong_eye_is_caught(void **state)
{
    int n_survivors = 0;
    (void)state;
    static void (*const blind[])(struct situation * s) = {see_no_process, see_every_pid_recorded,
        see_no_pid, see_no_waiting, see_no_intent, see_no_instance, see_every_disk_ready,
        see_no_directory, see_no_image_change, see_no_image_doubt, see_no_deletion, see_no_record,
        see_every_start_overdue, see_no_stage, see_no_hold, see_no_back_off, see_every_guest_here,
        see_every_check_fatal, see_every_guest_reached, see_every_guest_set_up, see_no_failed_setup,
        see_every_list_through, see_nothing_appended, see_every_volume_made, see_no_volume_leave,
        see_no_wake, see_every_clone_unused, see_every_wake_ours};
    for (size_t i = 0; i < ARRAY_LEN(blind); i++) {
        cleanup_free char *what = mem_printf("eye %zu", i);
        n_survivors += !is_caught_by_model((struct mutant){.blind = blind[i]}, what);
    }
    assert_int_equal(n_survivors, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_safe_and_converges_from_everywhere),
        cmocka_unit_test(every_row_is_needed),
        cmocka_unit_test(a_wrong_action_is_caught),
        cmocka_unit_test(a_wrong_eye_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

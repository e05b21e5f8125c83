/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Carrying out a decision. Where it is not obvious, each function states what happens when the
 * controller is killed just before its effect or just after it, and when the effect is done twice.
 */
#include "reconcilers/vm/pass.h"

#include <stdlib.h>
#include <string.h>

#include "reconcilers/vm/addresses.h"
#include "reconcilers/vm/clock.h"
#include "reconcilers/vm/exit.h"
#include "reconcilers/vm/failure.h"
#include "reconcilers/vm/forwards.h"
#include "reconcilers/vm/hot_change.h"
#include "reconcilers/vm/memory.h"
#include "reconcilers/vm/probes.h"
#include "reconcilers/vm/saved.h"
#include "reconcilers/vm/secrets.h"
#include "reconcilers/vm/volumes.h"
#include "reconcilers/vm/templates.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/log_file.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

enum {
    SILENT_RETRY_MS = 5000,
    DYING_CHILD_MS = 50, /* an unreleased child of the previous controller */
    ORPHAN_RECHECK_MS = 60000,
    POWERDOWN_REPEAT_MS = 5000, /* a booting guest ignores the power button */
    STOP_REPEAT_MS = 1000,
    IO_RETRY_MS = 30000,
    ROOM_RECHECK_MS = 2000, /* freed space causes no event */
    DEPENDENCY_RECHECK_MS = 500,
};

static uint64_t generation_of(const struct pass *pass)
{
    return pass->view->desired ? pass->view->desired->generation : 0;
}

static bool failed_a_moment_ago(const struct pass *pass)
{
    const struct vm_failure *failure = &pass->vm->failure;
    return failure->generation == generation_of(pass) && failure->retry_at_ms > pass->now_ms;
}

int64_t pass_fail(struct pass *pass, const struct error *err)
{
    enum action action = pass->decision.action;
    const struct vm_failure *failure = &pass->vm->failure;
    if (failed_a_moment_ago(pass) && text_eq(failure->error->message, err->message)) {
        return failure->retry_at_ms - pass->now_ms; /* looked at again before its time */
    }
    vm_fail(pass->vm, action, err, generation_of(pass));
    vm_patch_event(
        pass->patch, true, failure_classify(action, err->code).reason, "%s", err->message);
    return action == ACTION_REPLACE ? VERDICT_NOW : failure->retry_at_ms - pass->now_ms;
}

/* Killed before release(): the child's pipe closes and it exits without ever becoming QEMU. */
static int64_t act_launch(struct pass *pass)
{
    struct vm *vm = pass->vm;
    vm_begin(vm, ACTION_LAUNCH, generation_of(pass));
    memcpy(
        vm->outcome->instance.instance_id, pass->view->status->instance.instance_id, TEXT_ID_SIZE);
    vm->op = vm->backend->machine->launch(
        vm->machine, &pass->env, &vm->outcome->instance, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

/* Also ACTION_APPLY. Leases first: a forward is added to the machine only once the VM holds the
 * port's lease. Killed before or after the effect, or done twice: the backend's boot() queries the
 * machine first and adds what is missing. */
static int64_t act_boot(struct pass *pass)
{
    struct vm *vm = pass->vm;
    enum action action = pass->decision.action;
    struct error err = {.code = ERR_NONE};
    if (action == ACTION_APPLY && hot_change_has_network(pass) && !addresses_are_held(pass)) {
        return addresses_choose(pass, &err) < 0 ? pass_fail(pass, &err) : VERDICT_NOW;
    }
    if (action == ACTION_APPLY && !volumes_are_held(pass)) {
        return volumes_lease(pass, &err) < 0 ? pass_fail(pass, &err) : VERDICT_NOW;
    }
    vm_begin(vm, action, generation_of(pass));
    vm->op =
        vm->backend->machine->boot(vm->machine, &pass->env, &vm->outcome->boot, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

/* A guest that prints is busy, not dead: its boot and its cloud-init are then not given up. */
static void watch_console(struct pass *pass)
{
    struct vm *vm = pass->vm;
    cleanup_free char *log = paths_vm(vm->host->paths, vm->name, VM_CONSOLE_LOG);
    int64_t size = fs_size(log);
    if (size != vm->console_size && size >= 0) { /* it is emptied when it has grown too large */
        vm->console_grew_ms = pass->now_ms;
    }
    vm->console_size = size;
}

static int64_t act_reach(struct pass *pass)
{
    struct vm *vm = pass->vm;
    if (vm->reach_deadline_ms == 0) {
        vm->reach_deadline_ms =
            pass->now_ms + (int64_t)vm_spec_ssh_timeout_s(pass->env.spec) * 1000;
    }
    watch_console(pass);
    if (addresses_discover(pass)) {
        return VERDICT_NOW;
    }
    vm_begin(vm, ACTION_REACH, generation_of(pass));
    vm->op = vm->backend->guest->probe(vm->guest, &pass->env,
        pass->situation.is_setting_up ? &vm->outcome->cloud_init : NULL, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

/* Changes nothing: killed before or after, or done twice, the guest is queried again. */
static int64_t act_await_cloud_init(struct pass *pass)
{
    struct vm *vm = pass->vm;
    if (vm->setup_due_ms > pass->now_ms) {
        return vm->setup_due_ms - pass->now_ms;
    }
    if (vm->setup_since_ms == 0) {
        vm->setup_since_ms = pass->now_ms;
    }
    watch_console(pass);
    vm_begin(vm, ACTION_AWAIT_CLOUD_INIT, generation_of(pass));
    vm->op = vm->backend->guest->cloud_init(
        vm->guest, &pass->env, &vm->outcome->cloud_init, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

/* The intent of a run: the instance it begins in, and where its part of provision.log begins. */
static void begin_run(struct pass *pass)
{
    enum { PROVISION_LOG_MAX = 32 << 20 }; /* bytes behind which no other step begins */
    struct vm_step_run *run = &pass->patch->status->provision.run;
    cleanup_free char *log = paths_vm(pass->vm->host->paths, pass->vm->name, VM_PROVISION_LOG);
    int64_t size = log_file_begin(log, PROVISION_LOG_MAX);
    memcpy(run->instance_id, pass->view->status->instance.instance_id, TEXT_ID_SIZE);
    run->started_at_ms = pass->wall_ms;
    run->log_begin = (uint64_t)size;
    if (pass->vm->secrets) {
        pass->vm->secrets->run_started_at_ms = run->started_at_ms;
    }
}

/*
 * Killed before the guest receives it: the next controller begins it, under the name that the
 * recorded run gives it. Killed at any time after: the next controller finds that name in the guest
 * and follows the run. Done twice: the second one finds the first. A file is uploaded and renamed
 * again.
 */
static int64_t act_run_step(struct pass *pass)
{
    struct vm *vm = pass->vm;
    struct error err = {.code = ERR_NONE};
    if (!pass_skips_step(pass, NULL) && step_secrets_get(pass, &err) < 0) {
        return pass_fail(pass, &err);
    }
    if (pass_skips_step(pass, step_secrets_digest(pass))) {
        pass_finish_step(pass);
        return VERDICT_NOW;
    }
    if (pass->view->status->provision.run.started_at_ms == 0) {
        begin_run(pass);
        return VERDICT_NOW;
    }
    vm_begin(vm, ACTION_RUN_STEP, generation_of(pass));
    vm->outcome->step.exit_status = -1;
    pass->env.secrets = vm->secrets;
    vm->op = vm->backend->guest->run_step(vm->guest, &pass->env,
        pass->view->status->provision.next_step, &vm->outcome->step, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

/* Changes nothing in the guest but what a probe's own command does: killed before or after, or done
 * twice, it is tried again. */
static int64_t act_probe(struct pass *pass)
{
    struct vm *vm = pass->vm;
    if (!pass->situation.expects_ssh && addresses_discover(pass)) {
        return VERDICT_NOW;
    }
    enum check_kind kind = probes_next(pass);
    vm_begin(vm, ACTION_PROBE, generation_of(pass));
    vm->outcome->check = kind;
    vm->op = vm->backend->guest->check(vm->guest, &pass->env, kind, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

/* ---- start ---- */

/* The intent of a start: an instance id, and what it will be built from. No effect yet. */
static int64_t act_begin_start(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    struct error err = {.code = ERR_NONE};
    if (addresses_choose(pass, &err) < 0 || volumes_lease(pass, &err) < 0) {
        return pass_fail(pass, &err);
    }
    vm_instance_clear(&status->instance);
    exit_count_restart(&status->restart);
    status->instance.intent = INTENT_START;
    digest_random_id(status->instance.instance_id);
    vm_status_set_applied_spec(status, pass->env.spec);
    saved_begin(pass);
    status->applied_generation = saved_generation(pass);
    status->was_reached = false;
    status->clock = (struct vm_clock){.slept_ms = clock_slept_ms(pass->vm->host->clock)};
    vm_status_forget_cloud_init(status);
    free(status->growth.refusal);
    status->growth = (struct vm_growth){.vcpus = false};
    probes_reset(pass);
    vm_forget_boot(pass->vm);
    return VERDICT_NOW;
}

static int64_t act_release(struct pass *pass)
{
    pass->vm->backend->machine->release(pass->vm->machine);
    return pass->view->status->instance.start_deadline_ms - pass->now_ms + 1;
}

static int64_t act_confirm_start(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    if (text_eq(pass->vm->booted_instance_id, status->instance.instance_id)) {
        free(status->vnc); /* in the commit that clears the intent, or not at all */
        status->vnc = mem_strdup(pass->vm->booted_vnc);
        free(status->machine);
        status->machine = mem_strdup(pass->vm->booted_machine);
    }
    status->instance.intent = INTENT_NONE;
    saved_confirm(pass);
    pass_note_no_steps(pass);
    const char *accel = status->instance.accel; /* NULL: the backend has no choice */
    vm_patch_event(pass->patch, false, REASON_RUNNING, "started (%s %d%s%s)",
        pass->vm->backend->traits->handle, status->instance.pid, accel ? ", " : "",
        accel ? accel : "");
    return VERDICT_NOW;
}

static int64_t act_await_machine(struct pass *pass)
{
    int64_t left_ms = pass->view->status->instance.start_deadline_ms - pass->now_ms + 1;
    bool is_starting = pass->situation.intent == INTENT_START;
    if (is_starting && !pass->situation.has_pid && pass->machine.silent_ms < SILENT_RETRY_MS) {
        return DYING_CHILD_MS; /* its exit causes no event */
    }
    return is_starting && left_ms > 0 ? left_ms : SILENT_RETRY_MS;
}

static int64_t act_wait(struct pass *pass)
{
    return pass->decision.action == ACTION_BACK_OFF ? exit_backoff_left_ms(pass)
                                                    : DEPENDENCY_RECHECK_MS;
}

/* ---- stopping a machine, and other commands to one that is alive ----
 *
 * The intent of a stop is committed before the first command; commands are repeated until the
 * machine is observed to have obeyed. */

static void begin_stop(struct pass *pass, enum exit_cause cause, int64_t grace_ms)
{
    struct vm_instance *instance = &pass->patch->status->instance;
    instance->intent = INTENT_STOP;
    instance->stop_deadline_ms = pass->now_ms + grace_ms;
    pass->vm->last_command_ms = 0; /* before this stop */
    if (instance->cause == EXIT_NONE) {
        instance->cause = cause;
    }
}

static int64_t act_begin_stop(struct pass *pass)
{
    if (!pass->situation.has_instance) {
        vm_patch_event(pass->patch, true, REASON_DRIFT_CORRECTED,
            "its record was lost while it ran; it is restarted on its disk");
    }
    struct situation asked = pass->situation; /* what the user asks for */
    asked.is_halted = false;
    bool is_for_host = pass->situation.is_halted && !situation_must_be_down(&asked);
    bool is_saved = pass->situation.saved == SAVED_WHOLE && pass->situation.is_to_disk;
    enum exit_cause cause = is_saved ? EXIT_SAVED : is_for_host ? EXIT_HOST_SHUTDOWN : EXIT_BY_USER;
    exit_hold(pass, cause);
    begin_stop(pass, cause, pass_grace_ms(pass));
    return VERDICT_NOW;
}

static int64_t act_give_up_start(struct pass *pass)
{
    begin_stop(pass, EXIT_START_FAILED, 0);
    vm_patch_event(pass->patch, true, REASON_QMP_TIMEOUT, "%s", pass->vm->backend->words->silence);
    return VERDICT_NOW;
}

static int64_t act_record_cause(struct pass *pass)
{
    static const enum exit_cause causes[RUN_STATE_COUNT_] = {
        [RUN_STATE_SHUTDOWN] = EXIT_GUEST_SHUTDOWN,
        [RUN_STATE_PANICKED] = EXIT_GUEST_PANIC,
        [RUN_STATE_INTERNAL_ERROR] = EXIT_INTERNAL_ERROR,
    };
    enum exit_cause cause = causes[pass->situation.run_state];
    if (memory_record_guest_end(pass, cause)) {
        return VERDICT_NOW;
    }
    exit_hold(pass, cause);
    begin_stop(pass, cause, 0);
    return VERDICT_NOW;
}

/* With the grace of any stop: a guest whose service hangs may still have files to write. */
static int64_t act_end_unhealthy(struct pass *pass)
{
    begin_stop(pass, exit_hold_unhealthy(pass), pass_grace_ms(pass));
    return VERDICT_NOW;
}

/*
 * Sends the action's command, but the same one only every `repeat_ms` once it can have been
 * received: QMP carries nothing before QEMU responds, and its first response wakes the VM. Requeues
 * no later than the stop ladder's next stage.
 */
static int64_t act_command(struct pass *pass)
{
    static const struct {
        enum machine_command command;
        int64_t repeat_ms;
    } commands[ACTION_COUNT_] = {
        [ACTION_POWERDOWN] = {MACHINE_POWERDOWN, POWERDOWN_REPEAT_MS},
        [ACTION_QUIT] = {MACHINE_QUIT, STOP_REPEAT_MS},
        [ACTION_TERMINATE] = {MACHINE_TERMINATE, STOP_REPEAT_MS},
        [ACTION_KILL] = {MACHINE_KILL, STOP_REPEAT_MS},
        [ACTION_RESUME] = {MACHINE_RESUME, STOP_REPEAT_MS},
        [ACTION_PAUSE] = {MACHINE_PAUSE, STOP_REPEAT_MS},
        [ACTION_RETRY_IO] = {MACHINE_RESUME, IO_RETRY_MS},
    };
    struct vm *vm = pass->vm;
    enum machine_command command = commands[pass->decision.action].command;
    int64_t requeue_ms = commands[pass->decision.action].repeat_ms;
    int64_t since_ms = pass->now_ms - vm->last_command_ms;
    if (vm->last_command == command && vm->last_command_ms > 0 && since_ms < requeue_ms) {
        requeue_ms -= since_ms;
    } else {
        bool is_signal = command == MACHINE_TERMINATE || command == MACHINE_KILL;
        bool is_received = is_signal || pass->situation.run_state != RUN_STATE_UNKNOWN;
        log_debug("vm", "%s: command %d", vm->name, command);
        vm->last_command = command;
        vm->last_command_ms = is_received ? pass->now_ms : 0;
        vm->backend->machine->command(vm->machine, &pass->env, command);
    }
    int64_t left_ms = pass_stage_left_ms(pass);
    return left_ms < requeue_ms ? left_ms : requeue_ms;
}

/* Once there is room the guest resumes at once; one that fails again is retried every 30 s. */
static int64_t act_retry_io(struct pass *pass)
{
    return pass_lacks_room(pass) ? ROOM_RECHECK_MS : act_command(pass);
}

static int64_t act_record_exit(struct pass *pass)
{
    exit_record(pass);
    probes_reset(pass);
    vm_forget_boot(pass->vm);
    pass->vm->last_command_ms = 0;
    pass->vm->has_guest_left = false;
    return VERDICT_NOW;
}

/*
 * What the VM has outside of its directory is destroyed first, because files in the directory name
 * it: killed before, during or after, the next pass destroys what is left. The directory, or the
 * disk in it, is renamed into the trash before anything is recorded: done twice, the second finds
 * nothing to rename. A disk that takes its place is the VM's at once (media.c), and known by its
 * stamp.
 */
static int64_t act_discard(struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    struct vm *vm = pass->vm;
    struct error err = {.code = ERR_NONE};
    bool whole_dir = pass->decision.action == ACTION_DISCARD_ALL;
    forwards_end(pass); /* its sockets are in that directory, too */
    if (pass->media.has_leftovers && vm->backend->media->destroy) {
        vm_begin(vm, pass->decision.action, generation_of(pass));
        vm->op = vm->backend->media->destroy(&pass->env, whole_dir, vm_op_done, vm);
        return VERDICT_WHEN_WOKEN;
    }
    if (whole_dir && desired->fleet.is_fenced) {
        return pass_move_to_quarantine(pass, "it is another node's, or destroyed", &err) < 0
                   ? pass_fail(pass, &err)
                   : VERDICT_NOW;
    }
    if ((!whole_dir && pass_keep_disk(pass, &err) < 0) ||
        vm->backend->media->discard(&pass->env, whole_dir, &err) < 0) {
        return pass_fail(pass, &err);
    }
    if (!whole_dir) {
        pass_record_new_disk(pass);
    }
    return VERDICT_NOW;
}

static int64_t act_forget(struct pass *pass)
{
    pass->patch->forget = true;
    return VERDICT_WHEN_WOKEN;
}

static int64_t act_adopt_orphan(struct pass *pass)
{
    log_warn(
        "vm", "%s: a process of this VM runs, but the store has no record of it", pass->vm->name);
    return ORPHAN_RECHECK_MS;
}

static int64_t act_none(struct pass *pass)
{
    enum { BASE_RECHECK_MS = 30000 }; /* a base image that changes causes no event */
    int64_t wait_ms = probes_wait_ms(pass);
    bool is_later = wait_ms == VERDICT_WHEN_WOKEN || wait_ms > BASE_RECHECK_MS;
    return is_later && pass->situation.is_alive && pass->media.has_local_base ? BASE_RECHECK_MS
                                                                              : wait_ms;
}

static int64_t (*const acts[])(struct pass *) = {
    [ACTION_NONE] = act_none,
    [ACTION_ADOPT_ORPHAN] = act_adopt_orphan,
    [ACTION_QUARANTINE] = pass_quarantine,
    [ACTION_FORGET] = act_forget,
    [ACTION_BEGIN_STOP] = act_begin_stop,
    [ACTION_POWERDOWN] = act_command,
    [ACTION_QUIT] = act_command,
    [ACTION_TERMINATE] = act_command,
    [ACTION_KILL] = act_command,
    [ACTION_RECORD_EXIT] = act_record_exit,
    [ACTION_DISCARD_ALL] = act_discard,
    [ACTION_SEAL] = template_seal_disk,
    [ACTION_FREEZE] = memory_freeze,
    [ACTION_DISMISS] = template_dismiss,
    [ACTION_BEGIN_TEMPLATE] = template_begin,
    [ACTION_AWAIT_TEMPLATE] = template_await,
    [ACTION_CHOOSE_BASE] = template_choose,
    [ACTION_SNAPSHOT] = pass_snapshot,
    [ACTION_REPLACE] = pass_replace,
    [ACTION_DISCARD_DISK] = act_discard,
    [ACTION_MARK_RESTARTED] = exit_mark_restarted,
    [ACTION_HOLD] = act_none,
    [ACTION_IDENTIFY_IMAGE] = pass_identify_image,
    [ACTION_REFUSE_IMAGE] = act_none,
    [ACTION_FETCH_IMAGE] = pass_fetch_image,
    [ACTION_CHECK_DISK] = pass_check_disk,
    [ACTION_PREPARE] = pass_prepare,
    [ACTION_MAKE_VOLUMES] = volumes_act_make,
    [ACTION_BACK_OFF] = act_wait,
    [ACTION_AWAIT_DEPENDENCY] = act_wait,
    [ACTION_BOOT_COLD] = memory_boot_cold,
    [ACTION_BEGIN_START] = act_begin_start,
    [ACTION_LAUNCH] = act_launch,
    [ACTION_RELEASE] = act_release,
    [ACTION_SAVE] = saved_save,
    [ACTION_DROP_MEMORY] = saved_drop,
    [ACTION_LOAD] = memory_load,
    [ACTION_MARK_WOKEN] = memory_mark_woken,
    [ACTION_BOOT] = act_boot,
    [ACTION_IDENTIFY] = memory_identify,
    [ACTION_CONFIRM_START] = act_confirm_start,
    [ACTION_GIVE_UP_START] = act_give_up_start,
    [ACTION_RECORD_CAUSE] = act_record_cause,
    [ACTION_RESUME] = act_command,
    [ACTION_PAUSE] = act_command,
    [ACTION_RETRY_IO] = act_retry_io,
    [ACTION_AWAIT_MACHINE] = act_await_machine,
    [ACTION_APPLY] = act_boot,
    [ACTION_REACH] = act_reach,
    [ACTION_SET_CLOCK] = clock_act,
    [ACTION_GROW_GUEST] = hot_change_grow_guest,
    [ACTION_MOUNT] = volumes_act_mount,
    [ACTION_AWAIT_CLOUD_INIT] = act_await_cloud_init,
    [ACTION_RUN_STEP] = act_run_step,
    [ACTION_APPEND_STEPS] = pass_append_steps,
    [ACTION_PROBE] = act_probe,
    [ACTION_END_UNHEALTHY] = act_end_unhealthy,
};
_Static_assert(ARRAY_LEN(acts) == ACTION_COUNT_, "every action can be carried out");

bool pass_may_precede_commit(const struct pass *pass)
{
    static const bool may[ACTION_COUNT_] = {
        /* These only change the record, or nothing. */
        [ACTION_NONE] = true,
        [ACTION_FORGET] = true,
        [ACTION_BEGIN_STOP] = true,
        [ACTION_RECORD_EXIT] = true,
        [ACTION_DISMISS] = true,
        [ACTION_BEGIN_TEMPLATE] = true,
        [ACTION_AWAIT_TEMPLATE] = true,
        [ACTION_CHOOSE_BASE] = true,
        [ACTION_MARK_RESTARTED] = true,
        [ACTION_HOLD] = true,
        [ACTION_REFUSE_IMAGE] = true,
        [ACTION_BACK_OFF] = true,
        [ACTION_AWAIT_DEPENDENCY] = true,
        [ACTION_BOOT_COLD] = true,
        [ACTION_BEGIN_START] = true,
        [ACTION_MARK_WOKEN] = true,
        [ACTION_CONFIRM_START] = true,
        [ACTION_GIVE_UP_START] = true,
        [ACTION_RECORD_CAUSE] = true,
        [ACTION_APPEND_STEPS] = true,
        [ACTION_END_UNHEALTHY] = true,
        /* These look at the image or the guest: done twice is done once. */
        [ACTION_FETCH_IMAGE] = true,
        [ACTION_REACH] = true,
        [ACTION_AWAIT_CLOUD_INIT] = true,
    };
    const struct vm_step_run *run = &pass->view->status->provision.run;
    bool begins_run = pass->decision.action == ACTION_RUN_STEP && run->started_at_ms == 0;
    bool looks_up = pass->decision.action == ACTION_PREPARE && !pass->vm->image.path &&
                    pass->situation.disk != DISK_TO_GROW;
    return may[pass->decision.action] || begins_run || looks_up;
}

/* Whether the operation is the decided one; preparing may begin with looking up the image. */
static bool serves(enum action begun, enum action decided)
{
    return begun == decided || (begun == ACTION_FETCH_IMAGE && decided == ACTION_PREPARE);
}

static int check_backend(const struct pass *pass, struct error *err)
{
    enum action action = pass->decision.action;
    const struct vm_spec *spec = pass->env.spec;
    const struct backend *backend = pass->vm->backend;
    if (backend->traits->is_fixed && (action == ACTION_PAUSE || action == ACTION_RESUME)) {
        error_set(err, ERR_BACKEND_UNAVAILABLE,
            "vm '%s' cannot be suspended: backend \"%s\" does not support it", pass->vm->name,
            backend->name);
        return error_help(err, "resume it: vmctl resume %s, or stop it: vmctl stop %s",
            pass->vm->name, pass->vm->name);
    }
    bool is_needed = action == ACTION_FETCH_IMAGE || action == ACTION_PREPARE ||
                     action == ACTION_REPLACE || action == ACTION_BEGIN_START ||
                     action == ACTION_LAUNCH;
    return spec && backend->check && is_needed ? backend->check(spec, err) : 0;
}

/* An operation under way is left alone only while it is still useful. A monitor that does not
 * respond for a moment is no reason to cancel a provision step, and QEMU's event about `cont`
 * arrives before the operation has ended. */
int64_t pass_act(struct pass *pass)
{
    struct vm *vm = pass->vm;
    enum action action = pass->decision.action;
    struct error err = {.code = ERR_NONE};
    bool is_seen_early = (vm->op_action == ACTION_LOAD && action == ACTION_MARK_WOKEN) ||
                         (vm->op_action == ACTION_BOOT &&
                             (action == ACTION_CONFIRM_START || action == ACTION_IDENTIFY));
    bool is_useful =
        serves(vm->op_action, action) || action == ACTION_AWAIT_MACHINE || is_seen_early;
    if (vm->op && is_useful) {
        return action == ACTION_AWAIT_MACHINE ? act_await_machine(pass) : VERDICT_WHEN_WOKEN;
    }
    if (vm->op) { /* the decision changed: a stop must not wait for a download */
        log_debug("vm", "%s: %s superseded by %s", vm->name, action_name(vm->op_action),
            action_name(action));
        vm_cancel(vm);
    }
    if (!serves(vm->failure.action, action)) { /* what failed is not wanted any more */
        vm_failure_clear(&vm->failure);
    }
    bool is_cheap = vm->failure.error && vm->failure.error->code == ERR_SECRET; /* to look again */
    if (!is_cheap && failed_a_moment_ago(pass)) {
        return vm->failure.retry_at_ms - pass->now_ms;
    }
    bool is_starting = action == ACTION_BEGIN_START || action == ACTION_LAUNCH;
    bool is_refused = check_backend(pass, &err) < 0 || (is_starting && saved_check(pass, &err) < 0);
    return is_refused ? pass_fail(pass, &err) : acts[action](pass);
}

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Ending a machine, and other commands to one that lives. The intent of a stop is in the journal
 * before the first command; commands are repeated until observing tells that they had their effect.
 */
#include "reconcilers/vm/act.h"

#include <stdlib.h>

#include "reconcilers/vm/exit.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"

enum {
    POWERDOWN_REPEAT_MS = 5000, /* a booting guest ignores the power button */
    STOP_REPEAT_MS = 1000,
    IO_RETRY_MS = 30000,
    ROOM_RECHECK_MS = 2000, /* nobody tells when space is freed */
};

/* ---- what is recorded first ---- */

static void begin_stop(struct pass *pass, enum exit_cause cause, int64_t grace_ms)
{
    struct vm_instance *instance = &pass->patch->status->instance;
    instance->intent = INTENT_STOP;
    instance->stop_deadline_ms = pass->now_ms + grace_ms;
    pass->vm->last_command_ms = 0; /* of the time before */
    if (instance->cause == EXIT_NONE) {
        instance->cause = cause;
    }
}

int64_t act_begin_stop(struct pass *pass)
{
    if (!pass->situation.has_instance) {
        vm_patch_event(pass->patch, true, REASON_DRIFT_CORRECTED,
            "it ran without a record, which was lost; it is started anew on its disk");
    }
    begin_stop(pass, EXIT_BY_USER, pass_grace_ms(pass));
    return VERDICT_NOW;
}

int64_t act_give_up_start(struct pass *pass)
{
    begin_stop(pass, EXIT_START_FAILED, 0);
    vm_patch_event(pass->patch, true, REASON_QMP_TIMEOUT, "%s", pass->vm->backend->words->silence);
    return VERDICT_NOW;
}

int64_t act_record_cause(struct pass *pass)
{
    static const enum exit_cause causes[RUN_STATE_COUNT_] = {
        [RUN_STATE_SHUTDOWN] = EXIT_GUEST_SHUTDOWN,
        [RUN_STATE_PANICKED] = EXIT_GUEST_PANIC,
        [RUN_STATE_INTERNAL_ERROR] = EXIT_INTERNAL_ERROR,
    };
    enum exit_cause cause = causes[pass->situation.run_state];
    exit_hold(pass, cause);
    begin_stop(pass, cause, 0);
    return VERDICT_NOW;
}

/* With the grace of any stop: a guest whose service hangs may still have files to write. */
int64_t act_end_unhealthy(struct pass *pass)
{
    struct vm_restart *restart = &pass->patch->status->restart;
    const struct vm_liveness *live = &pass->patch->status->probing.live;
    exit_hold(pass, EXIT_LIVENESS_FAILED);
    begin_stop(pass, EXIT_LIVENESS_FAILED, pass_grace_ms(pass));
    free(restart->last_message);
    restart->last_message = mem_strdup(live->failure);
    vm_patch_event(pass->patch, true, REASON_LIVENESS_FAILED, "failed %u times in a row: %s",
        live->failures, live->failure ? live->failure : "?");
    return VERDICT_NOW;
}

/* ---- commands ---- */

/* What QMP carries is not heard before QMP answers; when it does, we are woken. */
static bool is_heard(const struct pass *pass, enum machine_command command)
{
    bool is_signal = command == MACHINE_TERMINATE || command == MACHINE_KILL;
    return is_signal || pass->situation.run_state != RUN_STATE_UNKNOWN;
}

/* Sends a command, but the same one only every `repeat_ms` once it can have been heard. */
static int64_t repeat_command(struct pass *pass, enum machine_command command, int64_t repeat_ms)
{
    struct vm *vm = pass->vm;
    int64_t since_ms = pass->now_ms - vm->last_command_ms;
    if (vm->last_command == command && vm->last_command_ms > 0 && since_ms < repeat_ms) {
        return repeat_ms - since_ms;
    }
    log_debug("vm", "%s: command %d", vm->name, command);
    vm->last_command = command;
    vm->last_command_ms = is_heard(pass, command) ? pass->now_ms : 0;
    vm->backend->machine->command(vm->machine, &pass->env, command);
    return repeat_ms;
}

/* The same, but looking again when the stop ladder's next rung is due. */
static int64_t command(struct pass *pass, enum machine_command command, int64_t repeat_ms)
{
    int64_t again_ms = repeat_command(pass, command, repeat_ms);
    int64_t left_ms = pass_stage_left_ms(pass);
    return left_ms < again_ms ? left_ms : again_ms;
}

int64_t act_powerdown(struct pass *pass)
{
    return command(pass, MACHINE_POWERDOWN, POWERDOWN_REPEAT_MS);
}

int64_t act_quit(struct pass *pass)
{
    return command(pass, MACHINE_QUIT, STOP_REPEAT_MS);
}

int64_t act_terminate(struct pass *pass)
{
    return command(pass, MACHINE_TERMINATE, STOP_REPEAT_MS);
}

int64_t act_kill(struct pass *pass)
{
    return command(pass, MACHINE_KILL, STOP_REPEAT_MS);
}

/* Said once: a guest that was told to run, and ran, was paused on QEMU's own socket. */
static void report_paused(struct pass *pass)
{
    if (pass->situation.power == POWER_RUNNING &&
        vm_status_is_true(pass->view->status, CONDITION_RUNNING)) {
        vm_patch_event(pass->patch, true, REASON_DRIFT_CORRECTED,
            "the guest was paused by somebody else; it goes on (to pause it: vmctl suspend %s)",
            pass->vm->name);
    }
}

int64_t act_resume(struct pass *pass)
{
    report_paused(pass);
    return command(pass, MACHINE_RESUME, STOP_REPEAT_MS);
}

int64_t act_pause(struct pass *pass)
{
    return command(pass, MACHINE_PAUSE, STOP_REPEAT_MS);
}

/* With room again it goes on at once; one that stops again at once is tried every half minute. */
int64_t act_retry_io(struct pass *pass)
{
    if (pass_lacks_room(pass)) {
        return ROOM_RECHECK_MS;
    }
    return command(pass, MACHINE_RESUME, IO_RETRY_MS);
}

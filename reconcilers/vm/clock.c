/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/clock.h"

#include <stdlib.h>

#include "reconcilers/vm/failure.h"
#include "reconcilers/vm/pass.h"
#include "specs/base/mem.h"

/* A guest that loses this many connections in a row while its clock is set counts as unreachable
 * until it answers; and its clock, after this many, as one that cannot be set. */
enum { CLOCK_TRIES_MAX = 5, CLOCK_LOST_MAX = 20, AGENT_RECHECK_MS = 100 };

/* Paused, by whomever, or out of room for its disk. Its clock is checked once it runs again, and
 * the intent is committed before it can. Reported is, once, what QEMU's own socket did to a guest
 * that was meant to run, and ran. */
bool clock_note_pause(struct pass *pass)
{
    enum run_state run_state = pass->situation.run_state;
    bool stands_still = run_state == RUN_STATE_PAUSED || run_state == RUN_STATE_IO_ERROR ||
                        run_state == RUN_STATE_POSTMIGRATE;
    struct vm_clock *clock = &pass->patch->status->clock;
    if (pass->decision.action == ACTION_RESUME && pass->situation.power == POWER_RUNNING &&
        vm_status_is_true(pass->view->status, CONDITION_RUNNING)) {
        vm_patch_event(pass->patch, true, REASON_DRIFT_CORRECTED,
            "another program paused the guest; it is resumed (to pause it: vmctl suspend %s)",
            pass->vm->name);
    }
    bool is_new = pass->situation.wake != WAKE_NONE; /* its clock is set before it runs on */
    if (!pass->view->desired || !stands_still || clock->is_due || is_new) {
        return false;
    }
    clock->is_due = true;
    return true;
}

/* Killed before or after, or done twice: it is still due, and a clock that is right is left alone.
 * Without SSH the guest's agent sets it; without an agent it is not set, which is reported, once
 * each time. */
int64_t clock_act(struct pass *pass)
{
    struct vm *vm = pass->vm;
    int64_t slept_ms = clock_slept_ms(vm->host->clock);
    bool has_agent = pass->machine.agent && vm->backend->machine->set_clock;
    if (!pass->situation.expects_ssh && pass->machine.is_agent_asked) {
        return AGENT_RECHECK_MS; /* that there is none wakes no one */
    }
    if (!pass->situation.expects_ssh && !has_agent) {
        pass->patch->status->clock = (struct vm_clock){.slept_ms = slept_ms};
        vm_patch_event(pass->patch, true, REASON_CLOCK_NOT_SET,
            "the guest was stopped and its clock may be behind; vmctl cannot set it without SSH or "
            "an agent");
        return VERDICT_NOW;
    }
    vm_begin(vm, ACTION_SET_CLOCK, pass->view->desired->generation);
    vm->outcome->slept_ms = slept_ms;
    struct clock_result *result = &vm->outcome->clock;
    vm->op = pass->situation.expects_ssh
                 ? vm->backend->guest->set_clock(vm->guest, &pass->env, result, vm_op_done, vm)
                 : vm->backend->machine->set_clock(vm->machine, &pass->env, result, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

/* A clock that cannot be set is reported once; the next time the guest has stood still it is tried
 * again. */
bool clock_record(struct pass *pass)
{
    const struct clock_result *result = &pass->vm->outcome->clock;
    const char *side = result->off_ms < 0 ? "behind" : "ahead";
    double off_s = (double)llabs(result->off_ms) / 1000;
    pass->vm->n_clock_lost = 0;
    pass->patch->status->clock = (struct vm_clock){.slept_ms = pass->vm->outcome->slept_ms};
    if (result->refusal && result->off_ms == 0) {
        vm_patch_event(pass->patch, true, REASON_CLOCK_NOT_SET,
            "the guest was stopped and its clock cannot be checked: %s", result->refusal);
    } else if (result->refusal) {
        vm_patch_event(pass->patch, true, REASON_CLOCK_NOT_SET,
            "the guest's clock is %.1f s %s and cannot be set: %s", off_s, side, result->refusal);
    } else if (result->was_set) {
        vm_patch_event(pass->patch, false, REASON_CLOCK_SET,
            "the guest's clock was %.1f s %s and was set to the host's", off_s, side);
    }
    return true;
}

bool clock_failed(struct pass *pass)
{
    struct vm *vm = pass->vm;
    vm->n_clock_lost++;
    if (vm->n_clock_lost < CLOCK_LOST_MAX) {
        return vm->n_clock_lost % CLOCK_TRIES_MAX == 0;
    }
    vm->outcome->clock.refusal = mem_strdup(vm->outcome->error->message);
    vm_failure_clear(&vm->failure);
    (void)clock_record(pass);
    return false;
}

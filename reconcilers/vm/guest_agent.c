/* SPDX-License-Identifier: MPL-2.0 */
/* What the agent in a guest does for a VM: it is used when it answers, and never waited for. */
#include "reconcilers/vm/pass.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

void pass_note_agent(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    if (!text_eq(status->agent, pass->machine.agent)) {
        free(status->agent);
        status->agent = mem_strdup(pass->machine.agent);
    }
}

/* ---- frozen file systems ---- */

bool pass_is_freeze_due(const struct pass *pass)
{
    return pass->situation.run_state == RUN_STATE_RUNNING && pass->machine.agent &&
           pass->vm->backend->machine->thaw && !vm_status_is_frozen(pass->view->status);
}

void pass_begin_freeze(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    memcpy(status->frozen_instance_id, status->instance.instance_id, TEXT_ID_SIZE);
    pass->vm->is_freeze_ours = true;
}

/* What this controller recorded is thawed by the copy, unless that is not made any more. */
bool pass_is_thaw_due(const struct pass *pass)
{
    const struct vm *vm = pass->vm;
    const struct vm_desired *desired = pass->view->desired;
    bool is_copy_due =
        desired && !text_eq(desired->snapshot.token, pass->view->status->handled_snapshot_token);
    bool is_under_way = vm->op && !vm->outcome->is_thaw;
    return vm_status_is_frozen(pass->view->status) && !is_under_way && pass->machine.agent &&
           !(vm->is_freeze_ours && is_copy_due) && pass->now_ms >= vm->thaw_due_ms &&
           pass->machine.run_state == RUN_STATE_RUNNING && vm->backend->machine->thaw;
}

/* Killed before or after, or done twice: a guest that is thawed stays so. */
int64_t pass_thaw(struct pass *pass)
{
    struct vm *vm = pass->vm;
    vm_begin(vm, ACTION_SNAPSHOT, pass->view->desired->generation);
    vm->outcome->is_thaw = true;
    vm->op = vm->backend->machine->thaw(vm->machine, &pass->env, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

/* An agent may answer everything else, and never thaw. */
static void put_off_thaw(struct pass *pass)
{
    enum { FIRST_MS = 5000, LONGEST_MS = 300000 };
    int64_t pause_ms = FIRST_MS;
    for (uint32_t i = 0; i < pass->vm->n_thaws_failed && pause_ms < LONGEST_MS; i++) {
        pause_ms *= 2;
    }
    pass->vm->n_thaws_failed++;
    pass->vm->thaw_due_ms = pass->now_ms + (pause_ms < LONGEST_MS ? pause_ms : LONGEST_MS);
}

/* One that does not answer is tried again. */
bool pass_record_thaw(struct pass *pass, const struct error *error)
{
    struct vm *vm = pass->vm;
    struct vm_status *status = pass->patch->status;
    if (error && vm->n_thaws_failed == 0) {
        vm_patch_event(pass->patch, true, REASON_SNAPSHOT,
            "the guest's file systems may still be frozen: %s (if so: vmctl restart %s)",
            error->message, vm->name);
    } else if (!error) {
        vm_patch_event(pass->patch, false, REASON_SNAPSHOT, "the guest's file systems are thawed");
    }
    if (error && error->code == ERR_TIMEOUT) {
        put_off_thaw(pass);
    } else {
        memset(status->frozen_instance_id, 0, TEXT_ID_SIZE);
        vm->n_thaws_failed = 0;
        vm->thaw_due_ms = 0;
    }
    return true;
}

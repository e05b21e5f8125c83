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
           !(vm->is_freeze_ours && is_copy_due) && pass->machine.run_state == RUN_STATE_RUNNING &&
           vm->backend->machine->thaw;
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

/* One that does not answer is tried again when it does. */
bool pass_record_thaw(struct pass *pass, const struct error *error)
{
    struct vm *vm = pass->vm;
    struct vm_status *status = pass->patch->status;
    if (error && !vm->has_thaw_failed) {
        vm_patch_event(pass->patch, true, REASON_SNAPSHOT,
            "the guest's file systems may still be frozen: %s (if so: vmctl restart %s)",
            error->message, vm->name);
    } else if (!error) {
        vm_patch_event(pass->patch, false, REASON_SNAPSHOT, "the guest's file systems are thawed");
    }
    vm->has_thaw_failed = error;
    if (!error || error->code != ERR_TIMEOUT) {
        memset(status->frozen_instance_id, 0, TEXT_ID_SIZE);
        vm->has_thaw_failed = false;
    }
    return true;
}

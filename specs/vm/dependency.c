/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/dependency.h"

#include "specs/base/error.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"

enum dependency_state dependency_state(const char *name, const struct vm_desired *desired,
    const struct vm_status *status, struct error *err)
{
    if (!desired) {
        error_set(err, ERR_VM_FAILED, "it waits for '%s', which does not exist", name);
        error_help(err, "create it: vmctl up --name %s", name);
        return DEPENDENCY_STUCK;
    }
    if (desired->is_deleting || !status || status->observed_generation != desired->generation) {
        return DEPENDENCY_COMING;
    }
    if (vm_status_is_true(status, CONDITION_READY)) {
        return DEPENDENCY_READY;
    }
    if (desired->power != POWER_RUNNING) {
        error_set(
            err, ERR_VM_FAILED, "it waits for '%s', which is %s", name, power_name(desired->power));
        error_help(err, "start it: vmctl start %s", name);
        return DEPENDENCY_STUCK;
    }
    const struct condition *stalled = &status->conditions[CONDITION_STALLED];
    if (stalled->state != CONDITION_TRUE) {
        return DEPENDENCY_COMING;
    }
    error_set(err, ERR_VM_FAILED, "it waits for '%s', which is stalled: %s", name,
        stalled->message ? stalled->message : reason_name(stalled->reason));
    error_help(err, "see: vmctl status %s", name);
    return reason_is_lateness(stalled->reason) ? DEPENDENCY_LATE : DEPENDENCY_STUCK;
}

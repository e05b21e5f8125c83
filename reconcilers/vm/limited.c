/* SPDX-License-Identifier: MPL-2.0 */
/* The condition Limited: whether `cpu-limit` and `memory-limit` hold. A VM runs without them where
 * its host cannot enforce them, and says so. */
#include "reconcilers/vm/pass.h"

#include "specs/base/text.h"

static bool has_limits(const struct vm_spec *spec)
{
    return spec && (spec->cpu_limit_milli > 0 || spec->memory_limit_mib > 0);
}

static void report_unlimited(struct pass *pass)
{
    const struct condition *before = &pass->view->status->conditions[CONDITION_LIMITED];
    const char *fault = pass->machine.limit_fault;
    if (before->reason != REASON_LIMITS_NOT_ENFORCED || !text_eq(before->message, fault)) {
        vm_patch_event(pass->patch, true, REASON_LIMITS_NOT_ENFORCED,
            "its limits are not enforced: %s", fault);
    }
    pass_set(pass, CONDITION_LIMITED, CONDITION_FALSE, REASON_LIMITS_NOT_ENFORCED, fault);
}

void pass_describe_limits(struct pass *pass)
{
    bool is_running = pass->situation.is_alive && !pass->machine.is_waiting;
    bool is_limited = pass->machine.is_limited, is_known = is_limited || pass->machine.limit_fault;
    if (!is_running || (!is_known && !has_limits(vm_status_running_spec(pass->patch->status)))) {
        pass_set(pass, CONDITION_LIMITED, CONDITION_ABSENT, REASON_NONE, NULL);
    } else if (pass->machine.limit_fault) {
        report_unlimited(pass);
    } else if (is_limited) {
        pass_set(pass, CONDITION_LIMITED, CONDITION_TRUE, REASON_LIMITED, NULL);
    } /* else, until the controller that adopts it has looked: what an earlier one found */
}

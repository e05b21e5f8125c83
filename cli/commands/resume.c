/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl resume: resumes suspended VMs. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/request/power.h"
#include "specs/base/error.h"

static int check(const struct vm_record *record, struct error *err)
{
    if (!record->desired || record->desired->power != POWER_STOPPED) {
        return 0;
    }
    (void)error_set(
        err, ERR_VM_INVALID_STATE, "vm '%s' is stopped: nothing to resume", record->name);
    return error_help(err, "start it: vmctl start %s", record->name);
}

static const struct power_command resume = {
    .change = {.sets_power = true, .power = POWER_RUNNING},
    .goal = {.kind = GOAL_RUNNING},
    .begun = "resuming",
    .done = "resumed",
    .check = check,
};

const struct command command_resume = {
    .name = "resume",
    .aliases = "unpause",
    .summary = "Resume suspended VMs",
    .usage = "[OPTIONS] [VM...]",
    .details = "The guest continues where `vmctl suspend` stopped it, and its clock is set to the\n"
               "host's.\n"
               "Without a name: the VMs of the VMFile.",
    .examples = "  vmctl resume web",
    .reach = REACH_SEVERAL,
    .options = power_options,
    .values_size = sizeof(struct power_values),
    .defaults = &power_defaults,
    .acts = true,
    .power = &resume,
};

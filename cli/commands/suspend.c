/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl suspend: pauses the vCPUs of running VMs, or saves their memory to disk. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/request/power.h"
#include "specs/base/error.h"

/* A VM that is off would be started only to be paused: not what the user means. */
static int check(const struct vm_record *record, struct error *err)
{
    const struct vm_desired *desired = record->desired;
    bool is_off =
        desired &&
        (desired->power == POWER_STOPPED ||
            (record->status && record->status->restart.held_generation == desired->generation));
    if (!is_off) {
        return 0;
    }
    (void)error_set(
        err, ERR_VM_INVALID_STATE, "vm '%s' is not running: nothing to suspend", record->name);
    return error_help(err, "start it first: vmctl start %s", record->name);
}

static const struct power_command suspend = {
    .change = {.sets_power = true, .power = POWER_SUSPENDED},
    .goal = {.kind = GOAL_SUSPENDED, .is_desired = true},
    .begun = "suspending",
    .done = "suspended",
    .check = check,
};

static const struct arg_option options[] = {
    OPTION_FILE(struct power_values, 'f'),
    OPTION_NAME(struct power_values),
    OPTION_ALL(struct power_values),
    {"disk", 0, ARG_FLAG, offsetof(struct power_values, saves), NULL,
        "save the memory to disk and end QEMU"},
    OPTIONS_FOLLOW(struct power_values),
    OPTIONS_END,
};

const struct command command_suspend = {
    .name = "suspend",
    .aliases = "pause",
    .summary = "Pause running VMs",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Stops the vCPUs; the guest stays in memory until `vmctl resume`. With --disk, its memory\n"
        "is written to the VM's directory and QEMU ends: it then uses no memory of the host, and\n"
        "can resume even after the host has rebooted.\n"
        "Without a name: the VMs of the VMFile.",
    .examples = "  vmctl suspend web\n"
                "  vmctl suspend web --disk",
    .reach = REACH_SEVERAL,
    .options = options,
    .values_size = sizeof(struct power_values),
    .defaults = &power_defaults,
    .acts = true,
    .power = &suspend,
};

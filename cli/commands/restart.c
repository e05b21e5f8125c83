/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl restart: stops VMs and starts them with their newest spec. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/request/power.h"

static const struct power_command restart = {
    .change = {.sets_power = true, .power = POWER_RUNNING, .restarts = true, .retries = true},
    .goal = {.kind = GOAL_READY, .allows_drift = true, .ignores_steps = true},
    .begun = "restarting",
    .done = "restarted",
    .shows_provision = true,
};

const struct command command_restart = {
    .name = "restart",
    .aliases = "reboot",
    .summary = "Restart VMs with their newest settings",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Shuts the guest down and starts it with the settings that `up` or `apply` stored last.\n"
        "The disk is kept and no provision step runs again. A stopped VM is started. Without a\n"
        "name: the VMs of the VMFile.",
    .examples = "  vmctl restart web",
    .reach = REACH_SEVERAL,
    .options = power_options,
    .values_size = sizeof(struct power_values),
    .defaults = &power_defaults,
    .acts = true,
    .power = &restart,
};

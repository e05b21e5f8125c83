/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl start: starts VMs that exist. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/request/power.h"

static const struct power_command start = {
    .change = {.sets_power = true, .power = POWER_RUNNING, .retries = true},
    .goal = {.kind = GOAL_READY, .allows_drift = true, .ignores_steps = true},
    .begun = "starting",
    .done = "started",
    .shows_provision = true,
};

const struct command command_start = {
    .name = "start",
    .summary = "Start VMs",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Starts VMs that `vmctl create` or `vmctl up` created, with their stored settings, and\n"
        "waits until they are ready. Does not provision again; `vmctl up` does. Without a name:\n"
        "the VMs of the VMFile.",
    .examples = "  vmctl start web",
    .reach = REACH_SEVERAL,
    .options = power_options,
    .values_size = sizeof(struct power_values),
    .defaults = &power_defaults,
    .acts = true,
    .power = &start,
};

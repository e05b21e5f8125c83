/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl destroy: removes VMs with all that belongs to them. Needs no VMFile. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/request/power.h"
#include "specs/base/error.h"

/* Begins as that of each power command. */
struct destroy_values {
    struct power_values power;
    bool is_node_off; /* cli/nodes/spread_fleet.c */
};

static const struct arg_option options[] = {
    OPTION_NAME(struct power_values),
    OPTION_ALL(struct power_values),
    OPTION_YES(struct power_values),
    {"node-is-off", 0, ARG_FLAG, offsetof(struct destroy_values, is_node_off), NULL,
        "of the fleet: its node is off, you know it; it is not asked"},
    /* docker's and vagrant's: whatever state it is in, and without a question */
    {"force", 'f', ARG_FLAG, offsetof(struct power_values, is_sure), NULL, NULL},
    OPTIONS_FOLLOW(struct power_values),
    OPTIONS_END,
};

static const struct destroy_values defaults = {.power.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

static const struct power_command destroy = {
    .change = {.deletes = true},
    .goal = {.kind = GOAL_DELETED},
    .begun = "destroying",
    .done = "destroyed",
};

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct destroy_values *given = values;
    struct power_values power = given->power;
    if (given->is_node_off) { /* else it would not have come here */
        return error_set(err, ERR_USAGE, "--node-is-off is for VMs of the fleet on other nodes");
    }
    power.which.is_all |= power.which.selector != NULL;
    if (words->count + power.which.names.count == 0 && !power.which.is_all) {
        (void)error_set(err, ERR_USAGE, "destroy: which VM?");
        return error_help(err, "give its name; for all VMs of a VMFile: vmctl down --destroy");
    }
    return power_run(cli, &destroy, &power, words, err);
}

const struct command command_destroy = {
    .name = "destroy",
    .aliases = "rm",
    .summary = "Remove VMs with their disks",
    .usage = "[OPTIONS] VM...",
    .details =
        "Ends each VM and removes its disk, snapshots, logs, keys and record, whatever its state,\n"
        "with or without its VMFile. Nothing is kept and this cannot be undone: on a terminal it\n"
        "asks first. Downloaded images and volumes stay. A VM with `protect` in its VMFile is not\n"
        "destroyed. If the node of a VM of the fleet is off for good, --node-is-off destroys the "
        "VM\n"
        "without it; should the node come back, its files of the VM go to quarantine/ there.",
    .examples = "  vmctl destroy web\n"
                "  vmctl destroy -l tier=test\n"
                "  vmctl destroy --all -y",
    .reach = REACH_SEVERAL,
    .options = options,
    .values_size = sizeof(struct destroy_values),
    .defaults = &defaults,
    .erases = true,
    .acts = true,
    .run = run,
};

/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl reload: recreates VMs from their VMFile, with new disks. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project_request.h"

static const struct arg_option options[] = {
    OPTION_FILE(struct project_values, 'f'),
    OPTION_NAME(struct project_values),
    {"cold", 0, ARG_FLAG, offsetof(struct project_values, is_cold), NULL,
        "create new disks from the image, not from a template (`warm`)"},
    {"no-provision", 0, ARG_FLAG, offsetof(struct project_values, skips_provision), NULL,
        "do not run the provision steps"},
    {"no-keep", 0, ARG_FLAG, offsetof(struct project_values, erases_at_once), NULL,
        "do not keep the old disk as a snapshot"},
    OPTION_YES(struct project_values),
    OPTIONS_FOLLOW(struct project_values),
    OPTIONS_END,
};

static const struct project_action reload = {
    .starts = true,
    .retries = true,
    .recreates = true,
    .provision = PROVISION_AGAIN,
    .goal = {.kind = GOAL_READY, .allows_drift = true},
};

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    return project_request_run(cli, &reload, values, words, err);
}

const struct command command_reload = {
    .name = "reload",
    .summary = "Recreate the VMs of a VMFile, with new disks",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Ends each VM, replaces its disk, and starts and provisions it as the VMFile now says. On\n"
        "a terminal it asks first. The old disk is kept for 24 hours as a snapshot (vmctl\n"
        "snapshot list); for less if the VM is recreated three times more or the file system has\n"
        "less than 1 GiB free; and not at all with --no-keep. A VM with `protect` in its VMFile\n"
        "is left alone. To restart without losing the disk: vmctl restart.",
    .examples = "  vmctl reload\n"
                "  vmctl reload --name web\n"
                "  vmctl reload --no-provision",
    .reach = REACH_FILE,
    .options = options,
    .values_size = sizeof(struct project_values),
    .defaults = &project_defaults,
    .erases = true,
    .acts = true,
    .run = run,
};

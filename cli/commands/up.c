/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl up: starts the VMs of a VMFile and applies its changes. */
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
    {"restart", 0, ARG_FLAG, offsetof(struct project_values, restarts), NULL,
        "restart VMs whose changes need it"},
    {"recreate", 0, ARG_FLAG, offsetof(struct project_values, recreates), NULL,
        "recreate the disk where changes need it; the old one is kept for 24 h"},
    {"adopt", 0, ARG_FLAG, offsetof(struct project_values, adopts), NULL,
        "take over VMs with these names from another VMFile"},
    {"no-keep", 0, ARG_FLAG, offsetof(struct project_values, erases_at_once), NULL,
        "do not keep the old disk as a snapshot"},
    OPTION_YES(struct project_values),
    OPTION_PRUNE(struct project_values),
    OPTION_WATCH(struct project_values),
    {"no-deps", 0, ARG_FLAG, offsetof(struct project_values, is_alone), NULL,
        "leave out the VMs that the named ones depend on"},
    {"dry-run", 0, ARG_FLAG, offsetof(struct project_values, is_dry_run), NULL,
        "show what would be done; do nothing"},
    OPTIONS_FOLLOW(struct project_values),
    OPTIONS_END,
};

static const struct project_action up = {
    .starts = true,
    .retries = true,
    .provision = PROVISION_ON_START,
    .goal = {.kind = GOAL_READY, .allows_drift = true},
    .ignores_skipped = true,
    .prunes = true,
    .brings_dependencies = true,
    .awaits_deletions = true,
};

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    return project_request_run(cli, &up, values, words, err);
}

const struct command command_up = {
    .name = "up",
    .summary = "Bring up the VMs of a VMFile",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Creates VMs that do not exist, starts and provisions those that are stopped, and applies\n"
        "the changes of the VMFile to those that run: what can change without a restart changes\n"
        "at once, and appended provision steps run. Nothing is restarted or recreated without\n"
        "--restart or --recreate. Then waits until all VMs are ready; Ctrl-C stops the waiting,\n"
        "not the VMs. With names, the VMs they depend on are brought up, too, but neither\n"
        "restarted nor recreated. The disk of a VM with `protect` in its VMFile is never replaced\n"
        "or destroyed.",
    .examples = "  vmctl up                      all VMs of ./VMFile.kdl\n"
                "  vmctl up --name web           this one and what it depends on\n"
                "  vmctl up --dry-run            only show what would be done\n"
                "  vmctl up --no-provision       without the provision steps\n"
                "  vmctl up -d                   in the background",
    .reach = REACH_FILE,
    .options = options,
    .values_size = sizeof(struct project_values),
    .defaults = &project_defaults,
    .acts = true,
    .names_file_vms = true,
    .run = run,
};

/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl apply: writes a VMFile's specs and leaves the power of its VMs as it is. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project_request.h"

static const struct arg_option options[] = {
    OPTION_FILE(struct project_values, 'f'),
    OPTION_NAME(struct project_values),
    {"no-provision", 0, ARG_FLAG, offsetof(struct project_values, skips_provision), NULL,
        "do not run provision steps that were appended"},
    {"adopt", 0, ARG_FLAG, offsetof(struct project_values, adopts), NULL,
        "take over VMs with these names from another VMFile"},
    OPTION_YES(struct project_values),
    OPTION_PRUNE(struct project_values),
    OPTION_WATCH(struct project_values),
    OPTIONS_FOLLOW(struct project_values),
    OPTIONS_END,
};

/* The command did not ask for steps that failed before: only those it runs can fail it. */
static const struct project_action apply = {
    .provision = PROVISION_APPENDED,
    .goal = {.kind = GOAL_SETTLED, .allows_drift = true},
    .ignores_skipped = true,
    .ignores_failed = true,
    .prunes = true,
};

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    return project_request_run(cli, &apply, values, words, err);
}

const struct command command_apply = {
    .name = "apply",
    .summary = "Store a VMFile's settings without starting or stopping VMs",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Stores the VMFile's settings. New VMs stay off until `vmctl up` or `vmctl start`.\n"
        "Running VMs get what can change without a restart, and run the provision steps that were\n"
        "appended. With --prune, VMs that came from the file and are no longer in it are\n"
        "destroyed or stopped; a VM with `protect` is never destroyed.",
    .examples = "  vmctl apply\n"
                "  vmctl apply --no-provision  but run no appended steps\n"
                "  vmctl apply --prune         and destroy VMs that the file no longer names",
    .reach = REACH_FILE,
    .options = options,
    .values_size = sizeof(struct project_values),
    .defaults = &project_defaults,
    .acts = true,
    .names_file_vms = true,
    .run = run,
};

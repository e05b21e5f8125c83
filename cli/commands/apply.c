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
        "take over VMs of these names from another VMFile"},
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
    .summary = "Write a VMFile's settings, start and stop nothing",
    .usage = "[OPTIONS] [VM...]",
    .details = "Writes the VMFile's settings into the store. New VMs stay off until `vmctl up` or\n"
               "`start`; running ones take over what needs no restart, and run provision steps\n"
               "that were appended. With --prune, VMs that came from the file and that it no\n"
               "longer names are destroyed or stopped; one with `protect` is not destroyed.",
    .examples = "  vmctl apply\n"
                "  vmctl apply --no-provision  but run no appended steps\n"
                "  vmctl apply --prune         and destroy what the file no longer names",
    .reach = REACH_FILE,
    .options = options,
    .values_size = sizeof(struct project_values),
    .defaults = &project_defaults,
    .acts = true,
    .names_file_vms = true,
    .run = run,
};

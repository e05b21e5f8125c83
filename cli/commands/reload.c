/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl reload: makes VMs anew from their VMFile, with new disks. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project_request.h"
#include "specs/base/cleanup.h"

struct reload_values {
    struct which_values which;
    struct follow_values follow;
    bool skips_provision;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct reload_values, 'f'),
    OPTION_NAME(struct reload_values),
    {"no-provision", 0, ARG_FLAG, offsetof(struct reload_values, skips_provision), NULL,
        "do not run the provision steps"},
    OPTIONS_FOLLOW(struct reload_values),
    OPTIONS_END,
};

static const struct reload_values defaults = {.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

static int reload(struct cli *cli, struct project_request *project_request, const struct reload_values *values,
    const struct arg_strings *words, struct error *err)
{
    int rc = project_request_prepare(cli, project_request, &values->which, words, err);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < project_request->request.count; i++) {
        struct change *change = &project_request->request.changes[i];
        change->sets_power = true;
        change->power = POWER_RUNNING;
        change->recreates = project_request->records[i].desired != NULL;
        change->provision = values->skips_provision ? PROVISION_SKIP : PROVISION_AGAIN;
        change->retries = true;
    }
    project_request->request.goal = (struct goal){.kind = GOAL_READY, .allows_drift = true};
    project_request->request.shows_provision = true;
    return vm_request_run(cli, &project_request->request, &values->follow, err);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    cleanup_with(project_request_clear) struct project_request project_request = {.records = NULL};
    return reload(cli, &project_request, values, words, err);
}

const struct command command_reload = {
    .name = "reload",
    .summary = "Make the VMs of a VMFile anew; erases their disks",
    .usage = "[OPTIONS] [VM...]",
    .details = "Ends each VM, drops its disk, and starts and provisions a fresh one as the\n"
               "VMFile says now. To restart without losing the disk: vmctl restart.",
    .examples = "  vmctl reload\n"
                "  vmctl reload --name web\n"
                "  vmctl reload --no-provision",
    .options = options,
    .values_size = sizeof(struct reload_values),
    .defaults = &defaults,
    .acts = true,
    .run = run,
};

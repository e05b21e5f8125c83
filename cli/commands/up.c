/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl up: makes the VMs of a VMFile run as it says. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project_request.h"
#include "cli/request/prune.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

struct up_values {
    struct which_values which;
    struct follow_values follow;
    bool skips_provision;
    bool restarts;
    bool recreates;
    bool adopts;
    const char *prune;
    bool watches;
    bool is_alone;
    bool is_dry_run;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct up_values, 'f'),
    OPTION_NAME(struct up_values),
    {"no-provision", 0, ARG_FLAG, offsetof(struct up_values, skips_provision), NULL,
        "do not run the provision steps"},
    {"restart", 0, ARG_FLAG, offsetof(struct up_values, restarts), NULL,
        "restart VMs whose changes need it"},
    {"recreate", 0, ARG_FLAG, offsetof(struct up_values, recreates), NULL,
        "make the disk anew where changes need it; erases the old one"},
    {"adopt", 0, ARG_FLAG, offsetof(struct up_values, adopts), NULL,
        "take over VMs of these names from another VMFile"},
    OPTION_PRUNE(struct up_values),
    OPTION_WATCH(struct up_values),
    {"no-deps", 0, ARG_FLAG, offsetof(struct up_values, is_alone), NULL,
        "leave out the VMs that those named depend on"},
    {"dry-run", 0, ARG_FLAG, offsetof(struct up_values, is_dry_run), NULL,
        "tell what would be done, and do nothing"},
    OPTIONS_FOLLOW(struct up_values),
    OPTIONS_END,
};

static const struct up_values defaults = {.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

static void complete_change(struct project_request *project_request, size_t i, const struct up_values *values)
{
    struct change *change = &project_request->request.changes[i];
    change->sets_power = true;
    change->power = POWER_RUNNING;
    change->provision = values->skips_provision ? PROVISION_SKIP : PROVISION_ON_START;
    change->retries = true;
    change->takes_over = values->adopts;
    /* what others depend on is brought up, but loses nothing unless it is named, too */
    bool is_named = i < project_request->n_named;
    change->recreates = values->recreates && is_named && project_request->records[i].desired &&
        project_request_needs_new_disk(project_request, i);
    change->restarts = values->restarts && is_named && !change->recreates &&
        project_request_needs_restart(project_request, i);
}

static void complete_changes(struct project_request *project_request, const struct up_values *values)
{
    for (size_t i = 0; i < project_request->request.count; i++) {
        complete_change(project_request, i, values);
    }
}

static int plan_up(struct cli *cli, struct project_request *project_request, const struct up_values *values,
    enum source_prune prune, struct error *err)
{
    complete_changes(project_request, values);
    int rc = prune_plan(cli, &project_request->project, prune, err);
    return rc < 0 ? rc : project_request_plan(cli, project_request, err);
}

static int bring_up(struct cli *cli, struct project_request *project_request, const struct up_values *values,
    const struct arg_strings *words, struct error *err)
{
    enum source_prune prune;
    project_request->wants_dependencies = !values->is_alone;
    int rc = prune_parse(values->prune, &prune, err);
    if (rc < 0 || (rc = project_request_prepare(cli, project_request, &values->which, words, err)) != 0) {
        return rc;
    }
    if (values->watches && (rc = project_request_watch(project_request, prune, true, err)) < 0) {
        return rc;
    }
    if (values->is_dry_run) {
        return plan_up(cli, project_request, values, prune, err);
    }
    if (!values->follow.is_detached) {
        rc = project_request_await_deletions(cli, project_request, values->follow.timeout_ms, err);
        if (rc != 0) {
            return rc;
        }
    }
    complete_changes(project_request, values);
    project_request->request.goal = (struct goal){.kind = GOAL_READY,
        .allows_drift = true,
        .ignores_steps = values->skips_provision};
    project_request->request.shows_provision = true;
    return project_request_run(cli, project_request, prune, &values->follow, err);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    cleanup_with(project_request_clear) struct project_request project_request = {.records = NULL};
    return bring_up(cli, &project_request, values, words, err);
}

const struct command command_up = {
    .name = "up",
    .summary = "Bring up the VMs of a VMFile",
    .usage = "[OPTIONS] [VM...]",
    .details = "Creates the VMs that do not exist, starts and provisions those that are stopped,\n"
               "and tells what a changed VMFile means for those that run: what can be is changed\n"
               "at once, and provision steps that were appended are run. Nothing is restarted or\n"
               "erased without --restart or --recreate. Then follows until all are ready; Ctrl-C\n"
               "stops the following, not the VMs. With names, what these VMs depend on is\n"
               "brought up, too, but neither restarted nor erased.",
    .examples = "  vmctl up                      all VMs of ./VMFile.kdl\n"
                "  vmctl up --name web           this one and what it depends on\n"
                "  vmctl up --dry-run            only tell what would be done\n"
                "  vmctl up --no-provision       without the provision steps\n"
                "  vmctl up -d                   in the background",
    .options = options,
    .values_size = sizeof(struct up_values),
    .defaults = &defaults,
    .acts = true,
    .run = run,
};

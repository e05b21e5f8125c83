/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl apply: writes a VMFile's specs and leaves the power of its VMs as it is. */
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project_request.h"
#include "cli/request/prune.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

struct apply_values {
    struct which_values which;
    struct follow_values follow;
    bool skips_provision;
    bool adopts;
    const char *prune;
    bool watches;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct apply_values, 'f'),
    OPTION_NAME(struct apply_values),
    {"no-provision", 0, ARG_FLAG, offsetof(struct apply_values, skips_provision), NULL,
        "do not run provision steps that were appended"},
    {"adopt", 0, ARG_FLAG, offsetof(struct apply_values, adopts), NULL,
        "take over VMs of these names from another VMFile"},
    OPTION_PRUNE(struct apply_values),
    OPTION_WATCH(struct apply_values),
    OPTIONS_FOLLOW(struct apply_values),
    OPTIONS_END,
};

static const struct apply_values defaults = {.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

/* A step that failed before was not asked for now: only what this wish runs can fail it. */
static struct goal goal_of(const struct project_request *project_request, size_t i, const struct apply_values *values)
{
    const struct vm_status *status = project_request->records[i].status;
    return (struct goal){.kind = GOAL_SETTLED,
        .allows_drift = true,
        .ignores_steps = values->skips_provision || (status && status->provision.is_failed)};
}

static void complete_changes(struct project_request *project_request, const struct apply_values *values)
{
    struct request *request = &project_request->request;
    request->goals = mem_calloc(request->count, sizeof(*request->goals));
    request->shows_provision = true;
    for (size_t i = 0; i < request->count; i++) {
        request->changes[i].takes_over = values->adopts;
        request->changes[i].provision =
            values->skips_provision ? PROVISION_SKIP : PROVISION_APPENDED;
        request->goals[i] = goal_of(project_request, i, values);
    }
}

static int apply(struct cli *cli, struct project_request *project_request, const struct apply_values *values,
    const struct arg_strings *words, struct error *err)
{
    enum source_prune prune;
    int rc = prune_parse(values->prune, &prune, err);
    if (rc < 0 || (rc = project_request_prepare(cli, project_request, &values->which, words, err)) != 0) {
        return rc;
    }
    if (values->watches && (rc = project_request_watch(project_request, prune, false, err)) < 0) {
        return rc;
    }
    complete_changes(project_request, values);
    return project_request_run(cli, project_request, prune, &values->follow, err);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    cleanup_with(project_request_clear) struct project_request project_request = {.records = NULL};
    return apply(cli, &project_request, values, words, err);
}

const struct command command_apply = {
    .name = "apply",
    .summary = "Write a VMFile's settings, start and stop nothing",
    .usage = "[OPTIONS] [VM...]",
    .details = "Makes the store say what the VMFile says. New VMs stay off until `vmctl up` or\n"
               "`start`; running ones take over what needs no restart, and run provision steps\n"
               "that were appended.",
    .examples = "  vmctl apply\n"
                "  vmctl apply --no-provision  but run no appended steps\n"
                "  vmctl apply --prune         and destroy what the file no longer names",
    .options = options,
    .values_size = sizeof(struct apply_values),
    .defaults = &defaults,
    .acts = true,
    .run = run,
};

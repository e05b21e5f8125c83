/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl provision: runs the provision steps of running VMs again. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project_request.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

struct provision_values {
    struct which_values which;
    struct follow_values follow;
    uint32_t from; /* 0: not given */
};

static const struct arg_option options[] = {
    OPTION_FILE(struct provision_values, 'f'),
    OPTION_NAME(struct provision_values),
    {"from", 0, ARG_NUMBER, offsetof(struct provision_values, from), "STEP",
        "begin with this step of the VMFile, counted from 1; it runs whatever its `run` says"},
    OPTIONS_FOLLOW(struct provision_values),
    OPTIONS_END,
};

static const struct provision_values defaults = {.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

static int check(const struct vm_record *record, const char *name, struct error *err)
{
    const struct vm_desired *desired = record->desired;
    if (!desired) {
        (void)error_set(err, ERR_VM_NOT_FOUND, "vm '%s' does not exist yet", name);
        return error_help(err, "bring it up first: vmctl up --name %s", name);
    }
    if (desired->power != POWER_RUNNING) {
        (void)error_set(err, ERR_VM_INVALID_STATE, "vm '%s' is %s: provisioning needs it running",
            name, power_name(desired->power));
        return error_help(err, "bring it up first: vmctl up --name %s", name);
    }
    return 0;
}

static int check_from(const struct change *change, struct error *err)
{
    size_t n_steps = change->spec->n_steps;
    if (change->provision_from <= n_steps) {
        return 0;
    }
    (void)error_set(err, ERR_USAGE, "vm '%s' has %zu provision step%s: none is number %u",
        change->name, n_steps, n_steps == 1 ? "" : "s", change->provision_from);
    return error_help(err, "see them: vmctl describe %s", change->name);
}

static int provision(struct cli *cli, struct project_request *project_request, const struct provision_values *values,
    const struct arg_strings *words, struct error *err)
{
    int rc = project_request_prepare(cli, project_request, &values->which, words, err);
    for (size_t i = 0; rc == 0 && i < project_request->request.count; i++) {
        struct change *change = &project_request->request.changes[i];
        rc = check(&project_request->records[i], change->name, err);
        change->provision = PROVISION_AGAIN;
        change->provision_from = values->from;
        rc = rc == 0 ? check_from(change, err) : rc;
        change->retries = true;
        if (change->spec->n_steps == 0) {
            cli_note(cli, "note: vm '%s' has no provision steps", change->name);
        }
    }
    if (rc != 0) {
        return rc;
    }
    project_request->request.goal = (struct goal){.kind = GOAL_PROVISIONED};
    project_request->request.shows_provision = true;
    project_request->request.done = "provisioned";
    return vm_request_run(cli, &project_request->request, &values->follow, err);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    cleanup_with(project_request_clear) struct project_request project_request = {.records = NULL};
    return provision(cli, &project_request, values, words, err);
}

const struct command command_provision = {
    .name = "provision",
    .summary = "Run the provision steps of running VMs again",
    .usage = "[OPTIONS] [VM...]",
    .details = "Runs all steps of the VMFile, in order, and shows their output. It is kept in\n"
               "the log: vmctl log --provision VM. With --from those before STEP are left out, as\n"
               "if they had succeeded.",
    .examples = "  vmctl provision\n"
                "  vmctl provision --name web\n"
                "  vmctl provision --name web --from 3",
    .options = options,
    .values_size = sizeof(struct provision_values),
    .defaults = &defaults,
    .acts = true,
    .run = run,
};

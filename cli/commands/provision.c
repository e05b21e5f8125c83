/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl provision: runs the provision steps of running VMs again. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project_request.h"
#include "specs/base/error.h"

static const struct arg_option options[] = {
    OPTION_FILE(struct project_values, 'f'),
    OPTION_NAME(struct project_values),
    {"from", 0, ARG_NUMBER, offsetof(struct project_values, from), "STEP",
        "begin with this step of the VMFile, counted from 1; it runs regardless of its `run`"},
    OPTIONS_FOLLOW(struct project_values),
    OPTIONS_END,
};

/* The VM has to run, and to have the step that --from names. */
static int check(const struct cli *cli, const struct vm_record *record, const struct change *change,
    struct error *err)
{
    const struct vm_desired *desired = record->desired;
    size_t n_steps = change->spec->n_steps;
    if (!desired) {
        (void)error_set(err, ERR_VM_NOT_FOUND, "vm '%s' does not exist yet", change->name);
        return error_help(err, "bring it up first: vmctl up --name %s", change->name);
    }
    if (desired->power != POWER_RUNNING) {
        (void)error_set(err, ERR_VM_INVALID_STATE, "vm '%s' is %s: provisioning needs it running",
            change->name, power_name(desired->power));
        return error_help(err, "bring it up first: vmctl up --name %s", change->name);
    }
    if (change->provision_from > n_steps) {
        (void)error_set(err, ERR_USAGE, "vm '%s' has %zu provision step%s: none is number %u",
            change->name, n_steps, n_steps == 1 ? "" : "s", change->provision_from);
        return error_help(err, "see them: vmctl describe %s", change->name);
    }
    if (n_steps == 0) {
        cli_note(cli, "note: vm '%s' has no provision steps", change->name);
    }
    return 0;
}

static const struct project_action provision = {
    .retries = true,
    .provision = PROVISION_AGAIN,
    .goal = {.kind = GOAL_PROVISIONED},
    .done = "provisioned",
    .check = check,
};

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    return project_request_run(cli, &provision, values, words, err);
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
    .values_size = sizeof(struct project_values),
    .defaults = &project_defaults,
    .acts = true,
    .run = run,
};

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

static int check_from(const struct wish *wish, struct error *err)
{
    size_t n_steps = wish->spec->n_steps;
    if (wish->provision_from <= n_steps) {
        return 0;
    }
    (void)error_set(err, ERR_USAGE, "vm '%s' has %zu provision step%s: none is number %u",
        wish->name, n_steps, n_steps == 1 ? "" : "s", wish->provision_from);
    return error_help(err, "see them: vmctl describe %s", wish->name);
}

static int provision(struct cli *cli, struct bring *bring, const struct provision_values *values,
    const struct arg_texts *words, struct error *err)
{
    int rc = bring_prepare(cli, bring, &values->which, words, err);
    for (size_t i = 0; rc == 0 && i < bring->ask.count; i++) {
        struct wish *wish = &bring->ask.wishes[i];
        rc = check(&bring->records[i], wish->name, err);
        wish->provision = PROVISION_AGAIN;
        wish->provision_from = values->from;
        rc = rc == 0 ? check_from(wish, err) : rc;
        wish->retries = true;
        if (wish->spec->n_steps == 0) {
            cli_note(cli, "note: vm '%s' has no provision steps", wish->name);
        }
    }
    if (rc != 0) {
        return rc;
    }
    bring->ask.goal = (struct goal){.kind = GOAL_PROVISIONED};
    bring->ask.shows_provision = true;
    bring->ask.done = "provisioned";
    return ask_carry_out(cli, &bring->ask, &values->follow, err);
}

static int run(
    struct cli *cli, const void *values, const struct arg_texts *words, struct error *err)
{
    cleanup_with(bring_clear) struct bring bring = {.records = NULL};
    return provision(cli, &bring, values, words, err);
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

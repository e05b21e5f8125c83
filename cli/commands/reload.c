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

static int reload(struct cli *cli, struct bring *bring, const struct reload_values *values,
    const struct arg_texts *words, struct error *err)
{
    int rc = bring_prepare(cli, bring, &values->which, words, err);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < bring->ask.count; i++) {
        struct wish *wish = &bring->ask.wishes[i];
        wish->sets_power = true;
        wish->power = POWER_RUNNING;
        wish->recreates = bring->records[i].desired != NULL;
        wish->provision = values->skips_provision ? PROVISION_SKIP : PROVISION_AGAIN;
        wish->retries = true;
    }
    bring->ask.goal = (struct goal){.kind = GOAL_READY, .allows_drift = true};
    bring->ask.shows_provision = true;
    return ask_carry_out(cli, &bring->ask, &values->follow, err);
}

static int run(
    struct cli *cli, const void *values, const struct arg_texts *words, struct error *err)
{
    cleanup_with(bring_clear) struct bring bring = {.records = NULL};
    return reload(cli, &bring, values, words, err);
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

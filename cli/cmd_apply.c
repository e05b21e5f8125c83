/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl apply: writes a VMFile's specs and leaves the power of its VMs as it is. */
#include <stdlib.h>

#include "cli/bring.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/prune.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

struct apply_values {
    struct which_values which;
    struct follow_values follow;
    bool adopts;
    const char *prune;
    bool watches;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct apply_values, 'f'),
    OPTION_NAME(struct apply_values),
    {"adopt", 0, ARG_FLAG, offsetof(struct apply_values, adopts), NULL,
        "take over VMs of these names from another VMFile"},
    OPTION_PRUNE(struct apply_values),
    OPTION_WATCH(struct apply_values),
    OPTIONS_FOLLOW(struct apply_values),
    OPTIONS_END,
};

static const struct apply_values defaults = {.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

static int apply(struct cli *cli, struct bring *bring, const struct apply_values *values,
    const struct arg_texts *words, struct error *err)
{
    enum source_prune prune;
    int rc = prune_parse(values->prune, &prune, err);
    if (rc < 0 || (rc = bring_prepare(cli, bring, &values->which, words, err)) != 0) {
        return rc;
    }
    if (values->watches && (rc = bring_watch(bring, prune, false, err)) < 0) {
        return rc;
    }
    for (size_t i = 0; i < bring->ask.count; i++) {
        bring->ask.wishes[i].takes_over = values->adopts;
    }
    bring->ask.goal = (struct goal){
        .kind = GOAL_SETTLED, .allows_drift = true, .ignores_steps = true};
    return bring_carry_out(cli, bring, prune, &values->follow, err);
}

static int run(
    struct cli *cli, const void *values, const struct arg_texts *words, struct error *err)
{
    cleanup_with(bring_clear) struct bring bring = {.records = NULL};
    return apply(cli, &bring, values, words, err);
}

const struct command command_apply = {
    .name = "apply",
    .summary = "Write a VMFile's settings, start and stop nothing",
    .usage = "[OPTIONS] [VM...]",
    .details = "Makes the store say what the VMFile says. New VMs stay off until `vmctl up` or\n"
               "`start`; running ones take over what needs no restart.",
    .examples = "  vmctl apply\n"
                "  vmctl apply --prune         and destroy what the file no longer names",
    .options = options,
    .values_size = sizeof(struct apply_values),
    .defaults = &defaults,
    .acts = true,
    .run = run,
};

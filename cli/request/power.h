/* SPDX-License-Identifier: MPL-2.0 */
/* What start, stop, restart, suspend, resume and destroy share: one change for each VM meant. */
#pragma once

#include "cli/options.h"
#include "cli/wait/goal.h"
#include "store/desired/change.h"

struct cli;
struct error;

/* The values of such a command without further options. */
struct power_values {
    struct which_values which;
    struct follow_values follow;
    bool is_sure; /* of `destroy` */
    bool saves;   /* of `suspend` */
};
extern const struct arg_option power_options[];
extern const struct power_values power_defaults;

struct power_command {
    struct change change; /* without its name */
    struct goal goal;
    const char *begun;
    const char *done;
    bool shows_provision;
    /* Whether the change is possible for this VM; NULL: always. Sets *err if not. */
    int (*check)(const struct vm_record *record, struct error *err);
};

/* Returns what run() of a command is to return. */
int power_run(struct cli *cli, const struct power_command *command,
    const struct power_values *values, const struct arg_strings *words, struct error *err);

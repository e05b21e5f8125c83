/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl validate: whether a VMFile is valid, and all that is wrong with it if not. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

struct validate_values {
    struct which_values which;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct validate_values, 'f'),
    OPTIONS_END,
};

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct validate_values *validate = values;
    cleanup_with(project_clear) struct project project = {.path = NULL};
    if (words->count > 1 || (words->count == 1 && validate->which.file)) {
        return error_set(err, ERR_USAGE, "validate takes one file");
    }
    const char *file = words->count ? words->items[0] : validate->which.file;
    int rc = project_load(cli, file, &project, err);
    if (rc != 0) {
        return rc;
    }
    if (cli->output != OUTPUT_NAME) {
        printf("%s: valid:", project.path);
    }
    for (size_t i = 0; i < project.file->n_vms; i++) {
        project_note_unused(cli, project.file->vms[i]);
        printf(cli->output == OUTPUT_NAME ? "%s\n" : " %s", project.file->vms[i]->name);
    }
    if (cli->output != OUTPUT_NAME) {
        putchar('\n');
    }
    return 0;
}

const struct command command_validate = {
    .name = "validate",
    .summary = "Check a VMFile",
    .usage = "[OPTIONS] [PATH]",
    .details = "Prints all errors of the file, each with its place, and ends with 2 if there are\n"
               "any. -o name prints the names of its VMs alone.",
    .examples = "  vmctl validate\n"
                "  vmctl validate examples/web/VMFile.kdl",
    .options = options,
    .values_size = sizeof(struct validate_values),
    .needs_no_store = true,
    .run = run,
};

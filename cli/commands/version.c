/* SPDX-License-Identifier: MPL-2.0 */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/show/output.h"

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)values;
    (void)words;
    (void)err;
    if (output_is_data(cli)) {
        cleanup_json json_t *json = json_object();
        json_put_text(json, "version", VMCTL_VERSION);
        output_print(cli, json);
    } else {
        printf("vmctl %s\n", VMCTL_VERSION);
    }
    return 0;
}

const struct command command_version = {
    .name = "version",
    .summary = "Show the version",
    .usage = "",
    .needs_no_store = true,
    .run = run,
};

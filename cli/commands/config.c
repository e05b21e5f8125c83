/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl config: the VMs that a VMFile stands for, each written out. */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/url.h"

struct config_values {
    struct which_values which;
    bool with_secrets;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct config_values, 'f'),
    {"with-secrets", 0, ARG_FLAG, offsetof(struct config_values, with_secrets), NULL,
        "also print the passwords and queries of URLs"},
    OPTIONS_END,
};

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct config_values *config = values;
    cleanup_with(project_clear) struct project project = {.path = NULL};
    cleanup_buf struct buf out = BUF_INIT(0);
    if (words->count > 1 || (words->count == 1 && config->which.files.count > 0)) {
        return error_set(err, ERR_USAGE, "config takes one file");
    }
    const struct arg_strings *files = words->count ? words : &config->which.files;
    int rc = project_load_whole(cli, files, &project, err);
    if (rc == 0) {
        vmfile_load_print(&out, &project.load, NULL, &cli->given, NULL);
        if (out.len > 0 && !config->with_secrets) {
            url_mask(out.data);
        }
        fputs(buf_str(&out), stdout);
    }
    return rc;
}

const struct command command_config = {
    .name = "config",
    .summary = "Print a VMFile with everything expanded",
    .usage = "[OPTIONS] [PATH]",
    .details =
        "Expands variables, defaults, templates and counts. The output is a VMFile with the same\n"
        "meaning, except that passwords and queries in URLs are masked (***) unless you add\n"
        "--with-secrets. To see where the values of variables come from: vmctl validate\n"
        "--explain.",
    .examples = "  vmctl config\n"
                "  vmctl config --set tag=13 | diff - <(vmctl config)",
    .options = options,
    .values_size = sizeof(struct config_values),
    .needs_no_store = true,
    .run = run,
};

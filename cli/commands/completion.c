/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl completion: what a shell completes vmctl's words by. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/completion.h"
#include "specs/base/buf.h"
#include "specs/base/error.h"

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    (void)cli;
    (void)values;
    if (words->count != 1 || !completion_add(&out, words->items[0])) {
        (void)error_set(err, ERR_USAGE, "completion takes one shell: bash, zsh or fish");
        return error_help(err, "name it: vmctl completion bash");
    }
    fputs(buf_str(&out), stdout);
    return 0;
}

const struct command command_completion = {
    .name = "completion",
    .summary = "Print a completion script for a shell",
    .usage = "bash|zsh|fish",
    .details =
        "Completes commands, options, files and the names of your VMs; for `vmctl up` the names\n"
        "in the VMFile, and for `vmctl cp VM:PATH` the files of a running guest.",
    .examples = "  source <(vmctl completion bash)          in ~/.bashrc\n"
                "  source <(vmctl completion zsh)           in ~/.zshrc, after compinit\n"
                "  vmctl completion fish | source           in config.fish",
    .needs_no_store = true,
    .run = run,
};

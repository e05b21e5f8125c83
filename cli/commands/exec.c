/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl exec: a command in the guest, its words kept as they are. */
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/guest/ssh_login.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/wait/wakeup.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/text.h"

struct exec_values {
    struct which_values which;
    const char *user;
    const char *key;
    struct arg_strings options;
    bool wants_terminal;
};

static const struct arg_option options[] = {
    {"user", 'u', ARG_TEXT, offsetof(struct exec_values, user), "USER",
        "the guest's user [default: the VMFile's, vm]"},
    {"key", 'i', ARG_TEXT, offsetof(struct exec_values, key), "PATH", "private key to try first"},
    {"tty", 't', ARG_FLAG, offsetof(struct exec_values, wants_terminal), NULL,
        "a terminal for the command"},
    OPTION_SSH_OPT(struct exec_values),
    OPTIONS_END,
};

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct exec_values *exec = values;
    cleanup_free char *name = NULL;
    cleanup_buf struct buf line = BUF_INIT(0);
    bool has_dashes = words->count > 1 && text_eq(words->items[1], "--");
    size_t first = has_dashes ? 2 : 1;
    if (words->count <= first) {
        (void)error_set(err, ERR_USAGE, "exec needs a VM and a command");
        return error_help(err, "such as: vmctl exec web -- uname -a");
    }
    int rc = targets_find_one(cli, &exec->which, words->items[0], &name, err);
    if (rc != 0) {
        return rc;
    }
    ssh_login_quote(&line, words->items + first, words->count - first);
    const char *command = buf_str(&line);
    const struct ssh_call call = {
        .vm_name = name,
        .user = exec->user,
        .key = exec->key,
        .options = &exec->options,
        .wants_terminal = exec->wants_terminal,
        .words = &command,
        .n_words = 1,
    };
    struct wakeup wakeup;
    wakeup_open(&wakeup, &cli->paths);
    rc = ssh_login_run(cli, &call, &wakeup, err);
    wakeup_close(&wakeup);
    if (rc == -ERR_SSH) {
        cli_print_error(cli, err);
        rc = SSH_TRANSPORT_FAILED;
    }
    return rc;
}

const struct command command_exec = {
    .name = "exec",
    .summary = "Run a command in a VM",
    .usage = "[OPTIONS] VM [--] COMMAND [ARGS...]",
    .details =
        "As `vmctl ssh VM -- COMMAND`, but the guest's shell leaves the words as they are.\n"
        "Ends with the command's exit status, or with 255 when the connection failed. Ctrl-C,\n"
        "SIGTERM and SIGHUP end the command in the guest: exit status 130, 143, 129.",
    .examples = "  vmctl exec web -- sh -c 'echo $HOME'",
    .reach = REACH_ONE,
    .options = options,
    .values_size = sizeof(struct exec_values),
    .stops_at_positional = true,
    .run = run,
};

/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl ssh: a shell in the guest, by the ssh program. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/guest/ssh_login.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

struct ssh_values {
    struct which_values which;
    const char *user;
    const char *key;
    struct arg_strings options;
    bool wants_terminal;
};

static const struct arg_option options[] = {
    {"user", 'u', ARG_TEXT, offsetof(struct ssh_values, user), "USER",
        "the guest's user [default: the VMFile's, vm]"},
    {"key", 'i', ARG_TEXT, offsetof(struct ssh_values, key), "PATH", "private key to try first"},
    {"tty", 't', ARG_FLAG, offsetof(struct ssh_values, wants_terminal), NULL,
        "a terminal for the command"},
    OPTION_SSH_OPT(struct ssh_values),
    OPTION_FILE(struct ssh_values, 'f'),
    OPTION_ONE_NAME(struct ssh_values),
    OPTIONS_END,
};

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct ssh_values *ssh = values;
    cleanup_free char *name = NULL;
    /* `ssh -- CMD` and `ssh --name VM CMD` have no name in front of the command */
    bool is_named = ssh->which.names.count > 0 || words->n_before_dashes == 0;
    size_t first = is_named ? 0 : 1;
    int rc = targets_find_one(cli, &ssh->which, is_named ? NULL : words->items[0], &name, err);
    if (rc != 0) {
        return rc;
    }
    const struct ssh_call call = {
        .vm_name = name,
        .user = ssh->user,
        .key = ssh->key,
        .options = &ssh->options,
        .wants_terminal = ssh->wants_terminal,
        .words = words->items + first,
        .n_words = words->count - first,
    };
    return ssh_login_exec(cli, &call, err);
}

const struct command command_ssh = {
    .name = "ssh",
    .aliases = "shell login",
    .summary = "Log in to a VM, or run a command in it",
    .usage = "[OPTIONS] [VM] [-- COMMAND...]",
    .details = "Waits up to 30 seconds for the guest's SSH server, then becomes ssh(1). Keys are\n"
               "tried in this order: --key, the VM's own, the VMFile's private-key,\n"
               "~/.ssh/id_ed25519, id_ecdsa, id_rsa. Ends with the command's exit status, or\n"
               "with 255 when the connection failed. Without a name: the VMFile's only VM.\n"
               "~/.ssh/config takes no part: what is wanted of it is an --ssh-opt. An ssh-agent\n"
               "does where the guest does not know the VM's own key.",
    .examples = "  vmctl ssh\n"
                "  vmctl ssh web --user root --key ~/.ssh/special_key\n"
                "  vmctl ssh web -- uname -a\n"
                "  vmctl ssh web --ssh-opt -L8080:localhost:80\n"
                "  vmctl ssh web --ssh-opt ForwardAgent=yes --ssh-opt IdentityAgent=SSH_AUTH_SOCK",
    .options = options,
    .values_size = sizeof(struct ssh_values),
    .run = run,
};

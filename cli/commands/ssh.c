/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl ssh: a shell in the guest, by the ssh program. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/guest/ssh_login.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"

struct ssh_values {
    struct which_values which;
    const char *user;
    const char *key;
    struct arg_strings options, local, remote, dynamic;
    bool wants_terminal, wants_agent, wants_x11, wants_no_command;
};

static const struct arg_option options[] = {
    {"user", 'u', ARG_TEXT, offsetof(struct ssh_values, user), "USER",
        "the guest's user [default: the VMFile's, vm]"},
    {"key", 'i', ARG_TEXT, offsetof(struct ssh_values, key), "PATH", "private key to try first"},
    {"tty", 't', ARG_FLAG, offsetof(struct ssh_values, wants_terminal), NULL,
        "allocate a terminal for the command"},
    {"local-forward", 'L', ARG_REPEATED, offsetof(struct ssh_values, local), "PORT:HOST:PORT",
        "forward a port or socket of this host to the guest; repeatable"},
    {"remote-forward", 'R', ARG_REPEATED, offsetof(struct ssh_values, remote), "PORT:HOST:PORT",
        "forward a port or socket of the guest to this host; repeatable"},
    {"dynamic-forward", 'D', ARG_REPEATED, offsetof(struct ssh_values, dynamic), "PORT",
        "open a SOCKS proxy here into the guest; repeatable"},
    {"no-command", 'N', ARG_FLAG, offsetof(struct ssh_values, wants_no_command), NULL,
        "run no shell and no command, only forward"},
    {"forward-agent", 'A', ARG_FLAG, offsetof(struct ssh_values, wants_agent), NULL,
        "let the guest use your ssh-agent (off by default)"},
    {"x11", 'X', ARG_FLAG, offsetof(struct ssh_values, wants_x11), NULL,
        "show windows of the guest's programs here"},
    OPTION_SSH_OPT(struct ssh_values),
    OPTION_FILE(struct ssh_values, 'f'),
    OPTION_ONE_NAME(struct ssh_values),
    OPTIONS_END,
};

static void add_each(struct strings *added, const char *letter, const struct arg_strings *values)
{
    for (size_t i = 0; i < values->count; i++) {
        cleanup_free char *option = mem_printf("%s%s", letter, values->items[i]);
        strings_append(added, option);
    }
}

/* As ssh(1) has them. The agent that a guest may use is still not asked for keys to log in with:
 * IdentitiesOnly stands. */
static void collect_options(const struct ssh_values *ssh, struct strings *added)
{
    add_each(added, "", &ssh->options);
    add_each(added, "-L", &ssh->local);
    add_each(added, "-R", &ssh->remote);
    add_each(added, "-D", &ssh->dynamic);
    if (ssh->wants_no_command) {
        strings_append(added, "-N");
    }
    if (ssh->wants_x11) {
        strings_append(added, "-X");
    }
    if (ssh->wants_agent) {
        strings_append(added, "ForwardAgent=yes");
        strings_append(added, "IdentityAgent=SSH_AUTH_SOCK");
    }
}

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
    cleanup_with(strings_clear) struct strings added = {.count = 0};
    cleanup_with(arg_strings_clear) struct arg_strings all = {.count = 0};
    collect_options(ssh, &added);
    for (size_t i = 0; i < added.count; i++) {
        arg_strings_add(&all, added.items[i]);
    }
    const struct ssh_call call = {
        .vm_name = name,
        .user = ssh->user,
        .key = ssh->key,
        .options = &all,
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
    .details =
        "Waits up to 30 seconds for the guest's SSH server, then runs ssh(1). Keys are tried in\n"
        "this order: --key, the VM's own, the VMFile's private-key, ~/.ssh/id_ed25519, id_ecdsa,\n"
        "id_rsa. Exits with the command's status, or with 255 if the connection failed. Without a\n"
        "name: the VMFile's only VM.\n"
        "\n"
        "~/.ssh/config is not read: use --ssh-opt for its options. An ssh-agent helps if the\n"
        "guest does not accept the VM's own key. -L, -R, -D, -N, -A and -X are those of ssh(1),\n"
        "for VMs of this host.",
    .examples = "  vmctl ssh\n"
                "  vmctl ssh web --user root --key ~/.ssh/special_key\n"
                "  vmctl ssh web -- uname -a\n"
                "  vmctl ssh -N -L 8080:localhost:80 web\n"
                "  vmctl ssh -A web -- git push\n"
                "  vmctl ssh web --ssh-opt ServerAliveInterval=15",
    .reach = REACH_ONE,
    .options_of_here = "key local-forward remote-forward dynamic-forward forward-agent x11",
    .options = options,
    .values_size = sizeof(struct ssh_values),
    .run = run,
};

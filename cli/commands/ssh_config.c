/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl ssh-config: Host blocks for ssh, scp, rsync, editors. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/guest/ssh_login.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "store/store.h"

struct ssh_config_values {
    struct which_values which;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct ssh_config_values, 'f'),
    OPTION_NAME(struct ssh_config_values),
    OPTION_ALL(struct ssh_config_values),
    OPTIONS_END,
};

static int print_block(struct cli *cli, const char *name, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    cleanup_with(ssh_login_clear) struct ssh_login login = {.count = 0};
    int rc = store_get(cli->store, name, &record, err);
    if (rc < 0 || (rc = ssh_login_init(&login, cli, &record, NULL, NULL, err)) < 0) {
        return rc;
    }
    for (size_t i = 0; i < login.count; i++) {
        if (strpbrk(login.options[i].value, "\r\n")) {
            (void)error_set(err, ERR_USAGE,
                "vm '%s': %s is in a directory with a line end in its name, which ssh_config(5) "
                "cannot hold",
                name, login.options[i].keyword);
            return error_help(err, "rename the directory, or use: vmctl ssh %s", name);
        }
    }
    printf("Host %s\n", name);
    for (size_t i = 0; i < login.count; i++) {
        printf("  %s %s\n", login.options[i].keyword, login.options[i].value);
    }
    return 0;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct ssh_config_values *config = values;
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    int rc = targets_find(cli, &config->which, words, &targets, err);
    for (size_t i = 0; rc == 0 && i < targets.count; i++) {
        rc = print_block(cli, targets.items[i], err);
    }
    return rc;
}

const struct command command_ssh_config = {
    .name = "ssh-config",
    .summary = "Print ssh_config(5) blocks for VMs",
    .usage = "[OPTIONS] [VM...]",
    .details = "Without a name: the VMs of the VMFile.",
    .examples = "  vmctl ssh-config web >~/.ssh/config.d/web\n"
                "  vmctl ssh-config web >web.conf && scp -F web.conf file web:",
    .options = options,
    .values_size = sizeof(struct ssh_config_values),
    .run = run,
};

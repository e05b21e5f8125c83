/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl ssh-config: Host blocks for ssh, scp, rsync, editors. */
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/guest/ssh_include.h"
#include "cli/guest/ssh_login.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "store/store.h"

struct ssh_config_values {
    struct which_values which;
    bool installs, uninstalls;
};

static const struct arg_option options[] = {
    {"install", 0, ARG_FLAG, offsetof(struct ssh_config_values, installs), NULL,
        "include all VMs in ~/.ssh/config, and keep them up to date"},
    {"uninstall", 0, ARG_FLAG, offsetof(struct ssh_config_values, uninstalls), NULL,
        "remove that line again"},
    OPTION_FILE(struct ssh_config_values, 'f'),
    OPTION_NAME(struct ssh_config_values),
    OPTION_ALL(struct ssh_config_values),
    OPTIONS_END,
};

static int print_block(struct cli *cli, const char *name, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    cleanup_with(ssh_login_clear) struct ssh_login login = {.uses_agent = false};
    cleanup_buf struct buf out = BUF_INIT(0);
    int rc = store_get(cli->store, name, &record, err);
    if (rc < 0 || (rc = ssh_login_init(&login, cli, &record, NULL, NULL, err)) < 0) {
        return rc;
    }
    const struct ssh_option *unfit = ssh_options_unfit(&login.options);
    if (unfit) {
        (void)error_set(err, ERR_USAGE,
            "vm '%s': %s is in a directory with a line break in its name, which ssh_config(5) does "
            "not allow",
            name, unfit->keyword);
        return error_help(err, "rename the directory, or use: vmctl ssh %s", name);
    }
    ssh_options_print(&out, name, &login.options);
    fputs(buf_str(&out), stdout);
    return 0;
}

/* vmctld keeps the file of each VM. ssh goes by the user's entry in passwd(5), not by HOME. */
static int install(struct cli *cli, bool is_wanted, struct error *err)
{
    bool is_changed = false;
    cleanup_free char *path = ssh_include_config_path();
    int rc = is_wanted ? ssh_include_install(&cli->paths, &is_changed, err)
                       : ssh_include_uninstall(&cli->paths, &is_changed, err);
    const struct passwd *user = getpwuid(getuid());
    if (rc == 0) {
        printf("%s: %s\n", path,
            is_changed  ? is_wanted ? "includes the VMs from now on" : "includes the VMs no longer"
            : is_wanted ? "includes the VMs already"
                        : "does not include the VMs");
    }
    if (rc == 0 && is_wanted && user && !text_eq(user->pw_dir, paths_home())) {
        cli_note(cli, "note: HOME is '%s', but ssh reads %s/.ssh/config: use ssh -F %s",
            paths_home(), user->pw_dir, path);
    }
    return rc == 0 && is_wanted ? cli_ensure_controller(cli, err) : rc;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct ssh_config_values *config = values;
    const struct which_values *which = &config->which;
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    bool names_any = words->count + which->names.count > 0 || which->is_all || which->selector;
    if (config->installs || config->uninstalls) {
        return names_any || config->installs == config->uninstalls
                   ? error_set(err, ERR_USAGE,
                         "--install and --uninstall take no VMs, and exclude each other")
                   : install(cli, config->installs, err);
    }
    int rc = targets_find(cli, which, words, &targets, err);
    for (size_t i = 0; rc == 0 && i < targets.count; i++) {
        rc = print_block(cli, targets.items[i], err);
    }
    return rc;
}

const struct command command_ssh_config = {
    .name = "ssh-config",
    .summary = "Print ssh_config(5) blocks for VMs",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Without a name: the VMs of the VMFile. With --install, ~/.ssh/config includes the blocks\n"
        "of all VMs, and vmctld keeps them up to date when VMs are created, change ports or are\n"
        "removed: `ssh web`, scp, rsync and VS Code Remote just work. The rest of that file is\n"
        "not changed. A VM takes precedence over a host of the same name.",
    .examples = "  vmctl ssh-config --install\n"
                "  vmctl ssh-config web >~/.ssh/config.d/web\n"
                "  vmctl ssh-config web >web.conf && scp -F web.conf file web:",
    .options = options,
    .values_size = sizeof(struct ssh_config_values),
    .run = run,
};

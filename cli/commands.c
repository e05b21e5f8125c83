/* SPDX-License-Identifier: MPL-2.0 */
#include <stddef.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "store/store.h"

const struct command *const cli_commands[] = {
    &command_init,
    &command_up,
    &command_down,
    &command_reload,
    &command_provision,
    &command_apply,
    &command_diff,
    &command_watch,
    &command_unwatch,
    &command_validate,
    &command_config,
    &command_fmt,
    &command_create,
    &command_start,
    &command_stop,
    &command_restart,
    &command_suspend,
    &command_resume,
    &command_destroy,
    &command_snapshot,
    &command_clone,
    &command_rename,
    &command_move,
    &command_backup,
    &command_export,
    &command_import,
    &command_template,
    &command_list,
    &command_get,
    &command_status,
    &command_describe,
    &command_events,
    &command_volume,
    &command_quarantine,
    &command_wait,
    &command_log,
    &command_top,
    &command_port,
    &command_port_forward,
    &command_console,
    &command_vnc,
    &command_screenshot,
    &command_ssh,
    &command_exec,
    &command_run,
    &command_cp,
    &command_ssh_config,
    &command_inventory,
    &command_ssh_trust,
    &command_image,
    &command_controller,
    &command_serve,
    &command_node,
    &command_fleet,
    &command_doctor,
    &command_explain,
    &command_completion,
    &command_version,
    NULL,
};

const struct command *cli_find_command(const char *name)
{
    for (size_t i = 0; cli_commands[i]; i++) {
        const struct command *command = cli_commands[i];
        if (text_eq(command->name, name) || text_has_word(command->aliases, name)) {
            return command;
        }
    }
    return NULL;
}

int cli_open_store(struct cli *cli, struct error *err)
{
    return cli->store ? 0 : store_open(&cli->paths, &cli->store, err);
}

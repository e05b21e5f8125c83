/* SPDX-License-Identifier: MPL-2.0 */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/global.h"
#include "specs/base/buf.h"

static void print_overview(void)
{
    printf("vmctl - virtual machines from a VMFile.kdl, kept as you described them\n\n"
           "Usage: vmctl [OPTIONS] COMMAND [ARGS]\n\nCommands:\n");
    for (size_t i = 0; cli_commands[i]; i++) {
        printf("  %-12s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    }
    cleanup_buf struct buf options = BUF_INIT(0);
    args_describe(&options, global_options);
    printf("\nOptions of every command:\n%s"
           "\nEnvironment: VMCTL_FILE (VMFile instead of ./VMFile.kdl), VMCTL_LOG (error, warn,\n"
           "info, debug, trace, or module=level), VMCTL_ACCEL (kvm or tcg), XDG_DATA_HOME,\n"
           "NO_COLOR.\n"
           "Exit status: 0 done, 1 failed, 2 usage or invalid VMFile, 3 no such VM, 4 timeout,\n"
           "5 store or controller unusable, 6 conflict, 130 interrupted; ssh and exec: the\n"
           "guest's.\n",
        buf_str(&options));
}

void cli_print_help(const struct command *command)
{
    if (!command) {
        print_overview();
        return;
    }
    printf("%s\n\nUsage: vmctl %s %s\n", command->summary, command->name, command->usage);
    if (command->details) {
        printf("\n%s\n", command->details);
    }
    if (command->options) {
        cleanup_buf struct buf out = BUF_INIT(0);
        args_describe(&out, command->options);
        printf("\nOptions:\n%s", buf_str(&out));
    }
    if (command->examples) {
        printf("\nExamples:\n%s\n", command->examples);
    }
    if (command->alias) {
        printf("\nAlias: %s\n", command->alias);
    }
}

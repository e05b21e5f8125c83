/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl serve: becomes vmctl-serve, a program of its own, so that no other command loads its HTTP
 * library. */
#include <errno.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/serve/serve_options.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* The words that were given, without that of the command. Borrowed texts; free() it. */
static char **serve_argv(const struct cli *cli, char *program)
{
    size_t count = 0, n = 0;
    while (cli->words[count]) {
        count++;
    }
    char **argv = mem_calloc(count + 2, sizeof(*argv));
    argv[n++] = program;
    for (size_t i = 0; i < count; i++) {
        if (cli->words[i] != cli->command_word) {
            argv[n++] = cli->words[i];
        }
    }
    return argv;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)values;
    if (words->count > 0) {
        return error_set(err, ERR_USAGE, "serve takes no words");
    }
    cleanup_free char *program = cli_program_beside("vmctl-serve");
    cleanup_free char **argv = serve_argv(cli, program);
    (void)execv(program, argv);
    (void)error_set_errno(err, ERR_IO, errno, "cannot run '%s'", program);
    return error_help(
        err, "install vmctl-serve beside vmctl; it is built if libwebsockets-dev is installed");
}

const struct command command_serve = {
    .name = "serve",
    .summary = "Serve state, events and health over HTTP",
    .usage = serve_usage,
    .details = serve_details,
    .examples = "  vmctl serve &\n"
                "  curl --unix-socket ~/.local/share/vmctl/serve.sock http://localhost/v1/vms\n"
                "  vmctl serve --listen 127.0.0.1:8080",
    .options = serve_options,
    .values_size = sizeof(struct serve_values),
    .needs_no_store = true,
    .run = run,
};

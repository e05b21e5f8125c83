/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl import: takes over the VMs of the original vmctl. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/bell.h"
#include "store/import/import.h"
#include "store/store.h"

struct import_values {
    const char *file;
    const char *user;
};

static const struct arg_option options[] = {
    {"file", 'f', ARG_TEXT, offsetof(struct import_values, file), "PATH",
        "the VMFile that describes them from now on"},
    {"user", 'u', ARG_TEXT, offsetof(struct import_values, user), "USER",
        "the guests' user, of VMs that are in no VMFile"},
    OPTIONS_END,
};

static const char *const results[] = {
    [IMPORT_DONE] = "imported, stopped",
    [IMPORT_UNCHANGED] = "imported before",
    [IMPORT_GONE] = "imported before, and destroyed since",
};

static int import_all(struct cli *cli, const struct import_values *values, const char *path,
    const struct import_list *list, const struct project *project)
{
    int status = 0;
    for (size_t i = 0; i < list->count; i++) {
        enum import_result result = IMPORT_DONE;
        struct error err = {.code = ERR_NONE};
        struct import_request request = {
            .vm = &list->vms[i], .path = path, .source = project->path, .user = values->user};
        request.spec = project->file ? project_find_vm(project, request.vm->name, 0) : NULL;
        if (import_take_over(cli->store, &request, &result, &err) == 0) {
            printf("%s: %s\n", request.vm->name, results[result]);
        } else {
            cli_print_error(cli, &err);
            status = status ? status : error_exit_status(err.code);
        }
    }
    return status;
}

static int import_file(struct cli *cli, const struct import_values *values, const char *path,
    const struct project *project, struct error *err)
{
    cleanup_with(import_list_clear) struct import_list list = {.count = 0};
    int rc = import_read(path, &list, err);
    if (rc < 0 || (rc = cli_open_store(cli, err)) < 0) {
        return rc;
    }
    int status = import_all(cli, values, path, &list, project);
    struct error ignored = {.code = ERR_NONE}; /* costs the controller's delay, not the import */
    (void)bell_ring(&cli->paths, BELL_DESIRED, &ignored);
    if (list.count == 0) {
        cli_note(cli, "there are no VMs in '%s'", path);
    } else if (status == 0) {
        cli_note(cli,
            "start them with `vmctl start` or `vmctl up`; '%s' is left as it is:\n"
            "do not use the original vmctl on these VMs any more",
            path);
    }
    return status;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct import_values *import = values;
    cleanup_with(project_clear) struct project project = {.path = NULL};
    if (words->count > 1) {
        return error_set(err, ERR_USAGE, "import takes one vms.json");
    }
    cleanup_free char *path =
        words->count ? mem_strdup(words->items[0]) : paths_path(&cli->paths, "vms.json");
    int rc = import->file ? project_load(cli, import->file, &project, err) : 0;
    return rc != 0 ? rc : import_file(cli, import, path, &project, err);
}

const struct command command_import = {
    .name = "import",
    .summary = "Take over the VMs of the original vmctl",
    .usage = "[OPTIONS] [PATH]",
    .details =
        "Reads its vms.json [default: the one in the data directory] and makes its VMs ours:\n"
        "each with its disk, keys, seed, MAC address and SSH port. A running VM is refused:\n"
        "stop it with the vmctl that started it, and import again. With --file, what a VMFile\n"
        "says of a VM of the same name is taken from there, so that `vmctl up` finds it\n"
        "unchanged. Importing a VM twice changes nothing.",
    .examples = "  vmctl import\n"
                "  vmctl import --file VMFile.kdl\n"
                "  vmctl import ~/backup/vms.json --user ubuntu",
    .options = options,
    .values_size = sizeof(struct import_values),
    .run = run,
};

/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl import: takes over the VMs of the original vmctl. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/import/qmp_stop.h"
#include "cli/import/running.h"
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
    bool stops;
};

static const struct arg_option options[] = {
    {"file", 'f', ARG_TEXT, offsetof(struct import_values, file), "PATH",
        "the VMFile that describes them from now on"},
    {"user", 'u', ARG_TEXT, offsetof(struct import_values, user), "USER",
        "the guests' user, of VMs that are in no VMFile"},
    {"stop", 0, ARG_FLAG, offsetof(struct import_values, stops), NULL,
        "shut down those that are running first"},
    OPTIONS_END,
};

/* ---- shutting down ---- */

/* QEMU closes its socket a moment before it lets go of the disk. */
static int await_end(const struct cli *cli, const struct import_vm *vm, struct error *err)
{
    enum { STEP_MS = 20, LIMIT_MS = 10 * 1000 };
    const struct clock *clock = clock_system();
    int64_t deadline_ms = clock_monotonic_ms(clock) + LIMIT_MS;
    while (import_is_running(&cli->paths, vm)) {
        if (clock_monotonic_ms(clock) > deadline_ms) {
            return error_set(err, ERR_TIMEOUT, "vm '%s' does not end", vm->name);
        }
        (void)poll(NULL, 0, STEP_MS);
    }
    return 0;
}

static int stop(const struct cli *cli, const struct import_vm *vm, struct error *err)
{
    enum { GRACE_MS = SPEC_DEFAULT_STOP_TIMEOUT_S * 1000 };
    if (!vm->qmp_socket) {
        return error_set(err, ERR_QMP_CONNECT, "vm '%s' is running, and no QMP socket is recorded",
            vm->name);
    }
    cli_note(cli, "%s: shutting down", vm->name);
    int rc = qmp_stop(vm->qmp_socket, GRACE_MS, err);
    if (rc < 0) {
        (void)error_wrap(err, "vm '%s'", vm->name);
        return error_help(err, "shut it down with what started it, and import again");
    }
    return await_end(cli, vm, err);
}

/* ---- one VM ---- */

static int import_one(struct cli *cli, const struct import_values *values,
    struct import_request *request, enum import_result *ret, int32_t *ret_pid, struct error *err)
{
    const struct import_vm *vm = request->vm;
    bool is_readable = vm->problem.code == ERR_NONE;
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = store_get(cli->store, vm->name, &record, err);
    if (rc < 0) {
        return rc;
    }
    bool is_ours = record.desired != NULL; /* then what runs is ours, too */
    cleanup_with(import_running_clear) struct import_running running = {.pid = 0};
    if (is_readable && !is_ours && import_is_running(&cli->paths, vm)) {
        rc = values->stops ? stop(cli, vm, err) : adopt_running(cli, vm, &running, err);
        request->running = values->stops ? NULL : &running;
    }
    if (rc == 0) {
        rc = import_take_over(cli->store, request, ret, err);
    }
    *ret_pid = rc == 0 ? running.pid : 0;
    request->running = NULL;
    return rc;
}

static void report(const struct import_vm *vm, enum import_result result, int32_t pid)
{
    static const char *const words[] = {
        [IMPORT_DONE] = "imported, stopped",
        [IMPORT_UNCHANGED] = "imported before",
        [IMPORT_GONE] = "imported before, and destroyed since",
    };
    if (result == IMPORT_DONE && pid) {
        printf("%s: imported, running (pid %d)\n", vm->name, (int)pid);
    } else {
        printf("%s: %s\n", vm->name, words[result]);
    }
}

/* ---- all of them ---- */

static int import_all(struct cli *cli, const struct import_values *values, const char *path,
    const struct import_list *list, const struct project *project)
{
    int status = 0;
    for (size_t i = 0; i < list->count; i++) {
        enum import_result result = IMPORT_DONE;
        int32_t pid = 0;
        struct error err = {.code = ERR_NONE};
        struct import_request request = {
            .vm = &list->vms[i], .path = path, .source = project->path, .user = values->user};
        request.spec = project->file ? project_find_vm(project, request.vm->name) : NULL;
        if (import_one(cli, values, &request, &result, &pid, &err) == 0) {
            report(request.vm, result, pid);
        } else {
            cli_print_error(cli, &err);
            status = status ? status : error_exit_status(err.code);
        }
    }
    return status;
}

/* The controller, if one runs, looks at once. */
static void ring(const struct cli *cli)
{
    struct error ignored = {.code = ERR_NONE};
    (void)bell_ring(&cli->paths, BELL_DESIRED, &ignored);
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
    ring(cli);
    if (list.count == 0) {
        cli_note(cli, "there are no VMs in '%s'", path);
    } else if (status == 0) {
        cli_note(cli,
            "start those that are off with `vmctl start` or `vmctl up`; '%s' is left as it is:\n"
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
    .details = "Reads its vms.json [default: the one in the data directory] and makes its VMs ours:\n"
               "each with its disk, keys, seed, MAC address and SSH port. A VM that runs goes on\n"
               "running, or is shut down first with --stop. With --file, what a VMFile says of a VM of\n"
               "the same name is taken from there, so that `vmctl up` finds it unchanged. Doing it\n"
               "again does nothing.",
    .examples = "  vmctl import\n"
                "  vmctl import --stop --file VMFile.kdl\n"
                "  vmctl import ~/backup/vms.json --user ubuntu",
    .options = options,
    .values_size = sizeof(struct import_values),
    .run = run,
};

/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl rename: another name for a stopped VM. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/request/vm_request.h"
#include "cli/show/result.h"
#include "cli/wait/controller_process.h"
#include "cli/wait/follow.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "store/desired/rename.h"
#include "store/session.h"
#include "store/store.h"

struct rename_values {
    struct follow_values follow;
};

static const struct arg_option options[] = {
    OPTIONS_FOLLOW(struct rename_values),
    OPTIONS_END,
};

static const struct rename_values defaults = {.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

/* One that does not know of renaming, of whatever version, would find files of a VM without a
 * record under the old name, and put them aside: it is replaced before. */
static int find_controller(struct cli *cli, struct error *err)
{
    struct session session;
    int rc = cli_ensure_controller(cli, err);
    rc = rc != 0 ? rc : session_read(cli->store, &session, err);
    if (rc != 0 || session.can_rename) {
        return rc;
    }
    cli_note(cli, "note: replacing the controller, whose version cannot rename; VMs keep running");
    rc = controller_end(cli, err);
    return rc != 0 ? rc : cli_ensure_controller(cli, err);
}

/* Until vmctld has moved its files. */
static int await_files(struct cli *cli, const char *name, const struct renamed *renamed,
    const struct follow_values *values, struct error *err)
{
    struct follow_target target = {
        .name = name, .generation = renamed->generation, .goal.kind = GOAL_STOPPED};
    memcpy(target.uid, renamed->uid, TEXT_ID_SIZE);
    int rc = values->is_detached ? 0 : cli_start_controller(cli, err);
    return rc < 0 || values->is_detached ? rc : follow(cli, &target, 1, values->timeout_ms, err);
}

static int run(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct rename_values *values = context;
    struct renamed renamed = {.source = NULL};
    if (words->count != 2) {
        (void)error_set(err, ERR_USAGE, "rename takes the name of a VM and its new one");
        return error_help(err, "vmctl rename VM NEW");
    }
    const char *old_name = words->items[0];
    cleanup_free char *project = vm_name_project(old_name);
    cleanup_free char *name =
        vm_name_in(project, words->items[1]); /* its volumes are the project's */
    const struct arg_strings old_word = {.items = words->items, .count = 1};
    cleanup_with(strings_clear) struct strings found = {.count = 0};
    int rc = vm_request_check_name(name, err);
    if (rc == 0 && !vm_name_is_of(name, project)) {
        return error_set(err, ERR_USAGE, "a VM keeps its project: '%s' is of another", name);
    }
    rc = rc < 0 ? rc : cli_open_store(cli, err);
    if (rc == 0 && text_eq(old_name, name)) {
        return error_set(err, ERR_USAGE, "the VM's name is '%s' already", name);
    }
    rc = rc < 0 ? rc
                : targets_find_named(
                      cli, &(struct which_values){.is_all = false}, &old_word, &found, err);
    rc = rc != 0 ? rc : find_controller(cli, err);
    rc = rc != 0 ? rc : rename_vm(cli->store, old_name, name, &renamed, err);
    if (rc != 0) {
        return rc;
    }
    cleanup_free char *source = renamed.source;
    if (source) {
        cli_note(cli,
            "note: write vm \"%s\" in '%s', too, in place of '%s': until then it is not applied",
            vm_name_plain(name), source, vm_name_plain(old_name));
    }
    rc = await_files(cli, name, &renamed, &values->follow, err);
    if (rc == 0) {
        result_set(cli, name, "done");
        cleanup_free char *text = mem_printf("renamed from '%s'", old_name);
        result_print(cli, name, text);
    }
    return rc;
}

const struct command command_rename = {
    .name = "rename",
    .summary = "Rename a stopped VM",
    .usage = "[OPTIONS] VM NEW",
    .details =
        "The VM's disk, snapshots, keys, ports, addresses, volumes and events move to the new\n"
        "name, and VMs that depend on it are updated. Nothing changes in the guest: its host name\n"
        "stays until the disk is recreated, and cloud-init is not running again.\n"
        "\n"
        "If the VM comes from a VMFile, change the name there afterwards. Until then vmctl does\n"
        "not apply that file, nor when it is watched, so that it neither creates a VM with the\n"
        "old name nor prunes this one. A VM stays in its project: NEW is a name there. vmctl\n"
        "refuses to rename a VM that runs or is suspended, that is being cloned, exported or\n"
        "backed up, the copies of `vmctl run`, and zones of backend \"propolis\".",
    .examples = "  vmctl stop web && vmctl rename web www",
    .options = options,
    .values_size = sizeof(struct rename_values),
    .defaults = &defaults,
    .acts = true,
    .run = run,
};

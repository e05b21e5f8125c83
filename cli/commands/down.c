/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl down: stops the VMs of a VMFile, or destroys them. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/confirm.h"
#include "cli/request/project.h"
#include "cli/request/protected.h"
#include "cli/request/vm_request.h"
#include "cli/request/targets.h"
#include "cli/show/result.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "store/source/sources.h"
#include "store/store.h"

struct down_values {
    struct which_values which;
    struct follow_values follow;
    bool destroys;
    bool is_sure;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct down_values, 'f'),
    OPTION_NAME(struct down_values),
    {"destroy", 0, ARG_FLAG, offsetof(struct down_values, destroys), NULL,
        "destroy the VMs instead of stopping them"},
    OPTION_YES(struct down_values),
    OPTIONS_FOLLOW(struct down_values),
    OPTIONS_END,
};

static const struct down_values defaults = {.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

/* The file's VMs and those that came from it before. With a file that is missing or invalid the
 * store's word is enough, so that its VMs can still be brought down. */
static int find_known(
    struct cli *cli, const struct arg_strings *files, struct strings *ret, struct error *err)
{
    cleanup_with(project_clear) struct project project = {.path = NULL};
    cleanup_with(strings_clear) struct strings stored = {.count = 0};
    int rc = targets_load_or_recall(cli, files, &project, &stored, err);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; project.file && i < project.file->n_vms; i++) {
        strings_add(ret, project.file->vms[i]->name);
    }
    for (size_t i = 0; i < stored.count; i++) {
        strings_add(ret, stored.items[i]);
    }
    return 0;
}

/* Its next change would bring destroyed VMs back. */
static void note_watched(struct cli *cli, const struct arg_strings *files)
{
    struct source_record *record = NULL;
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *path = NULL;
    if (project_path(cli, files, &path, &ignored) == 0 &&
        sources_get(cli->store, path, &record, &ignored) == 0 && record) {
        cli_note(cli,
            "note: '%s' is still watched: its next change recreates its VMs (vmctl "
            "unwatch)",
            path);
    }
    source_record_free(record);
}

/* Those of the chosen that exist: what is not there is down already. */
static int keep_existing(
    struct cli *cli, const struct strings *chosen, struct strings *ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings existing = {.count = 0};
    int rc = targets_of_store(cli, &existing, err);
    for (size_t i = 0; rc == 0 && i < chosen->count; i++) {
        if (strings_have(&existing, chosen->items[i])) {
            strings_add(ret, chosen->items[i]);
        } else {
            cli_note(cli, "%s: does not exist", chosen->items[i]);
        }
    }
    return rc;
}

/* As `up` refuses them: of two folders that name the same VM it is one's. */
static int leave_others(
    struct cli *cli, const struct arg_strings *files, struct strings *targets, struct error *err)
{
    cleanup_with(strings_clear) struct strings own = {.count = 0};
    cleanup_free char *path = NULL;
    int rc = project_path(cli, files, &path, err);
    for (size_t i = 0; rc == 0 && i < targets->count; i++) {
        cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
        const char *name = targets->items[i];
        rc = store_get(cli->store, name, &record, err);
        const char *source = record.desired ? record.desired->source : path;
        if (text_eq(source, path)) {
            strings_append(&own, name);
        } else if (rc == 0) {
            cli_note(cli, "note: %s stays as it is: it %s%s", name,
                source ? "belongs to another VMFile, " : "was created by `vmctl create`",
                source ? source : "");
        }
    }
    struct strings before = *targets;
    *targets = own;
    own = before;
    return rc;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    static const struct change stop = {.sets_power = true, .power = POWER_STOPPED};
    static const struct change destroy = {.deletes = true};
    const struct down_values *down = values;
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    cleanup_with(strings_clear) struct strings known = {.count = 0}, chosen = {.count = 0};
    struct protected_vms kept = {.count = 0};
    int rc = find_known(cli, &down->which.files, &known, err);
    if (rc == 0) {
        rc = targets_choose(&known, &down->which, words, "the VMFile", &chosen, err);
    }
    if (rc == 0) {
        rc = keep_existing(cli, &chosen, &targets, err);
    }
    if (rc == 0) {
        rc = targets_narrow(cli, &down->which, &targets, err);
    }
    if (rc == 0 && down->destroys) {
        rc = leave_others(cli, &down->which.files, &targets, err);
    }
    if (rc == 0 && down->destroys) {
        rc = protected_leave_out(cli, NULL, &targets, &kept, err);
    }
    if (rc == 0 && down->destroys) {
        rc = confirm_erasure(cli, down->is_sure, false, &targets, err);
    }
    if (rc != 0 || targets.count == 0) {
        return protected_end(cli, &kept, rc, err);
    }
    cleanup_with(vm_request_clear) struct request request = {
        .goal = {.kind = down->destroys ? GOAL_DELETED : GOAL_STOPPED, .is_desired = true},
        .begun = down->destroys ? "destroying" : "stopping",
        .done = down->destroys ? "destroyed" : "stopped",
    };
    vm_request_init(&request, &targets, down->destroys ? &destroy : &stop);
    if (down->destroys) {
        note_watched(cli, &down->which.files);
    }
    rc = vm_request_run(cli, &request, &down->follow, err);
    return protected_end(cli, &kept, rc, err);
}

const struct command command_down = {
    .name = "down",
    .summary = "Stop the VMs of a VMFile",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Shuts the guests down; `vmctl up` or `vmctl start` starts them again. With --destroy\n"
        "their disks, logs and records are removed, which cannot be undone: on a terminal it asks\n"
        "first. A VM with `protect` in its VMFile is never destroyed; it is stopped only without\n"
        "--destroy.",
    .examples = "  vmctl down                  all VMs of ./VMFile.kdl\n"
                "  vmctl down --name web       only this one\n"
                "  vmctl down --destroy        and remove them",
    .reach = REACH_FILE,
    .options = options,
    .values_size = sizeof(struct down_values),
    .defaults = &defaults,
    .acts = true,
    .run = run,
};

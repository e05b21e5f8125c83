/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl snapshot: copies of a VM's disk. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/request/vm_request.h"
#include "cli/request/verbs.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/store.h"

struct snapshot_values {
    struct which_values which; /* without options of its own */
    struct follow_values follow;
};

static const struct arg_option options[] = {
    {"detach", 'd', ARG_FLAG, offsetof(struct snapshot_values, follow.is_detached), NULL,
        "create, restore, rm: return as soon as the request is recorded"},
    {"no-wait", 0, ARG_FLAG, offsetof(struct snapshot_values, follow.is_detached), NULL, NULL},
    {"timeout", 0, ARG_DURATION, offsetof(struct snapshot_values, follow.timeout_ms), "DURATION",
        "create, restore, rm: stop following after this long [default: 1h]"},
    OPTIONS_END,
};

static const struct snapshot_values defaults = {.follow.timeout_ms = INT64_C(3600) * 1000};

/* ---- create, restore, rm ---- */

static int request_snapshot(struct cli *cli, const struct snapshot_values *values,
    const char *vm_name, const struct snapshot_order *order, struct error *err)
{
    static const char *const begun[] = {[SNAPSHOT_CREATE] = "making snapshot",
        [SNAPSHOT_RESTORE] = "restoring snapshot",
        [SNAPSHOT_REMOVE] = "removing snapshot"};
    static const char *const done[] = {
        [SNAPSHOT_CREATE] = "made", [SNAPSHOT_RESTORE] = "restored", [SNAPSHOT_REMOVE] = "removed"};
    cleanup_free char *will = mem_printf("%s '%s'", begun[order->verb], order->name);
    cleanup_free char *did = mem_printf("snapshot '%s' %s", order->name, done[order->verb]);
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    struct arg_strings word = {.items = &vm_name, .count = 1};
    int rc = targets_find_named(cli, &values->which, &word, &targets, err);
    if (rc < 0) {
        return rc;
    }
    struct change change = {.snapshot = order};
    cleanup_with(vm_request_clear) struct request request = {
        .goal = {.kind = GOAL_SNAPSHOT}, .begun = will, .done = did};
    vm_request_init(&request, &targets, &change);
    return vm_request_run(cli, &request, &values->follow, err);
}

static int set_name(struct snapshot_order *order, const char *name, struct error *err)
{
    if (!snapshot_name_is_valid(name)) {
        (void)error_set(err, ERR_USAGE, "snapshot: '%s' cannot be a name", name);
        return error_help(err, "begin with a letter or digit; letters, digits, '-', '_' and '.' "
                               "follow, up to 63 in all");
    }
    (void)snprintf(order->name, sizeof(order->name), "%s", name);
    return 0;
}

static int create(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct snapshot_values *values = context;
    struct snapshot_order order = {.verb = SNAPSHOT_CREATE};
    char now[SNAPSHOT_NAME_SIZE];
    time_t seconds = (time_t)(clock_wall_ms(clock_system()) / 1000);
    struct tm utc;
    (void)strftime(now, sizeof(now), "%Y%m%d-%H%M%S", gmtime_r(&seconds, &utc));
    int rc = set_name(&order, words->count > 2 ? words->items[2] : now, err);
    return rc < 0 ? rc : request_snapshot(cli, values, words->items[1], &order, err);
}

static int restore(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct snapshot_values *values = context;
    struct snapshot_order order = {.verb = SNAPSHOT_RESTORE};
    int rc = set_name(&order, words->items[2], err);
    return rc < 0 ? rc : request_snapshot(cli, values, words->items[1], &order, err);
}

static int rm(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct snapshot_values *values = context;
    struct snapshot_order order = {.verb = SNAPSHOT_REMOVE};
    int rc = set_name(&order, words->items[2], err);
    return rc < 0 ? rc : request_snapshot(cli, values, words->items[1], &order, err);
}

/* ---- list ---- */

static void add_snapshots(const struct vm_record *record, json_t *list)
{
    for (uint32_t i = 0; record->status && i < record->status->n_snapshots; i++) {
        const struct vm_snapshot *snapshot = &record->status->snapshots[i];
        if (text_starts_with(snapshot->name, SNAPSHOT_PASSING)) {
            continue;
        }
        json_t *json = json_object();
        json_put_text(json, "vm", record->name);
        json_put_text(json, "name", snapshot->name);
        json_put_time(json, "created", snapshot->created_ms);
        json_put_int(json, "bytes", (int64_t)snapshot->bytes);
        if (vm_snapshot_is_crash_consistent(snapshot)) {
            json_put_flag(json, "crashConsistent", true);
        } else if (snapshot->was_frozen) {
            json_put_flag(json, "filesystemConsistent", true);
        }
        if (snapshot->ends_ms) {
            json_put_time(json, "ends", snapshot->ends_ms);
        }
        (void)json_array_append_new(list, json);
    }
}

static void print_snapshots(const struct cli *cli, const json_t *list)
{
    static const char *const titles[] = {
        "VM", "NAME", "CREATED", "SIZE", "AGE", "ENDS", "CONSISTENT"};
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    int64_t now_ms = clock_wall_ms(clock_system());
    table_begin(&table, titles, ARRAY_LEN(titles));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *snapshot = json_array_get(list, i);
        char when[CLOCK_TEXT_SIZE], age[DURATION_SIZE], left[DURATION_SIZE];
        int64_t created_ms = json_int(snapshot, "created", 0);
        int64_t ends_ms = json_int(snapshot, "ends", 0);
        clock_format_utc(created_ms, when);
        duration_format(now_ms - created_ms, age);
        duration_format(ends_ms - now_ms, left);
        cleanup_free char *end = ends_ms ? mem_printf("in %s", left) : mem_strdup("-");
        cleanup_free char *size =
            mem_printf("%.2f MB", (double)json_int(snapshot, "bytes", 0) / 1e6);
        table_add(&table, json_text(snapshot, "vm"));
        table_add(&table, json_text(snapshot, "name"));
        table_add(&table, when);
        table_add(&table, size);
        table_add(&table, age);
        table_add(&table, end);
        table_add(&table, json_flag(snapshot, "filesystemConsistent", false) ? "filesystem"
                          : json_flag(snapshot, "crashConsistent", false)    ? "crash"
                                                                             : "-");
        if (cli->output == OUTPUT_NAME) {
            puts(json_text(snapshot, "name"));
        }
    }
    if (cli->output != OUTPUT_NAME) {
        table_print(&table, &out);
        fputs(buf_str(&out), stdout);
    }
}

static int list(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct snapshot_values *values = context;
    struct arg_strings names = {.items = words->items + 1, .count = words->count - 1};
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    cleanup_json json_t *list = json_array();
    int rc = names.count > 0 ? targets_find_named(cli, &values->which, &names, &targets, err)
                             : targets_in_scope(cli, &targets, err);
    for (size_t i = 0; rc == 0 && i < targets.count; i++) {
        cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
        rc = store_get(cli->store, targets.items[i], &record, err);
        if (rc == 0) {
            add_snapshots(&record, list);
        }
    }
    if (rc < 0) {
        return rc;
    }
    if (output_is_data(cli)) {
        output_print(cli, list);
    } else {
        print_snapshots(cli, list);
    }
    return 0;
}

/* ---- the command ---- */

static const struct verb items[] = {
    {"create", "VM [NAME]", 1, 2, create},
    {"list", "[VM...]", 0, 1000, list},
    {"ls", "[VM...]", 0, 1000, list},
    {"restore", "VM NAME", 2, 2, restore},
    {"rm", "VM NAME", 2, 2, rm},
};
static const struct verbs verbs = {
    "snapshot", items, ARRAY_LEN(items), "create, list, restore, rm", "nothing", NULL, 0};

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    return verb_run(&verbs, cli, values, words, err);
}

const struct command command_snapshot = {
    .name = "snapshot",
    .summary = "Keep and restore the disk of a VM",
    .usage = "create VM [NAME] | list [VM...] | restore VM NAME | rm VM NAME",
    .details =
        "create copies a VM's disk; without NAME the copy is named by the time, in UTC. On a file\n"
        "system that shares blocks (btrfs, XFS) copying a stopped VM's disk takes a moment and no\n"
        "space, else as much space as the disk holds. The guest may run meanwhile: the copy is\n"
        "then the disk as after a power cut (crash-consistent). restore replaces the disk of a\n"
        "stopped VM by a copy of the snapshot; the disk becomes the snapshot before-restore,\n"
        "which replaces an earlier one, and restoring that undoes it. The steps that had run at\n"
        "the snapshot count as run.\n"
        "\n"
        "Snapshots survive a recreation of the disk (reload, up --recreate), and are removed with\n"
        "the VM (destroy). A disk that is recreated is kept as the snapshot recreated-TIME for 24\n"
        "hours; for less if three more follow or the file system has less than 1 GiB free. For a\n"
        "VM with `protect` in its VMFile, restore and rm are refused.",
    .examples = "  vmctl ssh web -- sync; vmctl snapshot create web clean\n"
                "  vmctl stop web && vmctl snapshot restore web clean && vmctl start web\n"
                "  vmctl snapshot list web",
    .options = options,
    .values_size = sizeof(struct snapshot_values),
    .defaults = &defaults,
    .run = run,
};

/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl watch: registers VMFiles whose changes vmctld is to apply by itself, and lists them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "cli/request/project_request.h"
#include "cli/request/targets.h"
#include "cli/request/watched_source.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/text.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/source/sources.h"
#include "store/store.h"

struct watch_values {
    struct arg_strings files;
    const char *prune;
    bool lists;
    struct follow_values follow;
};

static const struct arg_option options[] = {
    {"file", 'f', ARG_REPEATED, offsetof(struct watch_values, files), "PATH",
        "the VMFile; later ones override it [default: $VMCTL_FILE, VMFile.kdl here or above]"},
    {"list", 'l', ARG_FLAG, offsetof(struct watch_values, lists), NULL,
        "list the watched VMFiles and whether they are up to date"},
    OPTION_PRUNE(struct watch_values),
    {"detach", 'd', ARG_FLAG, offsetof(struct watch_values, follow.is_detached), NULL,
        "return as soon as the request is recorded"},
    {"no-wait", 0, ARG_FLAG, offsetof(struct watch_values, follow.is_detached), NULL, NULL},
    {"timeout", 0, ARG_DURATION, offsetof(struct watch_values, follow.timeout_ms), "DURATION",
        "stop following after this long [default: 1m]"},
    OPTIONS_END,
};

static const struct watch_values defaults = {.follow.timeout_ms = 60 * 1000};

/* ---- --list ---- */

enum { SHA_SHOWN = 12 };

static void add_printable(struct table *table, const char *text)
{
    cleanup_buf struct buf shown = BUF_INIT(0);
    text_add_printable(&shown, text, strcspn(text, "\n"));
    table_add(table, buf_str(&shown));
}

static void watch_add_row(
    struct table *table, const struct source_record *record, const struct strings *known)
{
    char sha[SHA_SHOWN + 1] = "-";
    cleanup_buf struct buf message = BUF_INIT(0);
    if (record->applied_sha[0]) {
        memcpy(sha, record->applied_sha, SHA_SHOWN);
        sha[SHA_SHOWN] = '\0';
    }
    if (record->line > 0) {
        buf_printf(&message, "%" PRIu32 ":%" PRIu32 ": ", record->line, record->column);
    }
    if (record->message) {
        buf_add_str(&message, record->message);
    }
    /* Only those that still exist: a VM that was destroyed since needs no mention. */
    for (size_t i = 0; !record->message && i < record->removed.count; i++) {
        const char *name = record->removed.items[i];
        if (strings_have(known, name)) {
            buf_printf(&message, "%s%s", message.len ? ", " : "no longer names ", name);
        }
    }
    add_printable(table, record->path);
    table_add(table, source_state_name(record->state));
    table_add(table, sha);
    table_add(table, source_prune_name(record->prune));
    add_printable(table, buf_str(&message));
}

static void print_table(const struct source_list *list, const struct strings *known)
{
    static const char *const columns[] = {"FILE", "STATE", "APPLIED", "PRUNE", "MESSAGE"};
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    table_init(&table, ARRAY_LEN(columns));
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        table_add(&table, columns[i]);
    }
    for (size_t i = 0; i < list->count; i++) {
        watch_add_row(&table, list->items[i], known);
    }
    table_print(&table, &out);
    fputs(buf_str(&out), stdout);
}

static void watch_print_data(
    const struct cli *cli, const struct source_list *list, const struct strings *paths)
{
    cleanup_json json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++) {
        if (!paths || strings_have(paths, list->items[i]->path)) {
            json_t *json = source_record_to_json(list->items[i]);
            json_put_time(json, "since", list->items[i]->since_ms);
            json_put_time(json, "appliedAt", list->items[i]->applied_ms);
            (void)json_array_append_new(array, json);
        }
    }
    output_print(cli, array);
}

/* The watched files and directories; of these paths only unless NULL. */
static int list_watched(struct cli *cli, const struct strings *paths, struct error *err)
{
    cleanup_with(source_list_clear) struct source_list list = {.count = 0};
    cleanup_with(strings_clear) struct strings known = {.count = 0};
    int rc = targets_of_store(cli, &known, err);
    if (rc < 0 || (rc = sources_list(cli->store, &list, err)) < 0) {
        return rc;
    }
    if (output_is_data(cli)) {
        watch_print_data(cli, &list, paths);
        return 0;
    }
    if (cli->output != OUTPUT_NAME) {
        print_table(&list, &known);
        return 0;
    }
    for (size_t i = 0; i < list.count; i++) {
        puts(list.items[i]->path);
    }
    return 0;
}

/* ---- watching ---- */

static int write_registration(
    struct cli *cli, const struct source_record *wanted, struct error *err)
{
    enum { TRIES = 100 }; /* every lost try means that vmctld wrote what it found */
    for (int i = 0;; i++) {
        struct store_batch *batch = store_batch_new();
        int rc = sources_add_registration(cli->store, batch, wanted, err);
        if (rc == 0) {
            rc = store_commit(cli->store, batch, err);
        }
        store_batch_free(batch);
        if (rc != -ERR_STORE_STALE || i == TRIES) {
            return rc;
        }
        error_clear(err);
    }
}

/* One file with its overrides, or a directory; NULL: the usual file. */
static int register_one(struct cli *cli, const struct arg_strings *files, enum source_prune prune,
    char **ret_path, struct error *err)
{
    cleanup_free char *path = NULL;
    cleanup_with(project_clear) struct project project = {.path = NULL};
    cleanup_with(strings_clear) struct strings inputs = {.count = 0};
    const char *word = files->count > 0 ? files->items[0] : NULL;
    bool is_directory;
    int rc = watched_source_path(cli, word, &path, &is_directory, err);
    if (rc == 0 && is_directory && files->count > 1) {
        (void)error_set(
            err, ERR_USAGE, "'%s' is a directory, each of whose files is watched", word);
        return error_help(err, "give the file to override: %s/VMFile.kdl", word);
    }
    if (rc < 0 || (rc = watched_source_check(path, err)) < 0 ||
        (!is_directory && (rc = project_load(cli, files, &project, err)) != 0)) {
        return rc; /* an invalid file: the user sees the mistake at once */
    }
    if (project.is_stdin) {
        return watched_source_refuse_stdin(err);
    }
    rc = watched_source_check_project(cli, is_directory ? NULL : &project.load, path, err);
    if (rc < 0) {
        return rc;
    }
    struct source_record *record = source_record_new(path, clock_wall_ms(clock_system()));
    record->is_directory = is_directory;
    record->prune = prune;
    proxies_assign(&record->proxies, cli->proxies);
    vmfile_load_note_inputs(is_directory ? NULL : &project.load, &cli->given, &inputs);
    source_record_set_inputs(record, &inputs, &project.overrides);
    rc = write_registration(cli, record, err);
    source_record_free(record);
    if (rc == 0) {
        *ret_path = TAKE_PTR(path);
    }
    return rc;
}

static int follow_one(struct cli *cli, const char *path, int64_t *timeout_ms, struct error *err)
{
    int rc = watched_source_settle(cli, path, timeout_ms, err);
    if (rc == 0 && !output_is_data(cli)) {
        cleanup_buf struct buf shown = BUF_INIT(0);
        text_add_printable(&shown, path, strlen(path));
        printf("%s: watched\n", buf_str(&shown));
    }
    return rc;
}

static int watch_all(struct cli *cli, const struct watch_values *values,
    const struct arg_strings *words, struct strings *paths, struct error *err)
{
    enum source_prune prune;
    int64_t timeout_ms = values->follow.timeout_ms;
    int rc = prune_parse(values->prune, &prune, err);
    if (rc < 0 || (rc = cli_open_store(cli, err)) < 0) {
        return rc;
    }
    for (size_t i = 0; rc == 0 && (i < words->count || i == 0); i++) {
        cleanup_free char *path = NULL;
        const struct arg_strings word = {.items = words->items + i, .count = 1};
        rc = register_one(cli, words->count ? &word : &values->files, prune, &path, err);
        if (rc == 0) {
            strings_add(paths, path);
        }
    }
    if (paths->count > 0) {
        struct error ignored = {.code = ERR_NONE}; /* vmctld looks by itself, only later */
        (void)bell_ring(&cli->paths, BELL_DESIRED, &ignored);
    }
    if (rc == 0) {
        rc = values->follow.is_detached ? cli_ensure_controller(cli, err)
                                        : cli_start_controller(cli, err);
    }
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; rc == 0 && !values->follow.is_detached && i < paths->count; i++) {
        rc = follow_one(cli, paths->items[i], &timeout_ms, err);
    }
    return rc;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct watch_values *watch = values;
    cleanup_with(strings_clear) struct strings paths = {.count = 0};
    if (words->count > 0 && watch->files.count > 0) {
        return error_set(err, ERR_USAGE, "watch: give the file once, with or without --file");
    }
    if (watch->lists) {
        return words->count > 0 ? error_set(err, ERR_USAGE, "watch --list takes no names")
                                : list_watched(cli, NULL, err);
    }
    int rc = watch_all(cli, watch, words, &paths, err);
    return rc == 0 && output_is_data(cli) ? list_watched(cli, &paths, err) : rc;
}

const struct command command_watch = {
    .name = "watch",
    .summary = "Apply a VMFile whenever it changes",
    .usage = "[OPTIONS] [PATH...]",
    .details =
        "vmctld does what `vmctl apply` does whenever the VMFile, or a script, key or other file\n"
        "that it names, is saved: new VMs are created and stay off (with `vmctl up --watch` they\n"
        "are started); changes that need a restart or a new disk are shown and wait until you\n"
        "request them. For a directory, vmctld watches every *.kdl in it that is a VMFile. An\n"
        "invalid file changes nothing, and its VMs show SourceInvalid; VMs stay when the file is\n"
        "removed. A VM that is removed from the file is left alone without --prune; one with\n"
        "`protect` is never destroyed, and `vmctl watch --list` reports that it is kept.",
    .examples = "  vmctl watch                     ./VMFile.kdl\n"
                "  vmctl watch ~/vms --prune=stop  all VMFiles of a directory\n"
                "  vmctl watch --list\n"
                "  vmctl unwatch",
    .options = options,
    .values_size = sizeof(struct watch_values),
    .defaults = &defaults,
    .run = run,
};

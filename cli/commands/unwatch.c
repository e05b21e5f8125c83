/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl unwatch: ends vmctld's watch on VMFiles. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "cli/request/watched_source.h"
#include "cli/show/output.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/text.h"
#include "store/source/sources.h"
#include "store/source/vmfile_load.h"

struct unwatch_values {
    struct arg_strings files;
    bool is_all;
};

static const struct arg_option options[] = {
    {"file", 'f', ARG_REPEATED, offsetof(struct unwatch_values, files), "PATH",
        "the VMFile, and the further ones it is watched with [default: $VMCTL_FILE, VMFile.kdl "
        "here or above]"},
    {"all", 0, ARG_FLAG, offsetof(struct unwatch_values, is_all), NULL,
        "stop watching all VMFiles"},
    OPTIONS_END,
};

/* The record of the watched directory that the file is in; NULL: there is none. */
static int get_directory(
    struct cli *cli, const char *path, struct source_record **ret, struct error *err)
{
    cleanup_free char *parent = vmfile_load_directory(path);
    struct source_record *record = NULL;
    int rc = sources_get(cli->store, parent, &record, err);
    if (rc == 0 && record && !record->is_directory) {
        source_record_free(TAKE_PTR(record));
    }
    *ret = record;
    return rc;
}

/* Its directory would have it back at once, and without its own files and values. */
static int check_directory(struct cli *cli, const char *path, struct error *err)
{
    struct source_record *record = NULL, *directory = NULL;
    int rc = sources_get(cli->store, path, &record, err);
    rc = rc == 0 && record ? get_directory(cli, path, &directory, err) : rc;
    if (rc == 0 && record && record->directory) {
        (void)error_set(err, ERR_USAGE, "'%s' is watched because its directory is", path);
        rc = error_help(err, "vmctl unwatch %s", record->directory);
    } else if (rc == 0 && directory &&
               (!strings_equal(&record->overrides, &directory->overrides) ||
                   !strings_equal(&record->inputs, &directory->inputs))) {
        (void)error_set(err, ERR_USAGE,
            "'%s' would still be watched through its directory, without its further files and "
            "values",
            path);
        rc = error_help(err, "stop that first: vmctl unwatch %s", directory->path);
    }
    source_record_free(record);
    source_record_free(directory);
    return rc;
}

static void unwatch_report(const struct cli *cli, json_t *all, const char *path, bool was_watched)
{
    cleanup_buf struct buf shown = BUF_INIT(0);
    json_t *json = json_object();
    json_put_text(json, "path", path);
    json_put_flag(json, "wasWatched", was_watched);
    (void)json_array_append_new(all, json);
    if (!output_is_data(cli)) {
        text_add_printable(&shown, path, strlen(path));
        printf("%s: %s\n", buf_str(&shown), was_watched ? "no longer watched" : "is not watched");
    }
}

/* A path that is not watched is not an error, but it is reported: it may be mistyped. */
static int forget(struct cli *cli, json_t *all, const char *path, struct error *err)
{
    bool was_watched;
    int rc = sources_forget(cli->store, path, &was_watched, err);
    if (rc == 0) {
        unwatch_report(cli, all, path, was_watched);
    }
    return rc;
}

/* The further ones are those that override the first, as `watch` has them; several VMFiles are
 * names. */
static int check_further(struct cli *cli, const struct arg_strings *files, struct error *err)
{
    cleanup_free char *path = NULL;
    cleanup_with(strings_clear) struct strings further = {.count = 0}, shown = {.count = 0};
    struct source_record *record = NULL, *other = NULL;
    bool is_directory;
    int rc = watched_source_path(cli, files->items[0], &path, &is_directory, err);
    rc = rc == 0 ? project_overrides(files, &further, &shown, err) : rc;
    rc = rc == 0 ? sources_get(cli->store, path, &record, err) : rc;
    for (size_t i = 0; rc == 0 && i < further.count; i++) {
        bool is_its_own = record && strings_have(&record->overrides, further.items[i]);
        rc = is_its_own ? 0 : sources_get(cli->store, further.items[i], &other, err);
        if (rc == 0 && !is_its_own && (record || other)) {
            (void)error_set(err, ERR_USAGE, "'%s' is not watched with '%s'", path, shown.items[i]);
            rc = error_help(
                err, "to end several: vmctl unwatch '%s' '%s'", files->items[0], shown.items[i]);
        }
        source_record_free(TAKE_PTR(other));
    }
    source_record_free(record);
    return rc;
}

static int unwatch_one(struct cli *cli, json_t *all, const char *word, struct error *err)
{
    cleanup_free char *path = NULL;
    bool is_directory;
    int rc = watched_source_path(cli, word, &path, &is_directory, err);
    if (rc < 0 || (rc = check_directory(cli, path, err)) < 0) {
        return rc;
    }
    return forget(cli, all, path, err);
}

static int unwatch_all(struct cli *cli, json_t *all, struct error *err)
{
    cleanup_with(source_list_clear) struct source_list list = {.count = 0};
    int rc = sources_list(cli->store, &list, err);
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        if (!list.items[i]->directory) {
            rc = forget(cli, all, list.items[i]->path, err);
        }
    }
    return rc;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct unwatch_values *unwatch = values;
    if ((words->count > 0) + (unwatch->files.count > 0) + unwatch->is_all > 1) {
        return error_set(err, ERR_USAGE, "unwatch: names, --file and --all exclude each other");
    }
    cleanup_json json_t *all = json_array();
    int rc = cli_open_store(cli, err);
    if (rc == 0 && unwatch->is_all) {
        rc = unwatch_all(cli, all, err);
    }
    if (rc == 0 && unwatch->files.count > 1) {
        rc = check_further(cli, &unwatch->files, err);
    }
    const char *first = unwatch->files.count > 0 ? unwatch->files.items[0] : NULL;
    for (size_t i = 0; rc == 0 && !unwatch->is_all && (i < words->count || i == 0); i++) {
        rc = unwatch_one(cli, all, words->count ? words->items[i] : first, err);
    }
    if (rc == 0 && output_is_data(cli)) {
        output_print(cli, all);
    }
    return rc;
}

const struct command command_unwatch = {
    .name = "unwatch",
    .summary = "Stop watching a VMFile",
    .usage = "[OPTIONS] [PATH...]",
    .details =
        "Ends what `vmctl watch` started; for a directory, for all its files. The VMs are not\n"
        "changed.",
    .examples = "  vmctl unwatch\n"
                "  vmctl unwatch --all",
    .options = options,
    .values_size = sizeof(struct unwatch_values),
    .run = run,
};

/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/watched_source.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "cli/wait/wait_loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "store/source/sources.h"
#include "store/source/vmfile_load.h"

int watched_source_path(
    struct cli *cli, const char *word, char **ret, bool *ret_is_directory, struct error *err)
{
    struct stat st;
    bool is_directory = word && user_path_stat(word, &st) == 0 && S_ISDIR(st.st_mode);
    char *path = is_directory ? realpath(word, NULL) : NULL;
    const struct arg_strings file = {.items = &word, .count = word != NULL};
    if (!path && project_path(cli, &file, &path, err) < 0) {
        cleanup_free char *cwd = getcwd(NULL, 0);
        if (!word) {
            return -(int)err->code;
        }
        error_clear(err); /* its directory is gone, too */
        path = fs_resolve(word, cwd ? cwd : "/", paths_home());
    }
    *ret = path;
    *ret_is_directory = is_directory;
    return 0;
}

int watched_source_check(const char *path, struct error *err)
{
    struct stat st;
    cleanup_json json_t *json = json_string(path);
    if (!json) {
        return error_set(err, ERR_USAGE, "its path is not UTF-8, so it cannot be watched");
    }
    if (user_path_stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        return error_set(err, ERR_USAGE, "'%s' is not a file, so it cannot be watched", path);
    }
    return 0;
}

int watched_source_refuse_stdin(struct error *err)
{
    (void)error_set(err, ERR_USAGE, "standard input cannot be watched, only a file");
    return error_help(err, "write it to a file, and give its name: --file PATH");
}

int watched_source_check_project(
    struct cli *cli, const struct vmfile_load *load, const char *path, struct error *err)
{
    struct source_record *record = NULL;
    int rc = cli_open_store(cli, err);
    rc = rc < 0 ? rc : sources_get(cli->store, path, &record, err);
    const char *before = record ? vmfile_load_given_project(&record->inputs) : NULL;
    bool is_same =
        !record || (load ? vmfile_load_is_same_project(load, &cli->given, &record->inputs)
                         : text_eq(before, vmfile_load_given_project(&cli->given)));
    if (rc == 0 && !is_same) {
        cleanup_free char *own =
            load && !before ? vmfile_load_project_with(load, &record->inputs) : NULL;
        const char *name = own ? own : before ? before : "";
        (void)error_set(err, ERR_VM_CONFLICT, "'%s' is watched already, %s%s%s", path,
            !before     ? "for its own project"
            : before[0] ? "for project "
                        : "for no project",
            own ? " " : "", name);
        rc = error_help(err, "stop that first: vmctl unwatch; or watch a copy of the folder");
    }
    source_record_free(record);
    return rc;
}

/* ---- waiting ---- */

struct settling {
    struct cli *cli;
    const char *path;
};

static int check_file(const struct source_record *record, bool *ret_is_settled, struct error *err)
{
    cleanup_with(vmfile_load_clear) struct vmfile_load load = {.path = NULL};
    struct error ignored = {.code = ERR_NONE};
    char digest[DIGEST_SIZE];
    *ret_is_settled = true;
    const struct vmfile_inputs inputs = {.given = &record->inputs, .overrides = &record->overrides};
    if (vmfile_load(record->path, record->path, &inputs, &load, &ignored) < 0 ||
        load.file->n_diagnostics > 0 || vmfile_load_referenced(&load, digest, &ignored) < 0) {
        return 0; /* the file's reader reports what is wrong with it, and better */
    }
    if (text_eq(digest, record->failed_digest) && source_record_is_failing(record)) {
        cleanup_free char *why = source_record_explain(record);
        bool is_conflict = record->state == SOURCE_CONFLICT;
        (void)error_set(err, is_conflict ? ERR_VM_CONFLICT : ERR_VMFILE_INVALID,
            "the VMFile was not applied: %s", why);
        return error_help(err, "fix it, then vmctld applies it; see: vmctl watch --list");
    }
    *ret_is_settled = text_eq(digest, record->applied_digest) && record->state == SOURCE_SYNCED;
    return 0;
}

static int check_directory(
    struct cli *cli, const struct source_record *directory, bool *ret_is_settled, struct error *err)
{
    cleanup_with(source_list_clear) struct source_list list = {.count = 0};
    int rc = sources_list(cli->store, &list, err);
    *ret_is_settled = directory->state != SOURCE_PENDING;
    for (size_t i = 0; rc == 0 && *ret_is_settled && i < list.count; i++) {
        if (text_eq(list.items[i]->directory, directory->path)) {
            rc = check_file(list.items[i], ret_is_settled, err);
        }
    }
    return rc;
}

static int check_source(void *context, bool *ret_is_done, struct error *err)
{
    const struct settling *settling = context;
    struct source_record *record = NULL;
    int rc = sources_get(settling->cli->store, settling->path, &record, err);
    *ret_is_done = true;
    if (rc == 0 && record) {
        rc = record->is_directory ? check_directory(settling->cli, record, ret_is_done, err)
                                  : check_file(record, ret_is_done, err);
    }
    source_record_free(record);
    return rc;
}

static int time_out(void *context, struct error *err)
{
    const struct settling *settling = context;
    (void)error_set(
        err, ERR_TIMEOUT, "vmctld has not processed the current '%s' yet", settling->path);
    return error_help(err, "is it stuck? vmctl controller status; vmctl watch --list");
}

int watched_source_settle(struct cli *cli, const char *path, int64_t *timeout_ms, struct error *err)
{
    struct settling settling = {cli, path};
    struct wait_loop loop = {
        .cli = cli,
        .needs_controller = true,
        .check = check_source,
        .time_out = time_out,
        .context = &settling,
    };
    int rc = cli_open_store(cli, err);
    if (rc < 0) {
        return rc;
    }
    wait_loop_open(&loop, *timeout_ms);
    rc = wait_loop_run(&loop, err);
    *timeout_ms = wait_loop_left_ms(&loop);
    wait_loop_close(&loop);
    return rc;
}

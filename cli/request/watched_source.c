/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/watched_source.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/request/project.h"
#include "cli/wait/controller_process.h"
#include "cli/wait/wakeup.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/source/sources.h"
#include "store/source/vmfile_load.h"

int watched_source_path(const char *word, char **ret, bool *ret_is_directory, struct error *err)
{
    struct stat st;
    bool is_directory = word && stat(word, &st) == 0 && S_ISDIR(st.st_mode);
    char *path = is_directory ? realpath(word, NULL) : NULL;
    if (!path && project_path(word, &path, err) < 0) {
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
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        return error_set(err, ERR_USAGE, "'%s' is not a file, so it cannot be watched", path);
    }
    return 0;
}

/* ---- waiting ---- */

enum settled { SETTLED_NOT, SETTLED, SETTLED_BADLY };

static enum settled refuse(const struct source_record *record, struct error *err)
{
    cleanup_free char *why = source_record_explain(record);
    enum error_code code =
        record->state == SOURCE_CONFLICT ? ERR_VM_CONFLICT : ERR_VMFILE_INVALID;
    (void)error_set(err, code, "the VMFile was not applied: %s", why);
    (void)error_help(err, "put it right, vmctld takes it up then; see: vmctl watch --list");
    return SETTLED_BADLY;
}

/* Its reader tells what is wrong with it, and better. */
static bool read_digest(const char *path, char *ret_digest)
{
    cleanup_with(vmfile_load_clear) struct vmfile_load load = {.path = NULL};
    struct error ignored = {.code = ERR_NONE};
    return vmfile_load(path, path, &load, &ignored) == 0 && load.file->n_diagnostics == 0 &&
        vmfile_load_referenced(&load, ret_digest, &ignored) == 0;
}

static enum settled check_file(const struct source_record *record, struct error *err)
{
    char digest[DIGEST_SIZE];
    if (!read_digest(record->path, digest)) {
        return SETTLED;
    }
    if (text_eq(digest, record->failed_digest) && source_record_is_failing(record)) {
        return refuse(record, err);
    }
    return text_eq(digest, record->applied_digest) && record->state == SOURCE_SYNCED ? SETTLED
                                                                                      : SETTLED_NOT;
}

static int check_directory(struct cli *cli, const struct source_record *directory,
    enum settled *ret, struct error *err)
{
    cleanup_with(source_list_clear) struct source_list list = {.count = 0};
    int rc = sources_list(cli->store, &list, err);
    enum settled settled = directory->state == SOURCE_PENDING ? SETTLED_NOT : SETTLED;
    for (size_t i = 0; rc == 0 && settled == SETTLED && i < list.count; i++) {
        if (text_eq(list.items[i]->directory, directory->path)) {
            settled = check_file(list.items[i], err);
        }
    }
    *ret = settled;
    return rc;
}

static int check(struct cli *cli, const char *path, enum settled *ret, struct error *err)
{
    struct source_record *record = NULL;
    int rc = sources_get(cli->store, path, &record, err);
    *ret = SETTLED;
    if (rc == 0 && record) {
        if (record->is_directory) {
            rc = check_directory(cli, record, ret, err);
        } else {
            *ret = check_file(record, err);
        }
        source_record_free(record);
    }
    return rc == 0 && *ret == SETTLED_BADLY ? -(int)err->code : rc;
}

static int set_timeout(const char *path, struct error *err)
{
    (void)error_set(err, ERR_TIMEOUT, "vmctld has not taken up '%s' as it is now", path);
    return error_help(err, "is it stuck? vmctl controller status; vmctl watch --list");
}

static int wait_until_settled(struct cli *cli, struct wakeup *wakeup, const char *path,
    int64_t deadline_ms, struct error *err)
{
    const struct clock *clock = clock_system();
    for (;;) {
        enum settled settled;
        int rc = check(cli, path, &settled, err);
        if (rc < 0 || settled == SETTLED) {
            return rc;
        }
        int64_t left_ms = deadline_ms - clock_monotonic_ms(clock);
        if (left_ms <= 0) {
            return set_timeout(path, err);
        }
        struct controller_process controller;
        if ((rc = cli_ensure_controller(cli, err)) < 0 ||
            (rc = controller_find(cli, &controller, err)) < 0) {
            return rc;
        }
        int64_t limit_ms = controller_requeue_after_ms(&controller);
        int signal_number = wakeup_wait(wakeup, left_ms < limit_ms ? left_ms : limit_ms);
        if (signal_number > 0) {
            return wakeup_exit_status(signal_number);
        }
    }
}

int watched_source_settle(struct cli *cli, const char *path, int64_t *timeout_ms, struct error *err)
{
    const struct clock *clock = clock_system();
    int64_t deadline_ms = clock_monotonic_ms(clock) + *timeout_ms;
    struct wakeup wakeup;
    int rc = cli_open_store(cli, err);
    if (rc < 0) {
        return rc;
    }
    wakeup_open(&wakeup, &cli->paths);
    rc = wait_until_settled(cli, &wakeup, path, deadline_ms, err);
    wakeup_close(&wakeup);
    int64_t left_ms = deadline_ms - clock_monotonic_ms(clock);
    *timeout_ms = left_ms > 0 ? left_ms : 0;
    return rc;
}

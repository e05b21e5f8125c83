/* SPDX-License-Identifier: MPL-2.0 */
/* A watched directory: every *.kdl in it that is a VMFile is watched, with the directory's options.
 * What is in these files is not looked at beyond that; each has a record and a life of its own. */
#include "store/source/source_sync_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/batch.h"
#include "store/source/sources.h"
#include "store/source/vmfile_load.h"
#include "store/store.h"

enum { DIRECTORY_FILES_MAX = 1000 };

static void close_directory(DIR **directory)
{
    if (*directory) {
        closedir(*directory);
    }
}

/* Editors' own files begin with a dot. A name that is not UTF-8 cannot be a key. */
static bool is_candidate(const char *name)
{
    cleanup_json json_t *json = json_string(name);
    return name[0] != '.' && text_ends_with(name, ".kdl") && json;
}

static int list_candidates(const char *path, struct strings *ret, int *ret_errno)
{
    cleanup_with(close_directory) DIR *directory = opendir(path);
    if (!directory) {
        *ret_errno = errno;
        return -1;
    }
    struct dirent *entry;
    while (ret->count < DIRECTORY_FILES_MAX && (entry = readdir(directory)) != NULL) {
        if (is_candidate(entry->d_name)) {
            cleanup_free char *file = mem_printf("%s/%s", text_eq(path, "/") ? "" : path, entry->d_name);
            strings_add(ret, file);
        }
    }
    return 0;
}

/* Another program's KDL has no `vm` in it. What is not KDL at all may be a VMFile with a mistake,
 * and its user wants to hear of it. */
static bool is_vmfile(const char *path)
{
    cleanup_with(vmfile_load_clear) struct vmfile_load load = {.path = NULL};
    struct error ignored = {.code = ERR_NONE};
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || vmfile_load(path, path, &load, &ignored) < 0) {
        return false;
    }
    return load.file->n_vms > 0 ||
        (load.file->n_diagnostics > 0 && load.file->diagnostics[0].is_syntax);
}

static void add_file(struct sync *sync, struct store_batch *batch, const char *path)
{
    struct source_record *record = source_record_new(path, clock_wall_ms(clock_system()));
    record->directory = mem_strdup(sync->before->path);
    record->prune = sync->before->prune;
    record->starts_new = sync->before->starts_new;
    sources_change(batch, NULL, record);
    source_record_free(record);
}

static void align_file(
    struct sync *sync, struct store_batch *batch, const struct source_record *known)
{
    if (known->prune == sync->before->prune && known->starts_new == sync->before->starts_new) {
        return;
    }
    struct source_record *after = source_record_copy(known);
    after->prune = sync->before->prune;
    after->starts_new = sync->before->starts_new;
    memset(after->pruned_digest, 0, DIGEST_SIZE);
    sources_change(batch, known, after);
    source_record_free(after);
}

static const struct source_record *find(const struct source_list *list, const char *path)
{
    for (size_t i = 0; i < list->count; i++) {
        if (text_eq(list->items[i]->path, path)) {
            return list->items[i];
        }
    }
    return NULL;
}

static void plan_files(struct sync *sync, struct store_batch *batch,
    const struct source_list *known, const struct strings *files)
{
    for (size_t i = 0; i < files->count; i++) {
        if (!find(known, files->items[i]) && is_vmfile(files->items[i])) {
            add_file(sync, batch, files->items[i]);
        }
    }
    for (size_t i = 0; i < known->count; i++) {
        if (text_eq(known->items[i]->directory, sync->ask->path)) {
            align_file(sync, batch, known->items[i]);
        }
    }
}

static int write_state(struct sync *sync, enum source_state state, const char *message,
    struct error *err)
{
    struct source_record *after = source_record_copy(sync->before);
    after->state = state;
    free(after->message);
    after->message = mem_strdup(message);
    sync->out->finding = SOURCE_FOUND_SETTLED;
    sync->out->is_failing = source_record_is_failing(after);
    int rc = sync_write(sync, after, err);
    source_record_free(after);
    return rc;
}

static int be_unlisted(struct sync *sync, int code, struct error *err)
{
    bool is_gone = code == ENOENT || code == ENOTDIR;
    if (is_gone && !sync->ask->reports_gone) {
        sync->out->finding = SOURCE_FOUND_GONE;
        return 0;
    }
    return is_gone ? write_state(sync, SOURCE_GONE, "there is no such directory any more", err)
                   : write_state(sync, SOURCE_PARSE_FAILED, strerrordesc_np(code), err);
}

int sync_directory(struct sync *sync, struct error *err)
{
    cleanup_with(strings_clear) struct strings files = {.count = 0};
    cleanup_with(source_list_clear) struct source_list known = {.count = 0};
    int code = 0;
    if (list_candidates(sync->ask->path, &files, &code) < 0) {
        return be_unlisted(sync, code, err);
    }
    int rc = sources_list(sync->store, &known, err);
    if (rc < 0) {
        return rc;
    }
    /* with the directory's record: `unwatch` meanwhile leaves nothing behind */
    struct store_batch *batch = store_batch_new();
    plan_files(sync, batch, &known, &files);
    if (!store_batch_is_empty(batch)) {
        sources_change(batch, sync->before, sync->before);
        rc = store_commit(sync->store, batch, err);
    }
    store_batch_free(batch);
    return rc < 0 ? rc : write_state(sync, SOURCE_SYNCED, NULL, err);
}

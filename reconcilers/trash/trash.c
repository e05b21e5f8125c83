/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/trash/trash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/loop/pool.h"
#include "controller/reconciler.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

/* ---- deleting in the background ---- */

static int delete_tree(void *path, const atomic_bool *is_cancelled, struct error *err)
{
    (void)is_cancelled;
    return fs_remove_tree(path, err);
}

/* Nothing waits for it: what could not be deleted is swept at the next start. */
static void on_deleted(void *context, const struct error *err)
{
    (void)context;
    if (err) {
        log_debug("removal", "%s", err->message);
    }
}

static void start_deleting(struct reconciler_host *host, char *path_take)
{
    (void)pool_start(host->pool, delete_tree, free, path_take, on_deleted, NULL);
}

/* ---- into the trash ---- */

/* A fresh directory DATA/trash/<uid>-<n>. */
static int make_bin(const struct paths *paths, const char *uid, char **ret_path, struct error *err)
{
    cleanup_free char *trash = paths_path(paths, "trash");
    if (fs_make_dirs(trash, 0700, err) < 0) {
        return -(int)err->code;
    }
    for (unsigned n = 1;; n++) {
        cleanup_free char *path = mem_printf("%s/%s-%u", trash, uid, n);
        if (mkdir(path, 0700) == 0) {
            *ret_path = TAKE_PTR(path);
            return 0;
        }
        if (errno != EEXIST) {
            return error_set_errno(err, ERR_IO, errno, "cannot create directory '%s'", path);
        }
    }
}

static int move_into(const char *bin, const char *path, struct error *err)
{
    cleanup_free char *target = mem_printf("%s%s", bin, strrchr(path, '/'));
    if (rename(path, target) < 0 && errno != ENOENT) {
        return error_set_errno(err, ERR_IO, errno, "cannot move '%s' to the trash", path);
    }
    return 0;
}

int removal_discard(struct reconciler_host *host, const char *vm_name, const char *uid,
    bool whole_dir, struct error *err)
{
    cleanup_free char *overlay = paths_vm(host->paths, vm_name, VM_OVERLAY);
    cleanup_free char *seed = paths_vm(host->paths, vm_name, VM_SEED);
    cleanup_free char *dir = paths_vm(host->paths, vm_name, VM_DIR);
    const char *paths[] = {whole_dir ? dir : seed, whole_dir ? NULL : overlay};
    if (!fs_exists(paths[0]) && !(paths[1] && fs_exists(paths[1]))) {
        return 0;
    }
    char *bin = NULL;
    int rc = make_bin(host->paths, uid && uid[0] ? uid : vm_name, &bin, err);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(paths) && paths[i]; i++) {
        rc = move_into(bin, paths[i], err);
    }
    if (rc == 0) {
        rc = fs_sync_dir_of(paths[0], err);
    }
    if (bin) {
        start_deleting(host, bin);
    }
    return rc;
}

int removal_discard_file(struct reconciler_host *host, const char *path, struct error *err)
{
    char unique[TEXT_ID_SIZE];
    char *bin = NULL;
    digest_random_id(unique);
    int rc = make_bin(host->paths, unique, &bin, err);
    if (rc < 0) {
        return rc;
    }
    rc = move_into(bin, path, err);
    start_deleting(host, bin);
    return rc;
}

/* ---- sweeping ---- */

static void remove_if_temporary(void *context, int dir_fd, const char *name)
{
    (void)context;
    if (strstr(name, ".tmp-")) {
        (void)unlinkat(dir_fd, name, 0);
    }
}

void removal_sweep_temporary(const char *directory)
{
    fs_each_entry(directory, remove_if_temporary, NULL);
}

struct old_trash {
    struct reconciler_host *host;
    const char *directory;
};

static void delete_entry(void *context, int dir_fd, const char *name)
{
    const struct old_trash *old = context;
    (void)dir_fd;
    start_deleting(old->host, fs_join(old->directory, name));
}

void removal_sweep(struct reconciler_host *host)
{
    static const char *const directories[] = {"images/.part", "images/.by-source"};
    for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
        cleanup_free char *path = paths_path(host->paths, directories[i]);
        removal_sweep_temporary(path);
    }
    /* Only what is listed now: a new bin is empty for a moment. */
    cleanup_free char *trash = paths_path(host->paths, "trash");
    fs_each_entry(trash, delete_entry, &(struct old_trash){host, trash});
}

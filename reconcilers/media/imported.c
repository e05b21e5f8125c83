/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/imported.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "controller/loop/pool.h"
#include "reconcilers/backend/backend.h"
#include "reconcilers/media/seed.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/image/volume_file.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_import.h"
#include "store/store.h"

/* What pool work may touch. */
struct take_work {
    struct paths paths;
    char *id, *vm_name;
    struct error *err; /* of a volume; the first */
};

static void free_take(void *context)
{
    struct take_work *work = context;
    paths_clear(&work->paths);
    free(work->id);
    free(work->vm_name);
    free(work);
}

/* Killed before this was recorded, the file is at its place already. */
static int take_file(const char *from, const char *to, struct error *err)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
        return fs_sync_dir_of(to, err);
    }
    if (errno == ENOENT) {
        return 0;
    }
    return error_set_errno(err, errno == EEXIST ? ERR_VM_CONFLICT : ERR_IO, errno,
        "cannot move '%s' to '%s'", from, to);
}

static void take_volume(void *context, int dir_fd, const char *member)
{
    struct take_work *work = context;
    cleanup_free char *name = vm_import_volume_name(member);
    (void)dir_fd;
    if (!name || work->err->code != ERR_NONE) {
        return;
    }
    cleanup_free char *from = vm_import_path(&work->paths, work->id, member);
    cleanup_free char *to = volume_path(&work->paths, name);
    cleanup_free char *dir = mem_strndup(to, strlen(to) - strlen("/volume.qcow2"));
    if (fs_make_dirs(dir, 0700, work->err) == 0 && take_file(from, to, work->err) < 0) {
        (void)error_help(work->err,
            "destroy '%s', then import it again; if you do not need the volume, first: vmctl "
            "volume rm %s",
            work->vm_name, name);
    }
}

static int take_files(const struct take_work *work, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < VM_IMPORT_FILES; i++) {
        const struct vm_import_file *file = &vm_import_files[i];
        cleanup_free char *from = vm_import_path(&work->paths, work->id, file->name);
        cleanup_free char *to = paths_vm(&work->paths, work->vm_name, file->file);
        if (file->file == VM_TPM_STATE && fs_exists(from)) {
            cleanup_free char *tpm = paths_vm(&work->paths, work->vm_name, VM_TPM_DIR);
            rc = fs_make_dirs(tpm, 0700, err);
        }
        rc = rc < 0 ? rc : take_file(from, to, err);
    }
    return rc;
}

static int do_take(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    struct take_work *work = context;
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *dir = paths_vm(&work->paths, work->vm_name, VM_DIR);
    cleanup_free char *from = vm_import_path(&work->paths, work->id, "");
    cleanup_free char *disk = paths_vm(&work->paths, work->vm_name, VM_OVERLAY);
    cleanup_free char *host_key = paths_vm(&work->paths, work->vm_name, VM_HOST_KEY_PUBLIC);
    (void)is_cancelled;
    work->err = err;
    int rc = fs_make_dirs(dir, 0700, err);
    rc = rc < 0 ? rc : fs_sync_dir_of(dir, err); /* the only copy of its disk comes to be there */
    if (rc == 0) {
        fs_each_entry(from, take_volume, work);
        rc = -(int)err->code;
    }
    rc = rc < 0 ? rc : take_files(work, err);
    if (rc == 0 && !fs_exists(disk)) {
        (void)error_set(err, ERR_SNAPSHOT_NOT_FOUND, "the files of the import are gone");
        rc = error_help(err, "destroy it, then import it again: vmctl destroy %s", work->vm_name);
    }
    if (rc == 0 && fs_exists(host_key)) {
        rc = seed_write_known_hosts(&work->paths, work->vm_name, err);
    }
    if (rc == 0) {
        (void)fs_remove_beneath(work->paths.data_dir, "imports", work->id, &ignored);
    }
    return rc;
}

struct op *imported_take(const struct vm_env *env, op_done_fn *done, void *context)
{
    struct take_work *work = mem_new(struct take_work);
    *work = (struct take_work){.paths.data_dir = mem_strdup(env->host->paths->data_dir),
        .id = mem_strdup(env->origin->import),
        .vm_name = mem_strdup(env->name)};
    return pool_start(env->host->pool, do_take, free_take, work, done, context);
}

/* ---- what no VM uses ---- */

static void note_wanted(void *context, const struct vm_view *view)
{
    const struct vm_origin *origin = view->desired ? view->desired->origin : NULL;
    if (origin && origin->import && !view->status->prepared.digest[0]) {
        json_put_flag(context, origin->import, true);
    }
}

/* Of a VM of the fleet, whose record comes once the fleet has given it to this node. */
static int note_fetched(struct reconciler_host *host, json_t *wanted, struct error *err)
{
    cleanup_json json_t *rows = NULL;
    const char *row;
    json_t *value;
    int rc = store_list_json_below(host->store, STORE_FLEET, "fetched/", &rows, err);
    json_object_foreach(rows, row, value)
    {
        const char *id = json_text(json_object_get(value, "origin"), "import");
        if (id) {
            json_put_flag(wanted, id, true);
        }
    }
    return rc;
}

/* The VMs are read under the lock: the import that had it before has recorded its VM, or is dead.
 */
static void remove_unwanted(void *context, int dir_fd, const char *name)
{
    struct reconciler_host *host = context;
    struct error ignored = {.code = ERR_NONE};
    cleanup_json json_t *wanted = json_object(); /* ids */
    cleanup_close int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool is_being_filled = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
    if (!is_being_filled && host->each_vm(host, note_wanted, wanted, &ignored) == 0 &&
        note_fetched(host, wanted, &ignored) == 0 && !json_flag(wanted, name, false)) {
        (void)fs_remove_beneath(host->paths->data_dir, "imports", name, &ignored);
    }
}

void imported_sweep(struct reconciler_host *host)
{
    cleanup_free char *imports = paths_path(host->paths, "imports");
    if (fs_exists(imports)) {
        fs_each_entry(imports, remove_unwanted, host);
    }
}

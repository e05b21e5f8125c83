/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/loop/pool.h"
#include "reconcilers/backend/backend.h"
#include "reconcilers/media/disk.h"
#include "reconcilers/media/new_file.h"
#include "reconcilers/trash/trash.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/image/image_inspect.h"
#include "specs/image/qcow2.h"
#include "specs/image/volume_file.h"
#include "store/store.h"

/* What pool work may touch. */
struct volume_work {
    struct paths paths;
    struct vm_spec *spec;
    uint64_t *used_bytes; /* of each volume */
};

enum fault { VOLUME_WHOLE, VOLUME_GONE, VOLUME_CUT, VOLUME_EMPTY };

/* How long its file was when a VM that had it last ended; 0: none had, or it is not known. */
static uint64_t used_bytes(const struct reconciler_host *host, const char *name)
{
    cleanup_free char *key = volume_record_key(name);
    cleanup_json json_t *record = NULL;
    struct error ignored = {.code = ERR_NONE};
    if (!host->store || store_get_json(host->store, STORE_META, key, &record, &ignored) < 0) {
        return 0;
    }
    return (uint64_t)json_int(record, "fileBytes", 0);
}

/* A file does not become shorter by what a guest does. One that is shorter, whole and has data was
 * put there by the user: from a backup, or compacted. */
static enum fault find_fault(const struct paths *paths, const char *name, uint64_t used)
{
    cleanup_free char *path = volume_path(paths, name);
    int64_t size = fs_size(path);
    struct image_info info;
    struct error cut = {.code = ERR_NONE};
    if (used == 0 || (size >= 0 && (uint64_t)size >= used)) {
        return VOLUME_WHOLE;
    }
    return size < 0                                           ? VOLUME_GONE
           : image_inspect_whole(path, path, &info, &cut) < 0 ? VOLUME_CUT
           : disk_has_no_data(path)                           ? VOLUME_EMPTY
                                                              : VOLUME_WHOLE;
}

static bool is_right(const struct paths *paths, const struct spec_volume *volume)
{
    int64_t bytes = volume_bytes(paths, volume->name);
    return bytes >= 0 && (!volume->size_gib || bytes <= (int64_t)volume->size_gib << 30);
}

bool volumes_are_due(const struct vm_env *env)
{
    const struct vm_spec *running = vm_status_running_spec(env->status);
    for (size_t i = 0; i < env->spec->n_volumes; i++) {
        const struct spec_volume *volume = &env->spec->volumes[i];
        if (!vm_spec_volume(running, volume->name) &&
            (!is_right(env->host->paths, volume) ||
                find_fault(env->host->paths, volume->name, used_bytes(env->host, volume->name)) !=
                    VOLUME_WHOLE)) {
            return true;
        }
    }
    return false;
}

/* Replaces nothing. Where the file system cannot rename so, killed in between leaves `new`, too. */
static int publish_volume(const char *new, const char *path, struct error *err)
{
    bool is_there = renameat2(AT_FDCWD, new, AT_FDCWD, path, RENAME_NOREPLACE) == 0 ||
                    (errno == EINVAL && link(new, path) == 0) || fs_exists(path);
    int rc = is_there ? 0 : error_set_errno(err, ERR_IO, errno, "cannot create '%s'", path);
    (void)unlink(new);
    return rc;
}

/* Of two VMs that make it at the same moment one is first, and its file stays. Killed before that,
 * it leaves a temporary file or one that is called `new`, which the next one makes again; killed
 * after it, the volume is there. */
static int make_volume(const char *path, const struct spec_volume *volume,
    const atomic_bool *is_cancelled, struct error *err)
{
    uint64_t gib = volume->size_gib ? volume->size_gib : VOLUME_DEFAULT_GIB;
    cleanup_free char *new = mem_printf("%s.new", path);
    cleanup_free char *directory = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
    struct qcow2_overlay image;
    const struct file_part parts[] = {{0, image.head, sizeof(image.head)},
        {QCOW2_CLUSTER, image.refcount_table, sizeof(image.refcount_table)},
        {2 * QCOW2_CLUSTER, image.refcounts, sizeof(image.refcounts)}};
    int rc = fs_make_dirs(directory, 0700, err);
    removal_sweep_temporary(directory);
    rc = rc < 0 ? rc : qcow2_make_overlay(NULL, NULL, gib << 30, &image, err);
    rc = rc < 0 ? rc
                : new_file_make(
                      new, 0600, image.file_size, parts, ARRAY_LEN(parts), is_cancelled, err);
    rc = rc < 0 ? rc : publish_volume(new, path, err);
    rc = rc < 0 ? rc : fs_sync_dir_of(path, err);
    return rc < 0 ? rc : fs_sync_dir_of(directory, err);
}

static int check_volume(
    const struct spec_volume *volume, int64_t bytes, const char *path, struct error *err)
{
    const double gib = 1 << 30;
    if (bytes == VOLUME_IS_FOREIGN) {
        (void)error_set(err, ERR_OVERLAY,
            "volume '%s': '%s' is not a qcow2 file, or needs another file", volume->name, path);
        return error_help(err,
            "move it away, or copy the image into it: qemu-img convert -O qcow2 IMAGE %s", path);
    }
    if (volume->size_gib && bytes > (int64_t)volume->size_gib << 30) {
        (void)error_set(err, ERR_DISK_SHRINK, "volume '%s' cannot shrink from %.6g to %u GB",
            volume->name, (double)bytes / gib, volume->size_gib);
        return error_help(err, "write size=%lld; or copy what it holds to a new volume",
            (long long)((bytes + (1 << 30) - 1) >> 30));
    }
    return 0;
}

static int refuse_fault(const struct spec_volume *volume, const char *path, enum fault fault,
    uint64_t used, struct error *err)
{
    static const char *const words[] = {[VOLUME_GONE] = "is gone",
        [VOLUME_CUT] = "is cut off",
        [VOLUME_EMPTY] = "was replaced: it is empty"};
    (void)error_set(err, ERR_OVERLAY,
        "volume '%s': '%s' %s, and had %llu bytes when a VM last used it", volume->name, path,
        words[fault], (unsigned long long)used);
    return error_help(err,
        "restore it from a backup; or, for a new and empty volume: %s%s%svmctl volume rm %s; then "
        "start the VM",
        fault == VOLUME_GONE ? "" : "rm '", fault == VOLUME_GONE ? "" : path,
        fault == VOLUME_GONE ? "" : "'; ", volume->name);
}

static int make_missing(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct volume_work *work = context;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < work->spec->n_volumes; i++) {
        const struct spec_volume *volume = &work->spec->volumes[i];
        cleanup_free char *path = volume_path(&work->paths, volume->name);
        int64_t bytes = volume_bytes(&work->paths, volume->name);
        uint64_t used = work->used_bytes[i];
        enum fault fault = find_fault(&work->paths, volume->name, used);
        if (fault != VOLUME_WHOLE) {
            return refuse_fault(volume, path, fault, used, err);
        }
        rc = bytes != VOLUME_IS_MISSING ? check_volume(volume, bytes, path, err)
                                        : make_volume(path, volume, is_cancelled, err);
    }
    return rc;
}

static void free_volume_work(void *context)
{
    struct volume_work *work = context;
    free(work->paths.data_dir);
    vm_spec_free(work->spec);
    free(work->used_bytes);
    free(work);
}

struct op *volumes_make(const struct vm_env *env, op_done_fn *done, void *context)
{
    struct volume_work *work = mem_new(struct volume_work);
    work->paths.data_dir = mem_strdup(env->host->paths->data_dir);
    work->spec = vm_spec_copy(env->spec);
    work->used_bytes = mem_calloc(env->spec->n_volumes + 1, sizeof(*work->used_bytes));
    for (size_t i = 0; i < env->spec->n_volumes; i++) {
        work->used_bytes[i] = used_bytes(env->host, env->spec->volumes[i].name);
    }
    return pool_start(env->host->pool, make_missing, free_volume_work, work, done, context);
}

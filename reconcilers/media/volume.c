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
#include "reconcilers/media/new_file.h"
#include "reconcilers/trash/trash.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/image/qcow2.h"
#include "specs/image/volume_file.h"

/* What pool work may touch. */
struct volume_work {
    struct paths paths;
    struct vm_spec *spec;
};

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
        if (!vm_spec_volume(running, volume->name) && !is_right(env->host->paths, volume)) {
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
    int rc = is_there ? 0 : error_set_errno(err, ERR_IO, errno, "cannot make '%s'", path);
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
            "volume '%s': '%s' is no qcow2 file, or one that needs another file", volume->name,
            path);
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

static int make_missing(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct volume_work *work = context;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < work->spec->n_volumes; i++) {
        const struct spec_volume *volume = &work->spec->volumes[i];
        cleanup_free char *path = volume_path(&work->paths, volume->name);
        int64_t bytes = volume_bytes(&work->paths, volume->name);
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
    free(work);
}

struct op *volumes_make(const struct vm_env *env, op_done_fn *done, void *context)
{
    struct volume_work *work = mem_new(struct volume_work);
    work->paths.data_dir = mem_strdup(env->host->paths->data_dir);
    work->spec = vm_spec_copy(env->spec);
    return pool_start(env->host->pool, make_missing, free_volume_work, work, done, context);
}

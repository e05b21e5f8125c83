/* SPDX-License-Identifier: MPL-2.0 */
/* What a snapshot of a disk in use needs besides the copy, which the hypervisor makes. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "controller/loop/pool.h"
#include "specs/image/image_inspect.h"
#include "reconcilers/media/disk_files.h"
#include "reconcilers/media/new_file.h"
#include "reconcilers/media/snapshot.h"
#include "reconcilers/trash/trash.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/image/qcow2.h"
#include "specs/image/volume_file.h"

/* What pool work may touch. */
struct live_work {
    char *dir;       /* of the snapshots */
    char *overlay;   /* the disk, or a volume */
    char *vm_dir;    /* what belongs to the disk is copied from here … */
    char *stem;      /* … to there; NULL: nothing is */
    char *made;      /* the new overlay */
    bool is_partial; /* over nothing */
    char *path;      /* its name once it is complete */
};

static void free_live_work(void *context)
{
    struct live_work *work = context;
    free(work->dir);
    free(work->overlay);
    free(work->vm_dir);
    free(work->stem);
    free(work->made);
    free(work->path);
    free(work);
}

/* Before it takes from running VMs what they need. Who knows how long a partial one will be. */
static int check_room_for_copy(const struct live_work *work, struct error *err)
{
    enum { BLOCK = 512 };
    struct stat disk;
    cleanup_close int dir = open(work->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (work->is_partial || dir < 0 || stat(work->overlay, &disk) < 0 ||
        fs_has_room(dir, (uint64_t)disk.st_blocks * BLOCK)) {
        return 0;
    }
    (void)error_set(err, ERR_NO_SPACE, "a copy of '%s' would need %lld MiB", work->overlay,
        (long long)disk.st_blocks * BLOCK >> 20);
    return error_help(err, "make room, then try again; see: df -h %s", work->dir);
}

/* Over the same base, or none, as large, and empty. */
static int make_overlay(
    const struct live_work *work, const atomic_bool *is_cancelled, struct error *err)
{
    struct image_info disk, base = {.format = IMAGE_QCOW2};
    struct qcow2_overlay image;
    int rc = image_inspect(work->overlay, &disk, err);
    const char *backing = rc == 0 && disk.backing[0] && !work->is_partial ? disk.backing : NULL;
    rc = rc == 0 && backing ? image_inspect(backing, &base, err) : rc;
    rc = rc < 0 ? rc
                : qcow2_make_overlay(backing, backing ? image_format_name(base.format) : NULL,
                      disk.virtual_size, &image, err);
    const struct file_part parts[] = {{0, image.head, sizeof(image.head)},
        {QCOW2_CLUSTER, image.refcount_table, sizeof(image.refcount_table)},
        {2 * QCOW2_CLUSTER, image.refcounts, sizeof(image.refcounts)}};
    return rc < 0 ? rc
                  : new_file_make(work->made, 0600, image.file_size, parts, ARRAY_LEN(parts),
                        is_cancelled, err);
}

static int make_target(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct live_work *work = context;
    int rc = fs_make_dirs(work->dir, 0700, err);
    removal_sweep_temporary(work->dir);
    rc = rc < 0 ? rc : check_room_for_copy(work, err);
    rc = rc < 0 || !work->stem ? rc : disk_files_save(work->vm_dir, work->stem, is_cancelled, err);
    return rc < 0 ? rc : make_overlay(work, is_cancelled, err);
}

struct op *snapshot_make_target(struct reconciler_host *host, const char *vm_name,
    const struct snapshot_order *order, const char *made, bool is_partial, op_done_fn *done,
    void *context)
{
    const struct paths *paths = host->paths;
    const char *volume = order->volume[0] ? order->volume : NULL;
    struct live_work *work = mem_new(struct live_work);
    *work = (struct live_work){.dir = paths_in_vm(paths, vm_name, "snapshots"),
        .overlay = volume ? volume_path(paths, volume) : paths_vm(paths, vm_name, VM_OVERLAY),
        .vm_dir = paths_vm(paths, vm_name, VM_DIR),
        .made = mem_strdup(made),
        .is_partial = is_partial};
    work->stem = volume ? NULL : fs_join(work->dir, order->token);
    return pool_start(host->pool, make_target, free_live_work, work, done, context);
}

static int publish(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct live_work *work = context;
    (void)is_cancelled;
    return fs_publish(work->made, work->path, 0600, err);
}

struct op *snapshot_publish(struct reconciler_host *host, const char *made, const char *path,
    op_done_fn *done, void *context)
{
    struct live_work *work = mem_new(struct live_work);
    *work = (struct live_work){.made = mem_strdup(made), .path = mem_strdup(path)};
    return pool_start_in(host->pool, POOL_BULK, publish, free_live_work, work, done, context);
}

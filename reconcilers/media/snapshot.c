/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/loop/child.h"
#include "controller/loop/pool.h"
#include "reconcilers/media/disk_files.h"
#include "reconcilers/media/file_copy.h"
#include "reconcilers/media/imported.h"
#include "reconcilers/template/template_files.h"
#include "reconcilers/trash/trash.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/digest.h"
#include "specs/base/file_stamp.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/image/image_inspect.h"
#include "specs/vm/media_digest.h"

/* What pool work may touch. */
struct snapshot_work {
    enum snapshot_verb verb;
    char *dir;      /* of the snapshots */
    char *vm_dir;   /* the VM's … */
    char *overlay;  /* … and its disk */
    char *token;    /* names the files that are made */
    char *file;     /* of the snapshot that is restored or removed; NULL: of none; of a clone: its
                     * path */
    bool is_taken;  /* … which becomes the disk … */
    uint64_t bytes; /* … and has so many; also of one that is restored */
    struct {
        char *vm, *name;     /* for messages */
        uint64_t disk_bytes; /* 0: not recorded */
        char *base;          /* NULL: it lies on none, or that is not recorded … */
        char *present_base;  /* … and that of the VM's disk */
    } recorded;
    char *stale; /* of what the restore before replaced; NULL: there was none */
};

char *snapshot_path(const struct paths *paths, const char *vm_name, const char *file)
{
    cleanup_free char *relative = mem_printf("snapshots/%s.qcow2", file);
    return paths_in_vm(paths, vm_name, relative);
}

static char *path_of(const struct snapshot_work *work, const char *file, const char *ending)
{
    return mem_printf("%s/%s%s", work->dir, file, ending);
}

/* ---- on the pool ---- */

static int remove_files(const struct snapshot_work *work, const char *file, struct error *err)
{
    cleanup_free char *disk = path_of(work, file, ".qcow2"), *stem = path_of(work, file, "");
    int rc = fs_remove_file(disk, err);
    return rc < 0 ? rc : disk_files_remove(stem, err);
}

static int create(
    const struct snapshot_work *work, const atomic_bool *is_cancelled, struct error *err)
{
    cleanup_free char *disk = path_of(work, work->token, ".qcow2");
    cleanup_free char *stem = path_of(work, work->token, "");
    struct error ignored = {.code = ERR_NONE};
    int rc = disk_files_save(work->vm_dir, stem, is_cancelled, err);
    rc = rc < 0 ? rc : file_copy(work->overlay, disk, is_cancelled, err);
    if (rc < 0) {
        (void)remove_files(work, work->token, &ignored);
    }
    return rc;
}

/* The present disk is a snapshot, too, from before it is replaced. Its file is the mark that this
 * is done: done again after the replacement, it would keep the wrong disk. */
static int keep_present(
    const struct snapshot_work *work, const atomic_bool *is_cancelled, struct error *err)
{
    cleanup_free char *disk = path_of(work, work->token, ".qcow2");
    cleanup_free char *stem = path_of(work, work->token, "");
    if (fs_exists(disk) || !fs_exists(work->overlay)) {
        return 0;
    }
    int rc = disk_files_save(work->vm_dir, stem, is_cancelled, err);
    if (rc == 0 && link(work->overlay, disk) < 0) {
        rc = error_set_errno(err, ERR_IO, errno, "cannot keep '%s'", work->overlay);
    }
    return rc < 0 ? rc : fs_sync_dir_of(disk, err);
}

static bool is_present_disk(const struct snapshot_work *work, const char *disk)
{
    struct stat file, present;
    return lstat(disk, &file) == 0 && lstat(work->overlay, &present) == 0 &&
           file.st_ino == present.st_ino && file.st_dev == present.st_dev;
}

/* Of a restore that failed before it replaced the disk: that has the name it had, and gets back
 * what belongs to it. */
static void forget_kept(const struct snapshot_work *work)
{
    static const atomic_bool never = false;
    cleanup_free char *disk = path_of(work, work->token, ".qcow2");
    cleanup_free char *stem = path_of(work, work->token, "");
    struct error err = {.code = ERR_NONE};
    if (!is_present_disk(work, disk)) {
        return;
    }
    if (disk_files_restore(work->vm_dir, stem, &never, &err) < 0) {
        log_warn("snapshot", "'%s' stays, with the disk's data: %s", stem, err.message);
    } else {
        (void)remove_files(work, work->token, &err);
    }
}

static int refuse_file(
    const struct snapshot_work *work, const char *path, const char *what, struct error *err)
{
    const char *vm = work->recorded.vm, *name = work->recorded.name;
    (void)error_set(err, ERR_OVERLAY, "snapshot '%s' of vm '%s': '%s' %s", name, vm, path, what);
    return error_help(err,
        "restore the file from a backup, or remove the snapshot: vmctl snapshot rm %s %s", vm,
        name);
}

/* Nothing writes to it once it is made. One that is gone is found when it is to be copied. */
static int check_snapshot_file(
    const struct snapshot_work *work, const char *path, struct error *err)
{
    enum { NOT_KNOWN = 1 }; /* of one whose file could not be looked at when it was recorded */
    int64_t size = fs_size(path);
    struct image_info info;
    struct error cause = {.code = ERR_NONE};
    bool is_known = work->bytes > NOT_KNOWN;
    if (size >= 0 && is_known && (uint64_t)size != work->bytes) {
        cleanup_free char *what =
            mem_printf("was cut off or replaced: it had %llu bytes and has %lld",
                (unsigned long long)work->bytes, (long long)size);
        return refuse_file(work, path, what, err);
    }
    if (size < 0 || !work->recorded.disk_bytes) {
        return 0;
    }
    int rc = is_known ? image_inspect(path, &info, &cause)
                      : image_inspect_whole(path, path, &info, &cause);
    if (rc < 0 || info.format != IMAGE_QCOW2) {
        return refuse_file(
            work, path, "was replaced or damaged: it is not a complete qcow2 file", err);
    }
    if (info.virtual_size < work->recorded.disk_bytes) {
        return refuse_file(work, path, "was replaced: its disk is smaller", err);
    }
    if (work->recorded.base && !text_eq(info.backing, work->recorded.base) &&
        !text_eq(info.backing, work->recorded.present_base)) {
        return refuse_file(work, path, "was replaced: it has another base image", err);
    }
    return 0;
}

static void take_record(struct snapshot_work *work, const struct paths *paths, const char *vm_name,
    const struct vm_snapshot *snapshot)
{
    work->bytes = snapshot->bytes;
    work->recorded.vm = mem_strdup(vm_name);
    work->recorded.name = mem_strdup(snapshot->name);
    work->recorded.disk_bytes = snapshot->prepared.disk_bytes;
    work->recorded.base = template_base(paths, &snapshot->prepared);
}

/* What the last restore replaced changes places with the present disk, at once: its file is gone
 * once that is done. Of another snapshot a copy is put in the place, and what the restore before
 * replaced goes. */
static int restore(
    const struct snapshot_work *work, const atomic_bool *is_cancelled, struct error *err)
{
    cleanup_free char *disk = path_of(work, work->file, ".qcow2");
    cleanup_free char *stem = path_of(work, work->file, "");
    cleanup_free char *kept = path_of(work, work->token, ".qcow2");
    cleanup_free char *made = NULL;
    removal_sweep_temporary(work->vm_dir); /* the copy of one that was killed */
    bool is_swap = text_eq(work->file, work->stale);
    bool is_gone = is_swap && !fs_exists(disk);
    bool is_swapped = is_gone && fs_exists(kept) && !is_present_disk(work, kept);
    int rc = is_gone && !is_swapped ? refuse_file(work, disk, "is gone", err)
                                    : check_snapshot_file(work, disk, err);
    rc = rc < 0 || is_swap ? rc : file_copy_aside(disk, work->overlay, &made, is_cancelled, err);
    rc = rc < 0 ? rc : keep_present(work, is_cancelled, err);
    rc = rc < 0 ? rc : disk_files_restore(work->vm_dir, stem, is_cancelled, err);
    if (rc == 0 && !is_swapped) {
        rc = fs_publish(is_swap ? disk : made, work->overlay, 0600, err);
    }
    if (rc < 0) {
        (void)(made && unlink(made));
        forget_kept(work);
        return rc;
    }
    if (work->stale && remove_files(work, work->stale, err) < 0) {
        /* The disk is the snapshot's already: nothing must say that it is not. */
        log_warn("snapshot", "%s", err->message);
        error_clear(err);
    }
    return 0;
}

static int do_snapshot(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct snapshot_work *work = context;
    int rc = fs_make_dirs(work->dir, 0700, err);
    removal_sweep_temporary(work->dir);
    if (rc < 0 || work->verb == SNAPSHOT_REMOVE) {
        return rc < 0 ? rc : remove_files(work, work->file, err);
    }
    return work->verb == SNAPSHOT_CREATE ? create(work, is_cancelled, err)
                                         : restore(work, is_cancelled, err);
}

int snapshot_keep(const struct vm_env *env, const char *file, struct error *err)
{
    const struct paths *paths = env->host->paths;
    cleanup_free char *disk = snapshot_path(paths, env->name, file);
    cleanup_free char *dir = paths_in_vm(paths, env->name, "snapshots");
    cleanup_free char *stem = fs_join(dir, file), *vm_dir = paths_vm(paths, env->name, VM_DIR);
    cleanup_free char *present_disk = paths_vm(paths, env->name, VM_OVERLAY);
    const atomic_bool is_cancelled = false;
    char stamp[DIGEST_SIZE];
    bool is_next = env->status->replacement_stamp[0] && file_stamp(present_disk, stamp) &&
                   text_eq(stamp, env->status->replacement_stamp);
    if (fs_exists(disk) || !fs_exists(present_disk) || is_next) {
        return 0;
    }
    int rc = fs_make_dirs(dir, 0700, err);
    rc = rc < 0 ? rc : disk_files_save(vm_dir, stem, &is_cancelled, err);
    if (rc == 0 && link(present_disk, disk) < 0) {
        rc = error_set_errno(err, ERR_IO, errno, "cannot keep '%s'", present_disk);
    }
    return rc < 0 ? rc : fs_sync_dir_of(disk, err);
}

static void free_snapshot_work(void *context)
{
    struct snapshot_work *work = context;
    free(work->dir);
    free(work->overlay);
    free(work->vm_dir);
    free(work->token);
    free(work->file);
    free(work->recorded.vm);
    free(work->recorded.name);
    free(work->recorded.base);
    free(work->recorded.present_base);
    free(work->stale);
    free(work);
}

/* ---- a bitmap that begins with the copy ---- */

enum { MARK_MS = 60000, MARK_OUTPUT_MAX = 4 << 20 };

struct marking {
    struct op op; /* first */
    struct reconciler_host *host;
    struct snapshot_work *work; /* NULL: the copy has it */
    struct snapshot_order order;
    json_t *stale; /* names of bitmaps that no backup will ask for */
    struct op *stage;
};

static void marking_cancel(struct op *op)
{
    struct marking *self = (struct marking *)(void *)op;
    op_cancel(self->stage);
    if (self->work) {
        free_snapshot_work(self->work);
    }
    json_decref(self->stale);
    free(self);
}

static void marking_copied(void *context, const struct error *err)
{
    struct marking *self = context;
    self->stage = NULL;
    op_finish(&self->op, err);
}

/* Done twice, it is there already, and no guest has run. Where it cannot be made the next backup is
 * one of the whole disk. */
static void disk_marked(void *context, const struct error *err, const char *output)
{
    struct marking *self = context;
    (void)err;
    (void)output;
    self->stage = pool_start_in(self->host->pool, POOL_BULK, do_snapshot, free_snapshot_work,
        TAKE_PTR(self->work), marking_copied, self);
}

static void mark(struct marking *self, const char *verb, const char *bitmap, child_done_fn *done)
{
    const char *argv[] = {
        "qemu-img", "bitmap", verb, "-f", "qcow2", self->work->overlay, bitmap, NULL};
    struct child_request request = {.argv = argv, .timeout_ms = MARK_MS};
    self->stage = child_start(self->host->loop, &request, done, self);
}

/* One that stays costs room, and is met again. */
static void bitmap_removed(void *context, const struct error *err, const char *output)
{
    struct marking *self = context;
    size_t n = json_array_size(self->stale);
    (void)err;
    (void)output;
    if (n == 0) {
        mark(self, "--add", self->order.name, disk_marked);
        return;
    }
    mark(self, "--remove", json_string_value(json_array_get(self->stale, n - 1)), bitmap_removed);
    (void)json_array_remove(self->stale, n - 1);
}

/* All of ours but the one that the last backup began: the copy may get lost, and the next is on
 * that again. */
static void bitmaps_listed(void *context, const struct error *err, const char *output)
{
    struct marking *self = context;
    cleanup_json json_t *info = err ? NULL : json_loads(output, JSON_DISABLE_EOF_CHECK, NULL);
    const json_t *data = json_object_get(json_object_get(info, "format-specific"), "data");
    const json_t *bitmaps = json_object_get(data, "bitmaps");
    self->stale = json_array();
    for (size_t i = 0; i < json_array_size(bitmaps); i++) {
        const char *name = json_text(json_array_get(bitmaps, i), "name");
        if (name && text_starts_with(name, SNAPSHOT_PASSING) && !text_eq(name, self->order.name) &&
            !text_eq(name, self->order.since)) {
            (void)json_array_append_new(self->stale, json_string(name));
        }
    }
    bitmap_removed(self, NULL, NULL);
}

static struct op *mark_and_copy(const struct vm_env *env, struct snapshot_work *work_take,
    const struct snapshot_order *order, op_done_fn *done, void *context)
{
    const char *argv[] = {
        "qemu-img", "info", "--output", "json", "-f", "qcow2", work_take->overlay, NULL};
    struct child_request request = {
        .argv = argv, .timeout_ms = MARK_MS, .output_max = MARK_OUTPUT_MAX};
    struct marking *self = mem_new(struct marking);
    *self = (struct marking){.op = {marking_cancel, done, context},
        .host = env->host,
        .work = work_take,
        .order = *order};
    self->stage = child_start(env->host->loop, &request, bitmaps_listed, self);
    return &self->op;
}

struct op *snapshot_start(
    const struct vm_env *env, const struct snapshot_order *order, op_done_fn *done, void *context)
{
    const struct paths *paths = env->host->paths;
    const struct vm_snapshot *meant = vm_status_snapshot(env->status, order->name);
    const struct vm_snapshot *stale = vm_status_snapshot(env->status, SNAPSHOT_BEFORE_RESTORE);
    struct snapshot_work *work = mem_new(struct snapshot_work);
    *work = (struct snapshot_work){.verb = order->verb,
        .dir = paths_in_vm(paths, env->name, "snapshots"),
        .overlay = paths_vm(paths, env->name, VM_OVERLAY),
        .vm_dir = paths_vm(paths, env->name, VM_DIR),
        .token = mem_strdup(order->token),
        .file = mem_strdup(meant ? meant->file : NULL),
        .stale = mem_strdup(stale ? stale->file : NULL)};
    if (meant) {
        take_record(work, paths, env->name, meant);
        work->recorded.present_base = template_base(paths, &env->status->prepared);
    }
    if (order->begins_bitmap) {
        return mark_and_copy(env, work, order, done, context);
    }
    return pool_start_in(
        env->host->pool, POOL_BULK, do_snapshot, free_snapshot_work, work, done, context);
}

/* ---- another VM's disk ---- */

/* What was made for the clone alone becomes its disk: killed before that was recorded, the disk is
 * there instead. Nothing has run on it, so it still has the size. */
static int take_passing(const struct snapshot_work *work, struct error *err)
{
    if (rename(work->file, work->overlay) == 0) {
        return fs_sync_dir_of(work->overlay, err);
    }
    if (errno == ENOENT && fs_size(work->overlay) == (int64_t)work->bytes) {
        return 0;
    }
    return error_set_errno(err, errno == ENOENT ? ERR_SNAPSHOT_NOT_FOUND : ERR_IO, errno,
        "cannot take '%s'", work->file);
}

/* One that a restore puts in the place of its VM's disk while it is copied is no snapshot any more:
 * its guest may write to it. */
static int copy_snapshot(
    const struct snapshot_work *work, const atomic_bool *is_cancelled, struct error *err)
{
    struct stat before, after;
    cleanup_free char *made = NULL;
    int rc = check_snapshot_file(work, work->file, err);
    rc = rc < 0 ? rc
         : stat(work->file, &before) < 0
             ? error_set_errno(err, ERR_SNAPSHOT_NOT_FOUND, errno, "cannot copy '%s'", work->file)
             : file_copy_aside(work->file, work->overlay, &made, is_cancelled, err);
    if (rc == 0 && (stat(work->file, &after) < 0 || after.st_ino != before.st_ino)) {
        rc = error_set(err, ERR_SNAPSHOT_NOT_FOUND, "'%s' is gone", work->file);
    }
    rc = rc < 0 ? rc : fs_publish(made, work->overlay, 0600, err);
    (void)(rc < 0 && made && unlink(made));
    return rc;
}

static int do_clone(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct snapshot_work *work = context;
    int rc = fs_make_dirs(work->dir, 0700, err);
    removal_sweep_temporary(work->dir);
    if (rc == 0) {
        cleanup_free char *stem = mem_strndup(work->file, strlen(work->file) - strlen(".qcow2"));
        rc = disk_files_clone(work->vm_dir, stem, is_cancelled, err);
        rc = rc < 0           ? rc
             : work->is_taken ? take_passing(work, err)
                              : copy_snapshot(work, is_cancelled, err);
    }
    return rc == -ERR_SNAPSHOT_NOT_FOUND
               ? error_help(err, "destroy the clone, then clone again: vmctl clone VM NEW")
               : rc;
}

struct op *snapshot_clone(
    const struct vm_env *env, struct vm_prepared *result, op_done_fn *done, void *context)
{
    const struct paths *paths = env->host->paths;
    const struct vm_origin *origin = env->origin;
    spec_media_digest(env->spec, result->digest);
    spec_seed_digest(env->spec, result->seed_digest);
    if (origin->import) {
        return imported_take(env, done, context);
    }
    struct snapshot_work *work = mem_new(struct snapshot_work);
    *work = (struct snapshot_work){.is_taken = origin->is_taken,
        .dir = paths_vm(paths, env->name, VM_DIR),
        .vm_dir = paths_vm(paths, env->name, VM_DIR),
        .overlay = paths_vm(paths, env->name, VM_OVERLAY),
        .file = snapshot_path(paths, origin->vm, origin->snapshot.file)};
    take_record(work, paths, origin->vm, &origin->snapshot);
    return pool_start_in(
        env->host->pool, POOL_BULK, do_clone, free_snapshot_work, work, done, context);
}

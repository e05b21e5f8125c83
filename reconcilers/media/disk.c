/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/loop/child.h"
#include "controller/loop/pool.h"
#include "controller/reconciler.h"
#include "specs/image/image_inspect.h"
#include "reconcilers/media/new_file.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/image/image_format.h"
#include "specs/image/qcow2.h"

enum { QEMU_IMG_TIMEOUT_MS = 120 * 1000 };

enum plan { PLAN_NOTHING, PLAN_REBASE, PLAN_GROW };

/* What pool work may touch. */
struct disk_files {
    char *overlay_path;
    char *image_path;
    char *aside_path;
    uint64_t wanted_bytes; /* 0: as large as the image */
    bool is_in_use;
    bool is_new;
    bool is_moved;
    enum plan plan;           /* out */
    uint64_t bytes;           /* out: of the disk */
    enum image_format format; /* out: of the base */
};

struct disk_maker {
    struct op op; /* first: op_cancel() finds the maker by it */
    struct reconciler_host *host;
    struct op *stage;
    struct disk_files *looked; /* the pool's, while it looks */
    struct disk_files *files;  /* ours, while qemu-img works; NULL before and after */
    uint64_t *ret_bytes;       /* borrowed until `done` */
};

static void free_files(void *context)
{
    struct disk_files *files = context;
    if (files) {
        free(files->overlay_path);
        free(files->image_path);
        free(files->aside_path);
        free(files);
    }
}

static struct disk_files *copy_files(const struct disk_files *from)
{
    struct disk_files *files = mem_dup(from, sizeof(*from));
    files->overlay_path = mem_strdup(from->overlay_path);
    files->image_path = mem_strdup(from->image_path);
    files->aside_path = mem_strdup(from->aside_path);
    return files;
}

static void cancel_maker(struct op *op)
{
    struct disk_maker *maker = (struct disk_maker *)(void *)op;
    op_cancel(maker->stage);
    free_files(maker->files);
    free(maker);
}

/* ---- on the pool: what is to be done; a new overlay is made at once ---- */

static int set_aside(const struct disk_files *files, struct error *err)
{
    cleanup_free char *directory = mem_strdup(files->aside_path);
    if (fs_make_dirs(directory, 0700, err) < 0) {
        return -(int)err->code;
    }
    cleanup_free char *target = fs_join(directory, "overlay.qcow2");
    if (rename(files->overlay_path, target) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot move '%s' aside", files->overlay_path);
    }
    return 0;
}

/* `present`: of the disk, or of the image that a new disk starts as. */
static int check_size(const struct disk_files *files, const char *what,
    const struct image_info *present, struct error *err)
{
    const double gib = 1024.0 * 1024 * 1024;
    if (files->wanted_bytes == 0 || files->wanted_bytes >= present->virtual_size) {
        return 0;
    }
    return error_set(err, ERR_DISK_SHRINK, "disk %.4g GiB is smaller than the %s's %.4g GiB",
        (double)files->wanted_bytes / gib, what, (double)present->virtual_size / gib);
}

/* The overlay names the place where its base was. */
static int plan_rebase(
    struct disk_files *files, const struct image_info *overlay, struct error *err)
{
    struct image_info base;
    int rc = image_inspect(files->image_path, &base, err);
    files->plan = PLAN_REBASE;
    files->format = base.format;
    files->bytes = overlay->virtual_size;
    return rc;
}

static int create_overlay(const struct disk_files *files, enum image_format format,
    const atomic_bool *is_cancelled, struct error *err)
{
    struct qcow2_overlay image;
    const struct file_part parts[] = {{0, image.head, sizeof(image.head)},
        {QCOW2_CLUSTER, image.refcount_table, sizeof(image.refcount_table)},
        {2 * QCOW2_CLUSTER, image.refcounts, sizeof(image.refcounts)}};
    int rc =
        qcow2_make_overlay(files->image_path, image_format_name(format), files->bytes, &image, err);
    if (rc == 0) {
        rc = new_file_make(
            files->overlay_path, 0600, image.file_size, parts, ARRAY_LEN(parts), is_cancelled, err);
    }
    rc = rc < 0 ? rc : fs_sync_dir_of(files->overlay_path, err);
    if (rc == 0) {
        return 0;
    }
    err->code = err->code == ERR_NO_SPACE ? ERR_NO_SPACE : ERR_OVERLAY;
    return error_wrap(err, "cannot create disk '%s'", files->overlay_path);
}

static int disk_look(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    struct disk_files *files = context;
    struct image_info base, overlay = {.backing = ""};
    bool is_there = fs_exists(files->overlay_path);
    if (is_there && image_inspect(files->overlay_path, &overlay, err) < 0) {
        return -(int)err->code;
    }
    if (is_there && files->is_moved && !text_eq(overlay.backing, files->image_path)) {
        return plan_rebase(files, &overlay, err);
    }
    bool is_left = !files->is_new && text_eq(overlay.backing, files->image_path);
    if (is_there && (files->is_in_use || is_left)) {
        bool is_large_enough = files->wanted_bytes <= overlay.virtual_size;
        files->plan = is_large_enough ? PLAN_NOTHING : PLAN_GROW;
        files->bytes = is_large_enough ? overlay.virtual_size : files->wanted_bytes;
        return check_size(files, "present disk", &overlay, err);
    }
    if (image_inspect(files->image_path, &base, err) < 0 ||
        (is_there && set_aside(files, err) < 0)) {
        return -(int)err->code;
    }
    files->plan = PLAN_NOTHING;
    files->bytes = files->wanted_bytes ? files->wanted_bytes : base.virtual_size;
    int rc = check_size(files, "image", &base, err);
    return rc < 0 ? rc : create_overlay(files, base.format, is_cancelled, err);
}

/* ---- on the pool: after qemu-img ---- */

static int sync_overlay(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct disk_files *files = context;
    (void)is_cancelled;
    return fs_sync(files->overlay_path, err);
}

static void on_synced(void *context, const struct error *err)
{
    struct disk_maker *maker = context;
    maker->stage = NULL;
    op_finish(&maker->op, err);
}

/* ---- qemu-img ---- */

static void on_qemu_img(void *context, const struct error *child_err, const char *output)
{
    struct disk_maker *maker = context;
    (void)output;
    maker->stage = NULL;
    if (child_err) {
        struct error err = {0};
        child_error(&err, ERR_OVERLAY, child_err, "cannot %s disk '%s'",
            maker->files->plan == PLAN_GROW ? "grow" : "move the base of",
            maker->files->overlay_path);
        op_finish(&maker->op, &err);
        return;
    }
    maker->stage = pool_start(
        maker->host->pool, sync_overlay, free_files, TAKE_PTR(maker->files), on_synced, maker);
}

static struct op *start_qemu_img(struct disk_maker *maker)
{
    struct disk_files *files = maker->files;
    char size[24];
    snprintf(size, sizeof(size), "%llu", (unsigned long long)files->wanted_bytes);
    const char *grow[] = {
        "qemu-img", "resize", "-q", "-f", "qcow2", files->overlay_path, size, NULL};
    /* Only the name is written: the bytes are the same. */
    const char *rebase[] = {"qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-F",
        image_format_name(files->format), "-b", files->image_path, files->overlay_path, NULL};
    struct child_request request = {
        .argv = files->plan == PLAN_GROW ? grow : rebase, .timeout_ms = QEMU_IMG_TIMEOUT_MS};
    return child_start(maker->host->loop, &request, on_qemu_img, maker);
}

static void on_looked(void *context, const struct error *err)
{
    struct disk_maker *maker = context;
    maker->stage = NULL;
    const struct disk_files *looked = maker->looked;
    if (!err && maker->ret_bytes) {
        *maker->ret_bytes = looked->bytes;
    }
    if (err || looked->plan == PLAN_NOTHING) {
        op_finish(&maker->op, err);
        return;
    }
    maker->files = copy_files(looked);
    maker->stage = start_qemu_img(maker);
}

struct op *disk_make(struct reconciler_host *host, const struct disk_request *request,
    op_done_fn *done, void *context)
{
    struct disk_files files = {
        .wanted_bytes = (uint64_t)request->disk_gib << 30,
        .is_in_use = request->is_in_use,
        .is_new = request->is_new,
        .is_moved = request->is_moved,
    };
    struct disk_maker *maker = mem_new(struct disk_maker);
    maker->op = (struct op){cancel_maker, done, context};
    maker->host = host;
    maker->ret_bytes = request->ret_bytes;
    maker->looked = mem_dup(&files, sizeof(files));
    maker->looked->overlay_path = mem_strdup(request->overlay_path);
    maker->looked->image_path = mem_strdup(request->image_path);
    maker->looked->aside_path = mem_strdup(request->aside_path);
    maker->stage = pool_start(host->pool, disk_look, free_files, maker->looked, on_looked, maker);
    return &maker->op;
}

/* ---- before a start ---- */

struct disk_check {
    char *vm_name, *overlay_path, *image_path, *moved_path;
    bool has_vmfile;
    uint64_t disk_bytes, file_bytes;
};

static void free_check(void *context)
{
    struct disk_check *check = context;
    free(check->vm_name);
    free(check->overlay_path);
    free(check->image_path);
    free(check->moved_path);
    free(check);
}

/* What `create` made has no VMFile that says what its next disk is to be. free() it. */
static char *describe_new_disk(const struct disk_check *check)
{
    return check->has_vmfile
               ? mem_printf("vmctl reload --name %s", check->vm_name)
               : mem_printf("vmctl destroy %s, then create, clone or import it", check->vm_name);
}

static int refuse_disk(const struct disk_check *check, const char *what, struct error *err)
{
    cleanup_free char *new_disk = describe_new_disk(check);
    error_set(err, ERR_OVERLAY, "the disk '%s' %s", check->overlay_path, what);
    return error_help(err,
        "restore it from a backup (then: vmctl start %s), or give the VM a new disk, which loses "
        "the data of this one: %s",
        check->vm_name, new_disk);
}

bool disk_has_no_data(const char *path)
{
    uint8_t head[QCOW2_HEADER_SIZE];
    struct qcow2_header header;
    struct error ignored = {.code = ERR_NONE};
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);
    if (n < 0 || qcow2_parse(head, (size_t)n, &header, &ignored) < 0) {
        return false;
    }
    for (uint32_t i = 0; i < header.n_l1_entries; i++) {
        uint64_t entry = 0;
        if (pread(fd, &entry, sizeof(entry), (off_t)(header.l1_offset + i * sizeof(entry))) !=
                sizeof(entry) ||
            entry) {
            return false;
        }
    }
    return true;
}

/* A file that is shorter than it was and lacks clusters that its tables name: QEMU would read zeros
 * there. After a lost power it may lack some that the guest had not flushed, but then it is not
 * shorter than when the last instance ended. */
static int check_length(const struct disk_check *check, struct error *err)
{
    int64_t size = fs_size(check->overlay_path);
    struct image_info info;
    if (size < 0 || (uint64_t)size >= check->file_bytes) {
        return 0;
    }
    struct error cut = {0};
    if (image_inspect_whole(check->overlay_path, check->overlay_path, &info, &cut) == 0) {
        return disk_has_no_data(check->overlay_path)
                   ? refuse_disk(check, "was replaced: it is empty", err)
                   : 0; /* restored from a backup */
    }
    cleanup_free char *new_disk = describe_new_disk(check);
    error_set(err, ERR_OVERLAY, "the disk '%s' is cut off: it had %llu bytes and has %lld",
        check->overlay_path, (unsigned long long)check->file_bytes, (long long)size);
    return error_help(err,
        "restore it from a backup; or keep the rest, padded with zeros: truncate -s %llu %s; or "
        "give the VM a new disk: %s",
        (unsigned long long)check->file_bytes, check->overlay_path, new_disk);
}

static int disk_look_before_start(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct disk_check *check = context;
    struct image_info info;
    struct error unreadable = {0};
    (void)is_cancelled;
    if (!fs_exists(check->overlay_path)) {
        return refuse_disk(check, "is gone", err);
    }
    if (image_inspect(check->overlay_path, &info, &unreadable) < 0 || info.format != IMAGE_QCOW2) {
        return refuse_disk(check, "was replaced or damaged: it is not a qcow2 file", err);
    }
    if (info.virtual_size < check->disk_bytes) {
        return refuse_disk(check, "was replaced: it is smaller than the disk that was used", err);
    }
    if (check->image_path && !text_eq(info.backing, check->image_path) &&
        !text_eq(info.backing, check->moved_path)) {
        return refuse_disk(check, "was replaced: it has another base image", err);
    }
    return check_length(check, err);
}

struct op *disk_check(
    struct reconciler_host *host, const struct disk_record *record, op_done_fn *done, void *context)
{
    struct disk_check *check = mem_new(struct disk_check);
    *check = (struct disk_check){
        .vm_name = mem_strdup(record->vm_name),
        .has_vmfile = record->has_vmfile,
        .overlay_path = mem_strdup(record->overlay_path),
        .image_path = mem_strdup(record->image_path),
        .moved_path = mem_strdup(record->moved_path),
        .disk_bytes = record->disk_bytes,
        .file_bytes = record->file_bytes,
    };
    return pool_start(host->pool, disk_look_before_start, free_check, check, done, context);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* Media without content: files that exist or not, and digests that identify their content. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reconcilers/backend/noop/noop.h"
#include "reconcilers/media/snapshot.h"
#include "reconcilers/template/template_files.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/vm_name.h"

static void image_digest(const struct vm_spec *spec, char *ret_hex)
{
    digest_text(spec->image.location ? spec->image.location : "", ret_hex);
}

static char *path_of_image(const struct reconciler_host *host, const char *digest)
{
    return mem_printf("%s/noop/images/%s", host->paths->data_dir, digest);
}

static char *path_of_disk(const struct reconciler_host *host, const char *vm_name)
{
    return paths_in_vm(host->paths, vm_name, "noop.disk");
}

char *noop_path_of_use(const struct reconciler_host *host, const char *vm_name)
{
    return paths_in_vm(host->paths, vm_name, "noop.used");
}

static bool has_image(const struct vm_env *env)
{
    char digest[DIGEST_SIZE];
    image_digest(env->spec, digest);
    cleanup_free char *path = path_of_image(env->host, digest);
    return fs_exists(path);
}

static void observe_disk(const struct vm_env *env, struct media_facts *ret)
{
    char wanted[DIGEST_SIZE];
    const struct vm_prepared *prepared = &env->status->prepared;
    cleanup_free char *disk = path_of_disk(env->host, env->name);
    if (prepared->digest[0] && fs_exists(disk)) {
        image_digest(env->spec, wanted);
        ret->disk = env->spec->disk_gib > prepared->disk_gib ? DISK_TO_GROW : DISK_READY;
        ret->is_outdated = !text_eq(prepared->digest, wanted);
        ret->is_image_changed = noop_script_flag(env->host, env->name, "imageChanged");
        ret->has_image = !ret->is_image_changed;
    }
}

static void noop_observe(const struct vm_env *env, struct media_facts *ret)
{
    cleanup_free char *dir = paths_vm(env->host->paths, env->name, VM_DIR);
    int64_t free_mib = noop_script_int(env->host, env->name, "freeMib", 1 << 20);
    *ret = (struct media_facts){.free_bytes = free_mib << 20};
    if (env->spec) {
        observe_disk(env, ret);
        ret->has_image = ret->has_image || has_image(env);
    }
    ret->has_dir = ret->disk != DISK_NONE || fs_exists(dir); /* a disk is in it */
}

/* One operation, and where its results go when it succeeds. */
struct noop_media_work {
    struct op op; /* first: the caller holds a pointer to it */
    struct op *timer;
    struct reconciler_host *host;
    char *name;
    char *location;
    uint32_t disk_gib;
    uint32_t tries;
    struct image_result *image;
    struct vm_prepared *prepared;
    char *snapshot; /* path of its file, made, removed or taken; NULL: none of them */
    bool removes;
};

static void cancel_work(struct op *op)
{
    struct noop_media_work *work = (struct noop_media_work *)(void *)op;
    op_cancel(work->timer);
    free(work->name);
    free(work->location);
    free(work->snapshot);
    free(work);
}

static void fetched(void *context)
{
    struct noop_media_work *work = context;
    struct error ignored = {.code = ERR_NONE};
    work->image->path = mem_strdup(work->location);
    digest_text(work->location, work->image->id);
    cleanup_free char *dir = paths_path(work->host->paths, "noop/images");
    cleanup_free char *path = path_of_image(work->host, work->image->id);
    if (!fs_exists(path) && fs_make_dirs(dir, 0700, &ignored) == 0) {
        noop_write_file(path, "");
    }
}

/* An existing disk is completed, never recreated. */
static void prepared(void *context)
{
    struct noop_media_work *work = context;
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *dir = paths_vm(work->host->paths, work->name, VM_DIR);
    cleanup_free char *disk = path_of_disk(work->host, work->name);
    cleanup_free char *text =
        mem_printf("%lld\n", (long long)clock_monotonic_ms(work->host->clock));
    if (fs_make_dirs(dir, 0700, &ignored) == 0 && !fs_exists(disk)) {
        noop_write_file(disk, text);
    }
    digest_text(work->location, work->prepared->digest);
    work->prepared->disk_gib = work->disk_gib;
}

static void work_done(void *context, const struct error *err)
{
    struct noop_media_work *work = context;
    work->timer = NULL;
    op_finish(&work->op, err);
}

static struct noop_media_work *new_work(const struct vm_env *env, op_done_fn *done, void *context)
{
    struct noop_media_work *work = mem_new(struct noop_media_work);
    work->op = (struct op){cancel_work, done, context};
    work->host = env->host;
    work->name = mem_strdup(env->name);
    work->location = mem_strdup(env->spec->image.location ? env->spec->image.location : "");
    work->disk_gib = env->spec->disk_gib;
    return work;
}

/* How the script has the call: how long it takes, and whether and as what it fails. */
static struct op *start_work(struct noop_media_work *work, const char *ms_key, const char *fail_key,
    enum error_code code, void (*effect)(void *))
{
    const struct noop_call call = {
        .host = work->host,
        .vm_name = work->name,
        .ms_key = ms_key,
        .fail_key = fail_key,
        .code = code,
        .tries = &work->tries,
        .effect = effect,
        .effect_context = work,
    };
    work->timer = noop_start(&call, work_done, work);
    return &work->op;
}

static struct op *noop_fetch_image(
    const struct vm_env *env, struct image_result *result, op_done_fn *done, void *context)
{
    struct noop_media_work *work = new_work(env, done, context);
    work->image = result;
    return start_work(work, "fetchMs", "failFetch", ERR_IMAGE_DOWNLOAD, fetched);
}

static struct op *noop_prepare(
    const struct vm_env *env, struct vm_prepared *result, op_done_fn *done, void *context)
{
    struct noop_media_work *work = new_work(env, done, context);
    work->prepared = result;
    return start_work(work, "prepareMs", "failPrepare", ERR_OVERLAY, prepared);
}

static void snapshot_done(void *context)
{
    struct noop_media_work *work = context;
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *dir = paths_in_vm(work->host->paths, work->name, "snapshots");
    if (work->removes && work->snapshot) {
        (void)unlink(work->snapshot);
    } else if (work->snapshot && fs_make_dirs(dir, 0700, &ignored) == 0) {
        noop_write_file(work->snapshot, "noop");
    }
}

static struct op *noop_snapshot(
    const struct vm_env *env, const struct snapshot_order *order, op_done_fn *done, void *context)
{
    struct noop_media_work *work = new_work(env, done, context);
    work->removes = order->verb == SNAPSHOT_REMOVE;
    const struct vm_snapshot *removed =
        work->removes ? vm_status_snapshot(env->status, order->name) : NULL;
    if (!work->removes || removed) {
        work->snapshot =
            snapshot_path(env->host->paths, env->name, removed ? removed->file : order->token);
    }
    return start_work(work, "snapshotMs", "failSnapshot", ERR_IO, snapshot_done);
}

/* What was made for the clone alone becomes its disk. */
static void cloned(void *context)
{
    struct noop_media_work *work = context;
    prepared(work);
    if (work->snapshot) {
        (void)unlink(work->snapshot);
    }
}

static struct op *noop_clone(
    const struct vm_env *env, struct vm_prepared *result, op_done_fn *done, void *context)
{
    const struct vm_origin *origin = env->origin;
    struct noop_media_work *work = new_work(env, done, context);
    work->prepared = result;
    work->snapshot = origin->is_taken && !origin->import
                         ? snapshot_path(env->host->paths, origin->vm, origin->snapshot.file)
                         : NULL;
    return start_work(work, "cloneMs", "failClone", ERR_IO, cloned);
}

static int noop_keep(const struct vm_env *env, const char *file, struct error *err)
{
    cleanup_free char *disk = path_of_disk(env->host, env->name);
    cleanup_free char *kept = snapshot_path(env->host->paths, env->name, file);
    cleanup_free char *dir = mem_strndup(kept, (size_t)(strrchr(kept, '/') - kept));
    if (!fs_exists(disk)) {
        return 0;
    }
    int rc = fs_make_dirs(dir, 0700, err);
    if (rc == 0) {
        noop_write_file(kept, "noop");
    }
    return rc < 0 || fs_exists(kept)
               ? rc
               : error_set_errno(err, ERR_IO, errno, "cannot create '%s'", kept);
}

static struct op *noop_seal(
    const struct vm_env *env, struct template_record *record_take, op_done_fn *done, void *context)
{
    cleanup_free char *disk = path_of_disk(env->host, env->name);
    return template_seal(env, disk, record_take, done, context);
}

static struct op *noop_settle_guest(const struct vm_env *env, op_done_fn *done, void *context)
{
    return start_work(new_work(env, done, context), "settleMs", "failSettle", ERR_IDENTITY, NULL);
}

static struct op *noop_identify_guest(const struct vm_env *env, op_done_fn *done, void *context)
{
    return start_work(
        new_work(env, done, context), "identifyMs", "failIdentify", ERR_IDENTITY, NULL);
}

static int noop_discard(const struct vm_env *env, bool whole_dir, struct error *err)
{
    if (whole_dir) {
        cleanup_free char *flat = vm_name_flat(env->name);
        return fs_remove_beneath(env->host->paths->data_dir, "vms", flat, err);
    }
    cleanup_free char *disk = path_of_disk(env->host, env->name);
    cleanup_free char *used = noop_path_of_use(env->host, env->name);
    int rc = fs_remove_file(disk, err);
    return rc < 0 ? rc : fs_remove_file(used, err);
}

const struct media_ops noop_media_ops = {
    .observe = noop_observe,
    .fetch_image = noop_fetch_image,
    .prepare = noop_prepare,
    .snapshot = noop_snapshot,
    .clone = noop_clone,
    .keep = noop_keep,
    .seal = noop_seal,
    .settle_guest = noop_settle_guest,
    .identify_guest = noop_identify_guest,
    .discard = noop_discard,
};

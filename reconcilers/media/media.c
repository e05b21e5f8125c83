/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/media.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "controller/loop/pool.h"
#include "reconcilers/backend/backend.h"
#include "reconcilers/image/image.h"
#include "reconcilers/image/image_content.h"
#include "reconcilers/image/image_work.h"
#include "reconcilers/media/disk.h"
#include "reconcilers/media/disk_files.h"
#include "reconcilers/media/identify.h"
#include "reconcilers/media/keys.h"
#include "reconcilers/media/seed.h"
#include "reconcilers/media/snapshot.h"
#include "reconcilers/media/volume.h"
#include "reconcilers/template/template_files.h"
#include "reconcilers/trash/trash.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/file_stamp.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/media_digest.h"

/* ---- observing ---- */

static bool has_file(const struct vm_env *env, enum vm_file file)
{
    cleanup_free char *path = paths_vm(env->host->paths, env->name, file);
    return fs_exists(path);
}

static const struct image_contents *contents_of(const struct vm_env *env)
{
    return image_cache_contents(image_cache_of(env->host));
}

/* Whether a base image lies in the cache, where it never changes under its name. */
static bool is_cached(const struct vm_env *env, const char *path)
{
    cleanup_free char *cache = paths_path(env->host->paths, "images/");
    return text_starts_with(path, cache);
}

/* Of a disk that is not in use yet: what it was made on must be as it was. */
static bool is_base_changed(const struct vm_env *env, const struct vm_prepared *prepared)
{
    char stamp[DIGEST_SIZE];
    return is_cached(env, prepared->image_path)
               ? !fs_exists(prepared->image_path)
               : !file_stamp(prepared->image_path, stamp) || !text_eq(stamp, prepared->image_id);
}

/* How a file compares with the base that a disk was made on. */
enum likeness { OTHER_FILE, SAME_FILE, SAME_BYTES, UNHASHED };

/* The sha256 of the base, NULL: not known. Borrowed. */
static const char *wanted_content(const struct vm_env *env, const struct vm_prepared *prepared)
{
    return prepared->image_sha256[0] ? prepared->image_sha256
                                     : image_content_of_stamp(contents_of(env), prepared->image_id);
}

/* By its stamp; else by size and sha256, as far as they are known. */
static enum likeness compare_with_base(
    const struct vm_env *env, const struct vm_prepared *prepared, const char *path)
{
    char stamp[DIGEST_SIZE];
    if (!file_stamp(path, stamp)) {
        return OTHER_FILE;
    }
    if (text_eq(stamp, prepared->image_id)) {
        return SAME_FILE;
    }
    const char *wanted = wanted_content(env, prepared);
    bool is_as_large = !prepared->image_size || fs_size(path) == (int64_t)prepared->image_size;
    if (!wanted || !is_as_large) {
        return OTHER_FILE;
    }
    const char *found = image_content_of_stamp(contents_of(env), stamp);
    return !found ? UNHASHED : text_eq(found, wanted) ? SAME_BYTES : OTHER_FILE;
}

/* Where the base of a disk is now: at its place; or the file that the VMFile names has the same
 * bytes. *ret_path (borrowed): that file, or the one to be hashed. */
static enum likeness find_base(
    const struct vm_env *env, const struct vm_prepared *prepared, const char **ret_path)
{
    const struct spec_image *image = env->spec ? &env->spec->image : NULL;
    const char *named = image && image->kind == IMAGE_FILE ? image->location : NULL;
    const char *const paths[] = {prepared->image_path, named};
    enum likeness found = OTHER_FILE;
    for (size_t i = 0; i < ARRAY_LEN(paths) && (found == OTHER_FILE || found == UNHASHED); i++) {
        enum likeness here = paths[i] ? compare_with_base(env, prepared, paths[i]) : OTHER_FILE;
        if (here != OTHER_FILE && (found == OTHER_FILE || here != UNHASHED)) {
            found = here;
            *ret_path = paths[i];
        }
    }
    return found;
}

/* A base in the cache that is gone can be had again, until the VMFile's image is there and it is
 * still missing. */
static void observe_base(const struct vm_env *env, struct media_facts *facts)
{
    const struct vm_prepared *prepared = &env->status->prepared;
    const char *path = NULL;
    cleanup_free char *base = template_base(env->host->paths, prepared);
    if (prepared->template_digest[0] && !fs_exists(base)) {
        facts->is_image_changed = true;
        return;
    }
    if (is_cached(env, prepared->image_path)) {
        bool is_there = fs_exists(prepared->image_path);
        bool is_in_reach = env->spec && image_is_in_reach(env->host->paths, &env->spec->image);
        facts->is_image_changed = !is_there && is_in_reach;
        facts->has_image = is_there;
        return;
    }
    enum likeness likeness = find_base(env, prepared, &path);
    facts->has_local_base = true;
    facts->is_image_unsure = likeness == UNHASHED;
    facts->is_image_changed = likeness == OTHER_FILE;
    facts->is_identity_due =
        likeness == UNHASHED || (likeness == SAME_FILE && !prepared->image_sha256[0]);
    facts->has_image = likeness == SAME_FILE || likeness == SAME_BYTES;
    bool has_moved = facts->has_image && !text_eq(path, prepared->image_path);
    if (has_moved && prepared->template_digest[0]) { /* the template names the place, and stays */
        facts->is_image_changed = true;
        facts->has_image = false;
    } else if (facts->disk == DISK_READY && has_moved && !env->status->instance.instance_id[0]) {
        facts->disk = DISK_TO_GROW; /* its overlay names the place where the base was */
    }
}

/* Whether what the VMFile names now is, by its bytes, the image of the disk. */
static enum likeness compare_image(const struct vm_env *env, const struct vm_prepared *prepared)
{
    const struct spec_image *image = &env->spec->image;
    cleanup_free char *cached = image_find_cached(env->host->paths, image);
    if (cached && text_eq(cached, prepared->image_path)) {
        return SAME_FILE;
    }
    bool is_pinned_otherwise = image->sha256 && !text_eq(image->sha256, prepared->image_sha256);
    if (image->kind != IMAGE_FILE || cached || is_pinned_otherwise) {
        return OTHER_FILE;
    }
    return text_eq(image->location, prepared->image_path)
               ? SAME_FILE
               : compare_with_base(env, prepared, image->location);
}

static void observe_difference(const struct vm_env *env, struct media_facts *facts)
{
    const struct vm_prepared *prepared = &env->status->prepared;
    char digest[DIGEST_SIZE];
    spec_media_digest(env->spec, digest);
    if (text_eq(digest, prepared->digest)) {
        return;
    }
    spec_seed_digest(env->spec, digest);
    enum likeness likeness = prepared->seed_digest[0] && text_eq(digest, prepared->seed_digest)
                                 ? compare_image(env, prepared)
                                 : OTHER_FILE;
    facts->is_outdated = likeness == OTHER_FILE || likeness == UNHASHED;
    facts->is_identity_due |= likeness == UNHASHED;
}

static enum disk_state disk_state(
    const struct vm_env *env, const struct vm_prepared *prepared, bool is_outdated)
{
    /* A seed that an outdated disk never had is no reason to run its first boot again. */
    bool needs_seed = env->spec && env->spec->cloud_init.is_set && !is_outdated;
    if (prepared->digest[0] && prepared->file_bytes && !has_file(env, VM_OVERLAY)) {
        return DISK_UNCHECKED;
    }
    if (!prepared->digest[0] || !has_file(env, VM_OVERLAY) ||
        (needs_seed && !has_file(env, VM_SEED))) {
        return DISK_NONE;
    }
    return env->spec && env->spec->disk_gib > prepared->disk_gib ? DISK_TO_GROW : DISK_READY;
}

static void observe_file(const struct vm_env *env, struct media_facts *facts)
{
    cleanup_free char *overlay = paths_vm(env->host->paths, env->name, VM_OVERLAY);
    struct statvfs fs;
    facts->disk_file_bytes = fs_size(overlay);
    facts->free_bytes =
        statvfs(overlay, &fs) < 0 ? INT64_MAX : (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    (void)file_stamp(overlay, facts->disk_stamp);
}

/* The disk that prepare_next() made is what the spec asks for now: under its own name, or renamed
 * by a controller that could not record it. */
static bool has_replacement(const struct vm_env *env)
{
    const struct vm_prepared *next = &env->status->replacement;
    char digest[DIGEST_SIZE], stamp[DIGEST_SIZE];
    if (!env->spec || !next->digest[0] || !next->image_path) {
        return false;
    }
    cleanup_free char *overlay = paths_vm(env->host->paths, env->name, VM_OVERLAY);
    cleanup_free char *base = template_base(env->host->paths, next);
    bool is_there = has_file(env, VM_NEXT_OVERLAY) ||
                    (file_stamp(overlay, stamp) && text_eq(stamp, env->status->replacement_stamp));
    spec_media_digest(env->spec, digest);
    return is_there && fs_exists(base) && !is_base_changed(env, next) &&
           text_eq(digest, next->digest) && next->disk_gib == env->spec->disk_gib;
}

static void observe(const struct vm_env *env, struct media_facts *ret)
{
    const struct vm_prepared *prepared = &env->status->prepared;
    struct media_facts facts = {.has_dir = has_file(env, VM_DIR),
        .is_volume_due = env->spec && volumes_are_due(env),
        .has_replacement = has_replacement(env)};
    observe_file(env, &facts);
    if (env->spec && prepared->digest[0]) {
        observe_difference(env, &facts);
    }
    facts.disk = disk_state(env, prepared, facts.is_outdated);
    if (prepared->digest[0] && prepared->image_path && facts.disk_file_bytes >= 0) {
        observe_base(env, &facts);
    }
    /* A disk that is made needs its own base, if any, and not the image that the spec now names. */
    facts.has_image |= facts.is_image_unsure || (prepared->digest[0] && !prepared->image_path) ||
                       (env->spec && image_is_in_reach(env->host->paths, &env->spec->image));
    *ret = facts;
}

/* ---- finding out whether a file has the bytes of a base ---- */

struct identification {
    struct op op; /* first: op_cancel() finds it by it */
    struct op *stage;
    const struct image_contents *contents; /* borrowed: outlives its operations */
    char wanted[DIGEST_SIZE];              /* sha256 of the base; "": not known yet */
    char stamp[DIGEST_SIZE];               /* of the file that is hashed … */
    uint64_t size;                         /* … and its bytes */
    bool is_at_place;                      /* it lies where the base was made use of */
    bool is_base;                          /* its stamp is the recorded one */
    struct vm_prepared *result;            /* borrowed until `done` or a cancel */
};

static void cancel_identification(struct op *op)
{
    struct identification *i = (struct identification *)(void *)op;
    op_cancel(i->stage);
    free(i);
}

/* A base that was copied back or touched is known by its new stamp from now on. */
static void on_identified(void *context, const struct error *err)
{
    struct identification *i = context;
    i->stage = NULL;
    const char *found = err ? NULL : image_content_of_stamp(i->contents, i->stamp);
    if (found && (i->is_base || text_eq(found, i->wanted))) {
        memcpy(i->result->image_sha256, found, DIGEST_SIZE);
        i->result->image_size = i->size;
        if (i->is_at_place) {
            memcpy(i->result->image_id, i->stamp, DIGEST_SIZE);
        }
    }
    op_finish(&i->op, err);
}

/* The base in use first; else the file that may have taken its place, or that the VMFile names. */
static struct op *identify(
    const struct vm_env *env, struct vm_prepared *result, op_done_fn *done, void *context)
{
    const struct vm_prepared *prepared = &env->status->prepared;
    struct image_contents *contents = image_cache_contents(image_cache_of(env->host));
    struct identification *i = mem_new(struct identification);
    i->op = (struct op){cancel_identification, done, context};
    i->contents = contents;
    i->result = result;
    const char *path = prepared->image_path, *wanted = wanted_content(env, prepared);
    enum likeness likeness = find_base(env, prepared, &path);
    bool is_base_known = likeness != UNHASHED && prepared->image_sha256[0];
    path = is_base_known && env->spec ? env->spec->image.location : path;
    (void)file_stamp(path, i->stamp);
    i->size = (uint64_t)(fs_size(path) < 0 ? 0 : fs_size(path));
    i->is_base = text_eq(i->stamp, prepared->image_id);
    i->is_at_place = text_eq(path, prepared->image_path);
    memcpy(i->wanted, wanted ? wanted : "", wanted ? DIGEST_SIZE : 1);
    i->stage = image_content_find(contents, path, on_identified, i);
    return &i->op;
}

/* ---- preparing: directory, keys, overlay, seed, one after the other ---- */

enum step { STEP_DIRECTORY, STEP_KEYS, STEP_DISK, STEP_SEED, STEP_COUNT_ };

struct preparation {
    struct op op; /* first: op_cancel() finds the preparation by it */
    struct reconciler_host *host;
    struct vm_spec *spec;
    char *uid;
    struct vm_prepared recorded; /* what is prepared already; its image_path is ours */
    /* A guest has used these files: only the overlay may still grow, and the seed be made again if
     * it is lost. What they were made from stays what is recorded. */
    bool is_in_use;
    bool is_clone; /* the disk was another VM's */
    bool has_disk; /* else only the seed is made; `result` is NULL */
    bool is_next;  /* prepare_next(): beside files that a guest may be using */
    enum step step;
    struct op *stage;
    struct vm_prepared *result; /* borrowed until `done` or a cancel */
    char *ret_stamp;            /* the same; NULL without is_next */
};

static void cancel_preparation(struct op *op)
{
    struct preparation *p = (struct preparation *)op;
    op_cancel(p->stage);
    vm_spec_free(p->spec);
    free(p->uid);
    free(p->recorded.image_path);
    free(p);
}

static void on_step_done(void *context, const struct error *err);

static char *vm_path(const struct preparation *p, enum vm_file file)
{
    return paths_vm(p->host->paths, p->spec->name, file);
}

/* The steps: an operation, or NULL when there is nothing to do. */

static int make_directory(void *path, const atomic_bool *is_cancelled, struct error *err)
{
    (void)is_cancelled;
    if (fs_make_dirs(path, 0700, err) < 0) {
        return -(int)err->code;
    }
    removal_sweep_temporary(path);
    return 0;
}

/* Those of an earlier recreation that was changed or withdrawn. */
static int remove_next(void *path, const atomic_bool *is_cancelled, struct error *err)
{
    cleanup_free char *overlay = fs_join(path, "next-overlay.qcow2");
    cleanup_free char *seed = fs_join(path, "next-seed.iso");
    int rc = make_directory(path, is_cancelled, err);
    rc = rc < 0 ? rc : fs_remove_file(overlay, err);
    return rc < 0 ? rc : fs_remove_file(seed, err);
}

static bool makes_seed(const struct preparation *p)
{
    cleanup_free char *seed = vm_path(p, VM_SEED);
    char digest[DIGEST_SIZE];
    spec_media_digest(p->spec, digest);
    bool is_same = strcmp(digest, p->recorded.digest) == 0;
    return p->spec->cloud_init.is_set && (!p->is_in_use || (is_same && !fs_exists(seed)));
}

static struct op *start_keys(struct preparation *p)
{
    cleanup_free char *comment = seed_host_alias(p->spec->name);
    cleanup_free char *key = vm_path(p, VM_KEY), *key_public = vm_path(p, VM_KEY_PUBLIC);
    cleanup_free char *host_key = vm_path(p, VM_HOST_KEY);
    cleanup_free char *host_key_public = vm_path(p, VM_HOST_KEY_PUBLIC);
    const struct key_pair pairs[] = {
        {key, key_public, comment}, {host_key, host_key_public, comment}};
    bool are_needed = makes_seed(p) && vm_spec_has_our_seed(p->spec);
    return !are_needed || (keys_exist(&pairs[0]) && keys_exist(&pairs[1]))
               ? NULL
               : keys_make(p->host, pairs, ARRAY_LEN(pairs), on_step_done, p);
}

/* The base of a disk in use, which its overlay names. */
static bool is_moved(const struct preparation *p)
{
    return p->is_in_use && !text_eq(p->result->image_path, p->recorded.image_path);
}

static struct op *start_disk(struct preparation *p)
{
    cleanup_free char *overlay = vm_path(p, p->is_next ? VM_NEXT_OVERLAY : VM_OVERLAY);
    cleanup_free char *base = template_base(p->host->paths, p->result);
    cleanup_free char *flat = vm_name_flat(p->spec->name);
    cleanup_free char *aside_name = mem_printf("quarantine/%s-%s", flat, p->uid);
    cleanup_free char *aside = paths_path(p->host->paths, aside_name);
    struct disk_request request = {
        .overlay_path = overlay,
        .image_path = base,
        .disk_gib = p->spec->disk_gib,
        .is_in_use = p->is_in_use,
        .is_new = p->result->wake == WAKE_DUE && !p->is_in_use,
        .is_moved = is_moved(p),
        .aside_path = aside,
        .ret_bytes = &p->result->disk_bytes,
    };
    return disk_make(p->host, &request, on_step_done, p);
}

static struct op *start_step(struct preparation *p, enum step step)
{
    switch (step) {
    case STEP_DIRECTORY:
        return pool_start(p->host->pool, p->is_next ? remove_next : make_directory, free,
            vm_path(p, VM_DIR), on_step_done, p);
    case STEP_KEYS:
        return start_keys(p);
    case STEP_DISK:
        return p->has_disk ? start_disk(p) : NULL;
    case STEP_SEED:
        return makes_seed(p) ? seed_make(p->host, p->spec, p->uid, p->is_clone,
                                   p->is_next ? VM_NEXT_SEED : VM_SEED, on_step_done, p)
                             : NULL;
    case STEP_COUNT_:
        break;
    }
    return NULL;
}

static void fill_result(const struct preparation *p)
{
    struct vm_prepared *result = p->result;
    if (p->is_in_use) {
        const struct vm_prepared *recorded = &p->recorded;
        memcpy(result->digest, recorded->digest, sizeof(result->digest));
        memcpy(result->seed_digest, recorded->seed_digest, sizeof(result->seed_digest));
        memcpy(result->image_sha256, recorded->image_sha256, sizeof(result->image_sha256));
        result->image_size = recorded->image_size;
        result->file_bytes = recorded->file_bytes;
    } else {
        spec_media_digest(p->spec, result->digest);
        spec_seed_digest(p->spec, result->seed_digest);
    }
    bool has_size =
        (p->spec->disk_gib && !is_moved(p)) || !p->is_in_use; /* one of them at a time */
    result->disk_gib = has_size ? p->spec->disk_gib : p->recorded.disk_gib;
}

static void on_step_done(void *context, const struct error *err)
{
    struct preparation *p = context;
    p->stage = NULL;
    while (!err && !p->stage && ++p->step < STEP_COUNT_) {
        p->stage = start_step(p, p->step);
    }
    if (!p->stage) {
        if (!err && p->has_disk) {
            fill_result(p);
        }
        if (!err && p->is_next) {
            cleanup_free char *overlay = vm_path(p, VM_NEXT_OVERLAY);
            (void)file_stamp(overlay, p->ret_stamp);
        }
        op_finish(&p->op, err);
    }
}

static struct preparation *new_preparation(
    const struct vm_env *env, op_done_fn *done, void *context)
{
    struct preparation *p = mem_new(struct preparation);
    p->op = (struct op){cancel_preparation, done, context};
    p->host = env->host;
    p->spec = vm_spec_copy(env->spec);
    seed_name_cards(p->spec, env->status);
    p->uid = mem_strdup(env->uid);
    p->is_clone = env->origin != NULL;
    return p;
}

struct op *media_make_seed(const struct vm_env *env, op_done_fn *done, void *context)
{
    struct preparation *p = new_preparation(env, done, context);
    p->stage = start_step(p, STEP_DIRECTORY);
    return &p->op;
}

/* A disk in use keeps its base, which may have moved. */
static void keep_base(const struct vm_env *env, struct vm_prepared *result)
{
    const struct vm_prepared *recorded = &env->status->prepared;
    const char *path = recorded->image_path;
    if (path && !is_cached(env, path)) {
        (void)find_base(env, recorded, &path);
    }
    free(result->image_path);
    result->image_path = mem_strdup(path);
    memcpy(result->image_id, recorded->image_id, sizeof(result->image_id));
    if (!text_eq(path, recorded->image_path)) {
        (void)file_stamp(path, result->image_id);
    }
}

static struct op *prepare(
    const struct vm_env *env, struct vm_prepared *result, op_done_fn *done, void *context)
{
    struct preparation *p = new_preparation(env, done, context);
    p->has_disk = true;
    p->recorded = env->status->prepared;
    p->recorded.image_path = mem_strdup(p->recorded.image_path);
    cleanup_free char *overlay = vm_path(p, VM_OVERLAY);
    p->is_in_use = p->recorded.digest[0] && fs_exists(overlay);
    p->result = result;
    if (p->is_in_use) {
        keep_base(env, result);
    } else { /* a new disk gets the key of ours, whatever the old guest had */
        cleanup_free char *dir = vm_path(p, VM_DIR);
        (void)disk_files_forget(dir, &(struct error){.code = ERR_NONE});
    }
    p->stage = start_step(p, STEP_DIRECTORY);
    return &p->op;
}

static struct op *prepare_next(const struct vm_env *env, struct vm_prepared *result,
    char ret_stamp[DIGEST_SIZE], op_done_fn *done, void *context)
{
    struct preparation *p = new_preparation(env, done, context);
    p->has_disk = p->is_next = true;
    p->result = result;
    p->ret_stamp = ret_stamp;
    p->stage = start_step(p, STEP_DIRECTORY);
    return &p->op;
}

static struct op *check_disk(const struct vm_env *env, op_done_fn *done, void *context)
{
    cleanup_free char *overlay = paths_vm(env->host->paths, env->name, VM_OVERLAY);
    const struct vm_prepared *prepared = &env->status->prepared;
    const char *now = prepared->image_path;
    cleanup_free char *base = template_base(env->host->paths, prepared);
    if (now && !is_cached(env, now)) {
        (void)find_base(env, prepared, &now);
    }
    struct disk_record record = {
        .vm_name = env->name,
        .has_vmfile = env->has_vmfile,
        .overlay_path = overlay,
        .image_path = base,
        .moved_path = prepared->template_digest[0] ? base : now,
        .disk_bytes = prepared->disk_bytes,
        .file_bytes = prepared->file_bytes,
    };
    return disk_check(env->host, &record, done, context);
}

/* ---- other effects ---- */

static struct op *fetch_image(
    const struct vm_env *env, struct image_result *result, op_done_fn *done, void *context)
{
    struct image_order order = {.image = &env->spec->image, .proxies = env->proxies};
    return image_fetch(image_cache_of(env->host), &order, result, done, context);
}

static int discard(const struct vm_env *env, bool whole_dir, struct error *err)
{
    if (!whole_dir && has_replacement(env)) {
        return media_take_next(env, err);
    }
    return removal_discard(env->host, env->name, env->uid, whole_dir, err);
}

void media_free(struct reconciler_host *host)
{
    image_cache_free(host->backend_data);
    host->backend_data = NULL;
}

const struct media_ops *media_files(void)
{
    static const struct media_ops ops = {
        .observe = observe,
        .fetch_image = fetch_image,
        .prepare = prepare,
        .prepare_next = prepare_next,
        .make_volumes = volumes_make,
        .check_disk = check_disk,
        .identify = identify,
        .snapshot = snapshot_start,
        .clone = snapshot_clone,
        .keep = snapshot_keep,
        .seal = media_seal,
        .settle_guest = media_settle_guest,
        .identify_guest = media_identify_guest,
        .discard = discard,
    };
    return &ops;
}

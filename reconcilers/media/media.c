/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/media.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "reconcilers/backend/backend.h"
#include "reconcilers/image/image.h"
#include "reconcilers/image/image_work.h"
#include "reconcilers/media/media_prepare.h"
#include "reconcilers/trash/trash.h"
#include "specs/base/cleanup.h"
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

/* A cached image never changes under its name; a local file is known by its stamp. */
static bool is_base_changed(const struct vm_env *env, const struct vm_prepared *prepared)
{
    cleanup_free char *cache = paths_path(env->host->paths, "images/");
    char stamp[DIGEST_SIZE];
    if (text_starts_with(prepared->image_path, cache)) {
        return !fs_exists(prepared->image_path);
    }
    return !file_stamp(prepared->image_path, stamp) || strcmp(stamp, prepared->image_id) != 0;
}

static enum disk_state disk_state(
    const struct vm_env *env, const struct vm_prepared *prepared, bool is_outdated)
{
    /* A seed that an outdated disk never had is no reason to run its first boot again. */
    bool needs_seed = env->spec && env->spec->cloud_init.is_set && !is_outdated;
    if (!prepared->digest[0] || !has_file(env, VM_OVERLAY)
        || (needs_seed && !has_file(env, VM_SEED))) {
        return DISK_NONE;
    }
    return env->spec && env->spec->disk_gib > prepared->disk_gib ? DISK_TO_GROW : DISK_READY;
}

static int64_t free_bytes(const struct vm_env *env)
{
    cleanup_free char *overlay = paths_vm(env->host->paths, env->name, VM_OVERLAY);
    struct statvfs fs;
    return statvfs(overlay, &fs) < 0 ? INT64_MAX : (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
}

static void observe(const struct vm_env *env, struct media_facts *ret)
{
    const struct vm_prepared *prepared = &env->status->prepared;
    struct media_facts facts = {
        .has_dir = has_file(env, VM_DIR), .free_bytes = free_bytes(env)};
    char digest[DIGEST_SIZE];
    if (env->spec && prepared->digest[0]) {
        spec_media_digest(env->spec, digest);
        facts.is_outdated = strcmp(digest, prepared->digest) != 0;
    }
    facts.disk = disk_state(env, prepared, facts.is_outdated);
    bool has_base = prepared->digest[0] && prepared->image_path && has_file(env, VM_OVERLAY);
    if (has_base) {
        facts.is_image_changed = is_base_changed(env, prepared);
    }
    /* A disk that is made needs its own base and not the image that the spec now names. */
    facts.has_image = (has_base && !facts.is_image_changed)
        || (env->spec && image_is_in_reach(env->host->paths, &env->spec->image));
    *ret = facts;
}

/* ---- effects ---- */

struct image_cache *media_image_cache(struct reconciler_host *host)
{
    if (!host->backend_data) {
        host->backend_data = image_cache_new(host);
    }
    return host->backend_data;
}

static struct op *fetch_image(const struct vm_env *env, struct image_result *result,
    void (*progress)(void *context, const char *text), op_done_fn *done, void *context)
{
    return image_fetch(
        media_image_cache(env->host), &env->spec->image, result, progress, done, context);
}

static int discard(const struct vm_env *env, bool whole_dir, struct error *err)
{
    return removal_discard(env->host, env->name, env->uid, whole_dir, err);
}

void media_sweep(struct reconciler_host *host)
{
    removal_sweep(host);
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
        .prepare = media_prepare,
        .discard = discard,
    };
    return &ops;
}

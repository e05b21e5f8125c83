/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The disk: a clone of POOL/images/NAME@latest. Its name is noted in vms/NAME/propolis.dataset
 * before it is made, and the note is removed after it is destroyed: killed anywhere in between, the
 * note tells what there may be, and looking tells what there is.
 */
#include "reconcilers/backend/propolis/media.h"

#include <stdlib.h>
#include <string.h>

#include "reconcilers/backend/propolis/propolis.h"
#include "reconcilers/backend/propolis/script.h"
#include "reconcilers/backend/propolis/zone.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

static char *path_of_note(const struct vm_env *env)
{
    cleanup_free char *dir = paths_vm(env->host->paths, env->name, VM_DIR);
    return fs_join(dir, "propolis.dataset");
}

static char *snapshot_of(const char *vm_name)
{
    return mem_printf("%s/images/%s@latest", propolis_pool(), vm_name);
}

char *propolis_dataset(const struct vm_env *env)
{
    enum { MAX_BYTES = 1024 };
    cleanup_buf struct buf text = BUF_INIT(MAX_BYTES);
    cleanup_free char *path = path_of_note(env);
    struct error ignored = {.code = ERR_NONE};
    return fs_read_file(path, &text, &ignored) == 0 && text.len > 0
               ? buf_steal(&text)
               : mem_printf("%s/vms/%s", propolis_pool(), env->name);
}

static void observe(const struct vm_env *env, struct media_facts *ret)
{
    cleanup_free char *dir = paths_vm(env->host->paths, env->name, VM_DIR);
    cleanup_free char *note = path_of_note(env);
    cleanup_free char *snapshot = snapshot_of(env->name);
    char wanted[DIGEST_SIZE];
    const struct vm_prepared *prepared = &env->status->prepared;
    digest_text(snapshot, wanted);
    *ret = (struct media_facts){
        .has_dir = fs_exists(dir),
        .has_image = true, /* prepare() looks for it */
        .has_remains = fs_exists(note),
        .free_bytes = INT64_MAX,
    };
    if (ret->has_remains && prepared->digest[0]) {
        ret->disk = DISK_READY;
        ret->is_outdated = !text_eq(prepared->digest, wanted);
    }
}

/* ---- operations ---- */

struct media_work {
    char *name, *dataset, *snapshot, *note;
    uint32_t disk_gib;
    bool with_zone;
    int stage;
    struct image_result *image;   /* borrowed until `done` */
    struct vm_prepared *prepared; /* the same */
};

static void free_work(void *context)
{
    struct media_work *work = context;
    free(work->name);
    free(work->dataset);
    free(work->snapshot);
    free(work->note);
    free(work);
}

static struct media_work *new_work(const struct vm_env *env)
{
    struct media_work *work = mem_new(struct media_work);
    work->name = mem_strdup(env->name);
    work->dataset = propolis_dataset(env);
    work->snapshot = snapshot_of(env->name);
    work->note = path_of_note(env);
    work->disk_gib = env->spec ? env->spec->disk_gib : 0;
    return work;
}

static struct script_step list_datasets(void)
{
    return (struct script_step){
        {"zfs", "list", "-H", "-o", "name", "-t", "filesystem,volume,snapshot"},
        .what = "look for the disk of"};
}

/* ---- image ---- */

static int no_snapshot(const struct media_work *work, struct error *err)
{
    error_set(err, ERR_IMAGE_NOT_FOUND,
        "there is no ZFS snapshot '%s' to clone the disk of vm '%s' from", work->snapshot,
        work->name);
    return error_help(err, "put the image there, then: zfs snapshot %s", work->snapshot);
}

static int next_of_fetch(
    void *context, const char *output, struct script_step *ret, struct error *err)
{
    struct media_work *work = context;
    if (work->stage++ == 0) {
        *ret = list_datasets();
        return 0;
    }
    if (!script_has_line(output, work->snapshot)) {
        return no_snapshot(work, err);
    }
    work->image->path = mem_strdup(work->snapshot);
    digest_text(work->snapshot, work->image->id);
    return 0;
}

static struct op *fetch_image(const struct vm_env *env, struct image_result *result,
    void (*progress)(void *context, const char *text), op_done_fn *done, void *context)
{
    (void)progress;
    struct media_work *work = new_work(env);
    work->image = result;
    return script_start(env->host->loop, env->name, next_of_fetch, free_work, work, done, context);
}

/* ---- prepare ---- */

static int write_note(const struct media_work *work, struct error *err)
{
    cleanup_free char *dir = mem_strdup(work->note);
    *strrchr(dir, '/') = '\0';
    int rc = fs_make_dirs(dir, 0700, err);
    return rc < 0 ? rc : fs_write_file(work->note, work->dataset, strlen(work->dataset), 0600, err);
}

/* A clone that is there is taken as it is: it was made by a controller that died before it could
 * record it. */
static int next_of_prepare(
    void *context, const char *output, struct script_step *ret, struct error *err)
{
    enum { BEGIN, LOOKED };
    struct media_work *work = context;
    int stage = work->stage++;
    if (stage == BEGIN) {
        *ret = list_datasets();
        return 0;
    }
    if (stage == LOOKED && !script_has_line(output, work->dataset)) {
        if (!script_has_line(output, work->snapshot)) {
            return no_snapshot(work, err);
        }
        *ret = (struct script_step){
            {"zfs", "clone", "-p", work->snapshot, work->dataset}, .what = "clone the disk of"};
        return write_note(work, err);
    }
    digest_text(work->snapshot, work->prepared->digest);
    work->prepared->disk_gib = work->disk_gib;
    return stage == LOOKED ? write_note(work, err) : 0;
}

static struct op *prepare(
    const struct vm_env *env, struct vm_prepared *result, op_done_fn *done, void *context)
{
    struct media_work *work = new_work(env);
    work->prepared = result;
    return script_start(
        env->host->loop, env->name, next_of_prepare, free_work, work, done, context);
}

/* ---- destroy ---- */

enum destroy_stage { ZONES, UNINSTALL, DELETE, DATASETS, DESTROY, NOTE };

/* Each stage looks before it acts, so that it can be done twice, and after any kill. */
static int next_of_destroy(
    void *context, const char *output, struct script_step *ret, struct error *err)
{
    struct media_work *work = context;
    const char *name = work->name;
    switch ((enum destroy_stage)work->stage++) {
    case ZONES:
        if (work->with_zone) {
            *ret = (struct script_step){{"zoneadm", "list", "-cp"}, .what = "look for zone"};
            return 0;
        }
        break;
    case UNINSTALL: {
        struct zone_facts zone = zone_parse(output, name);
        work->stage = zone.is_known ? DELETE : DATASETS;
        if (zone.is_installed) {
            *ret = (struct script_step){
                {"zoneadm", "-z", name, "uninstall", "-F"}, .what = "uninstall zone"};
            return 0;
        }
        return next_of_destroy(work, output, ret, err);
    }
    case DELETE:
        *ret = (struct script_step){
            {"zonecfg", "-z", name, "delete", "-F"}, .what = "delete the configuration of zone"};
        return 0;
    case DATASETS:
        break;
    case DESTROY:
        if (script_has_line(output, work->dataset)) {
            *ret = (struct script_step){
                {"zfs", "destroy", "-r", work->dataset}, .what = "destroy the disk of"};
            return 0;
        }
        return fs_remove_file(work->note, err);
    case NOTE:
        return fs_remove_file(work->note, err);
    }
    work->stage = DESTROY;
    *ret = list_datasets();
    return 0;
}

static struct op *destroy(const struct vm_env *env, bool whole_dir, op_done_fn *done, void *context)
{
    struct media_work *work = new_work(env);
    work->with_zone = whole_dir;
    return script_start(
        env->host->loop, env->name, next_of_destroy, free_work, work, done, context);
}

static int discard(const struct vm_env *env, bool whole_dir, struct error *err)
{
    cleanup_free char *dir = paths_vm(env->host->paths, env->name, VM_DIR);
    return whole_dir ? fs_remove_tree(dir, err) : 0;
}

const struct media_ops propolis_media_ops = {
    .observe = observe,
    .fetch_image = fetch_image,
    .prepare = prepare,
    .destroy = destroy,
    .discard = discard,
};

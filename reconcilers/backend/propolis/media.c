/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The disk: a clone of POOL/images/NAME@latest. Its name is written to vms/NAME/propolis.dataset
 * before it is made, and that note is removed after it is destroyed. After a kill in between, the
 * note names the dataset that may exist; `zfs list` shows whether it does.
 */
#include <stdlib.h>
#include <string.h>

#include "reconcilers/backend/propolis/propolis.h"
#include "reconcilers/backend/propolis/script.h"
#include "reconcilers/backend/propolis/zone.h"
#include "reconcilers/media/media.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/media_digest.h"

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

/* Of what the disk is cloned from and, if there is a seed, of what that is made from. */
static void digest_files(
    const struct vm_spec *spec, const char *snapshot, char ret_digest[DIGEST_SIZE])
{
    char of_seed[DIGEST_SIZE] = "";
    bool has_seed = spec && spec->cloud_init.is_set;
    if (has_seed) {
        spec_media_digest(spec, of_seed);
    }
    cleanup_free char *text = mem_printf("%s%s%s", snapshot, has_seed ? "\n" : "", of_seed);
    digest_text(text, ret_digest);
}

static void observe(const struct vm_env *env, struct media_facts *ret)
{
    cleanup_free char *dir = paths_vm(env->host->paths, env->name, VM_DIR);
    cleanup_free char *note = path_of_note(env);
    cleanup_free char *snapshot = snapshot_of(env->name);
    cleanup_free char *seed = paths_vm(env->host->paths, env->name, VM_SEED);
    char wanted[DIGEST_SIZE];
    const struct vm_prepared *prepared = &env->status->prepared;
    digest_files(env->spec, snapshot, wanted);
    *ret = (struct media_facts){
        .has_dir = fs_exists(dir),
        .has_image = true, /* prepare() checks it */
        .has_leftovers = fs_exists(note),
        .free_bytes = INT64_MAX,
    };
    if (ret->has_leftovers && prepared->digest[0]) {
        ret->is_outdated = !text_eq(prepared->digest, wanted);
        /* A seed that an outdated disk never had is not missed. */
        bool needs_seed = env->spec && env->spec->cloud_init.is_set && !ret->is_outdated;
        ret->disk = needs_seed && !fs_exists(seed) ? DISK_NONE : DISK_READY;
    }
}

/* ---- operations ---- */

struct destroy_step;

struct media_work {
    char *name, *dataset, *snapshot, *note;
    uint32_t disk_gib;
    char digest[DIGEST_SIZE];
    int stage;
    struct image_result *image;   /* borrowed until `done` */
    struct vm_prepared *prepared; /* the same */

    /* For destroy(). */
    bool with_zone;                 /* also removes the zone */
    const struct destroy_step *ran; /* the last; NULL: none */
    struct zone_facts zone;
    bool has_disk;
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
    digest_files(env->spec, work->snapshot, work->digest);
    return work;
}

static struct script_step list_datasets(const struct media_work *work)
{
    (void)work;
    return (struct script_step){
        {"zfs", "list", "-H", "-o", "name", "-t", "filesystem,volume,snapshot"},
        .what = "find the disk of"};
}

/* ---- image ---- */

static int no_snapshot(const struct media_work *work, struct error *err)
{
    error_set(err, ERR_IMAGE_NOT_FOUND, "vm '%s': no ZFS snapshot '%s' to clone its disk from",
        work->snapshot, work->name);
    return error_help(err, "store the image there, then: zfs snapshot %s", work->snapshot);
}

static int next_of_fetch(
    void *context, const char *output, struct script_step *ret, struct error *err)
{
    struct media_work *work = context;
    if (work->stage++ == 0) {
        *ret = list_datasets(work);
        return 0;
    }
    if (!script_has_line(output, work->snapshot)) {
        return no_snapshot(work, err);
    }
    work->image->path = mem_strdup(work->snapshot);
    digest_text(work->snapshot, work->image->id);
    return 0;
}

static struct op *fetch_image(
    const struct vm_env *env, struct image_result *result, op_done_fn *done, void *context)
{
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

/* An existing clone is kept: a controller made it and was killed before it could record it. */
static int next_of_prepare(
    void *context, const char *output, struct script_step *ret, struct error *err)
{
    enum { BEGIN, LISTED };
    struct media_work *work = context;
    int stage = work->stage++;
    if (stage == BEGIN) {
        *ret = list_datasets(work);
        return 0;
    }
    if (stage == LISTED && !script_has_line(output, work->dataset)) {
        if (!script_has_line(output, work->snapshot)) {
            return no_snapshot(work, err);
        }
        *ret = (struct script_step){
            {"zfs", "clone", "-p", work->snapshot, work->dataset}, .what = "clone the disk of"};
        return write_note(work, err);
    }
    memcpy(work->prepared->digest, work->digest, DIGEST_SIZE);
    work->prepared->disk_gib = work->disk_gib;
    return stage == LISTED ? write_note(work, err) : 0;
}

/* The seed first, so that what follows it is the same with and without one. */
struct preparation {
    struct op op; /* first: the caller holds a pointer to it */
    struct loop *loop;
    struct op *stage;
    struct media_work *work; /* until the clone has it */
};

static void cancel_preparation(struct op *op)
{
    struct preparation *p = (struct preparation *)(void *)op;
    op_cancel(p->stage);
    if (p->work) {
        free_work(p->work);
    }
    free(p);
}

static void on_prepared(void *context, const struct error *err)
{
    struct preparation *p = context;
    struct media_work *work = TAKE_PTR(p->work);
    p->stage = NULL;
    if (work && !err) {
        p->stage =
            script_start(p->loop, work->name, next_of_prepare, free_work, work, on_prepared, p);
        return;
    }
    if (work) {
        free_work(work);
    }
    op_finish(&p->op, err);
}

static struct op *prepare(
    const struct vm_env *env, struct vm_prepared *result, op_done_fn *done, void *context)
{
    const struct vm_prepared *recorded = &env->status->prepared;
    struct preparation *p = mem_new(struct preparation);
    p->op = (struct op){cancel_preparation, done, context};
    p->loop = env->host->loop;
    struct media_work *work = new_work(env);
    work->prepared = result;
    /* A guest that has used its disk keeps the seed it was made with. */
    bool is_outdated = recorded->digest[0] && !text_eq(recorded->digest, work->digest);
    if (env->spec->cloud_init.is_set && !is_outdated) {
        p->work = work;
        p->stage = media_make_seed(env, on_prepared, p);
    } else {
        p->stage =
            script_start(p->loop, env->name, next_of_prepare, free_work, work, on_prepared, p);
    }
    return &p->op;
}

/* ---- destroy ---- */

/* clang-format off */
#define PREDICATE(name, expression)                                                                \
    static bool name(const struct media_work *work)                                                \
    {                                                                                              \
        return expression;                                                                         \
    }

PREDICATE(removes_zone,       work->with_zone)
PREDICATE(is_zone_installed,  work->zone.is_installed)
PREDICATE(is_zone_configured, work->zone.is_known)
PREDICATE(has_disk,           work->has_disk)
/* clang-format on */

static struct script_step list_zones(const struct media_work *work)
{
    (void)work;
    return (struct script_step){{"zoneadm", "list", "-cp"}, .what = "find zone"};
}

static void find_zone(struct media_work *work, const char *output)
{
    work->zone = zone_parse(output, work->name);
}

static struct script_step uninstall_zone(const struct media_work *work)
{
    return (struct script_step){
        {"zoneadm", "-z", work->name, "uninstall", "-F"}, .what = "uninstall zone"};
}

static struct script_step delete_zone(const struct media_work *work)
{
    return (struct script_step){
        {"zonecfg", "-z", work->name, "delete", "-F"}, .what = "delete the configuration of zone"};
}

static void find_disk(struct media_work *work, const char *output)
{
    work->has_disk = script_has_line(output, work->dataset);
}

static struct script_step destroy_disk(const struct media_work *work)
{
    return (struct script_step){
        {"zfs", "destroy", "-r", work->dataset}, .what = "destroy the disk of"};
}

/* A query precedes each effect, so the whole is idempotent, and resumes after any kill. */
static const struct destroy_step {
    bool (*is_wanted)(const struct media_work *work); /* NULL: always */
    struct script_step (*step)(const struct media_work *work);
    void (*parse)(struct media_work *work, const char *output); /* NULL: its output is ignored */
} destroy_steps[] = {
    {removes_zone, list_zones, find_zone},
    {is_zone_installed, uninstall_zone, NULL},
    {is_zone_configured, delete_zone, NULL},
    {NULL, list_datasets, find_disk},
    {has_disk, destroy_disk, NULL},
};

static int next_of_destroy(
    void *context, const char *output, struct script_step *ret, struct error *err)
{
    struct media_work *work = context;
    if (work->ran && work->ran->parse) {
        work->ran->parse(work, output);
    }
    while ((size_t)work->stage < ARRAY_LEN(destroy_steps)) {
        const struct destroy_step *next = &destroy_steps[work->stage++];
        if (!next->is_wanted || next->is_wanted(work)) {
            work->ran = next;
            *ret = next->step(work);
            return 0;
        }
    }
    return fs_remove_file(work->note, err);
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
    const char *data_dir = env->host->paths->data_dir;
    return whole_dir ? fs_remove_beneath(data_dir, "vms", env->name, err) : 0;
}

const struct media_ops propolis_media_ops = {
    .observe = observe,
    .fetch_image = fetch_image,
    .prepare = prepare,
    .destroy = destroy,
    .discard = discard,
};

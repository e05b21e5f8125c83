/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image/image_requests.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "controller/reconciler.h"
#include "reconcilers/backend/backend.h"
#include "reconcilers/image/image.h"
#include "reconcilers/image/image_file.h"
#include "reconcilers/image/image_record.h"
#include "reconcilers/image/image_removal.h"
#include "reconcilers/image/image_work.h"
#include "reconcilers/template/template_files.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/text.h"
#include "specs/image/image_request.h"
#include "store/batch.h"
#include "store/store.h"

/* An answer that was not fetched: its command was interrupted. */
enum { ANSWER_KEPT_MS = 10 * 60 * 1000 };

/* A request under way, or ended until its outcome is committed. */
struct job {
    struct image_requests *requests;
    struct job *next, **link; /* in requests->jobs */
    char *key;
    json_t *request; /* as it was when the job began; later with the outcome */
    json_t *records; /* of images, written with the outcome: {key: record, null to remove it} */
    bool is_ended;   /* `request` has the outcome */
    struct op *op;   /* of a pull */
    struct image_result result;
};

struct image_requests {
    struct reconciler base; /* first: the controller holds a pointer to it */
    struct reconciler_host *host;
    struct image_pins pins;
    struct job *jobs;
};

static void free_job(struct job *job)
{
    *job->link = job->next;
    if (job->next) {
        job->next->link = job->link;
    }
    op_cancel(job->op);
    free(job->key);
    json_decref(job->request);
    json_decref(job->records);
    free(job->result.path);
    free(job->result.published);
    json_decref(job->result.record);
    free(job);
}

static void image_requests_wake(const struct job *job)
{
    struct reconciler_host *host = job->requests->host;
    host->wake(host, key_of(KEY_IMAGE, job->key), WORK_EVENT);
}

/* ---- the end of a job ---- */

static void end_job(struct job *job, const struct error *err)
{
    json_put_int(job->request, "endedAt", clock_wall_ms(job->requests->host->clock));
    if (err) {
        image_request_fail(job->request, err);
    } else {
        json_put_text(job->request, "state", "done");
    }
    const char *verb = json_text(job->request, "verb");
    log_line(err ? LOG_WARN : LOG_INFO, "image", "%s %s%s", verb ? verb : "(no verb)",
        err ? "failed: " : "done", err ? err->message : "");
    job->is_ended = true;
}

/* ---- pulling ---- */

/* A pull is for the host's processor. free() it. */
static char *key_of_request(const struct job *job)
{
    cleanup_free char *url = json_copy_text(job->request, "url");
    return spec_image_record_key(&(struct spec_image){.kind = IMAGE_URL, .location = url});
}

/* Whether the publisher of an image by name has another one than the cache. */
static void take_look(struct job *job)
{
    struct reconciler_host *host = job->requests->host;
    cleanup_free char *key = key_of_request(job);
    cleanup_json json_t *record = host->image_record(host, key);
    const char *known = json_text(record, "published");
    json_put_text(job->request, "published", job->result.published);
    json_put_text(job->request, "known", known);
    json_put_flag(job->request, "unchanged", text_eq(known, job->result.published));
}

static int take_image(struct job *job, struct error *err)
{
    const struct paths *paths = job->requests->host->paths;
    const char *name = json_text(job->request, "name");
    int rc = name ? image_file_set_name(paths, name, job->result.id, err) : 0;
    if (rc < 0) {
        return rc;
    }
    struct reconciler_host *host = job->requests->host;
    cleanup_free char *key = key_of_request(job);
    json_put_flag(job->request, "unchanged", !job->result.record);
    json_t *record = job->result.record ? TAKE_PTR(job->result.record)
                     : name             ? host->image_record(host, key)
                                        : NULL;
    if (record) {
        json_put_text(record, "name", name);
        json_put(job->records, key, record);
    }
    json_put_text(job->request, "sha256", job->result.id);
    json_put_text(job->request, "path", job->result.path);
    json_put_int(job->request, "size", fs_size(job->result.path));
    return 0;
}

static void on_pulled(void *context, const struct error *err)
{
    struct job *job = context;
    struct error failure = {0};
    job->op = NULL;
    if (!err && job->result.published) {
        take_look(job);
    } else if (!err && take_image(job, &failure) < 0) {
        err = &failure;
    }
    end_job(job, err);
    image_requests_wake(job);
}

/* The ETag that came with the image which the cache has under this URL; "": none, or no image. */
static char *find_etag(struct reconciler_host *host, const struct spec_image *image)
{
    char id[DIGEST_SIZE] = "";
    cleanup_free char *path = image_find_cached(host->paths, image);
    cleanup_free char *key = spec_image_record_key(image);
    cleanup_json json_t *record = host->image_record(host, key);
    if (path) {
        image_file_id(path, id);
    }
    const char *etag = text_eq(json_text(record, "sha256"), id) ? json_text(record, "etag") : NULL;
    return mem_strdup(etag ? etag : "");
}

static int start_pull(struct job *job, struct error *err)
{
    cleanup_free char *url = json_copy_text(job->request, "url");
    cleanup_free char *sha256 = json_copy_text(job->request, "pin");
    const char *name = json_text(job->request, "name");
    if (!url || (name && !image_name_is_valid(name))) {
        return error_set(err, ERR_USAGE, "no URL, or an invalid name");
    }
    bool is_named = json_flag(job->request, "named", false);
    struct spec_image image = {
        .kind = is_named ? IMAGE_NAME : IMAGE_URL, .location = url, .sha256 = sha256};
    struct proxies *proxies = fields_new(&proxies_fields);
    bool is_again = json_flag(job->request, "refresh", false);
    cleanup_free char *etag = is_again ? NULL : find_etag(job->requests->host, &image);
    struct image_order order = {.image = &image,
        .proxies = proxies,
        .is_pull = true,
        .passes_cache = true,
        .known_etag = etag,
        .only_looks = is_named && json_flag(job->request, "look", false)};
    const json_t *recorded = json_object_get(job->request, "proxies");
    int rc = recorded ? fields_from_json(&proxies_fields, recorded, proxies, err) : 0;
    job->op = rc < 0 ? NULL
                     : image_fetch(image_cache_of(job->requests->host), &order, &job->result,
                           on_pulled, job);
    proxies_free(proxies);
    return rc;
}

/* ---- the beginning of a job ---- */

/* Starts a pull, or does the others at once. */
static int execute(struct job *job, struct error *err)
{
    struct image_requests *w = job->requests;
    const char *verb = json_text(job->request, "verb");
    cleanup_json json_t *images = NULL;
    struct image_removal removal = {
        .host = w->host,
        .pins = w->pins,
        .cache = image_cache_of(w->host),
        .records = job->records,
    };
    if (text_eq(verb, IMAGE_REQUEST_PULL)) {
        return start_pull(job, err);
    }
    int rc = store_list_json(w->host->store, STORE_IMAGES, &images, err);
    if (rc < 0) {
        return rc;
    }
    removal.images = images;
    if (text_eq(verb, IMAGE_REQUEST_REMOVE)) {
        return image_remove(&removal, json_object_get(job->request, "images"), job->request, err);
    }
    if (text_eq(verb, IMAGE_REQUEST_PRUNE)) {
        return image_prune(&removal, json_flag(job->request, "dryRun", true), job->request, err);
    }
    if (text_eq(verb, IMAGE_REQUEST_TEMPLATES)) {
        const struct template_order order = {.digests = json_object_get(job->request, "templates"),
            .is_dry_run = json_flag(job->request, "dryRun", true)};
        return template_remove(w->host, &order, job->request, err);
    }
    return error_set(
        err, ERR_USAGE, "this controller does not support '%s' for images", verb ? verb : "");
}

static struct job *begin_job(struct image_requests *w, const char *key, const json_t *request)
{
    struct error err = {0};
    struct job *job = mem_new(struct job);
    job->requests = w;
    job->key = mem_strdup(key);
    job->request = json_deep_copy(request);
    job->records = json_object();
    job->next = w->jobs;
    job->link = &w->jobs;
    if (job->next) {
        job->next->link = &job->next;
    }
    w->jobs = job;
    int rc = execute(job, &err);
    if (rc < 0 || !job->op) {
        end_job(job, rc < 0 ? &err : NULL);
    }
    return job;
}

/* ---- a pass ---- */

static void on_outcome_committed(void *context)
{
    free_job(context);
}

/* The expectation comes first: a batch sees its own writes. */
static void change_request(
    struct store_batch *batch, const char *key, const json_t *before, const json_t *after)
{
    store_batch_expect_json(batch, STORE_IMAGES, key, before);
    store_batch_put_json(batch, STORE_IMAGES, key, after);
}

/* `stored` is the request as it is recorded, not answered; NULL: it was withdrawn. */
static void write_outcome(struct job *job, const json_t *stored, struct patch *patch)
{
    const char *key;
    json_t *record;
    patch->batch = store_batch_new();
    if (stored) {
        change_request(patch->batch, job->key, stored, job->request);
    }
    json_object_foreach(job->records, key, record)
    {
        store_batch_put_json(patch->batch, STORE_IMAGES, key, json_is_null(record) ? NULL : record);
    }
    if (store_batch_is_empty(patch->batch)) {
        free_job(job);
    } else {
        patch->committed = on_outcome_committed;
        patch->context = job;
    }
}

/* `stored` is the record of an image being downloaded; NULL: it has none. */
static void write_getting(
    const struct image_requests *w, const char *key, const json_t *stored, struct patch *patch)
{
    const struct image_cache *cache = image_cache_of(w->host);
    cleanup_json json_t *now = image_cache_describe(cache, key + strlen(IMAGE_GETTING_PREFIX));
    if (!json_equal(stored, now) && (stored || now)) {
        patch->batch = store_batch_new();
        change_request(patch->batch, key, stored, now);
    }
}

static struct verdict keep_answer(
    const struct image_requests *w, const char *key, const json_t *stored, struct patch *patch)
{
    int64_t age_ms = clock_wall_ms(w->host->clock) - json_int(stored, "endedAt", 0);
    if (age_ms > ANSWER_KEPT_MS) {
        patch->batch = store_batch_new();
        change_request(patch->batch, key, stored, NULL);
        return (struct verdict){.requeue_ms = VERDICT_WHEN_WOKEN};
    }
    /* The wall clock may have been set back. */
    return (struct verdict){.requeue_ms = ANSWER_KEPT_MS + 1 - (age_ms < 0 ? 0 : age_ms)};
}

static struct job *find_job(const struct image_requests *w, const char *key)
{
    struct job *job = w->jobs;
    while (job && !text_eq(job->key, key)) {
        job = job->next;
    }
    return job;
}

static struct verdict image_requests_reconcile(
    struct reconciler *base, const char *key, struct patch *patch)
{
    struct image_requests *w = (struct image_requests *)(void *)base;
    struct job *job = find_job(w, key);
    cleanup_json json_t *stored = NULL;
    struct error err = {0};
    if (store_get_json(w->host->store, STORE_IMAGES, key, &stored, &err) < 0) {
        log_error("image", "cannot read the request '%s': %s", key, err.message);
        return (struct verdict){.is_failure = true};
    }
    if (text_starts_with(key, IMAGE_GETTING_PREFIX)) {
        write_getting(w, key, stored, patch);
        return (struct verdict){.requeue_ms = VERDICT_WHEN_WOKEN};
    }
    bool is_open = stored && !image_request_is_answered(stored);
    if (is_open && !job) {
        job = begin_job(w, key, stored);
    }
    if (job && job->is_ended) {
        write_outcome(job, is_open ? stored : NULL, patch);
        return (struct verdict){.requeue_ms = ANSWER_KEPT_MS + 1};
    }
    if (job && !is_open) {
        free_job(job);
    }
    return stored && !is_open ? keep_answer(w, key, stored, patch)
                              : (struct verdict){.requeue_ms = VERDICT_WHEN_WOKEN};
}

static void image_requests_list(struct reconciler *base)
{
    struct image_requests *w = (struct image_requests *)(void *)base;
    cleanup_json json_t *images = NULL;
    struct error err = {0};
    const char *key;
    json_t *record;
    if (store_list_json(w->host->store, STORE_IMAGES, &images, &err) < 0) {
        log_error("image", "cannot list the images: %s", err.message);
        return;
    }
    json_object_foreach(images, key, record)
    {
        if (text_starts_with(key, IMAGE_REQUEST_PREFIX) ||
            text_starts_with(key, IMAGE_GETTING_PREFIX)) {
            w->host->wake(w->host, key_of(KEY_IMAGE, key), WORK_EVENT);
        }
    }
    for (const struct job *job = w->jobs; job; job = job->next) {
        image_requests_wake(job); /* its record may be gone */
    }
}

/* ---- life ---- */

static void image_requests_free(struct reconciler *base)
{
    struct image_requests *w = (struct image_requests *)(void *)base;
    while (w->jobs) {
        free_job(w->jobs);
    }
    free(w);
}

struct reconciler *image_requests_new(struct reconciler_host *host, struct image_pins pins)
{
    struct image_requests *w = mem_new(struct image_requests);
    w->base = (struct reconciler){
        .kind = KEY_IMAGE,
        .reconcile = image_requests_reconcile,
        .list = image_requests_list,
        .free = image_requests_free,
    };
    w->host = host;
    w->pins = pins;
    return &w->base;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image/image_requests.h"

#include <stdbool.h>
#include <stdlib.h>

#include "controller/reconciler.h"
#include "reconcilers/backend/backend.h"
#include "reconcilers/image/image.h"
#include "reconcilers/image/image_file.h"
#include "reconcilers/image/image_removal.h"
#include "reconcilers/image/image_work.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/image/image_request.h"

/* An answer nobody took away: its asker was interrupted. */
enum { ANSWER_KEPT_MS = 10 * 60 * 1000 };

/* A request under way, or answered until the table shows it: the table that is looked at may be
 * older than what was written last. */
struct job {
    struct image_requests *requests;
    struct job *next;
    char *key;
    json_t *request;
    struct op *op; /* of a pull */
    struct image_result result;
    char url_link[DIGEST_SIZE]; /* of a pull that refreshes: led to `previous` */
    char *previous;
    bool is_ended;
};

struct image_requests {
    struct image_handler base; /* first: the controller holds a pointer to it */
    struct reconciler_host *host;
    struct image_pins pins;
    struct job *jobs;
};

static void free_job(struct job *job)
{
    op_cancel(job->op);
    free(job->key);
    json_decref(job->request);
    free(job->result.path);
    free(job->previous);
    json_decref(job->result.record);
    free(job);
}

static void free_requests(struct image_handler *base)
{
    struct image_requests *w = (struct image_requests *)(void *)base;
    while (w->jobs) {
        struct job *job = w->jobs;
        w->jobs = job->next;
        free_job(job);
    }
    free(w);
}

/* ---- answering ---- */

static void write_request(struct job *job)
{
    struct reconciler_host *host = job->requests->host;
    host->write_image(host, job->key, json_deep_copy(job->request));
}

static void answer(struct job *job, const struct error *err)
{
    struct reconciler_host *host = job->requests->host;
    (void)json_object_del(job->request, "progress");
    json_put_int(job->request, "endedAt", clock_wall_ms(host->clock));
    if (err) {
        image_request_fail(job->request, err);
    } else {
        json_put_text(job->request, "state", "done");
    }
    const char *verb = json_text(job->request, "verb");
    log_line(err ? LOG_WARN : LOG_INFO, "image", "%s %s%s", verb ? verb : "(no verb)",
        err ? "failed: " : "done", err ? err->message : "");
    job->is_ended = true;
    write_request(job);
}

/* ---- pulling ---- */

static void on_progress(void *context, const char *text)
{
    struct job *job = context;
    json_put_text(job->request, "state", "running");
    json_put_text(job->request, "progress", text);
    write_request(job);
}

static int take_image(struct job *job, struct error *err)
{
    struct reconciler_host *host = job->requests->host;
    const char *name = json_text(job->request, "name");
    const char *url = json_text(job->request, "url");
    int rc = name ? image_file_set_name(host->paths, name, job->result.id, err) : 0;
    if (rc < 0) {
        return rc;
    }
    if (job->result.record) {
        cleanup_free char *key = image_record_key(url);
        host->write_image(host, key, TAKE_PTR(job->result.record));
    }
    json_put_text(job->request, "sha256", job->result.id);
    json_put_text(job->request, "path", job->result.path);
    json_put_int(job->request, "size", fs_size(job->result.path));
    return 0;
}

/* The image that the URL had stays for its VMs, but the URL no longer leads to it. Killed before
 * the new one is there, the next who wants the URL downloads it. */
static void forget_url(struct job *job, const char *url)
{
    const struct paths *paths = job->requests->host->paths;
    image_url_digest(url, job->url_link);
    job->previous = image_file_by_source(paths, job->url_link);
    image_file_unlink(paths, job->url_link);
}

static void recall_url(struct job *job)
{
    struct error err = {0};
    if (job->previous &&
        image_file_link(job->requests->host->paths, job->url_link, job->previous, &err) < 0) {
        log_debug("image", "%s", err.message);
    }
}

static void on_pulled(void *context, const struct error *err)
{
    struct job *job = context;
    struct error failure = {0};
    job->op = NULL;
    if (err) {
        recall_url(job);
    }
    if (!err && take_image(job, &failure) < 0) {
        err = &failure;
    }
    answer(job, err);
}

static int start_pull(struct job *job, struct error *err)
{
    cleanup_free char *url = json_copy_text(job->request, "url");
    cleanup_free char *sha256 = json_copy_text(job->request, "pin");
    const char *name = json_text(job->request, "name");
    if (!url || (name && !image_name_is_valid(name))) {
        return error_set(err, ERR_USAGE, "no URL, or a name that cannot be one");
    }
    if (json_flag(job->request, "refresh", false)) {
        forget_url(job, url);
    }
    struct spec_image image = {.kind = IMAGE_URL, .location = url, .sha256 = sha256};
    job->op = image_fetch(
        image_cache_of(job->requests->host), &image, &job->result, on_progress, on_pulled, job);
    return 0;
}

/* ---- looking ---- */

/* Starts a pull, or does the others at once. */
static int image_requests_begin(struct job *job, const json_t *images, struct error *err)
{
    struct image_requests *w = job->requests;
    const char *verb = json_text(job->request, "verb");
    struct image_removal removal = {
        .host = w->host,
        .pins = w->pins,
        .cache = image_cache_of(w->host),
        .images = images,
    };
    if (text_eq(verb, IMAGE_REQUEST_PULL)) {
        return start_pull(job, err);
    }
    if (text_eq(verb, IMAGE_REQUEST_REMOVE)) {
        return image_remove(&removal, json_object_get(job->request, "images"), job->request, err);
    }
    if (text_eq(verb, IMAGE_REQUEST_PRUNE)) {
        return image_prune(&removal, json_flag(job->request, "dryRun", true), job->request, err);
    }
    return error_set(err, ERR_USAGE, "this controller cannot '%s' images", verb ? verb : "");
}

static void start_job(
    struct image_requests *w, const char *key, const json_t *request, const json_t *images)
{
    struct error err = {0};
    struct job *job = mem_new(struct job);
    job->requests = w;
    job->key = mem_strdup(key);
    job->request = json_deep_copy(request);
    job->next = w->jobs;
    w->jobs = job;
    int rc = image_requests_begin(job, images, &err);
    if (rc < 0 || !job->op) {
        answer(job, rc < 0 ? &err : NULL);
    }
}

static bool has_job(const struct image_requests *w, const char *key)
{
    const struct job *job = w->jobs;
    while (job && !text_eq(job->key, key)) {
        job = job->next;
    }
    return job != NULL;
}

/* Forgets answered jobs whose answer has reached the table. */
static void drop_seen(struct image_requests *w, const json_t *images)
{
    for (struct job **at = &w->jobs; *at;) {
        struct job *job = *at;
        const json_t *stored = json_object_get(images, job->key);
        if (job->is_ended && (!stored || image_request_is_answered(stored))) {
            *at = job->next;
            free_job(job);
        } else {
            at = &job->next;
        }
    }
}

static void look_at(
    struct image_requests *w, const char *key, const json_t *request, const json_t *images)
{
    if (!text_starts_with(key, IMAGE_REQUEST_PREFIX) || has_job(w, key)) {
        return;
    }
    if (!image_request_is_answered(request)) {
        start_job(w, key, request, images);
    } else if (clock_wall_ms(w->host->clock) - json_int(request, "endedAt", 0) > ANSWER_KEPT_MS) {
        w->host->write_image(w->host, key, NULL);
    }
}

static void image_requests_look(struct image_handler *base, const json_t *images)
{
    struct image_requests *w = (struct image_requests *)(void *)base;
    const char *key;
    json_t *request;
    drop_seen(w, images);
    /* only read: jansson's iteration is not const */
    json_object_foreach((json_t *)(uintptr_t)images, key, request)
    {
        look_at(w, key, request, images);
    }
}

struct image_handler *image_requests_new(struct reconciler_host *host, struct image_pins pins)
{
    struct image_requests *w = mem_new(struct image_requests);
    w->base = (struct image_handler){.changed = image_requests_look, .free = free_requests};
    w->host = host;
    w->pins = pins;
    return &w->base;
}

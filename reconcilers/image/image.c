/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image/image.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/loop/pool.h"
#include "controller/reconciler.h"
#include "reconcilers/backend/backend.h"
#include "reconcilers/fetch/fetcher.h"
#include "reconcilers/fetch/oci.h"
#include "reconcilers/fetch/oci_reference.h"
#include "reconcilers/fetch/published.h"
#include "specs/base/proxies.h"
#include "specs/base/url.h"
#include "reconcilers/image/image_content.h"
#include "reconcilers/image/image_convert.h"
#include "reconcilers/image/image_record.h"
#include "reconcilers/image/image_stream.h"
#include "reconcilers/image/image_work.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/file_stamp.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/image/image_foreign.h"
#include "specs/image/image_format.h"
#include "specs/image/image_request.h"

struct image_fill;

/* One caller's operation. */
struct waiter {
    struct op op; /* first: op_cancel() finds the waiter by it */
    struct image_fill *fill;
    struct waiter *next;
    bool is_pull;
    struct image_result *result; /* borrowed until `done` or a cancel */
    struct proxies *proxies;
};

/* Getting one image: pool work, then perhaps a download and pool work again; of a registry the
 * layer is looked up before that, and another hypervisor's image is converted between two pieces of
 * pool work. */
struct image_fill {
    struct image_cache *cache;
    struct image_fill *next;
    char key[DIGEST_SIZE];
    struct spec_image image; /* a copy */
    struct proxies *proxies; /* of the first waiter */
    bool passes_cache;       /* the URL is read, although the cache has it; from its start on */
    char *known_etag;        /* … but not what it gave before: "" unknown. NULL: that, too */
    bool is_unchanged;       /* it does */
    bool only_looks;         /* as in struct image_order */
    struct op *stage;
    struct image_work *work; /* of the pool stage, NULL in a download; the pool frees it */
    bool is_long;            /* what is left takes as long as the image is large */
    struct oci_layer layer;  /* zero: not looked up */
    struct image_conversion conversion; /* zero: nothing to convert, or the work has it */
    struct image_follower follower;     /* of the download */
    bool is_downloaded;
    bool is_finishing; /* off the list, telling its waiters */
    struct waiter *waiters;
    /* What it is at, for people; NULL: nothing that takes time. Static. */
    const char *phase;
    int64_t have, total; /* of a download, in bytes */
    int64_t rate;        /* bytes a second, those of the last seconds count most */
    int64_t sampled_ms;  /* monotonic: when `have` was so */
};

#define CHECKED "checked" /* qemu-img found no damage in it */

struct image_cache {
    struct reconciler_host *host; /* borrowed: owns us, see media_free() */
    struct fetcher *fetcher;      /* NULL until the first download */
    struct image_fill *fills;
    struct image_contents *contents;
};

static struct image_fill *find_or_start(struct image_cache *cache, const struct image_order *order);
static void start_work(struct image_fill *fill);

struct image_cache *image_cache_new(struct reconciler_host *host)
{
    struct image_cache *cache = mem_new(struct image_cache);
    cache->host = host;
    cache->contents = image_contents_new(host);
    return cache;
}

static void free_fill(struct image_fill *fill)
{
    free(fill->image.location);
    free(fill->image.sha256);
    proxies_free(fill->proxies);
    free(fill->known_etag);
    oci_layer_clear(&fill->layer);
    image_conversion_clear(&fill->conversion);
    image_follower_clear(&fill->follower);
    free(fill);
}

/* What there is to show of it has changed. */
static void report_fill(const struct image_fill *fill)
{
    struct reconciler_host *host = fill->cache->host;
    if (fill->phase) {
        cleanup_free char *key = mem_printf(IMAGE_GETTING_PREFIX "%s", fill->key);
        host->wake(host, key_of(KEY_IMAGE, key), WORK_EVENT);
    }
}

static void enter_phase(struct image_fill *fill, const char *phase)
{
    fill->phase = phase;
    report_fill(fill);
}

static void unlink_fill(struct image_fill *fill)
{
    struct image_fill **at = &fill->cache->fills;
    while (*at != fill) {
        at = &(*at)->next;
    }
    *at = fill->next;
}

static void drop_fill(struct image_fill *fill)
{
    op_cancel(TAKE_PTR(fill->stage));
    unlink_fill(fill);
    free_fill(fill);
}

struct image_cache *image_cache_of(struct reconciler_host *host)
{
    if (!host->backend_data) {
        host->backend_data = image_cache_new(host);
    }
    return host->backend_data;
}

void image_cache_free(struct image_cache *cache)
{
    if (cache) {
        while (cache->fills) {
            drop_fill(cache->fills);
        }
        image_contents_free(cache->contents);
        fetcher_free(cache->fetcher);
        free(cache);
    }
}

static void join_fill(struct waiter *waiter, struct image_fill *fill)
{
    struct waiter **end = &fill->waiters;
    while (*end) {
        end = &(*end)->next;
    }
    *end = waiter;
    waiter->next = NULL;
    waiter->fill = fill;
    report_fill(fill);
}

struct image_contents *image_cache_contents(struct image_cache *cache)
{
    return cache->contents;
}

/* What is known of a local file from earlier. */
static void recall_verified(const struct image_fill *fill, struct image_work *work)
{
    char id[DIGEST_SIZE];
    if (fill->image.kind != IMAGE_FILE || !file_stamp(fill->image.location, id)) {
        return;
    }
    if (fill->image.sha256 && image_content_is(fill->cache->contents, id, fill->image.sha256)) {
        memcpy(work->verified_id, id, sizeof(id));
    }
    work->is_checked = image_content_is(fill->cache->contents, id, CHECKED);
}

/* ---- the end ---- */

static void fill_result(
    struct image_result *result, const struct image_fill *fill, const struct image_work *work)
{
    free(result->path);
    json_decref(TAKE_PTR(result->record));
    result->path = NULL;
    if (fill->only_looks) {
        free(result->published);
        result->published = published_text(&fill->layer);
        return;
    }
    result->path = mem_strdup(work->path);
    memcpy(result->id, work->id, sizeof(result->id));
    if (fill->image.kind != IMAGE_FILE) {
        result->record = image_record_new(fill->cache->host, work, &fill->layer);
    }
}

/* The waiters whose result this is: of a failure, those who wanted the proxies it was tried with.
 * NULL: no more. */
static struct waiter *next_to_finish(const struct image_fill *fill, const struct error *err)
{
    struct waiter *waiter = fill->waiters;
    while (waiter && err && !proxies_equal(waiter->proxies, fill->proxies)) {
        waiter = waiter->next;
    }
    return waiter;
}

/* A notified waiter may cancel others, and may start a new fill for the same image. */
static void image_finish(struct image_fill *fill, const struct error *err)
{
    struct waiter *waiter;
    unlink_fill(fill);
    report_fill(fill);
    fill->is_finishing = true;
    while ((waiter = next_to_finish(fill, err))) {
        if (!err) {
            fill_result(waiter->result, fill, fill->work);
        }
        op_finish(&waiter->op, err);
    }
    while ((waiter = fill->waiters)) {
        fill->waiters = waiter->next;
        struct image_order order = {.image = &fill->image,
            .proxies = waiter->proxies,
            .passes_cache = fill->passes_cache,
            .known_etag = fill->known_etag,
            .only_looks = fill->only_looks};
        join_fill(waiter, find_or_start(fill->cache, &order));
    }
    free_fill(fill);
}

/* ---- stages ---- */

static void on_progress(void *context, int64_t have, int64_t total)
{
    enum { OLD_SHARE = 3 }; /* of four: what is 5 s old counts for a twentieth */
    struct image_fill *fill = context;
    int64_t now_ms = clock_monotonic_ms(fill->cache->host->clock);
    int64_t took_ms = now_ms - fill->sampled_ms;
    if (took_ms > 0) {
        int64_t came = have > fill->have ? have - fill->have : 0; /* less: it starts over */
        int64_t latest = came * 1000 / took_ms;
        fill->rate = fill->rate ? (OLD_SHARE * fill->rate + latest) / (OLD_SHARE + 1) : latest;
    }
    bool is_same = fill->have == have && fill->total == total && fill->rate == 0;
    fill->have = have;
    fill->total = total;
    fill->sampled_ms = now_ms;
    if (have > 0 && !is_same) {
        enter_phase(fill, "downloading");
    }
}

static void on_arrival(void *context, unsigned n_begun, int64_t have)
{
    struct image_fill *fill = context;
    image_follower_arrived(&fill->follower, n_begun, have);
}

static void on_idle(void *context)
{
    struct image_fill *fill = context;
    if (fill->is_downloaded) {
        start_work(fill);
    }
}

static void on_downloaded(void *context, const struct error *err)
{
    struct image_fill *fill = context;
    fill->stage = NULL;
    if (err) {
        struct error failure = *err;
        if (fill->image.kind == IMAGE_NAME) {
            (void)error_wrap(&failure, "image '%s'", fill->image.location);
        }
        image_finish(fill, &failure);
        return;
    }
    if (fill->passes_cache && fill->is_unchanged) {
        fill->passes_cache = false;
        image_follower_clear(&fill->follower);
        start_work(fill);
        return;
    }
    bool is_named = fill->image.kind == IMAGE_NAME;
    cleanup_free char *name =
        is_named ? mem_strdup(fill->layer.title) : url_without_query(fill->image.location);
    fill->is_downloaded = true;
    enter_phase(fill, compression_of_name(name) == COMPRESSION_NONE ? "checking" : "unpacking");
    if (!fill->follower.running) {
        start_work(fill);
    }
}

static void on_layer_found(void *context, const struct error *err)
{
    struct image_fill *fill = context;
    fill->stage = NULL;
    if (err || fill->only_looks) {
        image_finish(fill, err);
    } else {
        start_work(fill);
    }
}

static int start_lookup(struct image_fill *fill, struct fetcher *fetcher, struct error *err)
{
    cleanup_with(oci_reference_clear) struct oci_reference reference = {0};
    const struct image_work *work = fill->work;
    if (work->sums) {
        const struct published_file file = {work->image.location, work->from, work->sums};
        fill->stage = published_find(
            fetcher_multi(fetcher), &file, fill->proxies, &fill->layer, on_layer_found, fill);
        return 0;
    }
    int rc =
        oci_reference_parse(fill->image.location, getenv("VMCTL_OCI_INSECURE"), &reference, err);
    if (rc == 0) {
        fill->stage =
            oci_find_layer(fetcher_multi(fetcher), &reference, arch_machine(work->image.arch),
                &work->login, fill->proxies, &fill->layer, on_layer_found, fill);
    }
    return rc;
}

/* The network's turn, between two pieces of pool work. */
static void start_transfer(struct image_fill *fill)
{
    struct error err = {0};
    if (!fill->cache->fetcher) {
        (void)fetcher_new(fill->cache->host->loop, &fill->cache->fetcher, &err);
    }
    struct fetcher *fetcher = fill->cache->fetcher;
    enter_phase(fill, "connecting");
    if (fetcher && fill->work->next == IMAGE_NEXT_DOWNLOAD) {
        fill->have = fill->work->part.have;
        fill->total = fill->work->part.length;
        fill->sampled_ms = clock_monotonic_ms(fill->cache->host->clock);
        fill->follower = (struct image_follower){.pool = fill->cache->host->pool,
            .stream = TAKE_PTR(fill->work->stream),
            .idle = on_idle,
            .context = fill};
        struct fetch_order order = {.part = &fill->work->part,
            .authorization = fill->layer.authorization,
            .proxies = fill->proxies,
            .known_etag = fill->passes_cache && !fill->layer.url ? fill->known_etag : NULL,
            .is_unchanged = &fill->is_unchanged,
            .progress = on_progress,
            .arrived = on_arrival};
        fill->stage = fetcher_get(fetcher, &order, on_downloaded, fill);
    } else if (fetcher) {
        (void)start_lookup(fill, fetcher, &err);
    }
    fill->work = NULL; /* the pool frees it now */
    if (err.code != ERR_NONE) {
        image_finish(fill, &err);
    }
}

static void on_converted(void *context, const struct error *child_err, const char *output)
{
    struct image_fill *fill = context;
    fill->stage = NULL;
    if (!child_err) {
        fill->conversion.is_done = true;
        if (fill->phase) {
            enter_phase(fill, "checking");
        }
        start_work(fill);
        return;
    }
    struct error err = {0};
    bool is_url = fill->image.kind != IMAGE_FILE;
    const char *location = fill->image.location;
    cleanup_free char *title = is_url ? url_for_people(location) : mem_strdup(location);
    image_convert_error(title, &fill->conversion, child_err, output, &err);
    /* qemu-img gave a reason: it ran, and the image is at fault. */
    bool is_fault_of_image =
        (err.code == ERR_IMAGE_CONVERSION || err.code == ERR_IMAGE_FORMAT) && output[0];
    if (is_url && is_fault_of_image) {
        image_work_discard(fill->cache->host->paths, fill->key);
    }
    image_finish(fill, &err);
}

static void start_conversion(struct image_fill *fill)
{
    fill->conversion = fill->work->conversion;
    fill->work->conversion = (struct image_conversion){0};
    fill->work = NULL; /* the pool frees it now */
    if (fill->conversion.format) {
        enter_phase(fill, "converting");
    }
    fill->stage =
        image_convert_start(fill->cache->host->loop, &fill->conversion, on_converted, fill);
}

static void finish_work(struct image_fill *fill)
{
    const struct image_work *work = fill->work;
    /* The image may have been removed while it was being looked at: it is fetched again. */
    if (fill->waiters && work->is_cached && !fs_exists(work->path)) {
        start_work(fill);
        return;
    }
    if (work->stamp[0] && fill->image.sha256) {
        image_content_note(fill->cache->contents, work->stamp, fill->image.sha256);
    }
    if (work->stamp[0] && work->info.format == IMAGE_QCOW2) {
        image_content_note(fill->cache->contents, work->stamp, CHECKED);
    }
    image_finish(fill, NULL);
}

static void on_worked(void *context, const struct error *err)
{
    struct image_fill *fill = context;
    enum image_next next = fill->work->next;
    fill->stage = NULL;
    if (err && err->code == ERR_CANCELLED && fill->waiters) { /* they came after it was stopped */
        start_work(fill);
        return;
    }
    if (err || (next != IMAGE_NEXT_DONE && !fill->waiters)) {
        image_finish(fill, err);
        return;
    }
    switch (next) {
    case IMAGE_NEXT_LONG:
        fill->is_long = true;
        fill->conversion = fill->work->conversion;
        fill->work->conversion = (struct image_conversion){0};
        start_work(fill);
        break;
    case IMAGE_NEXT_LAYER:
    case IMAGE_NEXT_DOWNLOAD:
        start_transfer(fill);
        break;
    case IMAGE_NEXT_CONVERT:
        start_conversion(fill);
        break;
    case IMAGE_NEXT_DONE:
        finish_work(fill);
        break;
    }
}

/* A look first, which waits for no image that is long in coming: most are there. */
static void start_work(struct image_fill *fill)
{
    struct reconciler_host *host = fill->cache->host;
    struct image_work *work = image_work_new(host->paths, &fill->image, clock_boot_id(host->clock));
    memcpy(work->key, fill->key, sizeof(work->key));
    work->passes_cache = fill->passes_cache;
    work->known_etag = mem_strdup(fill->known_etag);
    work->is_downloaded = fill->is_downloaded;
    oci_layer_copy(&work->layer, &fill->layer);
    work->stream = image_follower_take(&fill->follower);
    work->conversion = fill->conversion;
    fill->conversion = (struct image_conversion){0};
    recall_verified(fill, work);
    fill->is_long |= fill->is_downloaded;
    work->is_brief = !fill->is_long;
    fill->work = work;
    fill->stage = pool_start_in(host->pool, fill->is_long ? POOL_IMAGE : POOL_SOURCE,
        image_work_run, image_work_release, work, on_worked, fill);
}

/* ---- the callers ---- */

static void cancel_waiter(struct op *op)
{
    struct waiter *waiter = (struct waiter *)op;
    struct image_fill *fill = waiter->fill;
    struct waiter **at = &fill->waiters;
    while (*at != waiter) {
        at = &(*at)->next;
    }
    *at = waiter->next;
    proxies_free(waiter->proxies);
    free(waiter);
    report_fill(fill);
    if (fill->waiters || fill->is_finishing) {
        return;
    }
    /* Of pool work the fill stays until it has ended: a second one would be in its way. */
    if (fill->work) {
        pool_stop(fill->stage);
    } else {
        drop_fill(fill);
    }
}

static struct image_fill *find_fill(const struct image_cache *cache, const char *key)
{
    struct image_fill *fill = cache->fills;
    while (fill && strcmp(fill->key, key) != 0) {
        fill = fill->next;
    }
    return fill;
}

bool image_cache_is_filling(const struct image_cache *cache, const char *key)
{
    return find_fill(cache, key) != NULL;
}

/* Of an image that the cache has, a fill that passes by it has a key, and files, of its own: a VM
 * that wants the image does not wait for that, nor fail with it. */
static struct image_fill *find_or_start(struct image_cache *cache, const struct image_order *order)
{
    char key[DIGEST_SIZE];
    const struct spec_image *image = order->image;
    bool passes_cache = order->passes_cache && image->kind != IMAGE_FILE && !image->sha256;
    image_work_key(image, key);
    if (order->only_looks) {
        cleanup_free char *text = mem_printf("looked:%s", key);
        digest_text(text, key);
    } else if (passes_cache && image_is_in_reach(cache->host->paths, image)) {
        cleanup_free char *text = mem_printf("%s:%s", order->known_etag ? "asked" : "again", key);
        digest_text(text, key);
    }
    struct image_fill *fill = find_fill(cache, key);
    if (fill) {
        return fill;
    }
    fill = mem_new(struct image_fill);
    fill->cache = cache;
    fill->passes_cache = passes_cache;
    fill->only_looks = order->only_looks;
    fill->known_etag = mem_strdup(order->known_etag);
    memcpy(fill->key, key, sizeof(key));
    fill->image.kind = image->kind;
    fill->image.location = mem_strdup(image->location);
    fill->image.sha256 = mem_strdup(image->sha256);
    fill->image.arch = image->arch;
    fill->proxies = proxies_copy(order->proxies);
    fill->total = -1;
    fill->next = cache->fills;
    cache->fills = fill;
    bool is_on_host = image->kind == IMAGE_FILE || url_is_file(image->location);
    if (is_on_host && !image_is_in_reach(cache->host->paths, image)) {
        enter_phase(fill, "copying");
    }
    start_work(fill);
    return fill;
}

json_t *image_cache_describe(const struct image_cache *cache, const char *key)
{
    const struct image_fill *fill = find_fill(cache, key);
    int64_t n_waiting = 0, n_pulls = 0;
    if (!fill || !fill->phase) {
        return NULL;
    }
    for (const struct waiter *w = fill->waiters; w; w = w->next) {
        n_waiting++;
        n_pulls += w->is_pull;
    }
    json_t *record = json_object();
    json_put_text(record, "session", cache->host->session);
    json_put_text(record, "phase", fill->phase);
    json_put_text(record, fill->image.kind != IMAGE_FILE ? "url" : "path", fill->image.location);
    json_put_text(record, "pin", fill->image.sha256);
    json_put_int(record, "vms", n_waiting - n_pulls);
    json_put_int(record, "pulls", n_pulls);
    if (fill->have > 0) {
        json_put_int(record, "have", fill->have);
        json_put_int(record, "total", fill->total);
        json_put_int(record, "bytesPerSecond", fill->rate);
    }
    return record;
}

struct op *image_fetch(struct image_cache *cache, const struct image_order *order,
    struct image_result *result, op_done_fn *done, void *context)
{
    struct waiter *waiter = mem_new(struct waiter);
    waiter->op = (struct op){cancel_waiter, done, context};
    waiter->is_pull = order->is_pull;
    waiter->result = result;
    waiter->proxies = proxies_copy(order->proxies);
    join_fill(waiter, find_or_start(cache, order));
    return &waiter->op;
}

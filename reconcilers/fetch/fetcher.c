/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/fetch/fetcher.h"

#include <stdbool.h>
#include <stdlib.h>

#include "controller/http/multi.h"
#include "controller/loop/loop.h"
#include "reconcilers/fetch/download.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"

enum { ACTIVE_MAX = 3, PROGRESS_INTERVAL_MS = 500 };

struct transfer {
    struct op op;            /* first: op_cancel() finds the transfer by it */
    struct fetcher *fetcher; /* borrowed: outlives its transfers, see fetcher_free() */
    struct transfer *next;
    struct download download;
    struct multi_transfer wire; /* not active while it waits */
    bool was_restarted;
    struct loop_timer *progress_timer;
    bool *is_unchanged; /* borrowed until `done` */
    fetch_progress_fn *progress;
    fetch_arrival_fn *arrived;
};

struct fetcher {
    struct loop *loop; /* borrowed: the process's */
    struct multi *multi;
    struct transfer *transfers; /* in order of arrival */
    unsigned n_active;
};

static void start_waiting(struct fetcher *f);

/* The link that points to `t`; with `t` NULL, the one at the end. */
static struct transfer **link_of(struct fetcher *f, const struct transfer *t)
{
    struct transfer **at = &f->transfers;
    while (*at != t) {
        at = &(*at)->next;
    }
    return at;
}

static void deactivate(struct transfer *t)
{
    if (t->wire.is_active) {
        multi_stop(t->fetcher->multi, &t->wire);
        t->fetcher->n_active--;
    }
}

static void cancel_transfer(struct op *op)
{
    struct transfer *t = (struct transfer *)(void *)op;
    struct fetcher *f = t->fetcher;
    deactivate(t);
    *link_of(f, t) = t->next;
    loop_timer_free(t->progress_timer);
    download_clear(&t->download);
    proxies_free(t->wire.proxies);
    free(t);
    start_waiting(f);
}

static void activate(struct transfer *t)
{
    t->fetcher->n_active++;
    multi_start(t->fetcher->multi, &t->wire);
}

static void on_transfer_end(void *context, CURLcode code)
{
    struct transfer *t = context;
    struct error err = {0};
    int rc = 0;
    enum download_next next = download_result(&t->download, code, &rc, &err);
    if (next == DOWNLOAD_CONTINUE || (next == DOWNLOAD_RESTART && !t->was_restarted)) {
        deactivate(t);
        if (next == DOWNLOAD_RESTART) {
            t->was_restarted = true;
            download_restart(&t->download);
        } else {
            download_continue(&t->download);
        }
        activate(t);
        return;
    }
    if (err.code == ERR_IMAGE_DOWNLOAD || err.code == ERR_IMAGE_NOT_FOUND) {
        proxies_blame(t->wire.proxies, multi_url(&t->wire), &err);
    }
    if (t->download.is_unchanged) {
        *t->is_unchanged = true;
    }
    op_finish(&t->op, rc < 0 ? &err : NULL);
}

int fetcher_new(struct loop *loop, struct fetcher **ret, struct error *err)
{
    struct multi *multi = NULL;
    int rc = multi_new(loop, &multi, err);
    if (rc < 0) {
        return rc;
    }
    struct fetcher *f = mem_new(struct fetcher);
    f->loop = loop;
    f->multi = multi;
    *ret = f;
    return 0;
}

void fetcher_free(struct fetcher *f)
{
    if (f) {
        multi_free(f->multi);
        free(f);
    }
}

struct multi *fetcher_multi(struct fetcher *f)
{
    return f->multi;
}

/* Called by a timer and not by curl's progress function, so that the receiver may cancel. */
static void on_progress(void *context)
{
    struct transfer *t = context;
    loop_timer_start(t->progress_timer, PROGRESS_INTERVAL_MS);
    if (t->wire.is_active) {
        t->progress(t->op.context, t->download.at, t->download.part.length);
    }
}

static void start_waiting(struct fetcher *f)
{
    for (struct transfer *t = f->transfers; t && f->n_active < ACTIVE_MAX; t = t->next) {
        if (!t->wire.is_active) {
            activate(t);
        }
    }
}

static void on_arrival(void *context)
{
    struct transfer *t = context;
    t->arrived(t->op.context, t->download.n_begun, t->download.at);
}

struct op *fetcher_get(
    struct fetcher *f, const struct fetch_order *order, op_done_fn *done, void *context)
{
    struct transfer *t = mem_new(struct transfer);
    t->op = (struct op){cancel_transfer, done, context};
    t->fetcher = f;
    t->progress = order->progress;
    t->arrived = order->arrived;
    t->is_unchanged = order->is_unchanged;
    download_init(&t->download, order->part, order->authorization, order->known_etag);
    t->download.arrived = on_arrival;
    t->download.context = t;
    t->wire = (struct multi_transfer){.easy = t->download.easy,
        .proxies = proxies_copy(order->proxies),
        .ended = on_transfer_end,
        .context = t};
    *link_of(f, NULL) = t;
    t->progress_timer = loop_timer_new(f->loop, on_progress, t);
    loop_timer_start(t->progress_timer, PROGRESS_INTERVAL_MS);
    start_waiting(f);
    return &t->op;
}

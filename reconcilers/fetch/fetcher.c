/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/fetch/fetcher.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdlib.h>

#include "controller/loop.h"
#include "reconcilers/fetch/download.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

enum { ACTIVE_MAX = 3, PROGRESS_INTERVAL_MS = 500 };

struct transfer {
    struct op op; /* first: op_cancel() finds the transfer by it */
    struct fetcher *fetcher; /* borrowed: outlives its transfers, see fetcher_free() */
    struct transfer *next;
    struct download download;
    bool is_active; /* on the multi handle, not waiting its turn */
    bool was_restarted;
    int64_t shown;
    struct loop_timer *progress_timer;
    fetch_progress_fn *progress;
    op_done_fn *done;
    void *context;
};

struct fetcher {
    struct loop *loop; /* borrowed: the process's */
    CURLM *multi;
    struct loop_timer *timer;
    struct transfer *transfers; /* in order of arrival */
    unsigned n_active;
};

static void pump(struct fetcher *f);

static void unlink_transfer(struct transfer *t)
{
    struct transfer **at = &t->fetcher->transfers;
    while (*at != t) {
        at = &(*at)->next;
    }
    *at = t->next;
}

static void deactivate(struct transfer *t)
{
    if (t->is_active) {
        curl_multi_remove_handle(t->fetcher->multi, t->download.easy);
        t->is_active = false;
        t->fetcher->n_active--;
    }
}

static void free_transfer(struct transfer *t)
{
    deactivate(t);
    unlink_transfer(t);
    loop_timer_free(t->progress_timer);
    download_clear(&t->download);
    free(t);
}

static void complete(struct transfer *t, const struct error *err)
{
    struct fetcher *f = t->fetcher;
    op_done_fn *done = t->done;
    void *context = t->context;
    free_transfer(t);
    pump(f);
    done(context, err);
}

static void activate(struct transfer *t)
{
    t->is_active = true;
    t->fetcher->n_active++;
    /* Only starts a timer: no byte moves before the loop's next turn. */
    curl_multi_add_handle(t->fetcher->multi, t->download.easy);
}

static void on_transfer_end(struct transfer *t, CURLcode code)
{
    struct error err = {0};
    int rc = 0;
    bool must_restart = download_result(&t->download, code, &rc, &err);
    if (must_restart && !t->was_restarted) {
        t->was_restarted = true;
        deactivate(t);
        download_restart(&t->download);
        activate(t);
        return;
    }
    complete(t, rc < 0 ? &err : NULL);
}

/* Called only from the loop's own callbacks, never from inside curl's. */
static void collect_results(struct fetcher *f)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(f->multi, &left))) {
        struct transfer *t = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
        on_transfer_end(t, message->data.result); /* frees the message with the handle */
    }
}

static void on_socket(void *context, int fd, unsigned ready)
{
    struct fetcher *f = context;
    int events = (ready & LOOP_READ ? CURL_CSELECT_IN : 0)
        | (ready & LOOP_WRITE ? CURL_CSELECT_OUT : 0);
    int running;
    curl_multi_socket_action(f->multi, fd, events, &running);
    collect_results(f);
}

static void on_timer(void *context)
{
    struct fetcher *f = context;
    int running;
    curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect_results(f);
}

/* curl's: watch `fd` for `what`. `watch` is what we assigned to the socket, NULL at first. */
static int want_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *watch)
{
    (void)easy;
    struct fetcher *f = context;
    struct loop_io *io = watch;
    if (what == CURL_POLL_REMOVE) {
        loop_io_free(io);
        curl_multi_assign(f->multi, fd, NULL);
        return 0;
    }
    unsigned interest = (what & CURL_POLL_IN ? (unsigned)LOOP_READ : 0)
        | (what & CURL_POLL_OUT ? (unsigned)LOOP_WRITE : 0);
    if (io) {
        loop_io_set(io, interest);
    } else {
        curl_multi_assign(f->multi, fd, loop_io_new(f->loop, fd, interest, on_socket, f));
    }
    return 0;
}

/* curl's: call back after `timeout_ms`; 0 is "soon", but not from in here. */
static int want_timer(CURLM *multi, long timeout_ms, void *context)
{
    (void)multi;
    struct fetcher *f = context;
    if (timeout_ms < 0) {
        loop_timer_stop(f->timer);
    } else {
        loop_timer_start(f->timer, timeout_ms);
    }
    return 0;
}

int fetcher_new(struct loop *loop, struct fetcher **ret, struct error *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return error_set(err, ERR_IMAGE_DOWNLOAD, "cannot initialise libcurl");
    }
    CURLM *multi = curl_multi_init();
    if (!multi) {
        curl_global_cleanup();
        return error_set(err, ERR_IMAGE_DOWNLOAD, "cannot initialise libcurl");
    }
    struct fetcher *f = mem_new(struct fetcher);
    f->loop = loop;
    f->multi = multi;
    f->timer = loop_timer_new(loop, on_timer, f);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, want_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, f);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, want_timer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, f);
    *ret = f;
    return 0;
}

void fetcher_free(struct fetcher *f)
{
    if (f) {
        curl_multi_cleanup(f->multi);
        curl_global_cleanup();
        loop_timer_free(f->timer);
        free(f);
    }
}

/* From a timer and not from curl's progress function, so that the receiver may cancel. */
static void on_progress(void *context)
{
    struct transfer *t = context;
    loop_timer_start(t->progress_timer, PROGRESS_INTERVAL_MS);
    if (t->download.at != t->shown) {
        t->shown = t->download.at;
        t->progress(t->context, t->download.at, t->download.part.length);
    }
}

static void cancel_transfer(struct op *op)
{
    struct transfer *t = (struct transfer *)op;
    struct fetcher *f = t->fetcher;
    free_transfer(t);
    pump(f);
}

static void pump(struct fetcher *f)
{
    for (struct transfer *t = f->transfers; t && f->n_active < ACTIVE_MAX; t = t->next) {
        if (!t->is_active) {
            activate(t);
        }
    }
}

struct op *fetcher_get(struct fetcher *f, const struct part *part, fetch_progress_fn *progress,
    op_done_fn *done, void *context)
{
    struct transfer *t = mem_new(struct transfer);
    t->op.cancel = cancel_transfer;
    t->fetcher = f;
    t->shown = -1;
    t->progress = progress;
    t->done = done;
    t->context = context;
    download_init(&t->download, part);
    curl_easy_setopt(t->download.easy, CURLOPT_PRIVATE, t);
    struct transfer **end = &f->transfers;
    while (*end) {
        end = &(*end)->next;
    }
    *end = t;
    if (progress) {
        t->progress_timer = loop_timer_new(f->loop, on_progress, t);
        loop_timer_start(t->progress_timer, PROGRESS_INTERVAL_MS);
    }
    pump(f);
    return &t->op;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include <stdlib.h>
#include <string.h>

#include "controller/fleet/etcd/grpc.h"
#include "controller/fleet/etcd/members.h"
#include "controller/fleet/etcd/messages.h"
#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/mem.h"

enum {
    TICK_MS = 6000,     /* from an answer to the next question: each costs two wake-ups */
    ANSWER_MS = 2000,   /* so long it is waited for */
    UNANSWERED_MAX = 2, /* questions without a word */
    BEHIND_MAX = 2,     /* answers of a store that has not reached the watch's revision */
    REQUEST_MAX = 1 << 20,
};

struct watch {
    struct op op; /* first */
    struct members *members;
    struct grpc_call *call;
    struct loop_timer *tick;
    size_t index;
    size_t n_tried;
    struct buf frames; /* that start it: sent to the next endpoint, too */
    size_t n_prefixes;
    size_t n_created;
    int64_t from;
    int64_t answered; /* the revision of the last answer, which is not yet sure; 0: none */
    unsigned n_unanswered;
    unsigned n_behind;
    bool has_heard; /* since the last question … */
    bool awaits;    /* … which has no answer yet */
    engine_events_fn *events;
    bool *is_gone; /* set when it is freed, of the function that calls `events` */
};

static int watch_try(struct watch *watch, struct error *err);

static void cancel(struct op *op)
{
    struct watch *watch = (struct watch *)(void *)op;
    if (watch->is_gone) {
        *watch->is_gone = true;
    }
    watch->members->n_watches--;
    grpc_cancel(watch->call);
    loop_timer_free(watch->tick);
    buf_clear(&watch->frames);
    free(watch);
}

/* The endpoint is at fault: what is next begins at another. */
static void watch_fail(struct watch *watch, const struct error *err)
{
    members_fail(watch->members, watch->index);
    op_finish(&watch->op, err);
}

static const char *endpoint_of(const struct watch *watch)
{
    return watch->members->list[watch->index].url;
}

/* ---- what comes ---- */

/* False: the watch is gone. */
static bool watch_report(
    struct watch *watch, const struct engine_event *events, size_t n, int64_t revision)
{
    bool is_gone = false;
    watch->is_gone = &is_gone;
    watch->events(watch->op.context, events, n, revision);
    if (!is_gone) {
        watch->is_gone = NULL;
    }
    return !is_gone;
}

/* An etcd that may answer too early is taken at its word with the next answer: by then the events
 * have come. */
static void take_progress(struct watch *watch, int64_t revision)
{
    struct error err = {0};
    bool is_exact = watch->members->list[watch->index].is_progress_exact;
    int64_t sure = is_exact ? revision : watch->answered;
    if (watch->n_created < watch->n_prefixes) {
        return;
    }
    watch->n_behind = revision < watch->from - 1 ? watch->n_behind + 1 : 0;
    if (watch->n_behind >= BEHIND_MAX) {
        (void)error_set(&err, ERR_FLEET_UNREACHABLE,
            "%s: it is at revision %lld, and was at %lld: it lags, or was restored",
            endpoint_of(watch), (long long)revision, (long long)watch->from - 1);
        watch_fail(watch, &err);
    } else if (watch->n_behind == 0) {
        watch->answered = revision;
        if (sure > 0) {
            (void)watch_report(watch, NULL, 0, sure);
        }
    }
}

static void on_message(void *context, const struct bytes *bytes)
{
    struct watch *watch = context;
    struct watch_message message;
    struct error err = {0};
    watch->has_heard = true;
    if (message_read_watch(bytes, &message, &err) < 0) {
        (void)error_wrap(&err, "%s", endpoint_of(watch));
        op_finish(&watch->op, &err);
        return;
    }
    switch (message.news) {
    case WATCH_CREATED:
        watch->n_created++;
        break;
    case WATCH_EVENTS:
        if (message.n_events > 0) {
            (void)watch_report(watch, message.events, message.n_events, message.revision);
        }
        break;
    case WATCH_PROGRESS:
        watch->awaits = false;
        watch->n_unanswered = 0;
        loop_timer_start(watch->tick, TICK_MS);
        take_progress(watch, message.revision);
        break;
    case WATCH_NOTHING:
        break;
    }
    watch_message_clear(&message);
}

static void on_end(void *context, const struct grpc_end *end)
{
    struct watch *watch = context;
    struct error err = end->err;
    bool is_refused;
    bool is_elsewhere;
    watch->call = NULL;
    if (end->ending == GRPC_STATUS && end->status == 0) {
        (void)error_set(&err, ERR_FLEET_UNREACHABLE, "%s: it ended the watch", endpoint_of(watch));
    } else if (end->ending == GRPC_STATUS) {
        (void)message_status_error(end->status, end->words, &is_refused, &is_elsewhere, &err);
        (void)error_wrap(&err, "%s", endpoint_of(watch));
    }
    if (end->ending == GRPC_NOT_SENT) {
        size_t failed = watch->index;
        bool is_next = members_next(watch->members, &watch->index, &watch->n_tried);
        members_fail(watch->members, failed);
        if (is_next) {
            error_clear(&err);
            if (watch_try(watch, &err) == 0) {
                return;
            }
        }
        op_finish(&watch->op, &err);
    } else {
        watch_fail(watch, &err);
    }
}

/* The first begins the watch: an error that is known at once is reported by the loop, too. */
static void on_tick(void *context)
{
    struct watch *watch = context;
    struct error err = {0};
    bool is_begin = !watch->call;
    if (is_begin && watch_try(watch, &err) < 0) {
        op_finish(&watch->op, &err);
        return;
    }
    bool is_silent = watch->awaits && !watch->has_heard && !is_begin;
    watch->n_unanswered = is_silent ? watch->n_unanswered + 1 : 0;
    watch->has_heard = false;
    watch->awaits = true;
    if (watch->n_unanswered >= UNANSWERED_MAX) {
        (void)error_set(&err, ERR_FLEET_UNREACHABLE, "%s: no answer for %d s", endpoint_of(watch),
            UNANSWERED_MAX * ANSWER_MS / 1000);
        watch_fail(watch, &err);
        return;
    }
    cleanup_buf struct buf frame = BUF_INIT(0);
    message_write_progress(&frame);
    grpc_send(watch->call, &frame);
    loop_timer_start(watch->tick, ANSWER_MS);
}

/* ---- its begin ---- */

static int watch_try(struct watch *watch, struct error *err)
{
    struct grpc_channel *channel = members_channel(watch->members, watch->index, err);
    if (!channel) {
        return -(int)err->code;
    }
    struct buf frames = BUF_INIT(0);
    buf_add(&frames, buf_str(&watch->frames), watch->frames.len);
    struct grpc_request request = {
        .method = "/etcdserverpb.Watch/Watch",
        .connect_ms = members_connect_ms(watch->members),
        .needs_leader = true,
        .message_max = ENGINE_ANSWER_MAX,
        .stays_open = true,
        .message = on_message,
        .end = on_end,
        .context = watch,
    };
    watch->n_created = 0;
    watch->call = grpc_start(channel, &request, &frames);
    return 0;
}

struct op *members_watch(struct members *members, const struct engine_watch *asked,
    engine_events_fn *events, op_done_fn *done, void *context)
{
    struct watch *watch = mem_new(struct watch);
    watch->op = (struct op){cancel, done, context};
    watch->members = members;
    watch->index = members->current;
    watch->frames = BUF_INIT(REQUEST_MAX);
    watch->n_prefixes = asked->n_prefixes;
    watch->from = asked->revision;
    watch->events = events;
    for (size_t i = 0; i < asked->n_prefixes; i++) {
        message_write_watch(&watch->frames, asked->prefixes[i], asked->revision, (int64_t)i + 1);
    }
    watch->tick = loop_timer_new(members->loop, on_tick, watch);
    loop_timer_start(watch->tick, 0);
    members->n_watches++;
    return &watch->op;
}

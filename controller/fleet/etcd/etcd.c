/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/etcd/etcd.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/fleet/certificate.h"
#include "controller/fleet/etcd/grpc.h"
#include "controller/fleet/etcd/members.h"
#include "controller/fleet/etcd/messages.h"
#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/url.h"

struct etcd {
    struct engine engine; /* first */
    struct members members;
    size_t n_requests; /* that are not over */
};

enum kind { RANGE, TXN, GRANT, KEEP, REVOKE, STATUS };

static const char *const methods[] = {
    [RANGE] = "/etcdserverpb.KV/Range",
    [TXN] = "/etcdserverpb.KV/Txn",
    [GRANT] = "/etcdserverpb.Lease/LeaseGrant",
    [KEEP] = "/etcdserverpb.Lease/LeaseKeepAlive", /* a stream of one message each way */
    [REVOKE] = "/etcdserverpb.Lease/LeaseRevoke",
    [STATUS] = "/etcdserverpb.Maintenance/Status",
};

struct request {
    struct op op; /* first */
    struct etcd *etcd;
    enum kind kind;
    bool is_repeatable; /* doing it twice is as good as once */
    bool needs_leader;
    bool is_pinned; /* to `index` */
    struct buf frame;
    int64_t deadline_ms;
    size_t index;
    size_t n_tried;
    struct grpc_call *call;
    struct loop_timer *stillborn; /* reports what is wrong before anything is sent */
    bool may_have_happened;
    bool is_answered;
    struct error unread; /* why the answer cannot be read */
    struct error err;    /* the most telling of all tries */
    size_t n_writes;
    size_t n_reads;
    struct engine_rows got_rows;
    struct engine_result got_result;
    struct engine_lease got_lease;
    struct engine_status got_status;
    void *result; /* the caller's, of the type of `kind` */
};

static void request_try(struct request *request);

/* ---- the end ---- */

static void cancel(struct op *op)
{
    struct request *request = (struct request *)(void *)op;
    request->etcd->n_requests--;
    grpc_cancel(request->call);
    loop_timer_free(request->stillborn);
    buf_clear(&request->frame);
    engine_rows_clear(&request->got_rows);
    engine_result_clear(&request->got_result);
    free(request);
}

/* Hands the answer over. */
static void request_give(struct request *request)
{
    switch (request->kind) {
    case RANGE:
        *(struct engine_rows *)request->result = request->got_rows;
        request->got_rows = (struct engine_rows){0};
        break;
    case TXN:
        *(struct engine_result *)request->result = request->got_result;
        request->got_result = (struct engine_result){0};
        break;
    case GRANT:
    case KEEP:
        *(struct engine_lease *)request->result = request->got_lease;
        break;
    case REVOKE:
        break;
    case STATUS:
        *(struct engine_status *)request->result = request->got_status;
        break;
    }
}

static void request_end(struct request *request)
{
    struct error *err = &request->err;
    if (err->code == ERR_NONE) {
        request_give(request);
    } else if (request->kind == TXN) {
        ((struct engine_result *)request->result)->outcome =
            request->may_have_happened ? ENGINE_UNKNOWN : ENGINE_NOT_DONE;
    }
    if (err->code == ERR_FLEET_UNREACHABLE && request->n_tried > 1) {
        (void)error_wrap(err, "no answer from %zu members of the fleet's store", request->n_tried);
    }
    op_finish(&request->op, err->code != ERR_NONE ? err : NULL);
}

/* ---- an answer ---- */

static int read_answer(struct request *request, const struct bytes *message, struct error *err)
{
    switch (request->kind) {
    case RANGE:
        return message_read_range(message, &request->got_rows, err);
    case TXN:
        return message_read_txn(
            message, request->n_writes, request->n_reads, &request->got_result, err);
    case GRANT:
    case KEEP:
        return message_read_lease(message, &request->got_lease, err);
    case REVOKE:
        return 0;
    case STATUS:
        return message_read_status(message, &request->got_status, err);
    }
    return 0;
}

static void on_message(void *context, const struct bytes *message)
{
    struct request *request = context;
    if (!request->is_answered) {
        request->is_answered = true;
        (void)read_answer(request, message, &request->unread);
    }
}

/* 3.4.25 and 3.5.8 and newer, see members.h. */
static bool is_progress_exact(const char *version)
{
    int minor = 0;
    int patch = 0;
    (void)sscanf(version, "3.%3d.%3d", &minor, &patch);
    return minor > 5 || (minor == 5 && patch >= 8) || (minor == 4 && patch >= 25);
}

static void note_status(struct request *request)
{
    struct member *member = &request->etcd->members.list[request->index];
    struct engine_status *status = &request->got_status;
    snprintf(status->endpoint, sizeof(status->endpoint), "%s", member->url);
    member->is_progress_exact = is_progress_exact(status->version);
}

/* Status 0: what it says is the answer, or there is none. */
static void request_take_answer(struct request *request, struct error *err)
{
    if (!request->is_answered) {
        (void)error_set(err, ERR_FLEET_VERSION, "its answer is empty");
    } else {
        *err = request->unread;
    }
    request->may_have_happened |= err->code != ERR_NONE;
    if (err->code == ERR_NONE && request->kind == STATUS) {
        note_status(request);
    }
}

/* What one try came to: `err` stays empty if it was done. True: another member may do it. */
static bool judge(struct request *request, const struct grpc_end *end, struct error *err)
{
    bool is_refused = false;
    bool is_elsewhere = true;
    if (end->ending == GRPC_STATUS && end->status == 0) {
        request_take_answer(request, err);
        return false;
    }
    if (end->ending == GRPC_STATUS) {
        (void)message_status_error(end->status, end->words, &is_refused, &is_elsewhere, err);
        if (request->kind == REVOKE && err->code == ERR_FLEET_LEASE) {
            error_clear(err);
            return false;
        }
    } else {
        *err = end->err;
        is_refused = end->ending == GRPC_NOT_SENT;
        is_elsewhere = end->ending != GRPC_STRANGE || err->code == ERR_FLEET_VERSION;
    }
    request->may_have_happened |= !is_refused;
    if (is_elsewhere) {
        members_fail(&request->etcd->members, request->index);
    }
    return is_elsewhere && (is_refused || request->is_repeatable);
}

static void on_end(void *context, const struct grpc_end *end)
{
    struct request *request = context;
    struct members *members = &request->etcd->members;
    struct error err = {0};
    const char *url = members->list[request->index].url;
    request->call = NULL;
    bool may_try = judge(request, end, &err);
    if (err.code == ERR_NONE) {
        error_clear(&request->err);
        request_end(request);
        return;
    }
    if (end->ending == GRPC_STATUS) {
        (void)error_wrap(&err, "%s", url);
    }
    if (request->err.code == ERR_NONE || request->err.code == ERR_FLEET_UNREACHABLE) {
        request->err = err;
    }
    request->is_answered = false;
    error_clear(&request->unread);
    if (may_try && !request->is_pinned &&
        members_next(members, &request->index, &request->n_tried)) {
        request_try(request);
    } else {
        request_end(request);
    }
}

/* ---- a request ---- */

/* How long this try may take. One that can be repeated leaves time for another member: the first of
 * them may hang, without a sign on the connection. */
static int64_t try_ms(const struct request *request)
{
    int64_t left = request->deadline_ms - loop_now_ms(request->etcd->members.loop);
    bool has_another = !request->is_pinned && request->n_tried + 1 < request->etcd->members.n;
    return request->is_repeatable && has_another ? left / 2 : left;
}

static void request_try(struct request *request)
{
    struct members *members = &request->etcd->members;
    struct error err = {0};
    int64_t timeout_ms = try_ms(request);
    struct grpc_channel *channel =
        timeout_ms > 0 ? members_channel(members, request->index, &err) : NULL;
    if (!channel) {
        if (request->err.code == ERR_NONE) {
            request->err = err;
        }
        request_end(request);
        return;
    }
    struct grpc_request call = {
        .method = methods[request->kind],
        .connect_ms = members_connect_ms(members),
        .timeout_ms = timeout_ms,
        .needs_leader = request->needs_leader,
        .message_max = ENGINE_ANSWER_MAX,
        .message = on_message,
        .end = on_end,
        .context = request,
    };
    struct buf frame = BUF_INIT(request->frame.max);
    buf_add(&frame, buf_str(&request->frame), request->frame.len);
    request->call = grpc_start(channel, &call, &frame);
}

static void on_start(void *context)
{
    struct request *request = context;
    if (request->err.code != ERR_NONE) {
        request_end(request);
    } else {
        request_try(request);
    }
}

static struct request *request_new(
    struct engine *engine, enum kind kind, void *result, op_done_fn *done, void *context)
{
    struct etcd *etcd = (struct etcd *)(void *)engine;
    struct request *request = mem_new(struct request);
    request->op = (struct op){cancel, done, context};
    request->etcd = etcd;
    request->kind = kind;
    request->is_repeatable = kind != TXN && kind != GRANT;
    request->needs_leader = kind != STATUS;
    request->frame = BUF_INIT(2 * ENGINE_REQUEST_MAX);
    request->index = etcd->members.current;
    request->deadline_ms = loop_now_ms(etcd->members.loop) + engine->timeout_ms;
    request->result = result;
    request->stillborn = loop_timer_new(etcd->members.loop, on_start, request);
    loop_timer_start(request->stillborn, 0);
    etcd->n_requests++;
    return request;
}

static struct op *etcd_range(struct engine *engine, const struct engine_range *range,
    struct engine_rows *rows, op_done_fn *done, void *context)
{
    struct request *request = request_new(engine, RANGE, rows, done, context);
    request->needs_leader = !range->may_be_stale;
    message_write_range(&request->frame, range);
    return &request->op;
}

static struct op *etcd_txn(struct engine *engine, const struct engine_txn *txn,
    struct engine_result *result, op_done_fn *done, void *context)
{
    struct request *request = request_new(engine, TXN, result, done, context);
    request->is_repeatable = txn->n_writes == 0;
    request->n_writes = txn->n_writes;
    request->n_reads = txn->n_reads;
    result->outcome = ENGINE_NOT_DONE;
    if (engine_txn_check(txn, &request->err) == 0) {
        message_write_txn(&request->frame, txn);
    }
    return &request->op;
}

static struct op *etcd_lease_grant(struct engine *engine, int64_t ttl_ms,
    struct engine_lease *lease, op_done_fn *done, void *context)
{
    struct request *request = request_new(engine, GRANT, lease, done, context);
    message_write_grant(&request->frame, ttl_ms);
    return &request->op;
}

static struct op *etcd_lease_keep(
    struct engine *engine, int64_t id, struct engine_lease *lease, op_done_fn *done, void *context)
{
    struct request *request = request_new(engine, KEEP, lease, done, context);
    message_write_lease(&request->frame, id);
    return &request->op;
}

static struct op *etcd_lease_revoke(
    struct engine *engine, int64_t id, op_done_fn *done, void *context)
{
    struct request *request = request_new(engine, REVOKE, NULL, done, context);
    message_write_lease(&request->frame, id);
    return &request->op;
}

static struct op *etcd_status(struct engine *engine, const char *endpoint,
    struct engine_status *status, op_done_fn *done, void *context)
{
    struct request *request = request_new(engine, STATUS, status, done, context);
    struct members *members = &request->etcd->members;
    message_write_status(&request->frame);
    if (endpoint) {
        request->is_pinned = true;
        request->index = 0;
        while (
            request->index < members->n && !text_eq(members->list[request->index].url, endpoint)) {
            request->index++;
        }
        if (request->index == members->n) {
            request->index = 0;
            (void)error_set(
                &request->err, ERR_USAGE, "'%s' is not a configured endpoint", endpoint);
        }
    }
    return &request->op;
}

static struct op *etcd_watch(struct engine *engine, const struct engine_watch *watch,
    engine_events_fn *events, op_done_fn *done, void *context)
{
    return members_watch(&((struct etcd *)(void *)engine)->members, watch, events, done, context);
}

/* ---- the engine ---- */

static void etcd_close(struct engine *engine)
{
    struct etcd *etcd = (struct etcd *)(void *)engine;
    struct members *members = &etcd->members;
    assert(etcd->n_requests == 0 && members->n_watches == 0);
    for (size_t i = 0; i < members->n; i++) {
        grpc_channel_drop(members->list[i].channel);
        free(members->list[i].url);
    }
    free(members->list);
    free(members->ca);
    free(members->certificate);
    free(members->key);
    free(etcd);
}

static const struct engine_ops etcd_ops = {
    .range = etcd_range,
    .txn = etcd_txn,
    .watch = etcd_watch,
    .lease_grant = etcd_lease_grant,
    .lease_keep = etcd_lease_keep,
    .lease_revoke = etcd_lease_revoke,
    .status = etcd_status,
    .close = etcd_close,
};

static int check_endpoint(const char *url, const struct etcd_config *config, struct error *err)
{
    bool is_plain = text_starts_with(url, "http://127.0.0.1:");
    const char *host = strstr(url, "://");
    if ((!is_plain && !text_starts_with(url, "https://")) || !host[3] || strchr(host + 3, '/') ||
        !text_is_visible(url)) {
        return error_set(err, ERR_USAGE, "endpoint '%s' is not https://HOST:PORT", url);
    }
    if (!is_plain && (!config->ca || !config->certificate || !config->key)) {
        return error_set(
            err, ERR_FLEET_TLS, "endpoint %s needs a CA, a certificate and a key", url);
    }
    return 0;
}

static int check_config(const struct etcd_config *config, struct error *err)
{
    struct certificate_dates dates;
    const char *files[] = {config->ca, config->certificate};
    if (config->n_endpoints == 0) {
        return error_set(err, ERR_USAGE, "the fleet's store has no endpoint");
    }
    for (size_t i = 0; i < config->n_endpoints; i++) {
        if (check_endpoint(config->endpoints[i], config, err) < 0) {
            return -(int)err->code;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (files[i] && certificate_read(files[i], &dates, err) < 0) {
            return -(int)err->code;
        }
    }
    return 0;
}

int etcd_new(
    struct loop *loop, const struct etcd_config *config, struct engine **ret, struct error *err)
{
    if (check_config(config, err) < 0) {
        return -(int)err->code;
    }
    struct etcd *etcd = mem_new(struct etcd);
    etcd->engine = (struct engine){&etcd_ops, ENGINE_TIMEOUT_MS};
    etcd->members = (struct members){
        .loop = loop,
        .list = mem_calloc(config->n_endpoints, sizeof(struct member)),
        .n = config->n_endpoints,
        .ca = mem_strdup(config->ca),
        .certificate = mem_strdup(config->certificate),
        .key = mem_strdup(config->key),
    };
    for (size_t i = 0; i < config->n_endpoints; i++) {
        etcd->members.list[i].url = mem_strdup(config->endpoints[i]);
    }
    *ret = &etcd->engine;
    return 0;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/etcd/messages.h"

#include <etcd.pb-c.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/fleet/etcd/arena.h"
#include "controller/fleet/etcd/frame.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

enum { TTL_MAX_S = 86400 };

/* ---- writing ---- */

static void add_message(struct buf *out, const ProtobufCMessage *message)
{
    size_t n = protobuf_c_message_get_packed_size(message);
    uint8_t head[FRAME_HEAD_SIZE];
    frame_write_head(head, n);
    buf_add(out, head, sizeof(head));
    char *at = buf_extend(out, n);
    if (at) {
        (void)protobuf_c_message_pack(message, (uint8_t *)at);
    }
}

static ProtobufCBinaryData binary(const void *data, size_t n)
{
    return (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)data};
}

static ProtobufCBinaryData binary_key(const char *key)
{
    return binary(key, strlen(key));
}

/* The key behind all that begin with `prefix`, and a NUL, which is the key behind all: the last
 * byte that can be raised is. free() the data. */
static ProtobufCBinaryData prefix_end(const char *prefix)
{
    size_t n = strlen(prefix);
    while (n > 0 && (uint8_t)prefix[n - 1] == 0xff) {
        n--;
    }
    if (n == 0) {
        return binary(mem_calloc(1, 1), 1);
    }
    uint8_t *end = mem_dup(prefix, n);
    end[n - 1]++;
    return binary(end, n);
}

/* Of a whole store: etcd knows no key without bytes. free() the data. */
static ProtobufCBinaryData prefix_begin(const char *prefix)
{
    return prefix[0] ? binary(mem_strdup(prefix), strlen(prefix)) : binary(mem_calloc(1, 1), 1);
}

/* The first key behind `after`. free() the data. */
static ProtobufCBinaryData key_behind(const char *after)
{
    return binary(mem_dup(after, strlen(after) + 1), strlen(after) + 1);
}

static void range_fill(Pb__RangeRequest *to, const struct engine_range *range)
{
    pb__range_request__init(to);
    if (range->is_prefix) {
        to->key = range->after ? key_behind(range->after) : prefix_begin(range->key);
        to->range_end = prefix_end(range->key);
    } else {
        to->key = binary(mem_strdup(range->key), strlen(range->key));
    }
    to->limit = range->limit;
    to->revision = range->revision;
    to->serializable = range->may_be_stale;
    to->keys_only = range->has_keys_only;
}

static void range_clear(Pb__RangeRequest *range)
{
    free(range->key.data);
    free(range->range_end.data);
}

void message_write_range(struct buf *out, const struct engine_range *range)
{
    Pb__RangeRequest message;
    range_fill(&message, range);
    add_message(out, &message.base);
    range_clear(&message);
}

static void compare_fill(Pb__Compare *to, const struct engine_compare *compare)
{
    pb__compare__init(to);
    to->key = binary_key(compare->key);
    switch (compare->condition) {
    case ENGINE_IF_ABSENT:
    case ENGINE_IF_PRESENT:
        to->target = PB__COMPARE__TARGET__CREATE;
        to->operand_case = PB__COMPARE__OPERAND_CREATE_REVISION;
        to->result = compare->condition == ENGINE_IF_PRESENT ? PB__COMPARE__RESULT__GREATER
                                                             : PB__COMPARE__RESULT__EQUAL;
        break;
    case ENGINE_IF_REVISION:
        to->target = PB__COMPARE__TARGET__MOD;
        to->operand_case = PB__COMPARE__OPERAND_MOD_REVISION;
        to->mod_revision = compare->revision;
        break;
    case ENGINE_IF_VALUE:
        to->target = PB__COMPARE__TARGET__VALUE;
        to->operand_case = PB__COMPARE__OPERAND_VALUE;
        to->value = binary(compare->value.data, compare->value.n);
        break;
    }
}

/* A transaction's messages, which point to each other. */
struct txn_parts {
    Pb__Compare *compares;
    Pb__Compare **compare_list;
    Pb__RequestOp *ops;
    Pb__RequestOp **op_list;
    Pb__PutRequest *puts;
    Pb__DeleteRequest *deletes;
    Pb__RangeRequest *ranges;
};

static void write_fill(struct txn_parts *parts, size_t i, const struct engine_write *write)
{
    Pb__RequestOp *op = &parts->ops[i];
    if (write->kind == ENGINE_PUT) {
        Pb__PutRequest *put = &parts->puts[i];
        pb__put_request__init(put);
        put->key = binary_key(write->key);
        put->value = binary(write->value.data, write->value.n);
        put->lease = write->lease;
        op->request_case = PB__REQUEST_OP__REQUEST_PUT;
        op->put = put;
        return;
    }
    Pb__DeleteRequest *request = &parts->deletes[i];
    pb__delete_request__init(request);
    request->key = prefix_begin(write->key);
    if (write->kind == ENGINE_DELETE_PREFIX) {
        request->range_end = prefix_end(write->key);
    }
    op->request_case = PB__REQUEST_OP__REQUEST_DELETE_RANGE;
    op->delete_range = request;
}

static void parts_fill(struct txn_parts *parts, const struct engine_txn *txn)
{
    size_t n_ops = txn->n_writes + txn->n_reads;
    *parts = (struct txn_parts){
        .compares = mem_calloc(txn->n_compares + 1, sizeof(Pb__Compare)),
        .compare_list = mem_calloc(txn->n_compares + 1, sizeof(Pb__Compare *)),
        .ops = mem_calloc(n_ops + 1, sizeof(Pb__RequestOp)),
        .op_list = mem_calloc(n_ops + 1, sizeof(Pb__RequestOp *)),
        .puts = mem_calloc(txn->n_writes + 1, sizeof(Pb__PutRequest)),
        .deletes = mem_calloc(txn->n_writes + 1, sizeof(Pb__DeleteRequest)),
        .ranges = mem_calloc(txn->n_reads + 1, sizeof(Pb__RangeRequest)),
    };
    for (size_t i = 0; i < txn->n_compares; i++) {
        compare_fill(&parts->compares[i], &txn->compares[i]);
        parts->compare_list[i] = &parts->compares[i];
    }
    for (size_t i = 0; i < n_ops; i++) {
        pb__request_op__init(&parts->ops[i]);
        parts->op_list[i] = &parts->ops[i];
        if (i < txn->n_writes) {
            write_fill(parts, i, &txn->writes[i]);
            continue;
        }
        Pb__RangeRequest *range = &parts->ranges[i - txn->n_writes];
        range_fill(range, &txn->reads[i - txn->n_writes]);
        parts->ops[i].request_case = PB__REQUEST_OP__REQUEST_RANGE;
        parts->ops[i].range = range;
    }
}

static void parts_clear(struct txn_parts *parts, const struct engine_txn *txn)
{
    for (size_t i = 0; i < txn->n_writes; i++) {
        free(parts->deletes[i].key.data);
        free(parts->deletes[i].range_end.data);
    }
    for (size_t i = 0; i < txn->n_reads; i++) {
        range_clear(&parts->ranges[i]);
    }
    free(parts->compares);
    free(parts->compare_list);
    free(parts->ops);
    free(parts->op_list);
    free(parts->puts);
    free(parts->deletes);
    free(parts->ranges);
}

void message_write_txn(struct buf *out, const struct engine_txn *txn)
{
    struct txn_parts parts;
    parts_fill(&parts, txn);
    Pb__TxnRequest message = PB__TXN_REQUEST__INIT;
    message.n_compare = txn->n_compares;
    message.compare = parts.compare_list;
    message.n_success = txn->n_writes + txn->n_reads;
    message.success = parts.op_list;
    message.n_failure = txn->n_reads;
    message.failure = parts.op_list + txn->n_writes;
    add_message(out, &message.base);
    parts_clear(&parts, txn);
}

void message_write_grant(struct buf *out, int64_t ttl_ms)
{
    Pb__LeaseGrantRequest message = PB__LEASE_GRANT_REQUEST__INIT;
    message.ttl = (ttl_ms + 999) / 1000;
    add_message(out, &message.base);
}

void message_write_lease(struct buf *out, int64_t id)
{
    Pb__LeaseRequest message = PB__LEASE_REQUEST__INIT;
    message.id = id;
    add_message(out, &message.base);
}

void message_write_status(struct buf *out)
{
    Pb__StatusRequest message = PB__STATUS_REQUEST__INIT;
    add_message(out, &message.base);
}

void message_write_watch(struct buf *out, const char *prefix, int64_t revision, int64_t number)
{
    Pb__WatchCreate create = PB__WATCH_CREATE__INIT;
    Pb__WatchRequest message = PB__WATCH_REQUEST__INIT;
    create.key = prefix_begin(prefix);
    create.range_end = prefix_end(prefix);
    create.start_revision = revision;
    create.watch_id = number;
    message.request_case = PB__WATCH_REQUEST__REQUEST_CREATE;
    message.create = &create;
    add_message(out, &message.base);
    free(create.key.data);
    free(create.range_end.data);
}

void message_write_progress(struct buf *out)
{
    Pb__WatchProgress progress = PB__WATCH_PROGRESS__INIT;
    Pb__WatchRequest message = PB__WATCH_REQUEST__INIT;
    message.request_case = PB__WATCH_REQUEST__REQUEST_PROGRESS;
    message.progress = &progress;
    add_message(out, &message.base);
}

/* ---- reading ---- */

/* NULL: `err` is set. What is returned lives in the arena. */
static void *message_unpack(const ProtobufCMessageDescriptor *type, const struct bytes *message,
    struct arena *arena, struct error *err)
{
    ProtobufCAllocator allocator = {arena_alloc_for, arena_free_nothing, arena};
    void *unpacked =
        protobuf_c_message_unpack(type, &allocator, message->n, (const uint8_t *)message->data);
    if (!unpacked && arena_is_full(arena)) {
        (void)error_set(err, ERR_FLEET_LIMIT, "%s is too large when unpacked", type->short_name);
    } else if (!unpacked) {
        (void)error_set(err, ERR_FLEET_VERSION, "cannot parse %s", type->short_name);
    }
    return unpacked;
}

/* False: its key is none of ours. */
static bool row_fill(struct engine_row *row, const Pb__KeyValue *kv)
{
    if (kv->key.len == 0 || memchr(kv->key.data, '\0', kv->key.len)) {
        return false;
    }
    /* the arena put a NUL behind both */
    *row = (struct engine_row){
        .key = (const char *)kv->key.data,
        .value = {kv->value.len > 0 ? (const char *)kv->value.data : "", kv->value.len},
        .create_revision = kv->create_revision,
        .mod_revision = kv->mod_revision,
        .lease = kv->lease,
    };
    return true;
}

static void rows_fill(struct engine_rows *rows, const Pb__RangeResponse *range)
{
    *rows = (struct engine_rows){.has_more = range->more};
    rows->rows = mem_calloc(range->n_kvs + 1, sizeof(*rows->rows));
    for (size_t i = 0; i < range->n_kvs; i++) {
        rows->n += row_fill(&rows->rows[rows->n], range->kvs[i]) ? 1 : 0;
    }
}

static void free_arena(void *memory)
{
    arena_free(memory);
}

int message_read_range(const struct bytes *message, struct engine_rows *rows, struct error *err)
{
    struct arena *arena = arena_new(message->n);
    Pb__RangeResponse *range = message_unpack(&pb__range_response__descriptor, message, arena, err);
    if (range && (!range->header || (range->more && range->n_kvs == 0))) {
        (void)error_set(err, ERR_FLEET_VERSION, "an answer to a read lacks a part");
        range = NULL;
    }
    if (!range) {
        arena_free(arena);
        return -(int)err->code;
    }
    rows_fill(rows, range);
    rows->revision = range->header->revision;
    rows->store = range->header->cluster_id;
    rows->memory = arena;
    rows->free_memory = free_arena;
    return 0;
}

/* Each read has texts of its own: they are packed again and read as one answer. */
static int read_copy(const Pb__RangeResponse *range, const Pb__Header *header,
    struct engine_rows *rows, struct error *err)
{
    Pb__RangeResponse copy = *range;
    copy.header = (Pb__Header *)(uintptr_t)header;
    size_t n = pb__range_response__get_packed_size(&copy);
    cleanup_free uint8_t *bytes = mem_calloc(1, n + 1);
    pb__range_response__pack(&copy, bytes);
    return message_read_range(&(struct bytes){(const char *)bytes, n}, rows, err);
}

static int txn_fill(const Pb__TxnResponse *txn, size_t n_writes, size_t n_reads,
    struct engine_result *result, struct error *err)
{
    size_t n_before = txn->succeeded ? n_writes : 0;
    if (!txn->header || txn->n_responses != n_before + n_reads) {
        return error_set(err, ERR_FLEET_VERSION, "an answer to a transaction lacks a part");
    }
    struct engine_result got = {
        .outcome = txn->succeeded ? ENGINE_SUCCEEDED : ENGINE_FAILED,
        .revision = txn->header->revision,
        .store = txn->header->cluster_id,
        .reads = n_reads > 0 ? mem_calloc(n_reads, sizeof(*got.reads)) : NULL,
    };
    for (size_t i = 0; i < n_reads; i++) {
        const Pb__ResponseOp *op = txn->responses[n_before + i];
        if (op->response_case != PB__RESPONSE_OP__RESPONSE_RANGE) {
            engine_result_clear(&got);
            return error_set(err, ERR_FLEET_VERSION, "an answer to a transaction lacks a read");
        }
        if (read_copy(op->range, txn->header, &got.reads[i], err) < 0) {
            engine_result_clear(&got);
            return -(int)err->code;
        }
        got.n_reads++;
    }
    *result = got;
    return 0;
}

int message_read_txn(const struct bytes *message, size_t n_writes, size_t n_reads,
    struct engine_result *result, struct error *err)
{
    struct arena *arena = arena_new(message->n);
    const Pb__TxnResponse *txn = message_unpack(&pb__txn_response__descriptor, message, arena, err);
    int rc = txn ? txn_fill(txn, n_writes, n_reads, result, err) : -(int)err->code;
    arena_free(arena);
    return rc;
}

int message_read_lease(const struct bytes *message, struct engine_lease *lease, struct error *err)
{
    struct arena *arena = arena_new(message->n);
    const Pb__LeaseResponse *got =
        message_unpack(&pb__lease_response__descriptor, message, arena, err);
    if (got && got->ttl <= 0) {
        (void)error_set(err, ERR_FLEET_LEASE, "lease %llx has ended", (unsigned long long)got->id);
    } else if (got && got->ttl > TTL_MAX_S) {
        (void)error_set(err, ERR_FLEET_VERSION, "a lease of %lld seconds", (long long)got->ttl);
    } else if (got) {
        *lease = (struct engine_lease){got->id, got->ttl * 1000};
    }
    arena_free(arena);
    return -(int)err->code;
}

/* "3.4.23" and newer than 3.4; 4 is unknown, and its API may be another. */
static bool version_is_known(const char *version)
{
    int major = 0;
    int minor = 0;
    return sscanf(version, "%3d.%3d.", &major, &minor) == 2 && major == 3 && minor >= 4;
}

static void status_fill(struct engine_status *status, const Pb__StatusResponse *got)
{
    *status = (struct engine_status){
        .store = got->header->cluster_id,
        .member = got->header->member_id,
        .leader = got->leader,
        .term = got->raft_term,
        .revision = got->header->revision,
        .size_bytes = got->db_size,
    };
    snprintf(status->version, sizeof(status->version), "%s", got->version);
    for (size_t i = 0; i < got->n_errors; i++) {
        status->is_full |= strstr(got->errors[i], "NOSPACE") != NULL;
    }
}

int message_read_status(
    const struct bytes *message, struct engine_status *status, struct error *err)
{
    struct arena *arena = arena_new(message->n);
    const Pb__StatusResponse *got =
        message_unpack(&pb__status_response__descriptor, message, arena, err);
    if (got && (!got->header || !version_is_known(got->version))) {
        cleanup_buf struct buf version = BUF_INIT(0);
        text_add_beginning(&version, got->version, strlen(got->version), 20);
        (void)error_set(err, ERR_FLEET_VERSION,
            "its version is '%s': it has to be etcd 3.4 or newer", buf_str(&version));
    } else if (got) {
        status_fill(status, got);
    }
    arena_free(arena);
    return -(int)err->code;
}

/* ---- watches ---- */

static int set_words(struct error *err, enum error_code code, const char *words)
{
    cleanup_buf struct buf printable = BUF_INIT(0);
    text_add_beginning(&printable, words, strlen(words), 300);
    return error_set(err, code, "%s", buf_str(&printable));
}

static int watch_ended(const Pb__WatchResponse *got, struct error *err)
{
    if (got->compact_revision > 0) {
        return error_set(err, ERR_FLEET_COMPACTED,
            "the store keeps changes from revision %lld only", (long long)got->compact_revision);
    }
    bool is_denied = strstr(got->cancel_reason, "permission denied") != NULL;
    return set_words(err, is_denied ? ERR_FLEET_DENIED : ERR_FLEET_UNREACHABLE,
        got->cancel_reason[0] ? got->cancel_reason : "the watch was ended");
}

static void events_fill(struct watch_message *to, const Pb__WatchResponse *got)
{
    to->events = mem_calloc(got->n_events + 1, sizeof(*to->events));
    for (size_t i = 0; i < got->n_events; i++) {
        const Pb__Event *from = got->events[i];
        struct engine_event *event = &to->events[to->n_events];
        if (from->kv && row_fill(&event->row, from->kv)) {
            event->kind =
                from->type == PB__EVENT__TYPE__DELETE ? ENGINE_WAS_DELETED : ENGINE_WAS_PUT;
            to->n_events++;
        }
    }
}

int message_read_watch(const struct bytes *message, struct watch_message *ret, struct error *err)
{
    struct arena *arena = arena_new(message->n);
    const Pb__WatchResponse *got =
        message_unpack(&pb__watch_response__descriptor, message, arena, err);
    if (got && !got->header) {
        (void)error_set(err, ERR_FLEET_VERSION, "a message of a watch lacks a part");
    } else if (got && got->canceled) {
        (void)watch_ended(got, err);
    }
    if (err->code != ERR_NONE) {
        arena_free(arena);
        return -(int)err->code;
    }
    /* Progress of all watches has the number -1. */
    enum watch_news without = got->created          ? WATCH_CREATED
                              : got->watch_id == -1 ? WATCH_PROGRESS
                                                    : WATCH_NOTHING;
    *ret = (struct watch_message){.revision = got->header->revision, .memory = arena};
    events_fill(ret, got);
    ret->news = got->n_events > 0 ? WATCH_EVENTS : without;
    return 0;
}

void watch_message_clear(struct watch_message *message)
{
    free(message->events);
    arena_free(message->memory);
    *message = (struct watch_message){0};
}

/* ---- statuses ---- */

/* The first that fits. gRPC's numbers, https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
static const struct {
    int status;
    const char *words; /* in etcd's text; NULL: any */
    enum error_code code;
    bool is_refused;
    bool is_elsewhere;
} meanings[] = {
    {3, "too many operations", ERR_FLEET_LIMIT, true, false},
    {3, "request is too large", ERR_FLEET_LIMIT, true, false},
    {3, "user name is empty", ERR_FLEET_DENIED, true, false}, /* a certificate without a name */
    {3, NULL, ERR_FLEET_VERSION, true, false},
    {4, NULL, ERR_FLEET_UNREACHABLE, false, true},
    {5, "lease not found", ERR_FLEET_LEASE, true, false},
    {7, NULL, ERR_FLEET_DENIED, true, false},
    {8, "database space exceeded", ERR_FLEET_FULL, true, false},
    {8, "too many requests", ERR_FLEET_UNREACHABLE, true, true},
    {8, NULL, ERR_FLEET_LIMIT, true, false},
    {11, "compacted", ERR_FLEET_COMPACTED, true, false},
    {11, "future revision", ERR_FLEET_COMPACTED, true, false},
    {12, NULL, ERR_FLEET_VERSION, true, false},
    {14, "no leader", ERR_FLEET_UNREACHABLE, true, true},
    {14, NULL, ERR_FLEET_UNREACHABLE, false, true},
    {16, NULL, ERR_FLEET_DENIED, true, false},
};

int message_status_error(
    int status, const char *words, bool *ret_is_refused, bool *ret_is_elsewhere, struct error *err)
{
    enum error_code code = ERR_FLEET_UNREACHABLE;
    *ret_is_refused = false;
    *ret_is_elsewhere = true;
    for (size_t i = 0; i < ARRAY_LEN(meanings); i++) {
        if (meanings[i].status == status &&
            (!meanings[i].words || strstr(words, meanings[i].words))) {
            code = meanings[i].code;
            *ret_is_refused = meanings[i].is_refused;
            *ret_is_elsewhere = meanings[i].is_elsewhere;
            break;
        }
    }
    if (!words[0]) {
        return error_set(err, code, "gRPC status %d", status);
    }
    return set_words(err, code, words);
}

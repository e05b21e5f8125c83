/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/support/engine_fake.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "tests/support/engine_fake_store.h"

enum { TICK_MS = 2000, TICKS_UNANSWERED_MAX = 2 };

struct engine_fake {
    struct loop *loop;
    struct fake_store store;
    bool is_full;
    uint64_t last_store_id;
    struct fake_lease *leases;
    struct client *clients;
    struct late *lates;
};

/* Its time is not the store's: a restored store starts it again. */
struct fake_lease {
    struct fake_lease *next;
    struct engine_fake *fake;
    struct loop_timer *timer;
    int64_t id;
    int64_t ttl_ms;
    int64_t ends_ms;
};

struct client {
    struct engine engine; /* first */
    struct client *next;
    struct engine_fake *fake;
    struct watch *watches;
    size_t n_calls;
    size_t n_requests; /* that are not over */
    bool is_cut;
    int64_t delay_ms;
    unsigned n_lost;
    unsigned n_late;
    int64_t late_ms;
    enum error_code refusal;
};

enum kind { RANGE, TXN, LEASE_GRANT, LEASE_KEEP, LEASE_REVOKE, STATUS };

/* sent -> (carried out ->) answered, or lost and timed out */
struct request {
    struct op op; /* first */
    struct client *client;
    struct loop_timer *timer;
    enum kind kind;
    int64_t deadline_ms;
    bool is_carried_out;
    bool is_lost;
    bool is_late; /* a transaction that shall happen after its end */
    struct error err;
    int64_t number; /* a TTL or a lease */
    struct fake_txn *txn;
    struct engine_range range;
    struct engine_rows got_rows;
    struct engine_result got_result;
    struct engine_lease got_lease;
    struct engine_status got_status;
    void *result; /* the caller's, of the type of `kind` */
};

struct late {
    struct late *next;
    struct engine_fake *fake;
    struct loop_timer *timer;
    struct fake_txn *txn;
};

struct watch {
    struct op op; /* first */
    struct watch *next;
    struct client *client;
    struct loop_timer *pump; /* brings the events */
    struct loop_timer *tick; /* asks for progress */
    char **prefixes;
    size_t n_prefixes;
    int64_t from; /* the first revision not reported yet */
    unsigned n_unanswered;
    bool is_pumping; /* the timer runs: it is not to be moved */
    bool has_begun;  /* etcd is reading for it */
    engine_events_fn *events;
    bool *is_gone; /* set when it is freed, of the function that calls `events` */
};

/* ---- the store's own changes ---- */

static void wake_watches(struct engine_fake *fake)
{
    for (struct client *client = fake->clients; client; client = client->next) {
        for (struct watch *watch = client->watches; watch; watch = watch->next) {
            if (!watch->is_pumping) {
                watch->is_pumping = true;
                loop_timer_start(watch->pump, client->delay_ms);
            }
        }
    }
}

static struct fake_lease *lease_find(struct engine_fake *fake, int64_t id)
{
    struct fake_lease *lease = fake->leases;
    while (lease && lease->id != id) {
        lease = lease->next;
    }
    return lease;
}

static void lease_free(struct fake_lease *lease)
{
    struct fake_lease **link = &lease->fake->leases;
    while (*link != lease) {
        link = &(*link)->next;
    }
    *link = lease->next;
    loop_timer_free(lease->timer);
    free(lease);
}

static void lease_end(void *context)
{
    struct fake_lease *lease = context;
    struct engine_fake *fake = lease->fake;
    fake_store_delete_of_lease(&fake->store, lease->id);
    lease_free(lease);
    wake_watches(fake);
}

static void lease_renew(struct fake_lease *lease)
{
    lease->ends_ms = loop_now_ms(lease->fake->loop) + lease->ttl_ms;
    loop_timer_start(lease->timer, lease->ttl_ms);
}

static struct fake_lease *lease_add(struct engine_fake *fake, int64_t id, int64_t ttl_ms)
{
    struct fake_lease *lease = mem_new(struct fake_lease);
    *lease = (struct fake_lease){.next = fake->leases, .fake = fake, .id = id, .ttl_ms = ttl_ms};
    lease->timer = loop_timer_new(fake->loop, lease_end, lease);
    fake->leases = lease;
    lease_renew(lease);
    return lease;
}

static int check_writes(struct engine_fake *fake, const struct engine_txn *txn, struct error *err)
{
    for (size_t i = 0; i < txn->n_writes; i++) {
        const struct engine_write *write = &txn->writes[i];
        if (write->kind == ENGINE_PUT && fake->is_full) {
            return error_set(err, ERR_FLEET_FULL, "fake: database space exceeded");
        }
        if (write->kind == ENGINE_PUT && write->lease && !lease_find(fake, write->lease)) {
            return error_set(err, ERR_FLEET_LEASE, "fake: requested lease not found");
        }
    }
    return 0;
}

static int carry_out_txn(struct engine_fake *fake, const struct engine_txn *txn,
    struct engine_result *result, struct error *err)
{
    if (fake_store_holds(&fake->store, txn) && check_writes(fake, txn, err) < 0) {
        return error_wrap(err, "transaction");
    }
    int64_t before = fake->store.revision;
    int rc = fake_store_txn(&fake->store, txn, result, err);
    if (fake->store.revision != before) {
        wake_watches(fake);
    }
    return rc;
}

/* ---- requests ---- */

static void late_free(struct late *late)
{
    struct late **link = &late->fake->lates;
    while (*link != late) {
        link = &(*link)->next;
    }
    *link = late->next;
    loop_timer_free(late->timer);
    fake_txn_free(late->txn);
    free(late);
}

static void late_happen(void *context)
{
    struct late *late = context;
    struct engine_result result = {0};
    struct error err = {0};
    (void)carry_out_txn(late->fake, &late->txn->txn, &result, &err);
    engine_result_clear(&result);
    late_free(late);
}

static void late_start(struct request *request)
{
    struct engine_fake *fake = request->client->fake;
    struct late *late = mem_new(struct late);
    *late = (struct late){.next = fake->lates, .fake = fake, .txn = TAKE_PTR(request->txn)};
    late->timer = loop_timer_new(fake->loop, late_happen, late);
    loop_timer_start(late->timer, request->client->late_ms);
    fake->lates = late;
}

static void request_cancel(struct op *op)
{
    struct request *request = (struct request *)(void *)op;
    if (request->is_late) {
        late_start(request);
    }
    request->client->n_requests--;
    loop_timer_free(request->timer);
    fake_txn_free(request->txn);
    free((char *)(uintptr_t)request->range.key);
    free((char *)(uintptr_t)request->range.after);
    engine_rows_clear(&request->got_rows);
    engine_result_clear(&request->got_result);
    free(request);
}

static void request_carry_out(struct request *request)
{
    struct engine_fake *fake = request->client->fake;
    struct fake_lease *lease = lease_find(fake, request->number);
    struct error *err = &request->err;
    request->is_carried_out = true;
    switch (request->kind) {
    case RANGE:
        (void)fake_store_range(&fake->store, &request->range, &request->got_rows, err);
        break;
    case TXN:
        (void)carry_out_txn(fake, &request->txn->txn, &request->got_result, err);
        break;
    case LEASE_GRANT:
        lease = lease_add(fake, ++fake->store.last_lease, request->number);
        request->got_lease = (struct engine_lease){lease->id, lease->ttl_ms};
        break;
    case LEASE_KEEP:
        if (!lease) {
            (void)error_set(err, ERR_FLEET_LEASE, "fake: lease %lld", (long long)request->number);
            break;
        }
        lease_renew(lease);
        request->got_lease = (struct engine_lease){lease->id, lease->ttl_ms};
        break;
    case LEASE_REVOKE:
        if (lease) {
            lease_end(lease);
        }
        break;
    case STATUS:
        request->got_status = (struct engine_status){.store = fake->store.id,
            .member = 1,
            .leader = 1,
            .term = 1,
            .revision = fake->store.revision,
            .is_full = fake->is_full,
            .version = "3.5.16",
            .endpoint = "fake"};
        break;
    }
}

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
    case LEASE_GRANT:
    case LEASE_KEEP:
        *(struct engine_lease *)request->result = request->got_lease;
        break;
    case LEASE_REVOKE:
        break;
    case STATUS:
        *(struct engine_status *)request->result = request->got_status;
        break;
    }
}

static void request_end(struct request *request)
{
    if (request->err.code == ERR_NONE) {
        request_give(request);
    } else if (request->kind == TXN && request->err.code == ERR_FLEET_UNREACHABLE) {
        ((struct engine_result *)request->result)->outcome = ENGINE_UNKNOWN;
    }
    op_finish(&request->op, request->err.code != ERR_NONE ? &request->err : NULL);
}

/* The next thing that happens to it, or its deadline. */
static void request_wait(struct request *request)
{
    int64_t left = request->deadline_ms - loop_now_ms(request->client->fake->loop);
    int64_t delay = request->client->delay_ms;
    loop_timer_start(request->timer, request->is_lost || delay > left ? left : delay);
}

static void request_step(void *context)
{
    struct request *request = context;
    struct client *client = request->client;
    request->is_lost |= client->is_cut || request->is_late;
    if (client->refusal != ERR_NONE) {
        (void)error_set(&request->err, client->refusal, "fake: refused");
        request->is_late = false;
        request_end(request);
    } else if (loop_now_ms(client->fake->loop) >= request->deadline_ms) {
        error_clear(&request->err);
        (void)error_set(&request->err, ERR_FLEET_UNREACHABLE, "fake: no answer in time");
        request_end(request);
    } else if (request->is_lost) {
        request_wait(request);
    } else if (request->is_carried_out) {
        request_end(request);
    } else {
        request_carry_out(request);
        if (request->kind == TXN && client->n_lost > 0) {
            client->n_lost--;
            request->is_lost = true;
        }
        request_wait(request);
    }
}

static struct request *request_start(
    struct engine *engine, enum kind kind, void *result, op_done_fn *done, void *context)
{
    struct client *client = (struct client *)(void *)engine;
    struct request *request = mem_new(struct request);
    request->op = (struct op){request_cancel, done, context};
    request->client = client;
    request->kind = kind;
    request->result = result;
    request->timer = loop_timer_new(client->fake->loop, request_step, request);
    request->deadline_ms = loop_now_ms(client->fake->loop) + engine->timeout_ms;
    request->is_lost = client->is_cut;
    client->n_calls++;
    client->n_requests++;
    request_wait(request);
    return request;
}

static struct op *fake_range(struct engine *engine, const struct engine_range *range,
    struct engine_rows *rows, op_done_fn *done, void *context)
{
    struct request *request = request_start(engine, RANGE, rows, done, context);
    request->range = *range;
    request->range.key = mem_strdup(range->key);
    request->range.after = mem_strdup(range->after);
    return &request->op;
}

static struct op *fake_txn_start(struct engine *engine, const struct engine_txn *txn,
    struct engine_result *result, op_done_fn *done, void *context)
{
    struct client *client = (struct client *)(void *)engine;
    struct request *request = request_start(engine, TXN, result, done, context);
    result->outcome = ENGINE_NOT_DONE;
    request->txn = fake_txn_copy(txn);
    if (client->n_late > 0) {
        client->n_late--;
        request->is_late = true;
    }
    return &request->op;
}

static struct op *fake_lease_grant(struct engine *engine, int64_t ttl_ms,
    struct engine_lease *lease, op_done_fn *done, void *context)
{
    struct request *request = request_start(engine, LEASE_GRANT, lease, done, context);
    request->number = ttl_ms;
    return &request->op;
}

static struct op *fake_lease_keep(
    struct engine *engine, int64_t id, struct engine_lease *lease, op_done_fn *done, void *context)
{
    struct request *request = request_start(engine, LEASE_KEEP, lease, done, context);
    request->number = id;
    return &request->op;
}

static struct op *fake_lease_revoke(
    struct engine *engine, int64_t id, op_done_fn *done, void *context)
{
    struct request *request = request_start(engine, LEASE_REVOKE, NULL, done, context);
    request->number = id;
    return &request->op;
}

static struct op *fake_status(struct engine *engine, const char *endpoint,
    struct engine_status *status, op_done_fn *done, void *context)
{
    (void)endpoint;
    return &request_start(engine, STATUS, status, done, context)->op;
}

/* ---- watches ---- */

static void watch_cancel(struct op *op)
{
    struct watch *watch = (struct watch *)(void *)op;
    struct watch **link = &watch->client->watches;
    while (*link != watch) {
        link = &(*link)->next;
    }
    *link = watch->next;
    if (watch->is_gone) {
        *watch->is_gone = true;
    }
    loop_timer_free(watch->pump);
    loop_timer_free(watch->tick);
    for (size_t i = 0; i < watch->n_prefixes; i++) {
        free(watch->prefixes[i]);
    }
    free(watch->prefixes);
    free(watch);
}

static void watch_end(struct watch *watch, enum error_code code, const char *why)
{
    struct error err = {0};
    (void)error_set(&err, code, "fake: the watch ended: %s", why);
    op_finish(&watch->op, &err);
}

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

/* The events up to `revision` under each prefix. `events` may write to the store: what comes of
 * that is reported in another turn. */
static bool watch_bring(struct watch *watch, int64_t revision)
{
    struct fake_store *store = &watch->client->fake->store;
    int64_t from = watch->from;
    /* A watch that begins at that very revision misses a deletion there, without an error, as of
     * etcd before 3.4.36 and 3.5.18 (etcd#19179). One that lags behind is ended. */
    if (from < store->compacted || (from == store->compacted && watch->has_begun)) {
        watch_end(watch, ERR_FLEET_COMPACTED, "compacted");
        return false;
    }
    watch->has_begun = true;
    watch->from = revision + 1 > from ? revision + 1 : from;
    for (size_t i = 0; i < watch->n_prefixes; i++) {
        struct fake_events got = {0};
        fake_store_events(store, watch->prefixes[i], from, revision, &got);
        bool is_alive = got.n == 0 || watch_report(watch, got.events, got.n, revision);
        fake_events_clear(&got);
        if (!is_alive) {
            return false;
        }
    }
    return true;
}

static void watch_pump(void *context)
{
    struct watch *watch = context;
    watch->is_pumping = false;
    if (watch->client->refusal != ERR_NONE) {
        watch_end(watch, watch->client->refusal, "refused");
    } else if (!watch->client->is_cut) {
        (void)watch_bring(watch, watch->client->fake->store.revision);
    }
}

static void watch_tick(void *context)
{
    struct watch *watch = context;
    int64_t revision = watch->client->fake->store.revision;
    bool is_answered = !watch->client->is_cut && revision >= watch->from - 1;
    watch->n_unanswered = is_answered ? 0 : watch->n_unanswered + 1;
    if (watch->n_unanswered >= TICKS_UNANSWERED_MAX) {
        watch_end(watch, ERR_FLEET_UNREACHABLE, "no sign of life");
        return;
    }
    loop_timer_start(watch->tick, TICK_MS);
    if (is_answered && watch_bring(watch, revision)) {
        (void)watch_report(watch, NULL, 0, revision);
    }
}

static struct op *fake_watch(struct engine *engine, const struct engine_watch *asked,
    engine_events_fn *events, op_done_fn *done, void *context)
{
    struct client *client = (struct client *)(void *)engine;
    struct watch *watch = mem_new(struct watch);
    watch->op = (struct op){watch_cancel, done, context};
    watch->client = client;
    watch->from = asked->revision;
    watch->events = events;
    watch->n_prefixes = asked->n_prefixes;
    watch->prefixes = mem_calloc(asked->n_prefixes, sizeof(char *));
    for (size_t i = 0; i < asked->n_prefixes; i++) {
        watch->prefixes[i] = mem_strdup(asked->prefixes[i]);
    }
    watch->pump = loop_timer_new(client->fake->loop, watch_pump, watch);
    watch->tick = loop_timer_new(client->fake->loop, watch_tick, watch);
    watch->is_pumping = true;
    loop_timer_start(watch->pump, client->delay_ms);
    loop_timer_start(watch->tick, TICK_MS);
    struct watch **end = &client->watches;
    while (*end) {
        end = &(*end)->next;
    }
    *end = watch;
    client->n_calls++;
    return &watch->op;
}

/* ---- the store and its clients ---- */

static void fake_close(struct engine *engine)
{
    struct client *client = (struct client *)(void *)engine;
    assert(!client->watches && client->n_requests == 0);
    struct client **link = &client->fake->clients;
    while (*link != client) {
        link = &(*link)->next;
    }
    *link = client->next;
    free(client);
}

static const struct engine_ops fake_ops = {
    .range = fake_range,
    .txn = fake_txn_start,
    .watch = fake_watch,
    .lease_grant = fake_lease_grant,
    .lease_keep = fake_lease_keep,
    .lease_revoke = fake_lease_revoke,
    .status = fake_status,
    .close = fake_close,
};

struct engine *engine_fake_connect(struct engine_fake *fake)
{
    struct client *client = mem_new(struct client);
    client->engine = (struct engine){&fake_ops, ENGINE_TIMEOUT_MS};
    client->fake = fake;
    struct client **end = &fake->clients;
    while (*end) {
        end = &(*end)->next;
    }
    *end = client;
    return &client->engine;
}

struct engine_fake *engine_fake_new(struct loop *loop)
{
    struct engine_fake *fake = mem_new(struct engine_fake);
    fake->loop = loop;
    fake->last_store_id = 0x1000;
    fake->store = (struct fake_store){.id = fake->last_store_id, .revision = 1};
    return fake;
}

void engine_fake_free(struct engine_fake *fake)
{
    assert(!fake->clients);
    while (fake->leases) {
        lease_free(fake->leases);
    }
    while (fake->lates) {
        late_free(fake->lates);
    }
    fake_store_clear(&fake->store);
    free(fake);
}

/* The members restart: connections end. */
static void drop_watches(struct engine_fake *fake)
{
    for (struct client *client = fake->clients; client; client = client->next) {
        for (struct watch *watch = client->watches; watch; watch = watch->next) {
            watch->n_unanswered = TICKS_UNANSWERED_MAX;
            watch->from = INT64_MAX;
            loop_timer_start(watch->tick, client->delay_ms);
        }
    }
}

struct engine_fake_snapshot {
    struct fake_store store;
    size_t n_leases;
    struct engine_lease *leases;
};

struct engine_fake_snapshot *engine_fake_save(const struct engine_fake *fake)
{
    struct engine_fake_snapshot *snapshot = mem_new(struct engine_fake_snapshot);
    fake_store_copy(&snapshot->store, &fake->store);
    for (struct fake_lease *lease = fake->leases; lease; lease = lease->next) {
        mem_grow(snapshot->leases, snapshot->n_leases);
        snapshot->leases[snapshot->n_leases++] = (struct engine_lease){lease->id, lease->ttl_ms};
    }
    return snapshot;
}

void engine_fake_snapshot_free(struct engine_fake_snapshot *snapshot)
{
    fake_store_clear(&snapshot->store);
    free(snapshot->leases);
    free(snapshot);
}

void engine_fake_restore(struct engine_fake *fake, const struct engine_fake_snapshot *snapshot)
{
    while (fake->leases) {
        lease_free(fake->leases);
    }
    fake_store_clear(&fake->store);
    fake_store_copy(&fake->store, &snapshot->store);
    for (size_t i = 0; i < snapshot->n_leases; i++) {
        (void)lease_add(fake, snapshot->leases[i].id, snapshot->leases[i].ttl_ms);
    }
    drop_watches(fake);
}

void engine_fake_wipe(struct engine_fake *fake)
{
    struct engine_fake_snapshot empty = {.store = {.id = ++fake->last_store_id, .revision = 1}};
    engine_fake_restore(fake, &empty);
}

void engine_fake_compact(struct engine_fake *fake, int64_t revision)
{
    fake_store_compact(&fake->store, revision);
    wake_watches(fake);
}

void engine_fake_fill(struct engine_fake *fake, bool is_full)
{
    fake->is_full = is_full;
}

void engine_fake_expire(struct engine_fake *fake, int64_t id)
{
    struct fake_lease *lease = lease_find(fake, id);
    if (lease) {
        lease_end(lease);
    }
}

/* ---- a client's link ---- */

static struct client *client_of(struct engine *engine)
{
    assert(engine->ops == &fake_ops);
    return (struct client *)(void *)engine;
}

void engine_fake_cut(struct engine *engine, bool is_cut)
{
    client_of(engine)->is_cut = is_cut;
    wake_watches(client_of(engine)->fake);
}

void engine_fake_delay(struct engine *engine, int64_t ms)
{
    client_of(engine)->delay_ms = ms;
}

void engine_fake_lose_answers(struct engine *engine, unsigned n)
{
    client_of(engine)->n_lost = n;
}

void engine_fake_make_late(struct engine *engine, unsigned n, int64_t ms)
{
    client_of(engine)->n_late = n;
    client_of(engine)->late_ms = ms;
}

void engine_fake_refuse(struct engine *engine, enum error_code code)
{
    client_of(engine)->refusal = code;
    wake_watches(client_of(engine)->fake);
}

size_t engine_fake_calls(const struct engine *engine)
{
    return ((const struct client *)(const void *)engine)->n_calls;
}

/* ---- as another client ---- */

int64_t engine_fake_revision(const struct engine_fake *fake)
{
    return fake->store.revision;
}

static void write_now(struct engine_fake *fake, const struct engine_write *write)
{
    struct engine_result result = {0};
    struct error err = {0};
    (void)carry_out_txn(fake, &(struct engine_txn){.writes = write, .n_writes = 1}, &result, &err);
    engine_result_clear(&result);
}

void engine_fake_put(struct engine_fake *fake, const char *key, const char *value)
{
    write_now(fake, &(struct engine_write){ENGINE_PUT, key, {value, strlen(value)}, 0});
}

void engine_fake_delete(struct engine_fake *fake, const char *key, bool is_prefix)
{
    write_now(fake, &(struct engine_write){
                        is_prefix ? ENGINE_DELETE_PREFIX : ENGINE_DELETE, key, {NULL, 0}, 0});
}

const char *engine_fake_get(const struct engine_fake *fake, const char *key)
{
    return fake_store_get(&fake->store, key);
}

size_t engine_fake_count(const struct engine_fake *fake, const char *prefix)
{
    struct engine_rows rows = {0};
    struct error err = {0};
    (void)fake_store_range(
        &fake->store, &(struct engine_range){.key = prefix, .is_prefix = true}, &rows, &err);
    size_t n = rows.n;
    engine_rows_clear(&rows);
    return n;
}

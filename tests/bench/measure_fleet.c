/* SPDX-License-Identifier: MPL-2.0 */
/*
 * measure_fleet put RUNS URL DIR DATA-DIR
 *     a record of 1.3 KB put to etcd, seen by a watch since the put began, and committed to LMDB:
 *     "A B C", ms, a line
 * measure_fleet list RUNS ROWS URL DIR
 *     so many of them read as one answer, ms a line
 * measure_fleet crowd NODES VMS URL DIR
 *     each node watches its own, so many VMs; then statuses are written, one by one and in
 * hundreds, 32 at a time: "A B", ms for each, until all were seen
 *
 * DIR has ca.pem, a.pem and a.key.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controller/fleet/engine.h"
#include "controller/fleet/etcd/etcd.h"
#include "controller/loop/loop.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "store/batch.h"
#include "store/store.h"

enum { RECORD_SIZE = 1300, TXN_ROWS = 100 };

struct bench {
    struct loop *loop;
    struct engine *engine;
    struct engine *watcher; /* a connection of its own */
    char record[RECORD_SIZE + 1];
    double seen_ms;
    unsigned n_seen;
    unsigned n_done;
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void give_up(const struct error *err)
{
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static void on_done(void *context, const struct error *err)
{
    struct bench *bench = context;
    if (err) {
        give_up(err);
    }
    bench->n_done++;
    loop_stop(bench->loop);
}

static void on_events(void *context, const struct engine_event *events, size_t n, int64_t revision)
{
    struct bench *bench = context;
    (void)events;
    (void)revision;
    if (n > 0) {
        bench->seen_ms = now_ms();
        bench->n_seen++;
        loop_stop(bench->loop);
    }
}

static void wait_until(struct bench *bench, const unsigned *counter, unsigned value)
{
    while (*counter < value) {
        loop_run(bench->loop);
    }
}

/* On the loop that it has. */
static void connect_engines(struct bench *bench, const char *url, const char *dir)
{
    char *ca = mem_printf("%s/ca.pem", dir);
    char *certificate = mem_printf("%s/a.pem", dir);
    char *key = mem_printf("%s/a.key", dir);
    struct etcd_config config = {&url, 1, ca, certificate, key};
    struct error err = {0};
    if (etcd_new(bench->loop, &config, &bench->engine, &err) < 0 ||
        etcd_new(bench->loop, &config, &bench->watcher, &err) < 0) {
        give_up(&err);
    }
    free(ca);
    free(certificate);
    free(key);
}

static void connect_both(struct bench *bench, const char *url, const char *dir)
{
    struct error err = {0};
    if (loop_new(&bench->loop, &err) < 0) {
        give_up(&err);
    }
    memset(bench->record, 'x', RECORD_SIZE);
    connect_engines(bench, url, dir);
}

static void disconnect(struct bench *bench)
{
    engine_close(bench->engine);
    engine_close(bench->watcher);
    loop_free(bench->loop);
}

/* Of these rows, from number `first`. */
static void put_rows(struct bench *bench, const char *prefix, int first, int n)
{
    struct engine_write writes[TXN_ROWS];
    char keys[TXN_ROWS][64];
    struct engine_result result = {0};
    for (int i = 0; i < n; i++) {
        snprintf(keys[i], sizeof(keys[i]), "%s%06d", prefix, first + i);
        writes[i] = (struct engine_write){ENGINE_PUT, keys[i], {bench->record, RECORD_SIZE}, 0};
    }
    struct engine_txn txn = {.writes = writes, .n_writes = (size_t)n};
    (void)bench->engine->ops->txn(bench->engine, &txn, &result, on_done, bench);
    wait_until(bench, &bench->n_done, bench->n_done + 1);
    engine_result_clear(&result);
}

static double commit_ms(struct store *store, const json_t *record)
{
    struct error err = {0};
    double begin_ms = now_ms();
    struct store_batch *batch = store_batch_new();
    store_batch_put_json(batch, STORE_META, "bench", record);
    if (store_commit(store, batch, &err) < 0) {
        give_up(&err);
    }
    store_batch_free(batch);
    return now_ms() - begin_ms;
}

static int measure_put(int runs, const char *url, const char *dir, const char *data_dir)
{
    struct bench bench = {.n_done = 0};
    struct paths paths;
    struct store *store = NULL;
    struct error err = {0};
    const char *prefix = "/vmctl/bench/put/";
    connect_both(&bench, url, dir);
    if (paths_init(&paths, data_dir, &err) < 0 || store_open(&paths, &store, &err) < 0) {
        give_up(&err);
    }
    json_t *record = json_object();
    json_put_text(record, "record", bench.record);
    struct op *watch = bench.watcher->ops->watch(
        bench.watcher, &(struct engine_watch){&prefix, 1, 1}, on_events, on_done, &bench);
    put_rows(&bench, prefix, 0, 1); /* connected, and watched */
    wait_until(&bench, &bench.n_seen, 1);
    for (int i = 0; i < runs; i++) {
        unsigned n_seen = bench.n_seen;
        double begin_ms = now_ms();
        put_rows(&bench, prefix, 0, 1);
        double put_ms = now_ms() - begin_ms;
        wait_until(&bench, &bench.n_seen, n_seen + 1);
        printf("%.3f %.3f %.3f\n", put_ms, bench.seen_ms - begin_ms, commit_ms(store, record));
    }
    op_cancel(watch);
    json_decref(record);
    store_close(store);
    paths_clear(&paths);
    disconnect(&bench);
    return 0;
}

static int measure_list(int runs, int n, const char *url, const char *dir)
{
    struct bench bench = {.n_done = 0};
    const char *prefix = "/vmctl/bench/list/";
    connect_both(&bench, url, dir);
    for (int i = 0; i < n; i += TXN_ROWS) {
        put_rows(&bench, prefix, i, n - i < TXN_ROWS ? n - i : TXN_ROWS);
    }
    for (int i = 0; i < runs; i++) {
        struct engine_rows rows = {0};
        struct engine_range range = {.key = prefix, .is_prefix = true};
        double begin_ms = now_ms();
        (void)bench.engine->ops->range(bench.engine, &range, &rows, on_done, &bench);
        wait_until(&bench, &bench.n_done, bench.n_done + 1);
        printf("%.3f\n", now_ms() - begin_ms);
        if (rows.n != (size_t)n) {
            fprintf(stderr, "%zu rows\n", rows.n);
            return 1;
        }
        engine_rows_clear(&rows);
    }
    disconnect(&bench);
    return 0;
}

/* ---- a crowd ---- */

enum { FLIGHTS = 32, CROWD_WRITES = 10000 };

struct crowd {
    struct bench bench; /* first: on_done() has it as well */
    int n_nodes;
    int n_vms;
    int next;  /* the status that is written next */
    int end;   /* where to stop */
    int batch; /* statuses a transaction */
    int64_t revision;
    unsigned n_flying;
    unsigned n_seen;
};

struct flight {
    struct crowd *crowd;
    struct engine_result result;
};

/* Of one VM of the crowd: each next one is another node's. */
static void crowd_key(const struct crowd *crowd, int i, char key[64])
{
    int n = i % (crowd->n_nodes * crowd->n_vms);
    snprintf(key, 64, "/vmctl/crowd/%04d/%05d", n % crowd->n_nodes, n / crowd->n_nodes);
}

static void on_flight_done(void *context, const struct error *err);

static void fly(struct flight *flight)
{
    struct crowd *crowd = flight->crowd;
    struct engine_write writes[TXN_ROWS];
    char keys[TXN_ROWS][64];
    size_t n = 0;
    for (; n < (size_t)crowd->batch && crowd->next < crowd->end; n++, crowd->next++) {
        crowd_key(crowd, crowd->next, keys[n]);
        writes[n] =
            (struct engine_write){ENGINE_PUT, keys[n], {crowd->bench.record, RECORD_SIZE}, 0};
    }
    if (n > 0) {
        crowd->n_flying++;
        struct engine_txn txn = {.writes = writes, .n_writes = n};
        (void)crowd->bench.engine->ops->txn(
            crowd->bench.engine, &txn, &flight->result, on_flight_done, flight);
    }
}

static void on_flight_done(void *context, const struct error *err)
{
    struct flight *flight = context;
    struct crowd *crowd = flight->crowd;
    if (err) {
        give_up(err);
    }
    crowd->revision =
        flight->result.revision > crowd->revision ? flight->result.revision : crowd->revision;
    engine_result_clear(&flight->result);
    crowd->n_flying--;
    fly(flight);
    loop_stop(crowd->bench.loop);
}

static void on_crowd_events(
    void *context, const struct engine_event *events, size_t n, int64_t revision)
{
    struct crowd *crowd = context;
    (void)events;
    (void)revision;
    crowd->n_seen += (unsigned)n;
    loop_stop(crowd->bench.loop);
}

/* Milliseconds for each of `n` statuses, until all were seen as well. */
static double write_all(struct crowd *crowd, int n, int batch, bool is_watched)
{
    struct flight flights[FLIGHTS];
    unsigned n_seen = crowd->n_seen;
    double begin_ms = now_ms();
    crowd->end = crowd->next + n;
    crowd->batch = batch;
    for (int i = 0; i < FLIGHTS; i++) {
        flights[i] = (struct flight){.crowd = crowd};
        fly(&flights[i]);
    }
    while (crowd->n_flying > 0 || (is_watched && crowd->n_seen < n_seen + (unsigned)n)) {
        loop_run(crowd->bench.loop);
    }
    return (now_ms() - begin_ms) / n;
}

static int measure_crowd(int n_nodes, int n_vms, const char *url, const char *dir)
{
    struct crowd crowd = {.n_nodes = n_nodes, .n_vms = n_vms};
    struct bench *watchers = mem_calloc((size_t)n_nodes, sizeof(*watchers));
    struct engine_status status;
    struct op **watches = mem_calloc((size_t)n_nodes, sizeof(struct op *));
    connect_both(&crowd.bench, url, dir);
    (void)write_all(&crowd, n_nodes * n_vms, TXN_ROWS, false);
    for (int i = 0; i < n_nodes; i++) {
        char prefix[64];
        const char *prefixes[] = {prefix};
        snprintf(prefix, sizeof(prefix), "/vmctl/crowd/%04d/", i);
        watchers[i].loop = crowd.bench.loop;
        connect_engines(&watchers[i], url, dir);
        (void)watchers[i].engine->ops->status(
            watchers[i].engine, NULL, &status, on_done, &crowd.bench); /* one after the other */
        wait_until(&crowd.bench, &crowd.bench.n_done, crowd.bench.n_done + 1);
        watches[i] = watchers[i].engine->ops->watch(watchers[i].engine,
            &(struct engine_watch){prefixes, 1, crowd.revision + 1}, on_crowd_events, on_done,
            &crowd);
    }
    (void)write_all(&crowd, n_nodes, 1, true); /* each has connected */
    double one_ms = write_all(&crowd, CROWD_WRITES, 1, true);
    printf("%.4f %.4f\n", one_ms, write_all(&crowd, 10 * CROWD_WRITES, TXN_ROWS, true));
    for (int i = 0; i < n_nodes; i++) {
        op_cancel(watches[i]);
        engine_close(watchers[i].engine);
        engine_close(watchers[i].watcher);
    }
    free(watches);
    free(watchers);
    disconnect(&crowd.bench);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "put") == 0) {
        return measure_put(atoi(argv[2]), argv[3], argv[4], argv[5]);
    }
    if (argc == 6 && strcmp(argv[1], "list") == 0) {
        return measure_list(atoi(argv[2]), atoi(argv[3]), argv[4], argv[5]);
    }
    if (argc == 6 && strcmp(argv[1], "crowd") == 0) {
        return measure_crowd(atoi(argv[2]), atoi(argv[3]), argv[4], argv[5]);
    }
    fprintf(stderr, "usage: see measure_fleet.c\n");
    return 2;
}

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * measure_fleet put RUNS URL DIR DATA-DIR    a record of 1.3 KB put to etcd, seen by a watch since
 * the put began, and committed to LMDB: "A B C", ms, a line measure_fleet list RUNS ROWS URL DIR so
 * many of them read as one answer, ms a line
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

static void connect_both(struct bench *bench, const char *url, const char *dir)
{
    char *ca = mem_printf("%s/ca.pem", dir);
    char *certificate = mem_printf("%s/a.pem", dir);
    char *key = mem_printf("%s/a.key", dir);
    struct etcd_config config = {&url, 1, ca, certificate, key};
    struct error err = {0};
    if (loop_new(&bench->loop, &err) < 0 ||
        etcd_new(bench->loop, &config, &bench->engine, &err) < 0 ||
        etcd_new(bench->loop, &config, &bench->watcher, &err) < 0) {
        give_up(&err);
    }
    memset(bench->record, 'x', RECORD_SIZE);
    free(ca);
    free(certificate);
    free(key);
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

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "put") == 0) {
        return measure_put(atoi(argv[2]), argv[3], argv[4], argv[5]);
    }
    if (argc == 6 && strcmp(argv[1], "list") == 0) {
        return measure_list(atoi(argv[2]), atoi(argv[3]), argv[4], argv[5]);
    }
    fprintf(stderr, "usage: see measure_fleet.c\n");
    return 2;
}

/* SPDX-License-Identifier: MPL-2.0 */
/* An engine on the real loop, and its operations as calls that wait. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/fleet/engine.h"
#include "controller/fleet/etcd/etcd.h"
#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "tests/support/etcd_server.h"
#include "tests/support/sshd.h" /* test_dir_make() */

enum { WAIT_MS = 30000 };

struct fixture {
    struct loop *loop;
    struct loop_timer *guard;
    bool is_late;
    char *dir;
    struct etcd_server *server; /* NULL: the test is skipped */
    struct engine *engine;      /* of root's */
    /* the last end of an operation */
    unsigned n_done;
    struct error err;
    /* what a watch reported */
    struct op *watch;
    struct buf seen;
    unsigned n_progress;
    int64_t progress;
    bool cancels_itself;
    unsigned n_ended;
    struct error end;
};

static inline void on_guard(void *context)
{
    struct fixture *f = context;
    f->is_late = true;
    loop_stop(f->loop);
}

static inline void on_done(void *context, const struct error *err)
{
    struct fixture *f = context;
    f->n_done++;
    f->err = err ? *err : (struct error){0};
    loop_stop(f->loop);
}

/* Runs the loop until the counter has another value. */
static inline void wait_for(struct fixture *f, const unsigned *counter)
{
    unsigned before = *counter;
    f->is_late = false;
    loop_timer_start(f->guard, WAIT_MS);
    while (*counter == before && !f->is_late) {
        loop_run(f->loop);
    }
    loop_timer_stop(f->guard);
    assert_false(f->is_late);
}

static inline int start_fixture(void **state, const struct etcd_server_options *options)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct error err = {0};
    assert_int_equal(loop_new(&f->loop, &err), 0);
    f->guard = loop_timer_new(f->loop, on_guard, f);
    f->dir = test_dir_make();
    f->server = etcd_server_start(f->dir, options);
    *state = f;
    return 0;
}

/* An engine on these endpoints, as the user of this certificate. */
static inline struct engine *connect_to(
    struct fixture *f, const char *user, const char *const *endpoints, size_t n)
{
    char *ca = etcd_server_certificate(f->server, "ca");
    char *certificate = etcd_server_certificate(f->server, user);
    char *key = etcd_server_key(f->server, user);
    struct engine *engine = NULL;
    struct error err = {0};
    bool is_plain = strncmp(endpoints[0], "http:", 5) == 0;
    struct etcd_config config = {
        endpoints, n, is_plain ? NULL : ca, is_plain ? NULL : certificate, is_plain ? NULL : key};
    if (etcd_new(f->loop, &config, &engine, &err) < 0) {
        fail_msg("%s", err.message);
    }
    free(ca);
    free(certificate);
    free(key);
    return engine;
}

/* … on the first `n` members. */
static inline struct engine *connect_as(struct fixture *f, const char *user, size_t n)
{
    const char *endpoints[ETCD_SERVERS_MAX];
    for (size_t i = 0; i < n; i++) {
        endpoints[i] = etcd_server_url(f->server, i);
    }
    return connect_to(f, user, endpoints, n);
}

static inline int stop_fixture(void **state)
{
    struct fixture *f = *state;
    op_cancel(f->watch);
    engine_close(f->engine);
    etcd_server_stop(f->server);
    loop_timer_free(f->guard);
    loop_free(f->loop);
    buf_clear(&f->seen);
    test_dir_remove(f->dir);
    free(f);
    return 0;
}

/* ---- operations ---- */

static inline struct engine_result txn_on(
    struct fixture *f, struct engine *engine, const struct engine_txn *txn)
{
    struct engine_result result = {0};
    (void)engine->ops->txn(engine, txn, &result, on_done, f);
    wait_for(f, &f->n_done);
    return result;
}

static inline enum engine_outcome outcome_on(
    struct fixture *f, struct engine *engine, const struct engine_txn *txn)
{
    struct engine_result result = txn_on(f, engine, txn);
    enum engine_outcome outcome = result.outcome;
    engine_result_clear(&result);
    return outcome;
}

static inline enum engine_outcome put_on(
    struct fixture *f, struct engine *engine, const char *key, const char *value)
{
    struct engine_write write = {ENGINE_PUT, key, {value, strlen(value)}, 0};
    return outcome_on(f, engine, &(struct engine_txn){.writes = &write, .n_writes = 1});
}

static inline int64_t put(struct fixture *f, const char *key, const char *value)
{
    struct engine_write write = {ENGINE_PUT, key, {value, strlen(value)}, 0};
    struct engine_result result =
        txn_on(f, f->engine, &(struct engine_txn){.writes = &write, .n_writes = 1});
    if (result.outcome != ENGINE_SUCCEEDED) {
        fail_msg("put: %s", f->err.message);
    }
    int64_t revision = result.revision;
    engine_result_clear(&result);
    return revision;
}

static inline struct engine_rows range_on(
    struct fixture *f, struct engine *engine, const struct engine_range *range)
{
    struct engine_rows rows = {0};
    (void)engine->ops->range(engine, range, &rows, on_done, f);
    wait_for(f, &f->n_done);
    return rows;
}

static inline void wipe(struct fixture *f)
{
    struct engine_write write = {ENGINE_DELETE_PREFIX, "", {NULL, 0}, 0};
    assert_int_equal(
        outcome_on(f, f->engine, &(struct engine_txn){.writes = &write, .n_writes = 1}),
        ENGINE_SUCCEEDED);
}

/* ---- a watch ---- */

static inline void on_events(
    void *context, const struct engine_event *events, size_t n, int64_t revision)
{
    struct fixture *f = context;
    for (size_t i = 0; i < n; i++) {
        buf_printf(&f->seen, "%c%s=%s ", events[i].kind == ENGINE_WAS_PUT ? '+' : '-',
            events[i].row.key, events[i].row.value.data);
    }
    if (n == 0) {
        f->progress = revision;
        f->n_progress++;
    } else if (f->cancels_itself) {
        op_cancel(f->watch);
        f->watch = NULL;
    }
    loop_stop(f->loop);
}

static inline void on_watch_end(void *context, const struct error *err)
{
    struct fixture *f = context;
    f->watch = NULL;
    f->n_ended++;
    f->end = *err;
    loop_stop(f->loop);
}

static inline void watch_on(
    struct fixture *f, struct engine *engine, const char *prefix, int64_t revision)
{
    const char *prefixes[] = {prefix, "st/"};
    struct engine_watch watch = {prefixes, 2, revision};
    buf_reset(&f->seen);
    f->n_progress = 0;
    f->progress = 0;
    f->watch = engine->ops->watch(engine, &watch, on_events, on_watch_end, f);
}

/* Until it has reported so many bytes of text. */
static inline void wait_seen(struct fixture *f, const char *expected)
{
    f->is_late = false;
    loop_timer_start(f->guard, WAIT_MS);
    while (f->seen.len < strlen(expected) && !f->is_late && f->watch) {
        loop_run(f->loop);
    }
    loop_timer_stop(f->guard);
    assert_string_equal(buf_str(&f->seen), expected);
}

#define SKIP_WITHOUT(f)                                                                            \
    if (!(f)->server) {                                                                            \
        skip();                                                                                    \
    }

/* SPDX-License-Identifier: MPL-2.0 */
/* The store in memory keeps the contract of engine.h, and its faults are the ones it names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/fleet/engine.h"
#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "tests/support/engine_fake.h"
#include "tests/support/loop_fake.h"

struct world {
    struct loop *loop;
    struct engine_fake *fake;
    struct engine *engine;
    /* the last end of an operation */
    unsigned n_done;
    enum error_code code;
    /* what a watch reported */
    struct buf seen;
    int64_t progress;
    unsigned n_progress;
    struct op *watch;
    bool cancels_itself;
};

static int set_up(void **state)
{
    static struct world world;
    struct error err = {0};
    world = (struct world){.n_done = 0};
    assert_int_equal(loop_new(&world.loop, &err), 0);
    world.fake = engine_fake_new(world.loop);
    world.engine = engine_fake_connect(world.fake);
    *state = &world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    op_cancel(w->watch);
    engine_close(w->engine);
    engine_fake_free(w->fake);
    loop_free(w->loop);
    buf_clear(&w->seen);
    return 0;
}

static void on_done(void *context, const struct error *err)
{
    struct world *w = context;
    w->n_done++;
    w->code = err ? err->code : ERR_NONE;
}

static void on_watch_end(void *context, const struct error *err)
{
    struct world *w = context;
    w->watch = NULL;
    on_done(context, err);
}

static void on_events(void *context, const struct engine_event *events, size_t n, int64_t revision)
{
    struct world *w = context;
    for (size_t i = 0; i < n; i++) {
        buf_printf(&w->seen, "%c%s=%s@%d ", events[i].kind == ENGINE_WAS_PUT ? '+' : '-',
            events[i].row.key, events[i].row.value.data, (int)events[i].row.mod_revision);
    }
    if (n == 0) {
        w->progress = revision;
        w->n_progress++;
    } else if (w->cancels_itself) {
        op_cancel(w->watch);
        w->watch = NULL;
    }
}

static struct engine_result try_txn(struct world *w, const struct engine_txn *txn)
{
    struct engine_result result = {0};
    (void)w->engine->ops->txn(w->engine, txn, &result, on_done, w);
    loop_fake_advance(w->loop, ENGINE_TIMEOUT_MS);
    return result;
}

/* Puts `key` if it is absent. */
static enum engine_outcome create(struct world *w, const char *key, const char *value)
{
    struct engine_compare compare = {.condition = ENGINE_IF_ABSENT, .key = key};
    struct engine_write write = {ENGINE_PUT, key, {value, strlen(value)}, 0};
    struct engine_result result = try_txn(w, &(struct engine_txn){&compare, 1, &write, 1, NULL, 0});
    enum engine_outcome outcome = result.outcome;
    engine_result_clear(&result);
    return outcome;
}

static char *read_all(struct world *w, int64_t revision)
{
    struct engine_rows rows = {0};
    struct buf out = BUF_INIT(0);
    struct engine_range range = {.key = "", .is_prefix = true, .revision = revision};
    (void)w->engine->ops->range(w->engine, &range, &rows, on_done, w);
    loop_fake_advance(w->loop, ENGINE_TIMEOUT_MS);
    for (size_t i = 0; i < rows.n; i++) {
        buf_printf(&out, "%s=%s ", rows.rows[i].key, rows.rows[i].value.data);
    }
    engine_rows_clear(&rows);
    return buf_steal(&out);
}

static void expect_rows(struct world *w, int64_t revision, const char *expected)
{
    char *rows = read_all(w, revision);
    assert_string_equal(rows, expected);
    free(rows);
}

static void watch_from(struct world *w, int64_t revision)
{
    static const char *const prefixes[] = {"vm/", "st/"};
    w->watch = w->engine->ops->watch(
        w->engine, &(struct engine_watch){prefixes, 2, revision}, on_events, on_watch_end, w);
}

static void a_transaction_happens_as_a_whole_or_not(void **state)
{
    struct world *w = *state;
    assert_int_equal(create(w, "name/web", "a"), ENGINE_SUCCEEDED);
    assert_int_equal(create(w, "name/web", "b"), ENGINE_FAILED);
    assert_int_equal(w->code, ERR_NONE);
    assert_string_equal(engine_fake_get(w->fake, "name/web"), "a");
    struct engine_compare compares[] = {
        {.condition = ENGINE_IF_REVISION, .key = "name/web", .revision = 2},
        {.condition = ENGINE_IF_VALUE, .key = "name/web", .value = {"a", 1}},
        {.condition = ENGINE_IF_PRESENT, .key = "name/web"},
        {.condition = ENGINE_IF_ABSENT, .key = "name/db"},
    };
    struct engine_write writes[] = {
        {ENGINE_DELETE_PREFIX, "name/", {NULL, 0}, 0},
        {ENGINE_PUT, "vm/web", {"1", 1}, 0},
    };
    struct engine_range reads[] = {{.key = "vm/", .is_prefix = true}, {.key = "name/web"}};
    struct engine_result result =
        try_txn(w, &(struct engine_txn){compares, 4, writes, 2, reads, 2});
    assert_int_equal(result.outcome, ENGINE_SUCCEEDED);
    assert_int_equal(result.revision, 3);
    assert_int_equal(result.reads[0].n, 1);
    assert_non_null(engine_rows_find(&result.reads[0], "vm/web"));
    assert_int_equal(result.reads[1].n, 0);
    engine_result_clear(&result);
    result = try_txn(w, &(struct engine_txn){compares, 4, writes, 2, reads, 2});
    assert_int_equal(result.outcome, ENGINE_FAILED);
    assert_int_equal(result.reads[0].n, 1); /* read all the same */
    engine_result_clear(&result);
    expect_rows(w, 2, "name/web=a ");
    expect_rows(w, 0, "vm/web=1 ");
}

static void what_is_too_much_is_refused_before_it_is_sent(void **state)
{
    struct world *w = *state;
    struct engine_write writes[ENGINE_WRITES_MAX + 1];
    char keys[ENGINE_WRITES_MAX + 1][8];
    for (size_t i = 0; i < ENGINE_WRITES_MAX + 1; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
        writes[i] = (struct engine_write){ENGINE_PUT, keys[i], {"", 0}, 0};
    }
    struct engine_txn txn = {.writes = writes, .n_writes = ENGINE_WRITES_MAX + 1};
    struct engine_result result = try_txn(w, &txn);
    assert_int_equal(result.outcome, ENGINE_NOT_DONE);
    assert_int_equal(w->code, ERR_FLEET_LIMIT);
    engine_result_clear(&result);
    txn.n_writes = ENGINE_WRITES_MAX;
    result = try_txn(w, &txn);
    assert_int_equal(result.outcome, ENGINE_SUCCEEDED);
    engine_result_clear(&result);
    assert_int_equal(engine_fake_count(w->fake, "k"), ENGINE_WRITES_MAX);
    char *large = calloc(1, ENGINE_REQUEST_MAX);
    struct engine_write one = {ENGINE_PUT, "large", {large, ENGINE_REQUEST_MAX}, 0};
    result = try_txn(w, &(struct engine_txn){.writes = &one, .n_writes = 1});
    assert_int_equal(w->code, ERR_FLEET_LIMIT);
    engine_result_clear(&result);
    free(large);
}

static void pages_are_read_at_one_revision(void **state)
{
    struct world *w = *state;
    engine_fake_put(w->fake, "a/1", "x");
    engine_fake_put(w->fake, "a/2", "y");
    engine_fake_put(w->fake, "a/3", "z");
    int64_t revision = engine_fake_revision(w->fake);
    struct engine_rows rows = {0};
    struct engine_range range = {.key = "a/", .is_prefix = true, .limit = 2};
    (void)w->engine->ops->range(w->engine, &range, &rows, on_done, w);
    loop_fake_advance(w->loop, 1);
    assert_int_equal(rows.n, 2);
    assert_true(rows.has_more);
    assert_int_equal(rows.revision, revision);
    engine_rows_clear(&rows);
    engine_fake_delete(w->fake, "a/", true);
    range.after = "a/2";
    range.revision = revision;
    (void)w->engine->ops->range(w->engine, &range, &rows, on_done, w);
    loop_fake_advance(w->loop, 1);
    assert_int_equal(rows.n, 1);
    assert_string_equal(rows.rows[0].key, "a/3");
    assert_false(rows.has_more);
    engine_rows_clear(&rows);
}

static void a_watch_reports_events_and_progress(void **state)
{
    struct world *w = *state;
    engine_fake_put(w->fake, "vm/old", "0");
    watch_from(w, 2);
    engine_fake_put(w->fake, "vm/web", "1");
    engine_fake_put(w->fake, "other", "1");
    loop_fake_advance(w->loop, 1);
    assert_string_equal(buf_str(&w->seen), "+vm/old=0@2 +vm/web=1@3 ");
    assert_int_equal(w->n_progress, 0);
    buf_reset(&w->seen);
    engine_fake_delete(w->fake, "vm/", true);
    loop_fake_advance(w->loop, 2000);
    assert_string_equal(buf_str(&w->seen), "-vm/old=@5 -vm/web=@5 ");
    assert_int_equal(w->progress, 5);
    w->cancels_itself = true;
    engine_fake_put(w->fake, "st/web", "1");
    loop_fake_advance(w->loop, 10000);
    assert_null(w->watch);
    assert_int_equal(w->n_done, 0);
}

static void a_cut_link_times_out_and_silences_the_watch(void **state)
{
    struct world *w = *state;
    watch_from(w, 2);
    loop_fake_advance(w->loop, 1);
    engine_fake_cut(w->engine, true);
    engine_fake_put(w->fake, "vm/a", "1");
    loop_fake_advance(w->loop, 2500);
    engine_fake_cut(w->engine, false); /* in time: it hears of everything */
    loop_fake_advance(w->loop, 1);
    assert_string_equal(buf_str(&w->seen), "+vm/a=1@2 ");
    engine_fake_cut(w->engine, true);
    loop_fake_advance(w->loop, 5000);
    assert_null(w->watch);
    assert_int_equal(w->code, ERR_FLEET_UNREACHABLE);
    assert_int_equal(create(w, "vm/b", "1"), ENGINE_UNKNOWN);
    assert_int_equal(w->code, ERR_FLEET_UNREACHABLE);
    engine_fake_cut(w->engine, false);
    loop_fake_advance(w->loop, 10000);
    assert_null(engine_fake_get(w->fake, "vm/b"));
}

static void what_timed_out_may_have_happened_or_happen_yet(void **state)
{
    struct world *w = *state;
    engine_fake_lose_answers(w->engine, 1);
    assert_int_equal(create(w, "vm/a", "1"), ENGINE_UNKNOWN);
    assert_string_equal(engine_fake_get(w->fake, "vm/a"), "1");
    engine_fake_make_late(w->engine, 1, 3000);
    assert_int_equal(create(w, "vm/b", "1"), ENGINE_UNKNOWN);
    assert_null(engine_fake_get(w->fake, "vm/b"));
    loop_fake_advance(w->loop, 3000);
    assert_string_equal(engine_fake_get(w->fake, "vm/b"), "1");
    engine_fake_make_late(w->engine, 1, 3000);
    struct engine_result result = {0};
    struct engine_write write = {ENGINE_PUT, "vm/c", {"1", 1}, 0};
    op_cancel(w->engine->ops->txn(
        w->engine, &(struct engine_txn){.writes = &write, .n_writes = 1}, &result, on_done, w));
    loop_fake_advance(w->loop, 3000);
    assert_string_equal(engine_fake_get(w->fake, "vm/c"), "1");
}

static void a_delay_shifts_everything(void **state)
{
    struct world *w = *state;
    engine_fake_delay(w->engine, 100);
    watch_from(w, 2);
    struct engine_result result = {0};
    struct engine_write write = {ENGINE_PUT, "vm/a", {"1", 1}, 0};
    (void)w->engine->ops->txn(
        w->engine, &(struct engine_txn){.writes = &write, .n_writes = 1}, &result, on_done, w);
    loop_fake_advance(w->loop, 99);
    assert_null(engine_fake_get(w->fake, "vm/a"));
    loop_fake_advance(w->loop, 1);
    assert_non_null(engine_fake_get(w->fake, "vm/a"));
    assert_int_equal(w->n_done, 0);
    loop_fake_advance(w->loop, 100);
    assert_int_equal(w->n_done, 1);
    assert_string_equal(buf_str(&w->seen), "+vm/a=1@2 ");
    engine_result_clear(&result);
    engine_fake_delay(w->engine, 8000);
    assert_int_equal(create(w, "vm/b", "1"), ENGINE_UNKNOWN);
}

static void a_compacted_revision_is_neither_read_nor_watched(void **state)
{
    struct world *w = *state;
    engine_fake_put(w->fake, "vm/a", "1");
    engine_fake_put(w->fake, "vm/a", "2");
    engine_fake_put(w->fake, "vm/b", "1");
    engine_fake_compact(w->fake, 4);
    free(read_all(w, 2));
    assert_int_equal(w->code, ERR_FLEET_COMPACTED);
    expect_rows(w, 4, "vm/a=2 vm/b=1 ");
    watch_from(w, 2);
    loop_fake_advance(w->loop, 1);
    assert_null(w->watch);
    assert_int_equal(w->code, ERR_FLEET_COMPACTED);
    watch_from(w, 5);
    engine_fake_put(w->fake, "vm/c", "1");
    loop_fake_advance(w->loop, 1);
    assert_string_equal(buf_str(&w->seen), "+vm/c=1@5 ");
}

static void a_restored_store_goes_back_and_ends_watches(void **state)
{
    struct world *w = *state;
    engine_fake_put(w->fake, "vm/a", "1");
    struct engine_fake_snapshot *snapshot = engine_fake_save(w->fake);
    engine_fake_put(w->fake, "vm/a", "2");
    watch_from(w, 4);
    loop_fake_advance(w->loop, 1);
    engine_fake_restore(w->fake, snapshot);
    loop_fake_advance(w->loop, 1);
    assert_null(w->watch);
    assert_int_equal(w->code, ERR_FLEET_UNREACHABLE);
    struct engine_status status;
    (void)w->engine->ops->status(w->engine, NULL, &status, on_done, w);
    loop_fake_advance(w->loop, 1);
    uint64_t store = status.store;
    assert_int_equal(status.revision, 2);
    watch_from(w, 4); /* of the future: no events, and no progress */
    loop_fake_advance(w->loop, 5000);
    assert_null(w->watch);
    assert_int_equal(w->n_progress, 0);
    engine_fake_wipe(w->fake);
    (void)w->engine->ops->status(w->engine, NULL, &status, on_done, w);
    loop_fake_advance(w->loop, 1);
    assert_int_equal(status.revision, 1);
    assert_int_not_equal(status.store, store);
    engine_fake_snapshot_free(snapshot);
}

static struct engine_lease grant(struct world *w, int64_t ttl_ms)
{
    struct engine_lease lease = {0};
    (void)w->engine->ops->lease_grant(w->engine, ttl_ms, &lease, on_done, w);
    loop_fake_advance(w->loop, 1);
    assert_int_equal(w->code, ERR_NONE);
    return lease;
}

static void put_on_lease(struct world *w, const char *key, int64_t lease)
{
    struct engine_result result = {0};
    struct engine_write write = {ENGINE_PUT, key, {"1", 1}, lease};
    (void)w->engine->ops->txn(
        w->engine, &(struct engine_txn){.writes = &write, .n_writes = 1}, &result, on_done, w);
    loop_fake_advance(w->loop, 1);
    engine_result_clear(&result);
}

static void a_lease_ends_with_its_keys(void **state)
{
    struct world *w = *state;
    struct engine_lease lease = grant(w, 15000);
    put_on_lease(w, "alive/a", lease.id);
    loop_fake_advance(w->loop, 14000);
    (void)w->engine->ops->lease_keep(w->engine, lease.id, &lease, on_done, w);
    loop_fake_advance(w->loop, 14000);
    assert_int_equal(lease.ttl_ms, 15000);
    assert_non_null(engine_fake_get(w->fake, "alive/a"));
    loop_fake_advance(w->loop, 1000);
    assert_null(engine_fake_get(w->fake, "alive/a"));
    (void)w->engine->ops->lease_keep(w->engine, lease.id, &lease, on_done, w);
    loop_fake_advance(w->loop, 1);
    assert_int_equal(w->code, ERR_FLEET_LEASE);
    put_on_lease(w, "alive/a", lease.id);
    assert_int_equal(w->code, ERR_FLEET_LEASE);
    lease = grant(w, 15000);
    put_on_lease(w, "alive/a", lease.id);
    (void)w->engine->ops->lease_revoke(w->engine, lease.id, on_done, w);
    loop_fake_advance(w->loop, 1);
    assert_null(engine_fake_get(w->fake, "alive/a"));
}

static void a_full_store_and_a_denied_client_get_their_errors(void **state)
{
    struct world *w = *state;
    engine_fake_fill(w->fake, true);
    assert_int_equal(create(w, "vm/a", "1"), ENGINE_NOT_DONE);
    assert_int_equal(w->code, ERR_FLEET_FULL);
    engine_fake_fill(w->fake, false);
    engine_fake_refuse(w->engine, ERR_FLEET_DENIED);
    assert_int_equal(create(w, "vm/a", "1"), ENGINE_NOT_DONE);
    assert_int_equal(w->code, ERR_FLEET_DENIED);
    assert_null(engine_fake_get(w->fake, "vm/a"));
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_transaction_happens_as_a_whole_or_not),
        CASE(what_is_too_much_is_refused_before_it_is_sent),
        CASE(pages_are_read_at_one_revision),
        CASE(a_watch_reports_events_and_progress),
        CASE(a_cut_link_times_out_and_silences_the_watch),
        CASE(what_timed_out_may_have_happened_or_happen_yet),
        CASE(a_delay_shifts_everything),
        CASE(a_compacted_revision_is_neither_read_nor_watched),
        CASE(a_restored_store_goes_back_and_ends_watches),
        CASE(a_lease_ends_with_its_keys),
        CASE(a_full_store_and_a_denied_client_get_their_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* The engine against one real etcd, by TLS. */
#include "engine_fixture.h"

#include "controller/fleet/etcd/etcd.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "tests/support/etcd_server.h"

static int set_up(void **state)
{
    int rc = start_fixture(state, &(struct etcd_server_options){.n = 1});
    struct fixture *f = *state;
    f->engine = f->server ? connect_as(f, "root", 1) : NULL;
    return rc;
}

static void a_transaction_happens_as_a_whole_or_not(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    wipe(f);
    struct engine_compare absent = {.condition = ENGINE_IF_ABSENT, .key = "name/web"};
    struct engine_write first = {ENGINE_PUT, "name/web", {"a\0b", 3}, 0};
    struct engine_txn create = {&absent, 1, &first, 1, NULL, 0};
    struct engine_result result = txn_on(f, f->engine, &create);
    assert_int_equal(result.outcome, ENGINE_SUCCEEDED);
    int64_t revision = result.revision;
    assert_int_equal(outcome_on(f, f->engine, &create), ENGINE_FAILED);
    assert_int_equal(f->err.code, ERR_NONE);
    struct engine_compare compares[] = {
        {.condition = ENGINE_IF_REVISION, .key = "name/web", .revision = revision},
        {.condition = ENGINE_IF_VALUE, .key = "name/web", .value = {"a\0b", 3}},
        {.condition = ENGINE_IF_PRESENT, .key = "name/web"},
        {.condition = ENGINE_IF_ABSENT, .key = "name/db"},
        {.condition = ENGINE_IF_REVISION, .key = "name/db", .revision = 0},
    };
    struct engine_write writes[] = {
        {ENGINE_DELETE_PREFIX, "name/", {NULL, 0}, 0},
        {ENGINE_DELETE, "none", {NULL, 0}, 0},
        {ENGINE_PUT, "vm/web", {"", 0}, 0},
    };
    struct engine_range reads[] = {{.key = "vm/", .is_prefix = true}, {.key = "name/web"}};
    result = txn_on(f, f->engine, &(struct engine_txn){compares, 5, writes, 3, reads, 2});
    assert_int_equal(result.outcome, ENGINE_SUCCEEDED);
    assert_int_equal(result.revision, revision + 1);
    assert_int_equal(result.n_reads, 2);
    assert_non_null(engine_rows_find(&result.reads[0], "vm/web"));
    assert_int_equal(result.reads[1].n, 0);
    engine_result_clear(&result);
    result = txn_on(f, f->engine, &(struct engine_txn){compares, 5, writes, 3, reads, 2});
    assert_int_equal(result.outcome, ENGINE_FAILED);
    assert_string_equal(result.reads[0].rows[0].value.data, "");
    engine_result_clear(&result);
    struct engine_rows rows =
        range_on(f, f->engine, &(struct engine_range){.key = "name/web", .revision = revision});
    assert_int_equal(rows.n, 1);
    assert_int_equal(rows.rows[0].value.n, 3);
    assert_memory_equal(rows.rows[0].value.data, "a\0b", 4);
    assert_int_equal(rows.rows[0].mod_revision, revision);
    assert_int_equal(rows.revision, revision + 1);
    engine_rows_clear(&rows);
}

static void pages_are_read_at_one_revision(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    wipe(f);
    (void)put(f, "a", "before");
    (void)put(f, "a/1", "x");
    (void)put(f, "a/2", "y");
    int64_t revision = put(f, "a/3", "z");
    (void)put(f, "a0", "behind");
    struct engine_range range = {.key = "a/", .is_prefix = true, .limit = 2, .revision = revision};
    struct engine_rows rows = range_on(f, f->engine, &range);
    assert_int_equal(rows.n, 2);
    assert_true(rows.has_more);
    assert_string_equal(rows.rows[0].key, "a/1");
    engine_rows_clear(&rows);
    wipe(f);
    range.after = "a/2";
    rows = range_on(f, f->engine, &range);
    assert_int_equal(rows.n, 1);
    assert_string_equal(rows.rows[0].value.data, "z");
    assert_false(rows.has_more);
    engine_rows_clear(&rows);
    range.has_keys_only = true;
    range.may_be_stale = true;
    rows = range_on(f, f->engine, &range);
    assert_int_equal(rows.rows[0].value.n, 0);
    engine_rows_clear(&rows);
}

static void what_is_too_much_is_refused(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    static struct engine_write writes[ENGINE_WRITES_MAX + 1];
    static char keys[ENGINE_WRITES_MAX + 1][8];
    for (size_t i = 0; i < ENGINE_WRITES_MAX + 1; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
        writes[i] = (struct engine_write){ENGINE_PUT, keys[i], {"", 0}, 0};
    }
    struct engine_txn txn = {.writes = writes, .n_writes = ENGINE_WRITES_MAX + 1};
    assert_int_equal(outcome_on(f, f->engine, &txn), ENGINE_NOT_DONE);
    assert_int_equal(f->err.code, ERR_FLEET_LIMIT);
    txn.n_writes = ENGINE_WRITES_MAX;
    assert_int_equal(outcome_on(f, f->engine, &txn), ENGINE_SUCCEEDED);
    /* as much as engine_txn_check() lets pass, etcd takes */
    size_t n = ENGINE_REQUEST_MAX - 100;
    cleanup_free char *large = mem_calloc(1, n);
    memset(large, 'x', n);
    struct engine_write one = {ENGINE_PUT, "large", {large, n}, 0};
    assert_int_equal(outcome_on(f, f->engine, &(struct engine_txn){.writes = &one, .n_writes = 1}),
        ENGINE_SUCCEEDED);
    /* what etcd itself refuses is not done either */
    writes[1].key = "k0";
    txn.n_writes = 2;
    assert_int_equal(outcome_on(f, f->engine, &txn), ENGINE_NOT_DONE);
    assert_non_null(strstr(f->err.message, "duplicate key"));
}

static void an_answer_of_many_megabytes_arrives_whole(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    enum { N = 20, SIZE = 600 << 10 };
    cleanup_free char *value = mem_calloc(1, SIZE);
    wipe(f);
    for (int i = 0; i < N; i++) {
        char key[16];
        snprintf(key, sizeof(key), "big/%02d", i);
        memset(value, 'a' + i, SIZE);
        struct engine_write write = {ENGINE_PUT, key, {value, SIZE}, 0};
        assert_int_equal(
            outcome_on(f, f->engine, &(struct engine_txn){.writes = &write, .n_writes = 1}),
            ENGINE_SUCCEEDED);
    }
    struct engine_rows rows =
        range_on(f, f->engine, &(struct engine_range){.key = "big/", .is_prefix = true});
    assert_int_equal(rows.n, N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(rows.rows[i].value.n, SIZE);
        assert_int_equal(rows.rows[i].value.data[SIZE - 1], 'a' + i);
    }
    engine_rows_clear(&rows);
    wipe(f);
}

static void a_watch_reports_history_news_and_progress(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    wipe(f);
    int64_t revision = put(f, "vm/a", "1");
    (void)put(f, "vm/a", "2");
    watch_on(f, f->engine, "vm/", revision);
    wait_seen(f, "+vm/a=1 +vm/a=2 ");
    (void)put(f, "other", "1");
    (void)put(f, "st/a", "1");
    wait_seen(f, "+vm/a=1 +vm/a=2 +st/a=1 ");
    int64_t last = put(f, "other", "2");
    while (f->progress < last) {
        wait_for(f, &f->n_progress);
    }
    assert_int_equal(f->progress, last);
    f->cancels_itself = true;
    wipe(f);
    while (f->watch) {
        loop_run(f->loop);
    }
    f->cancels_itself = false;
    assert_int_equal(f->n_ended, 0);
}

static void a_compacted_revision_is_neither_read_nor_watched(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    int64_t revision = put(f, "vm/a", "1");
    (void)put(f, "vm/a", "2");
    char words[32];
    snprintf(words, sizeof(words), "compact %lld", (long long)put(f, "vm/a", "3"));
    etcd_server_ctl(f->server, words);
    struct engine_rows rows =
        range_on(f, f->engine, &(struct engine_range){.key = "vm/a", .revision = revision});
    assert_int_equal(f->err.code, ERR_FLEET_COMPACTED);
    engine_rows_clear(&rows);
    watch_on(f, f->engine, "vm/", revision);
    wait_for(f, &f->n_ended);
    assert_int_equal(f->end.code, ERR_FLEET_COMPACTED);
}

static void on_future_end(void *context, const struct error *err)
{
    *(enum error_code *)context = err->code;
}

static void on_no_events(
    void *context, const struct engine_event *events, size_t n, int64_t revision)
{
    (void)context;
    (void)events;
    fail_msg("%zu events at revision %lld", n, (long long)revision);
}

/* A lease that expires, and the watch of a revision that is not reached: both take seconds. */
static void a_lease_ends_with_its_keys_and_a_watch_of_the_future_ends(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    struct engine_lease lease = {0};
    struct engine_lease left = {0};
    enum error_code future = ERR_NONE;
    const char *prefix = "vm/";
    struct engine_watch watch = {&prefix, 1, put(f, "vm/a", "1") + 1000 * 1000};
    (void)f->engine->ops->watch(f->engine, &watch, on_no_events, on_future_end, &future);
    (void)f->engine->ops->lease_grant(f->engine, 1500, &lease, on_done, f);
    wait_for(f, &f->n_done);
    assert_int_equal(f->err.code, ERR_NONE);
    assert_in_range(lease.ttl_ms, 2000, 5000);
    struct engine_write write = {ENGINE_PUT, "alive/a", {"1", 1}, lease.id};
    struct engine_txn txn = {.writes = &write, .n_writes = 1};
    struct engine_result result = txn_on(f, f->engine, &txn);
    assert_int_equal(result.outcome, ENGINE_SUCCEEDED);
    (void)f->engine->ops->lease_keep(f->engine, lease.id, &left, on_done, f);
    wait_for(f, &f->n_done);
    assert_int_equal(f->err.code, ERR_NONE);
    assert_int_equal(left.ttl_ms, lease.ttl_ms);
    watch_on(f, f->engine, "alive/", result.revision + 1);
    engine_result_clear(&result);
    wait_seen(f, "-alive/a= ");
    op_cancel(f->watch);
    (void)f->engine->ops->lease_keep(f->engine, lease.id, &left, on_done, f);
    wait_for(f, &f->n_done);
    assert_int_equal(f->err.code, ERR_FLEET_LEASE);
    assert_int_equal(outcome_on(f, f->engine, &txn), ENGINE_NOT_DONE);
    assert_int_equal(f->err.code, ERR_FLEET_LEASE);
    (void)f->engine->ops->lease_revoke(f->engine, lease.id, on_done, f);
    wait_for(f, &f->n_done);
    assert_int_equal(f->err.code, ERR_NONE); /* it is gone: as asked */
    while (future == ERR_NONE) {
        (void)put(f, "vm/a", "1");
    }
    assert_int_equal(future, ERR_FLEET_UNREACHABLE);
}

static void a_lease_is_revoked_with_its_keys(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    struct engine_lease lease = {0};
    (void)f->engine->ops->lease_grant(f->engine, 60000, &lease, on_done, f);
    wait_for(f, &f->n_done);
    struct engine_write write = {ENGINE_PUT, "alive/b", {"1", 1}, lease.id};
    (void)outcome_on(f, f->engine, &(struct engine_txn){.writes = &write, .n_writes = 1});
    struct engine_rows rows = range_on(f, f->engine, &(struct engine_range){.key = "alive/b"});
    assert_int_equal(rows.rows[0].lease, lease.id);
    engine_rows_clear(&rows);
    (void)f->engine->ops->lease_revoke(f->engine, lease.id, on_done, f);
    wait_for(f, &f->n_done);
    assert_int_equal(f->err.code, ERR_NONE);
    rows = range_on(f, f->engine, &(struct engine_range){.key = "alive/b"});
    assert_int_equal(rows.n, 0);
    engine_rows_clear(&rows);
}

static void the_status_names_the_store_and_its_member(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    struct engine_status status = {0};
    int64_t revision = put(f, "vm/a", "1");
    const char *url = etcd_server_url(f->server, 0);
    (void)f->engine->ops->status(f->engine, url, &status, on_done, f);
    wait_for(f, &f->n_done);
    assert_int_equal(f->err.code, ERR_NONE);
    assert_string_equal(status.endpoint, url);
    assert_int_equal(status.version[0], '3');
    assert_int_equal(status.revision, revision);
    assert_int_equal(status.leader, status.member);
    assert_true(status.store != 0 && status.term > 0 && status.size_bytes > 0);
    assert_false(status.is_full);
    struct engine_rows rows = range_on(f, f->engine, &(struct engine_range){.key = "vm/a"});
    assert_true(rows.store == status.store);
    engine_rows_clear(&rows);
    (void)f->engine->ops->status(f->engine, "https://elsewhere:1", &status, on_done, f);
    wait_for(f, &f->n_done);
    assert_int_equal(f->err.code, ERR_USAGE);
}

static void a_certificate_that_does_not_do_is_named(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    struct engine *engine = connect_as(f, "expired", 1);
    assert_int_not_equal(put_on(f, engine, "x", "1"), ENGINE_SUCCEEDED);
    assert_int_equal(f->err.code, ERR_FLEET_TLS);
    assert_non_null(strstr(f->err.message, "expired.pem' expired at 2"));
    watch_on(f, engine, "vm/", 1);
    wait_for(f, &f->n_ended);
    assert_int_equal(f->end.code, ERR_FLEET_TLS);
    engine_close(engine);
    /* the server's is signed by a CA that we do not trust */
    const char *url = etcd_server_url(f->server, 0);
    cleanup_free char *other = etcd_server_certificate(f->server, "a");
    cleanup_free char *key = etcd_server_key(f->server, "a");
    struct etcd_config config = {&url, 1, other, other, key};
    struct error err = {0};
    assert_int_equal(etcd_new(f->loop, &config, &engine, &err), 0);
    assert_int_equal(put_on(f, engine, "x", "1"), ENGINE_NOT_DONE);
    assert_int_equal(f->err.code, ERR_FLEET_TLS);
    engine_close(engine);
    config.certificate = "/none.pem";
    assert_int_equal(etcd_new(f->loop, &config, &engine, &err), -ERR_FLEET_TLS);
    assert_non_null(strstr(err.message, "/none.pem"));
    error_clear(&err);
    config.endpoints = &(const char *){"http://192.0.2.1:2379"};
    assert_int_equal(etcd_new(f->loop, &config, &engine, &err), -ERR_USAGE);
}

/* The member gets the transaction and is killed before it answers, on a connection that was used
 * before: libcurl would send such a request again. */
static void a_member_that_dies_leaves_the_outcome_unknown(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    watch_on(f, f->engine, "vm/", put(f, "vm/a", "1"));
    wait_seen(f, "+vm/a=1 ");
    f->engine->timeout_ms = 300;
    etcd_server_freeze(f->server, 0, true);
    assert_int_equal(put_on(f, f->engine, "vm/late", "1"), ENGINE_UNKNOWN);
    assert_int_equal(f->err.code, ERR_FLEET_UNREACHABLE);
    etcd_server_freeze(f->server, 0, false);
    f->engine->timeout_ms = ENGINE_TIMEOUT_MS;
    (void)put(f, "vm/a", "2");
    etcd_server_freeze(f->server, 0, true);
    struct engine_result result = {0};
    struct engine_write write = {ENGINE_PUT, "vm/b", {"1", 1}, 0};
    struct engine_txn txn = {.writes = &write, .n_writes = 1};
    (void)f->engine->ops->txn(f->engine, &txn, &result, on_done, f);
    f->engine->timeout_ms = 300;
    struct engine_rows rows = range_on(f, f->engine, &(struct engine_range){.key = "vm/a"});
    assert_int_equal(f->err.code, ERR_FLEET_UNREACHABLE); /* by now the other is on its way, too */
    engine_rows_clear(&rows);
    f->engine->timeout_ms = ENGINE_TIMEOUT_MS;
    etcd_server_kill(f->server, 0);
    wait_for(f, &f->n_done);
    assert_int_equal(result.outcome, ENGINE_UNKNOWN);
    if (f->watch) { /* it may have been the first to end */
        wait_for(f, &f->n_ended);
    }
    assert_int_equal(f->end.code, ERR_FLEET_UNREACHABLE);
    assert_int_equal(put_on(f, f->engine, "vm/c", "1"), ENGINE_NOT_DONE);
    assert_int_equal(f->err.code, ERR_FLEET_UNREACHABLE);
    etcd_server_restart(f->server, 0);
    (void)put(f, "vm/d", "1");
}

/* The last one: users cannot be switched off again in one line. */
static void a_user_may_do_what_its_roles_allow(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    etcd_server_ctl(f->server, "user add root:x");
    etcd_server_ctl(f->server, "user grant-role root root");
    etcd_server_ctl(f->server, "user add a:x");
    etcd_server_ctl(f->server, "role add node-a");
    etcd_server_ctl(f->server, "role grant-permission node-a --prefix=true readwrite vm/a/");
    etcd_server_ctl(f->server, "user grant-role a node-a");
    etcd_server_ctl(f->server, "auth enable");
    struct engine *engine = connect_as(f, "a", 1);
    assert_int_equal(put_on(f, engine, "vm/a/web", "1"), ENGINE_SUCCEEDED);
    assert_int_equal(put_on(f, engine, "vm/b/web", "1"), ENGINE_NOT_DONE);
    assert_int_equal(f->err.code, ERR_FLEET_DENIED);
    assert_non_null(strstr(f->err.message, "permission denied"));
    watch_on(f, engine, "vm/b/", 1);
    wait_for(f, &f->n_ended);
    assert_int_equal(f->end.code, ERR_FLEET_DENIED);
    engine_close(engine);
    engine = connect_as(f, "b", 1); /* not a user */
    assert_int_equal(put_on(f, engine, "vm/a/web", "1"), ENGINE_NOT_DONE);
    assert_int_equal(f->err.code, ERR_FLEET_DENIED);
    engine_close(engine);
    (void)put(f, "vm/c/web", "1"); /* root */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transaction_happens_as_a_whole_or_not),
        cmocka_unit_test(pages_are_read_at_one_revision),
        cmocka_unit_test(what_is_too_much_is_refused),
        cmocka_unit_test(an_answer_of_many_megabytes_arrives_whole),
        cmocka_unit_test(a_watch_reports_history_news_and_progress),
        cmocka_unit_test(a_compacted_revision_is_neither_read_nor_watched),
        cmocka_unit_test(a_lease_ends_with_its_keys_and_a_watch_of_the_future_ends),
        cmocka_unit_test(a_lease_is_revoked_with_its_keys),
        cmocka_unit_test(the_status_names_the_store_and_its_member),
        cmocka_unit_test(a_certificate_that_does_not_do_is_named),
        cmocka_unit_test(a_member_that_dies_leaves_the_outcome_unknown),
        cmocka_unit_test(a_user_may_do_what_its_roles_allow),
    };
    return cmocka_run_group_tests(tests, set_up, stop_fixture);
}

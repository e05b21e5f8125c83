/* SPDX-License-Identifier: MPL-2.0 */
/* The engine against three real members, of which one or two are killed or stopped. */
#include "engine_fixture.h"

static int set_up(void **state)
{
    int rc = start_fixture(state, &(struct etcd_server_options){.n = 3});
    struct fixture *f = *state;
    f->engine = f->server ? connect_as(f, "root", 3) : NULL;
    return rc;
}

static struct engine_status status_of(struct fixture *f, const char *endpoint)
{
    struct engine_status status = {0};
    (void)f->engine->ops->status(f->engine, endpoint, &status, on_done, f);
    wait_for(f, &f->n_done);
    assert_int_equal(f->err.code, ERR_NONE);
    return status;
}

static size_t index_of(const struct fixture *f, const char *url)
{
    size_t i = 0;
    while (strcmp(etcd_server_url(f->server, i), url) != 0) {
        i++;
    }
    return i;
}

static void a_killed_member_ends_the_watch_and_the_next_serves(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    int64_t revision = put(f, "vm/a", "1");
    watch_on(f, f->engine, "vm/", revision);
    wait_seen(f, "+vm/a=1 ");
    struct engine_status before = status_of(f, NULL);
    size_t member = index_of(f, before.endpoint);
    etcd_server_kill(f->server, member);
    wait_for(f, &f->n_ended);
    assert_int_equal(f->end.code, ERR_FLEET_UNREACHABLE);
    /* at another member, which may have to elect a leader first */
    struct engine_rows rows = range_on(f, f->engine, &(struct engine_range){.key = "vm/a"});
    assert_int_equal(f->err.code, ERR_NONE);
    assert_true(rows.store == before.store);
    engine_rows_clear(&rows);
    struct engine_status after = status_of(f, NULL);
    assert_int_not_equal(after.member, before.member);
    (void)put(f, "vm/a", "2");
    watch_on(f, f->engine, "vm/", revision + 1);
    wait_seen(f, "+vm/a=2 ");
    op_cancel(f->watch);
    f->watch = NULL;
    etcd_server_restart(f->server, member);
}

/* Its connections stay open, and nothing comes. */
static void a_stopped_member_falls_silent_and_the_next_serves(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    int64_t revision = put(f, "vm/a", "1");
    watch_on(f, f->engine, "vm/", revision);
    wait_seen(f, "+vm/a=1 ");
    size_t member = index_of(f, status_of(f, NULL).endpoint);
    etcd_server_freeze(f->server, member, true);
    int64_t began_ms = clock_monotonic_ms(clock_system());
    wait_for(f, &f->n_ended);
    assert_in_range(clock_monotonic_ms(clock_system()) - began_ms, 1900, 12000);
    assert_int_equal(f->end.code, ERR_FLEET_UNREACHABLE);
    assert_non_null(strstr(f->end.message, "no answer for"));
    (void)put(f, "vm/a", "2"); /* at once at the next, not after a timeout */
    assert_in_range(clock_monotonic_ms(clock_system()) - began_ms, 1900, 19000);
    etcd_server_freeze(f->server, member, false);
}

static void a_read_finds_another_member_within_its_time(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    (void)put(f, "vm/a", "1");
    size_t member = index_of(f, status_of(f, NULL).endpoint);
    etcd_server_freeze(f->server, member, true);
    f->engine->timeout_ms = 3000;
    struct engine_rows rows = range_on(f, f->engine, &(struct engine_range){.key = "vm/a"});
    assert_int_equal(f->err.code, ERR_NONE);
    assert_int_equal(rows.n, 1);
    engine_rows_clear(&rows);
    f->engine->timeout_ms = ENGINE_TIMEOUT_MS;
    etcd_server_freeze(f->server, member, false);
}

static void without_a_majority_only_stale_reads_are_answered(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    watch_on(f, f->engine, "vm/", put(f, "vm/a", "1"));
    etcd_server_kill(f->server, 0);
    etcd_server_kill(f->server, 1);
    f->engine->timeout_ms = 2000;
    assert_int_not_equal(put_on(f, f->engine, "vm/b", "1"), ENGINE_SUCCEEDED);
    assert_int_equal(f->err.code, ERR_FLEET_UNREACHABLE);
    struct engine_range range = {.key = "vm/a", .may_be_stale = true};
    struct engine_rows rows = range_on(f, f->engine, &range);
    assert_int_equal(f->err.code, ERR_NONE);
    assert_int_equal(rows.n, 1);
    engine_rows_clear(&rows);
    if (f->watch) { /* at the third, if it began there: it knows of no leader */
        wait_for(f, &f->n_ended);
    }
    assert_int_equal(f->end.code, ERR_FLEET_UNREACHABLE);
    struct engine_status status = status_of(f, etcd_server_url(f->server, 2));
    assert_true(status.leader == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_member_ends_the_watch_and_the_next_serves),
        cmocka_unit_test(a_stopped_member_falls_silent_and_the_next_serves),
        cmocka_unit_test(a_read_finds_another_member_within_its_time),
        cmocka_unit_test(without_a_majority_only_stale_reads_are_answered),
    };
    return cmocka_run_group_tests(tests, set_up, stop_fixture);
}

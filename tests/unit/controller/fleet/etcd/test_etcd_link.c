/* SPDX-License-Identifier: MPL-2.0 */
/* The engine against a real etcd behind a link that is cut, and one that is restored from a
 * snapshot.
 */
#include "engine_fixture.h"

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

static int64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

/* What was on its way when the link was cut arrives when it heals: later than its caller waited. */
static void a_cut_link_is_noticed_and_what_was_sent_happens_late(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    struct etcd_link *link = etcd_link_start(f->server, 0);
    const char *url = etcd_link_url(link);
    struct engine *behind = connect_to(f, "root", &url, 1);
    assert_int_equal(put_on(f, behind, "vm/a", "1"), ENGINE_SUCCEEDED);
    watch_on(f, behind, "vm/", 1);
    wait_seen(f, "+vm/a=1 ");
    struct engine *second = connect_to(f, "root", &url, 1); /* its connection stays in use */
    assert_int_equal(put_on(f, second, "vm/a", "2"), ENGINE_SUCCEEDED);
    wait_seen(f, "+vm/a=1 +vm/a=2 ");
    int64_t began_ms = now_ms();
    etcd_link_cut(link, true);
    behind->timeout_ms = 1000;
    assert_int_equal(put_on(f, behind, "vm/late", "1"), ENGINE_UNKNOWN);
    assert_int_equal(f->err.code, ERR_FLEET_UNREACHABLE);
    assert_int_equal(put_on(f, behind, "vm/never", "1"), ENGINE_NOT_DONE); /* a new connection */
    (void)put(f, "vm/a", "3");                                             /* others are not cut */
    wait_for(f, &f->n_ended);
    assert_int_equal(f->end.code, ERR_FLEET_UNREACHABLE);
    assert_in_range(now_ms() - began_ms, 1900, 12000);
    assert_string_equal(buf_str(&f->seen), "+vm/a=1 +vm/a=2 ");
    etcd_link_cut(link, false);
    assert_int_equal(put_on(f, behind, "vm/a", "4"), ENGINE_SUCCEEDED); /* at once */
    watch_on(f, behind, "vm/a", put(f, "vm/a", "5") - 1);
    wait_seen(f, "+vm/a=4 +vm/a=5 ");
    op_cancel(f->watch);
    f->watch = NULL;
    struct engine_rows rows =
        range_on(f, behind, &(struct engine_range){.key = "vm/", .is_prefix = true});
    assert_null(engine_rows_find(&rows, "vm/never"));
    engine_rows_clear(&rows);
    engine_close(second);
    engine_close(behind);
    etcd_link_stop(link);
}

static void a_restored_store_is_known_by_its_revision_alone(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    cleanup_free char *snapshot = mem_printf("%s/snapshot", f->dir);
    (void)put(f, "vm/a", "kept");
    etcd_server_save(f->server, snapshot);
    int64_t last = put(f, "vm/a", "lost");
    struct engine_rows before = range_on(f, f->engine, &(struct engine_range){.key = "vm/a"});
    watch_on(f, f->engine, "vm/", last + 1);
    etcd_server_restore(f->server, snapshot);
    wait_for(f, &f->n_ended);
    assert_int_equal(f->end.code, ERR_FLEET_UNREACHABLE);
    struct engine_rows after = range_on(f, f->engine, &(struct engine_range){.key = "vm/a"});
    assert_int_equal(f->err.code, ERR_NONE);
    assert_string_equal(after.rows[0].value.data, "kept");
    assert_true(after.revision < before.revision);
    assert_true(after.store == before.store);
    engine_rows_clear(&before);
    engine_rows_clear(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_link_is_noticed_and_what_was_sent_happens_late),
        cmocka_unit_test(a_restored_store_is_known_by_its_revision_alone),
    };
    return cmocka_run_group_tests(tests, set_up, stop_fixture);
}

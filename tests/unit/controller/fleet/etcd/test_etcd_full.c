/* SPDX-License-Identifier: MPL-2.0 */
/* The engine against an etcd with a small quota, without TLS: the one that has to be told from one
 * that is down. */
#include "engine_fixture.h"

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

static int set_up(void **state)
{
    static const char *const arguments[] = {"--quota-backend-bytes=1048576", NULL};
    int rc = start_fixture(
        state, &(struct etcd_server_options){.is_plain = true, .arguments = arguments});
    struct fixture *f = *state;
    f->engine = f->server ? connect_as(f, "root", 1) : NULL;
    return rc;
}

static void a_full_store_says_so(void **state)
{
    struct fixture *f = *state;
    SKIP_WITHOUT(f)
    enum { SIZE = 300 << 10 };
    cleanup_free char *value = mem_calloc(1, SIZE);
    struct engine_write write = {ENGINE_PUT, "big", {value, SIZE}, 0};
    struct engine_txn txn = {.writes = &write, .n_writes = 1};
    /* It looks at its size when it has written it, ten times a second. */
    enum { MOST = 500 };
    for (unsigned n = 0; n < MOST && outcome_on(f, f->engine, &txn) == ENGINE_SUCCEEDED; n++) {
    }
    assert_int_equal(f->err.code, ERR_FLEET_FULL);
    struct engine_status status = {0};
    do {
        (void)f->engine->ops->status(f->engine, NULL, &status, on_done, f);
        wait_for(f, &f->n_done);
        assert_int_equal(f->err.code, ERR_NONE);
    } while (!status.is_full);
    assert_int_equal(put_on(f, f->engine, "small", "1"), ENGINE_NOT_DONE);
    assert_int_equal(f->err.code, ERR_FLEET_FULL);
    struct engine_rows rows = range_on(f, f->engine, &(struct engine_range){.key = "big"});
    assert_int_equal(f->err.code, ERR_NONE);
    engine_rows_clear(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_store_says_so),
    };
    return cmocka_run_group_tests(tests, set_up, stop_fixture);
}

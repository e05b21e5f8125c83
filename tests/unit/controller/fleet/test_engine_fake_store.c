/* SPDX-License-Identifier: MPL-2.0 */
/* Every revision that is kept can be read, of a copy as of the original. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/error.h"
#include "tests/support/engine_fake_store.h"

static void put(struct fake_store *store, const char *key, const char *value)
{
    struct engine_write write = {ENGINE_PUT, key, {value, strlen(value)}, 0};
    struct engine_result result = {0};
    struct error err = {0};
    struct engine_txn txn = {.writes = &write, .n_writes = 1};
    assert_int_equal(fake_store_txn(store, &txn, &result, &err), 0);
    engine_result_clear(&result);
}

static void expect(const struct fake_store *store, int64_t revision, const char *value)
{
    struct engine_rows rows = {0};
    struct error err = {0};
    struct engine_range range = {.key = "k", .revision = revision};
    assert_int_equal(fake_store_range(store, &range, &rows, &err), 0);
    assert_int_equal(rows.n, 1);
    assert_string_equal(rows.rows[0].value.data, value);
    assert_int_equal(rows.rows[0].create_revision, 2);
    engine_rows_clear(&rows);
}

static void old_revisions_are_read_until_compaction(void **state)
{
    (void)state;
    struct fake_store store = {.id = 1, .revision = 1};
    struct fake_store copy;
    struct error err = {0};
    struct engine_rows rows = {0};
    put(&store, "k", "1");
    put(&store, "k", "2");
    fake_store_copy(&copy, &store);
    put(&store, "k", "3");
    put(&copy, "k", "other");
    expect(&store, 2, "1");
    expect(&store, 3, "2");
    expect(&store, 0, "3");
    expect(&copy, 0, "other");
    fake_store_compact(&store, 3);
    expect(&store, 3, "2");
    struct engine_range range = {.key = "k", .revision = 2};
    assert_int_equal(fake_store_range(&store, &range, &rows, &err), -ERR_FLEET_COMPACTED);
    fake_store_clear(&store);
    fake_store_clear(&copy);
}

static void events_are_those_of_the_prefix_and_the_revisions(void **state)
{
    (void)state;
    struct fake_store store = {.id = 1, .revision = 1};
    struct fake_events events = {0};
    put(&store, "a/1", "x");
    put(&store, "b/1", "x");
    put(&store, "a/2", "x");
    put(&store, "a/1", "y");
    fake_store_events(&store, "a/", 3, 5, &events);
    assert_int_equal(events.n, 2);
    assert_string_equal(events.events[0].row.key, "a/2");
    assert_int_equal(events.events[1].row.mod_revision, 5);
    fake_events_clear(&events);
    fake_store_clear(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_revisions_are_read_until_compaction),
        cmocka_unit_test(events_are_those_of_the_prefix_and_the_revisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* The table of what other nodes have: also in a store that was made before there was one. */
#include "tests/unit/store/store_fixture.h"

#include <lmdb.h>

#include "specs/base/cleanup.h"

static void put_fleet(struct store *store, const char *key, const char *text)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *record = text ? json_string(text) : NULL;
    store_batch_put_json(batch, STORE_FLEET, key, record);
    must(store_commit(store, batch, &err), &err);
    store_batch_free(batch);
}

static void assert_fleet(struct store *store, const char *key, const char *text)
{
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *record = NULL;
    must(store_get_json(store, STORE_FLEET, key, &record, &err), &err);
    assert_true((record != NULL) == (text != NULL));
    if (text) {
        assert_string_equal(json_string_value(record), text);
    }
}

static void a_record_is_kept_listed_and_removed(void **state)
{
    struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *all = NULL;
    put_fleet(f->store, "node/b", "x");
    assert_fleet(f->store, "node/b", "x");
    must(store_list_json(f->store, STORE_FLEET, &all, &err), &err);
    assert_int_equal(json_object_size(all), 1);
    put_fleet(f->store, "node/b", NULL);
    assert_fleet(f->store, "node/b", NULL);
}

/* As a vmctl before this one has left it. */
static void remove_table(const struct fixture *f)
{
    cleanup_free char *path = paths_path(&f->paths, "store");
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi table;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, STORE_TABLE_COUNT_), 0);
    assert_int_equal(mdb_env_open(env, path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "fleet", 0, &table), 0);
    assert_int_equal(mdb_drop(txn, table, 1), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void an_older_store_gets_the_table_when_it_is_opened(void **state)
{
    struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    struct vm_desired *desired = vm_desired_new(vm_spec_new("web"), 1);
    store_batch_put_desired(batch, desired, 0);
    must(store_commit(f->store, batch, &err), &err);
    store_batch_free(batch);
    vm_desired_free(desired);
    store_close(f->store);
    remove_table(f);
    must(store_check(&f->paths, &err), &err);
    f->store = open_store(f);
    struct vm_record record;
    must(store_get(f->store, "web", &record, &err), &err);
    assert_non_null(record.desired);
    vm_record_clear(&record);
    put_fleet(f->store, "link", "up");
    assert_fleet(f->store, "link", "up");
    must(store_check(&f->paths, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_record_is_kept_listed_and_removed, fixture_set_up_open, fixture_tear_down),
        cmocka_unit_test_setup_teardown(an_older_store_gets_the_table_when_it_is_opened,
            fixture_set_up_open, fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* The index from a VM to its leases: it says what the leases say, or is not used. */
#include "specs/base/cleanup.h"
#include "specs/base/strings.h"
#include "specs/base/vm_name.h"
#include "store/desired/rename.h"
#include "store/lmdb/lmdb_index.h"
#include "store/record.h"
#include "store/repair.h"
#include "tests/unit/store/raw_store.h"

enum { LONG_KEY = 480 };

static void add_lease(struct store_batch *batch, const char *key, const char *uid, const char *name)
{
    struct lease lease = {.key = mem_strdup(key), .vm_name = mem_strdup(name), .purpose = NULL};
    (void)snprintf(lease.uid, sizeof(lease.uid), "%s", uid);
    store_batch_take_lease(batch, &lease);
    free(lease.key);
    free(lease.vm_name);
}

static int take(struct store *store, const char *key, const char *uid, const char *name)
{
    struct store_batch *batch = store_batch_new();
    add_lease(batch, key, uid, name);
    return commit(store, batch);
}

static void forget(struct store *store, const char *name, const char *uid)
{
    struct store_batch *batch = store_batch_new();
    store_batch_forget_vm(batch, name, uid);
    assert_int_equal(commit(store, batch), 0);
}

/* "mac/1 tcp/2": those of a VM; NULL: all. */
static void assert_held(struct store *store, const char *name, const char *expected)
{
    struct lease_list list = {.count = 0};
    struct error err = {0};
    cleanup_buf struct buf text = BUF_INIT(0);
    must(store_list_leases(store, name, &list, &err), &err);
    for (size_t i = 0; i < list.count; i++) {
        buf_printf(&text, "%s%s", i > 0 ? " " : "", list.items[i].key);
        assert_true(!name || strcmp(list.items[i].vm_name, name) == 0);
    }
    assert_string_equal(buf_str(&text), expected);
    lease_list_clear(&list);
}

static bool is_used_for(struct store *store, const char *name)
{
    struct lmdb_read read;
    struct error err = {0};
    cleanup_with(strings_clear) struct strings keys = {.count = 0};
    must(lmdb_read_begin(store, &read, &err), &err);
    int rc = lmdb_index_leases(store, &read, name, &keys);
    lmdb_read_end(store, &read);
    assert_true(rc == 0 || rc == MDB_NOTFOUND);
    return rc == 0;
}

static bool agrees(struct store *store)
{
    struct lmdb_read read;
    struct error err = {0};
    struct index_agreement agreement;
    must(lmdb_read_begin(store, &read, &err), &err);
    assert_int_equal(lmdb_index_agrees(store, &read, &agreement), 0);
    lmdb_read_end(store, &read);
    assert_true(agreement.of_sources && agreement.of_events);
    return agreement.of_leases;
}

/* Puts it as a vmctl without the index does, or with `name` NULL removes it. */
static void put_raw(struct raw *raw, const char *key, const char *uid, const char *name)
{
    MDB_dbi table;
    cleanup_free char *text = name ? mem_printf("%s\t%s\tssh", uid, name) : NULL;
    MDB_val k = lmdb_value(key, strlen(key));
    assert_int_equal(mdb_dbi_open(raw->txn, "leases", 0, &table), 0);
    if (text) {
        MDB_val value = lmdb_value(text, strlen(text));
        assert_int_equal(mdb_put(raw->txn, table, &k, &value, 0), 0);
    } else {
        assert_int_equal(mdb_del(raw->txn, table, &k, NULL), 0);
    }
}

/* Says that the index is as of this transaction. */
static void put_mark(struct raw *raw)
{
    uint64_t mark[3] = {4, mdb_txn_id(raw->txn), mdb_txn_id(raw->txn)};
    MDB_val key = lmdb_value("indexed", 7), value = lmdb_value(mark, sizeof(mark));
    MDB_dbi main_table;
    assert_int_equal(mdb_dbi_open(raw->txn, NULL, 0, &main_table), 0);
    assert_int_equal(mdb_put(raw->txn, main_table, &key, &value, 0), 0);
}

/* ---- tests ---- */

static void it_says_what_the_leases_say_after_every_change(void **state)
{
    static const char *const names[] = {"a", "a-b", "shop/a", "web"};
    static const char *const uids[] = {"u1", "u2", "u3", "u4"};
    struct fixture *f = *state;
    unsigned random = 1;
    for (int i = 0; i < 300; i++) {
        cleanup_free char *key = mem_printf("tcp/%u", (random >> 8) % 9);
        random = random * 1103515245 + 12345;
        size_t vm = (random >> 16) % ARRAY_LEN(names);
        unsigned what = (random >> 24) % 8;
        if (what == 0) {
            forget(f->store, names[vm], uids[vm]);
            assert_held(f->store, names[vm], "");
        } else if (what < 3) {
            struct store_batch *batch = store_batch_new();
            store_batch_drop_lease(batch, key);
            assert_int_equal(commit(f->store, batch), 0);
        } else {
            int rc = take(f->store, key, uids[vm], names[vm]);
            assert_true(rc == 0 || rc == -ERR_STORE_STALE);
        }
        assert_true(agrees(f->store));
        assert_true(is_used_for(f->store, names[vm]));
    }
}

/* One that is too long for a key of LMDB beside the VM's name, too. */
static void the_leases_of_a_vm_are_found_by_its_very_name(void **state)
{
    struct fixture *f = *state;
    char name[VM_FULL_NAME_MAX + 1], key[LONG_KEY + 1];
    memset(name, 'n', 63);
    name[63] = '\0';
    memset(key, 'k', LONG_KEY);
    key[LONG_KEY] = '\0';
    assert_int_equal(take(f->store, "tcp/1", "u1", "web"), 0);
    assert_int_equal(take(f->store, "tcp/2", "u2", "web-2"), 0);
    assert_int_equal(take(f->store, "mac/1", "u1", "web"), 0);
    assert_int_equal(take(f->store, "tcp/3", "u3", "shop/web"), 0);
    assert_int_equal(take(f->store, key, "u4", name), 0);
    assert_held(f->store, "web", "mac/1 tcp/1");
    assert_held(f->store, "we", "");
    assert_held(f->store, "shop/web", "tcp/3");
    assert_held(f->store, "", "");
    assert_held(f->store, name, key);
    assert_true(agrees(f->store));
    forget(f->store, name, "u4");
    assert_held(f->store, NULL, "mac/1 tcp/1 tcp/2 tcp/3");
    assert_true(agrees(f->store));
}

/* What is read to forget one VM, or to list its leases, does not grow with the others': a lease
 * that the index does not lead to is not come across. */
static void the_leases_of_other_vms_are_not_looked_at(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(take(f->store, "tcp/1", "u1", "web"), 0);
    assert_int_equal(take(f->store, "tcp/2", "u2", "db"), 0);
    struct raw raw = raw_begin(f);
    put_raw(&raw, "tcp/3", "u1", "db");
    put_raw(&raw, "tcp/4", "u1", "web");
    put_mark(&raw);
    raw_end(f, &raw);
    assert_held(f->store, "web", "tcp/1");
    forget(f->store, "web", "u1");
    assert_held(f->store, NULL, "tcp/2 tcp/3 tcp/4");
}

static void a_vm_that_forgot_its_leases_is_followed_by_another_in_one_transaction(void **state)
{
    struct fixture *f = *state;
    struct store_batch *batch = store_batch_new();
    assert_int_equal(take(f->store, "tcp/1", "u1", "web"), 0);
    store_batch_forget_vm(batch, "web", "u1");
    add_lease(batch, "tcp/1", "u2", "web");
    add_lease(batch, "tcp/2", "u2", "web");
    assert_int_equal(commit(f->store, batch), 0);
    assert_held(f->store, "web", "tcp/1 tcp/2");
    forget(f->store, "web", "u1"); /* its predecessor: nothing is left of that */
    assert_held(f->store, "web", "tcp/1 tcp/2");
    batch = store_batch_new();
    add_lease(batch, "tcp/3", "u2", "web");
    store_batch_forget_vm(batch, "web", "u2");
    assert_int_equal(commit(f->store, batch), 0);
    assert_held(f->store, NULL, "");
    assert_true(agrees(f->store));
}

static void a_rename_takes_them_along(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct renamed renamed = {.generation = 0};
    char uid[TEXT_ID_SIZE];
    assert_int_equal(create_vm(f->store, "web", uid), 0);
    struct vm_record record = get_vm(f->store, "web");
    assert_int_equal(put_status(f->store, "web", uid, record.desired->generation), 0);
    vm_record_clear(&record);
    assert_int_equal(take(f->store, "tcp/1", uid, "web"), 0);
    assert_int_equal(take(f->store, "tcp/2", "u2", "db"), 0);
    must(rename_vm(f->store, "web", "www", &renamed, &err), &err);
    free(renamed.source);
    assert_held(f->store, "www", "name/web tcp/1");
    assert_held(f->store, "web", "");
    assert_true(agrees(f->store) && is_used_for(f->store, "www"));
    record = get_vm(f->store, "www");
    forget(f->store, "www", record.desired->uid);
    vm_record_clear(&record);
    assert_held(f->store, NULL, "tcp/2");
    assert_true(agrees(f->store));
}

static void an_older_store_gets_it_when_it_is_opened(void **state)
{
    struct fixture *f = *state;
    MDB_dbi table;
    assert_int_equal(take(f->store, "tcp/1", "u1", "web"), 0);
    struct raw raw = raw_begin(f);
    assert_int_equal(mdb_dbi_open(raw.txn, LMDB_HELD_NAME, 0, &table), 0);
    assert_int_equal(mdb_drop(raw.txn, table, 1), 0);
    raw_end(f, &raw);
    assert_true(is_used_for(f->store, "web") && agrees(f->store));
    assert_held(f->store, "web", "tcp/1");
    forget(f->store, "web", "u1");
    assert_held(f->store, NULL, "");
}

static void one_that_another_vmctl_wrote_beside_is_not_used(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) { /* read, then written */
        assert_int_equal(take(f->store, "tcp/1", "u1", "web"), 0);
        assert_int_equal(take(f->store, "tcp/2", "u2", "db"), 0);
        struct raw raw = raw_begin(f);
        put_raw(&raw, "tcp/1", "u2", "db");
        put_raw(&raw, "tcp/2", NULL, NULL);
        put_raw(&raw, "tcp/3", "u1", "web");
        raw_end(f, &raw);
        assert_false(is_used_for(f->store, "web"));
        if (i == 0) {
            assert_held(f->store, "web", "tcp/3");
            assert_held(f->store, "db", "tcp/1");
        }
        forget(f->store, "web", "u1");
        assert_held(f->store, NULL, "tcp/1");
        assert_true(is_used_for(f->store, "db") && agrees(f->store));
        forget(f->store, "db", "u2");
        assert_held(f->store, NULL, "");
    }
}

static void a_store_without_is_read_and_written(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(take(f->store, "tcp/1", "u1", "web"), 0);
    f->store->by_source = LMDB_NO_TABLE; /* there was no room for it */
    assert_int_equal(take(f->store, "tcp/2", "u1", "web"), 0);
    assert_int_equal(take(f->store, "tcp/3", "u2", "db"), 0);
    assert_held(f->store, "web", "tcp/1 tcp/2");
    forget(f->store, "web", "u1");
    assert_held(f->store, NULL, "tcp/3");
}

/* An entry of a lease that is gone, and a lease without an entry. */
static void damage_to_it_is_found_and_repaired(void **state)
{
    struct fixture *f = *state;
    for (int lacks = 0; lacks < 2; lacks++) {
        struct error err = {0};
        cleanup_with(strings_clear) struct strings names = {.count = 0};
        struct repair repair = {.done = {.count = 0}};
        assert_int_equal(take(f->store, "tcp/1", "u1", "web"), 0);
        assert_int_equal(take(f->store, "tcp/2", "u1", "web"), 0);
        struct raw raw = raw_begin(f);
        put_raw(&raw, lacks ? "tcp/3" : "tcp/1", "u1", lacks ? "web" : NULL);
        put_mark(&raw);
        raw_end(f, &raw);
        assert_held(f->store, "web", lacks ? "tcp/1 tcp/2" : "tcp/2");
        must(store_find_damage(f->store, &names, &err), &err);
        assert_int_equal(names.count, 1);
        assert_string_equal(names.items[0], "all leases (index)");
        must(store_repair(f->store, &repair, &err), &err);
        assert_int_equal(repair.done.count, 1);
        assert_string_equal(repair.done.items[0], "all leases (index): made again");
        repair_clear(&repair);
        assert_true(agrees(f->store));
        assert_held(f->store, "web", lacks ? "tcp/1 tcp/2 tcp/3" : "tcp/2");
        forget(f->store, "web", "u1");
        assert_held(f->store, NULL, "");
    }
}

/* Else a VM with such an entry could never be forgotten, or a lease would be listed twice. */
static void one_that_names_a_lease_twice_is_not_used(void **state)
{
    struct fixture *f = *state;
    MDB_dbi table;
    assert_int_equal(take(f->store, "tcp/1", "u1", "web"), 0);
    assert_int_equal(take(f->store, "tcp/2", "u1", "web"), 0);
    struct raw raw = raw_begin(f);
    MDB_val key = lmdb_value("web\ttcp/2", 9), value = lmdb_value("tcp/1", 5);
    assert_int_equal(mdb_dbi_open(raw.txn, LMDB_HELD_NAME, 0, &table), 0);
    assert_int_equal(mdb_put(raw.txn, table, &key, &value, 0), 0);
    put_mark(&raw);
    raw_end(f, &raw);
    assert_false(is_used_for(f->store, "web"));
    assert_held(f->store, "web", "tcp/1 tcp/2");
    forget(f->store, "web", "u1");
    assert_held(f->store, NULL, "");
}

/* The lease is removed, and its entry with it, also in the transaction that makes the index. */
static void a_lease_that_is_repaired_has_no_entry(void **state)
{
    struct fixture *f = *state;
    for (int is_as_of = 0; is_as_of < 2; is_as_of++) {
        struct error err = {0};
        struct repair repair = {.done = {.count = 0}};
        assert_int_equal(take(f->store, "tcp/1", "u1", "web"), 0);
        struct raw raw = raw_begin(f);
        put_raw(&raw, "tcp/1", "no uid!", "web");
        if (is_as_of) {
            put_mark(&raw);
        }
        raw_end(f, &raw);
        must(store_repair(f->store, &repair, &err), &err);
        assert_int_equal(repair.done.count, 1);
        assert_string_equal(repair.done.items[0], "tcp/1 (leases): removed");
        repair_clear(&repair);
        assert_true(agrees(f->store) && is_used_for(f->store, "web"));
        assert_held(f->store, NULL, "");
    }
}

#define on_open_store(test)                                                                        \
    cmocka_unit_test_setup_teardown(test, fixture_set_up_open, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_open_store(it_says_what_the_leases_say_after_every_change),
        on_open_store(the_leases_of_a_vm_are_found_by_its_very_name),
        on_open_store(the_leases_of_other_vms_are_not_looked_at),
        on_open_store(a_vm_that_forgot_its_leases_is_followed_by_another_in_one_transaction),
        on_open_store(a_rename_takes_them_along),
        on_open_store(an_older_store_gets_it_when_it_is_opened),
        on_open_store(one_that_another_vmctl_wrote_beside_is_not_used),
        on_open_store(a_store_without_is_read_and_written),
        on_open_store(damage_to_it_is_found_and_repaired),
        on_open_store(one_that_names_a_lease_twice_is_not_used),
        on_open_store(a_lease_that_is_repaired_has_no_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

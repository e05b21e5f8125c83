/* SPDX-License-Identifier: MPL-2.0 */
/* The index of the VMs of a VMFile: it says what the records say, or is not used. */
#include "store/lmdb/lmdb_index.h"

#include <signal.h>

#include "specs/base/cleanup.h"
#include "specs/base/strings.h"
#include "store/desired/rename.h"
#include "store/record.h"
#include "store/repair.h"
#include "tests/unit/store/raw_store.h"

#define SHOP "/home/me/shop/VMFile.kdl"
#define QUOTED "/home/me/a \"quoted\" \\ folder/VMFile.kdl"

static int put_vm(struct store *store, const char *name, const char *source)
{
    struct vm_record record = get_vm(store, name);
    struct vm_desired *desired = record.desired ? record.desired : a_desired(name, 1);
    uint64_t expected = record.desired ? desired->revision : 0;
    free(desired->source);
    desired->source = source ? mem_strdup(source) : NULL;
    int rc = put_desired(store, desired, expected);
    if (!record.desired) {
        vm_desired_free(desired);
    }
    vm_record_clear(&record);
    return rc;
}

static int forget_vm(struct store *store, const char *name)
{
    struct vm_record record = get_vm(store, name);
    struct store_batch *batch = store_batch_new();
    store_batch_forget_vm(batch, name, record.desired ? record.desired->uid : "none");
    vm_record_clear(&record);
    return commit(store, batch);
}

/* ---- what is expected ---- */

static int visit_none(struct store *store, struct bytes name, struct bytes stored, void *context)
{
    (void)store;
    (void)name;
    (void)stored;
    (void)context;
    return 0;
}

static bool is_used(struct store *store)
{
    struct lmdb_read read;
    struct error err = {0};
    must(lmdb_read_begin(store, &read, &err), &err);
    int rc = lmdb_index_each(store, &read, (struct bytes){"/", 1}, visit_none, NULL);
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
    assert_true(agreement.of_leases && agreement.of_events);
    return agreement.of_sources;
}

/* As the whole records have it. */
static void assert_names(struct store *store, const char *source)
{
    cleanup_with(strings_clear) struct strings listed = {.count = 0}, expected = {.count = 0};
    cleanup_with(vm_list_clear) struct vm_list list = {.count = 0};
    struct error err = {0};
    must(store_list_source(store, source, &listed, &err), &err);
    must(store_list(store, &list, &err), &err);
    for (size_t i = 0; i < list.count; i++) {
        const struct vm_desired *desired = list.records[i].desired;
        if (desired && !desired->is_deleting && desired->source &&
            strcmp(desired->source, source) == 0) {
            strings_append(&expected, list.records[i].name);
        }
    }
    assert_true(strings_equal(&listed, &expected));
}

static void assert_whole(struct store *store)
{
    static const char *const sources[] = {SHOP, SHOP ".d/VMFile.kdl", QUOTED, "/VMFile.kdl", "x"};
    assert_true(is_used(store));
    assert_true(agrees(store));
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        assert_names(store, sources[i]);
    }
}

static size_t count_of(struct store *store, const char *source)
{
    cleanup_with(strings_clear) struct strings names = {.count = 0};
    struct error err = {0};
    must(store_list_source(store, source, &names, &err), &err);
    return names.count;
}

/* ---- LMDB past the store's own functions ---- */

static void drop_index(struct raw *raw)
{
    static const char *const names[] = {
        LMDB_INDEX_NAME, LMDB_CHANGES_NAME, LMDB_HELD_NAME, LMDB_BLOCKS_NAME};
    MDB_dbi table, main_table;
    MDB_val key = lmdb_value("indexed", 7);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(mdb_dbi_open(raw->txn, names[i], 0, &table), 0);
        assert_int_equal(mdb_drop(raw->txn, table, 1), 0);
    }
    assert_int_equal(mdb_dbi_open(raw->txn, NULL, 0, &main_table), 0);
    assert_int_equal(mdb_del(raw->txn, main_table, &key, NULL), 0);
}

/* As one without an index writes a record. */
static void put_without(struct raw *raw, const char *name, const char *source)
{
    MDB_dbi table;
    struct buf bytes = BUF_INIT(0);
    struct vm_desired *desired = a_desired(name, 1);
    desired->source = mem_strdup(source);
    record_encode_desired(&bytes, desired, 1);
    MDB_val key = lmdb_value(name, strlen(name)), value = lmdb_value(bytes.data, bytes.len);
    assert_int_equal(mdb_dbi_open(raw->txn, "desired", 0, &table), 0);
    assert_int_equal(mdb_put(raw->txn, table, &key, &value, 0), 0);
    vm_desired_free(desired);
    buf_clear(&bytes);
}

/* Removes the first entry, or adds one for a VM that is not there, and says that this is right. */
static void spoil_index(struct raw *raw, bool removes)
{
    MDB_dbi table, main_table;
    MDB_cursor *cursor;
    MDB_val key, value;
    uint64_t mark[3] = {4, mdb_txn_id(raw->txn), mdb_txn_id(raw->txn)};
    assert_int_equal(mdb_dbi_open(raw->txn, LMDB_INDEX_NAME, 0, &table), 0);
    assert_int_equal(mdb_cursor_open(raw->txn, table, &cursor), 0);
    assert_int_equal(mdb_cursor_get(cursor, &key, &value, MDB_FIRST), 0);
    if (removes) {
        assert_int_equal(mdb_cursor_del(cursor, 0), 0);
        mdb_cursor_close(cursor);
    } else {
        cleanup_free char *copy = mem_dup(key.mv_data, key.mv_size);
        copy[key.mv_size - 1] = '9';
        key.mv_data = copy;
        mdb_cursor_close(cursor);
        assert_int_equal(mdb_put(raw->txn, table, &key, &value, 0), 0);
    }
    key = lmdb_value("indexed", 7);
    value = lmdb_value(mark, sizeof(mark));
    assert_int_equal(mdb_dbi_open(raw->txn, NULL, 0, &main_table), 0);
    assert_int_equal(mdb_put(raw->txn, main_table, &key, &value, 0), 0);
}

/* ---- tests ---- */

static void it_says_what_the_records_say_after_every_change(void **state)
{
    static const char *const names[] = {"a", "b", "b-2", "shop/web", "web", "z"};
    static const char *const sources[] = {SHOP, SHOP ".d/VMFile.kdl", QUOTED, "/VMFile.kdl", NULL};
    struct fixture *f = *state;
    unsigned random = 1;
    assert_whole(f->store);
    for (int i = 0; i < 200; i++) {
        random = random * 1103515245 + 12345;
        const char *name = names[(random >> 16) % ARRAY_LEN(names)];
        if ((random >> 24) % 4 == 0) {
            assert_int_equal(forget_vm(f->store, name), 0);
        } else {
            const char *source = sources[(random >> 20) % ARRAY_LEN(sources)];
            assert_int_equal(put_vm(f->store, name, source), 0);
        }
        assert_whole(f->store);
    }
}

static void a_vm_that_is_renamed_or_being_deleted_is_found_by_its_name(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct renamed renamed = {.generation = 0};
    assert_int_equal(put_vm(f->store, "web", SHOP), 0);
    assert_int_equal(put_vm(f->store, "db", SHOP), 0);
    struct vm_record record = get_vm(f->store, "web");
    assert_int_equal(
        put_status(f->store, "web", record.desired->uid, record.desired->generation), 0);
    must(rename_vm(f->store, "web", "www", &renamed, &err), &err);
    free(renamed.source);
    assert_whole(f->store);
    assert_int_equal(count_of(f->store, SHOP), 2);
    vm_record_clear(&record);
    record = get_vm(f->store, "www");
    record.desired->is_deleting = true;
    assert_int_equal(put_desired(f->store, record.desired, record.desired->revision), 0);
    vm_record_clear(&record);
    assert_whole(f->store);
    assert_int_equal(count_of(f->store, SHOP), 1);
}

static void an_older_store_gets_it_when_it_is_opened(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put_vm(f->store, "web", SHOP), 0);
    assert_int_equal(put_vm(f->store, "other", NULL), 0);
    struct raw raw = raw_begin(f);
    drop_index(&raw);
    raw_end(f, &raw);
    assert_whole(f->store);
    assert_int_equal(count_of(f->store, SHOP), 1);
    uint64_t commits = store_commits(f->store);
    store_close(f->store);
    f->store = open_store(f);
    assert_int_equal(store_commits(f->store), commits); /* once */
}

static void one_that_another_vmctl_wrote_beside_is_not_used(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put_vm(f->store, "web", SHOP), 0);
    struct raw raw = raw_begin(f);
    put_without(&raw, "api", SHOP);
    put_without(&raw, "web", "/VMFile.kdl");
    raw_end(f, &raw);
    assert_false(is_used(f->store));
    assert_names(f->store, SHOP);
    assert_int_equal(count_of(f->store, "/VMFile.kdl"), 1);
    assert_int_equal(put_status(f->store, "orphan", "u", 1), 0); /* whatever is written */
    assert_whole(f->store);
    assert_int_equal(count_of(f->store, SHOP), 1);
}

static void a_store_without_is_read_and_written(void **state)
{
    struct fixture *f = *state;
    f->store->by_source = LMDB_NO_TABLE; /* there was no room for it */
    assert_int_equal(put_vm(f->store, "web", SHOP), 0);
    assert_int_equal(count_of(f->store, SHOP), 1);
    assert_int_equal(forget_vm(f->store, "web"), 0);
    assert_int_equal(put_vm(f->store, "db", SHOP), 0);
    store_close(f->store);
    f->store = open_store(f);
    assert_false(is_used(f->store));
    assert_int_equal(count_of(f->store, SHOP), 1);
    assert_int_equal(put_vm(f->store, "web", SHOP), 0);
    assert_whole(f->store);
}

/* In a child: its transaction is nobody's then. */
static int be_killed(struct store *store, MDB_txn *txn, void *context)
{
    const struct fixture *f = context;
    struct bytes value = {"\"source\":\"" SHOP "\"", strlen("\"source\":\"" SHOP "\"")};
    (void)f;
    child_must(lmdb_put(store, txn, STORE_DESIRED, lmdb_value("half", 4), value) == 0);
    return raise(SIGKILL);
}

static void write_half(const struct fixture *f, int number)
{
    struct store *store = NULL;
    struct error err = {0};
    (void)number;
    child_must(store_open(&f->paths, &store, &err) == 0);
    (void)lmdb_write(store, be_killed, (void *)(uintptr_t)f);
}

static void a_writer_that_is_killed_changes_nothing(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) { /* the second time while it is made again */
        assert_int_equal(put_vm(f->store, "web", SHOP), 0);
        struct raw raw = raw_begin(f);
        if (i == 1) {
            put_without(&raw, "api", SHOP);
        }
        raw_end(f, &raw);
        store_close(f->store);
        f->store = NULL;
        assert_true(WIFSIGNALED(wait_for_child(start_child(write_half, f, 0))));
        f->store = open_store(f);
        assert_int_equal(is_used(f->store), i == 0);
        assert_true(agrees(f->store));
        assert_int_equal(count_of(f->store, SHOP), 1 + i);
    }
    assert_int_equal(put_vm(f->store, "db", SHOP), 0);
    assert_whole(f->store);
}

static void what_changes_nothing_commits_nothing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put_vm(f->store, "web", SHOP), 0);
    uint64_t commits = store_commits(f->store);
    struct vm_desired *desired = a_desired("web", 2);
    assert_int_equal(put_desired(f->store, desired, 7), -ERR_STORE_STALE);
    vm_desired_free(desired);
    assert_int_equal(store_commits(f->store), commits);
    assert_whole(f->store);
}

static void damage_to_it_is_found_and_repaired(void **state)
{
    struct fixture *f = *state;
    for (int removes = 0; removes < 2; removes++) {
        struct error err = {0};
        cleanup_with(strings_clear) struct strings names = {.count = 0};
        struct repair repair = {.done = {.count = 0}};
        assert_int_equal(put_vm(f->store, "web-1", SHOP), 0);
        struct raw raw = raw_begin(f);
        spoil_index(&raw, removes);
        raw_end(f, &raw);
        assert_true(is_used(f->store));
        if (!removes) {
            assert_names(f->store, SHOP); /* an entry without a record */
        }
        must(store_find_damage(f->store, &names, &err), &err);
        assert_int_equal(names.count, 1);
        assert_string_equal(names.items[0], "all VMFiles (index)");
        must(store_repair(f->store, &repair, &err), &err);
        assert_int_equal(repair.done.count, 1);
        assert_string_equal(repair.done.items[0], "all VMFiles (index): made again");
        assert_int_equal(repair.left.count, 0);
        repair_clear(&repair);
        assert_whole(f->store);
        assert_int_equal(count_of(f->store, SHOP), 1);
    }
}

/* "b-web a": of a VM that is gone with a '-' before it; "?" when it is not known. */
static void assert_changed(struct store *store, uint64_t *since, const char *expected)
{
    struct vm_summary_list list;
    struct error err = {0};
    cleanup_buf struct buf text = BUF_INIT(0);
    bool is_known;
    must(store_list_changed(store, since, &list, &is_known, &err), &err);
    for (size_t i = 0; i < list.count; i++) {
        const struct vm_summary *vm = &list.items[i];
        buf_printf(&text, "%s%s%s", i > 0 ? " " : "", vm->has_desired ? "" : "-", vm->name);
    }
    assert_string_equal(is_known ? buf_str(&text) : "?", expected);
    vm_summary_list_clear(&list);
}

static void what_was_written_last_is_known(void **state)
{
    struct fixture *f = *state;
    uint64_t since = 0;
    assert_int_equal(put_vm(f->store, "web", SHOP), 0);
    assert_changed(f->store, &since, "?");
    assert_changed(f->store, &since, "");
    assert_int_equal(put_vm(f->store, "web", NULL), 0);
    assert_int_equal(put_vm(f->store, "db", NULL), 0);
    assert_int_equal(put_vm(f->store, "web", NULL), 0);
    uint64_t before = since;
    assert_changed(f->store, &since, "web db");
    assert_int_equal(put_status(f->store, "orphan", "u", 1), 0);
    assert_changed(f->store, &since, "");
    assert_int_equal(forget_vm(f->store, "db"), 0);
    assert_changed(f->store, &since, "-db");
    assert_changed(f->store, &before, "web -db"); /* another reader */
    store_close(f->store);
    f->store = open_store(f);
    assert_changed(f->store, &since, "");
    struct raw raw = raw_begin(f);
    put_without(&raw, "api", SHOP);
    raw_end(f, &raw);
    assert_changed(f->store, &since, "?");
    assert_int_equal(put_vm(f->store, "web", NULL), 0);
    assert_changed(f->store, &before, "?");
    assert_changed(f->store, &since, "?"); /* it was made again meanwhile */
    assert_changed(f->store, &since, "");
}

static void more_changes_than_are_kept_are_not_known(void **state)
{
    enum { MORE_THAN_ARE_KEPT = 1100 };
    struct fixture *f = *state;
    uint64_t since = 0;
    assert_int_equal(put_vm(f->store, "older", SHOP), 0); /* dropped with what is left out */
    assert_changed(f->store, &since, "?");
    struct store_batch *batch = store_batch_new();
    for (int i = 0; i < MORE_THAN_ARE_KEPT; i++) {
        cleanup_free char *name = mem_printf("vm-%d", i);
        struct vm_desired *desired = a_desired(name, 1);
        store_batch_put_desired(batch, desired, 0);
        vm_desired_free(desired);
    }
    assert_int_equal(commit(f->store, batch), 0);
    uint64_t before = since;
    assert_changed(f->store, &since, "?");
    assert_changed(f->store, &since, "");
    assert_int_equal(put_vm(f->store, "vm-7", SHOP), 0);
    assert_changed(f->store, &since, "vm-7");
    assert_changed(f->store, &before, "?");
    assert_whole(f->store);
}

/* A name that no VM can have, as the last change. */
static void spoil_changes(struct raw *raw)
{
    MDB_dbi table, main_table;
    MDB_val key = lmdb_value("indexed", 7), value;
    unsigned char change[] = {0, 0, 0, 0, 0, 0, 0, 0, '.', '.', '/', 'x'};
    uint64_t mark[3];
    assert_int_equal(mdb_dbi_open(raw->txn, NULL, 0, &main_table), 0);
    assert_int_equal(mdb_get(raw->txn, main_table, &key, &value), 0);
    memcpy(mark, value.mv_data, sizeof(mark));
    mark[1] = mdb_txn_id(raw->txn);
    change[7] = (unsigned char)mark[1];
    value = lmdb_value(mark, sizeof(mark));
    assert_int_equal(mdb_put(raw->txn, main_table, &key, &value, 0), 0);
    key = lmdb_value(change, sizeof(change));
    value = lmdb_value("", 0);
    assert_int_equal(mdb_dbi_open(raw->txn, LMDB_CHANGES_NAME, 0, &table), 0);
    assert_int_equal(mdb_put(raw->txn, table, &key, &value, 0), 0);
}

static void damaged_changes_are_not_known(void **state)
{
    struct fixture *f = *state;
    uint64_t since = 0;
    assert_int_equal(put_vm(f->store, "web", SHOP), 0);
    assert_changed(f->store, &since, "?");
    struct raw raw = raw_begin(f);
    spoil_changes(&raw);
    raw_end(f, &raw);
    assert_whole(f->store);
    assert_changed(f->store, &since, "?");
    assert_int_equal(put_vm(f->store, "web", SHOP), 0);
    assert_changed(f->store, &since, "web");
}

/* Nobody's: such a path is not in JSON. */
static void a_path_that_is_not_utf_8_has_no_vms(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put_vm(f->store, "web", "/\xff/VMFile.kdl"), 0);
    assert_int_equal(count_of(f->store, "/\xff/VMFile.kdl"), 0);
    assert_true(agrees(f->store));
}

static void a_source_is_found_wherever_it_is_in_a_record(void **state)
{
    static const char path[] = "/a \\\"b\\\" \\\\";
    char record[1200];
    struct bytes source;
    (void)state;
    for (size_t before = 0; before < 2; before++) {
        for (size_t behind = 0; behind < 1000; behind += 111) {
            int n = snprintf(record, sizeof(record), "{%s\"source\":\"%s\",\"x\":\"%*s\"}",
                before ? "\"secret\":{\"source\":\"env\"},\"text\":\"\\\"source\\\":\\\"/no\\\"\","
                       : "",
                path, (int)behind, "");
            assert_true(record_source((struct bytes){record, (size_t)n}, &source));
            assert_int_equal(source.n, strlen(path));
            assert_memory_equal(source.data, path, source.n);
        }
    }
    assert_false(record_source((struct bytes){"", 0}, &source));
    assert_false(record_source((struct bytes){"\"source\":\"/cut", 14}, &source));
    assert_false(record_source((struct bytes){"\"source\":\"/cut\\", 15}, &source));
    assert_false(record_source((struct bytes){"{\"source\":\"env\"}", 16}, &source));
}

#define on_open_store(test)                                                                        \
    cmocka_unit_test_setup_teardown(test, fixture_set_up_open, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_open_store(it_says_what_the_records_say_after_every_change),
        on_open_store(a_vm_that_is_renamed_or_being_deleted_is_found_by_its_name),
        on_open_store(an_older_store_gets_it_when_it_is_opened),
        on_open_store(one_that_another_vmctl_wrote_beside_is_not_used),
        on_open_store(a_store_without_is_read_and_written),
        on_open_store(a_writer_that_is_killed_changes_nothing),
        on_open_store(what_changes_nothing_commits_nothing),
        on_open_store(damage_to_it_is_found_and_repaired),
        on_open_store(what_was_written_last_is_known),
        on_open_store(more_changes_than_are_kept_are_not_known),
        on_open_store(damaged_changes_are_not_known),
        on_open_store(a_path_that_is_not_utf_8_has_no_vms),
        cmocka_unit_test(a_source_is_found_wherever_it_is_in_a_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

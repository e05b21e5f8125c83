/* SPDX-License-Identifier: MPL-2.0 */
/* The index from a VM to its events: it leads to those that the events say, or is not used. */
#include "store/lmdb/lmdb_event_blocks.h"

#include "specs/base/cleanup.h"
#include "specs/base/strings.h"
#include "store/desired/rename.h"
#include "store/lmdb/lmdb_events.h"
#include "store/lmdb/lmdb_index.h"
#include "store/repair.h"
#include "tests/unit/store/raw_store.h"

static void add_events(struct store *store, const char *const *names, size_t n_names, size_t first,
    size_t count, const char *what)
{
    struct store_batch *batch = store_batch_new();
    for (size_t i = first; i < first + count; i++) {
        cleanup_free char *message = mem_printf("%s %zu", what, i);
        store_batch_add_event(
            batch, names[i % n_names], false, REASON_READY, message, (int64_t)i + 1);
    }
    assert_int_equal(commit(store, batch), 0);
}

static struct event_list events_of(
    struct store *store, const char *name, uint64_t after, size_t limit)
{
    struct event_list list = {.count = 0};
    struct error err = {0};
    must(store_list_events(store, name, after, limit, &list, &err), &err);
    return list;
}

static size_t n_events_of(struct store *store, const char *name)
{
    struct event_list list = events_of(store, name, 0, 0);
    size_t n = list.count;
    event_list_clear(&list);
    return n;
}

static bool is_used(struct store *store)
{
    struct lmdb_read read;
    struct error err = {0};
    must(lmdb_read_begin(store, &read, &err), &err);
    bool is = lmdb_index_is_usable(store, &read);
    lmdb_read_end(store, &read);
    return is;
}

static size_t n_blocks(struct store *store)
{
    struct lmdb_read read;
    struct error err = {0};
    MDB_stat stat;
    must(lmdb_read_begin(store, &read, &err), &err);
    assert_int_equal(mdb_stat(read.txn, store->event_blocks, &stat), 0);
    lmdb_read_end(store, &read);
    return stat.ms_entries;
}

static bool agrees(struct store *store)
{
    struct lmdb_read read;
    struct error err = {0};
    struct index_agreement agreement;
    must(lmdb_read_begin(store, &read, &err), &err);
    assert_int_equal(lmdb_index_agrees(store, &read, &agreement), 0);
    lmdb_read_end(store, &read);
    assert_true(agreement.of_sources && agreement.of_leases);
    return agreement.of_events;
}

/* As all events have it: the newest `limit` of its own behind `after`. */
static void assert_events(struct store *store, const char *name, uint64_t after, size_t limit)
{
    struct event_list all = events_of(store, NULL, after, 0);
    struct event_list own = events_of(store, name, after, limit);
    size_t left = own.count;
    for (size_t i = all.count; i-- > 0 && (limit == 0 || own.count - left < limit);) {
        if (strcmp(all.items[i].vm_name, name) == 0) {
            assert_true(left > 0);
            assert_int_equal(own.items[--left].sequence, all.items[i].sequence);
            assert_string_equal(own.items[left].message, all.items[i].message);
            assert_string_equal(own.items[left].vm_name, name);
        }
    }
    assert_int_equal(left, 0);
    event_list_clear(&all);
    event_list_clear(&own);
}

static void assert_events_of_all(struct store *store, const char *const *names, size_t n)
{
    static const uint64_t afters[] = {0, 1, 100, 127, 128, 129, 640, 1000000};
    static const size_t limits[] = {0, 1, 10, 300};
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < ARRAY_LEN(afters); j++) {
            for (size_t k = 0; k < ARRAY_LEN(limits); k++) {
                assert_events(store, names[i], afters[j], limits[k]);
            }
        }
    }
}

/* What is in an event that is there already; and that the index is as of this transaction. */
static void put_event(struct raw *raw, uint64_t sequence, const char *text)
{
    uint64_t mark[3] = {4, mdb_txn_id(raw->txn), mdb_txn_id(raw->txn)};
    unsigned char bytes[LMDB_NUMBER_BYTES];
    MDB_val key = lmdb_number_key(sequence, bytes), value = lmdb_value(text, strlen(text));
    MDB_dbi table;
    assert_int_equal(mdb_dbi_open(raw->txn, "events", 0, &table), 0);
    assert_int_equal(mdb_put(raw->txn, table, &key, &value, 0), 0);
    key = lmdb_value("indexed", 7);
    value = lmdb_value(mark, sizeof(mark));
    assert_int_equal(mdb_dbi_open(raw->txn, NULL, 0, &table), 0);
    assert_int_equal(mdb_put(raw->txn, table, &key, &value, 0), 0);
}

/* ---- tests ---- */

static const char *const names[] = {"web", "db", "we", "shop/web", "web-2"};
enum { N_NAMES = ARRAY_LEN(names) };

static void the_events_of_a_vm_are_those_of_its_name(void **state)
{
    static const size_t counts[] = {1, 126, 1, 1, 3, 124, 300, 600};
    static const char *const rare[] = {"rare"};
    struct fixture *f = *state;
    size_t n = 0;
    add_events(f->store, rare, 1, 0, 1, "first");
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        add_events(f->store, names, N_NAMES, n, counts[i], "event");
        n += counts[i];
        assert_true(is_used(f->store) && agrees(f->store));
        assert_events_of_all(f->store, names, N_NAMES);
        assert_int_equal(n_events_of(f->store, "rare"), 1);
        assert_int_equal(n_events_of(f->store, "none"), 0);
    }
    assert_int_equal(n_blocks(f->store), 9);
}

static void events_that_are_counted_up_or_dropped_are_not_found_twice(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < 60; i++) {
        add_events(f->store, names, N_NAMES, 0, 7, "same");
    }
    assert_true(agrees(f->store));
    assert_events_of_all(f->store, names, N_NAMES);
    add_events(f->store, names, N_NAMES, 0, EVENTS_MAX + 300, "event");
    assert_true(is_used(f->store) && agrees(f->store));
    assert_int_equal(n_events_of(f->store, NULL), EVENTS_MAX);
    assert_events(f->store, "web", 0, 0);
    assert_events(f->store, "we", 0, 10);
}

/* However long it goes on; the oldest is found all the same. */
static void blocks_that_hardly_have_events_left_are_given_up(void **state)
{
    enum { MANY = 2 * EVENTS_MAX + 10 * EVENT_BLOCK };
    static const char *const old[] = {"old"};
    struct fixture *f = *state;
    struct store_batch *batch = store_batch_new();
    add_events(f->store, old, 1, 0, 3, "first");
    for (size_t i = 0; i < MANY; i++) {
        store_batch_add_event(batch, "web", true, REASON_STEP_FAILED, "again", (int64_t)i + 9);
    }
    assert_int_equal(commit(f->store, batch), 0);
    assert_int_equal(n_events_of(f->store, NULL), 4);
    assert_in_range(n_blocks(f->store), 1, 2 * EVENTS_MAX / EVENT_BLOCK);
    assert_true(is_used(f->store) && agrees(f->store));
    assert_events(f->store, "old", 0, 0);
    assert_events(f->store, "web", 0, 0);
    assert_int_equal(n_events_of(f->store, "old"), 3);
}

static size_t last_page(struct store *store)
{
    MDB_envinfo info;
    assert_int_equal(mdb_env_info(store->env, &info), 0);
    return info.me_last_pgno;
}

/* Each event is the only one left of its block, as after years: the disk may be nearly full. */
static void to_make_it_no_block_is_written_that_is_given_up_at_once(void **state)
{
    enum { PAGES_MAX = 200 };
    struct fixture *f = *state;
    MDB_dbi table;
    add_events(f->store, names, N_NAMES, 0, 1, "event");
    struct raw raw = raw_begin(f);
    assert_int_equal(mdb_dbi_open(raw.txn, "events", 0, &table), 0);
    for (uint64_t i = 1; i < EVENTS_MAX; i++) {
        unsigned char bytes[LMDB_NUMBER_BYTES];
        MDB_val key = lmdb_number_key(i * EVENT_BLOCK, bytes);
        MDB_val value = lmdb_value("1\t5\t5\tN\tReady\tdb\tsparse", 23);
        assert_int_equal(mdb_put(raw.txn, table, &key, &value, 0), 0);
    }
    raw_end(f, &raw);
    assert_false(is_used(f->store));
    size_t before = last_page(f->store);
    add_events(f->store, names, N_NAMES, 0, 1, "event");
    assert_true(is_used(f->store) && agrees(f->store));
    assert_int_equal(n_blocks(f->store), 2 * EVENTS_MAX / EVENT_BLOCK);
    assert_in_range(last_page(f->store) - before, 0, PAGES_MAX);
}

static void a_rename_takes_them_along(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct renamed renamed = {.generation = 0};
    struct vm_desired *desired = a_desired("web", 1);
    desired->created_ms = 1;
    assert_int_equal(put_desired(f->store, desired, 0), 0);
    assert_int_equal(put_status(f->store, "web", desired->uid, desired->generation), 0);
    vm_desired_free(desired);
    add_events(f->store, names, N_NAMES, 0, 700, "event");
    must(rename_vm(f->store, "web", "www", &renamed, &err), &err);
    free(renamed.source);
    assert_true(is_used(f->store) && agrees(f->store));
    assert_int_equal(n_events_of(f->store, "www"), 140);
    assert_int_equal(n_events_of(f->store, "web"), 0);
    assert_events(f->store, "www", 0, 10);
}

static void an_older_store_gets_it_when_it_is_opened(void **state)
{
    struct fixture *f = *state;
    MDB_dbi table;
    add_events(f->store, names, N_NAMES, 0, 700, "event");
    struct raw raw = raw_begin(f);
    assert_int_equal(mdb_dbi_open(raw.txn, LMDB_BLOCKS_NAME, 0, &table), 0);
    assert_int_equal(mdb_drop(raw.txn, table, 1), 0);
    raw_end(f, &raw);
    assert_true(is_used(f->store) && agrees(f->store));
    assert_int_equal(n_blocks(f->store), 5);
    assert_events_of_all(f->store, names, N_NAMES);
}

/* As an older vmctl leaves them: it knows of no blocks. */
static void one_that_another_vmctl_wrote_beside_is_not_used(void **state)
{
    struct fixture *f = *state;
    add_events(f->store, names, N_NAMES, 0, 100, "event");
    f->store->by_source = LMDB_NO_TABLE;
    add_events(f->store, names, N_NAMES, 100, 400, "event");
    assert_false(is_used(f->store));
    assert_events_of_all(f->store, names, N_NAMES);
    store_close(f->store);
    f->store = open_store(f);
    assert_false(is_used(f->store));
    assert_events_of_all(f->store, names, N_NAMES);
    add_events(f->store, names, N_NAMES, 500, 1, "event");
    assert_true(is_used(f->store) && agrees(f->store));
    assert_int_equal(n_blocks(f->store), 3);
    assert_events_of_all(f->store, names, N_NAMES);
}

/* What is read to list those of one VM does not grow with the others': one that the index does not
 * lead to is not come across, until it is repaired. */
static void the_events_of_other_vms_are_not_looked_at(void **state)
{
    static const char *const others[] = {"db"};
    struct fixture *f = *state;
    struct error err = {0};
    cleanup_with(strings_clear) struct strings damage = {.count = 0};
    struct repair repair = {.done = {.count = 0}};
    add_events(f->store, others, 1, 0, 700, "event");
    struct raw raw = raw_begin(f);
    put_event(&raw, 200, "1\t5\t5\tN\tReady\tweb\tspoilt");
    raw_end(f, &raw);
    assert_true(is_used(f->store));
    assert_int_equal(n_events_of(f->store, "web"), 0);
    assert_int_equal(n_events_of(f->store, "db"), 699); /* the index leads to another's, too */
    must(store_find_damage(f->store, &damage, &err), &err);
    assert_int_equal(damage.count, 1);
    assert_string_equal(damage.items[0], "all events (index)");
    must(store_repair(f->store, &repair, &err), &err);
    assert_int_equal(repair.done.count, 1);
    assert_string_equal(repair.done.items[0], "all events (index): made again");
    repair_clear(&repair);
    assert_true(is_used(f->store) && agrees(f->store));
    assert_int_equal(n_events_of(f->store, "web"), 1);
}

/* Removed, the newest are followed by others of the same numbers. */
static void numbers_that_are_given_again_lead_to_the_new_events(void **state)
{
    static const char *const others[] = {"db", "we", "web-2"};
    static const uint64_t firsts[] = {500, 512, 511, 1};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(firsts); i++) {
        struct error err = {0};
        struct repair repair = {.done = {.count = 0}};
        add_events(f->store, names, N_NAMES, 0, 700, "event");
        struct event_list all = events_of(f->store, NULL, 0, 1);
        uint64_t last = all.items[0].sequence;
        event_list_clear(&all);
        struct raw raw = raw_begin(f);
        for (uint64_t sequence = firsts[i]; sequence <= last; sequence++) {
            put_event(&raw, sequence, "unreadable");
        }
        raw_end(f, &raw);
        must(store_repair(f->store, &repair, &err), &err);
        repair_clear(&repair);
        all = events_of(f->store, NULL, firsts[i] - 1, 0);
        assert_int_equal(all.count, 0);
        event_list_clear(&all);
        add_events(f->store, others, ARRAY_LEN(others), 0, 300, "again");
        assert_true(is_used(f->store) && agrees(f->store));
        for (size_t j = 0; j < N_NAMES; j++) {
            assert_events(f->store, names[j], 0, 0);
            assert_events(f->store, names[j], 0, 10);
        }
    }
}

#define on_open_store(test)                                                                        \
    cmocka_unit_test_setup_teardown(test, fixture_set_up_open, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_open_store(the_events_of_a_vm_are_those_of_its_name),
        on_open_store(events_that_are_counted_up_or_dropped_are_not_found_twice),
        on_open_store(blocks_that_hardly_have_events_left_are_given_up),
        on_open_store(to_make_it_no_block_is_written_that_is_given_up_at_once),
        on_open_store(a_rename_takes_them_along),
        on_open_store(an_older_store_gets_it_when_it_is_opened),
        on_open_store(one_that_another_vmctl_wrote_beside_is_not_used),
        on_open_store(the_events_of_other_vms_are_not_looked_at),
        on_open_store(numbers_that_are_given_again_lead_to_the_new_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

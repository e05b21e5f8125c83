/* SPDX-License-Identifier: MPL-2.0 */
/* Which VMs a ring of the bell is for. */
#include "controller/queue/desired_watch.h"

#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/strings.h"
#include "store/bell.h"
#include "store/lmdb/lmdb_env.h"
#include "tests/unit/controller/test_support.h"
#include "tests/unit/store/store_fixture.h"

struct ear {
    struct fixture *f;
    struct loop *loop;
    struct desired_watch *watch;
    struct strings seen, changed; /* since listen() */
    int scans;
};

static void on_seen(void *context, const char *name, bool is_changed)
{
    struct ear *ear = context;
    strings_append(&ear->seen, name);
    if (is_changed) {
        strings_append(&ear->changed, name);
    }
}

static void on_scanned(void *context)
{
    struct ear *ear = context;
    ear->scans++;
}

static bool has_scanned(void *context)
{
    const struct ear *ear = context;
    return ear->scans > 0;
}

static void listen_again(struct ear *ear)
{
    strings_clear(&ear->seen);
    strings_clear(&ear->changed);
    ear->scans = 0;
}

/* What it was for, "a b". */
static void expect(struct ear *ear, const char *changed, size_t n_seen)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(0);
    must(bell_ring(&ear->f->paths, BELL_DESIRED, &err), &err);
    assert_true(run_until(ear->loop, has_scanned, ear));
    assert_int_equal(ear->scans, 1);
    for (size_t i = 0; i < ear->changed.count; i++) {
        buf_printf(&text, "%s%s", i > 0 ? " " : "", ear->changed.items[i]);
    }
    assert_string_equal(buf_str(&text), changed);
    assert_int_equal(ear->seen.count, n_seen);
    listen_again(ear);
}

static struct ear begin(struct fixture *f)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(create_vm(f->store, names[i], NULL), 0);
    }
    return (struct ear){.f = f, .loop = new_loop()};
}

static void start(struct ear *ear)
{
    struct error err = {.code = ERR_NONE};
    ear->watch =
        desired_watch_new(ear->loop, &ear->f->paths, ear->f->store, on_seen, on_scanned, ear);
    must(desired_watch_scan(ear->watch, &err), &err);
    assert_int_equal(ear->changed.count, 4);
    listen_again(ear);
}

static void end(struct ear *ear)
{
    desired_watch_free(ear->watch);
    loop_free(ear->loop);
    listen_again(ear);
}

static void write_again(struct store *store, const char *name)
{
    struct vm_record record = get_vm(store, name);
    assert_int_equal(put_desired(store, record.desired, record.desired->revision), 0);
    vm_record_clear(&record);
}

static void forget_vm(struct store *store, const char *name)
{
    struct vm_record record = get_vm(store, name);
    struct store_batch *batch = store_batch_new();
    store_batch_forget_vm(batch, name, record.desired->uid);
    vm_record_clear(&record);
    assert_int_equal(commit(store, batch), 0);
}

static void a_ring_is_for_the_vms_that_were_written(void **state)
{
    struct fixture *f = *state;
    struct ear ear = begin(f);
    start(&ear);
    write_again(f->store, "b");
    expect(&ear, "b", 1); /* no other VM was looked at */
    write_again(f->store, "d");
    write_again(f->store, "a");
    write_again(f->store, "d");
    expect(&ear, "d a", 2);
    assert_int_equal(create_vm(f->store, "e", NULL), 0);
    forget_vm(f->store, "c");
    expect(&ear, "e c", 2);
    assert_int_equal(put_status(f->store, "a", "x", 1), -ERR_STORE_STALE);
    end(&ear);
}

static void a_ring_that_nothing_explains_is_for_all(void **state)
{
    struct fixture *f = *state;
    struct ear ear = begin(f);
    start(&ear);
    expect(&ear, "a b c d", 8); /* listed, and then told to be changed */
    struct vm_record record = get_vm(f->store, "a");
    assert_int_equal(put_status(f->store, "a", record.desired->uid, 1), 0);
    vm_record_clear(&record);
    expect(&ear, "a b c d", 8); /* a status is nobody's request */
    write_again(f->store, "c");
    expect(&ear, "c", 1);
    end(&ear);
}

/* As when the index cannot be used, or has forgotten what the watch has not seen. */
static void what_the_index_does_not_know_is_found_among_all(void **state)
{
    enum { MORE_THAN_IT_KEEPS = 1100 };
    struct fixture *f = *state;
    struct ear ear = begin(f);
    start(&ear);
    for (int i = 0; i < MORE_THAN_IT_KEEPS / 4; i++) {
        struct store_batch *batch = store_batch_new();
        for (const char *name = "abcd"; *name; name++) {
            struct vm_record record = get_vm(f->store, (const char[]){*name, '\0'});
            store_batch_put_desired(batch, record.desired, record.desired->revision);
            vm_record_clear(&record);
        }
        assert_int_equal(commit(f->store, batch), 0);
    }
    expect(&ear, "a b c d", 4);
    f->store->by_source = LMDB_NO_TABLE;
    write_again(f->store, "b");
    expect(&ear, "b", 4);
    forget_vm(f->store, "b");
    expect(&ear, "b", 4);
    end(&ear);
}

static void what_a_failed_scan_has_not_seen_is_found_by_the_next(void **state)
{
    struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    struct ear ear = begin(f);
    start(&ear);
    write_again(f->store, "b");
    MDB_dbi status = f->store->tables[STORE_STATUS];
    f->store->tables[STORE_STATUS] = LMDB_NO_TABLE;
    assert_true(desired_watch_scan(ear.watch, &err) < 0);
    f->store->tables[STORE_STATUS] = status;
    write_again(f->store, "c");
    expect(&ear, "b c", 2);
    end(&ear);
}

#define on_open_store(test)                                                                        \
    cmocka_unit_test_setup_teardown(test, fixture_set_up_open, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_open_store(a_ring_is_for_the_vms_that_were_written),
        on_open_store(a_ring_that_nothing_explains_is_for_all),
        on_open_store(what_the_index_does_not_know_is_found_among_all),
        on_open_store(what_a_failed_scan_has_not_seen_is_found_by_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

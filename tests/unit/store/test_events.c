/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/unit/store/store_fixture.h"

enum { RING = 10000 };

static void add_event(struct store *store, const char *vm, const char *message, int64_t now_ms)
{
    struct store_batch *batch = store_batch_new();
    store_batch_add_event(batch, vm, true, REASON_STEP_FAILED, message, now_ms);
    assert_int_equal(commit(store, batch), 0);
}

static struct event_list list_events(
    struct store *store, const char *vm, uint64_t after, size_t limit)
{
    struct event_list list = {0};
    struct error err = {0};
    must(store_list_events(store, vm, after, limit, &list, &err), &err);
    return list;
}

static void an_event_is_read_back_as_it_was_told(void **state)
{
    struct fixture *f = *state;
    add_event(f->store, "web", "line one\nline\ttwo", 123);
    struct event_list list = list_events(f->store, NULL, 0, 0);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.items[0].sequence, 1);
    assert_string_equal(list.items[0].vm_name, "web");
    assert_true(list.items[0].is_warning);
    assert_int_equal(list.items[0].reason, REASON_STEP_FAILED);
    assert_string_equal(list.items[0].message, "line one\nline\ttwo");
    assert_int_equal(list.items[0].count, 1);
    assert_int_equal(list.items[0].first_ms, 123);
    assert_int_equal(list.items[0].last_ms, 123);
    event_list_clear(&list);
}

static void an_event_without_message_has_an_empty_one(void **state)
{
    struct fixture *f = *state;
    add_event(f->store, "web", NULL, 1);
    struct event_list list = list_events(f->store, NULL, 0, 0);
    assert_string_equal(list.items[0].message, "");
    event_list_clear(&list);
}

static void events_alike_are_counted_and_come_again_to_followers(void **state)
{
    struct fixture *f = *state;
    add_event(f->store, "web", "same", 10);
    add_event(f->store, "web", "other", 20);
    add_event(f->store, "web", "same", 30);
    struct event_list list = list_events(f->store, NULL, 0, 0);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].message, "other");
    assert_string_equal(list.items[1].message, "same");
    assert_int_equal(list.items[1].sequence, 3);
    assert_int_equal(list.items[1].count, 2);
    assert_int_equal(list.items[1].first_ms, 10);
    assert_int_equal(list.items[1].last_ms, 30);
    event_list_clear(&list);
    list = list_events(f->store, NULL, 2, 0);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.items[0].sequence, 3);
    event_list_clear(&list);
}

static void counting_up_the_newest_still_raises_the_sequence(void **state)
{
    struct fixture *f = *state;
    add_event(f->store, "web", "same", 10);
    add_event(f->store, "web", "same", 20);
    add_event(f->store, "web", "same", 30);
    struct event_list list = list_events(f->store, NULL, 0, 0);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.items[0].sequence, 3);
    assert_int_equal(list.items[0].count, 3);
    event_list_clear(&list);
}

static void only_the_last_sixteen_of_a_vm_are_looked_at(void **state)
{
    struct fixture *f = *state;
    char message[32];
    add_event(f->store, "web", "same", 1);
    for (int i = 0; i < 16; i++) {
        (void)snprintf(message, sizeof(message), "other %d", i);
        add_event(f->store, "web", message, 2);
        add_event(f->store, "db", message, 2);
    }
    add_event(f->store, "web", "same", 3);
    struct event_list list = list_events(f->store, "web", 0, 0);
    assert_int_equal(list.count, 18);
    assert_int_equal(list.items[17].count, 1);
    event_list_clear(&list);
    add_event(f->store, "web", "other 15", 4);
    list = list_events(f->store, "web", 0, 0);
    assert_int_equal(list.count, 18);
    assert_string_equal(list.items[17].message, "other 15");
    assert_int_equal(list.items[17].count, 2);
    event_list_clear(&list);
}

static void events_of_different_vms_or_kinds_are_not_alike(void **state)
{
    struct fixture *f = *state;
    struct store_batch *batch = store_batch_new();
    store_batch_add_event(batch, "a", false, REASON_READY, "m", 1);
    store_batch_add_event(batch, "b", false, REASON_READY, "m", 1);
    store_batch_add_event(batch, "a", true, REASON_READY, "m", 1);
    store_batch_add_event(batch, "a", false, REASON_STOPPED, "m", 1);
    store_batch_add_event(batch, "a", false, REASON_READY, "n", 1);
    assert_int_equal(commit(f->store, batch), 0);
    struct event_list list = list_events(f->store, NULL, 0, 0);
    assert_int_equal(list.count, 5);
    event_list_clear(&list);
}

static void a_limit_keeps_the_newest_oldest_first(void **state)
{
    struct fixture *f = *state;
    add_event(f->store, "a", "1", 1);
    add_event(f->store, "b", "2", 2);
    add_event(f->store, "a", "3", 3);
    add_event(f->store, "a", "4", 4);
    struct event_list list = list_events(f->store, "a", 0, 2);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].message, "3");
    assert_string_equal(list.items[1].message, "4");
    event_list_clear(&list);
    list = list_events(f->store, "a", 1, 0);
    assert_int_equal(list.count, 2);
    event_list_clear(&list);
    list = list_events(f->store, NULL, 4, 0);
    assert_int_equal(list.count, 0);
    event_list_clear(&list);
}

static void the_ring_drops_the_oldest(void **state)
{
    struct fixture *f = *state;
    struct store_batch *batch = store_batch_new();
    char message[32];
    for (int i = 1; i <= RING + 100; i++) {
        (void)snprintf(message, sizeof(message), "event %d", i);
        store_batch_add_event(batch, "web", false, REASON_READY, message, i);
    }
    assert_int_equal(commit(f->store, batch), 0);
    struct event_list list = list_events(f->store, NULL, 0, 0);
    assert_int_equal(list.count, RING);
    assert_string_equal(list.items[0].message, "event 101");
    assert_int_equal(list.items[0].sequence, 101);
    assert_string_equal(list.items[RING - 1].message, "event 10100");
    event_list_clear(&list);
}

#define on_open_store(test)                                                                        \
    cmocka_unit_test_setup_teardown(test, fixture_set_up_open, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_open_store(an_event_is_read_back_as_it_was_told),
        on_open_store(an_event_without_message_has_an_empty_one),
        on_open_store(events_alike_are_counted_and_come_again_to_followers),
        on_open_store(counting_up_the_newest_still_raises_the_sequence),
        on_open_store(only_the_last_sixteen_of_a_vm_are_looked_at),
        on_open_store(events_of_different_vms_or_kinds_are_not_alike),
        on_open_store(a_limit_keeps_the_newest_oldest_first),
        on_open_store(the_ring_drops_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

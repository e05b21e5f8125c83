/* SPDX-License-Identifier: MPL-2.0 */
#include "store/writer.h"

#include "tests/unit/store/store_fixture.h"

#include <poll.h>

#include "store/bell.h"
#include "store/lmdb/lmdb_env.h"

enum { DEADLINE_MS = 10000, MANY = 500 };

struct outcome {
    int rc[MANY];
    enum error_code code[MANY];
    size_t order[MANY];
    size_t count;
};

struct ticket {
    struct outcome *outcome;
    size_t number;
};

static void on_done(void *context, int rc, const struct error *err)
{
    struct ticket *ticket = context;
    struct outcome *outcome = ticket->outcome;
    outcome->rc[ticket->number] = rc;
    outcome->code[ticket->number] = err->code;
    outcome->order[outcome->count++] = ticket->number;
}

static struct store_batch *status_batch(const char *name, const char *uid, uint64_t generation)
{
    struct store_batch *batch = store_batch_new();
    struct vm_status *status = vm_status_new(uid);
    status->observed_generation = generation;
    store_batch_put_status(batch, name, status);
    vm_status_free(status);
    return batch;
}

static struct store_writer *start_writer(struct fixture *f, enum store_writer_mode mode)
{
    struct store_writer *writer = NULL;
    struct error err = {0};
    must(store_writer_start(f->store, mode, &writer, &err), &err);
    return writer;
}

static void dispatch_until(struct store_writer *writer, const struct outcome *outcome, size_t count)
{
    while (outcome->count < count) {
        struct pollfd poller = {.fd = store_writer_fd(writer), .events = POLLIN};
        if (poll(&poller, 1, DEADLINE_MS) != 1) {
            fail_msg("only %zu of %zu completions came", outcome->count, count);
        }
        store_writer_dispatch(writer);
    }
}

static void completions_come_in_the_order_of_submission(void **state)
{
    struct fixture *f = *state;
    struct store_writer *writer = start_writer(f, STORE_WRITER_THREAD);
    struct outcome outcome = {.count = 0};
    struct ticket tickets[MANY];
    char name[32];
    for (size_t i = 0; i < MANY; i++) {
        tickets[i] = (struct ticket){&outcome, i};
        (void)snprintf(name, sizeof(name), "vm-%zu", i % 50);
        store_writer_submit(writer, status_batch(name, "u", i), on_done, &tickets[i]);
    }
    dispatch_until(writer, &outcome, MANY);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(outcome.order[i], i);
        assert_int_equal(outcome.rc[i], 0);
        assert_int_equal(outcome.code[i], ERR_NONE);
    }
    struct vm_record record = get_vm(f->store, "vm-49");
    assert_int_equal(record.status->observed_generation, MANY - 1);
    vm_record_clear(&record);
    store_writer_stop(writer);
}

static size_t last_transaction(const struct store *store)
{
    MDB_envinfo info;
    assert_int_equal(mdb_env_info(store->env, &info), 0);
    return info.me_last_txnid;
}

static size_t transactions_of_held(struct fixture *f, size_t n_jobs)
{
    struct store_writer *writer = start_writer(f, STORE_WRITER_THREAD);
    struct outcome outcome = {.count = 0};
    struct ticket tickets[MANY];
    size_t before = last_transaction(f->store);
    store_writer_hold(writer, true);
    for (size_t i = 0; i < n_jobs; i++) {
        tickets[i] = (struct ticket){&outcome, i};
        store_writer_submit(writer, status_batch("web", "u", i), on_done, &tickets[i]);
    }
    store_writer_hold(writer, false);
    dispatch_until(writer, &outcome, n_jobs);
    store_writer_stop(writer);
    return last_transaction(f->store) - before;
}

static void what_is_submitted_while_it_is_held_is_one_transaction(void **state)
{
    assert_int_equal(transactions_of_held(*state, 16), 1);
}

static void a_transaction_has_so_many_jobs_at_most(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(transactions_of_held(f, 257), 2);
    struct vm_record record = get_vm(f->store, "web");
    assert_int_equal(record.status->observed_generation, 256);
    vm_record_clear(&record);
}

static void a_writer_that_is_held_commits_before_it_stops(void **state)
{
    struct fixture *f = *state;
    struct store_writer *writer = start_writer(f, STORE_WRITER_THREAD);
    store_writer_hold(writer, true);
    store_writer_submit(writer, status_batch("web", "u", 7), NULL, NULL);
    store_writer_stop(writer);
    struct vm_record record = get_vm(f->store, "web");
    assert_int_equal(record.status->observed_generation, 7);
    vm_record_clear(&record);
}

/* A thread that holds LMDB's write lock until it is told to let go. */
struct holder {
    struct store *store;
    pthread_t thread;
    int held[2], release[2];
};

static int hold(struct store *store, MDB_txn *txn, void *context)
{
    struct holder *holder = context;
    char byte;
    (void)store;
    (void)txn;
    (void)!write(holder->held[1], "h", 1);
    (void)!read(holder->release[0], &byte, 1);
    return LMDB_UNCHANGED;
}

static void *run_holder(void *context)
{
    struct holder *holder = context;
    (void)lmdb_write(holder->store, hold, holder);
    return NULL;
}

static void start_holder(struct holder *holder, struct store *store)
{
    char byte;
    holder->store = store;
    assert_int_equal(pipe(holder->held), 0);
    assert_int_equal(pipe(holder->release), 0);
    assert_int_equal(pthread_create(&holder->thread, NULL, run_holder, holder), 0);
    assert_int_equal(read(holder->held[0], &byte, 1), 1);
}

static void release_holder(struct holder *holder)
{
    assert_int_equal(write(holder->release[1], "r", 1), 1);
    assert_int_equal(pthread_join(holder->thread, NULL), 0);
    for (int i = 0; i < 2; i++) {
        close(holder->held[i]);
        close(holder->release[i]);
    }
}

/* The third writes an event before it turns out to be stale, the fifth is stale at once. */
static void submit_group(struct store_writer *writer, struct ticket *tickets)
{
    static const char *const uids[] = {"u", "u", "stranger", "u", "stranger", "u"};
    char name[32];
    for (size_t i = 0; i < 6; i++) {
        struct store_batch *batch = store_batch_new();
        struct vm_status *status = vm_status_new(uids[i]);
        (void)snprintf(name, sizeof(name), i == 2 || i == 4 ? "taken" : "vm-%zu", i);
        if (i == 2) {
            store_batch_add_event(batch, name, false, REASON_READY, "never to be seen", 1);
        }
        store_batch_put_status(batch, name, status);
        store_batch_add_event(batch, name, false, REASON_READY, "seen", 1);
        vm_status_free(status);
        store_writer_submit(writer, batch, on_done, &tickets[i]);
    }
}

static void a_stale_batch_fails_alone_in_its_group(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put_status(f->store, "taken", "owner", 1), 0);
    struct store_writer *writer = start_writer(f, STORE_WRITER_THREAD);
    struct outcome outcome = {.count = 0};
    struct ticket tickets[7];
    struct holder holder;
    for (size_t i = 0; i < 7; i++) {
        tickets[i] = (struct ticket){&outcome, i};
    }
    start_holder(&holder, f->store); /* the first job waits for the lock, the group gathers */
    store_writer_submit(writer, status_batch("first", "u", 1), on_done, &tickets[6]);
    submit_group(writer, tickets);
    size_t before = last_transaction(f->store);
    release_holder(&holder);
    dispatch_until(writer, &outcome, 7);
    for (size_t i = 0; i < 7; i++) {
        int expected = i == 2 || i == 4 ? -ERR_STORE_STALE : 0;
        assert_int_equal(outcome.rc[i], expected);
        assert_int_equal(outcome.code[i], -expected);
    }
    assert_true(last_transaction(f->store) - before <= 2); /* one for the first, one for the rest */
    struct event_list events;
    struct error err = {0};
    must(store_list_events(f->store, NULL, 0, 0, &events, &err), &err);
    assert_int_equal(events.count, 4);
    event_list_clear(&events);
    struct vm_record record = get_vm(f->store, "taken");
    assert_string_equal(record.status->uid, "owner");
    vm_record_clear(&record);
    store_writer_stop(writer);
}

static void the_status_bell_rings_after_a_commit_and_not_after_a_stale_one(void **state)
{
    struct fixture *f = *state;
    struct bell_watch watch;
    struct error err = {0};
    struct outcome outcome = {.count = 0};
    struct ticket tickets[2] = {{&outcome, 0}, {&outcome, 1}};
    assert_int_equal(put_status(f->store, "web", "owner", 1), 0);
    must(bell_watch_open(&watch, &f->paths, BELL_STATUS, &err), &err);
    struct store_writer *writer = start_writer(f, STORE_WRITER_THREAD);
    store_writer_submit(writer, status_batch("web", "stranger", 2), on_done, &tickets[0]);
    dispatch_until(writer, &outcome, 1);
    assert_false(bell_watch_drain(&watch));
    store_writer_submit(writer, status_batch("web", "owner", 2), on_done, &tickets[1]);
    dispatch_until(writer, &outcome, 2);
    assert_true(bell_watch_drain(&watch));
    assert_int_equal(outcome.rc[0], -ERR_STORE_STALE);
    assert_int_equal(outcome.rc[1], 0);
    store_writer_stop(writer);
    bell_watch_close(&watch);
}

static void inline_mode_commits_at_once_and_reports_later(void **state)
{
    struct fixture *f = *state;
    struct store_writer *writer = start_writer(f, STORE_WRITER_INLINE);
    struct outcome outcome = {.count = 0};
    struct ticket ticket = {&outcome, 0};
    store_writer_submit(writer, status_batch("web", "u", 5), on_done, &ticket);
    struct vm_record record = get_vm(f->store, "web");
    assert_int_equal(record.status->observed_generation, 5);
    vm_record_clear(&record);
    assert_int_equal(outcome.count, 0);
    struct pollfd poller = {.fd = store_writer_fd(writer), .events = POLLIN};
    assert_int_equal(poll(&poller, 1, 0), 1);
    store_writer_dispatch(writer);
    assert_int_equal(outcome.count, 1);
    assert_int_equal(poll(&poller, 1, 0), 0);
    store_writer_stop(writer);
}

static void stopping_writes_what_was_submitted_and_reports_nobody(void **state)
{
    struct fixture *f = *state;
    struct store_writer *writer = start_writer(f, STORE_WRITER_THREAD);
    struct outcome outcome = {.count = 0};
    struct ticket ticket = {&outcome, 0};
    char name[32];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof(name), "vm-%d", i);
        store_writer_submit(writer, status_batch(name, "u", 1), on_done, &ticket);
    }
    store_writer_stop(writer);
    assert_int_equal(outcome.count, 0);
    struct vm_list list;
    struct error err = {0};
    must(store_list(f->store, &list, &err), &err);
    assert_int_equal(list.count, 100);
    vm_list_clear(&list);
    store_writer_stop(NULL);
}

struct chain {
    struct store_writer *writer;
    int left;
};

static void submit_next(void *context, int rc, const struct error *err)
{
    struct chain *chain = context;
    (void)err;
    assert_int_equal(rc, 0);
    if (--chain->left > 0) {
        store_writer_submit(
            chain->writer, status_batch("web", "u", (uint64_t)chain->left), submit_next, chain);
    }
}

static void a_completion_may_submit_the_next_batch(void **state)
{
    struct fixture *f = *state;
    struct chain chain = {.writer = start_writer(f, STORE_WRITER_THREAD), .left = 20};
    store_writer_submit(chain.writer, status_batch("web", "u", 99), submit_next, &chain);
    while (chain.left > 0) {
        struct pollfd poller = {.fd = store_writer_fd(chain.writer), .events = POLLIN};
        assert_int_equal(poll(&poller, 1, DEADLINE_MS), 1);
        store_writer_dispatch(chain.writer);
    }
    store_writer_stop(chain.writer);
    struct vm_record record = get_vm(f->store, "web");
    assert_int_equal(record.status->observed_generation, 1);
    vm_record_clear(&record);
}

static void reading_goes_on_while_the_thread_writes_and_the_map_grows(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    store_close(f->store);
    f->store = NULL;
    must(store_open_sized(&f->paths, (size_t)256 << 10, &f->store, &err), &err);
    struct store_writer *writer = start_writer(f, STORE_WRITER_THREAD);
    struct outcome outcome = {.count = 0};
    struct ticket tickets[MANY];
    char name[32], message[3000];
    memset(message, 'm', sizeof(message) - 1);
    message[sizeof(message) - 1] = '\0';
    for (size_t i = 0; i < MANY; i++) {
        struct vm_status *status = vm_status_new("u");
        struct store_batch *batch = store_batch_new();
        struct vm_summary_list list;
        tickets[i] = (struct ticket){&outcome, i};
        (void)snprintf(name, sizeof(name), "vm-%zu", i);
        vm_status_set(status, CONDITION_READY, CONDITION_FALSE, REASON_STOPPED, message, 1);
        store_batch_put_status(batch, name, status);
        store_writer_submit(writer, batch, on_done, &tickets[i]);
        vm_status_free(status);
        must(store_list_summaries(f->store, &list, &err), &err);
        assert_true(list.count <= i + 1);
        vm_summary_list_clear(&list);
    }
    dispatch_until(writer, &outcome, MANY);
    store_writer_stop(writer);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(outcome.rc[i], 0);
    }
    assert_true(store_map_bytes(f->store) > (size_t)1 << 20);
    struct vm_list all;
    must(store_list(f->store, &all, &err), &err);
    assert_int_equal(all.count, MANY);
    vm_list_clear(&all);
}

#define on_open_store(test)                                                                        \
    cmocka_unit_test_setup_teardown(test, fixture_set_up_open, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_open_store(completions_come_in_the_order_of_submission),
        on_open_store(what_is_submitted_while_it_is_held_is_one_transaction),
        on_open_store(a_transaction_has_so_many_jobs_at_most),
        on_open_store(a_writer_that_is_held_commits_before_it_stops),
        on_open_store(a_stale_batch_fails_alone_in_its_group),
        on_open_store(the_status_bell_rings_after_a_commit_and_not_after_a_stale_one),
        on_open_store(inline_mode_commits_at_once_and_reports_later),
        on_open_store(stopping_writes_what_was_submitted_and_reports_nobody),
        on_open_store(a_completion_may_submit_the_next_batch),
        on_open_store(reading_goes_on_while_the_thread_writes_and_the_map_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* What one pass writes, and what becomes of its verdict. */
#include "controller/controller.h"

#include <signal.h>
#include <sys/resource.h>

#include "store/session.h"
#include "tests/support/loop_fake.h"
#include "tests/unit/controller/controller_fixture.h"

/* ---- what a pass writes ---- */

static void a_status_is_written_when_it_differs_and_only_then(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    f->script = set_ready;
    start(f);
    settle(f);
    cleanup_with(vm_record_clear) struct vm_record record = get(f, "a");
    assert_non_null(record.status);
    assert_true(vm_status_is_true(record.status, CONDITION_READY));
    assert_int_equal(record.status->observed_generation, 1);
    assert_string_equal(record.status->uid, record.desired->uid);
    assert_true(bell_watch_drain(&f->status_bell));
    f->host->wake(f->host, key_of(KEY_VM, "a"), WORK_EVENT);
    settle(f);
    assert_int_equal(f->n_passes, 2);
    assert_false(bell_watch_drain(&f->status_bell));
}

static void the_status_of_an_earlier_vm_of_that_name_is_not_shown(void **state)
{
    struct fixture *f = *state;
    struct store_batch *batch = store_batch_new();
    struct vm_status *old = vm_status_new("11111111111111111111111111111111");
    old->restart.count = 7;
    store_batch_put_status(batch, "a", old);
    commit(f, batch);
    vm_status_free(old);
    create_vm(f, "a");
    f->script = set_ready;
    start(f);
    settle(f);
    cleanup_with(vm_record_clear) struct vm_record record = get(f, "a");
    assert_string_equal(record.status->uid, record.desired->uid);
    assert_int_equal(record.status->restart.count, 0);
}

static struct verdict count_restarts(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    (void)f;
    patch->status->restart.count = view->status->restart.count + 1;
    return when_woken;
}

static void a_pass_sees_what_is_stored_and_not_what_the_last_one_left(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    f->script = count_restarts;
    start(f);
    settle(f);
    cleanup_with(vm_record_clear) struct vm_record record = get(f, "a");
    assert_int_equal(record.status->restart.count, 1);
    struct store_batch *batch = store_batch_new();
    record.status->restart.count = 7;
    store_batch_put_status(batch, "a", record.status);
    commit(f, batch);
    for (unsigned count = 8; count <= 9; count++) {
        f->host->wake(f->host, key_of(KEY_VM, "a"), WORK_EVENT);
        settle(f);
        cleanup_with(vm_record_clear) struct vm_record after = get(f, "a");
        assert_int_equal(after.status->restart.count, count);
    }
}

static struct verdict forget(struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    patch->forget = view->desired != NULL;
    vm_patch_event(patch, false, REASON_TERMINATING, "%s is gone", view->name);
    (void)f;
    return when_woken;
}

static struct verdict take_leases(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    (void)f;
    (void)view;
    vm_patch_lease(patch, "tcp/10022");
    vm_patch_lease(patch, "mac/52:54:00:00:00:01");
    return when_woken;
}

static void leases_are_taken_once_and_known_by_their_holder(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    f->script = take_leases;
    start(f);
    settle(f);
    assert_string_equal(f->host->lease_holder(f->host, "tcp/10022"), "a");
    assert_null(f->host->lease_holder(f->host, "tcp/10023"));
    assert_true(bell_watch_drain(&f->status_bell));
    f->host->wake(f->host, key_of(KEY_VM, "a"), WORK_EVENT);
    settle(f);
    assert_false(bell_watch_drain(&f->status_bell));
}

static struct verdict choose_a_port(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    const char *holder = f->host->lease_holder(f->host, "tcp/1");
    if (!holder) {
        vm_patch_lease(patch, "tcp/1");
    } else if (!text_eq(holder, view->name)) {
        f->step++;
    }
    return when_woken;
}

static int set_up_thread(void **state)
{
    return set_up_with(state, STORE_WRITER_THREAD);
}

static bool both_had_a_pass(void *context)
{
    const struct fixture *f = context;
    return f->n_passes == 2;
}

/* Both passes are of one turn, and neither is committed before its end. */
static void a_lease_that_is_about_to_be_committed_has_a_holder(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    create_vm(f, "b");
    f->script = choose_a_port;
    start(f);
    assert_true(loop_fake_run_until(f->loop, both_had_a_pass, f, loop_fake_now(f->loop)));
    assert_int_equal(f->step, 1);
}

static void forgetting_a_vm_drops_all_its_records_and_leases(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    f->script = take_leases;
    start_and_settle(f);
    f->script = forget;
    f->host->wake(f->host, key_of(KEY_VM, "a"), WORK_EVENT);
    settle(f);
    cleanup_with(vm_record_clear) struct vm_record record = get(f, "a");
    assert_null(record.desired);
    assert_null(record.status);
    assert_null(f->host->lease_holder(f->host, "tcp/10022"));
    cleanup_with(event_list_clear) struct event_list events = {0};
    struct error err = {0};
    assert_int_equal(store_list_events(f->store, "a", 0, 0, &events, &err), 0);
    assert_int_equal(events.count, 1);
    assert_string_equal(events.items[0].message, "a is gone");
    assert_int_equal(events.items[0].reason, REASON_TERMINATING);
}

static struct verdict drop_or_take(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    (void)f;
    if (text_eq(view->name, "a")) {
        vm_patch_drop_lease(patch, "tcp/1");
        vm_patch_drop_lease(patch, "tcp/2");
    }
    return when_woken;
}

static void take_lease_for(struct fixture *f, char *key, char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = get(f, name);
    char purpose[] = "port";
    struct lease lease = {.key = key, .vm_name = name, .purpose = purpose};
    memcpy(lease.uid, record.desired->uid, sizeof(lease.uid));
    struct store_batch *batch = store_batch_new();
    store_batch_take_lease(batch, &lease);
    commit(f, batch);
}

static void only_leases_of_its_own_are_dropped(void **state)
{
    struct fixture *f = *state;
    char a[] = "a", b[] = "b", one[] = "tcp/1", two[] = "tcp/2";
    create_vm(f, a);
    create_vm(f, b);
    take_lease_for(f, one, a);
    take_lease_for(f, two, b);
    f->script = drop_or_take;
    start(f);
    settle(f);
    assert_null(f->host->lease_holder(f->host, "tcp/1"));
    assert_string_equal(f->host->lease_holder(f->host, "tcp/2"), "b");
}

static struct verdict write_image(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    (void)view;
    json_t *record = f->step < 2 ? json_pack("{s:i}", "bytes", 10) : NULL;
    vm_patch_image(patch, "http://x/y", record);
    return when_woken;
}

static void image_records_are_written_when_they_differ_and_removed(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    f->script = write_image;
    start(f);
    settle(f);
    json_t *record = f->host->image_record(f->host, "http://x/y");
    assert_int_equal(json_int(record, "bytes", 0), 10);
    json_decref(record);
    assert_true(bell_watch_drain(&f->status_bell));
    for (f->step = 1; f->step <= 3; f->step++) {
        f->host->wake(f->host, key_of(KEY_VM, "a"), WORK_EVENT);
        settle(f);
        assert_int_equal(bell_watch_drain(&f->status_bell), f->step == 2);
    }
    assert_null(f->host->image_record(f->host, "http://x/y"));
}

/* Of 1,000 VMs that are as they were, a new controller writes one record: its own. */
static void a_status_that_is_still_so_is_not_written_again_by_a_new_controller(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    create_vm(f, "a");
    cleanup_with(vm_record_clear) struct vm_record before = get(f, "a");
    struct vm_status *status = vm_status_new(before.desired->uid);
    (void)strcpy(status->observer, "earlier");
    status->observed_generation = 1;
    struct store_batch *batch = store_batch_new();
    store_batch_put_status(batch, "a", status);
    commit(f, batch);
    vm_status_free(status);
    start_and_settle(f);
    cleanup_with(vm_record_clear) struct vm_record seen = get(f, "a");
    assert_string_equal(seen.status->observer, "earlier");
    cleanup_json json_t *record = NULL;
    assert_int_equal(store_get_json(f->store, STORE_META, "controller", &record, &err), 0);
    assert_true(json_flag(record, SESSION_OBSERVED_ALL, false));
}

static void the_controller_records_itself(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    create_vm(f, "a");
    start_and_settle(f);
    cleanup_json json_t *record = NULL;
    assert_int_equal(store_get_json(f->store, STORE_META, "controller", &record, &err), 0);
    cleanup_with(vm_record_clear) struct vm_record seen = get(f, "a");
    assert_int_equal(strlen(seen.status->observer), TEXT_ID_SIZE - 1);
    assert_string_equal(json_text(record, "session"), seen.status->observer);
    assert_int_equal(json_int(record, "pid", 0), getpid());
    assert_string_equal(json_text(record, "version"), VMCTL_VERSION);
    assert_string_equal(json_text(record, "bootId"), LOOP_FAKE_BOOT_ID);
    assert_int_equal(json_int(record, "startedAt", 0), clock_wall_ms(loop_clock(f->loop)));
}

/* ---- verdicts ---- */

static struct verdict again_in_a_second(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    (void)view;
    (void)patch;
    return f->n_passes < 3 ? (struct verdict){.requeue_ms = 1000} : when_woken;
}

static void a_verdict_with_a_time_is_kept_to_the_millisecond(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    f->script = again_in_a_second;
    start(f);
    loop_fake_advance(f->loop, 10000);
    assert_passes(f, 3, "a");
    assert_int_equal(f->passes[0].at_ms, 0);
    assert_int_equal(f->passes[1].at_ms, 1000);
    assert_int_equal(f->passes[2].at_ms, 2000);
}

static void a_wake_before_that_time_cancels_it(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    f->script = again_in_a_second;
    start(f);
    loop_fake_advance(f->loop, 500);
    f->script = NULL;
    f->host->wake(f->host, key_of(KEY_VM, "a"), WORK_EVENT);
    loop_fake_advance(f->loop, 10000);
    assert_passes(f, 2, "a");
    assert_int_equal(f->passes[1].at_ms, 500);
}

static struct verdict count_up_to_five(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    (void)f;
    if (view->status->restart.count == 5) {
        return when_woken;
    }
    patch->status->restart.count++;
    return (struct verdict){.requeue_ms = VERDICT_NOW};
}

/* Intent before effect: each pass sees what the one before wrote. */
static void now_means_after_the_commit(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    f->script = count_up_to_five;
    start(f);
    settle(f);
    assert_passes(f, 6, "a");
    cleanup_with(vm_record_clear) struct vm_record record = get(f, "a");
    assert_int_equal(record.status->restart.count, 5);
    assert_int_equal(loop_fake_now(f->loop), LOOP_FAKE_START_MS);
}

static struct verdict fail_four_times(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    (void)view;
    (void)patch;
    f->step++;
    return (struct verdict){.requeue_ms = VERDICT_WHEN_WOKEN, .is_failure = f->step <= 4};
}

static void assert_backs_off(struct fixture *f)
{
    assert_int_equal(f->n_passes, 5);
    for (int i = 1; i < 5; i++) {
        int64_t least_ms = 50 << (i - 1);
        assert_in_range(
            f->passes[i].at_ms - f->passes[i - 1].at_ms, least_ms, least_ms + least_ms / 4);
    }
}

static void failures_back_off_and_a_success_starts_the_count_over(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    f->script = fail_four_times;
    start(f);
    loop_fake_advance(f->loop, MINUTE_MS);
    assert_backs_off(f);
    f->n_passes = 0;
    f->step = 0;
    f->host->wake(f->host, key_of(KEY_VM, "a"), WORK_EVENT);
    loop_fake_advance(f->loop, MINUTE_MS);
    assert_backs_off(f);
}

static struct verdict fail_but_for_the_fourth(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    (void)view;
    (void)patch;
    f->step++;
    return (struct verdict){.requeue_ms = VERDICT_NOW, .is_failure = f->step != 4};
}

static void progress_starts_the_count_over_too(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    f->script = fail_but_for_the_fourth;
    start(f);
    loop_fake_advance(f->loop, 1000);
    assert_true(f->n_passes >= 6);
    assert_int_equal(f->passes[4].at_ms, f->passes[3].at_ms);
    assert_in_range(f->passes[5].at_ms - f->passes[4].at_ms, 50, 62);
}

static void a_user_does_not_wait_for_a_backoff(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    f->script = fail_four_times;
    f->step = -100;
    start(f);
    loop_fake_advance(f->loop, 20 * 1000);
    f->n_passes = 0;
    int64_t now_ms = loop_fake_now(f->loop) - LOOP_FAKE_START_MS;
    change_vm(f, "a", new_generation);
    ring(f);
    loop_fake_advance(f->loop, 0);
    assert_passes(f, 1, "a");
    assert_int_equal(f->passes[0].at_ms, now_ms);
}

static struct verdict spin(struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    (void)f;
    (void)view;
    (void)patch;
    return (struct verdict){.requeue_ms = VERDICT_NOW};
}

static void a_reconciler_that_spins_is_slowed_down(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    f->script = spin;
    start(f);
    settle(f); /* it comes to rest at all */
    assert_in_range(f->n_passes, 100, 102);
}

/* ---- commits that fail ---- */

static struct verdict replaced_meanwhile(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    if (f->step++ == 0) { /* destroyed and made again between the read and the write */
        struct store_batch *batch = store_batch_new();
        store_batch_forget_vm(batch, view->name, view->desired->uid);
        commit(f, batch);
        create_vm(f, view->name);
    }
    return set_ready(f, view, patch);
}

static void a_commit_that_lost_a_race_leads_to_another_look_at_once(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    f->script = replaced_meanwhile;
    start(f);
    settle(f);
    assert_passes(f, 2, "a");
    cleanup_with(vm_record_clear) struct vm_record record = get(f, "a");
    assert_string_equal(record.status->uid, record.desired->uid);
    assert_true(vm_status_is_true(record.status, CONDITION_READY));
}

static struct verdict take_the_port(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    (void)f;
    if (text_eq(view->name, "a")) {
        vm_patch_lease(patch, "tcp/1");
    }
    return when_woken;
}

static void a_lease_another_vm_holds_is_tried_at_once_and_then_ever_more_rarely(void **state)
{
    struct fixture *f = *state;
    char b[] = "b", one[] = "tcp/1";
    create_vm(f, "a");
    create_vm(f, b);
    take_lease_for(f, one, b);
    f->script = take_the_port;
    start_and_settle(f);
    loop_fake_advance(f->loop, MINUTE_MS);
    assert_in_range(f->n_passes, 8, 12); /* 50 ms … doubling for a minute */
    assert_string_equal(f->host->lease_holder(f->host, "tcp/1"), "b");
}

/* What the store still says of "a" is older than this controller. */
static void all_are_observed_only_when_what_each_pass_changed_is_written(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char b[] = "b", one[] = "tcp/1";
    create_vm(f, "a");
    create_vm(f, b);
    take_lease_for(f, one, b);
    f->script = take_the_port;
    start_and_settle(f);
    cleanup_json json_t *early = NULL, *late = NULL;
    assert_int_equal(store_get_json(f->store, STORE_META, "controller", &early, &err), 0);
    assert_false(json_flag(early, SESSION_OBSERVED_ALL, true));
    f->script = set_ready;
    loop_fake_advance(f->loop, MINUTE_MS);
    assert_int_equal(store_get_json(f->store, STORE_META, "controller", &late, &err), 0);
    assert_true(json_flag(late, SESSION_OBSERVED_ALL, false));
}

/* As a full disk: no page beyond the first two can be written. */
static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void while_the_store_cannot_be_written_it_tries_ever_more_rarely_and_then_recovers(
    void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    start_and_settle(f);
    signal(SIGXFSZ, SIG_IGN);
    f->script = set_ready;
    limit_file_size(8192);
    f->host->wake(f->host, key_of(KEY_VM, "a"), WORK_EVENT);
    loop_fake_advance(f->loop, MINUTE_MS);
    limit_file_size(RLIM_INFINITY);
    assert_in_range(f->n_passes, 8, 12);
    cleanup_with(vm_record_clear) struct vm_record before = get(f, "a");
    assert_false(vm_status_is_true(before.status, CONDITION_READY));
    loop_fake_advance(f->loop, 80 * 1000);
    cleanup_with(vm_record_clear) struct vm_record after = get(f, "a");
    assert_true(vm_status_is_true(after.status, CONDITION_READY));
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

static void a_start_that_could_not_be_recorded_is_recorded_when_it_can(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    create_vm(f, "a");
    signal(SIGXFSZ, SIG_IGN);
    limit_file_size(8192);
    start_and_settle(f);
    cleanup_json json_t *none = NULL, *record = NULL;
    int rc = store_get_json(f->store, STORE_META, "controller", &none, &err);
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(rc, 0);
    assert_null(none);
    loop_fake_advance(f->loop, MINUTE_MS);
    assert_int_equal(store_get_json(f->store, STORE_META, "controller", &record, &err), 0);
    assert_non_null(record);
    cleanup_with(vm_record_clear) struct vm_record seen = get(f, "a");
    assert_string_equal(json_text(record, "session"), seen.status->observer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(a_status_is_written_when_it_differs_and_only_then),
        WITH_WORLD(a_pass_sees_what_is_stored_and_not_what_the_last_one_left),
        WITH_WORLD(the_status_of_an_earlier_vm_of_that_name_is_not_shown),
        WITH_WORLD(leases_are_taken_once_and_known_by_their_holder),
        cmocka_unit_test_setup_teardown(
            a_lease_that_is_about_to_be_committed_has_a_holder, set_up_thread, tear_down),
        WITH_WORLD(forgetting_a_vm_drops_all_its_records_and_leases),
        WITH_WORLD(only_leases_of_its_own_are_dropped),
        WITH_WORLD(image_records_are_written_when_they_differ_and_removed),
        WITH_WORLD(a_status_that_is_still_so_is_not_written_again_by_a_new_controller),
        WITH_WORLD(all_are_observed_only_when_what_each_pass_changed_is_written),
        WITH_WORLD(the_controller_records_itself),
        WITH_WORLD(a_start_that_could_not_be_recorded_is_recorded_when_it_can),
        WITH_WORLD(a_verdict_with_a_time_is_kept_to_the_millisecond),
        WITH_WORLD(a_wake_before_that_time_cancels_it),
        WITH_WORLD(now_means_after_the_commit),
        WITH_WORLD(failures_back_off_and_a_success_starts_the_count_over),
        WITH_WORLD(progress_starts_the_count_over_too),
        WITH_WORLD(a_user_does_not_wait_for_a_backoff),
        WITH_WORLD(a_reconciler_that_spins_is_slowed_down),
        WITH_WORLD(a_commit_that_lost_a_race_leads_to_another_look_at_once),
        WITH_WORLD(a_lease_another_vm_holds_is_tried_at_once_and_then_ever_more_rarely),
        WITH_WORLD(while_the_store_cannot_be_written_it_tries_ever_more_rarely_and_then_recovers),
    };
    log_init(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

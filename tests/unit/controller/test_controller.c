/* SPDX-License-Identifier: MPL-2.0 */
/* When the controller looks at a VM, and how it ends. */
#include "controller/controller.h"

#include <sys/resource.h>

#include "controller/controller_internal.h"
#include "tests/support/loop_fake.h"
#include "tests/unit/controller/controller_fixture.h"

/* ---- what leads to a pass ---- */

static void at_the_start_every_vm_is_looked_at_once_after_the_search_for_orphans(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    create_vm(f, "b");
    start(f);
    assert_int_equal(f->passes_before_orphans, 0);
    settle(f);
    assert_passes(f, 2, NULL);
    assert_string_equal(f->passes[0].name, "a");
    assert_string_equal(f->passes[1].name, "b");
    assert_int_equal(controller_pass_count(f->controller), 2);
}

static struct verdict again_after_the_first(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    (void)view, (void)patch;
    return f->step++ == 0 ? (struct verdict){.requeue_ms = VERDICT_NOW} : when_woken;
}

static void at_the_start_what_a_first_look_leads_to_waits_for_the_others(void **state)
{
    struct fixture *f = *state;
    f->script = again_after_the_first;
    create_vm(f, "a");
    create_vm(f, "b");
    start(f);
    settle(f);
    assert_passes(f, 3, NULL);
    assert_string_equal(f->passes[1].name, "b");
    assert_string_equal(f->passes[2].name, "a");
}

/* As on a busy host, or where much is heard from many guests. */
static void where_each_turn_is_long_before_its_passes_there_is_one_in_each(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    create_vm(f, "b");
    loop_fake_make_long(f->loop);
    start(f);
    settle(f);
    assert_passes(f, 2, NULL);
}

static void a_ring_leads_to_a_pass_over_the_vm_that_changed_alone(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    create_vm(f, "b");
    start_and_settle(f);
    change_vm(f, "b", new_generation);
    ring(f);
    settle(f);
    assert_passes(f, 1, "b");
    assert_int_equal(f->passes[0].generation, 2);
}

static void a_change_before_the_ring_is_heard_but_after_arming_is_not_lost(void **state)
{
    struct fixture *f = *state;
    start(f);
    create_vm(f, "a");
    ring(f);
    settle(f);
    assert_passes(f, 1, "a");
}

static void a_deletion_mark_alone_leads_to_a_pass(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    create_vm(f, "b");
    start_and_settle(f);
    change_vm(f, "a", delete);
    ring(f);
    settle(f);
    assert_passes(f, 1, "a");
}

static void a_change_no_summary_shows_leads_to_a_pass_all_the_same(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    start_and_settle(f);
    change_vm(f, "a", shorten_the_stop);
    ring(f);
    settle(f);
    assert_passes(f, 1, "a");
}

static void a_record_that_vanished_leads_to_one_last_pass(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    create_vm(f, "b");
    start_and_settle(f);
    cleanup_with(vm_record_clear) struct vm_record record = get(f, "a");
    struct store_batch *batch = store_batch_new();
    store_batch_forget_vm(batch, "a", record.desired->uid);
    commit(f, batch);
    ring(f);
    settle(f);
    assert_passes(f, 1, "a");
    assert_false(f->passes[0].has_desired);
    change_vm(f, "b", new_generation);
    ring(f);
    settle(f);
    assert_passes(f, 2, NULL);
    assert_string_equal(f->passes[1].name, "b");
}

static void a_wake_leads_to_a_pass_also_for_a_name_without_records(void **state)
{
    struct fixture *f = *state;
    start_and_settle(f);
    f->host->wake(f->host, key_of(KEY_VM, "orphan"), WORK_EVENT);
    f->host->wake(f->host, key_of(KEY_VM, "orphan"), WORK_EVENT);
    settle(f);
    assert_passes(f, 1, "orphan");
    assert_false(f->passes[0].has_desired);
}

static void when_nothing_happens_nothing_is_scheduled_but_the_resync(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    start_and_settle(f);
    int64_t next_ms = loop_fake_next_timer(f->loop) - loop_fake_now(f->loop);
    assert_in_range(next_ms, 5 * MINUTE_MS, 15 * MINUTE_MS);
    loop_fake_advance(f->loop, next_ms - 1);
    assert_passes(f, 0, NULL);
    loop_fake_advance(f->loop, 1);
    settle(f);
    assert_passes(f, 1, "a");
    assert_false(bell_watch_drain(&f->status_bell)); /* and nothing is written */
    assert_in_range(
        loop_fake_next_timer(f->loop) - loop_fake_now(f->loop), 5 * MINUTE_MS, 15 * MINUTE_MS);
}

static void a_resync_finds_a_change_whose_ring_was_lost(void **state)
{
    struct fixture *f = *state;
    start_and_settle(f);
    create_vm(f, "a");
    loop_fake_advance(f->loop, 15 * MINUTE_MS);
    assert_true(f->n_passes >= 1);
    assert_string_equal(f->passes[0].name, "a");
}

/* As when fs.inotify.max_user_instances is used up: no further descriptor can be made. */
static void without_inotify_it_looks_once_a_second(void **state)
{
    struct fixture *f = *state;
    struct rlimit limit, none;
    int free_fd = dup(STDERR_FILENO);
    close(free_fd);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){.rlim_cur = (rlim_t)free_fd, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    start(f);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    create_vm(f, "a");
    loop_fake_advance(f->loop, 999);
    assert_passes(f, 0, NULL);
    loop_fake_advance(f->loop, 1);
    assert_passes(f, 1, "a");
    loop_fake_advance(f->loop, 10000);
    assert_passes(f, 1, "a");
}

/* ---- at rest ---- */

static size_t n_under_way;

static size_t count_under_way(const struct reconciler *self)
{
    (void)self;
    return n_under_way;
}

static void what_many_reads_left_in_memory_goes_when_few_vms_are_under_way(void **state)
{
    enum { MANY = 130 };
    struct fixture *f = *state;
    for (int i = 0; i < MANY; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "vm-%d", i);
        create_vm(f, name);
    }
    f->reconciler.count_under_way = count_under_way;
    n_under_way = 17;
    start_and_settle(f);
    assert_true(f->controller->n_read >= MANY);
    n_under_way = 16;
    change_vm(f, "vm-0", new_generation);
    ring(f);
    settle(f);
    assert_int_equal(f->controller->n_read, 0);
}

/* ---- the end ---- */

static struct verdict write_and_stop(
    struct fixture *f, const struct vm_view *view, struct vm_patch *patch)
{
    loop_stop(f->loop);
    return set_ready(f, view, patch);
}

static void a_stop_lets_commits_finish_and_frees_the_reconciler(void **state)
{
    struct fixture *f = *state;
    create_vm(f, "a");
    f->script = write_and_stop;
    start(f);
    loop_fake_advance(f->loop, 1000);
    controller_stop(f->controller);
    store_writer_stop(f->writer);
    controller_free(f->controller);
    f->controller = NULL;
    f->writer = NULL;
    assert_true(f->is_freed);
    cleanup_with(vm_record_clear) struct vm_record record = get(f, "a");
    assert_true(vm_status_is_true(record.status, CONDITION_READY));
}

static int tear_down_stopped(void **state)
{
    struct fixture *f = *state;
    bell_watch_close(&f->status_bell);
    pool_free(f->pool);
    loop_free(f->loop);
    store_close(f->store);
    paths_clear(&f->paths);
    int rc = remove_scratch_dir((void **)&f->dir);
    free(f);
    return rc;
}

static void the_rng_are_the_same_for_the_same_seed(void **state)
{
    struct fixture *f = *state;
    uint32_t first = f->host->rng(f->host), second = f->host->rng(f->host);
    assert_int_not_equal(first, second);
    struct controller *other = controller_new(&(struct controller_options){
        .loop = f->loop, .store = f->store, .writer = f->writer, .seed = 42});
    struct reconciler_host *host = controller_host(other);
    assert_int_equal(host->rng(host), first);
    assert_int_equal(host->rng(host), second);
    controller_free(other);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

/* What it started would look like machines of another boot, and no command would trust it. */
static void a_controller_that_cannot_report_its_boot_does_not_start(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    create_vm(f, "a");
    loop_fake_set_boot_id(f->loop, "");
    assert_int_equal(controller_start(f->controller, &err), -ERR_IO);
    assert_non_null(strstr(err.message, "boot_id"));
    settle(f);
    assert_passes(f, 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(at_the_start_every_vm_is_looked_at_once_after_the_search_for_orphans),
        WITH_WORLD(at_the_start_what_a_first_look_leads_to_waits_for_the_others),
        WITH_WORLD(where_each_turn_is_long_before_its_passes_there_is_one_in_each),
        WITH_WORLD(a_ring_leads_to_a_pass_over_the_vm_that_changed_alone),
        WITH_WORLD(a_change_before_the_ring_is_heard_but_after_arming_is_not_lost),
        WITH_WORLD(a_deletion_mark_alone_leads_to_a_pass),
        WITH_WORLD(a_change_no_summary_shows_leads_to_a_pass_all_the_same),
        WITH_WORLD(a_record_that_vanished_leads_to_one_last_pass),
        WITH_WORLD(a_wake_leads_to_a_pass_also_for_a_name_without_records),
        WITH_WORLD(when_nothing_happens_nothing_is_scheduled_but_the_resync),
        WITH_WORLD(a_resync_finds_a_change_whose_ring_was_lost),
        WITH_WORLD(without_inotify_it_looks_once_a_second),
        WITH_WORLD(what_many_reads_left_in_memory_goes_when_few_vms_are_under_way),
        WITH_WORLD(the_rng_are_the_same_for_the_same_seed),
        WITH_WORLD(a_controller_that_cannot_report_its_boot_does_not_start),
        cmocka_unit_test_setup_teardown(
            a_stop_lets_commits_finish_and_frees_the_reconciler, set_up, tear_down_stopped),
    };
    log_init(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

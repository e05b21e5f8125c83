/* SPDX-License-Identifier: MPL-2.0 */
/* Snapshots of a stopped VM's disk: what is recorded of them, and who may come in between. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "tests/sim/sim.h"
#include "tests/support/loop_fake.h"

static struct change change_of(
    struct snapshot_order *order, enum snapshot_verb verb, const char *name)
{
    *order = (struct snapshot_order){.verb = verb};
    (void)snprintf(order->name, sizeof(order->name), "%s", name);
    return (struct change){.name = "web", .snapshot = order};
}

static void ask(struct sim *sim, enum snapshot_verb verb, const char *name)
{
    struct snapshot_order order;
    struct change change = change_of(&order, verb, name);
    assert_int_equal(sim_change(sim, &change), CHANGE_REQUESTED);
}

static enum error_code refused(struct sim *sim, enum snapshot_verb verb, const char *name)
{
    struct snapshot_order order;
    struct change change = change_of(&order, verb, name);
    return sim_change_failing(sim, &change);
}

static bool is_over(struct sim *sim, const char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, name);
    return text_eq(record.desired->snapshot.token, record.status->handled_snapshot_token);
}

static void do_now(struct sim *sim, enum snapshot_verb verb, const char *name)
{
    ask(sim, verb, name);
    sim_wait(sim, "web", is_over, MINUTE_MS);
}

/* "clean,dirty": the names that are recorded. free() it. */
static char *names(struct sim *sim)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    char *list = mem_strdup("");
    for (uint32_t i = 0; i < record.status->n_snapshots; i++) {
        cleanup_free char *before = list;
        list = mem_printf("%s%s%s", before, before[0] ? "," : "", record.status->snapshots[i].name);
    }
    return list;
}

static void expect_names(struct sim *sim, const char *expected)
{
    cleanup_free char *found = names(sim);
    assert_string_equal(found, expected);
}

static void expect_failure(struct sim *sim, const char *code)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    if (code) {
        assert_string_equal(record.status->snapshot_failure.code, code);
    } else {
        assert_null(record.status->snapshot_failure.code);
    }
}

static void bring_down(struct sim *sim, size_t n_steps)
{
    sim_bring_up(sim, sim_spec_with_steps("web", n_steps));
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
}

static void snapshots_are_made_restored_and_removed(void **state)
{
    struct sim *sim = *state;
    bring_down(sim, 0);
    do_now(sim, SNAPSHOT_CREATE, "one");
    do_now(sim, SNAPSHOT_CREATE, "two");
    expect_names(sim, "one,two");
    expect_failure(sim, NULL);
    assert_true(sim_is_stopped(sim, "web"));
    do_now(sim, SNAPSHOT_RESTORE, "one");
    expect_names(sim, "one,two,before-restore");
    do_now(sim, SNAPSHOT_REMOVE, "one");
    do_now(sim, SNAPSHOT_RESTORE, "before-restore"); /* which undoes it, and can be undone */
    expect_names(sim, "two,before-restore");
    assert_int_equal(sim_count_events(sim, "web", REASON_SNAPSHOT), 5);
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    expect_names(sim, "two,before-restore");
}

/* Of the disk that is restored: also which steps have been run on it. */
static void what_is_recorded_of_a_disk_goes_with_it(void **state)
{
    struct sim *sim = *state;
    bring_down(sim, 1);
    do_now(sim, SNAPSHOT_CREATE, "one");
    sim_up(sim, sim_spec_with_steps("web", 2));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    do_now(sim, SNAPSHOT_RESTORE, "one");
    struct vm_record record = sim_record(sim, "web");
    assert_int_equal(record.status->provision.total, 1);
    assert_int_equal(vm_status_snapshot(record.status, "before-restore")->provision.total, 2);
    vm_record_clear(&record);
    sim_power(sim, "web", POWER_RUNNING); /* the second step is run again, as one appended */
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    record = sim_record(sim, "web");
    assert_int_equal(record.status->provision.total, 2);
    vm_record_clear(&record);
}

static void what_cannot_be_is_refused_at_once(void **state)
{
    struct sim *sim = *state;
    assert_int_equal(refused(sim, SNAPSHOT_CREATE, "one"), ERR_VM_NOT_FOUND);
    sim_bring_up(sim, sim_spec("web"));
    assert_int_equal(refused(sim, SNAPSHOT_CREATE, "one"), ERR_VM_INVALID_STATE);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    assert_int_equal(refused(sim, SNAPSHOT_RESTORE, "one"), ERR_SNAPSHOT_NOT_FOUND);
    assert_int_equal(refused(sim, SNAPSHOT_REMOVE, "one"), ERR_SNAPSHOT_NOT_FOUND);
    assert_int_equal(refused(sim, SNAPSHOT_CREATE, "before-restore"), ERR_VM_CONFLICT);
    sim_script(sim, "web", "{\"snapshotMs\": 60000}");
    ask(sim, SNAPSHOT_CREATE, "one");
    sim_settle(sim);
    assert_int_equal(refused(sim, SNAPSHOT_CREATE, "two"), ERR_VM_CONFLICT); /* under way */
    sim_wait(sim, "web", is_over, 2 * MINUTE_MS);
    assert_int_equal(refused(sim, SNAPSHOT_CREATE, "one"), ERR_VM_CONFLICT);
    expect_names(sim, "one");
}

static void a_failure_is_recorded_and_not_repeated(void **state)
{
    struct sim *sim = *state;
    bring_down(sim, 0);
    sim_script(sim, "web", "{\"failSnapshot\": 1}");
    do_now(sim, SNAPSHOT_CREATE, "one");
    expect_names(sim, "");
    expect_failure(sim, "vmctl::io");
    assert_true(sim_is_stopped(sim, "web"));
    sim_script(sim, "web", NULL);
    do_now(sim, SNAPSHOT_CREATE, "one");
    expect_names(sim, "one");
    expect_failure(sim, NULL);
}

static void the_next_controller_finishes_it(void **state)
{
    struct sim *sim = *state;
    bring_down(sim, 0);
    sim_kill(sim);
    ask(sim, SNAPSHOT_CREATE, "one"); /* while none runs */
    sim_start(sim);
    sim_wait(sim, "web", is_over, MINUTE_MS);
    sim_script(sim, "web", "{\"snapshotMs\": 60000}");
    ask(sim, SNAPSHOT_RESTORE, "one");
    sim_settle(sim);
    sim_kill(sim); /* in the midst of it */
    sim_start(sim);
    sim_wait(sim, "web", is_over, 2 * MINUTE_MS);
    expect_names(sim, "one,before-restore");
}

static void a_start_waits_for_it_and_a_deletion_does_not(void **state)
{
    struct sim *sim = *state;
    bring_down(sim, 0);
    sim_script(sim, "web", "{\"snapshotMs\": 60000}");
    ask(sim, SNAPSHOT_CREATE, "one");
    sim_settle(sim);
    sim_power(sim, "web", POWER_RUNNING);
    sim_settle(sim);
    assert_false(sim_is_alive(sim, "web"));
    sim_wait(sim, "web", sim_is_ready, 2 * MINUTE_MS);
    expect_names(sim, "one");
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    ask(sim, SNAPSHOT_RESTORE, "one");
    sim_settle(sim);
    sim_delete(sim, "web");
    sim_wait(sim, "web", sim_is_gone, 10 * SECOND_MS);
}

/* Requested while it still stopped, and started again before: nothing touches the disk. */
static void of_a_vm_that_was_started_meanwhile_it_is_refused(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_kill(sim);
    sim_power(sim, "web", POWER_STOPPED);
    ask(sim, SNAPSHOT_CREATE, "one");
    sim_power(sim, "web", POWER_RUNNING);
    sim_start(sim);
    sim_wait(sim, "web", is_over, MINUTE_MS);
    expect_failure(sim, "vmctl::vm::invalid_state");
    expect_names(sim, "");
    assert_true(sim_is_ready(sim, "web"));
}

static void they_outlive_a_recreation(void **state)
{
    struct sim *sim = *state;
    bring_down(sim, 0);
    do_now(sim, SNAPSHOT_CREATE, "one");
    struct change reload = {
        .name = "web", .recreates = true, .sets_power = true, .power = POWER_RUNNING};
    (void)sim_change(sim, &reload);
    sim_settle(sim);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    expect_names(sim, "one");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(snapshots_are_made_restored_and_removed),
        SIM_TEST(what_is_recorded_of_a_disk_goes_with_it),
        SIM_TEST(what_cannot_be_is_refused_at_once),
        SIM_TEST(a_failure_is_recorded_and_not_repeated),
        SIM_TEST(the_next_controller_finishes_it),
        SIM_TEST(a_start_waits_for_it_and_a_deletion_does_not),
        SIM_TEST(of_a_vm_that_was_started_meanwhile_it_is_refused),
        SIM_TEST(they_outlive_a_recreation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* Snapshots of a stopped VM's disk: what is recorded of them, and who may come in between. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
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
    assert_int_equal(refused(sim, SNAPSHOT_RESTORE, "one"), ERR_VM_INVALID_STATE);
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

/* The command that asked for it was killed, and is given again. */
static void the_same_request_follows_the_one_that_is_under_way(void **state)
{
    struct sim *sim = *state;
    struct snapshot_order order;
    const struct change again = change_of(&order, SNAPSHOT_CREATE, "one");
    bring_down(sim, 0);
    sim_kill(sim);
    ask(sim, SNAPSHOT_CREATE, "one");
    cleanup_with(vm_record_clear) struct vm_record before = sim_record(sim, "web");
    assert_int_equal(sim_change(sim, &again), CHANGE_UNCHANGED);
    cleanup_with(vm_record_clear) struct vm_record after = sim_record(sim, "web");
    assert_string_equal(before.desired->snapshot.token, after.desired->snapshot.token);
    assert_int_equal(refused(sim, SNAPSHOT_CREATE, "two"), ERR_VM_CONFLICT);
    sim_start(sim);
    sim_wait(sim, "web", is_over, MINUTE_MS);
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
    bring_down(sim, 0);
    do_now(sim, SNAPSHOT_CREATE, "one");
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_kill(sim);
    sim_power(sim, "web", POWER_STOPPED);
    ask(sim, SNAPSHOT_RESTORE, "one");
    sim_power(sim, "web", POWER_RUNNING);
    sim_start(sim);
    sim_wait(sim, "web", is_over, MINUTE_MS);
    expect_failure(sim, "vmctl::vm::invalid_state");
    expect_names(sim, "one");
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
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    assert_int_equal(record.status->n_snapshots, 2);
    assert_string_equal(record.status->snapshots[0].name, "one");
    assert_int_equal(record.status->snapshots[0].ends_ms, 0);
}

/* ---- what a recreation keeps ---- */

enum { HOUR_MS = 60 * MINUTE_MS };

static void recreate(struct sim *sim, bool erases_at_once)
{
    (void)sim_change(sim, &(struct change){.name = "web",
                              .recreates = true,
                              .erases_at_once = erases_at_once,
                              .sets_power = true,
                              .power = POWER_RUNNING});
    sim_settle(sim);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

/* How many snapshots begin so. */
static unsigned n_kept(struct sim *sim)
{
    unsigned n = 0;
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    for (uint32_t i = 0; i < record.status->n_snapshots; i++) {
        n += text_starts_with(record.status->snapshots[i].name, SNAPSHOT_RECREATED);
    }
    return n;
}

static bool keeps_none(struct sim *sim, const char *name)
{
    (void)name;
    return n_kept(sim) == 0;
}

static void what_a_recreation_replaces_is_kept_for_a_day(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    recreate(sim, false);
    assert_int_equal(n_kept(sim), 1);
    sim_advance(sim, 23 * HOUR_MS);
    assert_int_equal(n_kept(sim), 1);
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    const struct vm_snapshot *kept = &record.status->snapshots[0];
    assert_int_equal(kept->provision.total, 1);
    assert_int_equal(kept->ends_ms - kept->created_ms, KEPT_MS);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    do_now(sim, SNAPSHOT_RESTORE, kept->name);
    expect_failure(sim, NULL);
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_wait(sim, "web", keeps_none, 61 * MINUTE_MS);
    expect_names(sim, "before-restore");
    assert_true(sim_is_ready(sim, "web"));
}

static void nothing_is_kept_unasked_or_beyond_its_bounds(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    recreate(sim, true);
    expect_names(sim, "");
    for (int i = 0; i < KEPT_MAX + 2; i++) { /* within one second, too */
        recreate(sim, false);
    }
    sim_settle(sim);
    assert_int_equal(n_kept(sim), KEPT_MAX);
    sim_script(sim, "web", "{\"freeMib\": 1023}");
    sim_wait(sim, "web", keeps_none, 16 * MINUTE_MS);
    sim_script(sim, "web", NULL);
    recreate(sim, false);
    assert_int_equal(n_kept(sim), 1);
    cleanup_free char *name = names(sim);
    do_now(sim, SNAPSHOT_REMOVE, name); /* of a VM that runs */
    assert_int_equal(n_kept(sim), 0);
    assert_true(sim_is_ready(sim, "web"));
}

/* The store's disk was full when the first disk had been replaced, and the user asked again. */
static void a_kept_disk_whose_record_was_lost_is_recorded_with_the_next(void **state)
{
    struct sim *sim = *state;
    struct error err = {.code = ERR_NONE};
    sim_bring_up(sim, sim_spec("web"));
    recreate(sim, false);
    static const char *const lost[] = {"0123456789abcdef0123456789abcdef", "short", "no.qcow2"};
    for (size_t i = 0; i < ARRAY_LEN(lost); i++) {
        cleanup_free char *relative = mem_printf("vms/web/snapshots/%s.qcow2", lost[i]);
        cleanup_free char *path = paths_path(&sim->paths, relative);
        assert_int_equal(fs_write_file(path, "disk", 4, 0600, &err), 0);
    }
    recreate(sim, false);
    assert_int_equal(n_kept(sim), 3);
}

/* A step that runs is not interrupted for it; a controller that is killed while it collects leaves
 * it to the next. */
static void collecting_waits_for_a_step_and_is_finished_by_the_next_controller(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    recreate(sim, false);
    sim_script(sim, "web", "{\"stepMs\": 7200000}");
    sim_change(sim, &(struct change){.name = "web", .provision = PROVISION_AGAIN});
    sim_settle(sim);
    sim_script(sim, "web", "{\"freeMib\": 1000}");
    sim_advance(sim, HOUR_MS);
    assert_int_equal(n_kept(sim), 1);
    assert_false(sim_is_ready(sim, "web"));
    sim_wait(sim, "web", sim_is_ready, HOUR_MS + MINUTE_MS);
    sim_script(sim, "web", "{\"snapshotMs\": 60000, \"freeMib\": 1000}");
    sim_wait(sim, "web", keeps_none, 16 * MINUTE_MS);
    recreate(sim, false);
    sim_advance(sim, MINUTE_MS / 2);
    sim_kill(sim);
    sim_start(sim);
    sim_wait(sim, "web", keeps_none, 4 * MINUTE_MS);
}

static void suspend_to_disk(struct sim *sim)
{
    (void)sim_change(
        sim, &(struct change){
                 .name = "web", .sets_power = true, .power = POWER_SUSPENDED, .saves = true});
}

/* While there is as much room as it promises. */
static void memory_that_does_not_fit_takes_no_kept_disk(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = sim_spec("web");
    spec->memory_mib = 4096;
    sim_bring_up(sim, spec);
    recreate(sim, false);
    sim_script(sim, "web", "{\"freeMib\": 2000}");
    suspend_to_disk(sim);
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    sim_advance(sim, HOUR_MS);
    assert_int_equal(n_kept(sim), 1);
    sim_kill(sim);
    sim_start(sim);
    sim_advance(sim, HOUR_MS);
    assert_int_equal(n_kept(sim), 1);
    assert_true(sim_is_stalled(sim, "web"));
}

/* Memory that was saved belongs to the disk: its snapshots stay as they are meanwhile. */
static void one_that_cannot_be_removed_yet_is_not_looked_at_again_and_again(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    recreate(sim, false);
    suspend_to_disk(sim);
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    sim_advance(sim, KEPT_MS);
    assert_int_equal(n_kept(sim), 1);
    uint64_t before = controller_pass_count(sim->controller);
    sim_advance(sim, MINUTE_MS);
    assert_in_range(controller_pass_count(sim->controller) - before, 0, 10);
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", keeps_none, MINUTE_MS);
}

/* ---- clones ---- */

static bool has_disk(struct sim *sim, const char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, name);
    return record.status && record.status->prepared.digest[0];
}

static void clone_taking(struct sim *sim, const char *snapshot, const char *name, bool is_taken)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    char vm[] = "web";
    struct vm_origin origin = {
        .vm = vm, .is_taken = is_taken, .snapshot = *vm_status_snapshot(record.status, snapshot)};
    struct vm_spec *spec = sim_spec_with_steps(name, 1);
    struct change change = {
        .name = name, .spec = spec, .origin = &origin, .must_be_new = true, .wants_prepared = true};
    assert_int_equal(sim_change(sim, &change), CHANGE_CREATED);
    vm_spec_free(spec);
}

static void clone_of(struct sim *sim, const char *snapshot, const char *name)
{
    clone_taking(sim, snapshot, name, false);
}

static bool has_no_snapshot(struct sim *sim, const char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, name);
    return record.status->n_snapshots == 0;
}

static void what_was_made_for_a_clone_alone_goes_with_it(void **state)
{
    struct sim *sim = *state;
    bring_down(sim, 1);
    do_now(sim, SNAPSHOT_CREATE, "~passing");
    clone_taking(sim, "~passing", "copy", true);
    sim_wait(sim, "copy", has_disk, MINUTE_MS);
    unsigned n_events = sim_count_events(sim, "web", REASON_SNAPSHOT);
    sim_wait(sim, "web", has_no_snapshot, 5 * SECOND_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_SNAPSHOT), n_events);
}

static void a_clone_has_the_disk_and_what_has_run_on_it(void **state)
{
    struct sim *sim = *state;
    bring_down(sim, 1);
    do_now(sim, SNAPSHOT_CREATE, "one");
    sim_script(sim, "copy", "{\"cloneMs\": 60000}");
    clone_of(sim, "one", "copy");
    sim_settle(sim);
    sim_kill(sim); /* in the midst of it */
    sim_start(sim);
    sim_settle(sim);
    assert_false(has_disk(sim, "copy"));
    sim_delete(sim, "web"); /* it needs nothing of that VM any more */
    sim_wait(sim, "copy", has_disk, 2 * MINUTE_MS);
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "copy");
    assert_int_equal(record.status->provision.total, 1);
    assert_int_equal(sim_count_events(sim, "copy", REASON_DOWNLOADING), 0);
    sim_power(sim, "copy", POWER_RUNNING);
    sim_wait(sim, "copy", sim_is_ready, MINUTE_MS);
    (void)sim_change(sim, &(struct change){.name = "copy", .recreates = true});
    sim_settle(sim);
    sim_wait(sim, "copy", sim_is_ready, MINUTE_MS); /* on its image: the clone is no more */
    assert_int_equal(sim_count_events(sim, "copy", REASON_PREPARING), 2);
}

static void a_clone_that_fails_says_so_and_is_tried_again(void **state)
{
    struct sim *sim = *state;
    bring_down(sim, 1);
    do_now(sim, SNAPSHOT_CREATE, "one");
    sim_script(sim, "copy", "{\"failClone\": 1}");
    clone_of(sim, "one", "copy");
    sim_wait(sim, "copy", sim_is_stalled, MINUTE_MS);
    assert_false(has_disk(sim, "copy"));
    sim_script(sim, "copy", NULL);
    sim_power(sim, "copy", POWER_RUNNING);
    sim_wait(sim, "copy", sim_is_ready, MINUTE_MS);
    sim_delete(sim, "copy");
    sim_wait(sim, "copy", sim_is_gone, MINUTE_MS);
}

static bool is_of_crash(struct sim *sim, const char *snapshot)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    if (!snapshot) {
        return record.status->prepared.is_crash_consistent;
    }
    return vm_snapshot_is_crash_consistent(vm_status_snapshot(record.status, snapshot));
}

static void start_and_end(struct sim *sim, bool is_killed)
{
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    if (is_killed) {
        sim_kill_vm(sim, "web");
    } else {
        sim_power(sim, "web", POWER_STOPPED);
    }
    sim_advance(sim, MINUTE_MS);
    assert_false(sim_is_alive(sim, "web"));
    sim_power(sim, "web", POWER_STOPPED);
    sim_advance(sim, SECOND_MS);
}

static void the_disk_of_a_guest_that_did_not_shut_down_is_marked(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = sim_spec_with_steps("web", 0);
    spec->restart = RESTART_NEVER;
    sim_bring_up(sim, spec);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    assert_false(is_of_crash(sim, NULL));
    do_now(sim, SNAPSHOT_CREATE, "clean");
    start_and_end(sim, true);
    assert_true(is_of_crash(sim, NULL));
    do_now(sim, SNAPSHOT_CREATE, "cut");
    sim_kill(sim);
    sim_start(sim);
    assert_true(is_of_crash(sim, NULL));
    assert_true(is_of_crash(sim, "cut"));
    assert_false(is_of_crash(sim, "clean"));
    do_now(sim, SNAPSHOT_RESTORE, "clean");
    assert_false(is_of_crash(sim, NULL));
    assert_true(is_of_crash(sim, SNAPSHOT_BEFORE_RESTORE));
    do_now(sim, SNAPSHOT_RESTORE, "cut");
    assert_true(is_of_crash(sim, NULL));
    start_and_end(sim, false); /* its file system was recovered, and left in order */
    assert_false(is_of_crash(sim, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(snapshots_are_made_restored_and_removed),
        SIM_TEST(what_is_recorded_of_a_disk_goes_with_it),
        SIM_TEST(what_cannot_be_is_refused_at_once),
        SIM_TEST(the_same_request_follows_the_one_that_is_under_way),
        SIM_TEST(a_failure_is_recorded_and_not_repeated),
        SIM_TEST(the_next_controller_finishes_it),
        SIM_TEST(a_start_waits_for_it_and_a_deletion_does_not),
        SIM_TEST(of_a_vm_that_was_started_meanwhile_it_is_refused),
        SIM_TEST(they_outlive_a_recreation),
        SIM_TEST(a_clone_has_the_disk_and_what_has_run_on_it),
        SIM_TEST(what_was_made_for_a_clone_alone_goes_with_it),
        SIM_TEST(a_clone_that_fails_says_so_and_is_tried_again),
        SIM_TEST(what_a_recreation_replaces_is_kept_for_a_day),
        SIM_TEST(nothing_is_kept_unasked_or_beyond_its_bounds),
        SIM_TEST(memory_that_does_not_fit_takes_no_kept_disk),
        SIM_TEST(one_that_cannot_be_removed_yet_is_not_looked_at_again_and_again),
        SIM_TEST(a_kept_disk_whose_record_was_lost_is_recorded_with_the_next),
        SIM_TEST(collecting_waits_for_a_step_and_is_finished_by_the_next_controller),
        SIM_TEST(the_disk_of_a_guest_that_did_not_shut_down_is_marked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

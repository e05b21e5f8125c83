/* SPDX-License-Identifier: MPL-2.0 */
/* A VM that runs: changes that reach it live, what others do to it, and what the host does. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "tests/sim/sim.h"
#include "tests/support/loop_fake.h"

enum { HOUR_MS = 60 * MINUTE_MS };

/* ---- live changes ---- */

static struct vm_spec *spec_with_room(uint32_t vcpus, uint32_t memory_mib)
{
    struct vm_spec *spec = sim_spec("web");
    spec->vcpus = vcpus;
    spec->memory_mib = memory_mib;
    spec->max_vcpus = 4;
    spec->max_memory_mib = 2048;
    return spec;
}

static bool is_synced(struct sim *sim, const char *name)
{
    return sim_is_ready(sim, name) && sim_state(sim, name, CONDITION_SYNCED) == CONDITION_TRUE;
}

static void assert_applied(struct sim *sim, uint32_t vcpus, uint32_t memory_mib)
{
    struct vm_record record = sim_record(sim, "web");
    assert_int_equal(record.status->applied_spec->vcpus, vcpus);
    assert_int_equal(record.status->applied_spec->memory_mib, memory_mib);
    vm_record_clear(&record);
}

static void what_there_is_room_for_needs_no_restart(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_bring_up(sim, spec_with_room(1, 1024));
    sim_living_instance_id(sim, "web", before);
    sim_script(sim, "web", "{\"bootMs\": 100}");
    assert_int_equal(sim_up(sim, spec_with_room(3, 2048)), CHANGE_CONFIGURED);
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_APPLYING);
    sim_wait(sim, "web", is_synced, SECOND_MS);
    sim_living_instance_id(sim, "web", after);
    assert_string_equal(before, after);
    assert_applied(sim, 3, 2048);
    assert_int_equal(sim_count_events(sim, "web", REASON_SYNCED), 1);
    sim_up(sim, spec_with_room(2, 2048));
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_RESTART_REQUIRED);
    assert_applied(sim, 3, 2048);
}

static void a_change_made_while_the_last_one_is_applied_is_not_lost(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with_room(1, 1024));
    sim_script(sim, "web", "{\"bootMs\": 500}");
    sim_up(sim, spec_with_room(2, 1024));
    sim_advance(sim, 100);
    sim_up(sim, spec_with_room(4, 1024));
    sim_advance(sim, 450); /* the first is done; what it did is not what is wished now */
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_APPLYING);
    sim_wait(sim, "web", is_synced, SECOND_MS);
    assert_applied(sim, 4, 1024);
}

static void a_controller_killed_while_it_applies_goes_on(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_bring_up(sim, spec_with_room(1, 1024));
    sim_living_instance_id(sim, "web", before);
    sim_script(sim, "web", "{\"bootMs\": 500}");
    for (int64_t after_ms = 0; after_ms <= 500; after_ms += 250) {
        sim_up(sim, spec_with_room(2, 1024 + 128 * (uint32_t)(1 + after_ms / 250)));
        sim_advance(sim, after_ms);
        sim_kill(sim);
        sim_start(sim);
        sim_wait(sim, "web", is_synced, 2 * SECOND_MS);
    }
    assert_applied(sim, 2, 1024 + 128 * 3);
    sim_living_instance_id(sim, "web", after);
    assert_string_equal(before, after);
}

static void a_change_that_the_machine_refuses_is_told_and_tried_again(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with_room(1, 1024));
    sim_script(sim, "web", "{\"failBoot\": 3}");
    sim_up(sim, spec_with_room(2, 1024));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_int_equal(sim_state(sim, "web", CONDITION_SYNCED), CONDITION_FALSE);
    assert_int_equal(sim_state(sim, "web", CONDITION_READY), CONDITION_TRUE);
    sim_wait(sim, "web", is_synced, MINUTE_MS);
    sim_settle(sim);
    assert_false(sim_is_stalled(sim, "web"));
    assert_applied(sim, 2, 1024);
}

static void a_running_step_is_not_torn_for_a_change(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"stepMs\": 60000}");
    struct vm_spec *spec = sim_spec_with_steps("web", 1), *larger = vm_spec_copy(spec);
    larger->disk_gib = 9;
    sim_up(sim, spec);
    sim_advance(sim, 10 * SECOND_MS);
    int64_t begun_ms = sim_now(sim);
    sim_up(sim, larger);
    sim_wait(sim, "web", is_synced, 2 * MINUTE_MS);
    assert_true(sim_now(sim) - begun_ms <= 50 * SECOND_MS + SECOND_MS);
}

/* ---- the guest's side of a change ---- */

static struct vm_spec *reached_spec(uint32_t vcpus)
{
    struct vm_spec *spec = sim_spec_with_steps("web", 0);
    spec->vcpus = vcpus;
    spec->memory_mib = 1024;
    spec->max_vcpus = 4;
    return spec;
}

static bool does_guest_use_all(struct sim *sim, const char *name)
{
    struct vm_record record = sim_record(sim, name);
    const struct vm_growth *growth = &record.status->growth;
    bool does = !growth->vcpus && !growth->memory && !growth->disk && !growth->refusal;
    vm_record_clear(&record);
    return does && is_synced(sim, name);
}

/* Waiters wait for it, also when the controller is killed before, while and after it. */
static void the_guest_is_made_to_use_what_was_added(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"growMs\": 5000}");
    sim_bring_up(sim, reached_spec(1));
    assert_int_equal(sim_count_events(sim, "web", REASON_GUEST_GREW), 0);
    sim_up(sim, reached_spec(2));
    for (int i = 0; i < 3; i++) {
        sim_advance(sim, i * 2 * SECOND_MS);
        sim_settle(sim);
        assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_APPLYING);
        assert_true(sim_is_ready(sim, "web"));
        sim_kill(sim);
        sim_start(sim);
    }
    struct vm_record record = sim_record(sim, "web");
    assert_string_equal(record.status->conditions[CONDITION_SYNCED].message,
        "the guest is being made to use the added resources");
    vm_record_clear(&record);
    assert_applied(sim, 2, 1024);
    sim_wait(sim, "web", does_guest_use_all, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_GUEST_GREW), 1);
    sim_advance(sim, HOUR_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_GUEST_GREW), 1);
}

static void a_guest_without_ssh_is_left_alone(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with_room(1, 1024));
    sim_up(sim, spec_with_room(2, 1024));
    sim_wait(sim, "web", is_synced, SECOND_MS);
    sim_advance(sim, HOUR_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_GUEST_GREW), 0);
    assert_int_equal(sim_count_events(sim, "web", REASON_GUEST_NOT_GROWN), 0);
}

/* Reported once, shown as long as it lasts, holds nothing up, and is tried again. */
static void what_the_guest_does_not_use_is_reported_and_tried_again(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"refuseGrowth\": true}");
    sim_bring_up(sim, reached_spec(1));
    sim_up(sim, reached_spec(2));
    sim_wait(sim, "web", is_synced, MINUTE_MS);
    sim_advance(sim, HOUR_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_GUEST_NOT_GROWN), 1);
    struct vm_record record = sim_record(sim, "web");
    assert_string_equal(record.status->conditions[CONDITION_SYNCED].message,
        "the guest does not use all of the added resources: noop: it stays as it is");
    vm_record_clear(&record);
    sim_script(sim, "web", NULL);
    sim_wait(sim, "web", does_guest_use_all, HOUR_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_GUEST_GREW), 1);
}

static void connections_lost_over_it_are_retried_and_in_the_end_reported(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failGrow\": 3}");
    sim_bring_up(sim, reached_spec(1));
    sim_up(sim, reached_spec(2));
    sim_wait(sim, "web", does_guest_use_all, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_GUEST_NOT_GROWN), 0);
    sim_script(
        sim, "web", "{\"failGrow\": 8}"); /* four more: they are counted from the start again */
    sim_up(sim, reached_spec(3));
    sim_wait(sim, "web", does_guest_use_all, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_GUEST_NOT_GROWN), 0);
    sim_script(sim, "web", "{\"failGrow\": 1000}");
    sim_up(sim, reached_spec(4));
    sim_wait(sim, "web", is_synced, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_GUEST_NOT_GROWN), 1);
}

static void a_restart_makes_it_obsolete(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"refuseGrowth\": true}");
    sim_bring_up(sim, reached_spec(1));
    sim_up(sim, reached_spec(2));
    sim_wait(sim, "web", is_synced, MINUTE_MS);
    sim_kill_vm(sim, "web");
    sim_wait(sim, "web", does_guest_use_all, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_GUEST_GREW), 0);
}

/* ---- what others do to the machine ---- */

static void meddle(struct sim *sim)
{
    sim_edit_machine(sim, "web", "isChanged", json_true());
}

static void what_somebody_changed_is_found_and_put_right(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    meddle(sim);
    sim_advance(sim, 16 * MINUTE_MS); /* by the resync, if by nothing else */
    assert_int_equal(sim_count_events(sim, "web", REASON_DRIFT_CORRECTED), 1);
    assert_true(sim_is_ready(sim, "web"));
}

static void what_somebody_changed_without_a_controller_is_found_by_the_next(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_kill(sim);
    meddle(sim);
    sim_start(sim);
    sim_settle(sim);
    assert_int_equal(sim_count_events(sim, "web", REASON_DRIFT_CORRECTED), 1);
}

static void an_up_that_changes_nothing_looks_too(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_advance(sim, MINUTE_MS);
    meddle(sim);
    assert_int_equal(sim_up(sim, sim_spec("web")), CHANGE_UNCHANGED);
    sim_settle(sim);
    assert_int_equal(sim_count_events(sim, "web", REASON_DRIFT_CORRECTED), 1);
}

/* Not Ready until it is on another, and nobody is told that somebody changed something. */
static void a_network_whose_switch_ended_is_told_as_that_and_joined_again(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"bootMs\": 1000}");
    sim_bring_up(sim, sim_spec("web"));
    sim_edit_machine(sim, "web", "isNetworkLost", json_true());
    sim_advance(sim, 16 * MINUTE_MS + 500); /* by the resync, as nothing reports it here */
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_NETWORK_RESTORED), 1);
    assert_int_equal(sim_count_events(sim, "web", REASON_DRIFT_CORRECTED), 0);
}

static void looking_and_finding_all_well_writes_nothing(void **state)
{
    struct sim *sim = *state;
    char before[DIGEST_SIZE], after[DIGEST_SIZE];
    sim_script(sim, "web", "{\"bootMs\": 10}");
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    sim_advance(sim, 20 * MINUTE_MS);
    sim_store_digest(sim, before);
    sim_advance(sim, HOUR_MS);
    sim_store_digest(sim, after);
    assert_string_equal(before, after);
}

static void a_guest_that_somebody_paused_goes_on_and_that_is_told(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_set_run_state(sim, "web", "paused");
    sim_settle(sim);
    assert_true(sim_is_ready(sim, "web"));
    assert_int_equal(sim_count_events(sim, "web", REASON_DRIFT_CORRECTED), 1);
    sim_power(sim, "web", POWER_SUSPENDED);
    sim_wait(sim, "web", sim_is_suspended, MINUTE_MS);
    sim_set_run_state(sim, "web", "running"); /* and one that is to be paused is paused again */
    sim_wait(sim, "web", sim_is_suspended, MINUTE_MS);
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_DRIFT_CORRECTED), 1);
}

/* It may run elsewhere, on its disk: nothing but the user's word ends or restarts it. */
static void a_guest_that_was_sent_away_is_left_alone_and_that_is_told(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_bring_up(sim, sim_spec("web"));
    sim_living_instance_id(sim, "web", before);
    sim_set_run_state(sim, "web", "postmigrate");
    sim_advance(sim, HOUR_MS);
    assert_string_equal(sim_run_state(sim, "web"), "postmigrate");
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_MIGRATED);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_MIGRATED);
    assert_int_equal(sim_count_events(sim, "web", REASON_MIGRATED), 1);
    struct vm_record record = sim_record(sim, "web");
    assert_string_equal(record.status->blocker.code, "vmctl::vm::invalid_state");
    assert_non_null(strstr(record.status->blocker.help, "vmctl restart web"));
    vm_record_clear(&record);
    sim_kill(sim);
    sim_start(sim);
    sim_power(sim, "web", POWER_SUSPENDED);
    sim_power(sim, "web", POWER_RUNNING);
    sim_settle(sim);
    sim_living_instance_id(sim, "web", after);
    assert_string_equal(sim_run_state(sim, "web"), "postmigrate");
    assert_string_equal(after, before);
    sim_power(sim, "web", POWER_STOPPED); /* without letting it run, nor waiting for its grace */
    sim_settle(sim);
    assert_true(sim_is_stopped(sim, "web"));
    record = sim_record(sim, "web");
    assert_string_equal(record.status->restart.last_message, "no guest was running in it");
    vm_record_clear(&record);
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

static void a_guest_that_was_reset_has_to_be_reached_again(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    sim_living_instance_id(sim, "web", before);
    sim_script(sim, "web", "{\"probeMs\": 5000}");
    sim_reset_guest(sim, "web");
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_WAITING_FOR_SSH);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_living_instance_id(sim, "web", after);
    assert_string_equal(before, after);
    sim_reset_guest(sim, "web");
    sim_advance(sim, MINUTE_MS);
    assert_true(sim_is_ready(sim, "web"));
    assert_int_equal(sim_count_events(sim, "web", REASON_GUEST_RESET), 2);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
}

static void a_reset_is_told_of_a_guest_that_nobody_waits_for(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_reset_guest(sim, "web");
    sim_settle(sim);
    assert_true(sim_is_ready(sim, "web"));
    assert_int_equal(sim_count_events(sim, "web", REASON_GUEST_RESET), 1);
}

/* ---- room ---- */

static void a_guest_without_room_waits_for_it_and_goes_on(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_script(sim, "web", "{\"freeMib\": 1}");
    sim_set_run_state(sim, "web", "io-error");
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_NO_SPACE);
    assert_true(sim_is_stalled(sim, "web"));
    sim_advance(sim, 10 * MINUTE_MS);
    assert_string_equal(sim_run_state(sim, "web"), "io-error"); /* not tried in vain */
    sim_script(sim, "web", NULL);
    sim_wait(sim, "web", sim_is_ready, 3 * SECOND_MS);
    sim_settle(sim);
    assert_false(sim_is_stalled(sim, "web"));
}

static void a_guest_without_room_can_be_stopped(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_script(sim, "web", "{\"freeMib\": 1}");
    sim_set_run_state(sim, "web", "io-error");
    sim_settle(sim);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    assert_false(sim_is_stalled(sim, "web"));
}

/* ---- how it stopped ---- */

static void assert_stops(struct sim *sim, const char *script, const char *how)
{
    sim_script(sim, "web", script);
    sim_bring_up(sim, sim_spec("web"));
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, 5 * MINUTE_MS);
    struct vm_record record = sim_record(sim, "web");
    assert_string_equal(record.status->restart.last_message, how);
    assert_string_equal(record.status->conditions[CONDITION_RUNNING].message, how);
    vm_record_clear(&record);
}

static void a_stop_records_how_it_came_about(void **state)
{
    struct sim *sim = *state;
    assert_stops(sim, "{\"powerdownMs\": 2000}", "the guest shut down");
    assert_stops(sim, "{\"ignorePowerdown\": true}",
        "the guest did not shut down in time; the noop machine was stopped");
    assert_stops(sim, "{\"ignorePowerdown\": true, \"ignoreQuit\": true}",
        "the noop machine did not quit and was terminated");
    assert_stops(sim,
        "{\"ignorePowerdown\": true, \"ignoreQuit\": true, \"ignoreTerminate\": true}",
        "the noop machine did not terminate and was killed");
}

/* ---- the host ---- */

/* Asleep, guests and clocks stand still; only the time of day has gone on. */
static void suspend_host(struct sim *sim)
{
    loop_fake_shift_wall(sim->loop, 8 * HOUR_MS);
}

static void a_stop_keeps_its_grace_while_the_host_sleeps(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_script(sim, "web", "{\"ignorePowerdown\": true}");
    int64_t begun_ms = sim_now(sim);
    sim_power(sim, "web", POWER_STOPPED);
    sim_advance(sim, 10 * SECOND_MS);
    suspend_host(sim);
    sim_kill(sim); /* and the next controller does not think otherwise */
    sim_start(sim);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    assert_int_equal(sim_now(sim) - begun_ms, 30 * SECOND_MS);
}

static void a_start_is_not_given_up_because_the_host_slept(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"bootMs\": 15000, \"probeMs\": 60000}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_advance(sim, 10 * SECOND_MS);
    suspend_host(sim);
    sim_advance(sim, 30 * SECOND_MS);
    suspend_host(sim); /* while the guest is waited for */
    sim_advance(sim, SECOND_MS);
    assert_false(sim_is_stalled(sim, "web"));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_RUNNING), 1);
}

static bool is_held_down(struct sim *sim, const char *name)
{
    return sim_is_dead(sim, name) &&
           sim_reason(sim, name, CONDITION_RUNNING) == REASON_GUEST_SHUTDOWN;
}

static void expect_no_failure(struct sim *sim, const char *name)
{
    struct vm_record record = sim_record(sim, name);
    assert_int_equal(record.status->restart.count, 0);
    vm_record_clear(&record);
}

/* Whatever each VM was doing when the power went. */
static void after_a_reboot_every_vm_is_what_it_was_meant_to_be(void **state)
{
    struct sim *sim = *state;
    static const char *const meant_to_run[] = {"running", "starting", "provisioning"};
    sim_bring_up(sim, sim_spec("running"));
    sim_bring_up(sim, sim_spec("suspended"));
    sim_power(sim, "suspended", POWER_SUSPENDED);
    sim_wait(sim, "suspended", sim_is_suspended, MINUTE_MS);
    sim_bring_up(sim, sim_spec("stopped"));
    sim_power(sim, "stopped", POWER_STOPPED);
    sim_wait(sim, "stopped", sim_is_stopped, MINUTE_MS);
    sim_bring_up(sim, sim_spec("off"));
    sim_set_run_state(sim, "off", "shutdown");
    sim_wait(sim, "off", is_held_down, MINUTE_MS);
    sim_bring_up(sim, sim_spec("stopping"));
    sim_script(sim, "stopping", "{\"ignorePowerdown\": true}");
    sim_power(sim, "stopping", POWER_STOPPED);
    sim_script(sim, "provisioning", "{\"stepMs\": 60000}");
    sim_up(sim, sim_spec_with_steps("provisioning", 2));
    sim_advance(sim, 5 * SECOND_MS);
    sim_script(sim, "starting", "{\"bootMs\": 1000}");
    sim_up(sim, sim_spec("starting"));
    sim_advance(sim, 500);
    sim_reboot_host(sim);
    loop_fake_shift_wall(sim->loop, HOUR_MS);
    sim_start(sim);
    for (size_t i = 0; i < ARRAY_LEN(meant_to_run); i++) {
        sim_wait(sim, meant_to_run[i], sim_is_ready, 5 * MINUTE_MS);
        expect_no_failure(sim, meant_to_run[i]);
    }
    sim_wait(sim, "suspended", sim_is_suspended, MINUTE_MS);
    sim_wait(sim, "stopped", sim_is_stopped, MINUTE_MS);
    sim_wait(sim, "stopping", sim_is_stopped, MINUTE_MS);
    assert_true(is_held_down(sim, "off"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(what_there_is_room_for_needs_no_restart),
        SIM_TEST(a_change_made_while_the_last_one_is_applied_is_not_lost),
        SIM_TEST(a_controller_killed_while_it_applies_goes_on),
        SIM_TEST(a_change_that_the_machine_refuses_is_told_and_tried_again),
        SIM_TEST(a_running_step_is_not_torn_for_a_change),
        SIM_TEST(the_guest_is_made_to_use_what_was_added),
        SIM_TEST(a_guest_without_ssh_is_left_alone),
        SIM_TEST(what_the_guest_does_not_use_is_reported_and_tried_again),
        SIM_TEST(connections_lost_over_it_are_retried_and_in_the_end_reported),
        SIM_TEST(a_restart_makes_it_obsolete),
        SIM_TEST(what_somebody_changed_is_found_and_put_right),
        SIM_TEST(a_network_whose_switch_ended_is_told_as_that_and_joined_again),
        SIM_TEST(what_somebody_changed_without_a_controller_is_found_by_the_next),
        SIM_TEST(an_up_that_changes_nothing_looks_too),
        SIM_TEST(looking_and_finding_all_well_writes_nothing),
        SIM_TEST(a_guest_that_somebody_paused_goes_on_and_that_is_told),
        SIM_TEST(a_guest_that_was_sent_away_is_left_alone_and_that_is_told),
        SIM_TEST(a_guest_that_was_reset_has_to_be_reached_again),
        SIM_TEST(a_reset_is_told_of_a_guest_that_nobody_waits_for),
        SIM_TEST(a_guest_without_room_waits_for_it_and_goes_on),
        SIM_TEST(a_guest_without_room_can_be_stopped),
        SIM_TEST(a_stop_records_how_it_came_about),
        SIM_TEST(a_stop_keeps_its_grace_while_the_host_sleeps),
        SIM_TEST(a_start_is_not_given_up_because_the_host_slept),
        SIM_TEST(after_a_reboot_every_vm_is_what_it_was_meant_to_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

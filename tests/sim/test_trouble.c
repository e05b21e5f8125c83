/* SPDX-License-Identifier: MPL-2.0 */
/* What the world does to VMs and to the controller, and what becomes of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "store/batch.h"
#include "tests/sim/sim.h"
#include "tests/support/loop_fake.h"

static struct vm_spec *spec_with_restart(enum restart_policy restart)
{
    struct vm_spec *spec = sim_spec("web");
    spec->restart = restart;
    return spec;
}

/* Until the machine that dies now lives again. */
static int64_t time_to_restart(struct sim *sim)
{
    int64_t start_ms = sim_now(sim);
    sim_kill_vm(sim, "web");
    sim_wait(sim, "web", sim_is_alive, 2 * MINUTE_MS);
    int64_t took_ms = sim_now(sim) - start_ms;
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_settle(sim);
    return took_ms;
}

/* ---- guests that end ---- */

static void a_guest_that_powers_off_stays_off_until_up(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_set_run_state(sim, "web", "shutdown");
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    sim_advance(sim, 60 * MINUTE_MS);
    assert_false(sim_is_alive(sim, "web"));
    assert_int_equal(sim_reason(sim, "web", CONDITION_RUNNING), REASON_GUEST_SHUTDOWN);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_GUEST_SHUTDOWN);
    assert_int_equal(sim_up(sim, sim_spec("web")), CHANGE_STARTED);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

static bool is_down_for_memory(struct sim *sim, const char *name)
{
    return sim_reason(sim, name, CONDITION_RUNNING) == REASON_OOM_KILLED;
}

/* Also where the controller was killed between the kill and its look. */
static void one_that_the_kernel_killed_for_its_memory_says_so(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with_restart(RESTART_NEVER));
    sim_kill(sim);
    sim_script(sim, "web", "{\"oomKilled\": true}");
    sim_kill_vm(sim, "web");
    sim_start(sim);
    sim_wait(sim, "web", is_down_for_memory, MINUTE_MS);
    sim_advance(sim, 10 * MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_OOM_KILLED);
    assert_int_equal(sim_count_events(sim, "web", REASON_OOM_KILLED), 1);
    struct vm_record record = sim_record(sim, "web");
    assert_non_null(strstr(record.status->blocker.help, "raise `memory-limit`"));
    vm_record_clear(&record);
    sim_script(sim, "web", NULL);
    assert_int_equal(sim_up(sim, spec_with_restart(RESTART_NEVER)), CHANGE_STARTED);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

static void one_that_the_kernel_kills_each_time_is_a_crash_loop(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with_restart(RESTART_ON_FAILURE));
    sim_script(sim, "web", "{\"oomKilled\": true}");
    for (int i = 0; i < 2; i++) {
        (void)time_to_restart(sim);
    }
    sim_kill_vm(sim, "web");
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    struct vm_record record = sim_record(sim, "web");
    assert_non_null(strstr(record.status->blocker.message, "OOMKilled"));
    assert_non_null(strstr(record.status->blocker.help, "raise `memory-limit`"));
    vm_record_clear(&record);
    assert_int_equal(sim_count_events(sim, "web", REASON_OOM_KILLED), 3);
}

static void up_while_the_guest_powers_off_starts_it_again(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_script(sim, "web", "{\"ignoreQuit\": true}");
    sim_set_run_state(sim, "web", "shutdown");
    sim_advance(sim, SECOND_MS);
    assert_true(sim_is_alive(sim, "web"));
    assert_int_equal(sim_up(sim, sim_spec("web")), CHANGE_STARTED);
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

static void a_restart_asked_for_while_the_guest_powers_off_is_done(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_kill(sim);
    sim_set_run_state(sim, "web", "shutdown");
    sim_change(sim, &(struct change){.name = "web", .restarts = true});
    sim_start(sim);
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

static void a_guest_that_powers_off_is_started_by_restart_always(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with_restart(RESTART_ALWAYS));
    sim_set_run_state(sim, "web", "shutdown");
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

static void a_guest_that_panics_is_started_again_unless_never(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_set_run_state(sim, "web", "guest-panicked");
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_up(sim, spec_with_restart(RESTART_NEVER));
    sim_settle(sim);
    sim_set_run_state(sim, "web", "guest-panicked");
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    sim_advance(sim, 10 * MINUTE_MS);
    assert_false(sim_is_alive(sim, "web"));
    assert_int_equal(sim_reason(sim, "web", CONDITION_RUNNING), REASON_GUEST_PANICKED);
}

static void a_paused_guest_is_resumed_and_an_io_error_retried(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_set_run_state(sim, "web", "paused");
    sim_settle(sim);
    assert_true(sim_is_ready(sim, "web"));
    sim_advance(sim, MINUTE_MS);
    sim_set_run_state(sim, "web", "io-error");
    sim_settle(sim);
    assert_true(sim_is_ready(sim, "web"));
    sim_set_run_state(sim, "web", "io-error");
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_IO_ERROR);
    sim_advance(sim, 30 * SECOND_MS);
    assert_true(sim_is_ready(sim, "web"));
}

/* ---- processes that die ---- */

static void assert_between(int64_t value, int64_t low, int64_t high)
{
    if (value < low || value > high) {
        fail_msg("%lld is not in %lld … %lld", (long long)value, (long long)low, (long long)high);
    }
}

static void a_dead_process_is_started_at_once_then_by_backoff(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    assert_int_equal(time_to_restart(sim), 0);
    for (int64_t base_ms = 1000; base_ms < 60000; base_ms *= 2) {
        assert_between(time_to_restart(sim), base_ms, base_ms * 5 / 4);
    }
    assert_between(time_to_restart(sim), 60000, 75000);
    assert_between(time_to_restart(sim), 60000, 75000);
    sim_advance(sim, 10 * MINUTE_MS); /* so long undisturbed counts as healed */
    assert_int_equal(time_to_restart(sim), 0);
}

static uint32_t restart_total(struct sim *sim)
{
    struct vm_record record = sim_record(sim, "web");
    uint32_t total = record.status->restart.total;
    vm_record_clear(&record);
    return total;
}

static void starts_that_nobody_requested_are_counted_for_good(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    assert_int_equal(restart_total(sim), 0);
    time_to_restart(sim);
    time_to_restart(sim);
    assert_int_equal(restart_total(sim), 2);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(restart_total(sim), 2);
    sim_kill_vm(sim, "web"); /* and stopped before it is started again */
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(restart_total(sim), 2);
    sim_change(sim, &(struct change){.name = "web", .restarts = true});
    sim_settle(sim);
    assert_true(sim_is_ready(sim, "web"));
    assert_int_equal(restart_total(sim), 2);
    sim_reboot_host(sim);
    sim_start(sim);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(restart_total(sim), 3);
}

static void a_crash_loop_is_visible_and_stop_cuts_through(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    for (int i = 0; i < 5; i++) {
        time_to_restart(sim);
    }
    sim_kill_vm(sim, "web");
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_RUNNING), REASON_CRASH_LOOP_BACK_OFF);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_CRASH_LOOP_BACK_OFF);
    sim_power(sim, "web", POWER_STOPPED);
    sim_settle(sim);
    assert_true(sim_is_stopped(sim, "web"));
    assert_false(sim_is_stalled(sim, "web"));
}

static void up_ends_a_crash_loops_wait(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    for (int i = 0; i < 5; i++) {
        time_to_restart(sim);
    }
    sim_kill_vm(sim, "web");
    sim_settle(sim);
    assert_int_equal(sim_up(sim, sim_spec("web")), CHANGE_REQUESTED);
    sim_settle(sim);
    assert_true(sim_is_ready(sim, "web"));
}

static void a_crash_loops_wait_survives_the_controller_but_not_a_clock_set_back(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    for (int i = 0; i < 6; i++) {
        time_to_restart(sim);
    }
    sim_kill_vm(sim, "web");
    sim_settle(sim);
    sim_kill(sim);
    sim_start(sim);
    sim_advance(sim, 31 * SECOND_MS);
    assert_false(sim_is_alive(sim, "web"));
    loop_fake_shift_wall(sim->loop, INT64_C(-86400000) * 365);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

static void a_qemu_that_never_answers_is_given_up(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"silent\": true}");
    sim_up(sim, sim_spec("web"));
    int64_t start_ms = sim_now(sim);
    sim_wait(sim, "web", sim_is_alive, MINUTE_MS);
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    assert_between(sim_now(sim) - start_ms, 20 * SECOND_MS, 30 * SECOND_MS);
    sim_wait(sim, "web", sim_is_stalled, 5 * MINUTE_MS);
    sim_script(sim, "web", NULL);
    sim_wait(sim, "web", sim_is_ready, 5 * MINUTE_MS);
}

static void a_running_vm_that_falls_silent_is_left_alone(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_bring_up(sim, sim_spec("web"));
    sim_living_instance_id(sim, "web", before);
    sim_script(sim, "web", "{\"silent\": true}");
    sim_set_run_state(sim, "web", "running");
    sim_advance(sim, 60 * MINUTE_MS);
    sim_living_instance_id(sim, "web", after);
    assert_string_equal(before, after);
    sim_script(sim, "web", NULL);
    sim_advance(sim, 10 * SECOND_MS);
    assert_true(sim_is_ready(sim, "web"));
}

static void a_launch_that_fails_is_told_and_tried_again(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failLaunch\": 2, \"failBoot\": 2}");
    sim_up(sim, sim_spec("web"));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_RUNNING), REASON_SPAWN_FAILED);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_settle(sim);
    assert_false(sim_is_stalled(sim, "web"));
    struct vm_record record = sim_record(sim, "web");
    assert_null(record.status->blocker.code);
    assert_int_equal(record.status->restart.count, 0);
    vm_record_clear(&record);
}

static void a_start_that_is_called_off_is_no_failure(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"launchMs\": 5000}");
    sim_up(sim, sim_spec("web"));
    sim_advance(sim, SECOND_MS);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, SECOND_MS);
    struct vm_record record = sim_record(sim, "web");
    assert_int_equal(record.status->restart.count, 0);
    assert_int_equal(record.status->restart.last_cause, EXIT_BY_USER);
    vm_record_clear(&record);
}

/* Its results go where they were meant to go, whatever else wakes the VM meanwhile. */
static void looking_again_does_not_disturb_what_is_under_way(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web",
        "{\"fetchMs\": 1000, \"prepareMs\": 1000, \"launchMs\": 1000, \"bootMs\": 1000}");
    sim_up(sim, sim_spec("web"));
    int64_t start_ms = sim_now(sim);
    for (int i = 0; i < 40; i++) {
        sim_advance(sim, 110);
        sim_lose_file(sim, "web", "nothing"); /* wakes it */
    }
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    struct vm_record record = sim_record(sim, "web");
    assert_string_equal(record.status->prepared.image_path, "/images/base.qcow2");
    assert_int_not_equal(record.status->prepared.image_id[0], '\0');
    vm_record_clear(&record);
    assert_int_equal(sim_now(sim) - start_ms, 40 * 110);
    assert_int_equal(sim_count_events(sim, "web", REASON_RUNNING), 1);
}

/* The operation of a machine that died must not do its part to the next one. */
static void a_boot_is_called_off_with_its_machine(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"bootMs\": 5000}");
    sim_up(sim, sim_spec("web"));
    int64_t start_ms = sim_now(sim);
    sim_advance(sim, SECOND_MS);
    sim_kill_vm(sim, "web");
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(sim_now(sim) - start_ms, 6 * SECOND_MS);
}

/* ---- guests that do not answer ---- */

static void an_unreachable_guest_is_stalled_after_two_minutes_and_still_probed(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failProbe\": 1000000}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    int64_t start_ms = sim_now(sim);
    sim_wait(sim, "web", sim_is_stalled, 3 * MINUTE_MS);
    assert_between(sim_now(sim) - start_ms, 2 * MINUTE_MS, 2 * MINUTE_MS + 2 * SECOND_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_GUEST_REACHABLE), REASON_SSH_TIMEOUT);
    sim_script(sim, "web", NULL);
    sim_wait(sim, "web", sim_is_ready, 2 * SECOND_MS);
    assert_false(sim_is_stalled(sim, "web"));
}

/* Slow logins of a busy guest count, too: the first begins when the guest first answers. */
static void a_guest_that_refuses_is_stalled_within_half_a_minute_of_its_first_answer(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failProbe\": 1000000, \"refuseLogin\": true, \"probeMs\": 6000}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    int64_t start_ms = sim_now(sim);
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_between(sim_now(sim) - start_ms, 25 * SECOND_MS, 30 * SECOND_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_AUTH_FAILED);
}

/* Else a wait that begins after the correction meets the refusal of before it. */
static void a_login_under_way_does_not_outlive_what_it_was_begun_for(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failProbe\": 1000000, \"refuseLogin\": true, \"probeMs\": 6000}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    sim_advance(sim, 3 * SECOND_MS);
    sim_script(sim, "web", NULL);
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_wait(sim, "web", sim_is_ready, SECOND_MS);
}

static void a_step_goes_on_while_qmp_is_silent(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"stepMs\": 60000}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    int64_t start_ms = sim_now(sim);
    sim_advance(sim, 10 * SECOND_MS);
    sim_script(sim, "web", "{\"silent\": true}");
    sim_set_run_state(sim, "web", "running");
    sim_advance(sim, 10 * SECOND_MS);
    sim_script(sim, "web", NULL);
    sim_wait(sim, "web", sim_is_ready, 2 * MINUTE_MS);
    assert_int_equal(sim_now(sim) - start_ms, MINUTE_MS);
}

static uint32_t step_tries(struct sim *sim)
{
    struct vm_record record = sim_record(sim, "web");
    uint32_t tries = record.status->provision.run.tries;
    vm_record_clear(&record);
    return tries;
}

static void a_step_that_loses_its_connection_is_gone_on_with(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failStep\": 5, \"loseConnection\": true, \"stepMs\": 1000}");
    sim_up(sim, sim_spec_with_steps("web", 2));
    sim_advance(sim, 3500);
    assert_int_equal(step_tries(sim), 0); /* the same run */
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_INTERRUPTED), 5);
    assert_int_equal(sim_reason(sim, "web", CONDITION_PROVISIONED), REASON_PROVISIONED);
}

static bool is_retrying(struct sim *sim, const char *name)
{
    return sim_reason(sim, name, CONDITION_PROVISIONED) == REASON_RETRYING;
}

static void a_step_that_is_lost_is_run_again(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failStep\": 2, \"loseStep\": true, \"stepMs\": 1000}");
    sim_up(sim, sim_spec_with_steps("web", 2));
    sim_wait(sim, "web", is_retrying, MINUTE_MS);
    assert_false(sim_is_stalled(sim, "web"));
    assert_int_equal(step_tries(sim), 1); /* another run */
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_INTERRUPTED), 2);
    assert_int_equal(sim_reason(sim, "web", CONDITION_PROVISIONED), REASON_PROVISIONED);
}

/* As one that reboots the guest does. */
static void a_step_that_is_always_lost_is_given_up(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failStep\": 1000000, \"loseStep\": true}");
    sim_up(sim, sim_spec_with_steps("web", 2));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    sim_advance(sim, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_INTERRUPTED), 3);
    assert_int_equal(sim_reason(sim, "web", CONDITION_PROVISIONED), REASON_INTERRUPTED);
    assert_true(sim_is_stalled(sim, "web"));
}

static void a_lost_step_that_may_run_only_once_is_left_to_the_user(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = sim_spec_with_steps("web", 1);
    spec->steps[0].run = RUN_ONCE;
    sim_script(sim, "web", "{\"failStep\": 1, \"loseStep\": true}");
    sim_up(sim, spec);
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_INTERRUPTED), 1);
    struct vm_record record = sim_record(sim, "web");
    assert_string_equal(record.status->blocker.code, error_code_name(ERR_PROVISION_LOST));
    assert_int_equal(record.status->provision.steps[0].outcome, STEP_INTERRUPTED);
    vm_record_clear(&record);
    sim_change(sim, &(struct change){.name = "web", .provision = PROVISION_AGAIN});
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

static void a_guest_that_never_keeps_a_connection_is_given_up(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failStep\": 1000000, \"loseConnection\": true}");
    sim_up(sim, sim_spec_with_steps("web", 2));
    sim_wait(sim, "web", sim_is_stalled, 5 * MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_INTERRUPTED), 20);
}

static void the_intent_to_run_a_step_is_recorded_before_and_kept_by_the_next_controller(
    void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"stepMs\": 60000}");
    sim_up(sim, sim_spec_with_steps("web", 2));
    sim_advance(sim, 10 * SECOND_MS);
    struct vm_record before = sim_record(sim, "web");
    assert_string_equal(
        before.status->provision.run.instance_id, before.status->instance.instance_id);
    sim_kill(sim);
    sim_start(sim);
    sim_advance(sim, SECOND_MS);
    struct vm_record after = sim_record(sim, "web");
    assert_string_equal(
        after.status->provision.run.instance_id, before.status->provision.run.instance_id);
    assert_int_equal(
        after.status->provision.run.started_at_ms, before.status->provision.run.started_at_ms);
    sim_script(sim, "web", NULL);
    sim_wait(sim, "web", sim_is_ready, 2 * MINUTE_MS);
    vm_record_clear(&before);
    vm_record_clear(&after);
}

static void lose_record(struct sim *sim, const char *name)
{
    struct vm_record record = sim_record(sim, name);
    struct store_batch *batch = store_batch_new();
    struct error err = {.code = ERR_NONE};
    store_batch_forget_vm(batch, name, record.desired->uid);
    assert_int_equal(store_commit(sim->store, batch, &err), 0);
    store_batch_free(batch);
    vm_record_clear(&record);
}

/* The store was lost and the user applied the VMFile again: nobody knows the machine's ports. */
static void a_running_machine_without_a_record_is_started_anew_on_its_disk(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_up(sim, sim_spec_with_steps("web", 2));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_living_instance_id(sim, "web", before);
    int64_t disk = sim_disk_birth(sim, "web");
    sim_kill(sim);
    lose_record(sim, "web");
    sim_start(sim);
    sim_up(sim, sim_spec_with_steps("web", 2));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_living_instance_id(sim, "web", after);
    assert_string_not_equal(before, after);
    assert_int_equal(sim_disk_birth(sim, "web"), disk);
    assert_int_equal(sim_count_events(sim, "web", REASON_DRIFT_CORRECTED), 1);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 2);
    sim_delete(sim, "web");
    sim_wait(sim, "web", sim_is_gone, MINUTE_MS);
}

/* ---- ports ---- */

static void an_ssh_port_taken_by_another_program_is_changed(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"takenPorts\": 3}");
    sim_up(sim, sim_spec_with_steps("web", 0));
    sim_wait(sim, "web", sim_is_ready, SECOND_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_PORT_CONFLICT), 3);
    assert_int_equal(sim_count_leases(sim), 1);
}

static void ports_that_are_all_taken_stall_the_vm(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"takenPorts\": 1000000}");
    sim_up(sim, sim_spec_with_steps("web", 0));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    sim_advance(sim, MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_RUNNING), REASON_PORT_CONFLICT);
    assert_true(sim_count_events(sim, "web", REASON_PORT_CONFLICT) < 100);
    assert_int_equal(sim_count_leases(sim), 1);
}

/* ---- images and files ---- */

static void an_image_that_fails_is_tried_again_until_it_is_repaired(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failFetch\": 1}");
    sim_up(sim, sim_spec("web"));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_IMAGE_READY), REASON_DOWNLOAD_BACK_OFF);
    assert_true(sim_count_events(sim, "web", REASON_DOWNLOAD_BACK_OFF) >= 3);
    sim_script(sim, "web", NULL);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_false(sim_is_stalled(sim, "web"));
}

/* Its own image is on its way for hours; the other VM fails at once. */
static void a_dependency_that_failed_stalls_also_what_is_not_prepared_yet(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *web = sim_spec("web");
    web->depends_on = mem_new(char *);
    web->depends_on[0] = mem_strdup("db");
    web->n_depends_on = 1;
    sim_script(sim, "web", "{\"fetchMs\": 36000000}");
    sim_script(sim, "db", "{\"failLaunch\": 1000000}");
    sim_up(sim, web);
    sim_up(sim, sim_spec("db"));
    sim_wait(sim, "web", sim_is_stalled, 10 * SECOND_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_WAITING_FOR_DEPENDENCY);
    sim_script(sim, "db", NULL);
    sim_up(sim, sim_spec("db"));
    sim_wait(sim, "db", sim_is_ready, SECOND_MS);
    sim_advance(sim, 2 * SECOND_MS);
    assert_false(sim_is_stalled(sim, "web"));
    sim_power(sim, "db", POWER_STOPPED); /* a VM that is not meant to run does not wait */
    sim_power(sim, "web", POWER_STOPPED);
    sim_advance(sim, 2 * SECOND_MS);
    assert_false(sim_is_stalled(sim, "web"));
}

static bool has_recreate_failure(struct sim *sim, const char *name)
{
    struct vm_record record = sim_record(sim, name);
    bool ret = record.status->recreate_failure.code != NULL;
    vm_record_clear(&record);
    return ret;
}

/* It is kept as a request; what is in the way of the VM itself is what it is stalled on. */
static void a_new_disk_that_cannot_be_made_is_no_obstacle_to_the_vm(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    int64_t birth = sim_disk_birth(sim, "web");
    sim_script(sim, "web", "{\"failFetch\": 1000000}");
    sim_change(sim, &(struct change){.name = "web", .recreates = true});
    sim_wait(sim, "web", has_recreate_failure, MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_DOWNLOAD_BACK_OFF);
    sim_change(sim, &(struct change){.name = "web", .restarts = true, .retries = true});
    sim_settle(sim);
    assert_false(has_recreate_failure(sim, "web"));
    sim_wait(sim, "web", has_recreate_failure, MINUTE_MS);
    sim_wait(sim, "web", sim_is_ready, SECOND_MS);
    sim_script(sim, "web", "{\"failFetch\": 1000000, \"failLaunch\": 1000000}");
    sim_change(sim, &(struct change){.name = "web", .restarts = true, .retries = true});
    sim_settle(sim);
    sim_wait(sim, "web", has_recreate_failure, MINUTE_MS);
    sim_advance(sim, SECOND_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_SPAWN_FAILED);
    assert_int_equal(sim_disk_birth(sim, "web"), birth);
    sim_script(sim, "web", NULL);
    sim_up(sim, sim_spec("web"));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_false(has_recreate_failure(sim, "web"));
    assert_int_not_equal(sim_disk_birth(sim, "web"), birth);
}

static void up_tries_a_stalled_vm_again_at_once(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failPrepare\": 1}");
    sim_up(sim, sim_spec("web"));
    sim_advance(sim, 30 * MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_OVERLAY_FAILED);
    sim_script(sim, "web", NULL);
    assert_int_equal(sim_up(sim, sim_spec("web")), CHANGE_REQUESTED);
    sim_settle(sim);
    assert_true(sim_is_ready(sim, "web"));
}

static void a_base_that_changed_under_the_disk_is_refused(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_script(sim, "web", "{\"imageChanged\": true}");
    sim_kill_vm(sim, "web");
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    sim_advance(sim, MINUTE_MS);
    assert_false(sim_is_alive(sim, "web"));
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_BACKING_IMAGE_CHANGED);
    sim_script(sim, "web", NULL);
    sim_up(sim, sim_spec("web"));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

static void blocker_that_goes_away_by_itself_is_not_told_any_longer(void **state)
{
    struct sim *sim = *state;
    struct error err = {.code = ERR_NONE};
    struct vm_spec *spec = sim_spec("web");
    cleanup_free char *disk = mem_printf("%s/vms/web/noop.disk", sim->paths.data_dir);
    sim_change(sim, &(struct change){.name = "web", .spec = spec, .wants_prepared = true});
    vm_spec_free(spec);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    sim_advance(sim, SECOND_MS);
    sim_script(sim, "web", "{\"failPrepare\": 1}");
    sim_lose_file(sim, "web", "noop.disk");
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_int_equal(fs_write_file(disk, "1\n", 2, 0600, &err), 0);
    sim_advance(sim, MINUTE_MS);
    assert_false(sim_is_stalled(sim, "web"));
    assert_int_equal(sim_reason(sim, "web", CONDITION_PREPARED), REASON_PREPARED);
}

static void a_directory_without_a_record_is_moved_aside(void **state)
{
    struct sim *sim = *state;
    struct error err = {.code = ERR_NONE};
    sim_bring_up(sim, sim_spec("web"));
    sim_kill(sim);
    cleanup_free char *dir = paths_vm(&sim->paths, "lost", VM_DIR);
    cleanup_free char *quarantine = paths_path(&sim->paths, "quarantine");
    assert_int_equal(fs_make_dirs(dir, 0700, &err), 0);
    sim_start(sim);
    sim_advance(sim, SECOND_MS);
    assert_false(sim_has_dir(sim, "lost"));
    struct stat st;
    assert_int_equal(stat(quarantine, &st), 0);
    assert_int_equal(st.st_nlink, 3); /* ".", its name, and the ".." of what was moved in */
    assert_true(sim_is_gone(sim, "lost"));
}

static void lose_store(struct sim *sim)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = paths_path(&sim->paths, "store");
    sim_kill(sim);
    store_close(TAKE_PTR(sim->store));
    assert_int_equal(fs_remove_tree(path, &err), 0);
    assert_int_equal(store_open(&sim->paths, &sim->store, &err), 0);
}

/* Also once the first of them is in the new store. */
static void the_directories_of_a_store_that_was_lost_stay_where_they_are(void **state)
{
    struct sim *sim = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_free char *mark = paths_path(&sim->paths, "vms/web/mark");
    cleanup_free char *web = paths_vm(&sim->paths, "web", VM_DIR);
    cleanup_free char *db = paths_vm(&sim->paths, "db", VM_DIR);
    assert_int_equal(fs_make_dirs(web, 0700, &err), 0);
    assert_int_equal(fs_make_dirs(db, 0700, &err), 0);
    assert_int_equal(fs_write_file(mark, "1\n", 2, 0600, &err), 0);
    lose_store(sim);
    sim_start(sim);
    sim_advance(sim, MINUTE_MS);
    assert_true(sim_has_dir(sim, "web"));
    assert_true(sim_has_dir(sim, "db"));
    sim_bring_up(sim, sim_spec("web"));
    assert_true(fs_exists(mark));
    sim_kill(sim);
    sim_start(sim);
    sim_advance(sim, MINUTE_MS);
    assert_true(sim_has_dir(sim, "db"));
}

/* ---- controllers and hosts that die ---- */

static void a_running_vm_survives_the_controller(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    sim_living_instance_id(sim, "web", before);
    for (int i = 0; i < 20; i++) {
        sim_kill(sim);
        sim_start(sim);
        sim_advance(sim, i);
    }
    sim_advance(sim, MINUTE_MS);
    sim_living_instance_id(sim, "web", after);
    assert_string_equal(before, after);
    assert_true(sim_is_ready(sim, "web"));
    assert_int_equal(sim_count_events(sim, "web", REASON_RUNNING), 1);
}

static void a_controller_killed_at_any_moment_of_a_start_finishes_it(void **state)
{
    struct sim *sim = *state;
    char name[16];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "vm-%d", i);
        sim_script(sim, name,
            "{\"fetchMs\": 10, \"prepareMs\": 10, \"launchMs\": 10, \"bootMs\": 10, \"probeMs\": "
            "10,"
            " \"stepMs\": 10}");
        sim_up(sim, sim_spec_with_steps(name, 1));
        sim_advance(sim, i * 2);
        sim_kill(sim);
        sim_check(sim);
        sim_start(sim);
        sim_wait(sim, name, sim_is_ready, MINUTE_MS);
        assert_int_equal(sim_count_events(sim, name, REASON_RUNNING), 1);
    }
}

static void a_stop_ladder_goes_on_where_the_killed_controller_left_it(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_script(sim, "web", "{\"ignorePowerdown\": true}");
    int64_t start_ms = sim_now(sim);
    sim_power(sim, "web", POWER_STOPPED);
    sim_advance(sim, 12 * SECOND_MS);
    sim_kill(sim);
    sim_advance(sim, 5 * SECOND_MS);
    sim_start(sim);
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    assert_int_equal(sim_now(sim) - start_ms, 30 * SECOND_MS);
}

static void what_happened_while_no_controller_ran_is_found(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_kill(sim);
    sim_set_run_state(sim, "web", "shutdown");
    sim_start(sim);
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    sim_advance(sim, MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_RUNNING), REASON_GUEST_SHUTDOWN);
    sim_kill(sim);
    assert_int_equal(sim_up(sim, sim_spec("web")), CHANGE_STARTED);
    sim_start(sim);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

static void a_reboot_of_the_host_voids_instances_and_starts_vms_again(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_bring_up(sim, sim_spec("web"));
    sim_living_instance_id(sim, "web", before);
    sim_reboot_host(sim);
    sim_start(sim);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_living_instance_id(sim, "web", after);
    assert_string_not_equal(before, after);
    struct vm_record record = sim_record(sim, "web");
    assert_int_equal(record.status->restart.last_cause, EXIT_HOST_REBOOT);
    assert_int_equal(record.status->restart.count, 0);
    vm_record_clear(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(a_guest_that_powers_off_stays_off_until_up),
        SIM_TEST(up_while_the_guest_powers_off_starts_it_again),
        SIM_TEST(a_restart_asked_for_while_the_guest_powers_off_is_done),
        SIM_TEST(a_guest_that_powers_off_is_started_by_restart_always),
        SIM_TEST(a_guest_that_panics_is_started_again_unless_never),
        SIM_TEST(a_paused_guest_is_resumed_and_an_io_error_retried),
        SIM_TEST(a_dead_process_is_started_at_once_then_by_backoff),
        SIM_TEST(starts_that_nobody_requested_are_counted_for_good),
        SIM_TEST(a_crash_loop_is_visible_and_stop_cuts_through),
        SIM_TEST(one_that_the_kernel_killed_for_its_memory_says_so),
        SIM_TEST(one_that_the_kernel_kills_each_time_is_a_crash_loop),
        SIM_TEST(up_ends_a_crash_loops_wait),
        SIM_TEST(a_crash_loops_wait_survives_the_controller_but_not_a_clock_set_back),
        SIM_TEST(a_qemu_that_never_answers_is_given_up),
        SIM_TEST(a_running_vm_that_falls_silent_is_left_alone),
        SIM_TEST(a_launch_that_fails_is_told_and_tried_again),
        SIM_TEST(a_start_that_is_called_off_is_no_failure),
        SIM_TEST(looking_again_does_not_disturb_what_is_under_way),
        SIM_TEST(a_boot_is_called_off_with_its_machine),
        SIM_TEST(an_unreachable_guest_is_stalled_after_two_minutes_and_still_probed),
        SIM_TEST(a_guest_that_refuses_is_stalled_within_half_a_minute_of_its_first_answer),
        SIM_TEST(a_login_under_way_does_not_outlive_what_it_was_begun_for),
        SIM_TEST(a_step_goes_on_while_qmp_is_silent),
        SIM_TEST(a_step_that_loses_its_connection_is_gone_on_with),
        SIM_TEST(a_step_that_is_lost_is_run_again),
        SIM_TEST(a_lost_step_that_may_run_only_once_is_left_to_the_user),
        SIM_TEST(a_guest_that_never_keeps_a_connection_is_given_up),
        SIM_TEST(the_intent_to_run_a_step_is_recorded_before_and_kept_by_the_next_controller),
        SIM_TEST(a_running_machine_without_a_record_is_started_anew_on_its_disk),
        SIM_TEST(a_step_that_is_always_lost_is_given_up),
        SIM_TEST(an_ssh_port_taken_by_another_program_is_changed),
        SIM_TEST(ports_that_are_all_taken_stall_the_vm),
        SIM_TEST(an_image_that_fails_is_tried_again_until_it_is_repaired),
        SIM_TEST(a_dependency_that_failed_stalls_also_what_is_not_prepared_yet),
        SIM_TEST(a_new_disk_that_cannot_be_made_is_no_obstacle_to_the_vm),
        SIM_TEST(up_tries_a_stalled_vm_again_at_once),
        SIM_TEST(a_base_that_changed_under_the_disk_is_refused),
        SIM_TEST(blocker_that_goes_away_by_itself_is_not_told_any_longer),
        SIM_TEST(a_directory_without_a_record_is_moved_aside),
        SIM_TEST(the_directories_of_a_store_that_was_lost_stay_where_they_are),
        SIM_TEST(a_running_vm_survives_the_controller),
        SIM_TEST(a_controller_killed_at_any_moment_of_a_start_finishes_it),
        SIM_TEST(a_stop_ladder_goes_on_where_the_killed_controller_left_it),
        SIM_TEST(what_happened_while_no_controller_ran_is_found),
        SIM_TEST(a_reboot_of_the_host_voids_instances_and_starts_vms_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

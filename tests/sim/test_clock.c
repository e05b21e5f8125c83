/* SPDX-License-Identifier: MPL-2.0 */
/* A guest that stood still: when its clock is set, and what is reported when it cannot be. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"
#include "tests/support/loop_fake.h"

static bool is_clock_right(struct sim *sim, const char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, name);
    return !record.status->clock.is_due;
}

static void pause_and_resume(struct sim *sim)
{
    sim_power(sim, "web", POWER_SUSPENDED);
    sim_wait(sim, "web", sim_is_suspended, MINUTE_MS);
    assert_false(is_clock_right(sim, "web"));
    sim_power(sim, "web", POWER_RUNNING);
}

/* Every time again, and of a right clock nothing is said. */
static void a_resumed_guest_gets_its_clock_set(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"clockOffMs\": -7300}");
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_SET), 0);
    for (unsigned i = 1; i < 3; i++) {
        pause_and_resume(sim);
        sim_wait(sim, "web", is_clock_right, MINUTE_MS);
        assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_SET), i);
    }
    sim_script(sim, "web", NULL);
    pause_and_resume(sim);
    sim_wait(sim, "web", is_clock_right, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_SET), 2);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_NOT_SET), 0);
}

static void a_guest_paused_by_others_or_by_a_full_disk_too(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"clockOffMs\": -7300}");
    sim_bring_up(sim, sim_spec_with_steps("web", 0));
    const char *const run_states[] = {"paused", "io-error"};
    for (unsigned i = 0; i < 2; i++) {
        sim_set_run_state(sim, "web", run_states[i]);
        sim_settle(sim);
        sim_advance(sim, MINUTE_MS);
        assert_true(is_clock_right(sim, "web"));
        assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_SET), i + 1);
        assert_int_equal(sim_count_events(sim, "web", REASON_DRIFT_CORRECTED), 1);
    }
}

/* The intent is committed before the guest runs again, and kept until its clock is right. */
static void the_next_controller_sets_it(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"clockOffMs\": -7300, \"clockMs\": 5000}");
    sim_bring_up(sim, sim_spec_with_steps("web", 0));
    pause_and_resume(sim);
    sim_wait(sim, "web", sim_is_ready, SECOND_MS);
    for (int i = 0; i < 3; i++) { /* killed before, while and after it is set: done again */
        sim_advance(sim, i * SECOND_MS);
        sim_kill(sim);
        sim_start(sim);
    }
    assert_false(is_clock_right(sim, "web"));
    sim_wait(sim, "web", is_clock_right, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_SET), 1);
}

static void a_suspended_host_counts_also_without_a_controller(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"clockOffMs\": -3600000}");
    sim_bring_up(sim, sim_spec_with_steps("web", 0));
    loop_fake_sleep(sim->loop, 60 * MINUTE_MS);
    sim_advance(sim, 30 * MINUTE_MS); /* noticed at the resync: noop machines have no monitor */
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_SET), 1);
    sim_kill(sim);
    loop_fake_sleep(sim->loop, 60 * MINUTE_MS);
    sim_start(sim);
    sim_advance(sim, SECOND_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_SET), 2);
    sim_advance(sim, 60 * MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_SET), 2);
}

/* Before a step that waits, and a step that runs meanwhile is followed again. */
static void it_comes_before_the_steps(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"clockOffMs\": -7300, \"stepMs\": 60000}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_advance(sim, 10 * SECOND_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_PROVISIONED), REASON_RUNNING_STEP);
    pause_and_resume(sim);
    sim_wait(sim, "web", is_clock_right, SECOND_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_SET), 1);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 0);
    sim_wait(sim, "web", sim_is_ready, 2 * MINUTE_MS);
}

static void a_refusal_is_reported_once_and_holds_nothing_up(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"clockOffMs\": -7300, \"refuseClock\": true}");
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    pause_and_resume(sim);
    sim_wait(sim, "web", is_clock_right, MINUTE_MS);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_kill(sim);
    sim_start(sim);
    sim_advance(sim, 60 * MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_NOT_SET), 1);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_SET), 0);
}

static void a_guest_without_ssh_is_reported_once(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    pause_and_resume(sim);
    sim_advance(sim, 60 * MINUTE_MS);
    assert_true(is_clock_right(sim, "web"));
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_NOT_SET), 1);
}

/* For a while it is not even reachable; a guest that loses every connection over it is let be. */
static void lost_connections_are_retried_and_in_the_end_reported(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"clockOffMs\": -7300, \"failClock\": 7}");
    sim_bring_up(sim, sim_spec_with_steps("web", 0));
    pause_and_resume(sim);
    sim_wait(sim, "web", is_clock_right, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_SET), 1);
    sim_script(sim, "web", "{\"failClock\": 1000}");
    pause_and_resume(sim);
    sim_wait(sim, "web", is_clock_right, MINUTE_MS);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_NOT_SET), 1);
}

/* The clock of a new boot is the machine's own. */
static void a_guest_that_starts_again_needs_none(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"clockOffMs\": -7300}");
    sim_bring_up(sim, sim_spec_with_steps("web", 0));
    sim_power(sim, "web", POWER_SUSPENDED);
    sim_wait(sim, "web", sim_is_suspended, MINUTE_MS);
    loop_fake_sleep(sim->loop, MINUTE_MS);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_advance(sim, 60 * MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOCK_SET), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(a_resumed_guest_gets_its_clock_set),
        SIM_TEST(a_guest_paused_by_others_or_by_a_full_disk_too),
        SIM_TEST(the_next_controller_sets_it),
        SIM_TEST(a_suspended_host_counts_also_without_a_controller),
        SIM_TEST(it_comes_before_the_steps),
        SIM_TEST(a_refusal_is_reported_once_and_holds_nothing_up),
        SIM_TEST(a_guest_without_ssh_is_reported_once),
        SIM_TEST(lost_connections_are_retried_and_in_the_end_reported),
        SIM_TEST(a_guest_that_starts_again_needs_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

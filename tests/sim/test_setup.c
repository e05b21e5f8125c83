/* SPDX-License-Identifier: MPL-2.0 */
/* The guest's cloud-init: what waits for it, what its failure holds up, and what asks it again. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"
#include "tests/support/loop_fake.h"

static bool is_setting_up(struct sim *sim, const char *name)
{
    return sim_reason(sim, name, CONDITION_CLOUD_INIT_DONE) == REASON_CLOUD_INIT_RUNNING;
}

static bool has_failed(struct sim *sim, const char *name)
{
    return sim_reason(sim, name, CONDITION_CLOUD_INIT_DONE) == REASON_CLOUD_INIT_FAILED;
}

static void steps_and_ready_wait_for_it(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"cloudInitRuns\": 20}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_wait(sim, "web", is_setting_up, MINUTE_MS);
    int64_t start_ms = sim_now(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_CLOUD_INIT_RUNNING);
    sim_advance(sim, 10 * SECOND_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_PROVISIONED), REASON_PENDING);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 0);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_in_range(sim_now(sim) - start_ms, 19 * SECOND_MS, 21 * SECOND_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOUD_INIT_DONE), 1);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
}

static void a_guest_without_it_is_asked_once(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    assert_int_equal(sim_reason(sim, "web", CONDITION_CLOUD_INIT_DONE), REASON_NOT_INSTALLED);
    char before[DIGEST_SIZE], after[DIGEST_SIZE];
    sim_store_digest(sim, before);
    sim_advance(sim, 60 * MINUTE_MS);
    sim_store_digest(sim, after);
    assert_string_equal(before, after);
}

/* Ready is one commit then, and nothing was asked twice. */
static void its_answer_to_the_login_is_enough(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"answersAtLogin\": true, \"failCloudInit\": 1000000}");
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    assert_int_equal(sim_reason(sim, "web", CONDITION_CLOUD_INIT_DONE), REASON_NOT_INSTALLED);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
}

static void one_that_runs_at_the_login_is_waited_for(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"answersAtLogin\": true, \"cloudInitRuns\": 5}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_wait(sim, "web", is_setting_up, MINUTE_MS);
    assert_int_equal(sim_state(sim, "web", CONDITION_GUEST_REACHABLE), CONDITION_TRUE);
    int64_t start_ms = sim_now(sim);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_in_range(sim_now(sim) - start_ms, 3 * SECOND_MS, 4 * SECOND_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOUD_INIT_DONE), 1);
}

/* Three tries of a second each, with no pause between them. */
static void a_try_that_took_its_time_is_followed_by_the_next(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failProbe\": 3, \"probeMs\": 1000}");
    int64_t start_ms = sim_now(sim);
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_in_range(sim_now(sim) - start_ms, 4 * SECOND_MS, 4 * SECOND_MS + 200);
}

static void its_failure_holds_the_steps_up_and_stalls(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"cloudInitRuns\": 2, \"cloudInitFails\": true}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_wait(sim, "web", has_failed, MINUTE_MS);
    sim_wait(sim, "web", sim_is_stalled, SECOND_MS);
    sim_advance(sim, 10 * MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_CLOUD_INIT_FAILED);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOUD_INIT_FAILED), 1);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 0);
    assert_true(sim_is_alive(sim, "web"));
    /* repaired, and booted again */
    sim_script(sim, "web", NULL);
    sim_reset_guest(sim, "web");
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
}

static void a_new_wish_asks_a_failed_one_again(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"cloudInitFails\": true}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_wait(sim, "web", has_failed, MINUTE_MS);
    sim_script(sim, "web", NULL);
    sim_up(sim, sim_spec_with_steps("web", 2));
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

static void assert_ready_with_a_warning(struct sim *sim)
{
    assert_int_equal(sim_reason(sim, "web", CONDITION_CLOUD_INIT_DONE), REASON_CLOUD_INIT_DEGRADED);
    assert_false(sim_is_stalled(sim, "web"));
}

static void a_failure_that_the_vmfile_accepts_holds_nothing_up(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"cloudInitRuns\": 2, \"cloudInitFails\": true}");
    struct vm_spec *spec = sim_spec_with_steps("web", 1);
    spec->cloud_init.on_error = SETUP_WARN;
    sim_up(sim, spec);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_ready_with_a_warning(sim);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOUD_INIT_DEGRADED), 1);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOUD_INIT_FAILED), 0);
}

/* Both ways on a guest that runs, and not booted again. */
static void the_vmfile_changes_its_mind_about_a_failure(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"cloudInitFails\": true}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_wait(sim, "web", has_failed, MINUTE_MS);
    struct vm_spec *spec = sim_spec_with_steps("web", 1);
    spec->cloud_init.on_error = SETUP_WARN;
    sim_up(sim, spec);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_ready_with_a_warning(sim);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_wait(sim, "web", has_failed, MINUTE_MS);
    assert_int_equal(sim_state(sim, "web", CONDITION_READY), CONDITION_FALSE);
}

static void a_controller_that_is_killed_meanwhile_goes_on_waiting(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"cloudInitRuns\": 10}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_wait(sim, "web", is_setting_up, MINUTE_MS);
    for (int i = 0; i < 3; i++) {
        sim_advance(sim, 2 * SECOND_MS);
        sim_kill(sim);
        sim_start(sim);
        sim_wait(sim, "web", is_setting_up, SECOND_MS);
    }
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
    assert_int_equal(sim_count_events(sim, "web", REASON_CLOUD_INIT_DONE), 1);
}

static void a_ready_vm_stays_so_under_a_new_controller(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"cloudInitRuns\": 3}");
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    sim_kill(sim);
    sim_start(sim);
    for (int i = 0; i < 50; i++) {
        sim_advance(sim, 100);
        assert_int_equal(sim_state(sim, "web", CONDITION_READY), CONDITION_TRUE);
    }
}

static void a_second_boot_waits_for_it_again(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    sim_script(sim, "web", "{\"cloudInitRuns\": 5}");
    sim_kill_vm(sim, "web");
    sim_wait(sim, "web", is_setting_up, MINUTE_MS);
    assert_int_equal(sim_state(sim, "web", CONDITION_READY), CONDITION_FALSE);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
}

static void a_guest_that_stops_answering_meanwhile_is_reached_again(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failCloudInit\": 3, \"cloudInitRuns\": 5}");
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
}

static void a_vm_is_stopped_without_waiting_for_it(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"cloudInitRuns\": 1000000}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_wait(sim, "web", is_setting_up, MINUTE_MS);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, SECOND_MS);
}

static void one_that_does_not_end_stalls_and_may_end_yet(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"cloudInitRuns\": 900}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_wait(sim, "web", is_setting_up, MINUTE_MS);
    sim_advance(sim, 9 * MINUTE_MS);
    assert_false(sim_is_stalled(sim, "web"));
    sim_wait(sim, "web", sim_is_stalled, 2 * MINUTE_MS);
    sim_wait(sim, "web", sim_is_ready, 10 * MINUTE_MS);
    assert_false(sim_is_stalled(sim, "web"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(steps_and_ready_wait_for_it),
        SIM_TEST(a_guest_without_it_is_asked_once),
        SIM_TEST(its_answer_to_the_login_is_enough),
        SIM_TEST(one_that_runs_at_the_login_is_waited_for),
        SIM_TEST(a_try_that_took_its_time_is_followed_by_the_next),
        SIM_TEST(its_failure_holds_the_steps_up_and_stalls),
        SIM_TEST(a_new_wish_asks_a_failed_one_again),
        SIM_TEST(a_failure_that_the_vmfile_accepts_holds_nothing_up),
        SIM_TEST(the_vmfile_changes_its_mind_about_a_failure),
        SIM_TEST(a_controller_that_is_killed_meanwhile_goes_on_waiting),
        SIM_TEST(a_ready_vm_stays_so_under_a_new_controller),
        SIM_TEST(a_second_boot_waits_for_it_again),
        SIM_TEST(a_guest_that_stops_answering_meanwhile_is_reached_again),
        SIM_TEST(a_vm_is_stopped_without_waiting_for_it),
        SIM_TEST(one_that_does_not_end_stalls_and_may_end_yet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

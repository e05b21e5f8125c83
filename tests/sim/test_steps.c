/* SPDX-License-Identifier: MPL-2.0 */
/* Provision steps that come to a VM whose steps were run: which are run, when, and how often. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "tests/sim/sim.h"
#include "tests/sim/step_checks.h"

static void wait_until_ready(struct sim *sim)
{
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_settle(sim);
}

static void bring_up(struct sim *sim, size_t n_steps)
{
    sim_bring_up(sim, sim_spec_with_steps("web", n_steps));
}

/* A save of the VMFile, noticed by a command or by the watch. */
static void save(struct sim *sim, struct vm_spec *spec_take)
{
    sim_change(
        sim, &(struct change){.name = "web", .spec = spec_take, .source = "/project/VMFile.kdl"});
    vm_spec_free(spec_take);
}

static void up_as(struct sim *sim, size_t n_steps, enum change_provision provision)
{
    struct vm_spec *spec = sim_spec_with_steps("web", n_steps);
    sim_change(sim, &(struct change){.name = "web",
                        .spec = spec,
                        .source = "/project/VMFile.kdl",
                        .sets_power = true,
                        .power = POWER_RUNNING,
                        .provision = provision,
                        .retries = true});
    vm_spec_free(spec);
}

static struct vm_spec *with_command(struct vm_spec *spec, size_t i, const char *command)
{
    free(spec->steps[i].command);
    spec->steps[i].command = mem_strdup(command);
    return spec;
}

static void assert_reasons(struct sim *sim, enum reason provisioned, enum reason synced)
{
    assert_int_equal(sim_reason(sim, "web", CONDITION_PROVISIONED), provisioned);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), synced);
}

/* ---- which ---- */

static void appended_steps_alone_run_and_nothing_is_restarted(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    bring_up(sim, 1);
    sim_living_instance_id(sim, "web", before);
    int64_t first_ms = step_ended_at(sim, 0);
    sim_advance(sim, SECOND_MS);
    sim_script(sim, "web", "{\"stepMs\": 1000}");
    sim_up(sim, sim_spec_with_steps("web", 3));
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_RUNNING_STEP);
    sim_advance(sim, 1500);
    assert_step_outcomes(sim, "DD-");
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DDD");
    assert_int_equal(step_ended_at(sim, 0), first_ms);
    assert_true(step_ended_at(sim, 2) > step_ended_at(sim, 1));
    assert_reasons(sim, REASON_PROVISIONED, REASON_SYNCED);
    sim_living_instance_id(sim, "web", after);
    assert_string_equal(before, after);
    assert_int_equal(sim_up(sim, sim_spec_with_steps("web", 3)), CHANGE_UNCHANGED);
}

static void a_save_of_a_watched_file_does_it_too(void **state)
{
    struct sim *sim = *state;
    bring_up(sim, 1);
    save(sim, sim_spec_with_steps("web", 2));
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DD");
}

static bool was_ever_ready_without_steps(struct sim *sim)
{
    struct vm_record record = sim_record(sim, "web");
    const struct vm_step_record *first = vm_provision_step(&record.status->provision, 0);
    bool is_wrong = !first && record.status->observed_generation == record.desired->generation &&
                    (vm_status_is_true(record.status, CONDITION_PROVISIONED) ||
                        vm_status_is_true(record.status, CONDITION_READY));
    vm_record_clear(&record);
    return is_wrong;
}

static void steps_that_come_to_none_are_not_taken_for_done(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"stepMs\": 1000}");
    bring_up(sim, 0);
    sim_up(sim, sim_spec_with_steps("web", 2));
    for (int i = 0; i < 20; i++) {
        assert_false(was_ever_ready_without_steps(sim));
        sim_advance(sim, 50);
    }
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DD");
}

/* `apply`, then `start`: nobody asked for steps, and there were none. */
static void steps_that_come_to_a_vm_that_was_only_started_run_if_it_had_none(void **state)
{
    struct sim *sim = *state;
    save(sim, sim_spec_with_steps("web", 0));
    sim_power(sim, "web", POWER_RUNNING);
    wait_until_ready(sim);
    sim_up(sim, sim_spec_with_steps("web", 1));
    wait_until_ready(sim);
    assert_step_outcomes(sim, "D");
}

static void behind_steps_that_were_never_run_none_is_run(void **state)
{
    struct sim *sim = *state;
    save(sim, sim_spec_with_steps("web", 1));
    sim_power(sim, "web", POWER_RUNNING);
    wait_until_ready(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_PROVISIONED), REASON_SKIPPED);
    save(sim, sim_spec_with_steps("web", 2));
    sim_advance(sim, MINUTE_MS);
    assert_step_outcomes(sim, "--");
}

static void any_other_change_waits_for_the_users_word(void **state)
{
    struct sim *sim = *state;
    bring_up(sim, 2);
    save(sim, with_command(sim_spec_with_steps("web", 3), 0, "edited"));
    sim_advance(sim, MINUTE_MS);
    assert_step_outcomes(sim, "DD-");
    assert_reasons(sim, REASON_PROVISIONED, REASON_PROVISION_OUTDATED);
    save(sim, sim_spec_with_steps("web", 3)); /* taken back: now only the third is new */
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DDD");
    assert_reasons(sim, REASON_PROVISIONED, REASON_SYNCED);
    save(sim, sim_spec_with_steps("web", 2));
    sim_advance(sim, SECOND_MS);
    assert_reasons(sim, REASON_PROVISIONED, REASON_PROVISION_OUTDATED);
}

static void an_appended_step_that_is_done_already_is_not_run(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = sim_spec_with_steps("web", 2);
    spec->steps[0].run = RUN_ONCE;
    sim_up(sim, spec);
    wait_until_ready(sim);
    spec = sim_spec_with_steps("web", 4);
    spec->steps[0].run = spec->steps[2].run = spec->steps[3].run = RUN_ONCE;
    save(sim, with_command(spec, 2, "step 0"));
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DD-D");
}

/* ---- --no-provision ---- */

static void steps_that_are_left_out_stay_so_whatever_happens(void **state)
{
    struct sim *sim = *state;
    bring_up(sim, 1);
    up_as(sim, 2, PROVISION_SKIP);
    wait_until_ready(sim);
    assert_reasons(sim, REASON_SKIPPED, REASON_SYNCED);
    sim_kill(sim);
    sim_start(sim);
    sim_kill_vm(sim, "web");
    sim_advance(sim, MINUTE_MS);
    wait_until_ready(sim);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    sim_power(sim, "web", POWER_RUNNING);
    wait_until_ready(sim);
    struct vm_spec *spec = sim_spec_with_steps("web", 2);
    spec->stop_timeout_s = 7; /* another wish, the same steps */
    save(sim, spec);
    wait_until_ready(sim);
    assert_step_outcomes(sim, "D-");
}

static void what_was_left_out_runs_with_the_next_list_or_the_next_up(void **state)
{
    struct sim *sim = *state;
    bring_up(sim, 1);
    up_as(sim, 2, PROVISION_SKIP);
    wait_until_ready(sim);
    save(sim, sim_spec_with_steps("web", 3));
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DDD");
    up_as(sim, 4, PROVISION_SKIP);
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DDD-");
    assert_int_equal(sim_up(sim, sim_spec_with_steps("web", 4)), CHANGE_REQUESTED);
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DDDD");
}

/* ---- when ---- */

static void steps_appended_while_it_is_off_run_once_it_is_up(void **state)
{
    struct sim *sim = *state;
    bring_up(sim, 1);
    int64_t first_ms = step_ended_at(sim, 0);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    save(sim, sim_spec_with_steps("web", 2));
    sim_advance(sim, MINUTE_MS);
    assert_step_outcomes(sim, "D-");
    assert_int_equal(sim_state(sim, "web", CONDITION_PROVISIONED), CONDITION_FALSE);
    sim_power(sim, "web", POWER_RUNNING);
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DD");
    assert_int_equal(step_ended_at(sim, 0), first_ms);
}

static void an_append_does_not_disturb_the_steps_that_run(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"stepMs\": 1000}");
    sim_up(sim, sim_spec_with_steps("web", 2));
    sim_advance(sim, 1500); /* in the second */
    assert_step_outcomes(sim, "D-");
    int64_t first_ms = step_ended_at(sim, 0);
    sim_up(sim, sim_spec_with_steps("web", 3));
    sim_advance(sim, 1000);
    assert_step_outcomes(sim, "DD-");
    assert_int_equal(sim_state(sim, "web", CONDITION_PROVISIONED), CONDITION_FALSE);
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DDD");
    assert_int_equal(step_ended_at(sim, 0), first_ms);
    struct vm_record record = sim_record(sim, "web");
    assert_int_equal(record.status->provision.steps[1].duration_ms, 1000);
    vm_record_clear(&record);
}

static void appended_steps_that_change_while_they_run_start_over_behind_those_done(void **state)
{
    struct sim *sim = *state;
    bring_up(sim, 1);
    sim_script(sim, "web", "{\"stepMs\": 1000}");
    save(sim, sim_spec_with_steps("web", 3));
    sim_advance(sim, 1500);
    assert_step_outcomes(sim, "DD-");
    int64_t second_ms = step_ended_at(sim, 1);
    save(sim, with_command(sim_spec_with_steps("web", 3), 2, "edited"));
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DDD");
    assert_int_equal(step_ended_at(sim, 1), second_ms);
    struct vm_record record = sim_record(sim, "web");
    assert_int_equal(record.status->provision.steps[2].duration_ms, 1000);
    vm_record_clear(&record);
    assert_reasons(sim, REASON_PROVISIONED, REASON_SYNCED);
}

static void a_change_before_them_ends_appended_steps_that_run(void **state)
{
    struct sim *sim = *state;
    bring_up(sim, 1);
    sim_script(sim, "web", "{\"stepMs\": 1000}");
    save(sim, sim_spec_with_steps("web", 2));
    sim_advance(sim, 500);
    save(sim, with_command(sim_spec_with_steps("web", 2), 0, "edited"));
    sim_advance(sim, MINUTE_MS);
    assert_step_outcomes(sim, "D-");
    assert_reasons(sim, REASON_PROVISIONED, REASON_PROVISION_OUTDATED);
}

/* ---- what goes wrong ---- */

static void fail_an_appended_step(struct sim *sim)
{
    bring_up(sim, 1);
    sim_advance(sim, SECOND_MS);
    sim_script(sim, "web", "{\"failStep\": 1000}");
    save(sim, sim_spec_with_steps("web", 2));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    sim_script(sim, "web", NULL);
    assert_step_outcomes(sim, "DF");
}

/* Also edited, with another behind it, and when it fails again. */
static void up_continues_with_the_appended_step_that_failed(void **state)
{
    struct sim *sim = *state;
    fail_an_appended_step(sim);
    int64_t first_ms = step_ended_at(sim, 0);
    sim_script(sim, "web", "{\"failStep\": 1000}");
    sim_up(sim, with_command(sim_spec_with_steps("web", 3), 1, "edited"));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_step_outcomes(sim, "DF-");
    sim_script(sim, "web", NULL);
    sim_up(sim, with_command(sim_spec_with_steps("web", 3), 1, "edited"));
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DDD");
    assert_int_equal(step_ended_at(sim, 0), first_ms);
    assert_reasons(sim, REASON_PROVISIONED, REASON_SYNCED);
}

static void a_changed_step_before_the_failed_one_makes_up_run_all_again(void **state)
{
    struct sim *sim = *state;
    fail_an_appended_step(sim);
    int64_t first_ms = step_ended_at(sim, 0);
    sim_up(sim, with_command(sim_spec_with_steps("web", 2), 0, "edited"));
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DD");
    assert_true(step_ended_at(sim, 0) > first_ms);
}

static void without_the_appended_step_that_failed_all_is_done(void **state)
{
    struct sim *sim = *state;
    fail_an_appended_step(sim);
    int64_t first_ms = step_ended_at(sim, 0);
    save(sim, sim_spec_with_steps("web", 1));
    wait_until_ready(sim);
    assert_reasons(sim, REASON_PROVISIONED, REASON_SYNCED);
    assert_int_equal(sim_up(sim, sim_spec_with_steps("web", 1)), CHANGE_UNCHANGED);
    sim_settle(sim);
    assert_int_equal(step_ended_at(sim, 0), first_ms);
}

static void an_appended_step_that_fails_is_final_until_up(void **state)
{
    struct sim *sim = *state;
    bring_up(sim, 1);
    int64_t first_ms = step_ended_at(sim, 0);
    sim_advance(sim, SECOND_MS);
    sim_script(sim, "web", "{\"failStep\": 1000}");
    save(sim, sim_spec_with_steps("web", 2));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_STEP_FAILED);
    assert_step_outcomes(sim, "DF");
    assert_int_equal(step_ended_at(sim, 0), first_ms);
    sim_script(sim, "web", NULL);
    save(sim, sim_spec_with_steps("web", 3));
    sim_advance(sim, MINUTE_MS);
    assert_step_outcomes(sim, "DF-");
    assert_int_equal(sim_up(sim, sim_spec_with_steps("web", 3)), CHANGE_REQUESTED);
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DDD");
}

/* Before the wish is seen, between intent and step, in a step, between two, after all. */
static void a_controller_killed_at_any_moment_loses_and_repeats_nothing(void **state)
{
    struct sim *sim = *state;
    size_t n_steps = 1;
    bring_up(sim, n_steps);
    sim_script(sim, "web", "{\"stepMs\": 400, \"probeMs\": 100}");
    for (int64_t after_ms = 0; after_ms <= 1000; after_ms += 100) {
        struct vm_record before = sim_record(sim, "web");
        int64_t last_ms = before.status->provision.steps[n_steps - 1].ended_at_ms;
        vm_record_clear(&before);
        n_steps += 2;
        save(sim, sim_spec_with_steps("web", n_steps));
        sim_advance(sim, after_ms);
        sim_kill(sim);
        sim_start(sim);
        sim_advance(sim, after_ms / 2);
        sim_kill(sim);
        sim_start(sim);
        wait_until_ready(sim);
        assert_int_equal(step_ended_at(sim, (uint32_t)n_steps - 3), last_ms);
        assert_true(step_ended_at(sim, (uint32_t)n_steps - 2) > last_ms);
        assert_true(
            step_ended_at(sim, (uint32_t)n_steps - 1) > step_ended_at(sim, (uint32_t)n_steps - 2));
        assert_reasons(sim, REASON_PROVISIONED, REASON_SYNCED);
    }
}

static void a_guest_that_dies_under_an_appended_step_runs_only_that_again(void **state)
{
    struct sim *sim = *state;
    bring_up(sim, 1);
    int64_t first_ms = step_ended_at(sim, 0);
    sim_script(sim, "web", "{\"stepMs\": 1000}");
    save(sim, sim_spec_with_steps("web", 3));
    sim_advance(sim, 1500);
    int64_t second_ms = step_ended_at(sim, 1);
    sim_kill_vm(sim, "web");
    wait_until_ready(sim);
    assert_step_outcomes(sim, "DDD");
    assert_int_equal(step_ended_at(sim, 0), first_ms);
    assert_int_equal(step_ended_at(sim, 1), second_ms);
}

static void a_new_disk_forgets_what_was_run(void **state)
{
    struct sim *sim = *state;
    bring_up(sim, 1);
    sim_change(sim, &(struct change){.name = "web", .recreates = true});
    wait_until_ready(sim);
    save(sim, sim_spec_with_steps("web", 2));
    sim_advance(sim, MINUTE_MS);
    assert_step_outcomes(sim, "--");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(appended_steps_alone_run_and_nothing_is_restarted),
        SIM_TEST(a_save_of_a_watched_file_does_it_too),
        SIM_TEST(steps_that_come_to_none_are_not_taken_for_done),
        SIM_TEST(steps_that_come_to_a_vm_that_was_only_started_run_if_it_had_none),
        SIM_TEST(behind_steps_that_were_never_run_none_is_run),
        SIM_TEST(any_other_change_waits_for_the_users_word),
        SIM_TEST(an_appended_step_that_is_done_already_is_not_run),
        SIM_TEST(steps_that_are_left_out_stay_so_whatever_happens),
        SIM_TEST(what_was_left_out_runs_with_the_next_list_or_the_next_up),
        SIM_TEST(steps_appended_while_it_is_off_run_once_it_is_up),
        SIM_TEST(an_append_does_not_disturb_the_steps_that_run),
        SIM_TEST(appended_steps_that_change_while_they_run_start_over_behind_those_done),
        SIM_TEST(a_change_before_them_ends_appended_steps_that_run),
        SIM_TEST(an_appended_step_that_fails_is_final_until_up),
        SIM_TEST(up_continues_with_the_appended_step_that_failed),
        SIM_TEST(a_changed_step_before_the_failed_one_makes_up_run_all_again),
        SIM_TEST(without_the_appended_step_that_failed_all_is_done),
        SIM_TEST(a_controller_killed_at_any_moment_loses_and_repeats_nothing),
        SIM_TEST(a_guest_that_dies_under_an_appended_step_runs_only_that_again),
        SIM_TEST(a_new_disk_forgets_what_was_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* `ready`, `live`, and the user a guest is reached as: over a VM's life, and its controller's. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/mem.h"
#include "tests/sim/sim.h"
#include "tests/support/loop_fake.h"

#define NEVER_PASSES "1000000"

static void add_probe(struct vm_spec *spec, enum check_kind kind, uint16_t port)
{
    struct spec_check *check = &spec->checks[kind];
    mem_grow(check->probes, check->n_probes);
    check->probes[check->n_probes++] = (struct spec_probe){.kind = PROBE_TCP, .port = port};
}

static struct vm_spec *spec_with(enum check_kind kind)
{
    struct vm_spec *spec = sim_spec_with_steps("web", 1);
    add_probe(spec, kind, 80);
    spec->checks[CHECK_LIVE].start_period_s = 0;
    return spec;
}

static bool is_probed(struct sim *sim, const char *name)
{
    return sim_reason(sim, name, CONDITION_READY) == REASON_PROBE_FAILED;
}

static bool is_provisioned(struct sim *sim, const char *name)
{
    return sim_state(sim, name, CONDITION_PROVISIONED) == CONDITION_TRUE;
}

/* Fails the test unless the VM is Ready at every look for so long. */
static void expect_no_flap(struct sim *sim, int64_t ms)
{
    for (int64_t end_ms = sim_now(sim) + ms; sim_now(sim) < end_ms;) {
        sim_advance(sim, 100);
        assert_int_equal(sim_state(sim, "web", CONDITION_READY), CONDITION_TRUE);
    }
}

static uint32_t restart_count(struct sim *sim)
{
    struct vm_record record = sim_record(sim, "web");
    uint32_t count = record.status->restart.count;
    vm_record_clear(&record);
    return count;
}

/* ---- ready ---- */

static void a_vm_is_ready_once_its_probes_pass(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failReady\": 3, \"stepMs\": 5000}");
    sim_up(sim, spec_with(CHECK_READY));
    sim_wait(sim, "web", is_provisioned, MINUTE_MS);
    int64_t start_ms = sim_now(sim);
    sim_wait(sim, "web", is_probed, MINUTE_MS);
    assert_int_equal(sim_state(sim, "web", CONDITION_READY), CONDITION_FALSE);
    assert_int_equal(sim_state(sim, "web", CONDITION_RECONCILING), CONDITION_TRUE);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(sim_now(sim) - start_ms, 3 * SECOND_MS);
    sim_settle(sim);
    assert_int_equal(sim_state(sim, "web", CONDITION_RECONCILING), CONDITION_ABSENT);
}

static void probes_that_pass_write_nothing(void **state)
{
    struct sim *sim = *state;
    char before[DIGEST_SIZE], after[DIGEST_SIZE];
    struct vm_spec *spec = spec_with(CHECK_READY);
    add_probe(spec, CHECK_LIVE, 80);
    sim_script(sim, "web", "{\"checkMs\": 50}");
    sim_bring_up(sim, spec);
    sim_advance(sim, SECOND_MS);
    sim_store_digest(sim, before);
    sim_advance(sim, 60 * MINUTE_MS);
    sim_store_digest(sim, after);
    assert_string_equal(before, after);
}

static void failing_probes_make_it_unready_but_restart_nothing(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_bring_up(sim, spec_with(CHECK_READY));
    sim_living_instance_id(sim, "web", before);
    sim_script(sim, "web", "{\"failReady\": " NEVER_PASSES "}");
    sim_wait(sim, "web", is_probed, MINUTE_MS);
    sim_advance(sim, 60 * MINUTE_MS);
    sim_living_instance_id(sim, "web", after);
    assert_string_equal(before, after);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROBE_FAILED), 1);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_PROGRESS_DEADLINE_EXCEEDED);
    sim_script(sim, "web", "{}");
    sim_wait(sim, "web", sim_is_ready, 2 * SECOND_MS);
    assert_int_equal(sim_state(sim, "web", CONDITION_STALLED), CONDITION_ABSENT);
}

static void a_new_instance_is_ready_only_after_its_own_probes(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with(CHECK_READY));
    sim_script(sim, "web", "{\"failReady\": " NEVER_PASSES "}");
    sim_kill_vm(sim, "web");
    sim_wait(sim, "web", sim_is_alive, MINUTE_MS);
    sim_advance(sim, MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_PROBE_FAILED);
    sim_script(sim, "web", "{}");
    sim_wait(sim, "web", sim_is_ready, 2 * SECOND_MS);
}

static void a_new_controller_asks_again_without_a_flap(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"checkMs\": 500}");
    sim_bring_up(sim, spec_with(CHECK_READY));
    sim_kill(sim);
    sim_start(sim);
    expect_no_flap(sim, MINUTE_MS);
    sim_kill(sim);
    sim_script(sim, "web", "{\"failReady\": " NEVER_PASSES "}");
    sim_start(sim);
    sim_wait(sim, "web", is_probed, 5 * SECOND_MS);
    sim_kill(sim);
    sim_start(sim);
    sim_advance(sim, SECOND_MS);
    assert_true(is_probed(sim, "web"));
}

static void one_failure_is_no_flap(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with(CHECK_READY));
    sim_kill(sim); /* its count of tries starts over */
    sim_script(sim, "web", "{\"failReady\": 2}");
    sim_start(sim);
    expect_no_flap(sim, MINUTE_MS);
}

static void changed_probes_run_again(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_bring_up(sim, spec_with(CHECK_READY));
    sim_living_instance_id(sim, "web", before);
    sim_script(sim, "web", "{\"checkMs\": 500}");
    struct vm_spec *spec = spec_with(CHECK_READY);
    add_probe(spec, CHECK_READY, 81);
    sim_up(sim, spec);
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_WAITING_FOR_PROBE);
    sim_wait(sim, "web", sim_is_ready, SECOND_MS);
    sim_up(sim, sim_spec_with_steps("web", 1)); /* without any */
    sim_wait(sim, "web", sim_is_ready, SECOND_MS);
    sim_living_instance_id(sim, "web", after);
    assert_string_equal(before, after);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_SYNCED);
}

static void steps_run_again_before_probes(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with(CHECK_READY));
    sim_script(sim, "web", "{\"failReady\": " NEVER_PASSES ", \"stepMs\": 1000}");
    sim_change(sim, &(struct change){.name = "web", .provision = PROVISION_AGAIN});
    sim_wait(sim, "web", is_probed, MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 2);
    sim_script(sim, "web", "{}");
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

static void a_stop_does_not_wait_for_a_probe(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with(CHECK_READY));
    sim_script(sim, "web", "{\"checkMs\": 600000}");
    sim_advance(sim, 30 * SECOND_MS); /* one is under way */
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, SECOND_MS);
}

static void a_vm_without_ssh_is_probed_as_soon_as_it_runs(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = sim_spec("web");
    spec->network.mode = NETWORK_USER;
    add_probe(spec, CHECK_READY, 80);
    sim_script(sim, "web", "{\"failReady\": 2}");
    sim_up(sim, spec);
    sim_wait(sim, "web", is_probed, SECOND_MS);
    sim_wait(sim, "web", sim_is_ready, 3 * SECOND_MS);
}

/* ---- live ---- */

static bool is_ended_as_dead(struct sim *sim, const char *name)
{
    return sim_count_events(sim, name, REASON_LIVENESS_FAILED) > 0 && sim_is_dead(sim, name);
}

static void a_guest_that_fails_live_is_started_anew_and_counted(void **state)
{
    struct sim *sim = *state;
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_bring_up(sim, spec_with(CHECK_LIVE));
    sim_living_instance_id(sim, "web", before);
    sim_script(sim, "web", "{\"failLive\": " NEVER_PASSES "}");
    int64_t start_ms = sim_now(sim);
    sim_wait(sim, "web", is_ended_as_dead, MINUTE_MS);
    assert_in_range(sim_now(sim) - start_ms, 25 * SECOND_MS, 40 * SECOND_MS);
    sim_script(sim, "web", "{}");
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_living_instance_id(sim, "web", after);
    assert_string_not_equal(before, after);
    assert_int_equal(restart_count(sim), 1);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
}

static bool is_looping(struct sim *sim, const char *name)
{
    return sim_reason(sim, name, CONDITION_RUNNING) == REASON_CRASH_LOOP_BACK_OFF;
}

static void a_guest_that_never_lives_backs_off(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = spec_with(CHECK_LIVE);
    spec->checks[CHECK_LIVE].failures = 1;
    sim_script(sim, "web", "{\"failLive\": " NEVER_PASSES "}");
    sim_up(sim, spec);
    sim_wait(sim, "web", is_looping, 5 * MINUTE_MS);
    sim_advance(sim, 30 * MINUTE_MS);
    assert_in_range(restart_count(sim), 10, 60);
}

static void restart_never_leaves_a_dead_guest_down(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = spec_with(CHECK_LIVE);
    spec->restart = RESTART_NEVER;
    sim_bring_up(sim, spec);
    sim_script(sim, "web", "{\"failLive\": " NEVER_PASSES "}");
    sim_wait(sim, "web", is_ended_as_dead, MINUTE_MS);
    sim_advance(sim, 10 * MINUTE_MS);
    assert_false(sim_is_alive(sim, "web"));
    assert_int_equal(sim_reason(sim, "web", CONDITION_RUNNING), REASON_LIVENESS_FAILED);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_LIVENESS_FAILED);
}

static void a_hung_guest_gets_its_grace_and_a_dead_controller_ends_it_too(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with(CHECK_LIVE));
    sim_script(sim, "web", "{\"failLive\": " NEVER_PASSES ", \"ignorePowerdown\": true}");
    sim_advance(sim, 40 * SECOND_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_RUNNING), REASON_STOPPING);
    sim_kill(sim);
    sim_script(sim, "web", "{\"ignorePowerdown\": true}");
    sim_start(sim);
    sim_wait(sim, "web", sim_is_dead, MINUTE_MS);
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(restart_count(sim), 1);
}

/* Killed every 7 s, and the guest is asked every 10 s: three failures in a row, as without a kill.
 */
static void a_controller_killed_again_and_again_still_ends_a_hung_guest(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with(CHECK_LIVE));
    sim_script(sim, "web", "{\"failLive\": " NEVER_PASSES "}");
    int64_t start_ms = sim_now(sim);
    while (sim_count_events(sim, "web", REASON_LIVENESS_FAILED) == 0) {
        assert_in_range(sim_now(sim) - start_ms, 0, 60 * SECOND_MS);
        sim_kill(sim);
        sim_start(sim);
        sim_advance(sim, 7 * SECOND_MS);
    }
    assert_in_range(sim_now(sim) - start_ms, 20 * SECOND_MS, 60 * SECOND_MS);
    sim_script(sim, "web", "{}");
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_int_equal(restart_count(sim), 1);
}

static void a_controller_killed_again_and_again_still_reports_that_ready_is_overdue(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failReady\": " NEVER_PASSES "}");
    sim_up(sim, spec_with(CHECK_READY));
    sim_wait(sim, "web", is_probed, MINUTE_MS);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(sim_state(sim, "web", CONDITION_STALLED), CONDITION_ABSENT);
        sim_kill(sim);
        sim_start(sim);
        sim_advance(sim, MINUTE_MS);
    }
    sim_advance(sim, 2 * SECOND_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_PROGRESS_DEADLINE_EXCEEDED);
}

/* ---- restart "always" ---- */

static void a_guest_that_powers_off_at_once_backs_off(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = sim_spec("web");
    spec->restart = RESTART_ALWAYS;
    sim_up(sim, spec);
    for (int64_t end_ms = sim_now(sim) + 10 * MINUTE_MS; sim_now(sim) < end_ms;) {
        sim_advance(sim, 200);
        sim_set_run_state(sim, "web", "shutdown");
    }
    assert_in_range(restart_count(sim), 8, 30);
    sim_wait(sim, "web", is_looping, 2 * MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_STALLED), REASON_CRASH_LOOP_BACK_OFF);
    sim_wait(sim, "web", sim_is_ready, 2 * MINUTE_MS);
}

/* ---- ssh ---- */

static void another_user_has_to_log_in_again(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    sim_kill(sim);
    sim_script(sim, "web", "{\"failProbe\": " NEVER_PASSES "}");
    struct vm_spec *spec = sim_spec_with_steps("web", 1);
    free(spec->ssh.user);
    spec->ssh.user = mem_strdup("other");
    sim_up(sim, spec);
    sim_start(sim);
    sim_settle(sim);
    assert_int_equal(sim_reason(sim, "web", CONDITION_GUEST_REACHABLE), REASON_WAITING_FOR_SSH);
    assert_int_equal(sim_state(sim, "web", CONDITION_READY), CONDITION_FALSE);
    sim_script(sim, "web", "{}");
    sim_wait(sim, "web", sim_is_ready, SECOND_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
}

static void what_was_asked_as_the_old_user_is_no_answer(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"probeMs\": 10000}");
    sim_up(sim, sim_spec_with_steps("web", 0));
    sim_advance(sim, 9 * SECOND_MS);
    struct vm_spec *spec = sim_spec_with_steps("web", 0);
    spec->ssh.private_key = mem_strdup("/key");
    sim_up(sim, spec);
    sim_advance(sim, 9 * SECOND_MS);
    assert_int_equal(sim_state(sim, "web", CONDITION_READY), CONDITION_FALSE);
    sim_wait(sim, "web", sim_is_ready, 2 * SECOND_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(a_vm_is_ready_once_its_probes_pass),
        SIM_TEST(probes_that_pass_write_nothing),
        SIM_TEST(failing_probes_make_it_unready_but_restart_nothing),
        SIM_TEST(a_new_instance_is_ready_only_after_its_own_probes),
        SIM_TEST(a_new_controller_asks_again_without_a_flap),
        SIM_TEST(one_failure_is_no_flap),
        SIM_TEST(changed_probes_run_again),
        SIM_TEST(steps_run_again_before_probes),
        SIM_TEST(a_stop_does_not_wait_for_a_probe),
        SIM_TEST(a_vm_without_ssh_is_probed_as_soon_as_it_runs),
        SIM_TEST(a_guest_that_fails_live_is_started_anew_and_counted),
        SIM_TEST(a_guest_that_never_lives_backs_off),
        SIM_TEST(restart_never_leaves_a_dead_guest_down),
        SIM_TEST(a_hung_guest_gets_its_grace_and_a_dead_controller_ends_it_too),
        SIM_TEST(a_controller_killed_again_and_again_still_ends_a_hung_guest),
        SIM_TEST(a_controller_killed_again_and_again_still_reports_that_ready_is_overdue),
        SIM_TEST(a_guest_that_powers_off_at_once_backs_off),
        SIM_TEST(another_user_has_to_log_in_again),
        SIM_TEST(what_was_asked_as_the_old_user_is_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* Shared folders: mounted before the first step, and healed when a server has ended. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/mem.h"
#include "tests/sim/sim.h"

static struct vm_spec *spec_with_share(const char *name, enum restart_policy restart)
{
    struct vm_spec *spec = sim_spec_with_steps(name, 1);
    mem_grow(spec->shares, spec->n_shares);
    spec->shares[spec->n_shares++] = (struct spec_share){
        .host = mem_strdup("/src"), .guest = mem_strdup("/work"), .tag = mem_strdup("work")};
    spec->restart = restart;
    return spec;
}

static bool has_failed(struct sim *sim, const char *name)
{
    return sim_reason(sim, name, CONDITION_SHARED) == REASON_SHARE_FAILED;
}

static bool is_lost(struct sim *sim, const char *name)
{
    return sim_reason(sim, name, CONDITION_SHARED) == REASON_SHARE_LOST;
}

static bool was_lost(struct sim *sim, const char *name)
{
    return sim_count_events(sim, name, REASON_SHARE_LOST) > 0;
}

static void steps_and_ready_wait_until_it_is_mounted(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failMount\": 1000, \"failsShare\": true}");
    sim_up(sim, spec_with_share("web", RESTART_ON_FAILURE));
    sim_wait(sim, "web", has_failed, MINUTE_MS);
    sim_wait(sim, "web", sim_is_stalled, SECOND_MS);
    sim_advance(sim, 10 * MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_SHARE_FAILED);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 0);
    sim_script(sim, "web", NULL);
    sim_wait(sim, "web", sim_is_ready, 10 * MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SHARED), REASON_SHARED);
    assert_int_equal(sim_state(sim, "web", CONDITION_MOUNTED), CONDITION_ABSENT);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
}

/* Whatever is killed in between, and also when no controller was there to see it. */
static void a_guest_whose_server_ended_is_started_again(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with_share("web", RESTART_ON_FAILURE));
    for (int ms = 0; ms < 4000; ms += 400) {
        size_t before = sim_count_events(sim, "web", REASON_RUNNING);
        sim_lose_share(sim, "web");
        sim_advance(sim, ms);
        sim_kill(sim);
        sim_start(sim);
        sim_advance(sim, 10 * MINUTE_MS);
        assert_true(sim_is_ready(sim, "web"));
        assert_int_equal(sim_reason(sim, "web", CONDITION_SHARED), REASON_SHARED);
        assert_int_equal(sim_count_events(sim, "web", REASON_RUNNING), before + 1);
    }
}

static void one_that_must_not_be_started_again_runs_on(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with_share("web", RESTART_NEVER));
    sim_lose_share(sim, "web");
    sim_wait(sim, "web", is_lost, MINUTE_MS);
    sim_advance(sim, 10 * MINUTE_MS);
    assert_true(sim_is_alive(sim, "web"));
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_SHARE_LOST);
    assert_false(was_lost(sim, "web"));
    (void)sim_change(sim, &(struct change){.name = "web", .restarts = true});
    sim_wait(sim, "web", sim_is_ready, 10 * MINUTE_MS);
}

/* The same of the emulator of its TPM, which no condition of its own stands for. */
static void a_guest_whose_tpm_ended_is_started_again(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    size_t before = sim_count_events(sim, "web", REASON_RUNNING);
    sim_edit_machine(sim, "web", "isTpmLost", json_true());
    sim_kill(sim);
    sim_start(sim);
    sim_advance(sim, 10 * MINUTE_MS);
    assert_true(sim_is_ready(sim, "web"));
    assert_int_equal(sim_count_events(sim, "web", REASON_RUNNING), before + 1);
    assert_true(sim_count_events(sim, "web", REASON_TPM_LOST) > 0);
}

static bool is_without_tpm(struct sim *sim, const char *name)
{
    return sim_reason(sim, name, CONDITION_READY) == REASON_TPM_LOST;
}

static void one_that_must_not_be_started_again_is_unready_without_it(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = sim_spec("web");
    spec->restart = RESTART_NEVER;
    sim_bring_up(sim, spec);
    sim_edit_machine(sim, "web", "isTpmLost", json_true());
    sim_kill(sim);
    sim_start(sim);
    sim_wait(sim, "web", is_without_tpm, MINUTE_MS);
    sim_advance(sim, 10 * MINUTE_MS);
    assert_true(sim_is_alive(sim, "web"));
    assert_int_equal(sim_count_events(sim, "web", REASON_TPM_LOST), 0);
    (void)sim_change(sim, &(struct change){.name = "web", .restarts = true});
    sim_wait(sim, "web", sim_is_ready, 10 * MINUTE_MS);
}

/* As one whose processes die: with a growing pause. */
static void a_server_that_always_ends_is_a_crash_loop(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with_share("web", RESTART_ON_FAILURE));
    for (int i = 0; i < 5; i++) {
        sim_lose_share(sim, "web");
        sim_wait(sim, "web", was_lost, MINUTE_MS);
        sim_advance(sim, 6 * MINUTE_MS);
    }
    assert_true(sim_is_ready(sim, "web"));
    assert_true(sim_count_events(sim, "web", REASON_SHARE_LOST) >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(steps_and_ready_wait_until_it_is_mounted),
        SIM_TEST(a_guest_whose_server_ended_is_started_again),
        SIM_TEST(one_that_must_not_be_started_again_runs_on),
        SIM_TEST(a_server_that_always_ends_is_a_crash_loop),
        SIM_TEST(a_guest_whose_tpm_ended_is_started_again),
        SIM_TEST(one_that_must_not_be_started_again_is_unready_without_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* Guests that are suspended to disk. Whatever is killed, and whenever: one whose memory is on disk
 * continues from there once, and no guest runs on its disk before. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/sim/sim.h"

static const char slow[] = "{\"saveMs\": 300, \"loadMs\": 300, \"bootMs\": 100, \"launchMs\": 50}";

static enum change_result save(struct sim *sim, const char *name)
{
    return sim_change(
        sim, &(struct change){
                 .name = name, .sets_power = true, .power = POWER_SUSPENDED, .saves = true});
}

static enum saved_phase phase_of(struct sim *sim, const char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, name);
    return record.status->saved.phase;
}

static bool has_file(struct sim *sim, const char *name)
{
    cleanup_free char *file = paths_vm(&sim->paths, name, VM_SAVED_MEMORY);
    return fs_exists(file);
}

static bool is_on_disk(struct sim *sim, const char *name)
{
    return sim_is_dead(sim, name) && phase_of(sim, name) == SAVED_WHOLE &&
           sim_reason(sim, name, CONDITION_READY) == REASON_SUSPENDED;
}

static bool is_on_disk_or_stalled(struct sim *sim, const char *name)
{
    return is_on_disk(sim, name) || sim_is_stalled(sim, name);
}

static void expect_unharmed(const struct sim *sim)
{
    cleanup_free char *ruined = paths_path(&sim->paths, "noop/ruined");
    assert_false(fs_exists(ruined));
}

static void expect_nothing_saved(struct sim *sim, const char *name)
{
    assert_int_equal(phase_of(sim, name), SAVED_NONE);
    assert_false(has_file(sim, name));
}

static void bring_up_saved(struct sim *sim, const char *name)
{
    sim_bring_up(sim, sim_spec_with_steps(name, 1));
    save(sim, name);
    sim_wait(sim, name, is_on_disk, MINUTE_MS);
}

static void resume(struct sim *sim, const char *name)
{
    sim_power(sim, name, POWER_RUNNING);
    sim_wait(sim, name, sim_is_ready, 20 * MINUTE_MS);
    expect_nothing_saved(sim, name);
    expect_unharmed(sim);
}

static void it_continues_where_it_was(void **state)
{
    struct sim *sim = *state;
    bring_up_saved(sim, "web");
    int64_t birth = sim_disk_birth(sim, "web");
    assert_true(has_file(sim, "web"));
    sim_advance(sim, 60 * MINUTE_MS);
    assert_true(is_on_disk(sim, "web"));
    resume(sim, "web");
    assert_int_equal(sim_disk_birth(sim, "web"), birth);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    assert_int_equal(record.status->restart.total, 0); /* it was asked for */
    save(sim, "web");                                  /* and again */
    sim_wait(sim, "web", is_on_disk, MINUTE_MS);
    resume(sim, "web");
}

static void one_that_is_paused_is_saved_too(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    sim_power(sim, "web", POWER_SUSPENDED);
    sim_wait(sim, "web", sim_is_suspended, MINUTE_MS);
    save(sim, "web");
    sim_wait(sim, "web", is_on_disk, MINUTE_MS);
    resume(sim, "web");
}

static void it_outlives_the_host(void **state)
{
    struct sim *sim = *state;
    bring_up_saved(sim, "web");
    sim_reboot_host(sim);
    sim_start(sim);
    sim_advance(sim, MINUTE_MS);
    assert_true(is_on_disk(sim, "web"));
    resume(sim, "web");
}

static void killed_at_any_time_it_is_whole_or_as_after_a_crash(void **state)
{
    (void)state;
    for (int64_t at_ms = 0; at_ms < 500; at_ms += 20) {
        for (int kills_vm = 0; kills_vm < 2; kills_vm++) {
            struct sim *sim = sim_new(1);
            sim_script(sim, "default", slow);
            sim_start(sim);
            sim_bring_up(sim, sim_spec_with_steps("web", 1));
            save(sim, "web");
            sim_advance(sim, at_ms);
            if (kills_vm && sim_is_alive(sim, "web")) {
                sim_kill_vm(sim, "web");
            }
            sim_kill(sim);
            sim_start(sim);
            sim_wait(sim, "web", is_on_disk_or_stalled, 5 * MINUTE_MS);
            assert_true(kills_vm || is_on_disk(sim, "web"));
            assert_true(sim_is_dead(sim, "web"));
            resume(sim, "web");
            sim_check(sim);
            sim_free(sim);
        }
    }
}

static void killed_at_any_time_it_continues_once(void **state)
{
    (void)state;
    for (int64_t at_ms = 0; at_ms < 700; at_ms += 20) {
        for (int kills = 0; kills < 3; kills++) { /* vmctld, the VM too, the host */
            struct sim *sim = sim_new(1);
            sim_script(sim, "default", slow);
            sim_start(sim);
            bring_up_saved(sim, "web");
            sim_power(sim, "web", POWER_RUNNING);
            sim_advance(sim, at_ms);
            if (kills == 1 && sim_is_alive(sim, "web")) {
                sim_kill_vm(sim, "web");
            }
            if (kills == 2) {
                sim_reboot_host(sim);
            } else {
                sim_kill(sim);
            }
            sim_start(sim);
            sim_wait(sim, "web", sim_is_ready, 20 * MINUTE_MS);
            expect_nothing_saved(sim, "web");
            expect_unharmed(sim);
            sim_check(sim);
            sim_free(sim);
        }
    }
}

static bool is_loaded(struct sim *sim, const char *name)
{
    return phase_of(sim, name) == SAVED_LOADED;
}

static bool is_loading(struct sim *sim, const char *name)
{
    return strcmp(sim_run_state(sim, name), "inmigrate") == 0;
}

/* Started, and it did not continue from its memory: that has an event of its own. */
static void expect_boot_from_disk(struct sim *sim)
{
    unsigned before = sim_count_events(sim, "web", REASON_RUNNING);
    sim_script(sim, "web", NULL);
    sim_start(sim);
    sim_wait(sim, "web", sim_is_ready, 20 * MINUTE_MS);
    assert_int_equal(sim_count_events(sim, "web", REASON_RUNNING), before + 1);
    expect_nothing_saved(sim, "web");
}

/* Nobody has recorded it, and its disk is not as it was. */
static void what_may_have_run_on_is_not_loaded_again(void **state)
{
    struct sim *sim = *state;
    bring_up_saved(sim, "web");
    sim_script(sim, "web", "{\"bootMs\": 60000}");
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", is_loaded, MINUTE_MS);
    sim_kill(sim);
    sim_set_run_state(sim, "web", "running");
    sim_kill_vm(sim, "web");
    expect_boot_from_disk(sim);
}

/* The last commits may not have reached the disk. */
static void what_a_power_cut_may_have_hidden_is_not_loaded_again(void **state)
{
    struct sim *sim = *state;
    bring_up_saved(sim, "web");
    sim_script(sim, "web", "{\"loadMs\": 60000}");
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", is_loading, MINUTE_MS);
    sim_reboot_host(sim);
    expect_boot_from_disk(sim);
}

/* What ends each machine that loads it is no crash of the VM's, and is not tried for ever. */
static void memory_that_is_refused_stays_until_it_is_given_up(void **state)
{
    struct sim *sim = *state;
    bring_up_saved(sim, "web");
    sim_script(sim, "web", "{\"loadMs\": 60000}");
    sim_power(sim, "web", POWER_RUNNING);
    for (int i = 0; i < 3; i++) {
        sim_wait(sim, "web", is_loading, MINUTE_MS);
        sim_kill_vm(sim, "web");
    }
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_RUNNING), REASON_SAVED_MEMORY_FAILED);
    assert_true(has_file(sim, "web"));
    sim_script(sim, "web", NULL);
    (void)sim_change(
        sim, &(struct change){
                 .name = "web", .sets_power = true, .power = POWER_RUNNING, .retries = true});
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS); /* another request tries again */
    expect_nothing_saved(sim, "web");
    expect_unharmed(sim);
}

/* Once its machine ran, and before: neither leaves a request that waits for ever. */
static void what_does_not_run_is_not_saved(void **state)
{
    struct sim *sim = *state;
    const struct change change = {
        .name = "web", .sets_power = true, .power = POWER_SUSPENDED, .saves = true};
    sim_script(sim, "web", "{\"failLaunch\": 1000}");
    sim_up(sim, sim_spec_with_steps("web", 1));
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_int_equal(sim_change_failing(sim, &change), ERR_VM_INVALID_STATE);
}

/* A plain suspend does not wake it for that. */
static void it_is_suspended_already(void **state)
{
    struct sim *sim = *state;
    bring_up_saved(sim, "web");
    sim_power(sim, "web", POWER_SUSPENDED);
    sim_advance(sim, MINUTE_MS);
    assert_true(is_on_disk(sim, "web"));
    resume(sim, "web");
}

/* The guest runs on where it is, however far saving was. */
static void saving_is_called_off(void **state)
{
    (void)state;
    for (int64_t at_ms = 0; at_ms < 500; at_ms += 20) {
        struct sim *sim = sim_new(1);
        sim_script(sim, "default", slow);
        sim_start(sim);
        sim_bring_up(sim, sim_spec_with_steps("web", 1));
        save(sim, "web");
        sim_advance(sim, at_ms);
        resume(sim, "web");
        sim_check(sim);
        sim_free(sim);
    }
}

static void what_wants_a_boot_gives_the_memory_up(void **state)
{
    struct sim *sim = *state;
    const struct change changes[] = {
        {.name = "web", .sets_power = true, .power = POWER_RUNNING, .restarts = true},
        {.name = "web", .sets_power = true, .power = POWER_RUNNING, .recreates = true},
    };
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        save(sim, "web");
        sim_wait(sim, "web", is_on_disk, MINUTE_MS);
        (void)sim_change(sim, &changes[i]);
        sim_wait(sim, "web", sim_is_ready, 20 * MINUTE_MS);
        expect_nothing_saved(sim, "web");
    }
    save(sim, "web");
    sim_wait(sim, "web", is_on_disk, MINUTE_MS);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    expect_nothing_saved(sim, "web");
    expect_unharmed(sim);
}

static bool is_refused(struct sim *sim, const char *name)
{
    return sim_is_stalled(sim, name) &&
           sim_reason(sim, name, CONDITION_RUNNING) == REASON_SAVED_MEMORY_FAILED;
}

/* Neither loaded nor booted over, until the user gives it up. */
static void what_does_not_fit_is_not_loaded(void **state)
{
    struct sim *sim = *state;
    bring_up_saved(sim, "web");
    sim_lose_file(sim, "web", "saved-memory");
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", is_refused, MINUTE_MS);
    sim_advance(sim, 60 * MINUTE_MS);
    assert_true(sim_is_dead(sim, "web"));
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    resume(sim, "web");
}

static bool has_failed(struct sim *sim, const char *name)
{
    return sim_is_stalled(sim, name) &&
           sim_reason(sim, name, CONDITION_RUNNING) == REASON_SAVED_MEMORY_FAILED;
}

/* The guest stands still then, and can be had back. */
static void what_cannot_be_saved_is_not_lost(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failSave\": 1000}");
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    save(sim, "web");
    sim_wait(sim, "web", has_failed, MINUTE_MS);
    sim_advance(sim, 10 * MINUTE_MS);
    assert_true(sim_is_alive(sim, "web"));
    resume(sim, "web");
}

/* It is not even paused then, and nothing says that it is down. */
static void where_there_is_no_room_it_runs_on(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    sim_script(sim, "web", "{\"freeMib\": 100}");
    save(sim, "web");
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    assert_string_equal(sim_run_state(sim, "web"), "running");
    assert_int_equal(sim_state(sim, "web", CONDITION_RUNNING), CONDITION_TRUE);
    expect_nothing_saved(sim, "web");
    resume(sim, "web");
}

static void what_changes_meanwhile_comes_behind(void **state)
{
    struct sim *sim = *state;
    bring_up_saved(sim, "web");
    struct vm_spec *spec = sim_spec_with_steps("web", 1);
    spec->memory_mib *= 2;
    (void)sim_change(
        sim, &(struct change){.name = "web", .spec = spec, .source = "/project/VMFile.kdl"});
    sim_advance(sim, MINUTE_MS);
    assert_true(is_on_disk(sim, "web"));
    resume(sim, "web");
    assert_string_equal(reason_name(sim_reason(sim, "web", CONDITION_SYNCED)), "RestartRequired");
    vm_spec_free(spec);
}

static void its_disk_is_left_alone(void **state)
{
    struct sim *sim = *state;
    const struct snapshot_order order = {.verb = SNAPSHOT_CREATE, .name = "a"};
    bring_up_saved(sim, "web");
    assert_int_equal(sim_change_failing(sim, &(struct change){.name = "web", .snapshot = &order}),
        ERR_VM_INVALID_STATE);
}

static void what_another_process_holds_is_not_saved(void **state)
{
    struct sim *sim = *state;
    struct vm_spec *spec = sim_spec_with_steps("web", 1);
    mem_grow(spec->shares, spec->n_shares);
    spec->shares[spec->n_shares++] = (struct spec_share){
        .host = mem_strdup("/src"), .guest = mem_strdup("/work"), .tag = mem_strdup("work")};
    sim_bring_up(sim, spec);
    const struct change change = {
        .name = "web", .sets_power = true, .power = POWER_SUSPENDED, .saves = true};
    assert_int_equal(sim_change_failing(sim, &change), ERR_VM_INVALID_STATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(it_continues_where_it_was),
        SIM_TEST(one_that_is_paused_is_saved_too),
        SIM_TEST(it_outlives_the_host),
        cmocka_unit_test(killed_at_any_time_it_is_whole_or_as_after_a_crash),
        cmocka_unit_test(killed_at_any_time_it_continues_once),
        cmocka_unit_test(saving_is_called_off),
        SIM_TEST(what_may_have_run_on_is_not_loaded_again),
        SIM_TEST(what_a_power_cut_may_have_hidden_is_not_loaded_again),
        SIM_TEST(memory_that_is_refused_stays_until_it_is_given_up),
        SIM_TEST(what_does_not_run_is_not_saved),
        SIM_TEST(it_is_suspended_already),
        SIM_TEST(what_wants_a_boot_gives_the_memory_up),
        SIM_TEST(what_does_not_fit_is_not_loaded),
        SIM_TEST(what_cannot_be_saved_is_not_lost),
        SIM_TEST(where_there_is_no_room_it_runs_on),
        SIM_TEST(what_changes_meanwhile_comes_behind),
        SIM_TEST(its_disk_is_left_alone),
        SIM_TEST(what_another_process_holds_is_not_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

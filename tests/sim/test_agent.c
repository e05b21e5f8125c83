/* SPDX-License-Identifier: MPL-2.0 */
/* Guests whose file systems an agent freezes around a copy of their disk. Whatever is killed, and
 * whenever: they are thawed in the end, and no guest stays as it was frozen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "tests/sim/sim.h"

static void ask_for_copy(struct sim *sim, const char *name)
{
    struct snapshot_order order = {.verb = SNAPSHOT_CREATE};
    (void)snprintf(order.name, sizeof(order.name), "%s", name);
    assert_int_equal(
        sim_change(sim, &(struct change){.name = "web", .snapshot = &order}), CHANGE_REQUESTED);
}

static bool is_copied(struct sim *sim, const char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, name);
    return text_eq(record.desired->snapshot.token, record.status->handled_snapshot_token);
}

/* The guest itself; what it holds is how often thawing it was tried. free() it; NULL: not frozen.
 */
static char *frost(struct sim *sim)
{
    cleanup_free char *path = paths_in_vm(&sim->paths, "web", "noop.frozen");
    cleanup_buf struct buf text = BUF_INIT(64);
    struct error ignored = {.code = ERR_NONE};
    return fs_read_file(path, &text, &ignored) < 0 ? NULL : mem_strdup(buf_str(&text));
}

static long thaws_tried(struct sim *sim)
{
    cleanup_free char *tries = frost(sim);
    assert_non_null(tries);
    return strtol(tries, NULL, 10);
}

static bool is_thawed(struct sim *sim, const char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, name);
    cleanup_free char *tries = frost(sim);
    return !tries && !vm_status_is_frozen(record.status);
}

static void bring_up_with_agent(struct sim *sim, const char *more)
{
    cleanup_free char *script = mem_printf("{\"agent\": true%s}", more);
    sim_script(sim, "web", script);
    sim_bring_up(sim, sim_spec("web"));
}

static void a_copy_is_made_of_whole_file_systems(void **state)
{
    struct sim *sim = *state;
    bring_up_with_agent(sim, ", \"copyMs\": 500");
    ask_for_copy(sim, "one");
    sim_advance(sim, 100);
    cleanup_free char *tries = frost(sim);
    assert_non_null(tries);
    sim_wait(sim, "web", is_copied, MINUTE_MS);
    assert_true(is_thawed(sim, "web"));
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    assert_true(record.status->snapshots[0].was_frozen);
    assert_string_equal(record.status->frozen_instance_id, "");
}

static void without_an_agent_nothing_is_frozen(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    ask_for_copy(sim, "one");
    sim_wait(sim, "web", is_copied, MINUTE_MS);
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, "web");
    assert_false(record.status->snapshots[0].was_frozen);
}

static void killed_at_any_time_it_is_thawed(void **state)
{
    static const char slow[] = ", \"copyMs\": 300, \"thawMs\": 100";
    (void)state;
    for (int64_t at_ms = 0; at_ms < 500; at_ms += 10) {
        for (int kills = 0; kills < 4; kills++) { /* vmctld, twice, the VM too, the host */
            struct sim *sim = sim_new(1);
            sim_start(sim);
            bring_up_with_agent(sim, slow);
            ask_for_copy(sim, "one");
            sim_advance(sim, at_ms);
            if (kills == 2 && sim_is_alive(sim, "web")) {
                sim_kill_vm(sim, "web");
            }
            if (kills == 3) {
                sim_reboot_host(sim);
            } else {
                sim_kill(sim);
            }
            sim_start(sim);
            if (kills == 1) {
                sim_advance(sim, at_ms / 2);
                sim_kill(sim);
                sim_start(sim);
            }
            sim_wait(sim, "web", is_copied, 5 * MINUTE_MS);
            sim_wait(sim, "web", sim_is_ready, 5 * MINUTE_MS);
            sim_wait(sim, "web", is_thawed, MINUTE_MS);
            sim_check(sim);
            sim_free(sim);
        }
    }
}

static bool is_on_disk(struct sim *sim, const char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, name);
    return sim_is_dead(sim, name) && record.status->saved.phase == SAVED_WHOLE;
}

/* Its memory has them frozen, and the machine that continues is another instance. */
static void one_that_is_saved_while_frozen_is_thawed_when_it_continues(void **state)
{
    static const char never[] = ", \"keepsFrozen\": true, \"failThaw\": 1000";
    (void)state;
    for (int64_t at_ms = -1; at_ms < 400; at_ms += 25) { /* when it is killed; -1: it is not */
        struct sim *sim = sim_new(1);
        sim_start(sim);
        bring_up_with_agent(sim, never);
        ask_for_copy(sim, "one");
        sim_wait(sim, "web", is_copied, MINUTE_MS);
        sim_change(
            sim, &(struct change){
                     .name = "web", .sets_power = true, .power = POWER_SUSPENDED, .saves = true});
        sim_wait(sim, "web", is_on_disk, MINUTE_MS);
        sim_script(sim, "web", "{\"agent\": true, \"launchMs\": 100, \"loadMs\": 100}");
        sim_power(sim, "web", POWER_RUNNING);
        if (at_ms >= 0) {
            sim_advance(sim, at_ms);
            sim_kill(sim);
            sim_start(sim);
        }
        sim_wait(sim, "web", sim_is_ready, 5 * MINUTE_MS);
        sim_wait(sim, "web", is_thawed, MINUTE_MS);
        sim_check(sim);
        sim_free(sim);
    }
}

static void an_agent_that_does_not_thaw_is_asked_less_and_less_often(void **state)
{
    enum { TRIES_MIN = 10, TRIES_MAX = 24 };
    struct sim *sim = *state;
    bring_up_with_agent(sim, ", \"keepsFrozen\": true, \"failThaw\": 1000");
    ask_for_copy(sim, "one");
    sim_wait(sim, "web", is_copied, MINUTE_MS);
    unsigned n_events = sim_count_events(sim, "web", REASON_SNAPSHOT);
    sim_advance(sim, 60 * MINUTE_MS);
    assert_in_range(thaws_tried(sim), TRIES_MIN, TRIES_MAX);
    assert_int_equal(sim_count_events(sim, "web", REASON_SNAPSHOT), n_events + 1);
    assert_true(sim_is_ready(sim, "web"));
    sim_script(sim, "web", "{\"agent\": true}");
    sim_wait(sim, "web", is_thawed, 6 * MINUTE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(a_copy_is_made_of_whole_file_systems),
        SIM_TEST(without_an_agent_nothing_is_frozen),
        cmocka_unit_test(killed_at_any_time_it_is_thawed),
        cmocka_unit_test(one_that_is_saved_while_frozen_is_thawed_when_it_continues),
        SIM_TEST(an_agent_that_does_not_thaw_is_asked_less_and_less_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

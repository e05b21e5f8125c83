/* SPDX-License-Identifier: MPL-2.0 */
/* Volumes: mounted before the first step and after every boot, and one VM's at a time. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/mem.h"
#include "tests/sim/sim.h"

static struct vm_spec *spec_with_volume(const char *name, const char *volume, const char *mount)
{
    struct vm_spec *spec = sim_spec_with_steps(name, 1);
    mem_grow(spec->volumes, spec->n_volumes);
    spec->volumes[spec->n_volumes++] =
        (struct spec_volume){.name = mem_strdup(volume), .mount = mem_strdup(mount)};
    return spec;
}

static bool has_mount_failed(struct sim *sim, const char *name)
{
    return sim_reason(sim, name, CONDITION_MOUNTED) == REASON_MOUNT_FAILED;
}

static bool waits_for_volume(struct sim *sim, const char *name)
{
    return sim_reason(sim, name, CONDITION_RUNNING) == REASON_VOLUME_IN_USE;
}

static void steps_and_ready_wait_until_it_is_mounted(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failMount\": 1000}");
    sim_up(sim, spec_with_volume("web", "data", "/data"));
    sim_wait(sim, "web", has_mount_failed, MINUTE_MS);
    sim_wait(sim, "web", sim_is_stalled, SECOND_MS);
    sim_advance(sim, 10 * MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_READY), REASON_MOUNT_FAILED);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 0);
    assert_true(sim_is_alive(sim, "web"));
    sim_script(sim, "web", NULL); /* it is tried again now and then */
    sim_wait(sim, "web", sim_is_ready, 10 * MINUTE_MS);
    assert_int_equal(sim_reason(sim, "web", CONDITION_MOUNTED), REASON_MOUNTED);
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
}

static void it_is_mounted_again_after_each_boot(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with_volume("web", "data", "/data"));
    sim_script(sim, "web", "{\"failMount\": 1000}");
    sim_reset_guest(sim, "web");
    sim_wait(sim, "web", has_mount_failed, MINUTE_MS);
    sim_script(sim, "web", NULL);
    sim_wait(sim, "web", sim_is_ready, 10 * MINUTE_MS);
    sim_script(sim, "web", "{\"failMount\": 1000}");
    sim_kill_vm(sim, "web");
    sim_wait(sim, "web", has_mount_failed, MINUTE_MS);
    sim_script(sim, "web", NULL);
    sim_wait(sim, "web", sim_is_ready, 10 * MINUTE_MS);
}

static void a_new_controller_does_not_mount_again(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with_volume("web", "data", "/data"));
    sim_script(sim, "web", "{\"failMount\": 1000}"); /* it would be noticed */
    for (int i = 0; i < 3; i++) {
        sim_kill(sim);
        sim_start(sim);
        sim_advance(sim, MINUTE_MS);
        assert_true(sim_is_ready(sim, "web"));
    }
}

static void the_second_vm_waits_until_the_first_is_down(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, spec_with_volume("web", "data", NULL));
    sim_up(sim, spec_with_volume("db", "data", NULL));
    sim_wait(sim, "db", waits_for_volume, MINUTE_MS);
    sim_wait(sim, "db", sim_is_stalled, SECOND_MS);
    sim_advance(sim, 10 * MINUTE_MS);
    assert_false(sim_is_alive(sim, "db"));
    sim_kill_vm(sim, "web"); /* it is started again, and keeps what it had */
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    assert_false(sim_is_alive(sim, "db"));
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "db", sim_is_ready, MINUTE_MS); /* woken by the lease */
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", waits_for_volume, MINUTE_MS);
    sim_delete(sim, "db");
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
}

/* Attached to the running VM, mounted, unmounted and detached, whatever is killed in between. */
static void one_is_attached_and_detached_under_any_controller(void **state)
{
    struct sim *sim = *state;
    char name[] = "more", mount[] = "/more";
    const struct spec_volume volume = {.name = name, .mount = mount};
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    size_t n_leases = sim_count_leases(sim);
    for (int i = 0; i < 3; i++) {
        (void)sim_change(sim, &(struct change){.name = "web", .attaches = &volume});
        sim_kill(sim);
        sim_start(sim);
        sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
        assert_int_equal(sim_reason(sim, "web", CONDITION_MOUNTED), REASON_MOUNTED);
        assert_int_equal(sim_count_leases(sim), n_leases + 1);
        (void)sim_change(sim, &(struct change){.name = "web", .detaches = name});
        sim_kill(sim);
        sim_start(sim);
        sim_advance(sim, MINUTE_MS);
        assert_true(sim_is_ready(sim, "web"));
        assert_int_equal(sim_state(sim, "web", CONDITION_MOUNTED), CONDITION_ABSENT);
        assert_int_equal(sim_count_leases(sim), n_leases);
    }
    assert_int_equal(sim_count_events(sim, "web", REASON_PROVISIONED), 1);
}

/* What is not written yet would be lost: it stays until the guest has unmounted it. One without a
 * `mount` may have been mounted by hand. */
static void it_stays_while_it_is_busy(struct sim *sim, char *mount)
{
    char name[] = "data";
    const struct spec_volume volume = {.name = name, .mount = mount};
    sim_bring_up(sim, sim_spec_with_steps("web", 1));
    size_t n_leases = sim_count_leases(sim);
    (void)sim_change(sim, &(struct change){.name = "web", .attaches = &volume});
    sim_advance(sim, MINUTE_MS);
    assert_true(sim_is_ready(sim, "web"));
    sim_script(sim, "web", "{\"failMount\": 1000}");
    (void)sim_change(sim, &(struct change){.name = "web", .detaches = name});
    sim_wait(sim, "web", sim_is_stalled, MINUTE_MS);
    sim_advance(sim, 10 * MINUTE_MS);
    assert_int_equal(sim_count_leases(sim), n_leases + 1);
    sim_script(sim, "web", NULL);
    sim_advance(sim, 10 * MINUTE_MS);
    assert_true(sim_is_ready(sim, "web"));
    assert_int_equal(sim_count_leases(sim), n_leases);
}

static void one_that_is_busy_in_the_guest_stays(void **state)
{
    char mount[] = "/data";
    it_stays_while_it_is_busy(*state, mount);
}

static void one_that_the_guest_mounted_itself_stays(void **state)
{
    it_stays_while_it_is_busy(*state, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(steps_and_ready_wait_until_it_is_mounted),
        SIM_TEST(it_is_mounted_again_after_each_boot),
        SIM_TEST(a_new_controller_does_not_mount_again),
        SIM_TEST(the_second_vm_waits_until_the_first_is_down),
        SIM_TEST(one_is_attached_and_detached_under_any_controller),
        SIM_TEST(one_that_is_busy_in_the_guest_stays),
        SIM_TEST(one_that_the_guest_mounted_itself_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

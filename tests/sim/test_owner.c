/* SPDX-License-Identifier: MPL-2.0 */
/* VMs that belong to a process (`vmctl run --rm`), here the test itself. */
#include <unistd.h>

#include "specs/base/owner_lock.h"
#include "tests/sim/sim.h"

static int bring_up_owned(struct sim *sim, const char *name)
{
    struct vm_spec *spec = sim_spec(name);
    struct error err = {0};
    uint64_t owner = 0;
    int fd = -1;
    assert_int_equal(owner_lock_take(&sim->paths, &owner, &fd, &err), 0);
    sim_change(
        sim, &(struct change){.name = name, .spec = spec, .owner = owner, .sets_power = true});
    vm_spec_free(spec);
    return fd;
}

static void a_vm_goes_with_its_owner(void **state)
{
    struct sim *sim = *state;
    int fd = bring_up_owned(sim, "web");
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_advance(sim, 60 * MINUTE_MS);
    assert_true(sim_is_ready(sim, "web"));
    close(fd);
    sim_wait(sim, "web", sim_is_gone, MINUTE_MS);
}

static void a_vm_goes_with_its_owner_whatever_is_under_way(void **state)
{
    struct sim *sim = *state;
    sim_script(sim, "web", "{\"failLaunch\": 1000}");
    int fd = bring_up_owned(sim, "web");
    sim_advance(sim, 10 * MINUTE_MS);
    close(fd);
    sim_wait(sim, "web", sim_is_gone, MINUTE_MS);
    sim_script(sim, "db", "{\"bootMs\": 100000000}");
    fd = bring_up_owned(sim, "db");
    sim_wait(sim, "db", sim_is_alive, MINUTE_MS);
    close(fd);
    sim_wait(sim, "db", sim_is_gone, 2 * MINUTE_MS);
}

static void an_owner_that_goes_while_there_is_no_controller_is_missed_later(void **state)
{
    struct sim *sim = *state;
    int fd = bring_up_owned(sim, "web");
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_kill(sim);
    close(fd);
    sim_start(sim);
    sim_wait(sim, "web", sim_is_gone, MINUTE_MS);
}

static void a_vm_that_was_disowned_stays(void **state)
{
    struct sim *sim = *state;
    int fd = bring_up_owned(sim, "web");
    sim_wait(sim, "web", sim_is_ready, MINUTE_MS);
    sim_change(sim, &(struct change){.name = "web", .disowns = true});
    close(fd);
    sim_advance(sim, 60 * MINUTE_MS);
    assert_true(sim_is_ready(sim, "web"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(a_vm_goes_with_its_owner),
        SIM_TEST(a_vm_goes_with_its_owner_whatever_is_under_way),
        SIM_TEST(an_owner_that_goes_while_there_is_no_controller_is_missed_later),
        SIM_TEST(a_vm_that_was_disowned_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

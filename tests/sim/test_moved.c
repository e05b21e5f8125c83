/* SPDX-License-Identifier: MPL-2.0 */
/* What vmctld does with a VM that the fleet has given to another node, and with the files of one
 * that is on its way here. */
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

static void commit(struct sim *sim, struct store_batch *batch)
{
    struct error err = {.code = ERR_NONE};
    if (store_commit(sim->store, batch, &err) < 0) {
        fail_msg("%s", err.message);
    }
    store_batch_free(batch);
}

/* As the messenger does it (controller/fleet/tombstone.c). */
static void fence(struct sim *sim, const char *name)
{
    cleanup_with(vm_record_clear) struct vm_record record = sim_record(sim, name);
    struct store_batch *batch = store_batch_new();
    struct vm_desired *next = vm_desired_copy(record.desired);
    next->generation++;
    next->is_deleting = true;
    next->fleet.epoch = 1;
    next->fleet.is_fenced = true;
    store_batch_put_desired(batch, next, record.desired->revision);
    commit(sim, batch);
    vm_desired_free(next);
}

static unsigned count_set_aside(struct sim *sim)
{
    struct stat st;
    cleanup_free char *quarantine = paths_path(&sim->paths, "quarantine");
    return stat(quarantine, &st) < 0 ? 0 : (unsigned)st.st_nlink - 2; /* ".", its name */
}

static void it_ends_at_once_and_its_files_are_set_aside(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    sim_script(sim, "web", "{\"ignorePowerdown\": true}");
    fence(sim, "web");
    sim_kill(sim); /* no matter when it is found */
    sim_start(sim);
    sim_wait(sim, "web", sim_is_dead, 5 * SECOND_MS);
    sim_wait(sim, "web", sim_is_gone, MINUTE_MS);
    assert_int_equal(count_set_aside(sim), 1);
}

static void one_that_is_off_is_set_aside_as_well(void **state)
{
    struct sim *sim = *state;
    sim_bring_up(sim, sim_spec("web"));
    (void)sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, MINUTE_MS);
    fence(sim, "web");
    sim_kill(sim);
    sim_start(sim);
    sim_wait(sim, "web", sim_is_gone, MINUTE_MS);
    assert_int_equal(count_set_aside(sim), 1);
}

/* Its record comes with the transaction that makes it this node's. */
static void files_that_were_fetched_are_kept_at_the_start(void **state)
{
    struct sim *sim = *state;
    struct error err = {.code = ERR_NONE};
    static const char *const names[] = {"imports/wanted", "imports/left"};
    cleanup_free char *wanted = paths_path(&sim->paths, names[0]);
    cleanup_free char *left = paths_path(&sim->paths, names[1]);
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *row = json_object(), *origin = json_object();
    sim_kill(sim);
    assert_int_equal(fs_make_dirs(wanted, 0700, &err), 0);
    assert_int_equal(fs_make_dirs(left, 0700, &err), 0);
    json_put_text(origin, "import", "wanted");
    json_put(row, "origin", json_incref(origin));
    store_batch_put_json(batch, STORE_FLEET, "fetched/web", row);
    commit(sim, batch);
    sim_start(sim);
    sim_advance(sim, SECOND_MS);
    assert_true(fs_exists(wanted));
    assert_false(fs_exists(left));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(it_ends_at_once_and_its_files_are_set_aside),
        SIM_TEST(one_that_is_off_is_set_aside_as_well),
        SIM_TEST(files_that_were_fetched_are_kept_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

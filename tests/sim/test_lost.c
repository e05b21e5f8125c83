/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Events that never arrive. Everything that happens to a VM reaches the controller as one call,
 * "look at this VM again": a process that ended, a QMP event, an operation that is done, an inotify
 * event. Here each of those calls is lost once, and each ring of the user's bell: the end must be
 * the same, at most a resync later.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/reconciler.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/source/sources.h"
#include "tests/sim/sim.h"

enum { RESYNCS_MS = 60 * 60 * 1000 };

/* The host's functions have no context of their own: one simulation at a time. */
static struct lossy {
    void (*wake)(struct reconciler_host *host, struct key key, enum work_priority priority);
    unsigned n, lost; /* the lost-th is lost, 0: none */
} lossy;

static void wake_but_once(struct reconciler_host *host, struct key key, enum work_priority priority)
{
    if (++lossy.n != lossy.lost) {
        lossy.wake(host, key, priority);
    }
}

static void lose(struct sim *sim)
{
    struct reconciler_host *host = controller_host(sim->controller);
    lossy.wake = host->wake;
    host->wake = wake_but_once;
}

/* ---- a life, each step of which must come to its end ---- */

static void change(struct sim *sim)
{
    struct vm_spec *spec = sim_spec_with_steps("web", 2);
    spec->memory_mib = 2048;
    sim_change(
        sim, &(struct change){
                 .name = "web", .spec = spec, .source = "/project/VMFile.kdl", .restarts = true});
    vm_spec_free(spec);
}

static void live(struct sim *sim)
{
    sim_up(sim, sim_spec_with_steps("web", 2));
    sim_wait(sim, "web", sim_is_ready, RESYNCS_MS);
    change(sim);
    sim_wait(sim, "web", sim_is_ready, RESYNCS_MS);
    sim_kill_vm(sim, "web");
    sim_wait(sim, "web", sim_is_ready, RESYNCS_MS);
    sim_set_run_state(sim, "web", "guest-panicked");
    sim_wait(sim, "web", sim_is_ready, RESYNCS_MS);
    sim_power(sim, "web", POWER_SUSPENDED);
    sim_wait(sim, "web", sim_is_suspended, RESYNCS_MS);
    sim_power(sim, "web", POWER_STOPPED);
    sim_wait(sim, "web", sim_is_stopped, RESYNCS_MS);
    sim_power(sim, "web", POWER_RUNNING);
    sim_wait(sim, "web", sim_is_ready, RESYNCS_MS);
    sim_check(sim);
    sim_delete(sim, "web");
    sim_wait(sim, "web", sim_is_gone, RESYNCS_MS);
    assert_int_equal(sim_count_leases(sim), 0);
}

static unsigned live_without(unsigned lost)
{
    struct sim *sim = sim_new(1);
    lossy = (struct lossy){.lost = lost};
    sim_start(sim);
    lose(sim);
    live(sim);
    sim_check(sim);
    sim_free(sim);
    return lossy.n;
}

static void each_event_may_be_lost(void **state)
{
    (void)state;
    unsigned all = live_without(0);
    assert_true(all > 20);
    for (unsigned lost = 1; lost <= all; lost++) {
        live_without(lost);
    }
    print_message("lost: %u events tried, one at a time, 0 failures\n", all);
}

/* ---- a watched VMFile ---- */

static void must(int rc, const struct error *err)
{
    if (rc < 0) {
        fail_msg("%s", err->message);
    }
}

static void save(const char *path, unsigned memory_mib)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *text = mem_printf(
        "vm \"web\" { backend \"noop\"; image \"/bin/true\"; network \"none\"; memory %u }\n",
        memory_mib);
    must(fs_write_file(path, text, strlen(text), 0600, &err), &err);
}

static void watch(struct sim *sim, const char *path)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    struct source_record *wanted = source_record_new(path, 1);
    wanted->starts_new = true;
    must(sources_add_registration(sim->store, batch, wanted, &err), &err);
    must(store_commit(sim->store, batch, &err), &err);
    must(bell_ring(&sim->paths, BELL_DESIRED, &err), &err);
    store_batch_free(batch);
    source_record_free(wanted);
}

static uint32_t awaited_mib;

static bool has_memory(struct sim *sim, const char *name)
{
    struct vm_record vm = sim_record(sim, name);
    bool is_so = vm.desired && vm.desired->spec->memory_mib == awaited_mib;
    vm_record_clear(&vm);
    return is_so;
}

static unsigned follow_without(unsigned lost)
{
    struct sim *sim = sim_new(1);
    cleanup_free char *path = mem_printf("%s/VMFile.kdl", sim->paths.data_dir);
    lossy = (struct lossy){.lost = lost};
    sim_start(sim);
    lose(sim);
    save(path, 512);
    watch(sim, path);
    for (awaited_mib = 512; awaited_mib <= 2048; awaited_mib *= 2) {
        save(path, awaited_mib);
        sim_wait(sim, "web", has_memory, RESYNCS_MS);
    }
    sim_wait(sim, "web", sim_is_ready, RESYNCS_MS);
    sim_free(sim);
    return lossy.n;
}

static void each_event_of_a_watched_file_may_be_lost(void **state)
{
    (void)state;
    unsigned all = follow_without(0);
    assert_true(all > 10);
    for (unsigned lost = 1; lost <= all; lost++) {
        follow_without(lost);
    }
    print_message("lost: %u events of a watched VMFile tried, 0 failures\n", all);
}

/* As by a vmctl that is killed between its commit and its bell: a directory cannot be rung. */
static void every_bell_may_be_lost(void **state)
{
    (void)state;
    struct sim *sim = sim_new(1);
    sim_start(sim);
    sim_settle(sim);
    cleanup_free char *path = paths_path(&sim->paths, "desired.kick");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    sim_settle(sim);
    live(sim);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_may_be_lost),
        cmocka_unit_test(each_event_of_a_watched_file_may_be_lost),
        cmocka_unit_test(every_bell_may_be_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* Many VMs at once. SIM_FLEET=10000 makes it a measurement: passes a second, store included. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "store/lmdb/lmdb_env.h"
#include "tests/sim/sim.h"
#include "tests/support/loop_fake.h"

enum { N_VMS = 300, PATIENCE_MS = 60 * 60 * 1000 };

static double real_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* One `up` of a VMFile with all of them. */
static void bring_up_all(struct sim *sim, size_t n, struct vm_spec *make(const char *name))
{
    struct change *changes = mem_calloc(n, sizeof(*changes));
    struct change_outcome *outcomes = mem_calloc(n, sizeof(*outcomes));
    struct vm_spec **specs = mem_calloc(n, sizeof(struct vm_spec *));
    struct error err = {.code = ERR_NONE};
    for (size_t i = 0; i < n; i++) {
        cleanup_free char *name = mem_printf("vm-%zu", i);
        specs[i] = make(name);
        changes[i] = (struct change){.name = specs[i]->name,
            .spec = specs[i],
            .source = "/project/VMFile.kdl",
            .sets_power = true,
            .power = POWER_RUNNING};
    }
    assert_int_equal(change_apply(sim->store, changes, n, outcomes, &err), 0);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(outcomes[i].result, CHANGE_CREATED);
        vm_spec_free(specs[i]);
    }
    free(changes);
    free(outcomes);
    free(specs);
}

static bool are_all_ready(struct sim *sim)
{
    struct vm_summary_list list = {.count = 0};
    struct error err = {.code = ERR_NONE};
    bool are_ready = true;
    assert_int_equal(store_list_summaries(sim->store, &list, &err), 0);
    for (size_t i = 0; i < list.count; i++) {
        are_ready = are_ready && list.items[i].status.is_ready;
    }
    vm_summary_list_clear(&list);
    return are_ready;
}

static bool is_quiet(void *context)
{
    struct sim *sim = context;
    return controller_pass_count(sim->controller) > 0 && controller_is_quiet(sim->controller);
}

static void every_vm_of_a_fleet_becomes_ready(void **state)
{
    (void)state;
    const char *size = getenv("SIM_FLEET");
    size_t n = size ? strtoul(size, NULL, 10) : N_VMS;
    struct sim *sim = sim_new(1);
    bring_up_all(sim, n, sim_spec);
    double start = real_seconds();
    sim_start(sim);
    for (int i = 0; i < 100 && !are_all_ready(sim); i++) {
        (void)loop_fake_run_until(sim->loop, is_quiet, sim, sim_now(sim) + PATIENCE_MS);
        sim_settle(sim);
    }
    double took = real_seconds() - start;
    assert_true(are_all_ready(sim));
    double passes = (double)controller_pass_count(sim->controller);
    print_message("%zu VMs ready in %.2f s: %.0f VMs/s, %.0f passes/s (%.1f a VM)\n", n, took,
        (double)n / took, passes / took, passes / (double)n);
    sim_free(sim);
}

/* ---- what a VM costs ---- */

/* From nothing to Ready, each VM. */
struct cost {
    double passes, commits, written_kib, calls /* that read or write */, allocations;
};

static uint64_t n_allocations;

/* AddressSanitizer calls it; without that there is nothing to count. */
void __sanitizer_malloc_hook(const volatile void *p, size_t size);
void __sanitizer_malloc_hook(const volatile void *p, size_t size)
{
    (void)p;
    (void)size;
    n_allocations++;
}

static struct vm_spec *with_a_step(const char *name)
{
    return sim_spec_with_steps(name, 1);
}

/* Of proc_pid_io(5). */
static double io_count(const char *key)
{
    char line[64], found[16];
    unsigned long long value = 0;
    FILE *file = fopen("/proc/self/io", "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) &&
           (sscanf(line, "%15[^:]: %llu", found, &value) != 2 || strcmp(found, key) != 0)) {
    }
    assert_int_equal(fclose(file), 0);
    return (double)value;
}

static double calls(void)
{
    return io_count("syscr") + io_count("syscw");
}

static double commits_of(struct sim *sim)
{
    MDB_envinfo info;
    assert_int_equal(mdb_env_info(sim->store->env, &info), 0);
    return (double)info.me_last_txnid;
}

static struct cost cost_of_one_of(size_t n, struct vm_spec *make(const char *name))
{
    struct sim *sim = sim_new(1);
    bring_up_all(sim, n, make);
    double commits = commits_of(sim), written = io_count("wchar"), io = calls();
    uint64_t allocations = n_allocations;
    sim_start(sim);
    cleanup_free char *last = mem_printf("vm-%zu", n - 1);
    sim_wait(sim, last, sim_is_ready, MINUTE_MS);
    sim_settle(sim);
    allocations = n_allocations - allocations;
    assert_true(are_all_ready(sim));
    const struct cost cost = {
        .passes = (double)controller_pass_count(sim->controller) / (double)n,
        .commits = (commits_of(sim) - commits) / (double)n,
        .written_kib = (io_count("wchar") - written) / 1024 / (double)n,
        .calls = (calls() - io) / (double)n,
        .allocations = (double)allocations / (double)n,
    };
    print_message("%zu VMs: %.2f passes, %.2f commits, %.1f KiB written in %.0f calls, "
                  "%.0f allocations each\n",
        n, cost.passes, cost.commits, cost.written_kib, cost.calls, cost.allocations);
    sim_free(sim);
    return cost;
}

/* A thousand times as many VMs cost a thousand times as much: none waits for, looks at or writes
 * what the others have. The session's two records are commits, too. */
static void a_vm_costs_the_same_in_a_fleet_of_any_size(void **state)
{
    static const struct {
        struct vm_spec *(*make)(const char *name);
        struct cost most; /* fixed: a change that makes a start dearer has to change this, too */
    } rows[] = {
        {sim_spec, {.passes = 8, .commits = 5, .written_kib = 96, .calls = 62, .allocations = 980}},
        {with_a_step,
            {.passes = 10, .commits = 7, .written_kib = 140, .calls = 80, .allocations = 1400}},
    };
    static const size_t sizes[] = {1, 30, 300};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t j = 0; j < ARRAY_LEN(sizes); j++) {
            const struct cost cost = cost_of_one_of(sizes[j], rows[i].make);
            double own = 2.0 / (double)sizes[j];
            assert_true(cost.passes <= rows[i].most.passes);
            assert_true(cost.commits <= rows[i].most.commits + own);
            assert_true(cost.written_kib <= rows[i].most.written_kib);
            assert_true(cost.calls <= rows[i].most.calls);
            assert_true(cost.allocations <= rows[i].most.allocations);
        }
    }
}

static void assert_not_written_since(struct sim *sim, const char *name, time_t seconds)
{
    struct stat st;
    cleanup_free char *path = mem_printf("%s/vms/%s/noop.json", sim->paths.data_dir, name);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mtim.tv_sec, seconds);
}

static void date(struct sim *sim, const char *name, time_t seconds)
{
    const struct timespec times[] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    cleanup_free char *path = mem_printf("%s/vms/%s/noop.json", sim->paths.data_dir, name);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* A pass to look at the machine, one when that is done; then nothing until something happens, and
 * nothing written to a machine that is as it should be. */
static void a_fleet_is_adopted_in_two_passes_a_vm_and_then_left_alone(void **state)
{
    enum { N = 97, LONG_AGO = 1000000000 };
    struct sim *sim = *state;
    bring_up_all(sim, N, sim_spec);
    sim_wait(sim, "vm-96", sim_is_ready, MINUTE_MS);
    sim_settle(sim);
    assert_true(are_all_ready(sim));
    date(sim, "vm-0", LONG_AGO);
    date(sim, "vm-96", LONG_AGO);
    sim_kill(sim);
    sim_start(sim);
    sim_advance(sim, SECOND_MS);
    assert_true(controller_pass_count(sim->controller) <= 2 * N);
    uint64_t passes = controller_pass_count(sim->controller);
    sim_advance(sim, MINUTE_MS);
    assert_int_equal(controller_pass_count(sim->controller), passes);
    assert_not_written_since(sim, "vm-0", LONG_AGO);
    assert_not_written_since(sim, "vm-96", LONG_AGO);
}

/* Each timer wakes the process, whose host would rather sleep: there is the one of the resync. */
static void a_fleet_at_rest_wakes_only_to_look_at_all_again(void **state)
{
    enum { N = 30, HOUR_MS = 60 * MINUTE_MS, RESYNCS_MAX = 12 /* five minutes between them */ };
    struct sim *sim = *state;
    bring_up_all(sim, N, sim_spec);
    sim_wait(sim, "vm-29", sim_is_ready, MINUTE_MS);
    sim_settle(sim);
    assert_true(are_all_ready(sim));
    sim_advance(sim, MINUTE_MS); /* what a start leaves to be done later */
    int64_t end_ms = sim_now(sim) + HOUR_MS, next_ms;
    uint64_t passes = controller_pass_count(sim->controller);
    unsigned n_woken = 0;
    while ((next_ms = loop_fake_next_timer(sim->loop)) >= 0 && next_ms <= end_ms) {
        n_woken++;
        sim_advance(sim, next_ms > sim_now(sim) ? next_ms - sim_now(sim) : 1);
    }
    assert_in_range(n_woken, 1, RESYNCS_MAX);
    assert_int_equal(controller_pass_count(sim->controller) - passes, 2 * N * n_woken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vm_of_a_fleet_becomes_ready),
        cmocka_unit_test(a_vm_costs_the_same_in_a_fleet_of_any_size),
        SIM_TEST(a_fleet_is_adopted_in_two_passes_a_vm_and_then_left_alone),
        SIM_TEST(a_fleet_at_rest_wakes_only_to_look_at_all_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

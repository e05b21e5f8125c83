/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Nothing grows with the number of passes: memory, descriptors, the store. GROWTH=100000 sets how
 * many passes are made; the first fifth fills what has a bound (events, caches) and is not counted.
 */
#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/sim/sim.h"

enum { PASSES = 5000, N_VMS = 5, PATIENCE_MS = 60 * 60 * 1000 };

/* Bounds, far below one byte a pass of 100 000, and what an allocator's mood needs. */
enum { HEAP_SLACK = 128 << 10, RSS_SLACK = 4 << 20, STORE_SLACK = 256 << 10 };

/* Of the address sanitizer, which keeps freed memory for a while: what is not freed. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

struct sizes {
    int64_t heap, rss, descriptors, store;
};

static int64_t count_descriptors(void)
{
    int64_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir)) {
        n++;
    }
    if (dir) {
        closedir(dir);
    }
    return n;
}

static int64_t resident_bytes(void)
{
    long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %lld", &pages), 1);
    assert_int_equal(fclose(file), 0);
    return pages * 4096;
}

static struct sizes measure(struct sim *sim)
{
    cleanup_free char *data = paths_path(&sim->paths, "store/data.mdb");
    bool is_sanitized = __sanitizer_get_current_allocated_bytes != NULL;
    return (struct sizes){
        .heap = is_sanitized ? (int64_t)__sanitizer_get_current_allocated_bytes()
                             : (int64_t)mallinfo2().uordblks,
        .rss = is_sanitized ? 0 : resident_bytes(),
        .descriptors = count_descriptors(),
        .store = fs_size(data),
    };
}

/* Up, changed, crashed, stopped, destroyed: each VM is at another point of it. */
static void live_on(struct sim *sim, unsigned round)
{
    cleanup_free char *name = mem_printf("vm-%u", round % N_VMS);
    struct vm_spec *spec = sim_spec_with_steps(name, 1);
    spec->memory_mib = 512 + round % 7;
    sim_up(sim, spec);
    sim_wait(sim, name, sim_is_ready, PATIENCE_MS);
    sim_kill_vm(sim, name);
    sim_wait(sim, name, sim_is_ready, PATIENCE_MS);
    if (round % 3 == 0) {
        sim_power(sim, name, POWER_STOPPED);
        sim_wait(sim, name, sim_is_stopped, PATIENCE_MS);
    }
    if (round % 4 == 0) {
        sim_delete(sim, name);
        sim_wait(sim, name, sim_is_gone, PATIENCE_MS);
    }
}

static void run_passes(struct sim *sim, uint64_t n, unsigned *round)
{
    uint64_t end = controller_pass_count(sim->controller) + n;
    while (controller_pass_count(sim->controller) < end) {
        live_on(sim, (*round)++);
    }
}

/* The events are a ring of 10 000: a store that is not full of them yet may still grow by them. */
static void passes_leave_nothing_behind(void **state)
{
    (void)state;
    const char *text = getenv("GROWTH");
    uint64_t n = text ? strtoull(text, NULL, 10) : PASSES;
    int64_t events_bytes = text ? 0 : 2 << 20;
    unsigned round = 0;
    struct sim *sim = sim_new(1);
    sim_start(sim);
    run_passes(sim, n / 5, &round);
    struct sizes before = measure(sim);
    run_passes(sim, n, &round);
    struct sizes after = measure(sim);
    print_message("growth: %llu passes, %u lives: heap %+lld KiB, RSS %+lld KiB, %+lld "
                  "descriptors, store %+lld KiB\n",
        (unsigned long long)n, round, (long long)(after.heap - before.heap) / 1024,
        (long long)(after.rss - before.rss) / 1024,
        (long long)(after.descriptors - before.descriptors),
        (long long)(after.store - before.store) / 1024);
    assert_true(after.heap - before.heap < HEAP_SLACK);
    assert_true(after.rss - before.rss < RSS_SLACK);
    assert_int_equal(after.descriptors, before.descriptors);
    assert_true(after.store - before.store < STORE_SLACK + events_bytes);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Random histories: wishes, faults and deaths of the controller over three VMs, then no more faults
 * and time to settle. What always holds is checked after every step, what must come true at the
 * end.
 *
 * A failure prints its seed; SIM_SEED=N replays that history alone, SIM_HISTORIES=N runs so many.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "tests/sim/sim.h"
#include "tests/support/loop_fake.h"

enum { N_VMS = 3, N_STEPS = 40, N_HISTORIES = 200, SETTLE_MS = 15 * 60 * 1000 };

static const char *const names[N_VMS] = {"ann", "bob", "cid"};

struct history {
    struct sim *sim;
    uint64_t rng;
    bool is_told; /* every step is printed: one history is being replayed */
};

/* xorshift64* */
static uint32_t roll(struct history *h, uint32_t sides)
{
    h->rng ^= h->rng >> 12;
    h->rng ^= h->rng << 25;
    h->rng ^= h->rng >> 27;
    return (uint32_t)((h->rng * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % sides;
}

/* ---- wishes ---- */

/* One that cannot be granted (no such VM, being deleted, a smaller disk) is part of life. */
static void change(struct history *h, const struct change *change)
{
    struct change_outcome outcome = {.result = CHANGE_UNCHANGED};
    struct error err = {.code = ERR_NONE};
    if (change_apply(h->sim->store, change, 1, &outcome, &err) == 0) {
        change_outcome_clear(&outcome);
    } else {
        assert_true(err.code == ERR_VM_NOT_FOUND || err.code == ERR_VM_DELETING ||
                    err.code == ERR_DISK_SHRINK);
    }
}

static struct vm_spec *random_spec(struct history *h, const char *name)
{
    struct vm_spec *spec = roll(h, 2) ? sim_spec_with_steps(name, roll(h, 3)) : sim_spec(name);
    spec->memory_mib = 1024 << roll(h, 2);
    spec->disk_gib = roll(h, 3) * 10;
    spec->restart = (enum restart_policy)roll(h, RESTART_COUNT_);
    if (roll(h, 4) == 0) {
        free(spec->image.location);
        spec->image.location = mem_strdup("/images/other.qcow2");
    }
    return spec;
}

static void up(struct history *h, const char *name)
{
    struct vm_spec *spec = random_spec(h, name);
    change(h, &(struct change){.name = name,
                  .spec = spec,
                  .sets_power = true,
                  .power = roll(h, 5) ? POWER_RUNNING : POWER_SUSPENDED,
                  .provision = roll(h, 3) ? PROVISION_ON_START : PROVISION_KEEP,
                  .recreates = roll(h, 6) == 0,
                  .retries = true});
    vm_spec_free(spec);
}

static void apply(struct history *h, const char *name)
{
    struct vm_spec *spec = random_spec(h, name);
    change(h, &(struct change){.name = name, .spec = spec, .wants_prepared = roll(h, 2)});
    vm_spec_free(spec);
}

static void change_power(struct history *h, const char *name)
{
    change(h, &(struct change){.name = name,
                  .sets_power = true,
                  .power = (enum power)roll(h, POWER_COUNT_),
                  .stop_timeout_s = roll(h, 2) * roll(h, 20)});
}

static void ask_token(struct history *h, const char *name)
{
    uint32_t which = roll(h, 3);
    change(h, &(struct change){.name = name,
                  .restarts = which == 0,
                  .recreates = which == 1,
                  .provision = which == 2 ? PROVISION_AGAIN : PROVISION_KEEP});
}

static void delete (struct history *h, const char *name)
{
    change(h, &(struct change){.name = name, .deletes = true});
}

/* ---- faults ---- */

static void end_machine(struct history *h, const char *name)
{
    static const char *const states[] = {
        "shutdown", "guest-panicked", "internal-error", "io-error", "paused", "running"};
    if (roll(h, 2)) {
        sim_kill_vm(h->sim, name);
    } else if (!text_eq(sim_run_state(h->sim, name), "prelaunch")) {
        sim_set_run_state(h->sim, name, states[roll(h, ARRAY_LEN(states))]);
    }
}

static void lose_files(struct history *h, const char *name)
{
    if (roll(h, 2)) {
        sim_lose_images(h->sim);
    } else if (!sim_is_alive(h->sim, name)) {
        sim_lose_file(h->sim, name, roll(h, 2) ? "noop.disk" : "");
    }
}

static void misbehave(struct history *h, const char *name)
{
    static const char *const faults[] = {"\"failFetch\": 1", "\"failPrepare\": 1",
        "\"failLaunch\": 3", "\"failBoot\": 3", "\"failProbe\": 50", "\"failStep\": 1",
        "\"ignorePowerdown\": true", "\"ignoreQuit\": true", "\"ignoreTerminate\": true",
        "\"silent\": true", "\"imageChanged\": true", "\"powerdownMs\": 4000"};
    const char *a = faults[roll(h, ARRAY_LEN(faults))], *b = faults[roll(h, ARRAY_LEN(faults))];
    cleanup_free char *script =
        mem_printf("{%s, %s, \"fetchMs\": %u, \"prepareMs\": %u, \"launchMs\": %u, \"bootMs\": %u,"
                   " \"probeMs\": %u, \"stepMs\": %u}",
            a, a == b ? "\"x\": 1" : b, roll(h, 900), roll(h, 900), roll(h, 900), roll(h, 900),
            roll(h, 900), roll(h, 900));
    sim_script(h->sim, name, roll(h, 3) ? script : NULL);
}

static void kill_controller(struct history *h, const char *name)
{
    (void)name;
    sim_kill(h->sim);
}

static void start_controller(struct history *h, const char *name)
{
    (void)name;
    sim_start(h->sim);
}

static void reboot_host(struct history *h, const char *name)
{
    (void)name;
    if (roll(h, 3) == 0) {
        sim_reboot_host(h->sim);
    }
}

static void shift_clock(struct history *h, const char *name)
{
    (void)name;
    loop_fake_shift_wall(h->sim->loop, ((int64_t)roll(h, 7200) - 3600) * 1000);
}

/* ---- a step ---- */

struct step {
    const char *what;
    void (*take)(struct history *h, const char *name);
    uint32_t weight;
};

static const struct step steps[] = {
    {"up", up, 20},
    {"apply", apply, 6},
    {"power", change_power, 14},
    {"token", ask_token, 8},
    {"delete", delete, 6},
    {"end machine", end_machine, 14},
    {"lose files", lose_files, 4},
    {"script", misbehave, 14},
    {"kill controller", kill_controller, 10},
    {"start controller", start_controller, 20},
    {"reboot", reboot_host, 3},
    {"shift clock", shift_clock, 2},
};

static const struct step *choose_step(struct history *h)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        sum += steps[i].weight;
    }
    uint32_t n = roll(h, sum);
    const struct step *step = steps;
    while (n >= step->weight) {
        n -= (step++)->weight;
    }
    return step;
}

/* Most steps come in quick succession, some long after. */
static int64_t choose_pause(struct history *h)
{
    static const uint32_t longest_ms[] = {1, 50, 1000, 5000, 60000};
    return roll(h, longest_ms[roll(h, ARRAY_LEN(longest_ms))]);
}

static void take_step(struct history *h)
{
    const struct step *step = choose_step(h);
    const char *name = names[roll(h, N_VMS)];
    if (h->is_told) {
        print_message("%10lld %s %s\n", (long long)sim_now(h->sim), step->what, name);
    }
    step->take(h, name);
    sim_advance(h->sim, choose_pause(h));
    sim_check(h->sim);
}

/* ---- the end ---- */

/* What may stay as it is without the user: what he asked for, or an end that is final by policy. */
static bool has_settled(struct sim *sim, const char *name)
{
    struct vm_record record = sim_record(sim, name);
    const struct vm_status *status = record.status;
    bool has_settled = !record.desired && sim_is_gone(sim, name);
    if (record.desired && status && status->observed_generation == record.desired->generation) {
        bool is_held = status->restart.held_generation == record.desired->generation &&
                       !status->instance.instance_id[0];
        bool has_failed_step = status->provision.is_failed &&
                               status->conditions[CONDITION_RUNNING].state == CONDITION_TRUE;
        has_settled = record.desired->power == POWER_STOPPED ? sim_is_stopped(sim, name)
                      : record.desired->power == POWER_SUSPENDED
                          ? is_held || sim_is_suspended(sim, name)
                          : is_held || has_failed_step || sim_is_ready(sim, name);
    }
    vm_record_clear(&record);
    return has_settled;
}

static void end_faults(struct history *h)
{
    sim_start(h->sim);
    for (size_t i = 0; i < N_VMS; i++) {
        sim_script(h->sim, names[i], NULL);
    }
}

/* All is done, nothing waits: only the resync will wake the controller. */
static void check_quiet(struct history *h)
{
    char before[DIGEST_SIZE], after[DIGEST_SIZE];
    sim_advance(h->sim, SETTLE_MS);
    for (size_t i = 0; i < N_VMS; i++) {
        if (!has_settled(h->sim, names[i])) {
            fail_msg(
                "seed %llu: '%s' did not stay settled", (unsigned long long)h->sim->seed, names[i]);
        }
    }
    sim_store_digest(h->sim, before);
    uint64_t passes = controller_pass_count(h->sim->controller);
    sim_advance(h->sim, SETTLE_MS);
    sim_store_digest(h->sim, after);
    if (strcmp(before, after) != 0 ||
        controller_pass_count(h->sim->controller) - passes > 3 * 2 * N_VMS) {
        fail_msg("seed %llu: a settled controller is busy", (unsigned long long)h->sim->seed);
    }
}

/* The user's last word is obeyed to the letter. */
static void check_last_word(struct history *h, const char *name)
{
    uint32_t which = roll(h, 3);
    struct vm_spec *spec = sim_spec_with_steps(name, 1);
    change(h, &(struct change){.name = name,
                  .spec = spec,
                  .sets_power = true,
                  .power = which == 1 ? POWER_STOPPED : POWER_RUNNING,
                  .provision = PROVISION_AGAIN,
                  .retries = true});
    vm_spec_free(spec);
    if (which == 2) {
        delete (h, name);
    }
    sim_wait(h->sim, name,
        which == 0   ? sim_is_ready
        : which == 1 ? sim_is_stopped
                     : sim_is_gone,
        SETTLE_MS);
}

static void run_history(uint64_t seed, bool is_told)
{
    struct history h = {.sim = sim_new(seed), .rng = seed * 2 + 1, .is_told = is_told};
    sim_start(h.sim);
    for (int i = 0; i < N_STEPS; i++) {
        take_step(&h);
    }
    end_faults(&h);
    for (size_t i = 0; i < N_VMS; i++) {
        sim_wait(h.sim, names[i], has_settled, SETTLE_MS);
    }
    check_quiet(&h);
    for (size_t i = 0; i < N_VMS; i++) {
        check_last_word(&h, names[i]);
    }
    sim_check(h.sim);
    sim_free(h.sim);
}

static void every_history_ends_as_the_user_desired(void **state)
{
    (void)state;
    const char *seed = getenv("SIM_SEED"), *count = getenv("SIM_HISTORIES");
    if (seed) {
        run_history(strtoull(seed, NULL, 10), true);
        return;
    }
    unsigned long n = count ? strtoul(count, NULL, 10) : N_HISTORIES;
    for (unsigned long i = 1; i <= n; i++) {
        run_history(i, false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_history_ends_as_the_user_desired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/sim/sim.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "controller/loop/pool.h"
#include "controller/source/source_watch.h"
#include "reconcilers/vm/reconcile.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "store/writer.h"
#include "tests/support/loop_fake.h"

static void must(int rc, const struct error *err)
{
    if (rc < 0) {
        fail_msg("%s", err->message);
    }
}

/* ---- life ---- */

/* In memory where there is such a place: a history commits a hundred times a second. */
static char *make_data_dir(void)
{
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    char *dir = mem_printf("%s/vmctl-sim-XXXXXX", parent);
    assert_non_null(mkdtemp(dir));
    return dir;
}

struct sim *sim_new(uint64_t seed)
{
    struct sim *sim = mem_new(struct sim);
    struct error err = {.code = ERR_NONE};
    log_init(LOG_ERROR); /* VMCTL_LOG=debug shows a replayed history from inside */
    sim->seed = seed;
    sim->paths.data_dir = make_data_dir();
    must(loop_new(&sim->loop, &err), &err);
    must(store_open(&sim->paths, &sim->store, &err), &err);
    cleanup_free char *scripts = paths_path(&sim->paths, "noop");
    must(fs_make_dirs(scripts, 0700, &err), &err);
    return sim;
}

static void check_event(struct sim *sim, const struct vm_event *event)
{
    if (event->message && strstr(event->message, "runs already")) {
        fail_msg("seed %llu: a second instance of '%s' was launched", (unsigned long long)sim->seed,
            event->vm_name);
    }
}

static void check_events(struct sim *sim)
{
    struct event_list events = {.count = 0};
    struct error err = {.code = ERR_NONE};
    must(store_list_events(sim->store, NULL, 0, 0, &events, &err), &err);
    for (size_t i = 0; i < events.count; i++) {
        check_event(sim, &events.items[i]);
    }
    event_list_clear(&events);
}

void sim_free(struct sim *sim)
{
    struct error err = {.code = ERR_NONE};
    sim_kill(sim);
    check_events(sim);
    store_close(sim->store);
    loop_free(sim->loop);
    must(fs_remove_tree(sim->paths.data_dir, &err), &err);
    paths_clear(&sim->paths);
    free(sim);
}

int sim_set_up(void **state)
{
    struct sim *sim = sim_new(1);
    sim_start(sim);
    *state = sim;
    return 0;
}

int sim_tear_down(void **state)
{
    sim_check(*state);
    sim_free(*state);
    return 0;
}

void sim_start(struct sim *sim)
{
    struct error err = {.code = ERR_NONE};
    if (sim->controller) {
        return;
    }
    must(pool_new(sim->loop, 0, &sim->pool, &err), &err);
    must(store_writer_start(sim->store, STORE_WRITER_INLINE, &sim->writer, &err), &err);
    struct controller_options options = {
        .loop = sim->loop,
        .pool = sim->pool,
        .paths = &sim->paths,
        .store = sim->store,
        .writer = sim->writer,
        .seed = sim->seed,
    };
    sim->controller = controller_new(&options);
    struct reconciler_host *host = controller_host(sim->controller);
    controller_add(sim->controller, vm_reconciler_new(host));
    controller_add(sim->controller, source_watch_new(host));
    must(controller_start(sim->controller, &err), &err);
}

void sim_kill(struct sim *sim)
{
    if (sim->controller) {
        controller_free(TAKE_PTR(sim->controller));
        store_writer_stop(TAKE_PTR(sim->writer));
        pool_free(TAKE_PTR(sim->pool));
    }
}

void sim_reboot_host(struct sim *sim)
{
    cleanup_free char *boot_id = mem_printf("00000000-0000-4000-8000-%012u", ++sim->boots + 1);
    sim_kill(sim);
    loop_fake_set_boot_id(sim->loop, boot_id);
}

/* ---- the user ---- */

struct vm_spec *sim_spec(const char *name)
{
    struct vm_spec *spec = vm_spec_new(name);
    spec->backend = BACKEND_NOOP;
    spec->image.location = mem_strdup("/images/base.qcow2");
    spec->network.mode = NETWORK_NONE;
    return spec;
}

struct vm_spec *sim_spec_with_steps(const char *name, size_t n_steps)
{
    struct vm_spec *spec = sim_spec(name);
    spec->network.mode = NETWORK_USER;
    spec->ssh.is_set = true;
    for (size_t i = 0; i < n_steps; i++) {
        mem_grow(spec->steps, spec->n_steps);
        spec->steps[spec->n_steps++] =
            (struct spec_step){.kind = STEP_INLINE, .command = mem_printf("step %zu", i)};
    }
    return spec;
}

static int apply(
    struct sim *sim, const struct change *change, enum change_result *ret, struct error *err)
{
    struct change_outcome outcome = {.result = CHANGE_UNCHANGED};
    int rc = change_apply(sim->store, change, 1, &outcome, err);
    if (rc == 0) {
        *ret = outcome.result;
        change_outcome_clear(&outcome);
    }
    return rc;
}

enum change_result sim_change(struct sim *sim, const struct change *change)
{
    struct error err = {.code = ERR_NONE};
    enum change_result result = CHANGE_UNCHANGED;
    must(apply(sim, change, &result, &err), &err);
    return result;
}

enum error_code sim_change_failing(struct sim *sim, const struct change *change)
{
    struct error err = {.code = ERR_NONE};
    enum change_result result;
    assert_true(apply(sim, change, &result, &err) < 0);
    return err.code;
}

enum change_result sim_up(struct sim *sim, struct vm_spec *spec_take)
{
    struct change change = {
        .name = spec_take->name,
        .spec = spec_take,
        .source = "/project/VMFile.kdl",
        .sets_power = true,
        .power = POWER_RUNNING,
        .provision = PROVISION_ON_START,
        .retries = true,
    };
    enum change_result result = sim_change(sim, &change);
    vm_spec_free(spec_take);
    return result;
}

void sim_bring_up(struct sim *sim, struct vm_spec *spec_take)
{
    cleanup_free char *name = mem_strdup(spec_take->name);
    sim_up(sim, spec_take);
    sim_wait(sim, name, sim_is_ready, MINUTE_MS);
    sim_settle(sim);
}

enum change_result sim_power(struct sim *sim, const char *name, enum power power)
{
    return sim_change(sim, &(struct change){.name = name, .sets_power = true, .power = power});
}

enum change_result sim_delete(struct sim *sim, const char *name)
{
    return sim_change(sim, &(struct change){.name = name, .deletes = true});
}

/* ---- the world ---- */

static void wake(struct sim *sim, const char *name)
{
    if (sim->controller) {
        struct reconciler_host *host = controller_host(sim->controller);
        host->wake(host, key_of(KEY_VM, name), WORK_EVENT);
    }
}

static char *vm_path(struct sim *sim, const char *name, const char *file)
{
    return mem_printf("%s/vms/%s%s%s", sim->paths.data_dir, name, file[0] ? "/" : "", file);
}

static json_t *read_json(const char *path)
{
    return json_load_file(path, 0, NULL);
}

void sim_script(struct sim *sim, const char *name, const char *json)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = mem_printf("%s/noop/%s.json", sim->paths.data_dir, name);
    must(json ? fs_write_file(path, json, strlen(json), 0600, &err) : fs_remove_file(path, &err),
        &err);
}

/* NULL when it does not live: no state, or one of an earlier boot of the host. */
static json_t *read_machine(struct sim *sim, const char *name)
{
    cleanup_free char *path = vm_path(sim, name, "noop.json");
    cleanup_json json_t *json = read_json(path);
    const char *boot_id = json_text(json, "bootId");
    bool is_alive = text_eq(boot_id, clock_boot_id(loop_clock(sim->loop)));
    return is_alive ? TAKE_PTR(json) : NULL;
}

void sim_edit_machine(struct sim *sim, const char *name, const char *key, json_t *value_take)
{
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *value = value_take;
    cleanup_json json_t *json = read_machine(sim, name);
    if (json) {
        cleanup_free char *path = vm_path(sim, name, "noop.json");
        json_put(json, key, json_incref(value));
        cleanup_free char *text = json_canonical(json);
        must(fs_write_file(path, text, strlen(text), 0600, &err), &err);
    }
}

void sim_set_run_state(struct sim *sim, const char *name, const char *run_state)
{
    sim_edit_machine(sim, name, "runState", json_string(run_state));
    wake(sim, name);
}

void sim_reset_guest(struct sim *sim, const char *name)
{
    cleanup_json json_t *json = read_machine(sim, name);
    sim_edit_machine(sim, name, "resets", json_integer(json_int(json, "resets", 0) + 1));
    wake(sim, name);
}

void sim_lose_share(struct sim *sim, const char *name)
{
    sim_edit_machine(sim, name, "isShareLost", json_true());
    wake(sim, name);
}

void sim_lose_file(struct sim *sim, const char *name, const char *file)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = vm_path(sim, name, file);
    must(fs_remove_tree(path, &err), &err);
    wake(sim, name);
}

void sim_kill_vm(struct sim *sim, const char *name)
{
    sim_lose_file(sim, name, "noop.json");
}

void sim_lose_images(struct sim *sim)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = paths_path(&sim->paths, "noop/images");
    must(fs_remove_tree(path, &err), &err);
}

void sim_living_instance_id(struct sim *sim, const char *name, char *out)
{
    cleanup_json json_t *json = read_machine(sim, name);
    const char *instance_id = json_text(json, "iid");
    snprintf(out, TEXT_ID_SIZE, "%s", instance_id ? instance_id : "");
}

const char *sim_run_state(struct sim *sim, const char *name)
{
    static const char *const names[] = {"prelaunch", "running", "paused", "shutdown",
        "guest-panicked", "io-error", "internal-error", "inmigrate", "postmigrate"};
    cleanup_json json_t *json = read_machine(sim, name);
    const char *run_state = json_text(json, "runState");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (run_state && text_eq(run_state, names[i])) {
            return names[i];
        }
    }
    return "";
}

bool sim_has_dir(struct sim *sim, const char *name)
{
    cleanup_free char *path = vm_path(sim, name, "");
    return fs_exists(path);
}

int64_t sim_disk_birth(struct sim *sim, const char *name)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(64);
    cleanup_free char *path = vm_path(sim, name, "noop.disk");
    return fs_read_file(path, &text, &err) < 0 ? -1 : strtoll(buf_str(&text), NULL, 10);
}

/* ---- time ---- */

struct waiting {
    struct sim *sim;
    const char *name;
    sim_predicate *predicate;
    uint64_t n_passes;
    bool is_asked; /* nothing changes without a pass: asking costs reading records */
};

static bool holds(void *context)
{
    struct waiting *waiting = context;
    uint64_t n_passes =
        waiting->sim->controller ? controller_pass_count(waiting->sim->controller) : 0;
    if (waiting->is_asked && n_passes == waiting->n_passes) {
        return false;
    }
    waiting->is_asked = true;
    waiting->n_passes = n_passes;
    return waiting->predicate(waiting->sim, waiting->name);
}

static void report_status(struct sim *sim, const char *name)
{
    struct vm_record record = sim_record(sim, name);
    for (int i = 0; record.status && i < CONDITION_TYPE_COUNT_; i++) {
        const struct condition *condition = &record.status->conditions[i];
        print_error("  %s=%s %s %s\n", condition_type_name((enum condition_type)i),
            condition_state_name(condition->state), reason_name(condition->reason),
            condition->message ? condition->message : "");
    }
    print_error("  desired=%s journal=%s machine='%s'\n",
        record.desired ? power_name(record.desired->power) : "none",
        record.status ? intent_name(record.status->instance.intent) : "none",
        sim_run_state(sim, name));
    vm_record_clear(&record);
}

void sim_wait(struct sim *sim, const char *name, sim_predicate *predicate, int64_t within_ms)
{
    struct waiting waiting = {.sim = sim, .name = name, .predicate = predicate};
    int64_t deadline_ms = loop_fake_now(sim->loop) + within_ms;
    if (!loop_fake_run_until(sim->loop, holds, &waiting, deadline_ms) && !predicate(sim, name)) {
        report_status(sim, name);
        fail_msg("seed %llu: not within %lld ms: VM '%s'", (unsigned long long)sim->seed,
            (long long)within_ms, name);
    }
}

void sim_advance(struct sim *sim, int64_t ms)
{
    loop_fake_advance(sim->loop, ms);
}

void sim_settle(struct sim *sim)
{
    loop_fake_advance(sim->loop, 0);
}

int64_t sim_now(const struct sim *sim)
{
    return loop_fake_now(sim->loop);
}

/* ---- the records ---- */

struct vm_record sim_record(struct sim *sim, const char *name)
{
    struct vm_record record = {.name = NULL};
    struct error err = {.code = ERR_NONE};
    must(store_get(sim->store, name, &record, &err), &err);
    return record;
}

enum reason sim_reason(struct sim *sim, const char *name, enum condition_type type)
{
    struct vm_record record = sim_record(sim, name);
    enum reason reason = record.status ? record.status->conditions[type].reason : REASON_NONE;
    vm_record_clear(&record);
    return reason;
}

enum condition_state sim_state(struct sim *sim, const char *name, enum condition_type type)
{
    struct vm_record record = sim_record(sim, name);
    enum condition_state state =
        record.status ? record.status->conditions[type].state : CONDITION_ABSENT;
    vm_record_clear(&record);
    return state;
}

void sim_store_digest(struct sim *sim, char *out)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = paths_path(&sim->paths, "store/data.mdb");
    must(digest_file(path, NULL, out, &err), &err);
}

size_t sim_count_leases(struct sim *sim)
{
    struct lease_list leases = {.count = 0};
    struct error err = {.code = ERR_NONE};
    must(store_list_leases(sim->store, NULL, &leases, &err), &err);
    size_t count = leases.count;
    lease_list_clear(&leases);
    return count;
}

unsigned sim_count_events(struct sim *sim, const char *name, enum reason reason)
{
    struct event_list events = {.count = 0};
    struct error err = {.code = ERR_NONE};
    unsigned count = 0;
    must(store_list_events(sim->store, name, 0, 0, &events, &err), &err);
    for (size_t i = 0; i < events.count; i++) {
        count += events.items[i].reason == reason ? events.items[i].count : 0;
    }
    event_list_clear(&events);
    return count;
}

/* A status that the controller has brought up to the newest wish. */
static bool is_observed(const struct vm_record *record)
{
    return record->desired && record->status &&
           record->status->observed_generation == record->desired->generation;
}

bool sim_is_ready(struct sim *sim, const char *name)
{
    struct vm_record record = sim_record(sim, name);
    bool is_ready = is_observed(&record) && vm_status_is_true(record.status, CONDITION_READY) &&
                    text_eq(sim_run_state(sim, name), "running");
    vm_record_clear(&record);
    return is_ready;
}

bool sim_is_stopped(struct sim *sim, const char *name)
{
    struct vm_record record = sim_record(sim, name);
    bool is_stopped = is_observed(&record) && record.desired->power == POWER_STOPPED &&
                      !record.status->instance.instance_id[0] && !sim_is_alive(sim, name) &&
                      record.status->conditions[CONDITION_READY].reason == REASON_STOPPED;
    vm_record_clear(&record);
    return is_stopped;
}

bool sim_is_suspended(struct sim *sim, const char *name)
{
    struct vm_record record = sim_record(sim, name);
    bool is_suspended = is_observed(&record) && record.desired->power == POWER_SUSPENDED &&
                        text_eq(sim_run_state(sim, name), "paused") &&
                        record.status->conditions[CONDITION_READY].reason == REASON_SUSPENDED;
    vm_record_clear(&record);
    return is_suspended;
}

bool sim_is_gone(struct sim *sim, const char *name)
{
    struct vm_record record = sim_record(sim, name);
    struct lease_list leases = {.count = 0};
    struct error err = {.code = ERR_NONE};
    bool is_gone = !record.desired && !record.status && !sim_has_dir(sim, name);
    must(store_list_leases(sim->store, NULL, &leases, &err), &err);
    for (size_t i = 0; i < leases.count; i++) {
        is_gone = is_gone && !text_eq(leases.items[i].vm_name, name);
    }
    lease_list_clear(&leases);
    vm_record_clear(&record);
    return is_gone;
}

bool sim_is_stalled(struct sim *sim, const char *name)
{
    struct vm_record record = sim_record(sim, name);
    bool is_stalled = is_observed(&record) && vm_status_is_true(record.status, CONDITION_STALLED);
    vm_record_clear(&record);
    return is_stalled;
}

bool sim_is_alive(struct sim *sim, const char *name)
{
    char instance_id[TEXT_ID_SIZE];
    sim_living_instance_id(sim, name, instance_id);
    return instance_id[0];
}

bool sim_is_dead(struct sim *sim, const char *name)
{
    return !sim_is_alive(sim, name);
}

/* ---- what always holds ---- */

/* A machine that lives is the one that was recorded, pid and all, before it was let go. */
static void check_machine(struct sim *sim, const char *name)
{
    char instance_id[TEXT_ID_SIZE];
    sim_living_instance_id(sim, name, instance_id);
    if (!instance_id[0]) {
        return;
    }
    struct vm_record record = sim_record(sim, name);
    const struct vm_status *status = record.status;
    bool is_recorded =
        status && text_eq(instance_id, status->instance.instance_id) && status->instance.pid != 0;
    if (!is_recorded || !record.desired) {
        fail_msg("seed %llu: '%s' runs as %s, but recorded is '%s'", (unsigned long long)sim->seed,
            name, instance_id, status ? status->instance.instance_id : "nothing");
    }
    vm_record_clear(&record);
}

/* Every lease belongs to a VM that there is. */
static void check_leases(struct sim *sim)
{
    struct lease_list leases = {.count = 0};
    struct error err = {.code = ERR_NONE};
    must(store_list_leases(sim->store, NULL, &leases, &err), &err);
    for (size_t i = 0; i < leases.count; i++) {
        struct vm_record record = sim_record(sim, leases.items[i].vm_name);
        assert_non_null(record.desired);
        assert_string_equal(record.desired->uid, leases.items[i].uid);
        vm_record_clear(&record);
    }
    lease_list_clear(&leases);
}

void sim_check(struct sim *sim)
{
    struct vm_summary_list list = {.count = 0};
    struct error err = {.code = ERR_NONE};
    must(store_list_summaries(sim->store, &list, &err), &err);
    for (size_t i = 0; i < list.count; i++) {
        assert_false(list.items[i].is_damaged);
        check_machine(sim, list.items[i].name);
    }
    vm_summary_list_clear(&list);
    check_leases(sim);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl controller: vmctld by hand. Other commands start it by themselves. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/request/vm_request.h"
#include "cli/show/output.h"
#include "cli/wait/controller_process.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/owner_lock.h"
#include "specs/base/text.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "store/desired/pending.h"
#include "store/store.h"

struct controller_values {
    bool shuts_down;
};

/* ---- shutting the VMs down with the host ---- */

/* The VMs that are left. Their records are borrowed from `records`. */
struct halt {
    struct strings names;
    struct vm_record *records;
};

static void halt_clear(struct halt *halt)
{
    for (size_t i = 0; i < halt->names.count; i++) {
        vm_record_clear(&halt->records[i]);
    }
    free(TAKE_PTR(halt->records));
    strings_clear(&halt->names);
}

/* Nobody has to be waited for: what depends on it is down, and stays down. */
static bool is_free(const struct halt *halt, size_t index)
{
    for (size_t i = 0; i < halt->names.count; i++) {
        const struct vm_record *other = &halt->records[i];
        for (size_t d = 0; record_has_instance(other) && d < other->desired->spec->n_depends_on;
             d++) {
            if (text_eq(other->desired->spec->depends_on[d], halt->names.items[index])) {
                return false;
            }
        }
    }
    return true;
}

/* The VMs that still have to be halted for this owner, or have been and are not down yet; without
 * those that were given up. A record that cannot be read is one of these. */
static int halt_read(
    struct cli *cli, uint64_t owner, struct strings *given_up, struct halt *ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings all = {.count = 0};
    int rc = targets_of_store(cli, &all, err);
    ret->records = mem_calloc(all.count + 1, sizeof(*ret->records));
    for (size_t i = 0; rc == 0 && i < all.count; i++) {
        struct vm_record record = {.name = NULL};
        struct error why = {.code = ERR_NONE};
        if (store_get(cli->store, all.items[i], &record, &why) < 0) {
            cli_note(cli, "warning: %s", why.message);
            strings_add(given_up, all.items[i]);
        }
        const struct vm_desired *desired = record.desired;
        bool is_halted = desired && desired->halt_owner == owner;
        if (desired && !desired->is_deleting && !strings_have(given_up, all.items[i]) &&
            (!is_halted || record_has_instance(&record))) {
            ret->records[ret->names.count] = record;
            strings_add(&ret->names, all.items[i]);
        } else {
            vm_record_clear(&record);
        }
    }
    return rc;
}

/* Those that nothing depends on any more: all at once, and then until they are down. One that does
 * not run is only kept from starting. Names them in `ret_wave`. */
static int halt_wave(struct cli *cli, uint64_t owner, const struct halt *halt,
    struct strings *ret_wave, struct error *err)
{
    enum { KILL_MS = 60000 }; /* behind stop-timeout: until the last means has shown its effect */
    cleanup_with(strings_clear) struct strings idle = {.count = 0}, running = {.count = 0};
    struct follow_values follow = {.timeout_ms = 0};
    bool is_circle = true; /* left by VMFiles that were applied in parts */
    for (size_t i = 0; i < halt->names.count; i++) {
        is_circle = is_circle && !is_free(halt, i);
    }
    for (size_t i = 0; i < halt->names.count; i++) {
        const struct vm_record *record = &halt->records[i];
        int64_t patience_ms = (int64_t)record->desired->spec->stop_timeout_s * 1000 + KILL_MS;
        if (is_circle || is_free(halt, i)) {
            strings_add(record_has_instance(record) ? &running : &idle, halt->names.items[i]);
            strings_add(ret_wave, halt->names.items[i]);
            follow.timeout_ms = patience_ms > follow.timeout_ms ? patience_ms : follow.timeout_ms;
        }
    }
    const struct change pattern = {.halt_owner = owner, .halt_boot = ""};
    cleanup_with(vm_request_clear) struct request keep = {.count = 0};
    cleanup_with(vm_request_clear) struct request stop = {
        .goal = {.kind = GOAL_STOPPED}, .done = "stopped"};
    vm_request_init(&keep, &idle, &pattern);
    vm_request_init(&stop, &running, &pattern);
    int rc =
        keep.count ? change_apply(cli->store, keep.changes, keep.count, keep.outcomes, err) : 0;
    return rc == 0 && stop.count ? vm_request_run(cli, &stop, &follow, err) : rc;
}

/*
 * Halts the VMs for as long as `owner` lives, what depends on others before those. Killed at any
 * time: the owner is gone, and they are as they were wanted again. A VM that cannot be stopped is
 * given up, and those it depends on are halted all the same: the host will not wait for it.
 */
static int halt_all(struct cli *cli, uint64_t owner, struct strings *given_up, struct error *err)
{
    enum { FIRST_SIGNAL_STATUS = 129 }; /* of an interrupted command */
    for (;;) {
        cleanup_with(halt_clear) struct halt halt = {.records = NULL};
        cleanup_with(halt_clear) struct halt left = {.records = NULL};
        cleanup_with(strings_clear) struct strings wave = {.count = 0};
        int rc = halt_read(cli, owner, given_up, &halt, err);
        if (rc < 0 || halt.names.count == 0) {
            return rc;
        }
        rc = halt_wave(cli, owner, &halt, &wave, err);
        if (rc >= FIRST_SIGNAL_STATUS) {
            return rc;
        }
        bool is_race = rc == -ERR_VM_NOT_FOUND || rc == -ERR_VM_DELETING; /* destroyed meanwhile */
        if (rc < 0 && !is_race) {
            cli_note(cli, "warning: %s", err->message);
        }
        error_clear(err);
        if (rc == 0 || is_race) {
            continue;
        }
        rc = halt_read(cli, owner, given_up, &left, err);
        for (size_t i = 0; i < left.names.count; i++) {
            if (strings_have(&wave, left.names.items[i])) {
                strings_add(given_up, left.names.items[i]);
            }
        }
        if (rc < 0) {
            return rc;
        }
    }
}

/* Sets or clears, for all VMs, that they stay down for as long as `owner` lives, and in the boot
 * `boot` of the host. */
static int keep_down(struct cli *cli, uint64_t owner, const char *boot, struct error *err)
{
    cleanup_with(strings_clear) struct strings all = {.count = 0};
    int rc = targets_of_store(cli, &all, err);
    for (size_t i = 0; rc == 0 && i < all.count; i++) { /* each by itself: others may be deleted */
        const struct change change = {.name = all.items[i], .halt_owner = owner, .halt_boot = boot};
        struct change_outcome outcome = {.result = CHANGE_UNCHANGED};
        cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
        struct error ignored = {.code = ERR_NONE};
        (void)store_get(cli->store, change.name, &record, &ignored);
        const struct vm_desired *desired = record.desired;
        if (desired && (owner || desired->halt_owner || desired->halt_boot[0])) {
            (void)change_apply(cli->store, &change, 1, &outcome, &ignored);
            change_outcome_clear(&outcome);
        }
    }
    return rc;
}

/* The owner lives until the controller has ended, and what is recorded then keeps the VMs down:
 * commands that are still run while the host goes down start a controller, but no VM. */
static int shut_down(struct cli *cli, struct error *err)
{
    cleanup_with(strings_clear) struct strings given_up = {.count = 0};
    cleanup_close int owner_fd = -1;
    uint64_t owner = 0;
    int rc = owner_lock_take(&cli->paths, &owner, &owner_fd, err);
    if (rc < 0 || (rc = halt_all(cli, owner, &given_up, err)) != 0 ||
        (rc = keep_down(cli, owner, clock_boot_id(clock_system()), err)) < 0 ||
        (rc = controller_end(cli, err)) != 0) {
        return rc;
    }
    puts("controller: stopped");
    if (given_up.count > 0) {
        cleanup_buf struct buf names = BUF_INIT(0);
        for (size_t i = 0; i < given_up.count; i++) {
            buf_printf(&names, "%s'%s'", i > 0 ? ", " : "", given_up.items[i]);
        }
        (void)error_set(err, ERR_VM_FAILED, "cannot shut down: vm %s", buf_str(&names));
        return error_help(err, "their QEMU ends with the host, as in a power cut");
    }
    return 0;
}

/* ---- the verbs ---- */

static int run_in_foreground(struct cli *cli, struct error *err)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *program = cli_program_beside("vmctld");
    (void)keep_down(cli, 0, "", &ignored);
    char *const argv[] = {program, mem_strdup("--foreground"), mem_strdup("--data-dir"),
        mem_strdup(cli->paths.data_dir), NULL};
    (void)execv(program, argv);
    (void)error_set_errno(err, ERR_CONTROLLER, errno, "cannot run '%s'", program);
    for (size_t i = 1; argv[i]; i++) {
        free(argv[i]);
    }
    return error_help(err, "install vmctld beside vmctl");
}

static int controller_start_now(struct cli *cli, struct error *err)
{
    int rc = keep_down(cli, 0, "", err);
    if (rc == 0 && (rc = cli_ensure_controller(cli, err)) == 0) {
        puts("controller: running");
    }
    return rc;
}

static int stop(struct cli *cli, struct error *err)
{
    int rc = controller_end(cli, err);
    if (rc == 0) {
        puts("controller: stopped");
    }
    return rc;
}

static void print_status(
    const struct cli *cli, const struct controller_process *process, size_t n_vms)
{
    static const char *const words[] = {
        [CONTROLLER_NONE] = "not running",
        [CONTROLLER_SERVES] = "running",
        [CONTROLLER_CHANGING] = "starting or ending",
        [CONTROLLER_ELSEWHERE] = "running in another PID namespace",
    };
    char age[DURATION_SIZE];
    printf("controller: %s\n",
        process->is_halted ? "halted (SIGSTOP or a debugger)" : words[process->state]);
    if (process->pid) {
        duration_format(clock_wall_ms(clock_system()) - process->started_ms, age);
        printf("pid:        %d\nversion:    %s\nage:        %s\n", (int)process->pid,
            process->version, age);
    }
    printf("data dir:   %s\nVMs:        %zu\n", cli->paths.data_dir, n_vms);
}

static bool is_at_work(const struct controller_process *process)
{
    return process->state == CONTROLLER_SERVES && !process->is_halted;
}

static void controller_print_data(
    const struct cli *cli, const struct controller_process *process, size_t n_vms)
{
    cleanup_json json_t *json = json_object();
    json_put_flag(json, "running", is_at_work(process));
    json_put_flag(json, "halted", process->is_halted);
    if (process->pid) {
        json_put_int(json, "pid", process->pid);
        json_put_text(json, "version", process->version);
        json_put_time(json, "startedAt", process->started_ms);
    }
    json_put_text(json, "dataDir", cli->paths.data_dir);
    json_put_int(json, "vms", (json_int_t)n_vms);
    output_print(cli, json);
}

static int show(struct cli *cli, struct error *err)
{
    struct controller_process process;
    cleanup_with(strings_clear) struct strings vms = {.count = 0};
    int rc = controller_find(cli, &process, err);
    if (rc < 0 || (rc = targets_of_store(cli, &vms, err)) < 0) {
        return rc;
    }
    (output_is_data(cli) ? controller_print_data : print_status)(cli, &process, vms.count);
    if (process.is_halted) {
        cli_note(cli, "it is stopped (SIGSTOP); resume it: kill -CONT %d", (int)process.pid);
    }
    return is_at_work(&process) ? 0 : 1;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    static const struct {
        const char *word;
        int (*run)(struct cli *cli, struct error *err);
    } verbs[] = {{"run", run_in_foreground}, {"start", controller_start_now}, {"status", show}};
    bool shuts_down = ((const struct controller_values *)values)->shuts_down;
    bool is_stop = words->count == 1 && text_eq(words->items[0], "stop");
    if (is_stop || shuts_down) {
        return !is_stop
                   ? error_set(err, ERR_USAGE, "--shut-down-vms is an option of controller stop")
               : shuts_down ? shut_down(cli, err)
                            : stop(cli, err);
    }
    for (size_t i = 0; words->count == 1 && i < ARRAY_LEN(verbs); i++) {
        if (text_eq(verbs[i].word, words->items[0])) {
            return verbs[i].run(cli, err);
        }
    }
    return error_set(err, ERR_USAGE, "controller needs one of: run, start, stop, status");
}

static const struct arg_option options[] = {
    {"shut-down-vms", 0, ARG_FLAG, offsetof(struct controller_values, shuts_down), NULL,
        "stop: shut the VMs down first; they start after the next boot"},
    OPTIONS_END,
};

const struct command command_controller = {
    .name = "controller",
    .summary = "Run, start, stop or check the controller",
    .usage = "run|start|stop|status [OPTIONS]",
    .details =
        "vmctld keeps the VMs in the state you requested. Commands that need it start it, so you\n"
        "need these commands only in service managers (run) and to inspect it. Stopping it leaves\n"
        "the VMs running, and the next controller takes them over. With --shut-down-vms, the VMs\n"
        "are shut down first, dependents before what they depend on, and stay off until the host\n"
        "boots again or until controller start: use it in the host's own shutdown. status exits\n"
        "with 1 when no controller runs, or when it is stopped (SIGSTOP).",
    .examples = "  vmctl controller status",
    .options = options,
    .values_size = sizeof(struct controller_values),
    .run = run,
};

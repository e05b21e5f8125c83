/* SPDX-License-Identifier: MPL-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/noop/noop.h"
#include "reconcilers/media/snapshot.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

struct machine {
    struct reconciler_host *host; /* borrowed */
    char *name;
    void (*changed)(void *context);
    void *context;
    bool
        is_waiting; /* launched but not released: ends with the controller, as QEMU's child would */
    char instance_id[TEXT_ID_SIZE];
    struct vm_instance *launching; /* borrowed from the operation in progress */
    struct boot_result *booting;   /* the same */
    struct loop_timer *powerdown;  /* NULL: the guest is not shutting down */
    uint32_t launch_tries, boot_tries, freeze_tries, save_tries, load_tries, copy_tries, thaw_tries;
    char *copy;                      /* path of the copy that is being made; NULL: none is */
    struct snapshot_made *copy_made; /* borrowed from that operation */
    bool copy_freezes;
    bool is_woken; /* it is launched for the memory of a template, or its own */
    bool is_saved; /* … of its own */
    bool is_clone; /* its disk is one */
};

static struct machine *noop_open(struct reconciler_host *host, const char *vm_name,
    void (*changed)(void *context), void *context)
{
    struct machine *machine = mem_new(struct machine);
    machine->host = host;
    machine->name = mem_strdup(vm_name);
    machine->changed = changed;
    machine->context = context;
    return machine;
}

static void noop_close(struct machine *machine)
{
    if (machine) {
        loop_timer_free(machine->powerdown);
        free(machine->copy);
        free(machine->name);
        free(machine);
    }
}

static void noop_observe(
    struct machine *machine, const struct vm_env *env, struct machine_facts *ret)
{
    struct noop_state state = noop_state_read(machine->host, machine->name);
    bool has_ended = !state.is_alive && env->status->instance.instance_id[0];
    bool is_silent = noop_script_flag(machine->host, machine->name, "silent");
    *ret = (struct machine_facts){
        .is_alive = state.is_alive || machine->is_waiting,
        .is_waiting = machine->is_waiting,
        .run_state = is_silent ? RUN_STATE_UNKNOWN : state.run_state,
        .n_resets = state.n_resets,
        .is_cut_off = state.is_network_lost,
        .is_network_lost = state.is_network_lost,
        .lost_share = state.is_share_lost ? "/work" : NULL,
        .is_tpm_lost = state.is_tpm_lost,
        .exit_status = -1,
        .oom_kill = has_ended && noop_script_flag(machine->host, machine->name, "oomKilled")
                        ? OOM_KILL_BY_LIMIT
                        : OOM_KILL_NONE,
        .agent = noop_script_flag(machine->host, machine->name, "agent") ? "noop" : NULL,
    };
}

static char *noop_memory_host(const struct reconciler_host *host)
{
    return mem_printf("host %lld", (long long)noop_script_int(host, "default", "host", 0));
}

static void launched(void *context)
{
    struct machine *machine = context;
    machine->is_waiting = true;
    machine->launching->pid = getpid();
    machine->launching->start_ticks = 1;
    (void)snprintf(
        machine->launching->boot_id, CLOCK_BOOT_ID_SIZE, "%s", clock_boot_id(machine->host->clock));
    memcpy(machine->instance_id, machine->launching->instance_id, TEXT_ID_SIZE);
    if (vm_spec_name_is_of_template(machine->name)) {
        machine->launching->memory_host = noop_memory_host(machine->host);
    }
}

/* Two instances on one disk are refused, as alive.lock does it for QEMU. */
static struct op *noop_launch(struct machine *machine, const struct vm_env *env,
    struct vm_instance *instance, op_done_fn *done, void *context)
{
    bool is_taken = machine->is_waiting || noop_state_read(machine->host, env->name).is_alive;
    const struct noop_call call = {
        .host = machine->host,
        .vm_name = env->name,
        .ms_key = "launchMs",
        .fail_key = is_taken ? NULL : "failLaunch",
        .code = is_taken ? ERR_VM_CONFLICT : ERR_QEMU_SPAWN,
        .tries = &machine->launch_tries,
        .effect = launched,
        .effect_context = machine,
    };
    machine->launching = instance;
    machine->is_woken =
        env->status->prepared.wake == WAKE_DUE || env->status->saved.phase == SAVED_WHOLE;
    return noop_start(&call, done, context);
}

/* The state of a machine that does not exist cannot change: a late timer or command does nothing.
 * An unchanged state is not written: adopting a fleet observes each VM, and every write waits for
 * the disk. */
static void change_run_state(
    struct machine *machine, struct noop_state *state, enum run_state run_state)
{
    if (state->is_alive && state->run_state != run_state) {
        state->run_state = run_state;
        noop_state_write(machine->host, machine->name, state);
        machine->changed(machine->context);
    }
}

static void set_run_state(struct machine *machine, enum run_state run_state)
{
    struct noop_state state = noop_state_read(machine->host, machine->name);
    change_run_state(machine, &state, run_state);
}

static void machine_end(struct machine *machine)
{
    machine->is_waiting = false;
    loop_timer_free(TAKE_PTR(machine->powerdown));
    noop_state_write(machine->host, machine->name, &(struct noop_state){.is_alive = false});
    machine->changed(machine->context);
}

static void noop_release(struct machine *machine)
{
    struct noop_state state = {.is_alive = true,
        .run_state = machine->is_woken ? RUN_STATE_INMIGRATE : RUN_STATE_PRELAUNCH};
    if (machine->is_waiting) {
        machine->is_waiting = false;
        memcpy(state.instance_id, machine->instance_id, TEXT_ID_SIZE);
        noop_state_write(machine->host, machine->name, &state);
        machine->changed(machine->context);
    }
}

/* A guest ran on a disk that memory belonged to, or memory was loaded onto such a disk. */
static void note_ruined(const struct reconciler_host *host)
{
    cleanup_free char *ruined = paths_path(host->paths, "noop/ruined");
    noop_write_file(ruined, "");
}

static char *read_text(const char *path)
{
    cleanup_buf struct buf text = BUF_INIT(64);
    struct error ignored = {.code = ERR_NONE};
    (void)fs_read_file(path, &text, &ignored);
    return mem_strdup(buf_str(&text));
}

static char *path_of_runs(const struct machine *machine)
{
    return paths_in_vm(machine->host->paths, machine->name, "noop.runs");
}

/* How often a guest began to run, or ran on, on this disk beside memory that was saved. free() it.
 */
static char *runs_of_disk(const struct machine *machine)
{
    cleanup_free char *path = path_of_runs(machine), *text = read_text(path);
    return mem_printf("%08ld", strtol(text, NULL, 10));
}

static void count_run(const struct machine *machine)
{
    cleanup_free char *path = path_of_runs(machine), *runs = runs_of_disk(machine);
    cleanup_free char *more = mem_printf("%08ld", strtol(runs, NULL, 10) + 1);
    noop_write_file(path, more);
}

/* Of a guest whose file systems are frozen; in it, how often thawing them was tried. free() it. */
static char *path_of_frost(const struct machine *machine)
{
    return paths_in_vm(machine->host->paths, machine->name, "noop.frozen");
}

static void melt(const struct machine *machine)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *frost = path_of_frost(machine);
    (void)fs_remove_file(frost, &ignored);
}

static void booted(void *context)
{
    struct machine *machine = context;
    struct noop_state state = noop_state_read(machine->host, machine->name);
    if (state.run_state == RUN_STATE_PRELAUNCH) {
        melt(machine); /* another guest's */
    }
    if (machine->is_clone) {
        cleanup_free char *used = noop_path_of_use(machine->host, machine->name);
        noop_write_file(used, "");
    }
    cleanup_free char *saved = paths_vm(machine->host->paths, machine->name, VM_SAVED_MEMORY);
    bool has_saved = fs_exists(saved);
    if (has_saved && state.run_state != RUN_STATE_RUNNING) { /* else it is found running */
        count_run(machine);
    }
    if (has_saved && !machine->is_saved) { /* it was of the disk as that was before */
        note_ruined(machine->host);
    }
    if (state.is_changed) {
        machine->booting->changes = mem_strdup("what was changed");
        state.is_changed = false;
        noop_state_write(machine->host, machine->name, &state);
    }
    if (state.is_network_lost) {
        machine->booting->is_rejoined = true;
        state.is_network_lost = false;
        noop_state_write(machine->host, machine->name, &state);
    }
    change_run_state(machine, &state, RUN_STATE_RUNNING);
}

static struct op *noop_boot(struct machine *machine, const struct vm_env *env,
    struct boot_result *result, op_done_fn *done, void *context)
{
    bool is_port_taken =
        machine->boot_tries < noop_script_int(machine->host, env->name, "takenPorts", 0);
    const struct noop_call call = {
        .host = machine->host,
        .vm_name = env->name,
        .ms_key = "bootMs",
        .fail_key = is_port_taken ? "takenPorts" : "failBoot",
        .code = is_port_taken ? ERR_PORT_TAKEN : ERR_QMP_COMMAND,
        .tries = &machine->boot_tries,
        .effect = booted,
        .effect_context = machine,
    };
    machine->booting = result;
    machine->is_saved = env->status->saved.phase == SAVED_LOADED;
    machine->is_clone = env->status->prepared.template_digest[0];
    if (is_port_taken) {
        result->taken_port = mem_printf("tcp/%u", env->status->ssh_port);
    }
    return noop_start(&call, done, context);
}

/* ---- memory ---- */

static void frozen(void *context)
{
    struct machine *machine = context;
    cleanup_free char *memory = paths_vm(machine->host->paths, machine->name, VM_MEMORY_FILE);
    cleanup_free char *state = paths_vm(machine->host->paths, machine->name, VM_MACHINE_STATE);
    noop_write_file(memory, "memory");
    noop_write_file(state, "state");
    set_run_state(machine, RUN_STATE_POSTMIGRATE);
}

static struct op *noop_freeze(
    struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context)
{
    const struct noop_call call = {
        .host = machine->host,
        .vm_name = env->name,
        .ms_key = "freezeMs",
        .fail_key = "failFreeze",
        .code = ERR_TEMPLATE,
        .tries = &machine->freeze_tries,
        .effect = frozen,
        .effect_context = machine,
    };
    set_run_state(machine, RUN_STATE_PAUSED);
    return noop_start(&call, done, context);
}

static void saved(void *context)
{
    struct machine *machine = context;
    cleanup_free char *file = paths_vm(machine->host->paths, machine->name, VM_SAVED_MEMORY);
    cleanup_free char *runs = runs_of_disk(machine);
    noop_write_file(file, runs);
    set_run_state(machine, RUN_STATE_POSTMIGRATE);
}

static struct op *noop_save(
    struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context)
{
    const struct noop_call call = {
        .host = machine->host,
        .vm_name = env->name,
        .ms_key = "saveMs",
        .fail_key = "failSave",
        .code = ERR_SAVED_MEMORY,
        .tries = &machine->save_tries,
        .effect = saved,
        .effect_context = machine,
    };
    if (noop_state_read(machine->host, machine->name).run_state != RUN_STATE_POSTMIGRATE) {
        set_run_state(machine, RUN_STATE_PAUSED);
    }
    return noop_start(&call, done, context);
}

static void loaded(void *context)
{
    struct machine *machine = context;
    cleanup_free char *used = noop_path_of_use(machine->host, machine->name);
    cleanup_free char *saved = paths_vm(machine->host->paths, machine->name, VM_SAVED_MEMORY);
    cleanup_free char *then = read_text(saved), *now = runs_of_disk(machine);
    bool is_of_another = machine->is_saved && !text_eq(then, now);
    if (is_of_another || (fs_exists(used) && !machine->is_saved)) {
        note_ruined(machine->host);
    }
    set_run_state(machine, RUN_STATE_PAUSED);
}

static struct op *noop_load(
    struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context)
{
    const struct noop_call call = {
        .host = machine->host,
        .vm_name = env->name,
        .ms_key = "loadMs",
        .fail_key = "failLoad",
        .code = ERR_TEMPLATE,
        .tries = &machine->load_tries,
        .effect = loaded,
        .effect_context = machine,
    };
    machine->is_saved = env->status->saved.phase == SAVED_WHOLE;
    return noop_start(&call, done, context);
}

/* ---- copies of a disk in use ---- */

static void copied(void *context)
{
    struct machine *machine = context;
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *dir = paths_in_vm(machine->host->paths, machine->name, "snapshots");
    bool thaws = !noop_script_flag(machine->host, machine->name, "keepsFrozen");
    if (fs_make_dirs(dir, 0700, &ignored) == 0) {
        noop_write_file(machine->copy, "noop");
    }
    machine->copy_made->is_frozen = machine->copy_freezes;
    machine->copy_made->is_thawed = machine->copy_freezes && thaws;
    if (machine->copy_made->is_thawed) {
        melt(machine);
    }
}

static struct op *noop_copy(struct machine *machine, const struct vm_env *env,
    const struct snapshot_order *order, struct snapshot_made *result, op_done_fn *done,
    void *context)
{
    const struct noop_call call = {
        .host = machine->host,
        .vm_name = env->name,
        .ms_key = "copyMs",
        .fail_key = "failCopy",
        .code = ERR_IO,
        .tries = &machine->copy_tries,
        .effect = copied,
        .effect_context = machine,
    };
    free(machine->copy);
    machine->copy = snapshot_path(machine->host->paths, env->name, order->token);
    machine->copy_made = result;
    machine->copy_freezes = vm_status_is_frozen(env->status);
    if (machine->copy_freezes) {
        cleanup_free char *frost = path_of_frost(machine);
        noop_write_file(frost, "0000");
    }
    return noop_start(&call, done, context);
}

static void thawed(void *context)
{
    melt(context);
}

static struct op *noop_thaw(
    struct machine *machine, const struct vm_env *env, op_done_fn *done, void *context)
{
    const struct noop_call call = {
        .host = machine->host,
        .vm_name = env->name,
        .ms_key = "thawMs",
        .fail_key = "failThaw",
        .code = ERR_TIMEOUT,
        .tries = &machine->thaw_tries,
        .effect = thawed,
        .effect_context = machine,
    };
    cleanup_free char *frost = path_of_frost(machine);
    cleanup_free char *tries = mem_printf("%04u", machine->thaw_tries + 1);
    if (fs_exists(frost)) {
        noop_write_file(frost, tries);
    }
    return noop_start(&call, done, context);
}

/* ---- commands ---- */

static void power_off(void *context)
{
    struct machine *machine = context;
    loop_timer_free(TAKE_PTR(machine->powerdown));
    set_run_state(machine, RUN_STATE_SHUTDOWN);
}

/* The first press counts; later ones do not extend the delay. */
static void press_power_button(struct machine *machine)
{
    struct reconciler_host *host = machine->host;
    enum run_state run_state = noop_state_read(host, machine->name).run_state;
    bool is_ignored = noop_script_flag(host, machine->name, "ignorePowerdown");
    if (run_state == RUN_STATE_RUNNING && !is_ignored && !machine->powerdown) {
        machine->powerdown = loop_timer_new(host->loop, power_off, machine);
        loop_timer_start(
            machine->powerdown, noop_script_int(host, machine->name, "powerdownMs", 0));
    }
}

static void end_unless(struct machine *machine, const char *flag)
{
    if (!noop_script_flag(machine->host, machine->name, flag)) {
        machine_end(machine);
    }
}

static void noop_command(
    struct machine *machine, const struct vm_env *env, enum machine_command command)
{
    (void)env;
    switch (command) {
    case MACHINE_RESUME:
        count_run(machine);
        set_run_state(machine, RUN_STATE_RUNNING);
        break;
    case MACHINE_PAUSE:
        set_run_state(machine, RUN_STATE_PAUSED);
        break;
    case MACHINE_POWERDOWN:
        press_power_button(machine);
        break;
    case MACHINE_QUIT:
        end_unless(machine, "ignoreQuit");
        break;
    case MACHINE_TERMINATE:
        end_unless(machine, "ignoreTerminate");
        break;
    case MACHINE_KILL:
        end_unless(machine, "ignoreKill");
        break;
    case MACHINE_COMMAND_COUNT_:
        break;
    }
}

const struct machine_ops noop_machine_ops = {
    .open = noop_open,
    .close = noop_close,
    .observe = noop_observe,
    .launch = noop_launch,
    .release = noop_release,
    .boot = noop_boot,
    .memory_host = noop_memory_host,
    .freeze = noop_freeze,
    .save = noop_save,
    .load = noop_load,
    .snapshot = noop_copy,
    .thaw = noop_thaw,
    .command = noop_command,
};

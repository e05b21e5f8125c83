/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/machine.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "controller/loop/pool.h"
#include "controller/loop/process.h"
#include "reconcilers/backend/qemu/agent_watch.h"
#include "reconcilers/backend/qemu/argv.h"
#include "reconcilers/backend/qemu/monitor.h"
#include "reconcilers/backend/qemu/qemu_log.h"
#include "reconcilers/backend/qemu/share_watch.h"
#include "reconcilers/backend/qemu/spawn.h"
#include "reconcilers/backend/qemu/switch_link.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/log.h"
#include "specs/base/log_file.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/proc_stat.h"

/* ---- the logs ---- */

struct rotation {
    char *console_log, *qemu_log;
};

static void rotation_free(void *context)
{
    struct rotation *rotation = context;
    free(rotation->console_log);
    free(rotation->qemu_log);
    free(rotation);
}

static int rotate_logs(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    const struct rotation *rotation = context;
    (void)is_cancelled;
    int rc = log_file_rotate(rotation->console_log, CONSOLE_LOG_MAX, err);
    return rc < 0 ? rc : log_file_rotate(rotation->qemu_log, QEMU_LOG_MAX, err);
}

static void logs_rotated(void *context, const struct error *err)
{
    struct machine *machine = context;
    machine->rotation = NULL;
    if (err) {
        log_warn("qemu", "%s: %s", machine->vm_name, err->message);
    }
}

/* The guest writes console.log, and can make QEMU write to qemu.log. Looking at their sizes now and
 * then costs an idle VM no wake-up of its own. A VM that is off has its logs looked at once: it may
 * have written while no controller ran. */
static void look_at_logs(void *context)
{
    struct machine *machine = context;
    struct loop *loop = machine->host->loop;
    cleanup_free char *console_log =
        paths_vm(machine->host->paths, machine->vm_name, VM_CONSOLE_LOG);
    bool is_too_large =
        fs_size(console_log) > CONSOLE_LOG_MAX || fs_size(machine->log_path) > QEMU_LOG_MAX;
    if (is_too_large && !machine->rotation) {
        struct rotation *rotation = mem_new(struct rotation);
        *rotation = (struct rotation){TAKE_PTR(console_log), mem_strdup(machine->log_path)};
        machine->rotation = pool_start(
            machine->host->pool, rotate_logs, rotation_free, rotation, logs_rotated, machine);
    }
    if (machine->monitor) {
        loop_timer_start(machine->log_timer, MONITOR_POLL_MS - loop_now_ms(loop) % MONITOR_POLL_MS);
    }
}

/* ---- the handle ---- */

static struct machine *machine_open(struct reconciler_host *host, const char *vm_name,
    void (*changed)(void *context), void *context)
{
    struct machine *machine = mem_new(struct machine);
    *machine = (struct machine){.host = host,
        .vm_name = mem_strdup(vm_name),
        .lock_path = paths_vm(host->paths, vm_name, VM_ALIVE_LOCK),
        .control_path = paths_vm(host->paths, vm_name, VM_CONTROL_SOCKET),
        .log_path = paths_vm(host->paths, vm_name, VM_QEMU_LOG),
        .changed = changed,
        .context = context,
        .exit_status = -1,
        .start_pipe = -1};
    machine->log_timer = loop_timer_new(host->loop, look_at_logs, machine);
    look_at_logs(machine);
    return machine;
}

static void forget_process(struct machine *machine)
{
    if (machine->process) {
        (void)process_exit_status(machine->process); /* reaps a zombie */
    }
    process_close(TAKE_PTR(machine->process));
    machine->exit_status = -1;
}

/* The waiting child sees the end of the stream and exits. */
static void cancel_start(struct machine *machine)
{
    if (machine->start_pipe >= 0) {
        close(TAKE_FD(machine->start_pipe));
    }
}

static void machine_close(struct machine *machine)
{
    if (!machine) {
        return;
    }
    op_cancel(machine->rotation);
    loop_timer_free(machine->log_timer);
    monitor_free(machine->monitor);
    agent_watch_free(machine->agent);
    for (size_t i = 0; i < NETWORKS_MAX; i++) {
        switch_link_free(machine->networks[i]);
    }
    share_watch_free(machine->shares);
    forget_process(machine);
    cancel_start(machine);
    free(machine->vm_name);
    free(machine->lock_path);
    free(machine->control_path);
    free(machine->log_path);
    free(machine->last_output);
    machine_sweep_limits(machine);
    free(machine->limit_fault);
    free(machine->told_fault);
    free(machine);
}

static void report_changed(void *context)
{
    struct machine *machine = context;
    agent_watch_note(machine->agent, machine->monitor && monitor_has_agent(machine->monitor));
    machine->changed(machine->context);
}

static void process_exited(void *context)
{
    struct machine *machine = context;
    machine->exit_status = process_exit_status(machine->process);
    machine_sweep_limits(machine);
    machine->changed(machine->context);
}

/* ---- the process ---- */

static int watch_process(struct machine *machine, const char *instance_id, pid_t pid,
    uint64_t start_ticks, struct error *err)
{
    (void)snprintf(
        machine->process_instance_id, sizeof(machine->process_instance_id), "%s", instance_id);
    return process_watch(
        machine->host->loop, pid, start_ticks, process_exited, machine, &machine->process, err);
}

static void drop_monitor(struct machine *machine)
{
    monitor_free(TAKE_PTR(machine->monitor));
    share_watch_free(TAKE_PTR(machine->shares));
    agent_watch_free(TAKE_PTR(machine->agent));
}

int machine_take_child(struct machine *machine, const char *instance_id,
    struct spawned *spawned_take, struct error *err)
{
    cancel_start(machine);
    drop_monitor(machine);
    forget_process(machine);
    machine->is_output_read = false;
    machine->is_unthrottled = true;
    machine->limit_state = MACHINE_UNLIMITED;
    free(TAKE_PTR(machine->limit_fault));
    machine->start_pipe = TAKE_FD(spawned_take->start_pipe);
    int rc = watch_process(machine, instance_id, spawned_take->pid, spawned_take->start_ticks, err);
    if (rc < 0) {
        cancel_start(machine);
    }
    return rc;
}

/* After a restart of the controller: uses the record, if it is of this boot of the host. */
static void find_recorded_process(struct machine *machine, const struct vm_instance *instance)
{
    bool is_of_this_boot = strcmp(instance->boot_id, clock_boot_id(machine->host->clock)) == 0;
    if (!machine->process && instance->pid > 0 && is_of_this_boot) {
        struct error err = {0};
        (void)watch_process(
            machine, instance->instance_id, instance->pid, instance->start_ticks, &err);
    }
}

/* Without a record (the store was lost): uses the control socket's peer. Our own pid means that the
 * connection was queued before QEMU ran. */
static void find_answering_process(struct machine *machine, const struct vm_instance *instance)
{
    pid_t pid = machine->monitor ? monitor_peer_pid(machine->monitor) : 0;
    uint64_t start_ticks = 0;
    if (!machine->process && pid > 0 && pid != getpid() &&
        proc_stat_start_ticks(pid, &start_ticks)) {
        struct error err = {0};
        (void)watch_process(machine, instance->instance_id, pid, start_ticks, &err);
    }
}

static void open_monitor(struct machine *machine, const char *instance_id)
{
    machine->monitor = monitor_new(machine->host->loop, machine->vm_name, machine->control_path,
        instance_id, report_changed, machine);
    cleanup_free char *agent = paths_vm(machine->host->paths, machine->vm_name, VM_AGENT_SOCKET);
    machine->agent = agent_watch_new(
        machine->host->loop, machine->vm_name, agent, machine->changed, machine->context);
    look_at_logs(machine);
}

static void machine_release(struct machine *machine)
{
    if (machine->start_pipe >= 0) {
        spawn_release(TAKE_FD(machine->start_pipe));
        open_monitor(machine, machine->process_instance_id);
    }
}

/* Drops the monitor and the process of any instance but the recorded one. */
static void drop_other_instance(struct machine *machine, const char *instance_id)
{
    if (machine->monitor && strcmp(monitor_instance_id(machine->monitor), instance_id) != 0) {
        drop_monitor(machine);
    }
    if (machine->process && strcmp(machine->process_instance_id, instance_id) != 0) {
        forget_process(machine);
    }
}

/* ---- facts ---- */

/*
 * The lock shows a process that is not recorded; the recorded process shows itself when the lock's
 * file was removed (by a cleaner of old files). The lock is free a moment before the process has
 * exited; only then is its status known.
 */
static bool is_alive(struct machine *machine, const struct vm_instance *instance)
{
    if (lockfile_is_held(machine->lock_path)) {
        return true;
    }
    if (machine->start_pipe < 0) {
        drop_other_instance(machine, instance->instance_id);
        find_recorded_process(machine, instance);
    }
    return machine->process && process_is_alive(machine->process);
}

static void observe_dead(
    struct machine *machine, const struct vm_env *env, struct machine_facts *ret)
{
    const struct vm_instance *instance = &env->status->instance;
    cancel_start(machine);
    drop_monitor(machine);
    drop_other_instance(machine, instance->instance_id);
    find_recorded_process(machine, instance); /* gone, or a zombie that has its status */
    if (machine->process && machine->exit_status < 0) {
        machine->exit_status = process_exit_status(machine->process);
    }
    if (!machine->is_output_read && instance->instance_id[0]) {
        free(machine->last_output);
        machine->last_output = qemu_log_last_line(machine->log_path);
        machine_find_oom_kill(machine, env);
        machine->is_output_read = true;
    } else if (machine->oom_kill != OOM_KILL_NONE && !instance->instance_id[0]) {
        machine_forget_oom_kill(machine, env->uid);
    }
    ret->exit_status = machine->exit_status;
    /* The count of a group says nothing of a process that ended in another way. */
    bool is_killed = ret->exit_status < 0 ||
                     (WIFSIGNALED(ret->exit_status) && WTERMSIG(ret->exit_status) == SIGKILL);
    ret->oom_kill = is_killed ? machine->oom_kill : OOM_KILL_NONE;
    ret->last_output = instance->instance_id[0] ? machine->last_output : NULL;
}

static void observe_alive(
    struct machine *machine, const struct vm_env *env, struct machine_facts *ret)
{
    const struct vm_instance *instance = &env->status->instance;
    const struct vm_spec *spec = vm_status_running_spec(env->status);
    machine->is_output_read = false;
    if (machine->start_pipe >= 0) {
        ret->is_waiting = true;
        return;
    }
    drop_other_instance(machine, instance->instance_id);
    find_recorded_process(machine, instance);
    if (!machine->monitor) {
        open_monitor(machine, instance->instance_id);
    }
    find_answering_process(machine, instance);
    if (!machine->shares && spec && (spec->n_shares > 0 || spec->has_tpm)) {
        cleanup_free char *dir = paths_vm(machine->host->paths, machine->vm_name, VM_DIR);
        machine->shares = share_watch_new(machine->host->loop, dir, spec, report_changed, machine);
    }
    if (machine->limit_state == MACHINE_LIMIT_UNKNOWN && spec && instance->pid > 0) {
        machine_limit(machine, spec, env->uid, instance->pid);
    }
    ret->is_limited = machine->limit_state == MACHINE_LIMITED && !machine->limit_fault;
    free(machine->told_fault);
    machine->told_fault = mem_strdup(machine->limit_fault);
    ret->limit_fault = machine->told_fault;
    bool is_searched = spec && spec->network.mode == NETWORK_TAP && !env->status->was_reached;
    agent_watch_find_address(machine->agent, is_searched ? env->status->mac : NULL);
    ret->lost_share = share_watch_lost(machine->shares);
    ret->is_tpm_lost = share_watch_is_tpm_lost(machine->shares);
    ret->run_state = monitor_run_state(machine->monitor);
    ret->silent_ms = monitor_silent_ms(machine->monitor);
    ret->n_resets = monitor_resets(machine->monitor);
    ret->agent = agent_watch_version(machine->agent);
    ret->is_agent_asked =
        agent_watch_is_asking(machine->agent) || monitor_is_agent_unknown(machine->monitor);
    ret->agent_address = agent_watch_address(machine->agent);
}

/* Also of a network that its VMFile does not name any more. NULL: it is no project network; false:
 * it is none at all. */
static bool network_of(const struct vm_env *env, size_t i, const char **ret)
{
    const struct vm_spec *running = env->status->applied_spec;
    const struct spec_network *network = running ? vm_spec_network(running, i) : NULL;
    *ret = network && network->mode == NETWORK_PROJECT ? network->network : NULL;
    return network;
}

static void machine_observe(
    struct machine *machine, const struct vm_env *env, struct machine_facts *ret)
{
    const struct vm_instance *instance = &env->status->instance;
    *ret = (struct machine_facts){.is_alive = is_alive(machine, instance), .exit_status = -1};
    const char *network;
    if (ret->is_alive) {
        observe_alive(machine, env, ret);
    }
    for (size_t i = 0; network_of(env, i, &network); i++) {
        if (network && !ret->is_alive) {
            switch_leave(machine->host->paths, network, machine->vm_name);
        } else if (network && !switch_link_is_up(machine->networks[i])) {
            ret->is_cut_off = true;
            ret->is_network_lost |= switch_link_was_lost(machine->networks[i]);
        }
    }
    if (!ret->is_alive) {
        observe_dead(machine, env, ret);
    }
}

/* ---- commands ---- */

static void send_command(struct machine *machine, const char *command)
{
    struct error err = {0};
    int rc =
        machine->monitor ? monitor_execute(machine->monitor, command, NULL, NULL, NULL, &err) : 0;
    if (rc < 0) {
        log_debug("qemu", "%s: %s", machine->vm_name, err.message);
    }
}

/* A machine without ACPI has no other button for it. */
static void press_power(struct machine *machine)
{
    struct error ignored = {.code = ERR_NONE};
    json_t *key = json_object(), *keys = json_array(), *arguments = json_object();
    json_put_text(key, "type", "qcode");
    json_put_text(key, "data", "power");
    (void)json_array_append_new(keys, key);
    json_put(arguments, "keys", keys);
    (void)monitor_execute(machine->monitor, "send-key", arguments, NULL, NULL, &ignored);
}

static void machine_command(
    struct machine *machine, const struct vm_env *env, enum machine_command command)
{
    static const struct {
        bool ends; /* a child that still waits must not start */
        const char *qmp;
        int signal; /* without `qmp` */
    } commands[MACHINE_COMMAND_COUNT_] = {
        [MACHINE_RESUME] = {.qmp = "cont"},
        [MACHINE_PAUSE] = {.qmp = "stop"},
        [MACHINE_POWERDOWN] = {.ends = true, .qmp = "system_powerdown"},
        [MACHINE_QUIT] = {.ends = true, .qmp = "quit"},
        [MACHINE_TERMINATE] = {.ends = true, .signal = SIGTERM},
        [MACHINE_KILL] = {.ends = true, .signal = SIGKILL},
    };
    bool is_called_off =
        command == MACHINE_RESUME && env->status && env->status->saved.phase == SAVED_BEGUN;
    if (is_called_off) {
        send_command(machine, "migrate_cancel");
    }
    if (commands[command].ends) {
        cancel_start(machine);
    }
    if (command == MACHINE_POWERDOWN) { /* some guests heed the one, some the other */
        if (env->status && vm_status_is_frozen(env->status)) {
            agent_watch_order(machine->agent, AGENT_ORDER_THAW);
        }
        agent_watch_order(machine->agent, AGENT_ORDER_SHUTDOWN);
        if (env->spec && vm_spec_is_riscv(env->spec)) {
            press_power(machine);
        }
    }
    if (commands[command].qmp) {
        send_command(machine, commands[command].qmp);
    } else if (machine->process) {
        process_signal(machine->process, commands[command].signal);
    } else {
        log_warn("qemu", "%s: cannot send signal %d: its process is unknown", machine->vm_name,
            commands[command].signal);
    }
}

const json_t *machine_find_node(const json_t *nodes, const char *name)
{
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *node = json_array_get(nodes, i);
        if (text_eq(json_text(node, "node-name"), name)) {
            return node;
        }
    }
    return NULL;
}

void machine_drop_bitmaps(struct machine *machine, const json_t *node)
{
    const json_t *bitmaps = json_object_get(node, "dirty-bitmaps");
    struct error ignored = {.code = ERR_NONE};
    for (size_t i = 0; machine->monitor && i < json_array_size(bitmaps); i++) {
        const json_t *bitmap = json_array_get(bitmaps, i);
        if (json_flag(bitmap, "inconsistent", false)) {
            json_t *arguments = json_object();
            json_put_text(arguments, "node", json_text(node, "node-name"));
            json_put_text(arguments, "name", json_text(bitmap, "name"));
            (void)monitor_execute(
                machine->monitor, "block-dirty-bitmap-remove", arguments, NULL, NULL, &ignored);
        }
    }
}

const struct machine_ops qemu_machine_ops = {
    .open = machine_open,
    .close = machine_close,
    .observe = machine_observe,
    .launch = machine_launch,
    .release = machine_release,
    .boot = machine_boot,
    .memory_host = machine_memory_host,
    .freeze = machine_freeze,
    .save = machine_save,
    .load = machine_load,
    .snapshot = machine_snapshot,
    .thaw = machine_thaw,
    .set_clock = machine_set_clock,
    .command = machine_command,
};

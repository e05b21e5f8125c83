/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The boot operation: the QMP commands between the start of QEMU and the start of the guest:
 *
 *   status + forwards -> (remove | add)* -> switch* -> disk -> (resize) -> volumes (plug.c)
 *          -> io-limit (throttle.c) -> CPUs and memory (hotplug.c) -> vnc + machine type + (run) +
 * settled -> done
 *
 * Each -> waits for the answers of what is before it; what + joins is sent in one piece.
 * monitor.c has verified the UUID before it sends any command. Every step queries the state first
 * and changes only what differs, so the operation is idempotent; on a running machine it applies a
 * changed spec and reverts changes made by others. Forwards are added here because a busy port on
 * the command line ends QEMU, while a busy port here is an error message.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/qemu/argv.h"
#include "reconcilers/backend/qemu/forward.h"
#include "reconcilers/backend/qemu/host_files.h"
#include "reconcilers/backend/qemu/hotplug.h"
#include "reconcilers/backend/qemu/machine.h"
#include "reconcilers/backend/qemu/monitor.h"
#include "reconcilers/backend/qemu/plug.h"
#include "reconcilers/backend/qemu/run_state.h"
#include "reconcilers/backend/qemu/switch_link.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/lockfile.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/spec_diff.h"

struct forwards {
    struct spec_forward *list;
    size_t n;
    size_t next;
};

struct boot {
    struct op op;
    struct machine *machine; /* borrowed: an operation is cancelled before its machine is closed */
    struct boot_result *result; /* borrowed until done */
    bool has_user_network;      /* … as its first one, whose forwards are QEMU's */
    bool needs_guard;           /* … as any */
    struct vm_spec *spec;       /* with the networks that the machine is on */
    struct vm_status *status;   /* with their addresses; NULL: there is no project network */
    struct switch_wanted port;  /* on the project network that is being joined */
    struct switch_result network;
    struct op *joining; /* that network; NULL: not under way */
    bool is_running;    /* the guest ran before this operation */
    int64_t disk_bytes; /* the spec's size, 0: keep */
    struct forwards wanted;
    struct forwards unwanted;
    struct plug *plug;           /* NULL: the machine has no volumes, nor is to have any */
    struct op *throttling;       /* NULL: not under way */
    struct hotplug *hotplug;     /* NULL: the machine has no room for more */
    struct buf changes;          /* text for boot_result.changes */
    struct loop_timer *finished; /* calls `done` from the loop, never from within start() */
    struct error err;
};

static void boot_cancel(struct op *op)
{
    struct boot *boot = (struct boot *)(void *)op;
    if (boot->machine->monitor) {
        monitor_forget(boot->machine->monitor, boot);
    }
    op_cancel(boot->joining);
    free(boot->network.taken_port);
    free(boot->network.why);
    vm_spec_free(boot->spec);
    vm_status_free(boot->status);
    plug_free(boot->plug);
    op_cancel(boot->throttling);
    hotplug_free(boot->hotplug);
    loop_timer_free(boot->finished);
    buf_clear(&boot->changes);
    free(boot->wanted.list);
    free(boot->unwanted.list);
    free(boot);
}

static void call_done(void *context)
{
    struct boot *boot = context;
    if (boot->changes.len > 0) {
        free(boot->result->changes);
        boot->result->changes = buf_steal(&boot->changes);
    }
    op_finish(&boot->op, boot->err.code ? &boot->err : NULL);
}

static void boot_finish(struct boot *boot)
{
    loop_timer_start(boot->finished, 0);
}

static void boot_fail(struct boot *boot, const struct error *why)
{
    if (!boot->err.code) { /* the first is the cause of what follows */
        boot->err = *why;
        (void)error_wrap(
            &boot->err, boot->is_running ? "cannot change it while it runs" : "cannot boot");
    }
    boot_finish(boot);
}

static void boot_send(
    struct boot *boot, const char *command, json_t *arguments_take, qmp_reply_fn *reply)
{
    struct error err = {0};
    struct monitor *monitor = boot->machine->monitor;
    if (monitor_execute(monitor, command, arguments_take, reply, boot, &err) < 0) {
        boot_fail(boot, &err);
    }
}

/* The human monitor returns a text, which contains its errors, too. */
static void send_human(struct boot *boot, const char *line, qmp_reply_fn *reply)
{
    json_t *arguments = json_object();
    json_put_text(arguments, "command-line", line);
    boot_send(boot, "human-monitor-command", arguments, reply);
}

static void boot_note(struct boot *boot, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void boot_note(struct boot *boot, const char *fmt, ...)
{
    char text[64];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    buf_printf(&boot->changes, "%s%s", boot->changes.len ? ", " : "", text);
}

/* ---- VNC and the machine type, then run: sent in one piece, so that it takes one way to QEMU and
 * back. An error of a QEMU without either of the first two is ignored. ---- */

static void vnc_arrived(void *context, const json_t *value, const struct error *err)
{
    struct boot *boot = context;
    const struct machine *machine = boot->machine;
    const char *host = json_text(value, "host");
    const char *service = json_text(value, "service");
    if (!err && json_flag(value, "enabled", false) && host && service) {
        bool is_socket = text_eq(json_text(value, "family"), "unix"); /* its path is QEMU's own */
        free(boot->result->vnc);
        boot->result->vnc = is_socket
                                ? paths_vm(machine->host->paths, machine->vm_name, VM_VNC_SOCKET)
                                : mem_printf("%s:%s", host, service);
    }
}

/* The class of the machine's object, "pc-q35-7.2-machine": the version that the alias stood for. */
static void type_arrived(void *context, const json_t *value, const struct error *err)
{
    static const char suffix[] = "-machine";
    struct boot *boot = context;
    const char *type = err ? NULL : json_string_value(value);
    if (type && text_ends_with(type, suffix)) {
        free(boot->result->machine);
        boot->result->machine = mem_strndup(type, strlen(type) - strlen(suffix));
    }
}

static void runs(void *context, const json_t *value, const struct error *err)
{
    (void)value;
    if (err) {
        boot_fail(context, err);
    }
}

/* The monitor knows the final status before `done` is called. */
static void settled(void *context, const json_t *value, const struct error *err)
{
    struct boot *boot = context;
    if (err) {
        boot_fail(boot, err);
        return;
    }
    monitor_note_status(boot->machine->monitor, value);
    boot_finish(boot);
}

static void run(struct boot *boot)
{
    json_t *arguments = json_object();
    json_put_text(arguments, "path", "/machine");
    json_put_text(arguments, "property", "type");
    boot_send(boot, "query-vnc", NULL, vnc_arrived);
    boot_send(boot, "qom-get", arguments, type_arrived);
    if (!boot->is_running) {
        boot_send(boot, "cont", NULL, runs);
    }
    boot_send(boot, "query-status", NULL, settled);
}

/* ---- CPUs and memory ---- */

static void hotplug_done(void *context, const struct error *err)
{
    struct boot *boot = context;
    if (err) {
        boot_fail(boot, err);
        return;
    }
    run(boot);
}

static void check_hardware(struct boot *boot)
{
    struct error err = {0};
    if (!boot->hotplug) {
        run(boot);
    } else if (hotplug_start(boot->hotplug, &err) < 0) {
        boot_fail(boot, &err);
    }
}

/* ---- what the disks may move ---- */

static void throttle_done(void *context, const struct error *err)
{
    struct boot *boot = context;
    boot->throttling = NULL;
    if (err) {
        boot_fail(boot, err);
        return;
    }
    const struct spec_io_limit *limit = &boot->spec->io_limit;
    boot->machine->is_unthrottled = !limit->read_kib && !limit->write_kib && !limit->iops;
    check_hardware(boot);
}

/* One that an earlier controller left may have a limit that is not wanted any more. */
static void check_throttle(struct boot *boot)
{
    const struct spec_io_limit *limit = &boot->spec->io_limit;
    struct error err = {0};
    bool is_wanted = limit->read_kib || limit->write_kib || limit->iops;
    if (!is_wanted && boot->machine->is_unthrottled) {
        check_hardware(boot);
        return;
    }
    boot->machine->is_unthrottled = false;
    boot->throttling =
        machine_throttle(boot->machine, limit, &boot->changes, throttle_done, boot, &err);
    if (!boot->throttling) {
        boot_fail(boot, &err);
    }
}

/* ---- volumes ---- */

static void plug_done(void *context, const struct error *err)
{
    struct boot *boot = context;
    if (err) {
        boot_fail(boot, err);
        return;
    }
    check_throttle(boot);
}

static void check_volumes(struct boot *boot)
{
    struct error err = {0};
    if (!boot->plug) {
        check_throttle(boot);
    } else if (plug_start(boot->plug, &err) < 0) {
        boot_fail(boot, &err);
    }
}

/* ---- the disk's size ---- */

static void resized(void *context, const json_t *value, const struct error *err)
{
    struct boot *boot = context;
    (void)value;
    if (err) {
        boot_fail(boot, err);
        return;
    }
    boot_note(boot, "disk grown to %lld GiB", (long long)(boot->disk_bytes >> 30));
    check_volumes(boot);
}

static void nodes_arrived(void *context, const json_t *value, const struct error *err)
{
    struct boot *boot = context;
    const json_t *disk = machine_find_node(value, QEMU_DISK_NODE);
    int64_t size = json_int(json_object_get(disk, "image"), "virtual-size", -1);
    if (err) {
        boot_fail(boot, err);
    } else if (size >= 0 && size < boot->disk_bytes) {
        machine_drop_bitmaps(boot->machine, disk);
        json_t *arguments = json_object();
        json_put_text(arguments, "node-name", QEMU_DISK_NODE);
        json_put_int(arguments, "size", boot->disk_bytes);
        boot_send(boot, "block_resize", arguments, resized);
    } else {
        check_volumes(boot);
    }
}

static void check_disk(struct boot *boot)
{
    if (boot->disk_bytes == 0) {
        check_volumes(boot);
        return;
    }
    json_t *arguments = json_object();
    json_put_flag(arguments, "flat", true); /* omits the backing files' nodes */
    boot_send(boot, "query-named-block-nodes", arguments, nodes_arrived);
}

/* ---- forwards ---- */

static void change_next_forward(struct boot *boot);
static void join_networks(struct boot *boot);

static void note_forward(struct boot *boot, const struct spec_forward *forward, const char *what)
{
    cleanup_free char *key = forward_lease_key(forward);
    boot_note(boot, "forward %s %s", key, what);
}

static void removed(void *context, const json_t *value, const struct error *err)
{
    struct boot *boot = context;
    (void)value;
    if (err) {
        boot_fail(boot, err);
        return;
    }
    note_forward(boot, &boot->unwanted.list[boot->unwanted.next++], "removed");
    change_next_forward(boot);
}

static void fail_port(struct boot *boot, const char *answer)
{
    const struct spec_forward *forward = &boot->wanted.list[boot->wanted.next];
    free(boot->result->taken_port);
    boot->result->taken_port = forward_lease_key(forward);
    log_debug("qemu", "%s: %s", boot->machine->vm_name, answer);
    struct error err = {0}, ignored = {0};
    cleanup_free char *user = NULL;
    bool is_roots = geteuid() == 0 && host_find_qemu_user(&user, &ignored) == 0 && !user;
    bool is_privileged = forward->host_port < host_privileged_ports_end() && !is_roots;
    (void)error_set(&err, ERR_PORT_TAKEN, "%s port %u of %s %s (wanted for the guest's port %u)",
        forward_protocol_name(forward->protocol), forward->host_port, forward_address(forward),
        is_privileged ? "is reserved for root" : "is in use by another program",
        forward->guest_port);
    if (is_privileged && user &&
        boot->has_user_network) { /* bound at the start, while QEMU is still root's */
        (void)error_help(&err, "restart the VM: vmctl restart %s", boot->machine->vm_name);
    } else if (is_privileged) {
        (void)error_help(&err,
            "choose a port from %u on, or allow this one: sudo sysctl "
            "net.ipv4.ip_unprivileged_port_start=%u",
            host_privileged_ports_end(), forward->host_port);
    }
    boot_fail(boot, &err);
}

static void added(void *context, const json_t *value, const struct error *err)
{
    struct boot *boot = context;
    const char *answer = json_string_value(value);
    if (err) {
        boot_fail(boot, err);
    } else if (answer && answer[0]) {
        fail_port(boot, answer);
    } else {
        note_forward(boot, &boot->wanted.list[boot->wanted.next++], "added");
        change_next_forward(boot);
    }
}

/* Removals come first: they may free the port that an addition needs. */
static void change_next_forward(struct boot *boot)
{
    if (boot->unwanted.next < boot->unwanted.n) {
        cleanup_free char *line = forward_remove_line(&boot->unwanted.list[boot->unwanted.next]);
        send_human(boot, line, removed);
    } else if (boot->wanted.next < boot->wanted.n) {
        cleanup_free char *line = forward_add_line(&boot->wanted.list[boot->wanted.next]);
        send_human(boot, line, added);
    } else {
        join_networks(boot);
    }
}

/* Leaves in `list` what is not among `others`. */
static void keep_missing(struct forwards *list, const struct spec_forward *others, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->n; i++) {
        if (!forward_is_in(&list->list[i], others, n)) {
            list->list[kept++] = list->list[i];
        }
    }
    list->n = kept;
}

static void usernet_arrived(void *context, const json_t *value, const struct error *err)
{
    struct boot *boot = context;
    if (boot->err.code) {
        return; /* its state did not allow it */
    }
    if (err) {
        boot_fail(boot, err);
        return;
    }
    const char *answer = json_string_value(value);
    boot->unwanted.n = forward_parse(answer ? answer : "", &boot->unwanted.list);
    cleanup_free struct spec_forward *present =
        mem_dup(boot->unwanted.list, boot->unwanted.n * sizeof(*boot->unwanted.list));
    size_t n_present = boot->unwanted.n;
    keep_missing(&boot->unwanted, boot->wanted.list, boot->wanted.n);
    keep_missing(&boot->wanted, present, n_present);
    change_next_forward(boot);
}

/* ---- project networks ---- */

static void joined(void *context, const struct error *err)
{
    struct boot *boot = context;
    boot->joining = NULL;
    if (err) {
        boot_fail(boot, err);
        return;
    }
    if (boot->network.is_started && boot->is_running) {
        boot->result->is_rejoined = true;
    }
    for (size_t i = 0; boot->network.taken_port && i < boot->port.n_forwards; i++) {
        cleanup_free char *key = forward_lease_key(&boot->wanted.list[i]);
        if (text_eq(key, boot->network.taken_port)) {
            boot->wanted.next = i;
            fail_port(boot, boot->network.why);
            return;
        }
    }
    free(TAKE_PTR(boot->network.taken_port));
    free(TAKE_PTR(boot->network.why));
    boot->port.at++;
    join_networks(boot);
}

static void join_network(struct boot *boot)
{
    struct machine *machine = boot->machine;
    struct switch_wanted *port = &boot->port;
    struct switch_link **link = &machine->networks[port->at];
    if (!*link) {
        *link =
            switch_link_new(machine->host, machine->vm_name, machine->changed, machine->context);
    }
    port->mac = vm_status_mac(boot->status, port->at);
    port->address = vm_status_address(boot->status, port->at);
    port->forwards = boot->wanted.list;
    port->n_forwards = port->at == 0 ? boot->wanted.n : 0;
    boot->joining = switch_link_apply(*link, port, &boot->network, joined, boot);
}

/* One after the other, from the one that is the next; then what follows. */
static void join_networks(struct boot *boot)
{
    const struct spec_network *network;
    size_t *at = &boot->port.at;
    for (; (network = vm_spec_network(boot->spec, *at)); (*at)++) {
        if (network->mode == NETWORK_PROJECT && vm_status_mac(boot->status, *at) &&
            vm_status_address(boot->status, *at)) {
            join_network(boot);
            return;
        }
    }
    check_disk(boot);
}

static bool is_each_the_same(const struct vm_spec *a, const struct vm_spec *b)
{
    bool is_same = a->n_further_networks == b->n_further_networks;
    for (size_t i = 1; is_same && i <= a->n_further_networks; i++) {
        is_same = spec_network_is_same(vm_spec_network(a, i), vm_spec_network(b, i));
    }
    return is_same;
}

/* A machine stays on the networks that it was started on; what is changed of them takes effect. */
static void prepare_spec(struct boot *boot, const struct vm_env *env)
{
    const struct vm_spec *running = env->status->applied_spec, *spec = env->spec;
    boot->spec = vm_spec_copy(spec);
    boot->port.spec = boot->spec;
    if (running && !spec_network_is_same(&running->network, &spec->network)) {
        (void)fields_take(&vm_spec_fields, boot->spec, running, "network");
    }
    if (running && !is_each_the_same(running, spec)) {
        (void)fields_take(&vm_spec_fields, boot->spec, running, "furtherNetworks");
    }
    if (running && !spec_can_limit_memory(running, spec)) { /* until it starts again */
        boot->spec->memory_limit_mib = running->memory_limit_mib;
    }
    boot->needs_guard = vm_spec_network_of_mode(boot->spec, NETWORK_USER);
    boot->status =
        vm_spec_network_of_mode(boot->spec, NETWORK_PROJECT) ? vm_status_copy(env->status) : NULL;
}

/* ---- the start ---- */

/* A QEMU that is linked statically ignores LD_PRELOAD. The guard holds the lock of its file; a
 * machine that runs was checked before, or is of a version without it. */
static int check_guard(const struct boot *boot, struct error *err)
{
    const struct machine *machine = boot->machine;
    cleanup_free char *path = paths_vm(machine->host->paths, machine->vm_name, VM_GUARD);
    if (lockfile_is_held(path)) {
        return 0;
    }
    (void)error_set(err, ERR_BACKEND_UNAVAILABLE,
        "QEMU did not load the guard that keeps a guest on network \"user\" from the services of "
        "this host");
    return error_help(err, "use a QEMU that is linked dynamically, or network \"tap\" or \"none\"");
}

static void status_arrived(void *context, const json_t *value, const struct error *err)
{
    struct boot *boot = context;
    const char *word = json_text(value, "status");
    enum run_state state = run_state_from_qemu(word);
    struct error why = {0};
    if (err) {
        boot_fail(boot, err);
        return;
    }
    boot->is_running = state == RUN_STATE_RUNNING;
    if (!boot->is_running && state != RUN_STATE_PRELAUNCH && state != RUN_STATE_PAUSED) {
        (void)error_set(
            &why, ERR_VM_INVALID_STATE, "QEMU is in state '%s'", word ? word : "unknown");
        boot_fail(boot, &why);
    } else if (!boot->is_running && boot->needs_guard && check_guard(boot, &why) < 0) {
        boot_fail(boot, &why);
    } else if (!boot->has_user_network) {
        join_networks(boot);
    }
}

/* Both the spec and the machine must have it: a machine keeps the network it was started with. */
static bool has_user_network(const struct vm_env *env)
{
    const struct vm_spec *running = env->status->applied_spec;
    bool is_same = !running || running->network.mode == env->spec->network.mode;
    return is_same && env->spec->network.mode == NETWORK_USER;
}

struct op *machine_boot(struct machine *machine, const struct vm_env *env,
    struct boot_result *result, op_done_fn *done, void *context)
{
    struct boot *boot = mem_new(struct boot);
    *boot = (struct boot){.op = {boot_cancel, done, context},
        .machine = machine,
        .result = result,
        .has_user_network = has_user_network(env),
        .disk_bytes = (int64_t)env->spec->disk_gib << 30};
    if (plug_is_needed(env)) {
        boot->plug = plug_new(machine, env, &boot->changes, plug_done, boot);
    }
    struct hotplug_target target = hotplug_target_of(env);
    if (target.vcpus > 0 || target.memory_mib > 0) {
        boot->hotplug = hotplug_new(machine, target, &boot->changes, hotplug_done, boot);
    }
    prepare_spec(boot, env);
    if (env->status->instance.pid > 0) {
        machine_limit(machine, boot->spec, env->uid, env->status->instance.pid);
    }
    boot->wanted.n = forward_list(boot->spec, env->status->ssh_port, &boot->wanted.list);
    boot->finished = loop_timer_new(machine->host->loop, call_done, boot);
    boot_send(boot, "query-status", NULL, status_arrived);
    if (boot->has_user_network) { /* answered after the status */
        send_human(boot, "info usernet", usernet_arrived);
    }
    return &boot->op;
}

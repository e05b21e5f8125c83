/* SPDX-License-Identifier: MPL-2.0 */
/*
 *   devices + nodes -> one of (ask the guest for a device, remove a node, add a node, add a device,
 *                      grow a node, wait) -> devices + nodes -> … -> done
 *
 * QMP: qom-list of /machine/peripheral, query-named-block-nodes, device_del, blockdev-del, add-fd,
 * blockdev-add, remove-fd, device_add, block_resize. The file is opened here and passed as a
 * descriptor, because QEMU may be another user, who cannot open it.
 */
#include "reconcilers/backend/qemu/plug.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/qemu/agent_unmount.h"
#include "reconcilers/backend/qemu/agent_watch.h"
#include "reconcilers/backend/qemu/argv.h"
#include "reconcilers/backend/qemu/machine.h"
#include "reconcilers/backend/qemu/monitor.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/image/volume_file.h"

enum { LOOK_AGAIN_MS = 100, PORTS = QEMU_FREE_PORTS + VOLUMES_MAX };

struct plug {
    struct machine *machine; /* borrowed: outlives this object */
    struct vm_spec *spec;
    struct buf *changes; /* borrowed from the owner */
    json_t *devices;     /* ids of ours that the machine has; owned */
    struct loop_timer *timer;
    struct agent_unmount *unmount;    /* of the device that is asked for; NULL: not under way */
    char *asked;                      /* the device or node that is to go; NULL: none yet … */
    int64_t asked_ms;                 /* … and since when, monotonic */
    const struct spec_volume *volume; /* that is being added, of `spec` … */
    int port;                         /* … at that root port */
    int64_t fdset;                    /* … from that set of descriptors */
    struct error refusal;             /* of the first port */
    void (*done)(void *context, const struct error *err);
    void *context;
};

/* ---- commands ---- */

static void plug_next(
    struct plug *plug, const char *command, json_t *arguments_take, qmp_reply_fn *reply)
{
    struct error err = {0};
    if (monitor_execute(plug->machine->monitor, command, arguments_take, reply, plug, &err) < 0) {
        plug->done(plug->context, &err);
    }
}

/* With one argument. */
static void plug_call(
    struct plug *plug, const char *command, const char *key, const char *value, qmp_reply_fn *reply)
{
    json_t *arguments = json_object();
    json_put_text(arguments, key, value);
    plug_next(plug, command, arguments, reply);
}

static void plug_fail(
    struct plug *plug, const struct error *why, const char *what, const char *name)
{
    struct error err = *why;
    (void)error_wrap(&err, "cannot %s volume '%s'", what, name);
    plug->done(plug->context, &err);
}

static void plug_note(struct plug *plug, const char *name, const char *what)
{
    buf_printf(plug->changes, "%svolume %s %s", plug->changes->len ? ", " : "", name, what);
}

/* The name of the volume that a device or node of ours is for; NULL: it is another's. */
static const char *volume_of(const char *id)
{
    return id && text_starts_with(id, QEMU_VOLUME) ? id + strlen(QEMU_VOLUME) : NULL;
}

static bool has_device(const struct plug *plug, const char *name)
{
    for (size_t i = 0; i < json_array_size(plug->devices); i++) {
        if (text_eq(volume_of(json_string_value(json_array_get(plug->devices, i))), name)) {
            return true;
        }
    }
    return false;
}

static void look(void *context);

/* After a command without a result of interest. */
static void look_again(void *context, const json_t *value, const struct error *err)
{
    struct plug *plug = context;
    (void)value;
    if (err) {
        plug->done(plug->context, err);
        return;
    }
    look(plug);
}

/* ---- detaching ---- */

/* That the guest was asked before is an error of no interest: the next look shows the rest. */
static void device_asked(void *context, const json_t *value, const struct error *err)
{
    struct plug *plug = context;
    (void)value;
    (void)err;
    loop_timer_start(plug->timer, LOOK_AGAIN_MS);
}

static void ask_for_device(struct plug *plug)
{
    plug->asked_ms = loop_now_ms(plug->machine->host->loop);
    plug_call(plug, "device_del", "id", plug->asked, device_asked);
}

static void volume_unmounted(void *context, const struct error *err)
{
    struct plug *plug = context;
    agent_unmount_free(TAKE_PTR(plug->unmount));
    if (err) {
        agent_watch_doubt(plug->machine->agent);
        plug->done(plug->context, err);
    } else {
        ask_for_device(plug);
    }
}

/* With SSH it was unmounted before. */
static bool must_be_unmounted(const struct plug *plug)
{
    return !vm_spec_expects_ssh(plug->spec) && agent_watch_version(plug->machine->agent);
}

static void start_unmounting(struct plug *plug, const char *volume)
{
    const struct machine *machine = plug->machine;
    cleanup_free char *path = paths_vm(machine->host->paths, machine->vm_name, VM_AGENT_SOCKET);
    plug->unmount = agent_unmount_start(
        machine->host->loop, path, machine->vm_name, volume, volume_unmounted, plug);
}

static void detach(struct plug *plug, const char *id)
{
    int64_t now_ms = loop_now_ms(plug->machine->host->loop);
    if (!text_eq(plug->asked, id)) {
        free(plug->asked);
        plug->asked = mem_strdup(id);
        if (must_be_unmounted(plug)) {
            start_unmounting(plug, volume_of(id));
        } else {
            ask_for_device(plug);
        }
    } else if (now_ms - plug->asked_ms < PLUG_RELEASE_MS) {
        loop_timer_start(plug->timer, LOOK_AGAIN_MS);
    } else {
        struct error err = {0};
        (void)error_set(&err, ERR_MOUNT, "the guest does not release volume '%s'", volume_of(id));
        (void)error_help(
            &err, "it is detached when the VM stops: vmctl restart %s", plug->machine->vm_name);
        plug->done(plug->context, &err);
    }
}

/* The device releases it a moment after QEMU has ceased to list that. */
static void node_removed(void *context, const json_t *value, const struct error *err)
{
    struct plug *plug = context;
    int64_t now_ms = loop_now_ms(plug->machine->host->loop);
    if (err && err->code == ERR_QMP_COMMAND && now_ms - plug->asked_ms < PLUG_RELEASE_MS) {
        loop_timer_start(plug->timer, LOOK_AGAIN_MS);
        return;
    }
    if (!err) {
        plug_note(plug, volume_of(plug->asked), "detached");
    }
    look_again(plug, value, err);
}

/* ---- attaching ---- */

static void try_port(struct plug *plug);

static void device_added(void *context, const json_t *value, const struct error *err)
{
    struct plug *plug = context;
    (void)value;
    if (!err) {
        plug_note(plug, plug->volume->name, "attached");
        look(plug);
        return;
    }
    plug->refusal = plug->port == 0 ? *err : plug->refusal;
    if (err->code == ERR_QMP_COMMAND && ++plug->port < PORTS) {
        try_port(plug); /* this one is in use, or the machine does not have it */
        return;
    }
    (void)error_help(&plug->refusal,
        "a running VM has room for %d more; the next start attaches it: vmctl restart %s",
        QEMU_FREE_PORTS, plug->machine->vm_name);
    plug_fail(plug, &plug->refusal, "attach", plug->volume->name);
}

static void try_port(struct plug *plug)
{
    cleanup_free char *id = mem_printf(QEMU_VOLUME "%s", vm_name_plain(plug->volume->name));
    cleanup_free char *port = mem_printf("port%d", plug->port);
    json_t *arguments = json_object();
    json_put_text(arguments, "driver", "virtio-blk-pci");
    json_put_text(arguments, "id", id);
    json_put_text(arguments, "drive", id);
    json_put_text(arguments, "serial", vm_name_plain(plug->volume->name));
    json_put_text(arguments, "bus", port);
    json_put_text(arguments, "addr", "0");
    plug_next(plug, "device_add", arguments, device_added);
}

/* QEMU has a copy of its own, which lives as long as the node; ours would keep the file's lock. */
static void node_added(void *context, const json_t *value, const struct error *err)
{
    struct plug *plug = context;
    (void)value;
    json_t *arguments = json_object();
    json_put_int(arguments, "fdset-id", plug->fdset);
    struct error ignored = {0};
    (void)monitor_execute(plug->machine->monitor, "remove-fd", arguments, NULL, plug, &ignored);
    if (err) {
        plug_fail(plug, err, "open", plug->volume->name);
        return;
    }
    look(plug);
}

static void fd_added(void *context, const json_t *value, const struct error *err)
{
    struct plug *plug = context;
    if (err) {
        plug_fail(plug, err, "open", plug->volume->name);
        return;
    }
    plug->fdset = json_int(value, "fdset-id", 0);
    cleanup_free char *id = mem_printf(QEMU_VOLUME "%s", vm_name_plain(plug->volume->name));
    cleanup_free char *path = mem_printf("/dev/fdset/%lld", (long long)plug->fdset);
    json_t *file = json_object(), *arguments = json_object();
    json_put_text(file, "driver", "file");
    json_put_text(file, "discard", "unmap");
    json_put_text(file, "filename", path);
    json_put_text(arguments, "driver", "qcow2");
    json_put_text(arguments, "node-name", id);
    json_put_text(arguments, "discard", "unmap");
    json_put(arguments, "file", file);
    plug_next(plug, "blockdev-add", arguments, node_added);
}

static void add_node(struct plug *plug)
{
    cleanup_free char *path = volume_path(plug->machine->host->paths, plug->volume->name);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || !plug->machine->monitor) {
        struct error err = {0};
        (void)error_set_errno(&err, ERR_IO, errno, "cannot open '%s'", path);
        cleanup_close_(&fd);
        plug_fail(plug, &err, "attach", plug->volume->name);
        return;
    }
    monitor_attach_fd(plug->machine->monitor, fd);
    plug_next(plug, "add-fd", NULL, fd_added);
}

static void plug_grow(struct plug *plug, const struct spec_volume *volume)
{
    cleanup_free char *id = mem_printf(QEMU_VOLUME "%s", vm_name_plain(volume->name));
    json_t *arguments = json_object();
    json_put_text(arguments, "node-name", id);
    json_put_int(arguments, "size", (int64_t)volume->size_gib << 30);
    plug_note(plug, volume->name, "grown");
    plug_next(plug, "block_resize", arguments, look_again);
}

/* ---- what differs ---- */

static bool is_wanted(const struct plug *plug, const char *serial)
{
    bool is = false;
    for (size_t i = 0; i < plug->spec->n_volumes; i++) {
        is |= text_eq(vm_name_plain(plug->spec->volumes[i].name), serial);
    }
    return is;
}

/* True: one that the machine has and is not to have is being removed. */
static bool remove_one(struct plug *plug, const json_t *nodes)
{
    size_t i;
    json_t *item;
    json_array_foreach(plug->devices, i, item)
    {
        const char *id = json_string_value(item);
        if (!is_wanted(plug, volume_of(id))) {
            detach(plug, id);
            return true;
        }
    }
    json_array_foreach(nodes, i, item)
    {
        const char *id = json_text(item, "node-name"), *name = volume_of(id);
        if (name && !is_wanted(plug, name)) {
            free(plug->asked);
            plug->asked = mem_strdup(id);
            plug_call(plug, "blockdev-del", "node-name", id, node_removed);
            return true;
        }
    }
    return false;
}

static const json_t *find_node(const json_t *nodes, const char *name)
{
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *node = json_array_get(nodes, i);
        if (text_eq(volume_of(json_text(node, "node-name")), name)) {
            return node;
        }
    }
    return NULL;
}

static void nodes_arrived(void *context, const json_t *value, const struct error *err)
{
    struct plug *plug = context;
    if (err || !plug->devices) {
        static const struct error lost = {
            .code = ERR_QMP_COMMAND, .message = "QEMU does not list its devices"};
        plug->done(plug->context, err ? err : &lost);
        return;
    }
    bool is_busy = remove_one(plug, value);
    for (size_t i = 0; !is_busy && i < plug->spec->n_volumes; i++) {
        const struct spec_volume *volume = &plug->spec->volumes[i];
        const json_t *node = find_node(value, vm_name_plain(volume->name));
        int64_t bytes = json_int(json_object_get(node, "image"), "virtual-size", INT64_MAX);
        plug->volume = volume;
        plug->port = 0;
        is_busy = true;
        if (!node) {
            add_node(plug);
        } else if (bytes < (int64_t)volume->size_gib << 30) {
            machine_drop_bitmaps(plug->machine, node);
            plug_grow(plug, volume);
        } else if (!has_device(plug, vm_name_plain(volume->name))) {
            try_port(plug);
        } else {
            is_busy = false;
        }
    }
    if (!is_busy) {
        plug->done(plug->context, NULL);
    }
}

static void devices_arrived(void *context, const json_t *value, const struct error *err)
{
    struct plug *plug = context;
    size_t i;
    json_t *device;
    json_decref(plug->devices);
    plug->devices = err ? NULL : json_array();
    json_array_foreach(value, i, device)
    {
        if (plug->devices && volume_of(json_text(device, "name"))) {
            (void)json_array_append(plug->devices, json_object_get(device, "name"));
        }
    }
}

int plug_start(struct plug *plug, struct error *err)
{
    json_t *path = json_object(), *flat = json_object();
    json_put_text(path, "path", "/machine/peripheral");
    json_put_flag(flat, "flat", true);
    int rc = monitor_execute(plug->machine->monitor, "qom-list", path, devices_arrived, plug, err);
    if (rc < 0) {
        json_decref(flat);
        return rc;
    }
    return monitor_execute(
        plug->machine->monitor, "query-named-block-nodes", flat, nodes_arrived, plug, err);
}

static void look(void *context)
{
    struct plug *plug = context;
    struct error err = {0};
    if (plug_start(plug, &err) < 0) {
        plug->done(plug->context, &err);
    }
}

bool plug_is_needed(const struct vm_env *env)
{
    const struct vm_spec *running = env->status->applied_spec;
    return env->spec->n_volumes > 0 || (running && running->n_volumes > 0);
}

struct plug *plug_new(struct machine *machine, const struct vm_env *env, struct buf *changes,
    void (*done)(void *context, const struct error *err), void *context)
{
    struct plug *plug = mem_new(struct plug);
    const struct vm_spec *started = env->status->applied_spec;
    bool is_starting = env->status->instance.intent == INTENT_START;
    plug->machine = machine;
    plug->spec = vm_spec_copy(is_starting && started ? started : env->spec);
    plug->changes = changes;
    plug->asked_ms = loop_now_ms(machine->host->loop);
    plug->timer = loop_timer_new(machine->host->loop, look, plug);
    plug->done = done;
    plug->context = context;
    return plug;
}

void plug_free(struct plug *plug)
{
    if (plug) {
        agent_unmount_free(plug->unmount);
        if (plug->machine->monitor) {
            monitor_forget(plug->machine->monitor, plug);
        }
        loop_timer_free(plug->timer);
        json_decref(plug->devices);
        vm_spec_free(plug->spec);
        free(plug->asked);
        free(plug);
    }
}

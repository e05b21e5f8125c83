/* SPDX-License-Identifier: MPL-2.0 */
/*
 *   cpus -> (add one -> cpus)* -> memory size -> memory devices -> (drop -> back -> plug) -> done
 *
 * QMP: query-hotpluggable-cpus, device_add; query-memory-size-summary, query-memory-devices,
 * object-add of a memory-backend-ram or -memfd, device_add of a pc-dimm
 * (docs/system/cpu-hotplug.rst, docs/memory-hotplug.txt).
 */
#include "reconcilers/backend/qemu/hotplug.h"

#include <stdlib.h>

#include "reconcilers/backend/qemu/machine.h"
#include "reconcilers/backend/qemu/monitor.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/spec_diff.h"

struct hotplug {
    struct machine *machine; /* borrowed: outlives this object */
    struct hotplug_target target;
    struct buf *changes;  /* borrowed from the owner */
    uint32_t n_vcpus;     /* at the start; 0: not known yet */
    int64_t memory_bytes; /* what the machine has now */
    int64_t slot;         /* of the new DIMM */
    void (*done)(void *context, const struct error *err);
    void *context;
};

/* ---- target ---- */

struct hotplug_target hotplug_target_of(const struct vm_env *env)
{
    struct hotplug_target target = {.vcpus = 0};
    const struct vm_spec *running = env->status->applied_spec;
    if (running && running->max_vcpus > 0) {
        bool can = spec_can_add_vcpus(running, env->spec);
        target.vcpus = can ? env->spec->vcpus : running->vcpus;
    }
    if (running && running->max_memory_mib > 0) {
        bool can = spec_can_add_memory(running, env->spec);
        target.memory_mib = can ? env->spec->memory_mib : running->memory_mib;
        target.is_shared = running->n_shares > 0;
    }
    return target;
}

/* ---- commands ---- */

/* Sends the next command; a failure to send it ends the operation. */
static void hotplug_next(
    struct hotplug *hotplug, const char *command, json_t *arguments_take, qmp_reply_fn *reply)
{
    struct error err = {0};
    struct monitor *monitor = hotplug->machine->monitor;
    if (monitor_execute(monitor, command, arguments_take, reply, hotplug, &err) < 0) {
        hotplug->done(hotplug->context, &err);
    }
}

static void hotplug_fail(struct hotplug *hotplug, const struct error *why, const char *what)
{
    struct error err = *why;
    (void)error_wrap(&err, "cannot add %s", what);
    hotplug->done(hotplug->context, &err);
}

static void hotplug_note(struct hotplug *hotplug, const char *what, int64_t before, int64_t after)
{
    buf_printf(hotplug->changes, "%s%s %lld -> %lld", hotplug->changes->len ? ", " : "", what,
        (long long)before, (long long)after);
}

/* ---- memory ---- */

static void plugged(void *context, const json_t *value, const struct error *err)
{
    struct hotplug *hotplug = context;
    (void)value;
    if (err) {
        hotplug_fail(hotplug, err, "memory");
        return;
    }
    hotplug_note(hotplug, "memory", hotplug->memory_bytes >> 20, hotplug->target.memory_mib);
    hotplug->done(hotplug->context, NULL);
}

static char *backend_id(const struct hotplug *hotplug)
{
    return mem_printf("vmctl-memory%lld", (long long)hotplug->slot);
}

static void backed(void *context, const json_t *value, const struct error *err)
{
    struct hotplug *hotplug = context;
    (void)value;
    if (err) {
        hotplug_fail(hotplug, err, "memory");
        return;
    }
    cleanup_free char *backend = backend_id(hotplug);
    cleanup_free char *id = mem_printf("vmctl-dimm%lld", (long long)hotplug->slot);
    json_t *arguments = json_object();
    json_put_text(arguments, "driver", "pc-dimm");
    json_put_text(arguments, "id", id);
    json_put_text(arguments, "memdev", backend);
    json_put_int(arguments, "slot", hotplug->slot);
    hotplug_next(hotplug, "device_add", arguments, plugged);
}

static void dropped(void *context, const json_t *value, const struct error *err)
{
    struct hotplug *hotplug = context;
    (void)value;
    (void)err; /* usually there was nothing to delete */
    cleanup_free char *id = backend_id(hotplug);
    json_t *arguments = json_object();
    json_put_text(arguments, "qom-type",
        hotplug->target.is_shared ? "memory-backend-memfd" : "memory-backend-ram");
    json_put_text(arguments, "id", id);
    json_put_int(
        arguments, "size", ((int64_t)hotplug->target.memory_mib << 20) - hotplug->memory_bytes);
    hotplug_next(hotplug, "object-add", arguments, backed);
}

static bool is_slot_taken(const json_t *devices, int64_t slot)
{
    size_t i;
    json_t *device;
    json_array_foreach(devices, i, device)
    {
        if (json_int(json_object_get(device, "data"), "slot", -1) == slot) {
            return true;
        }
    }
    return false;
}

/* A backend without its DIMM is left over from an interrupted try or from a DIMM that another
 * client removed. Its size is unknown and its id blocks the new one, so it is deleted; QEMU refuses
 * to delete one in use. */
static void devices_arrived(void *context, const json_t *value, const struct error *err)
{
    struct hotplug *hotplug = context;
    if (err) {
        hotplug_fail(hotplug, err, "memory");
        return;
    }
    while (is_slot_taken(value, hotplug->slot)) {
        hotplug->slot++;
    }
    cleanup_free char *id = backend_id(hotplug);
    json_t *arguments = json_object();
    json_put_text(arguments, "id", id);
    hotplug_next(hotplug, "object-del", arguments, dropped);
}

static void memory_arrived(void *context, const json_t *value, const struct error *err)
{
    struct hotplug *hotplug = context;
    if (err) {
        hotplug_fail(hotplug, err, "memory");
        return;
    }
    hotplug->memory_bytes =
        json_int(value, "base-memory", 0) + json_int(value, "plugged-memory", 0);
    if (hotplug->memory_bytes < (int64_t)hotplug->target.memory_mib << 20) {
        hotplug_next(hotplug, "query-memory-devices", NULL, devices_arrived);
    } else {
        hotplug->done(hotplug->context, NULL);
    }
}

/* ---- CPUs ---- */

static void cpus_arrived(void *context, const json_t *value, const struct error *err);

static void cpu_added(void *context, const json_t *value, const struct error *err)
{
    struct hotplug *hotplug = context;
    (void)value;
    if (err) {
        hotplug_fail(hotplug, err, "a CPU");
    } else {
        hotplug_next(hotplug, "query-hotpluggable-cpus", NULL, cpus_arrived);
    }
}

/* The id is made of the CPU's coordinates, which are unique: "vmctl-cpu-0-0-1-0". */
static void add_cpu(struct hotplug *hotplug, const json_t *place)
{
    static const char *const coordinates[] = {"socket-id", "die-id", "core-id", "thread-id"};
    const json_t *props = json_object_get(place, "props");
    cleanup_buf struct buf id = BUF_INIT(0);
    buf_add_str(&id, "vmctl-cpu");
    for (size_t i = 0; i < ARRAY_LEN(coordinates); i++) {
        buf_printf(&id, "-%lld", (long long)json_int(props, coordinates[i], 0));
    }
    json_t *arguments = json_deep_copy(props);
    json_put_text(arguments, "driver", json_text(place, "type"));
    json_put_text(arguments, "id", buf_str(&id));
    hotplug_next(hotplug, "device_add", arguments, cpu_added);
}

/* QEMU lists the CPUs in reverse. *ret_free is the first one that is not plugged in. */
static uint32_t count_cpus(const json_t *paths, const json_t **ret_free)
{
    uint32_t n = 0;
    for (size_t i = json_array_size(paths); i-- > 0;) {
        const json_t *place = json_array_get(paths, i);
        if (json_text(place, "qom-path")) {
            n += (uint32_t)json_int(place, "vcpus-count", 1);
        } else if (!*ret_free) {
            *ret_free = place;
        }
    }
    return n;
}

static void cpus_arrived(void *context, const json_t *value, const struct error *err)
{
    struct hotplug *hotplug = context;
    const json_t *place = NULL;
    uint32_t n = count_cpus(value, &place);
    if (err) {
        hotplug_fail(hotplug, err, "a CPU");
        return;
    }
    hotplug->n_vcpus = hotplug->n_vcpus ? hotplug->n_vcpus : n;
    if (n < hotplug->target.vcpus && place) {
        add_cpu(hotplug, place);
        return;
    }
    if (n > hotplug->n_vcpus) {
        hotplug_note(hotplug, "vcpus", hotplug->n_vcpus, n);
    }
    if (hotplug->target.memory_mib == 0) {
        hotplug->done(hotplug->context, NULL);
    } else {
        hotplug_next(hotplug, "query-memory-size-summary", NULL, memory_arrived);
    }
}

/* ---- the object ---- */

struct hotplug *hotplug_new(struct machine *machine, struct hotplug_target target,
    struct buf *changes, void (*done)(void *context, const struct error *err), void *context)
{
    struct hotplug *hotplug = mem_new(struct hotplug);
    *hotplug = (struct hotplug){
        .machine = machine, .target = target, .changes = changes, .done = done, .context = context};
    return hotplug;
}

int hotplug_start(struct hotplug *hotplug, struct error *err)
{
    struct monitor *monitor = hotplug->machine->monitor;
    bool has_cpus = hotplug->target.vcpus > 0;
    return monitor_execute(monitor,
        has_cpus ? "query-hotpluggable-cpus" : "query-memory-size-summary", NULL,
        has_cpus ? cpus_arrived : memory_arrived, hotplug, err);
}

void hotplug_free(struct hotplug *hotplug)
{
    if (hotplug && hotplug->machine->monitor) {
        monitor_forget(hotplug->machine->monitor, hotplug);
    }
    free(hotplug);
}

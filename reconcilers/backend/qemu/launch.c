/* SPDX-License-Identifier: MPL-2.0 */
/* The launch operation: chooses the accelerator, which may need a probe, and the server of shared
 * folders, the same, finds UEFI firmware, makes a tap device for each network "tap", which may need
 * a helper program, then creates the process. */
#include <stdio.h>
#include <stdlib.h>

#include "reconcilers/backend/qemu/accel.h"
#include "reconcilers/backend/qemu/argv.h"
#include "reconcilers/backend/qemu/firmware.h"
#include "reconcilers/backend/qemu/machine.h"
#include "reconcilers/backend/qemu/share.h"
#include "reconcilers/backend/qemu/spawn.h"
#include "reconcilers/backend/qemu/tap.h"
#include "reconcilers/backend/qemu/tap_helper.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/template.h"

struct launch {
    struct op op;
    struct machine *machine; /* borrowed: an operation is cancelled before its machine is closed */
    struct vm_spec *spec;
    char *macs[NETWORKS_MAX];
    char *machine_type;
    char *memory;                 /* as in spawn_request … */
    bool is_woken;                /* or continues from its saved memory: then without `memory` */
    bool has_agent;               /* the machine gets a channel to the guest's agent */
    struct vm_instance *instance; /* borrowed until done */
    struct op *under_way;         /* the choices, then the tap helper; NULL: none of them */
    struct share_program share_program;
    struct firmware_build firmware;
    char *share_user;
    char *uid;
    const char *accel;         /* static text; NULL until chosen */
    int tap_fds[NETWORKS_MAX]; /* of each network; -1: none (yet) */
    size_t next;               /* the network whose tap device is made next, if it is one */
};

static void launch_cancel(struct op *op)
{
    struct launch *launch = (struct launch *)(void *)op;
    op_cancel(launch->under_way);
    for (size_t i = 0; i < NETWORKS_MAX; i++) {
        cleanup_close_(&launch->tap_fds[i]);
        free(launch->macs[i]);
    }
    vm_spec_free(launch->spec);
    free(launch->machine_type);
    free(launch->memory);
    free(launch->share_user);
    free(launch->uid);
    firmware_build_clear(&launch->firmware);
    free(launch);
}

static bool is_freezable(const struct launch *launch)
{
    return launch->memory && !launch->is_woken;
}

/* A machine that did not get as far as to be frozen left its memory there. */
static int clear_memory(const struct launch *launch, struct error *err)
{
    return is_freezable(launch) ? fs_remove_file(launch->memory, err) : 0;
}

static int make_process(struct launch *launch, struct error *err)
{
    struct machine *machine = launch->machine;
    const struct clock *clock = machine->host->clock;
    struct spawn_request request = {.paths = machine->host->paths,
        .spec = launch->spec,
        .instance_id = launch->instance->instance_id,
        .machine = launch->machine_type,
        .accel = launch->accel,
        .macs = launch->macs,
        .tap_fds = launch->tap_fds,
        .share_program = &launch->share_program,
        .share_user = launch->share_user,
        .firmware = launch->firmware.code ? &launch->firmware : NULL,
        .memory = launch->memory,
        .is_woken = launch->is_woken,
        .has_agent = launch->has_agent,
        .wall_ms = clock_wall_ms(clock)};
    struct spawned spawned;
    int rc = clear_memory(launch, err);
    rc = rc < 0 ? rc : spawn_qemu(&request, &spawned, err);
    if (rc < 0) {
        return rc;
    }
    struct vm_instance *instance = launch->instance;
    instance->pid = spawned.pid;
    instance->start_ticks = spawned.start_ticks;
    (void)snprintf(instance->boot_id, sizeof(instance->boot_id), "%s", clock_boot_id(clock));
    free(instance->accel);
    instance->accel = mem_strdup(launch->accel);
    free(instance->memory_host);
    instance->is_woken = launch->is_woken && launch->memory;
    instance->has_agent = launch->has_agent;
    instance->memory_host = is_freezable(launch) ? machine_memory_host(machine->host) : NULL;
    rc = machine_take_child(machine, instance->instance_id, &spawned, err);
    if (rc == 0) { /* before it starts others */
        machine_limit(machine, launch->spec, launch->uid, spawned.pid);
    }
    return rc;
}

static void launch_finish(struct launch *launch, struct error *err)
{
    if (err->code) {
        (void)error_wrap(err, "cannot start QEMU for '%s'", launch->machine->vm_name);
    }
    op_finish(&launch->op, err->code ? err : NULL);
}

static void make_taps(struct launch *launch);

static void tap_made(void *context, int fd_take, const struct error *why)
{
    struct launch *launch = context;
    launch->under_way = NULL;
    launch->tap_fds[launch->next++] = fd_take;
    if (why) {
        struct error err = *why;
        launch_finish(launch, &err);
    } else {
        make_taps(launch);
    }
}

/* Makes the device directly where that is permitted, in microseconds; else by the helper. */
static void make_tap(struct launch *launch, const char *bridge)
{
    bridge = bridge ? bridge : SPEC_DEFAULT_BRIDGE;
    struct error err = {0};
    int fd = -1;
    if (tap_open(bridge, &fd, &err) < 0 && tap_is_permission(&err)) {
        launch->under_way =
            tap_helper_start(launch->machine->host->loop, bridge, &err, tap_made, launch);
    } else {
        tap_made(launch, fd, err.code ? &err : NULL);
    }
}

/* One after the other; the process when all are there. */
static void make_taps(struct launch *launch)
{
    struct error err = {0};
    const struct spec_network *network;
    while ((network = vm_spec_network(launch->spec, launch->next))) {
        if (network->mode == NETWORK_TAP) {
            make_tap(launch, network->bridge);
            return;
        }
        launch->next++;
    }
    (void)make_process(launch, &err);
    launch_finish(launch, &err);
}

static void firmware_prepared(void *context, const struct error *why)
{
    struct launch *launch = context;
    launch->under_way = NULL;
    if (why) {
        struct error err = *why;
        launch_finish(launch, &err);
    } else {
        make_taps(launch);
    }
}

static void find_firmware(struct launch *launch)
{
    const struct reconciler_host *host = launch->machine->host;
    if (launch->spec->firmware == FIRMWARE_BIOS) {
        make_taps(launch);
        return;
    }
    cleanup_free char *vars = paths_vm(host->paths, launch->machine->vm_name, VM_FIRMWARE_VARS);
    const struct firmware_wanted wanted = {
        launch->spec->firmware, arch_machine(launch->spec->image.arch), launch->machine_type, vars};
    launch->under_way =
        firmware_prepare(host->pool, &wanted, &launch->firmware, firmware_prepared, launch);
}

static void shares_probed(void *context, const struct share_program *program, const char *fault)
{
    struct launch *launch = context;
    launch->under_way = NULL;
    launch->share_program = *program;
    free(launch->instance->no_virtiofs);
    launch->instance->no_virtiofs = mem_strdup(fault);
    find_firmware(launch);
}

static void accel_chosen(void *context, const char *accel, const struct error *why)
{
    struct launch *launch = context;
    launch->under_way = NULL;
    launch->accel = accel;
    if (why) {
        struct error err = *why;
        launch_finish(launch, &err);
    } else if (launch->spec->n_shares > 0) {
        const struct machine *machine = launch->machine;
        cleanup_free char *dir = paths_vm(machine->host->paths, machine->vm_name, VM_DIR);
        launch->under_way = share_probe_start(machine->host->loop, dir, shares_probed, launch);
    } else {
        find_firmware(launch);
    }
}

/* The memory of a template's builder, or of the template that the VM is woken from. */
static char *memory_path(const struct vm_env *env)
{
    const struct paths *paths = env->host->paths;
    const struct vm_prepared *prepared = &env->status->prepared;
    return prepared->wake == WAKE_DUE
               ? template_path(paths, prepared->template_digest, TEMPLATE_MEMORY)
           : vm_spec_name_is_of_template(env->name) && env->spec->warm == WARM_AUTO
               ? paths_vm(paths, env->name, VM_MEMORY_FILE)
               : NULL;
}

/* What was saved is loaded by the same one. */
static enum accel_mode accel_of(const char *name)
{
    return text_eq(name, "kvm") ? ACCEL_KVM : ACCEL_TCG;
}

/* Memory is loaded into a machine of the parts that it was saved of. */
static bool has_agent(const struct vm_env *env)
{
    const struct vm_status *status = env->status;
    struct error ignored = {.code = ERR_NONE};
    if (status->saved.phase == SAVED_WHOLE) {
        return status->saved.has_agent;
    }
    if (status->prepared.wake != WAKE_DUE) {
        return true;
    }
    const char *digest = status->prepared.template_digest;
    struct template_record *record = template_find(env->host->paths, digest, &ignored);
    bool is_there = record && record->memory.has_agent;
    template_record_free(record);
    return is_there;
}

struct op *machine_launch(struct machine *machine, const struct vm_env *env,
    struct vm_instance *instance, op_done_fn *done, void *context)
{
    /* The first start takes the newest there is, and boot.c reports which that was. */
    const char *type = env->spec->machine     ? env->spec->machine
                       : env->status->machine ? env->status->machine
                                              : qemu_newest_machine(env->spec);
    bool is_saved = env->status->saved.phase == SAVED_WHOLE;
    enum accel_mode accel = is_saved ? accel_of(env->status->saved.accel)
                            : arch_is_foreign(env->spec->image.arch) ? ACCEL_TCG
                                                                     : env->spec->accel;
    struct launch *launch = mem_new(struct launch);
    *launch = (struct launch){.op = {launch_cancel, done, context},
        .machine = machine,
        .spec = vm_spec_copy(env->spec),
        .machine_type = mem_strdup(type),
        .instance = instance,
        .share_user = mem_strdup(env->status->share_user),
        .uid = mem_strdup(env->uid),
        .memory = memory_path(env),
        .has_agent = has_agent(env),
        .is_woken = env->status->prepared.wake == WAKE_DUE || is_saved};
    for (size_t i = 0; i < NETWORKS_MAX; i++) {
        launch->macs[i] = mem_strdup(vm_status_mac(env->status, i));
        launch->tap_fds[i] = -1;
    }
    launch->under_way = accel_choose(machine->host->loop, accel, accel_chosen, launch);
    return &launch->op;
}

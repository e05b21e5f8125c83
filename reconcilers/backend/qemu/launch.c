/* SPDX-License-Identifier: MPL-2.0 */
/* The launch operation: chooses the accelerator, which may need a probe, makes a tap device if the
 * spec has one, which may need a helper program, then creates the process. */
#include <stdio.h>
#include <stdlib.h>

#include "reconcilers/backend/qemu/accel.h"
#include "reconcilers/backend/qemu/argv.h"
#include "reconcilers/backend/qemu/machine.h"
#include "reconcilers/backend/qemu/spawn.h"
#include "reconcilers/backend/qemu/tap.h"
#include "reconcilers/backend/qemu/tap_helper.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

struct launch {
    struct op op;
    struct machine *machine; /* borrowed: an operation is cancelled before its machine is closed */
    struct vm_spec *spec;
    char *mac;
    char *machine_type;
    struct vm_instance *instance; /* borrowed until done */
    struct op *under_way; /* the choice of the accelerator, then the tap helper; NULL: neither */
    const char *accel;    /* static text; NULL until chosen */
    int tap_fd;           /* -1: none (yet) */
};

static void launch_cancel(struct op *op)
{
    struct launch *launch = (struct launch *)(void *)op;
    op_cancel(launch->under_way);
    cleanup_close_(&launch->tap_fd);
    vm_spec_free(launch->spec);
    free(launch->mac);
    free(launch->machine_type);
    free(launch);
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
        .mac = launch->mac,
        .tap_fd = launch->tap_fd,
        .wall_ms = clock_wall_ms(clock)};
    struct spawned spawned;
    int rc = spawn_qemu(&request, &spawned, err);
    if (rc < 0) {
        return rc;
    }
    struct vm_instance *instance = launch->instance;
    instance->pid = spawned.pid;
    instance->start_ticks = spawned.start_ticks;
    (void)snprintf(instance->boot_id, sizeof(instance->boot_id), "%s", clock_boot_id(clock));
    free(instance->accel);
    instance->accel = mem_strdup(launch->accel);
    return machine_take_child(machine, instance->instance_id, &spawned, err);
}

static void launch_finish(struct launch *launch, struct error *err)
{
    if (err->code) {
        (void)error_wrap(err, "cannot start QEMU for '%s'", launch->machine->vm_name);
    }
    op_finish(&launch->op, err->code ? err : NULL);
}

static void tap_made(void *context, int fd_take, const struct error *why)
{
    struct launch *launch = context;
    launch->under_way = NULL;
    launch->tap_fd = fd_take;
    struct error err = {0};
    if (why) {
        err = *why;
    } else {
        (void)make_process(launch, &err);
    }
    launch_finish(launch, &err);
}

/* Makes the device directly where that is permitted, in microseconds; else by the helper. */
static void make_tap(struct launch *launch)
{
    const char *bridge = launch->spec->network.bridge;
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

static void accel_chosen(void *context, const char *accel, const struct error *why)
{
    struct launch *launch = context;
    launch->under_way = NULL;
    launch->accel = accel;
    struct error err = {0};
    if (why) {
        err = *why;
    } else if (launch->spec->network.mode == NETWORK_TAP) {
        make_tap(launch);
        return;
    } else {
        (void)make_process(launch, &err);
    }
    launch_finish(launch, &err);
}

struct op *machine_launch(struct machine *machine, const struct vm_env *env,
    struct vm_instance *instance, op_done_fn *done, void *context)
{
    /* The first start takes the newest there is, and boot.c reports which that was. */
    const char *type = env->spec->machine     ? env->spec->machine
                       : env->status->machine ? env->status->machine
                                              : QEMU_NEWEST_MACHINE;
    struct launch *launch = mem_new(struct launch);
    *launch = (struct launch){.op = {launch_cancel, done, context},
        .machine = machine,
        .spec = vm_spec_copy(env->spec),
        .mac = mem_strdup(env->status->mac),
        .machine_type = mem_strdup(type),
        .instance = instance,
        .tap_fd = -1};
    launch->under_way = accel_choose(machine->host->loop, env->spec->accel, accel_chosen, launch);
    return &launch->op;
}

/* SPDX-License-Identifier: MPL-2.0 */
/* The launch operation: choose the accelerator, which may take a probe, then make the process. */
#include <stdio.h>
#include <stdlib.h>

#include "reconcilers/backend/qemu/accel.h"
#include "reconcilers/backend/qemu/machine.h"
#include "reconcilers/backend/qemu/spawn.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

struct launch {
    struct op op;
    struct machine *machine; /* borrowed: an operation is cancelled before its machine is closed */
    struct vm_spec *spec;
    char *mac;
    struct vm_instance *instance; /* borrowed until done */
    struct op *accel;             /* NULL once chosen */
    op_done_fn *done;
    void *context;
};

static void launch_free(struct launch *launch)
{
    op_cancel(launch->accel);
    vm_spec_free(launch->spec);
    free(launch->mac);
    free(launch);
}

static void launch_cancel(struct op *op)
{
    launch_free((struct launch *)op);
}

static void record(struct vm_instance *instance, const struct clock *clock, const char *accel,
    const struct spawned *spawned)
{
    instance->pid = spawned->pid;
    instance->start_ticks = spawned->start_ticks;
    (void)snprintf(instance->boot_id, sizeof(instance->boot_id), "%s", clock_boot_id(clock));
    free(instance->accel);
    instance->accel = mem_strdup(accel);
}

static int make_process(struct launch *launch, const char *accel, struct error *err)
{
    struct machine *machine = launch->machine;
    const struct clock *clock = machine->host->clock;
    struct spawn_request request = {.places = machine->host->places,
        .spec = launch->spec,
        .iid = launch->instance->iid,
        .accel = accel,
        .mac = launch->mac,
        .wall_ms = clock_wall_ms(clock)};
    struct spawned spawned;
    int rc = spawn_qemu(&request, &spawned, err);
    if (rc == 0) {
        record(launch->instance, clock, accel, &spawned);
        rc = machine_take_child(machine, launch->instance->iid, &spawned, err);
    }
    return rc < 0 ? error_wrap(err, "cannot start QEMU for '%s'", machine->vm_name) : 0;
}

static void accel_chosen(void *context, const char *accel, const struct error *why)
{
    struct launch *launch = context;
    launch->accel = NULL;
    struct error err = {0};
    if (why) {
        err = *why;
    } else {
        (void)make_process(launch, accel, &err);
    }
    op_done_fn *done = launch->done;
    void *done_context = launch->context;
    launch_free(launch);
    done(done_context, err.code ? &err : NULL);
}

struct op *machine_launch(struct machine *machine, const struct vm_env *env,
    struct vm_instance *instance, op_done_fn *done, void *context)
{
    struct launch *launch = mem_new(struct launch);
    *launch = (struct launch){.op = {.cancel = launch_cancel},
        .machine = machine,
        .spec = vm_spec_copy(env->spec),
        .mac = mem_strdup(env->status->mac),
        .instance = instance,
        .done = done,
        .context = context};
    launch->accel = accel_choose(machine->host->loop, env->spec->accel, accel_chosen, launch);
    return &launch->op;
}

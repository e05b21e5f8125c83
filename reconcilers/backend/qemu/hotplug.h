/* SPDX-License-Identifier: MPL-2.0 */
/*
 * CPUs and memory for a machine that runs, by QMP. The targets are absolute: what the machine has
 * is asked first and only what is missing is added, so that a controller killed in the middle goes
 * on where it was, and doing it twice does nothing. Nothing is ever taken away: that is the guest's
 * to agree to, and a restart does it.
 *
 * How much can be added the machine was told at its start: argv.c, spec_diff.h.
 */
#pragma once

#include <stdint.h>

#include "reconcilers/backend/backend.h"
#include "specs/base/buf.h"

struct error;
struct hotplug;
struct machine;

struct hotplug_target {
    uint32_t vcpus;      /* 0: as they are */
    uint32_t memory_mib; /* 0: as it is */
};

/* What an instance should have that was started from the applied spec of `env`: what the desired
 * one says, as far as it can be added. Without room nothing can have been taken away either, and
 * nothing is asked. */
struct hotplug_target hotplug_target_of(const struct vm_env *env);

/*
 * Brings the machine to the target. `done` is called once, from the loop, after which the object
 * may be freed; never during the call: -ERR_QMP_CONNECT instead when QEMU does not answer. What was
 * added is appended to `told` in words ("vcpus 1 -> 2"). Errors: ERR_QMP_COMMAND with QEMU's words
 * (no memory on the host, no slot free), ERR_TIMEOUT, ERR_QMP_CONNECT.
 */
struct hotplug *hotplug_new(struct machine *machine, struct hotplug_target target, struct buf *told,
    void (*done)(void *context, const struct error *err), void *context);
int hotplug_start(struct hotplug *hotplug, struct error *err);
void hotplug_free(struct hotplug *hotplug); /* at any time: what is under way is forgotten */

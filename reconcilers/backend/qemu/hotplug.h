/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Adds CPUs and memory to a running machine over QMP. The targets are absolute: it queries what the
 * machine has and adds only what is missing, so a controller killed in the middle resumes, and a
 * second call does nothing. It never removes anything: the guest would have to agree, and a restart
 * does it.
 *
 * The machine's start fixed how much can be added: argv.c, spec_diff.h.
 */
#pragma once

#include <stdint.h>

#include "reconcilers/backend/backend.h"
#include "specs/base/buf.h"

struct error;
struct hotplug;
struct machine;

struct hotplug_target {
    uint32_t vcpus;      /* 0: keep */
    uint32_t memory_mib; /* 0: keep */
    bool is_shared;      /* servers of shared folders read and write the memory, too */
};

/* The target of an instance started from the applied spec of `env`: the desired spec, as far as it
 * can be added. A part that the machine was started without room for is 0. */
struct hotplug_target hotplug_target_of(const struct vm_env *env);

/*
 * Brings the machine to the target. `done` is called once, from the loop, after which the object
 * may be freed; never during hotplug_start(), which returns -ERR_QMP_CONNECT when QEMU does not
 * answer. A text of what was added is appended to `changes` ("vcpus 1 -> 2"). Errors:
 * ERR_QMP_COMMAND with QEMU's message (no memory on the host, no free slot), ERR_TIMEOUT,
 * ERR_QMP_CONNECT.
 */
struct hotplug *hotplug_new(struct machine *machine, struct hotplug_target target,
    struct buf *changes, void (*done)(void *context, const struct error *err), void *context);
int hotplug_start(struct hotplug *hotplug, struct error *err);
void hotplug_free(struct hotplug *hotplug); /* at any time: drops a pending reply */

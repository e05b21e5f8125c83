/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Properties of a backend that the store, the CLI and the engine need without running it. Its
 * operations are in reconcilers/backend/backend.h.
 */
#pragma once

#include <stdbool.h>

#include "specs/vm/vm_spec.h"

struct vm_instance;

struct backend_traits {
    bool is_fixed;            /* a running machine cannot be changed, paused or resumed */
    bool copies_used_disk;    /* snapshots are made while the machine runs, too */
    const char *handle;       /* what vm_instance.pid is, in an event: "pid", "zone" */
    const char *handle_label; /* the same in `status`: "PID:" */
    /* URL of its console; NULL: a socket in the VM's directory. free() the URL. */
    char *(*console_url)(const struct vm_instance *instance);
};

const struct backend_traits *backend_traits(enum backend_kind kind);

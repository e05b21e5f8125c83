/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The life of vmctld: from the lock on its data directory to a clean end on SIGTERM or SIGINT,
 * which never touches a VM. The reconcilers are plugged in by the caller, so this folder knows
 * none.
 */
#pragma once

#include <stdbool.h>

struct controller;
struct error;

struct daemon_options {
    const char *data_dir; /* NULL: the environment's answer */
    bool is_foreground;   /* keeps the working directory */
    bool is_messenger;    /* it is not vmctld that is run, but fleet_process_run() */
};

/* Adds the reconcilers: controller_add(). */
typedef void plug_in_fn(struct controller *controller);

/*
 * Runs until it is requested to end. Returns 0 then, and also at once when another vmctld serves
 * the data directory; else an error: the data directory or the store is unusable.
 */
int daemon_run(const struct daemon_options *options, plug_in_fn *plug_in, struct error *err);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The life of vmctld: from the lock on its data directory to a clean end on SIGTERM or SIGINT,
 * which never touches a VM. The reconciler is plugged in by the caller, so this folder knows none.
 */
#pragma once

#include <stdbool.h>

struct error;
struct reconciler;
struct reconciler_host;

struct daemon_options {
    const char *data_dir; /* NULL: the environment's answer */
    bool is_foreground;   /* keeps the working directory */
};

/* `host` lives longer than the reconciler. */
typedef struct reconciler *reconciler_factory(struct reconciler_host *host);

/*
 * Runs until it is requested to end. Returns 0 then, and also at once when another vmctld serves
 * the data directory; else an error: the data directory or the store is unusable.
 */
int daemon_run(
    const struct daemon_options *options, reconciler_factory *factory, struct error *err);

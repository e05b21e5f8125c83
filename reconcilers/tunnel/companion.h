/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The ssh(1) that forwards over SSH for one VM, and outlives the controller. It holds the lock of
 * VM_FORWARD_LOCK as its standard input, as ssh closes all other descriptors, and that file has its
 * pid and which run it is; it serves the controller, also a later one, at VM_FORWARD_CONTROL
 * (mux.h). It ends when its connection does, at the latest 45 s after the guest has stopped
 * answering.
 */
#pragma once

#include <stdbool.h>

struct error;
struct reconciler_host;
struct vm_env;

/* One runs, or is about to. */
bool companion_is_alive(const struct reconciler_host *host, const char *vm_name);

/* Starts it, unless one runs. Nothing of an earlier one is left then but links to its sockets.
 * -ERR_FORWARD: ssh is not installed, or a path cannot be its option's. */
int companion_start(const struct vm_env *env, struct error *err);

/* Returns an id that is unique to this run. NULL: it does not run, or has not reported the id yet.
 * free() it. */
char *companion_run(const struct reconciler_host *host, const char *vm_name);

/* Ends it, if it runs; without waiting for it. */
void companion_end(const struct reconciler_host *host, const char *vm_name);

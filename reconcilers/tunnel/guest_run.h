/* SPDX-License-Identifier: MPL-2.0 */
/* A command that runs in a guest over the login of an ssh(1) (mux.h), for as long as a process
 * reads its output. */
#pragma once

struct guest_run;
struct loop;

enum { GUEST_RUN_OUTPUT_MAX = 64 << 10 }; /* more ends it */

/* `control`: the master's socket. `line`: called with each whole line, without its end; it may free
 * the run. NULL: nothing until it ends. `done`: it is over, with what it printed that no `line`
 * had; the run is still to be freed, which may be done there. */
struct guest_run *guest_run_new(struct loop *loop, const char *control, const char *command,
    void (*line)(void *context, const char *text), void (*done)(void *context, const char *output),
    void *context);
void guest_run_free(struct guest_run *run); /* ends it; NULL is fine */

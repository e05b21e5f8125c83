/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Runs zoneadm, zonecfg and zfs one after the other, as one operation: a function chooses each
 * command from the output of the one before. Each has a deadline; a command that fails ends the
 * script.
 */
#pragma once

#include <stdbool.h>

#include "controller/loop/op.h"

struct error;
struct loop;

enum { SCRIPT_ARGS_MAX = 12 };

struct script_step {
    const char *argv[SCRIPT_ARGS_MAX]; /* borrowed from the context; argv[0] NULL: done */
    const char *what;                  /* for the error: "boot zone" */
};

/* `output` is the previous command's, "" at first; the first call must choose a command. An error
 * ends the script. */
typedef int script_next_fn(
    void *context, const char *output, struct script_step *ret, struct error *err);

/* `name`: the VM's, for errors; copied. `free_context` gets `context` when the operation ends,
 * before `done`, or is cancelled. */
struct op *script_start(struct loop *loop, const char *name, script_next_fn *next,
    void (*free_context)(void *context), void *context, op_done_fn *done, void *done_context);

/* Whether `output` contains `line`. */
bool script_has_line(const char *output, const char *line);

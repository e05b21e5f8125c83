/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The vmctld of this data directory: finds the one that serves it, and ends it. The session record
 * (store/session.h) shows whether it serves; its lock only shows that some vmctld starts, serves or
 * ends.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "specs/base/text.h"

struct cli;
struct error;

enum controller_state {
    CONTROLLER_NONE,
    CONTROLLER_SERVES,    /* what is committed before this was seen, it carries out */
    CONTROLLER_CHANGING,  /* it is starting or ending: what is committed now may not be seen */
    CONTROLLER_ELSEWHERE, /* it runs in another PID namespace, where nothing is known of it */
};

struct controller_process {
    enum controller_state state;
    pid_t pid; /* serving or ending; 0: not known */
    char version[32];
    char session[TEXT_ID_SIZE]; /* of one that serves: what it signs the statuses it writes with */
    bool has_observed_all;      /* its other statuses are as good as signed (store/session.h) */
    int64_t started_ms;         /* wall */
    bool is_halted;             /* by SIGSTOP or a debugger: it holds its lock and does nothing */
    bool is_stopped; /* by SIGSTOP: it stays so, while a traced one is halted at every call */
};

int controller_find(struct cli *cli, struct controller_process *ret, struct error *err);

/* If no controller runs, notes on stderr that the states shown are out of date. */
void controller_note_absent(struct cli *cli);

/* The error for a controller in another PID namespace. */
int controller_elsewhere(struct cli *cli, struct error *err);

/*
 * Returns how long a waiter may sleep before it checks the controller again: briefly while none is
 * known to work. The process that holds the lock may be ending, starting or stopped, and no bell
 * rings when it has ended or resumes.
 */
int64_t controller_requeue_after_ms(const struct controller_process *process);

/* Sends SIGTERM and waits until the lock is released. VMs keep running. Fine if none runs; an error
 * at once if it is halted. */
int controller_end(struct cli *cli, struct error *err);

/* The same, with a note, if its version is older than ours. A newer one is left alone: two versions
 * in use at once must not take turns. Checked once (cli->knows_controller). */
int controller_end_older(struct cli *cli, struct error *err);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The vmctld that serves this data directory: whether one runs, which process it is, and ending it.
 * Its lock alone shows whether it runs; the record it writes shows which process it is, and counts
 * only while the process of that pid has the recorded start time (a pid may be reused).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "specs/base/text.h"

struct cli;
struct error;

struct controller_process {
    pid_t pid; /* 0: not known yet */
    char version[32];
    char session[TEXT_ID_SIZE]; /* what it signs the statuses it writes with */
    int64_t started_ms;         /* wall */
    bool is_halted;             /* by SIGSTOP or a debugger: it holds its lock and does nothing */
    bool is_stopped; /* by SIGSTOP: it stays so, while a traced one is halted at every call */
};

bool controller_is_running(const struct cli *cli);

/* If no controller runs, notes on stderr that the states shown are out of date. */
void controller_note_absent(const struct cli *cli);

/* Sets the known members; pid 0 when there is no record of a living process. */
int controller_find(struct cli *cli, struct controller_process *ret, struct error *err);

/*
 * How long a waiter may sleep before it checks the controller again: not long while none is known
 * to work. The process that holds the lock may be ending, starting or halted, and no bell rings
 * when it has ended or resumes.
 */
int64_t controller_requeue_after_ms(const struct controller_process *process);

/* Sends SIGTERM and waits until the lock is released. VMs keep running. Fine if none runs. */
int controller_end(struct cli *cli, struct error *err);

/* The same, with a note, if its version is older than ours. A newer one is left alone: two versions
 * in use at once must not take turns. Checked once (cli->knows_controller). */
int controller_end_older(struct cli *cli, struct error *err);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The one loop in which commands wait for what others write to the store: check, sleep until
 * something may have changed, check again. `up` and all that follows VMs, `wait`, `get -w`,
 * `events -f`, `log -f`, image requests and watched VMFiles bring the check; how a wait ends is
 * decided here and is the same for all of them:
 *
 *   - the check is done, or fails: what it returned;
 *   - the deadline: what `time_out` returns, after one last check;
 *   - SIGINT, SIGTERM, SIGHUP, or the reader of stdout has closed it: 128 + the signal's number
 *     (SIGPIPE's for the reader), after `interrupted`.
 *
 * Call wait_loop_open() before the request is written: then no change is missed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/wait/controller_process.h"
#include "cli/wait/wakeup.h"

struct cli;
struct error;

struct wait_loop {
    struct cli *cli;
    int64_t deadline_ms; /* monotonic; INT64_MAX: none */
    bool ignores_reader; /* set before wait_loop_open(): the end of stdout's reader ends nothing */
    /* A controller has to work: it is started when none runs, and its end ends a sleep. */
    bool needs_controller;
    struct controller_process controller; /* as of this round, for the check */
    int64_t
        sleep_max_ms; /* the check wants the next one this soon; 0: whenever something happened */

    /* Returns 0 to continue or, with *ret_is_done, to succeed; else what the wait returns: an exit
     * status, or a negative error. */
    int (*check)(void *context, bool *ret_is_done, struct error *err);
    int (*time_out)(void *context, struct error *err);
    void (*interrupted)(void *context); /* NULL: nothing to report */
    void *context;

    /* Private. */
    struct wakeup wakeup;
    pid_t watched_pid; /* whose end the wakeup reports; 0: no one's */
    int64_t ensured_ms;
};

/* From here on signals end no more than a wait. The wait has at most `timeout_ms`. */
void wait_loop_open(struct wait_loop *loop, int64_t timeout_ms);
int wait_loop_run(struct wait_loop *loop, struct error *err);
void wait_loop_close(struct wait_loop *loop);

int64_t wait_loop_left_ms(const struct wait_loop *loop); /* until the deadline; not negative */

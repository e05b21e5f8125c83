/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Sleeping until something may have changed: the status bell rang, a signal that would end the
 * process came, the terminal got another size, a process ended, stdout lost its reader, or the time
 * is up. wait_loop.h sleeps here.
 *
 * The order that loses nothing: wakeup_open(), then check, wakeup_wait(), check, wakeup_wait() …
 * (see store/bell.h). Nothing promises that every commit rings, so check at least every
 * WAKEUP_MAX_MS.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/bell.h"

struct paths;

enum { WAKEUP_MAX_MS = 1000 };

struct wakeup {
    struct bell_watch bell; /* fd -1: it cannot be watched, and the waits are short instead */
    int signal_fd;
    sigset_t old_mask;
    int process_fd;     /* ends the wait when this process has ended (pidfd_open(2)), or when there
                         * is something to read from it; -1: none */
    bool was_suspended; /* it came back from Ctrl-Z; reset by the code that draws */
    bool feeds_reader;  /* the end of stdout's reader counts as SIGPIPE */
};

/* From here on SIGINT, SIGTERM and SIGHUP end no more than a wait; those that are ignored stay
 * ignored. */
void wakeup_open(struct wakeup *wakeup, const struct paths *paths);
void wakeup_close(struct wakeup *wakeup);

/* Waits at most `limit_ms`. 0: check again; else the signal to end by, for wakeup_exit_status(). */
int wakeup_wait(struct wakeup *wakeup, int64_t limit_ms);

/* Behind the "^C" that a terminal shows: the shell's prompt has a line of its own. */
void wakeup_end_line(int signal_number);

/* The exit status a shell reports for a process that a signal ended: 130 after Ctrl-C. */
int wakeup_exit_status(int signal_number);

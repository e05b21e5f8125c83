/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Waiting until there is something new to look at: the status bell was rung, a signal that would
 * end the process came, a process ended, or the time is up. What follow, `get -w` and `events -f`
 * sleep in.
 *
 * The order that loses nothing: news_open(), then look, news_wait(), look, news_wait() … (see
 * store/bell.h). Nothing promises that every commit rings, so look again at least every
 * NEWS_LOOK_MS.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/bell.h"

struct places;

enum { NEWS_LOOK_MS = 1000 };

struct news {
    struct bell_watch bell; /* fd -1: inotify is exhausted, and the waits are short instead */
    int signal_fd;
    sigset_t old_mask;
    int process_fd; /* ends the wait when this process has ended (pidfd_open(2)); -1: none */
    bool feeds_reader; /* stdout is what this is for: the end of its reader counts as SIGPIPE */
};

/* From here on SIGINT, SIGTERM and SIGHUP end no more than a wait; those that are ignored stay ignored. */
void news_open(struct news *news, const struct places *places);
void news_close(struct news *news);

/* Waits at most `limit_ms`. 0: look again; else the signal to end by, for news_exit_status(). */
int news_wait(struct news *news, int64_t limit_ms);

/* What a shell says of a process that a signal ended: 130 after Ctrl-C. */
int news_exit_status(int signal_number);

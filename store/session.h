/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The session record: which vmctld serves this data directory. It answers "does it serve?", which
 * DATA/controller.lock does not: a vmctld holds that lock from start to exit, also while it fails
 * to start or shuts down.
 *
 * The record is valid while its process lives (pid, start time, boot id), was not asked to end, and
 * is in the same PID namespace; and only in the directory it was written in, not in a copy.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "specs/base/json.h"
#include "specs/base/text.h"

struct clock;
struct error;
struct paths;
struct store;

enum session_state {
    SESSION_NONE,      /* the recorded process, if any, is gone or exits */
    SESSION_SERVES,    /* halted or not */
    SESSION_ENDING,    /* it lives, but was asked to end */
    SESSION_ELSEWHERE, /* in another PID namespace: its process cannot be examined */
};

struct session {
    enum session_state state;
    pid_t pid;             /* 0 with SESSION_NONE */
    char id[TEXT_ID_SIZE]; /* what it signs the statuses it writes with */
    char version[32];      /* "0": not recorded */
    int64_t started_ms;    /* wall */
    /* It has observed every VM since it started: a status with another signature was found correct
     * and was therefore not rewritten. */
    bool has_observed_all;
    bool can_rename;        /* it knows of names that VMs had (store/desired/rename.h) */
    uint64_t pid_namespace; /* its number, as in /proc/self/ns/pid */
    bool is_stopped;        /* by SIGSTOP: it holds its lock and does nothing */
    bool is_traced;         /* halted briefly at every call, by a debugger */
};

/* The record of this process, which was started at `start_ticks` (proc_stat.h). Caller owns, and
 * adds SESSION_OBSERVED_ALL once that is so. */
json_t *session_record(
    const struct paths *paths, const char *id, uint64_t start_ticks, const struct clock *clock);
#define SESSION_OBSERVED_ALL "observedAll"

/* What the record says now. A missing record is SESSION_NONE. */
int session_read(struct store *store, struct session *ret, struct error *err);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One step's part of provision.log: a header line, the output as it comes, a footer line; before
 * the first step, behind what earlier runs left, a line with the time. The file is appended to
 * (0600), so that a reader may follow it; beside it stands when its bytes were received
 * (specs/base/log_times.h). Failing to write (a full disk) does not stop a step: the
 * guest's work is worth more than its record.
 *
 * A controller that was killed in the middle of a step can resume the log: the beginning of the
 * step's part was recorded before its first byte, and everything behind the header is output as the
 * guest wrote it. So its length is the offset in the guest's output to continue from, and no line
 * is lost or doubled. Every line of vmctld's own is one write(2), which a signal does not cut.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/vm/vm_spec.h"

struct clock;
struct error;
struct provision_log;

enum { PROVISION_LOG_STEP_MAX = 32 << 20 }; /* bytes of output kept of one step */

struct provision_log_request {
    const char *path;
    uint64_t begin;            /* size of the file before the step was begun */
    uint32_t index, total;     /* index from 0 */
    const struct clock *clock; /* borrowed */
    int64_t started_at_ms;     /* wall clock: durations count from then */
    enum step_kind kind;
    const char *what;        /* the command or the local file */
    const char *destination; /* may be NULL */
};

/* Opens the log, and writes the header unless it is there. A file that was replaced or cut
 * meanwhile gets the header again. -ERR_IO when it cannot be opened. */
int provision_log_open(
    const struct provision_log_request *request, struct provision_log **ret, struct error *err);

/* The number of bytes of the step's output in the log. */
uint64_t provision_log_offset(const struct provision_log *log);

/* The step begins again: its output in the log so far is of a run that is over. */
void provision_log_begin_again(struct provision_log *log, const char *why);

/* A line of vmctld's own in between. */
void provision_log_note(struct provision_log *log, const char *text);

/* Raw bytes of the guest; those beyond PROVISION_LOG_STEP_MAX are dropped, which a line
 * reports. */
void provision_log_output(struct provision_log *log, const char *bytes, size_t n);

/* Writes the footer ("done in 0.4 s", or the failure) unless it is there, and closes the log. */
void provision_log_end(struct provision_log *log, const char *failure);

/* Closes the log in the middle of the step, to be resumed. Both: NULL log is fine. */
void provision_log_close(struct provision_log *log);

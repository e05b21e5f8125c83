/* SPDX-License-Identifier: MPL-2.0 */
/* What a process has taken of the host since it started: proc(5). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_usage {
    int64_t at_ms; /* monotonic; 0: it does not run */
    uint64_t cpu_ms;
    uint64_t resident_bytes;
    bool has_io; /* not of another user's process */
    uint64_t read_bytes, written_bytes;
};

/* Of the process that started at `start_ticks` (proc_stat.h); false: there is none any more, and
 * *ret is all zero. */
bool proc_usage_read(pid_t pid, uint64_t start_ticks, struct proc_usage *ret);

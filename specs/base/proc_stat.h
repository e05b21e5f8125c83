/* SPDX-License-Identifier: MPL-2.0 */
/* /proc/PID/stat (proc(5)): with pid and boot id, the start time identifies a process forever. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    PROC_STAT_MAX = 2048,
    PROC_STAT_STATE = 3,
    PROC_STAT_FLAGS = 9,
    PROC_STAT_START_TICKS = 22,
    PROC_STAT_EXIT_CODE = 52,
};

/* False when there is no such process. */
bool proc_stat_read(pid_t pid, char line[PROC_STAT_MAX]);

/* Points at field `number` (from 3 on) in `line`; NULL: the line has fewer fields. */
const char *proc_stat_field(const char *line, int number);

/* Clock ticks since the host's boot. */
bool proc_stat_start_ticks(pid_t pid, uint64_t *ret_ticks);

/* What a process is doing, as far as it matters to those who count on it. */
struct proc_look {
    uint64_t start_ticks;
    bool is_ending;  /* SIGKILL, SIGTERM or SIGINT waits for it, or has been taken */
    bool is_stopped; /* by SIGSTOP */
    bool is_traced;  /* stopped by a debugger */
};

/* False when there is no such process, or only what the kernel has yet to clear away: its zombie,
 * or a process that exits, which for its files can take 30 ms. */
bool proc_stat_look(pid_t pid, struct proc_look *ret);

/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/proc_stat.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/cleanup.h"

enum {
    FIRST_FIELD_AFTER_NAME = 3,
    /* include/linux/sched.h: it runs no code of its own any more; a deadly signal was taken. */
    PF_EXITING = 0x4,
    PF_SIGNALED = 0x400,
    PROC_STATUS_MAX = 4096,
};

/* The name, field 2, may hold anything: fields are counted from its last parenthesis. */
const char *proc_stat_field(const char *line, int number)
{
    const char *at = strrchr(line, ')');
    for (int field = FIRST_FIELD_AFTER_NAME; at && field <= number; field++) {
        at = strchr(at + 1, ' ');
    }
    return at ? at + 1 : NULL;
}

static bool read_proc(pid_t pid, const char *file, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

bool proc_stat_read(pid_t pid, char line[PROC_STAT_MAX])
{
    return read_proc(pid, "stat", line, PROC_STAT_MAX);
}

bool proc_stat_start_ticks(pid_t pid, uint64_t *ret_ticks)
{
    char line[PROC_STAT_MAX];
    const char *field =
        proc_stat_read(pid, line) ? proc_stat_field(line, PROC_STAT_START_TICKS) : NULL;
    if (!field) {
        return false;
    }
    *ret_ticks = strtoull(field, NULL, 10);
    return true;
}

/* The signals that a line of /proc/PID/status lists: `name` as "ShdPnd:". */
static uint64_t signals_of(const char *status, const char *name)
{
    const char *line = strstr(status, name);
    return line ? strtoull(line + strlen(name), NULL, 16) : 0;
}

/* SIGKILL waits for each thread alone (SigPnd), a signal to the process for all (ShdPnd). */
static bool has_deadly_signal(pid_t pid)
{
    static const uint64_t deadly =
        UINT64_C(1) << (SIGKILL - 1) | UINT64_C(1) << (SIGTERM - 1) | UINT64_C(1) << (SIGINT - 1);
    char status[PROC_STATUS_MAX];
    return read_proc(pid, "status", status, sizeof(status)) &&
           ((signals_of(status, "\nSigPnd:") | signals_of(status, "\nShdPnd:")) & deadly);
}

/* The signals first: one that is taken in between shows in the flags, which are read later. */
bool proc_stat_look(pid_t pid, struct proc_look *ret)
{
    char line[PROC_STAT_MAX];
    bool is_asked = has_deadly_signal(pid);
    const char *state = proc_stat_read(pid, line) ? proc_stat_field(line, PROC_STAT_STATE) : NULL;
    const char *flags = state ? proc_stat_field(line, PROC_STAT_FLAGS) : NULL;
    const char *ticks = state ? proc_stat_field(line, PROC_STAT_START_TICKS) : NULL;
    uint64_t bits = flags ? strtoull(flags, NULL, 10) : 0;
    if (!flags || !ticks || (bits & PF_EXITING) || *state == 'Z' || *state == 'X') {
        return false;
    }
    *ret = (struct proc_look){.start_ticks = strtoull(ticks, NULL, 10),
        .is_ending = is_asked || (bits & PF_SIGNALED),
        .is_stopped = *state == 'T',
        .is_traced = *state == 't'};
    return true;
}

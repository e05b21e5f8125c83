/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/proc_stat.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/cleanup.h"

enum { FIRST_FIELD_AFTER_NAME = 3 };

/* The name, field 2, may hold anything: fields are counted from its last parenthesis. */
const char *proc_stat_field(const char *line, int number)
{
    const char *at = strrchr(line, ')');
    for (int field = FIRST_FIELD_AFTER_NAME; at && field <= number; field++) {
        at = strchr(at + 1, ' ');
    }
    return at ? at + 1 : NULL;
}

bool proc_stat_read(pid_t pid, char line[PROC_STAT_MAX])
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, PROC_STAT_MAX - 1);
    line[n > 0 ? n : 0] = '\0';
    return n > 0;
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

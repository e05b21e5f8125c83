/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/proc_usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/proc_stat.h"

static uint64_t stat_number(const char *line, int field)
{
    const char *text = proc_stat_field(line, field);
    return text ? strtoull(text, NULL, 10) : 0;
}

bool proc_usage_read(pid_t pid, uint64_t start_ticks, struct proc_usage *ret)
{
    enum { UTIME = 14, STIME = 15, RSS = 24 };
    char line[PROC_STAT_MAX], path[64];
    cleanup_buf struct buf io = BUF_INIT(4096);
    cleanup_with(error_clear) struct error ignored = {.code = ERR_NONE};
    uint64_t ticks_per_s = (uint64_t)sysconf(_SC_CLK_TCK);
    *ret = (struct proc_usage){.at_ms = 0};
    if (pid <= 0 || !proc_stat_read(pid, line) ||
        stat_number(line, PROC_STAT_START_TICKS) != start_ticks) {
        return false;
    }
    ret->at_ms = clock_monotonic_ms(clock_system());
    ret->cpu_ms = (stat_number(line, UTIME) + stat_number(line, STIME)) * 1000 / ticks_per_s;
    ret->resident_bytes = stat_number(line, RSS) * (uint64_t)sysconf(_SC_PAGESIZE);
    (void)snprintf(path, sizeof(path), "/proc/%d/io", (int)pid);
    const char *text =
        fs_read_file(path, &io, &ignored) == 0 ? strstr(buf_str(&io), "\nread_bytes") : NULL;
    ret->has_io = text && sscanf(text, " read_bytes: %" SCNu64 " write_bytes: %" SCNu64,
                              &ret->read_bytes, &ret->written_bytes) == 2;
    return true;
}

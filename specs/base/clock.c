/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/clock.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "specs/base/cleanup.h"

static int64_t read_ms(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t system_monotonic_ms(const struct clock *clock)
{
    (void)clock;
    return read_ms(CLOCK_MONOTONIC);
}

static int64_t system_wall_ms(const struct clock *clock)
{
    (void)clock;
    return read_ms(CLOCK_REALTIME);
}

/* Two readings one after the other: a few milliseconds of it are none. */
static int64_t system_slept_ms(const struct clock *clock)
{
    (void)clock;
    return read_ms(CLOCK_BOOTTIME) - read_ms(CLOCK_MONOTONIC);
}

static char boot_id_text[CLOCK_BOOT_ID_SIZE]; /* constant for the life of the machine; "": unread */

/* When the file could not be read (no descriptor was free), the next call tries again. The text is
 * written before any caller has received it. */
static const char *system_boot_id(const struct clock *clock)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    enum { LENGTH = CLOCK_BOOT_ID_SIZE - 1 };
    (void)clock;
    pthread_mutex_lock(&mutex);
    if (!boot_id_text[0]) {
        cleanup_close int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, boot_id_text, LENGTH);
        boot_id_text[n == LENGTH ? LENGTH : 0] = '\0';
    }
    const char *text = boot_id_text[0] ? boot_id_text : "";
    pthread_mutex_unlock(&mutex);
    return text;
}

const struct clock *clock_system(void)
{
    static const struct clock system_clock = {
        .monotonic_ms = system_monotonic_ms,
        .wall_ms = system_wall_ms,
        .slept_ms = system_slept_ms,
        .boot_id = system_boot_id,
    };
    return &system_clock;
}

/* A list of many VMs has thousands of times, and strftime(3) costs more than all else of one. */
void clock_format_utc(int64_t wall_ms, char *out)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm = {.tm_year = -1900}; /* and stays so for a year that no int holds */
    gmtime_r(&seconds, &tm);
    const int parts[] = {(tm.tm_year + 1900) / 100, tm.tm_year % 100, tm.tm_mon + 1, tm.tm_mday,
        tm.tm_hour, tm.tm_min, tm.tm_sec};
    static const unsigned char places[] = {0, 2, 5, 8, 11, 14, 17};
    memcpy(out, "0000-00-00T00:00:00Z", sizeof("0000-00-00T00:00:00Z"));
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        out[places[i]] = (char)('0' + parts[i] / 10 % 10);
        out[places[i] + 1] = (char)('0' + parts[i] % 10);
    }
}

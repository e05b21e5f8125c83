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

void clock_format_utc(int64_t wall_ms, char *out)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(out, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

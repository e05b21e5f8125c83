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
enum { DAY_S = 24 * 60 * 60, YEARS_400_DAYS = 146097, BEFORE_1970_DAYS = 719468 };

/* Of the days since 1970, as Howard Hinnant's civil_from_days(): gmtime_r(3) looks at the time zone
 * each time, and a list of VMs has many times. Years begin in March here, so that a leap day is the
 * last one. */
static void date_of(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day)
{
    days += BEFORE_1970_DAYS;
    int64_t era = days / YEARS_400_DAYS - (days % YEARS_400_DAYS < 0);
    int of_era = (int)(days - era * YEARS_400_DAYS);
    int year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int of_year = of_era - (365 * year + year / 4 - year / 100);
    int month = (5 * of_year + 2) / 153; /* from March */
    *ret_day = of_year - (153 * month + 2) / 5 + 1;
    *ret_month = month < 10 ? month + 3 : month - 9;
    *ret_year = era * 400 + year + (*ret_month <= 2);
}

void clock_format_utc(int64_t wall_ms, char *out)
{
    int64_t seconds = wall_ms / 1000, days = seconds / DAY_S - (seconds % DAY_S < 0);
    int64_t year, second = seconds - days * DAY_S;
    int month, day;
    date_of(days, &year, &month, &day);
    const int64_t parts[] = {
        year / 100, year % 100, month, day, second / 3600, second / 60 % 60, second % 60};
    static const unsigned char places[] = {0, 2, 5, 8, 11, 14, 17};
    memcpy(out, "0000-00-00T00:00:00Z", sizeof("0000-00-00T00:00:00Z"));
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        out[places[i]] = (char)('0' + parts[i] / 10 % 10);
        out[places[i] + 1] = (char)('0' + parts[i] % 10);
    }
}

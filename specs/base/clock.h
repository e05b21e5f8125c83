/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Time as a seam: code that needs "now" receives a clock, so that tests can replay histories.
 *
 * `monotonic_ms` is CLOCK_MONOTONIC, as libev's timers are: it stops while the host is
 * suspended, as guests do, so that no grace period or deadline expires meanwhile; it starts
 * over at a host boot: a stored deadline is only comparable under the same `boot_id`. `wall_ms` is
 * for people to read. `slept_ms` is how long the host was suspended since it booted.
 */
#pragma once

#include <stdint.h>

#define CLOCK_BOOT_ID_SIZE 37

struct clock {
    int64_t (*monotonic_ms)(const struct clock *clock);
    int64_t (*wall_ms)(const struct clock *clock);
    int64_t (*slept_ms)(const struct clock *clock);
    const char *(*boot_id)(const struct clock *clock); /* 36 characters; "" when unknown */
};

/* The machine's own clock. Static. */
const struct clock *clock_system(void);

static inline int64_t clock_monotonic_ms(const struct clock *clock)
{
    return clock->monotonic_ms(clock);
}

static inline int64_t clock_wall_ms(const struct clock *clock)
{
    return clock->wall_ms(clock);
}

static inline int64_t clock_slept_ms(const struct clock *clock)
{
    return clock->slept_ms(clock);
}

static inline const char *clock_boot_id(const struct clock *clock)
{
    return clock->boot_id(clock);
}

/* "2026-11-21T10:09:25Z"; `out` holds CLOCK_TEXT_SIZE bytes. */
#define CLOCK_TEXT_SIZE 24
void clock_format_utc(int64_t wall_ms, char *out);

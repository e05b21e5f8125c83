/* SPDX-License-Identifier: MPL-2.0 */
/* Shared by the tests of the QEMU backend that run on the real loop. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "controller/loop/loop.h"
#include "specs/base/mem.h"

struct waiter {
    struct loop *loop;
    struct loop_timer *tick;
    bool (*holds)(void *context);
    void *context;
    int64_t deadline_ms;
    bool has_held;
};

/* Asked every 2 ms: what is waited for may be another process's doing, which no watcher tells. */
static inline void waiter_tick(void *context)
{
    struct waiter *waiter = context;
    waiter->has_held = waiter->holds(waiter->context);
    if (waiter->has_held || loop_now_ms(waiter->loop) >= waiter->deadline_ms) {
        loop_stop(waiter->loop);
    } else {
        loop_timer_start(waiter->tick, 2);
    }
}

/* Runs the loop until it holds (true) or the time is up. */
static inline bool run_until(
    struct loop *loop, bool (*holds)(void *context), void *context, int64_t timeout_ms)
{
    struct waiter waiter = {.loop = loop,
        .holds = holds,
        .context = context,
        .deadline_ms = clock_monotonic_ms(clock_system()) + timeout_ms};
    waiter.tick = loop_timer_new(loop, waiter_tick, &waiter);
    loop_timer_start(waiter.tick, 0);
    loop_run(loop);
    loop_timer_free(waiter.tick);
    return waiter.has_held;
}

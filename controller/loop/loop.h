/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The event loop: descriptors, timers, and the clock they go by. controller/loop/loop.c is it over
 * libev; tests/support/loop_fake.c is it over a virtual clock that jumps to the next timer, so that
 * a simulation replays hours in milliseconds. Link one or the other.
 *
 * One thread. A callback does bounded work and never blocks. Watchers may be freed inside any
 * callback, also their own. A descriptor's watcher must be freed before the descriptor is closed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/clock.h"

struct error;
struct loop;
struct loop_io;
struct loop_timer;

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

/* `ready` holds the LOOP_… bits that hold now. */
typedef void loop_io_fn(void *context, int fd, unsigned ready);
typedef void loop_timer_fn(void *context);

int loop_new(struct loop **ret, struct error *err);
void loop_free(struct loop *loop); /* NULL is fine; all watchers must be gone */

/* Runs until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* CLOCK_MONOTONIC in milliseconds as of this turn of the loop, wall clock and boot id. */
const struct clock *loop_clock(const struct loop *loop);
int64_t loop_now_ms(const struct loop *loop);

/* Whether this turn has lasted for 2 ms, so that what can wait is left to the next one. Never by a
 * virtual clock: from the same seed comes the same history. */
bool loop_turn_is_long(const struct loop *loop);

/* Watches `fd` (borrowed) for `interest`; 0 watches nothing until loop_io_set(). */
struct loop_io *loop_io_new(
    struct loop *loop, int fd, unsigned interest, loop_io_fn *fn, void *context);
void loop_io_set(struct loop_io *io, unsigned interest);
void loop_io_free(struct loop_io *io); /* NULL is fine */

/*
 * Takes over `fd`; when it becomes readable, calls `last` and closes it. For cleanup that has no
 * waiter, such as reaping a killed child. loop_free() closes the remaining ones without calling.
 */
typedef void loop_last_fn(int fd);
void loop_linger(struct loop *loop, int fd_take, loop_last_fn *last);

/* A one-shot timer, not started. Starting again moves it. */
struct loop_timer *loop_timer_new(struct loop *loop, loop_timer_fn *fn, void *context);
void loop_timer_start(struct loop_timer *timer, int64_t delay_ms);
void loop_timer_stop(struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer); /* NULL is fine */

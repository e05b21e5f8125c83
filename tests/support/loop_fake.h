/* SPDX-License-Identifier: MPL-2.0 */
/*
 * controller/loop/loop.h over a virtual clock: descriptors that are ready are served first, then
 * the timers that are due, in order of due time and then of creation; when there is neither, the
 * clock jumps to the next timer. Nothing ever sleeps and the same program gives the same history.
 *
 * List this file among a test executable's sources: its symbols then satisfy the linker before
 * libvmctl_controller's loop.o is looked at. Threads and child processes live in real time, which
 * stands still here: use pool_new() with 0 threads and STORE_WRITER_INLINE.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controller/loop/loop.h"

/* Virtual time starts here, far from 0, so that an absolute time is not mistaken for a span. */
#define LOOP_FAKE_START_MS INT64_C(1000000)
#define LOOP_FAKE_BOOT_ID "00000000-0000-4000-8000-000000000001"

typedef bool loop_fake_predicate(void *context);

/* Runs until `predicate` holds (true) or virtual time would pass `deadline_ms`, which is absolute
 * like loop_fake_now(); then the clock stands at the deadline (false). It is asked before anything
 * runs and after every callback. loop_stop() ends it too. */
bool loop_fake_run_until(
    struct loop *loop, loop_fake_predicate *predicate, void *context, int64_t deadline_ms);

/* Runs all that happens within the next `ms` and leaves the clock there. */
void loop_fake_advance(struct loop *loop, int64_t ms);

int64_t loop_fake_now(const struct loop *loop);

/* Another boot of the host; `boot_id` is copied. */
void loop_fake_set_boot_id(struct loop *loop, const char *boot_id);

/* Moves the wall clock alone, as a user or NTP would. */
void loop_fake_shift_wall(struct loop *loop, int64_t ms);

/* The host is suspended for so long: only the wall clock moves. */
void loop_fake_sleep(struct loop *loop, int64_t ms);

/* From now on each turn is long from its beginning. */
void loop_fake_make_long(struct loop *loop);

/* When the next timer fires, or -1: none is running. */
int64_t loop_fake_next_timer(const struct loop *loop);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Signals as events of the loop, by signalfd(2). They are blocked in the calling thread, so this
 * comes before any other thread is started: threads inherit the mask, and a signal goes to one that
 * does not block it.
 */
#pragma once

#include <stddef.h>

struct error;
struct loop;
struct signals;

typedef void signal_fn(void *context, int signal);

int signals_watch(struct loop *loop, const int *numbers, size_t count, signal_fn *fn, void *context,
    struct signals **ret, struct error *err);
/*
 * The same for signals that end the process: the first one is reported once, and all of them stay
 * pending until the process is gone. So everybody who looks at it sees from the first moment on
 * that it ends (store/session.h).
 */
int signals_watch_end(struct loop *loop, const int *numbers, size_t count, signal_fn *fn,
    void *context, struct signals **ret, struct error *err);

void signals_free(struct signals *signals); /* they stay blocked; NULL is fine */

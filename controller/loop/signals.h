/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Signals as events of the loop, by signalfd(2). They are blocked in the calling thread, so this
 * comes before any other thread is started: threads inherit the mask, and a signal goes to one that
 * does not block it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct error;
struct loop;
struct signals;

typedef void signal_fn(void *context, int signal);

struct signals_request {
    const int *numbers; /* borrowed for the call */
    size_t count;
    /* For signals that end the process: the first one is reported once, and all of them stay
     * pending until the process is gone. So other processes can see from the first moment that it
     * is ending (store/session.h). */
    bool stay_pending;
    signal_fn *fn;
    void *context;
};

int signals_watch(struct loop *loop, const struct signals_request *request, struct signals **ret,
    struct error *err);
void signals_free(struct signals *signals); /* they stay blocked; NULL is fine */

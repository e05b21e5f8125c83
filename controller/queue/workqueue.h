/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The work queue: client-go's invariants in C (util/workqueue/queue.go, and controller-runtime's
 * priority queue for merging "now" and "later").
 *
 *  - a key is never handed out twice at once: while it is processed, adding it only marks it dirty,
 *    and workqueue_done() queues it again if it is;
 *  - a key waits at most once: adding it again keeps the highest priority and the earliest time;
 *  - within a priority, first in, first out, whatever the kinds of the keys.
 *
 * Time is given by the caller, and without workqueue_serve() so is the moment to take a key.
 * Single-threaded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/queue/key.h"

struct loop;
struct workqueue;

enum work_priority {
    WORK_BACKGROUND, /* resync */
    WORK_RETRY,
    WORK_EVENT, /* start-up list; a process exited, QMP spoke, an operation completed */
    WORK_USER,  /* desired state changed */
    WORK_PRIORITY_COUNT_
};

struct workqueue *workqueue_new(void);
void workqueue_free(struct workqueue *queue); /* NULL is fine */

/* From now on calls `work` from the loop whenever a key is ready; it takes as many as it likes and
 * is called again for the rest. */
void workqueue_serve(
    struct workqueue *queue, struct loop *loop, void (*work)(void *context), void *context);
void workqueue_stop_serving(struct workqueue *queue);
/* Many keys are about to be added: the timer is set once, when the hold ends. Not nested. */
void workqueue_hold(struct workqueue *queue, bool is_held);

void workqueue_add(struct workqueue *queue, struct key key, enum work_priority priority);
/* Due at `due_ms`, at priority WORK_RETRY unless queued higher. The earliest of several counts. */
void workqueue_add_at(struct workqueue *queue, struct key key, int64_t due_ms);

/* Takes the next ready key and marks it processing; its name is NULL when none is ready at
 * `now_ms`, else borrowed until workqueue_done(). */
struct key workqueue_take(struct workqueue *queue, int64_t now_ms);
void workqueue_done(struct workqueue *queue, struct key key);

/* Earliest due time of a waiting key (now_ms when one is ready), or -1: nothing waits. */
int64_t workqueue_next_due(const struct workqueue *queue, int64_t now_ms);
size_t workqueue_length(const struct workqueue *queue); /* ready and waiting, without processing */

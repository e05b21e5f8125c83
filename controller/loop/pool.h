/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Threads for blocking work, in lanes with their own threads: work that takes long, or never ends,
 * does not delay other lanes.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "controller/loop/op.h"

struct loop;
struct pool;

enum pool_lane {
    POOL_PREPARE, /* what a VM waits for, and is done in a moment: its directory, seed, overlay */
    POOL_BULK,    /* takes as long as a disk is large: copying, deleting */
    POOL_IMAGE,  /* takes as long as an image is large, which may be without end: unpacking, hashing
                  */
    POOL_SOURCE, /* files that users name: their read may block forever (NFS, FUSE) */
    POOL_LANE_COUNT_
};

/* Runs on a pool thread: touches only what `context` gives it for that time. Returns 0 or sets err.
 * Long work checks *is_cancelled now and then. */
typedef int pool_work_fn(void *context, const atomic_bool *is_cancelled, struct error *err);
/* Frees `context` when the operation is over, completed or cancelled; on the loop thread, after the
 * work has really ended. May be NULL. */
typedef void pool_free_fn(void *context);

/* `threads` in each lane, half of them in POOL_BULK and POOL_IMAGE, started when they are needed
 * first. With 0 threads work is done on the loop, one piece a turn: a simulation then replays
 * exactly. */
int pool_new(struct loop *loop, unsigned threads, struct pool **ret, struct error *err);
/* Cancels everything; no `done` is called. Running work is waited for, for two seconds: a read may
 * never end. False: then what it uses must stay until the process ends. NULL is fine. */
bool pool_free(struct pool *pool);

/* Asks the work to end early. Unlike after op_cancel() `done` is called once it has ended: with
 * ERR_CANCELLED, unless the work was over before it noticed. */
void pool_stop(struct op *op);

/* In POOL_PREPARE. */
struct op *pool_start(struct pool *pool, pool_work_fn *work, pool_free_fn *free_context,
    void *work_context, op_done_fn *done, void *done_context);
struct op *pool_start_in(struct pool *pool, enum pool_lane lane, pool_work_fn *work,
    pool_free_fn *free_context, void *work_context, op_done_fn *done, void *done_context);

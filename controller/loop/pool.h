/* SPDX-License-Identifier: MPL-2.0 */
/* A small pool of threads for what blocks: hashing, unpacking, ISO writing, recursive delete. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "controller/loop/op.h"

struct loop;
struct pool;

/* Runs on a pool thread: touches only what `context` gives it for that time. Returns 0 or sets err.
 * Long work looks at *is_cancelled now and then. */
typedef int pool_work_fn(void *context, const atomic_bool *is_cancelled, struct error *err);
/* Frees `context` when the operation is over, completed or cancelled; on the loop thread, after the
 * work has really ended. May be NULL. */
typedef void pool_free_fn(void *context);

/* With 0 threads work is done on the loop, one piece a turn: a simulation then replays exactly. */
int pool_new(struct loop *loop, unsigned threads, struct pool **ret, struct error *err);
/* Cancels everything: running work is waited for, no `done` is called. NULL is fine. */
void pool_free(struct pool *pool);

struct op *pool_start(struct pool *pool, pool_work_fn *work, pool_free_fn *free_context,
    void *work_context, op_done_fn *done, void *done_context);

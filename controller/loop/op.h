/* SPDX-License-Identifier: MPL-2.0 */
/*
 * An operation in progress: the common form of everything asynchronous (a download, a child
 * process, an SSH command, work on a pool thread). A struct that embeds it as its first member is
 * an operation.
 *
 * It has its own deadline and ends exactly once, in one of two ways:
 *   - it completes: op_finish() frees it, then calls `done`, always from the loop: never from
 * inside the function that started it, nor from inside op_cancel();
 *   - its owner cancels it: op_cancel() stops the work and frees it, and `done` is not called.
 * The owner forgets its pointer first thing in `done`, or after op_cancel(): an operation that owns
 * another cancels that one when it ends. As the operation is gone when `done` runs, `done` may
 * start the next one, or close what the operation worked on.
 *
 * Results are written before `done` to the place passed to the function that started it, which is
 * borrowed until then. The few operations with a `done` of another type document it in their
 * header.
 */
#pragma once

struct error;
struct op;

/* `err` is NULL on success, else borrowed for the call. */
typedef void op_done_fn(void *context, const struct error *err);

struct op {
    void (*cancel)(struct op *op); /* stops what still runs, frees the operation */
    op_done_fn *done;
    void *context;
};

/* Completes the operation: frees it with its own `cancel`, then reports. `err` NULL: success; it
 * may be part of the operation. */
void op_finish(struct op *op, const struct error *err);

/* NULL is fine. */
void op_cancel(struct op *op);

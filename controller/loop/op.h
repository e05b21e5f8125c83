/* SPDX-License-Identifier: MPL-2.0 */
/*
 * An operation under way: the one shape of everything asynchronous (a download, a child process, an
 * SSH command, work on a pool thread). A struct that embeds it as its first member is one.
 *
 * It has a deadline of its own and ends exactly once, in one of two ways:
 *   - it completes: op_finish() frees it, then calls `done`, always from the loop: never from
 * inside the function that started it, nor from inside op_cancel();
 *   - its owner cancels it: op_cancel() stops the work and frees it, and `done` is not called.
 * The owner forgets its pointer first thing in `done`, or after op_cancel(): an operation that owns
 * another cancels that one when it ends. As the operation is gone when `done` runs, `done` may
 * start the next one, or close what the operation worked on.
 *
 * Results go where the function that started it was given for them, before `done`; that place is
 * borrowed until then. The few operations with a `done` of another type say so in their header.
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

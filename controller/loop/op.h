/* SPDX-License-Identifier: MPL-2.0 */
/*
 * An operation under way: the one shape of everything asynchronous (a download, a child process, an
 * SSH command, work on a pool thread).
 *
 * It has a deadline of its own, completes exactly once by calling `done` from the loop (never from
 * inside the function that started it), and can be cancelled before that: then `done` is not called.
 * Either way the operation is freed; the owner forgets its pointer in `done` or after op_cancel().
 */
#pragma once

struct error;
struct op;

/* `err` is NULL on success, else borrowed for the call. */
typedef void op_done_fn(void *context, const struct error *err);

struct op {
    void (*cancel)(struct op *op); /* stops the work, frees the operation */
};

/* NULL is fine. */
static inline void op_cancel(struct op *op)
{
    if (op) {
        op->cancel(op);
    }
}

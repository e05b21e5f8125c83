/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/op.h"

#include <stddef.h>

#include "specs/base/error.h"

void op_finish(struct op *op, const struct error *err)
{
    op_done_fn *done = op->done;
    void *context = op->context;
    struct error copy = {.code = ERR_NONE};
    if (err) {
        copy = *err;
    }
    op->cancel(op);
    done(context, err ? &copy : NULL);
}

void op_cancel(struct op *op)
{
    if (op) {
        op->cancel(op);
    }
}

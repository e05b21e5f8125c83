/* SPDX-License-Identifier: MPL-2.0 */
/* One TCP connection over the host's network, on the loop; ssh_dial() does the same in a guest. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controller/loop/op.h"

struct buf;
struct loop;

struct dial_request {
    const char *host; /* numeric: nothing is resolved, that would block; copied */
    uint16_t port;
    const char *request; /* sent once connected; NULL: connecting is all; copied */
    bool (*is_complete)(const char *answer); /* of what has been answered to it */
    int64_t timeout_ms;
};

/*
 * As ssh_dial(): with a request, `answer` (bounded by the caller, borrowed until `done`) collects
 * the response, until it is complete, it is full, or the other side closes.
 * Errors: ERR_PROBE connection refused or lost; ERR_TIMEOUT.
 */
struct op *dial(struct loop *loop, const struct dial_request *request, struct buf *answer,
    op_done_fn *done, void *context);

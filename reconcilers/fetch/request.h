/* SPDX-License-Identifier: MPL-2.0 */
/* A small GET on the loop: its response is kept in memory, within a limit and a deadline. */
#pragma once

#include <stddef.h>

#include "controller/loop/op.h"
#include "specs/base/buf.h"

struct multi;
struct proxies;

struct request {
    const char *url;
    const char *accept;            /* value of that header; NULL: anything */
    const char *authorization;     /* for the URL's own host only; NULL: none */
    size_t body_max;               /* bytes; more is an error */
    const struct proxies *proxies; /* NULL: none */
};

/* A response with any status. Zero-initialised by its owner, written before `done`. */
struct answer {
    long status;
    struct buf body;
    char *challenges; /* all WWW-Authenticate headers, joined as RFC 9110, 5.3 allows; NULL: none */
};
void answer_clear(struct answer *answer);

/* `request` is copied. -ERR_IMAGE_DOWNLOAD: no response, or one too large. */
struct op *request_get(struct multi *multi, const struct request *request, struct answer *answer,
    op_done_fn *done, void *context);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Makes the responses of vmctl-serve from the store, as the commands print them. Nothing here waits
 * or uses sockets: server.c sends the responses.
 */
#pragma once

#include <stdbool.h>

#include "cli/cli.h"
#include "cli/serve/access.h"
#include "cli/serve/route.h"
#include "specs/base/buf.h"

struct metrics;

struct serve {
    struct cli cli; /* its store is open */
    struct access access;
    struct metrics *metrics; /* owned */
    bool allows_changes;
};

enum { ANSWER_MAX = 128 << 20 };

enum answer_kind {
    ANSWER_WHOLE,
    ANSWER_STREAM, /* of events (stream.h) or a log (log_tail.h), from route.after on */
    ANSWER_INPUT,  /* the outcome of the request's body (exchange.h) */
    ANSWER_ACTION, /* the output of the command route.verb (action.h) */
};

struct answer {
    enum answer_kind kind;
    struct route route;
    unsigned status;    /* of HTTP */
    const char *type;   /* static: the body's media type */
    const char *method; /* of a 405: the method that the path takes, static; NULL: none */
    struct buf body;
};

/* Always fills *ret; an error is {"error": {"code", "message", "help"}} as in
 * cli/show/result.h. answer_clear() it. */
void answer_request(struct serve *serve, const struct http_request *request, struct answer *ret);
void answer_error(struct answer *answer, unsigned status, const struct error *err);
void answer_clear(struct answer *answer);

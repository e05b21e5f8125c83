/* SPDX-License-Identifier: MPL-2.0 */
/* The endpoints of one etcd, with their channels and the one in use, for requests and watches. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "controller/fleet/engine.h"
#include "controller/fleet/etcd/grpc.h"

struct member {
    char *url;
    struct grpc_channel *channel; /* NULL: not used yet, or dropped */
    /* Since 3.4.25 and 3.5.8 an answer to a progress request is not sent before the events that lie
     * before it (etcd#15220). False until the version is known. */
    bool is_progress_exact;
};

struct members {
    struct loop *loop; /* borrowed: the process's */
    struct member *list;
    size_t n;
    size_t current;
    size_t n_watches; /* that are not over */
    char *ca;
    char *certificate;
    char *key;
};

/* The channel of `index`, made if necessary. Borrowed. NULL: `err` is set. */
struct grpc_channel *members_channel(struct members *members, size_t index, struct error *err);

/* The endpoint does not answer: drops its connections and, if it was in use, switches to the next.
 */
void members_fail(struct members *members, size_t index);

/* The next endpoint for a request, beginning with the current one. False: all were tried. */
bool members_next(const struct members *members, size_t *index, size_t *n_tried);

/* How long a connection may take. Another member is tried soon; the only one may be busy with the
 * handshakes of all nodes. */
int64_t members_connect_ms(const struct members *members);

/* A watch, see engine.h. */
struct op *members_watch(struct members *members, const struct engine_watch *watch,
    engine_events_fn *events, op_done_fn *done, void *context);

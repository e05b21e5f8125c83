/* SPDX-License-Identifier: MPL-2.0 */
/*
 * propolis-server's HTTP interface, version 5.0.0 of its published description: one exchange,
 * within a deadline, and the JSON of its instance.
 *
 * With a server that does not know that version, the oldest one is used, which takes the same
 * requests. A server from before versioned interfaces needs another body of PUT /instance: its
 * error names the missing members.
 */
#pragma once

#include "controller/loop/op.h"
#include "reconcilers/backend/backend.h"
#include "specs/base/buf.h"

struct multi;

/* A server, and what was found out about it. Zero-initialised by its owner. */
struct rest_server {
    char *address;          /* "HOST:PORT"; owned */
    bool knows_only_oldest; /* version of the interface */
    bool has_no_versions;   /* it wants rest_body.unversioned */
};

/* `address` NULL: forgets the server. */
void rest_server_set(struct rest_server *server, const char *address);

struct rest_request {
    const char *method; /* "GET", "PUT" */
    const char *path;   /* "/instance" */
    const char *body;   /* JSON; NULL: none. Copied. */
    long timeout_ms;    /* of the whole exchange; 0: 5 s */
};

/* A response with any status. Zero-initialised by its owner, written before `done`. */
struct rest_answer {
    long status;
    struct buf body;
};
void rest_answer_clear(struct rest_answer *answer);

/* Returns the error message of a response: one printable line. free() it. */
char *rest_answer_text(const struct rest_answer *answer);

/* `server` is borrowed until `done` or a cancel. ERR_PROPOLIS_UNREACHABLE: no response, or more
 * than a response can be. */
struct op *rest_send(struct multi *multi, struct rest_server *server,
    const struct rest_request *request, struct rest_answer *answer, op_done_fn *done,
    void *context);

/* From the response to GET /instance. */
struct rest_instance {
    bool is_there;  /* the server has the instance, not an earlier one that has ended */
    bool is_other;  /* the server's instance belongs to another VM than `name` */
    bool is_error;  /* the response is neither an instance nor a report that there is none */
    char state[24]; /* the server's name for it: "Creating", "Running", "Stopped", … */
    enum run_state run_state;
};
struct rest_instance rest_instance_parse(
    const struct rest_answer *answer, const char *name, const char *instance_id);

/* Returns whether a response to PUT /instance is that of a server from before versioned interfaces.
 */
bool rest_wants_unversioned(const struct rest_answer *answer);

/* From the response to GET /instance/state-monitor; false: it is not one. */
bool rest_generation_parse(const struct rest_answer *answer, int64_t *ret);

/* Bodies of PUT /instance: the spec, for the instance of env->status, with a zvol as its disk and
 * the seed's bytes (`n_seed` 0: none) as a second, read-only one. */
struct rest_body {
    char *current;
    char *unversioned; /* for a server from before versioned interfaces */
};
struct rest_body rest_body_make(
    const struct vm_env *env, const char *dataset, const void *seed, size_t n_seed);
void rest_body_clear(struct rest_body *body);

/* SPDX-License-Identifier: MPL-2.0 */
/* propolis-server's HTTP interface: one exchange, within a deadline, and the JSON of its instance.
 */
#pragma once

#include "controller/loop/op.h"
#include "reconcilers/backend/backend.h"
#include "specs/base/buf.h"

struct multi;

struct rest_request {
    const char *method; /* "GET", "PUT" */
    const char *path;   /* "/instance" */
    const char *body;   /* JSON; NULL: none. Copied. */
};

/* A response with any status. Zero-initialised by its owner, written before `done`. */
struct rest_answer {
    long status;
    struct buf body;
};
void rest_answer_clear(struct rest_answer *answer);

/* ERR_PROPOLIS_UNREACHABLE: no response. */
struct op *rest_send(struct multi *multi, const struct rest_request *request,
    struct rest_answer *answer, op_done_fn *done, void *context);

/* From the response to GET /instance. */
struct rest_instance {
    bool is_there;  /* the server has the instance, not an earlier one that has ended */
    bool is_other;  /* the server's instance belongs to another VM than `name` */
    char state[24]; /* the server's name for it: "Creating", "Running", "Stopped", … */
    enum run_state run_state;
};
struct rest_instance rest_instance_parse(
    const struct rest_answer *answer, const char *name, const char *instance_id);

/* Body of PUT /instance: the spec, for the instance of env->status, with a zvol as its disk. free()
 * it. */
char *rest_instance_body(const struct vm_env *env, const char *dataset);

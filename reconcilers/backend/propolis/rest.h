/* SPDX-License-Identifier: MPL-2.0 */
/* propolis-server's HTTP interface: one exchange, within a deadline, and what it says of its
 * instance. */
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

/* What any status was answered with. Starts as zero; the owner's, filled before `done`. */
struct rest_answer {
    long status;
    struct buf body;
};
void rest_answer_clear(struct rest_answer *answer);

/* ERR_PROPOLIS_UNREACHABLE: no answer. */
struct op *rest_send(struct multi *multi, const struct rest_request *request,
    struct rest_answer *answer, op_done_fn *done, void *context);

/* Of an answer to GET /instance. */
struct rest_instance {
    bool is_there;  /* the server has been given the instance: not one before it that has ended */
    bool is_other;  /* and it is not VM `name`'s */
    char state[24]; /* "Creating", "Running", "Stopped", … in the server's words */
    enum run_state run_state;
};
struct rest_instance rest_instance_parse(
    const struct rest_answer *answer, const char *name, const char *instance_id);

/* Body of PUT /instance: the spec, for the instance of env->status, its disk a zvol. free() it. */
char *rest_instance_body(const struct vm_env *env, const char *dataset);

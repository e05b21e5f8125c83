/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One round over the probes of `ready` or `live`, one after the other; the first that fails ends
 * it. Over SSH where there is a session: tcp and http then reach the guest's 127.0.0.1. Else over
 * the host's network: by the `forward` of that port, or at the guest's own address.
 */
#pragma once

#include "controller/loop/op.h"
#include "specs/vm/vm_spec.h"

struct loop;
struct ssh_session;

struct probe_round_request {
    struct loop *loop;
    struct ssh_session *session; /* NULL: over the network */
    const char *host;            /* numeric, where the guest's (forwarded) ports are */
    const struct vm_spec *spec;
    const struct spec_check *check; /* of `spec` */
};

/*
 * All of the request is borrowed until `done`. Each probe has the check's timeout. Errors, worded
 * as "http /healthz port 80: connection refused": ERR_PROBE the guest does not respond as expected;
 * ERR_TIMEOUT; ERR_SSH the session was lost.
 */
struct op *probe_round_start(
    const struct probe_round_request *request, op_done_fn *done, void *context);

/* "tcp 80", "http /healthz port 80", "exec 'true'". free() it. */
char *probe_describe(const struct spec_probe *probe);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One provision step over an open SSH session, logged in provision.log:
 *
 *   ==> step 1/3: shell inline "echo hi"
 *   hi
 *   ==> step 1/3: done in 0.1 s
 *
 * A step is a short list of stages (upload, run, move into place), each safe to do again after a
 * crash; what a stage needs to know is in the request, so that a later version can begin in the
 * middle.
 */
#pragma once

#include <stdint.h>

#include "controller/op.h"
#include "specs/vm_spec.h"

struct loop;
struct ssh_session;
struct step_result;

enum { PROVISION_LOG_STEP_MAX = 32 << 20 }; /* bytes of output kept of one step */

struct provision_request {
    struct loop *loop;
    struct ssh_session *session; /* borrowed until `done` */
    const char *vm_name;
    const char *log_path;
    const struct spec_step *step;
    uint32_t index; /* from 0 */
    uint32_t total;
};

/*
 * Runs the step; the request is copied. A script goes to /tmp/vmctl-provision-N.sh (N from 1), runs
 * and is removed. A file is uploaded under a temporary name beside its destination and renamed;
 * into a directory that only root may write to it goes by way of /tmp and `sudo -n`. A command that
 * is given up (timeout, cancelled) may go on in the guest: libssh2 1.10 cannot send it a signal.
 *
 * Errors: ERR_PROVISION the step failed (a status other than 0, the guest or the local file
 * refused, its timeout); ERR_SSH the connection was lost; ERR_IO provision.log cannot be written.
 */
struct op *provision_step_start(const struct provision_request *request, struct step_result *result,
    op_done_fn *done, void *context);

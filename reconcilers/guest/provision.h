/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One provision step over an open SSH session, logged in provision.log:
 *
 *   ==> step 1/3: shell inline "echo hi"
 *   hi
 *   ==> step 1/3: done in 0.1 s
 *
 * A command or a script runs detached in the guest (ssh_detached()): a killed controller or a lost
 * connection costs nothing, the next one resumes where provision.log ends. In a guest
 * that cannot keep a detached command (no writable /var/tmp) it runs attached: at least once. A
 * file is uploaded under a temporary name, synced and renamed: safe to do again at any point.
 */
#pragma once

#include <stdint.h>

#include "controller/loop/op.h"
#include "specs/vm/vm_spec.h"

struct clock;
struct loop;
struct ssh_session;
struct step_result;
struct step_secrets;

#define PROVISION_GUEST_DIR "/var/tmp"
enum { PROVISION_RUN_ID_SIZE = 34 };

struct provision_request {
    struct loop *loop;
    const struct clock *clock;   /* borrowed */
    struct ssh_session *session; /* borrowed until `done` */
    const char *vm_name;
    const char *log_path;
    const struct spec_step *step;
    struct step_secrets *secrets; /* borrowed until `done`; NULL: it has none */
    uint32_t index;               /* from 0 */
    uint32_t total;
    const char *run_id;    /* of this run only: "VM-RUN", PROVISION_RUN_ID_SIZE - 1 */
    const char *guest_dir; /* where the guest keeps it: PROVISION_GUEST_DIR */
    bool must_exist;       /* begun in an earlier instance of the VM: never begun a second time */
    uint64_t log_begin;    /* as recorded before the run was begun */
    int64_t started_at_ms;
};

/*
 * Runs the step, or resumes it; the request is copied. A script becomes
 * /tmp/vmctl-provision-N.sh (N from 1), runs and is removed. A file goes beside its destination
 * first; into a directory that only root may write to it goes by way of /tmp and `sudo -n`. At its
 * timeout the guest itself ends the step's process group, with or without a connection. Secrets are
 * masked in the log; without those that a run was begun with, it is only followed, and what it
 * prints is dropped.
 *
 * Errors: ERR_PROVISION the step failed (a status other than 0, the guest or the local file
 * refused); ERR_PROVISION_TIMEOUT; ERR_PROVISION_LOST it was begun and ended without a result;
 * ERR_SSH the connection was lost: do it again; ERR_IO provision.log cannot be written.
 */
struct op *provision_step_start(const struct provision_request *request, struct step_result *result,
    op_done_fn *done, void *context);

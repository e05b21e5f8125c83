/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The clock of a guest that stood still, set to the host's over SSH: by `date`, through `sudo -n`
 * where the user is not root. Not set when it is less than a second off.
 *
 *   query -> off by less than 1 s: done; else -> set -> query -> … up to three times, then refused
 *
 * The guest's time is taken to be that of the middle of the query. A date without fractions of a
 * second (busybox) is read to half a second.
 */
#pragma once

#include "controller/loop/op.h"

struct clock;
struct clock_result;
struct loop;
struct ssh_session;

/*
 * All is borrowed until `done`; *result (backend.h) is written before a success. That the guest
 * does not let its clock be read or set is a success of the operation: result->refusal says why.
 * Errors: ERR_SSH the connection was lost.
 */
struct op *guest_clock_start(struct ssh_session *session, const struct clock *clock,
    struct clock_result *result, op_done_fn *done, void *context);

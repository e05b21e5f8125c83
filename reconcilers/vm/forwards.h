/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Keeps the forwards over SSH: unix sockets, and the ports that a guest listens on. This is not an
 * action of decide.c's table, because it neither waits for actions nor delays them: a step may run
 * for an hour, and a socket that cannot be created must not delay probes. It is level-triggered,
 * too: forward_plan.h decides, a pass records the decision, and the next pass carries it out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pass;
struct vm_status;

/*
 * Makes and removes forwards as `committed` records them, and puts the next record, with the
 * results, into the patch. Returns when to call it again, as verdict.requeue_ms.
 *
 * Killed before the commit: nothing was made. Killed after it: the next pass makes or removes the
 * same forwards. Existing ones are left alone.
 */
int64_t forwards_keep(struct pass *pass, const struct vm_status *committed);

/* Ends the processes that forward for the VM, before its directory is removed. May be repeated. */
void forwards_end(struct pass *pass);

/* Returns whether the lease belongs to a forward over SSH. */
bool forwards_have_lease(const struct vm_status *status, const char *key);

/* The condition Forwarded. */
void forwards_describe(struct pass *pass);

/* Returns why a socket of the VMFile is not forwarded; NULL: all are, or will be. Borrowed. */
const char *forwards_failure(const struct pass *pass);

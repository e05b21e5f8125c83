/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The changes of a spec that take effect on the running machine: host forwards, a larger disk, more
 * CPUs and memory. The backend's boot() applies all of them and may be run again at any time; so it
 * is also run periodically to correct what another program changed. Then the guest is made to use
 * what was added, by guest_ops.grow: that it has to be is vm_status.growth, committed with the
 * change.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/vm/spec_diff.h"

struct pass;

/* How the running instance, as committed, differs from the desired spec; empty when none runs.
 * Borrowed until the next call. */
const struct spec_diff *hot_change_diff(const struct pass *pass);

/* Whether some of it can be applied to the running machine. */
bool hot_change_is_pending(const struct pass *pass);

/*
 * The spec is new: records that the instance now has its `ssh`, `ready`, `live` and forwards over
 * SSH, which only the
 * controller uses, and discards the results of the old ones. A guest that accepted the old user may
 * refuse the new one.
 */
void hot_change_take_over(struct pass *pass);

/* Whether a check for changes by another program is due: only when there is nothing else to do. */
bool hot_change_is_check_due(const struct pass *pass);

/* Whether the instance's network is the desired one, with its forwards and leases. */
bool hot_change_has_network(const struct pass *pass);

/* Records in the patch that the pending changes are applied, and what of them the guest has to be
 * made to use. */
void hot_change_record(struct pass *pass);

/* Whether the guest is to be made to use what was added to its machine, and it is time to try. */
bool hot_change_is_growth_due(const struct pass *pass);

/* ACTION_GROW_GUEST. Returns verdict.requeue_ms. */
int64_t hot_change_grow_guest(struct pass *pass);

/* Records the result of the operation. What the guest does not use is tried again every ten
 * minutes. True: the status has changed. */
bool hot_change_record_guest(struct pass *pass);

/* The operation failed, with the connection: the guest is reached again first; after some times in
 * a row that is recorded as its result. */
void hot_change_guest_failed(struct pass *pass);

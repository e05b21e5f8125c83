/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Applies those changes of a spec that need no restart: host forwards, a larger disk, more CPUs and
 * memory. The backend's boot() applies all of them and is idempotent, so it also runs periodically
 * to correct changes by other programs. Then guest_ops.grow makes the guest use the added
 * resources; vm_status.growth, committed with the change, records that this is due.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/vm/spec_diff.h"

struct pass;

/* How the running instance, as committed, differs from the desired spec; empty when none runs.
 * Borrowed until the next call. */
const struct spec_diff *hot_change_diff(const struct pass *pass);

/* Returns whether some of the difference can be applied to the running machine. */
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

/* Records in the patch that the pending changes are applied, and which resources the guest has to
 * be made to use. */
void hot_change_record(struct pass *pass);

/* Returns whether the guest has to be made to use added resources and a try is due. */
bool hot_change_is_growth_due(const struct pass *pass);

/* ACTION_GROW_GUEST. Returns verdict.requeue_ms. */
int64_t hot_change_grow_guest(struct pass *pass);

/* Records the result of the operation. Resources that the guest does not use are tried again every
 * ten minutes. Returns true if the status changed. */
bool hot_change_record_guest(struct pass *pass);

/* Records that the connection failed during the operation: the guest has to be reached again first;
 * several failures in a row are recorded as the result. */
void hot_change_guest_failed(struct pass *pass);

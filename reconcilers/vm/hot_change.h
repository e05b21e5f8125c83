/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The changes of a spec that take effect on the running machine: host forwards, a larger disk, more
 * CPUs and memory. The backend's boot() applies all of them and may be run again at any time; so it
 * is also run periodically to correct what another program changed.
 */
#pragma once

#include <stdbool.h>

#include "specs/vm/spec_diff.h"

struct pass;

/* How the running instance, as committed, differs from the desired spec; empty when none runs.
 * Borrowed until the next call. */
const struct spec_diff *hot_change_diff(const struct pass *pass);

/* Whether some of it can be applied to the running machine. */
bool hot_change_is_pending(const struct pass *pass);

/*
 * The spec is new: records that the instance now has its `ssh`, `ready` and `live`, which only the
 * controller uses, and discards the results of the old ones. A guest that accepted the old user may
 * refuse the new one.
 */
void hot_change_take_over(struct pass *pass);

/* Whether a check for changes by another program is due: only when there is nothing else to do. */
bool hot_change_is_check_due(const struct pass *pass);

/* Whether the instance's network is the desired one, with its forwards and leases. */
bool hot_change_has_network(const struct pass *pass);

/* Records in the patch that the pending changes are applied. */
void hot_change_record(struct pass *pass);

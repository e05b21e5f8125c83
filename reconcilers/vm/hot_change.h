/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What of a changed spec takes effect on the running machine: host forwards, a larger disk, more
 * CPUs and memory. The backend's boot() brings all of them in line and may be run again at any
 * time; so now and then it is run to find what somebody else changed.
 */
#pragma once

#include <stdbool.h>

#include "specs/vm/spec_diff.h"

struct pass;

/* What the running instance, as committed, does not have of the desired spec; empty when none runs.
 * Borrowed until the next call. */
const struct spec_diff *hot_change_diff(const struct pass *pass);

/* Whether some of it can be brought to the running machine. */
bool hot_change_is_pending(const struct pass *pass);

/*
 * The spec is new: records that the instance now has its `ssh`, `ready` and `live`, which only the
 * controller uses, and voids what was found out with the old ones. A guest that let the old user in
 * may not let the new one in.
 */
void hot_change_take_over(struct pass *pass);

/* Whether it is time to look for what somebody else changed: only when nothing else is to be done.
 */
bool hot_change_is_check_due(const struct pass *pass);

/* Whether the instance's network is the desired one, with its forwards and leases. */
bool hot_change_has_network(const struct pass *pass);

/* Records in the patch that the instance now has what is pending. */
void hot_change_record(struct pass *pass);

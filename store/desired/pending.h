/* SPDX-License-Identifier: MPL-2.0 */
/* Computes the pending changes of a spec, and what they need. Pure. */
#pragma once

#include <stdbool.h>

#include "specs/vm/condition.h"
#include "specs/vm/spec_diff.h"

struct vm_record;
struct vm_spec;

/*
 * Returns the difference of `spec` from the existing disk and instance, which were made from the
 * spec of the last start or, before the first start, from the stored spec. Includes changes that
 * took effect since without a start (live, provision). The caller calls spec_diff_clear().
 */
struct spec_diff pending_changes(const struct vm_record *record, const struct vm_spec *spec);

/* Whether `diff` has a change of this disposition. */
bool pending_needs(const struct spec_diff *diff, enum disposition disposition);

/* Returns whether a process of the VM exists or is about to. */
bool record_has_instance(const struct vm_record *record);

/* It has no process and its disk stays as it is, until its record is another one: all of that was
 * seen, and what it requests is done. A start is recorded before it is made: none comes. */
bool record_is_at_rest(const struct vm_record *record);

/* Returns why a VM whose stored spec equals `spec` is not Synced; REASON_NONE: it is Synced, or the
 * controller has not observed its latest change. */
enum reason record_drift(const struct vm_record *record, const struct vm_spec *spec);

/* Returns whether some of `spec` reaches the running machine only by a restart. */
bool record_needs_restart(const struct vm_record *record, const struct vm_spec *spec);

/* Returns whether the disk was made on another image than the spec's, by name or by content. */
bool record_needs_new_disk(const struct vm_record *record, const struct vm_spec *spec);

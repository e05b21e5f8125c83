/* SPDX-License-Identifier: MPL-2.0 */
/* What of a spec the VM does not have yet, and what that takes. Pure. */
#pragma once

#include <stdbool.h>

#include "specs/vm/condition.h"
#include "specs/vm/spec_diff.h"

struct vm_record;
struct vm_spec;

/*
 * What the disk and the instance that exist do not have of `spec`. The last start's spec tells what
 * they are made of; before the first start the stored spec is what they are being made of. A change
 * that took effect since without a start (live, provision) is still among them. spec_diff_clear()
 * it.
 */
struct spec_diff pending_changes(const struct vm_record *record, const struct vm_spec *spec);

/* Whether `diff` has a change of this disposition. */
bool pending_needs(const struct spec_diff *diff, enum disposition disposition);

/* A process of the VM exists, or is about to. */
bool record_has_instance(const struct vm_record *record);

/* Why a VM whose stored spec is `spec` already is not Synced; REASON_NONE: it is, or the controller
 * has not observed its latest change. */
enum reason record_drift(const struct vm_record *record, const struct vm_spec *spec);

/* The running machine lacks something of `spec` that it only gets by a restart. */
bool record_needs_restart(const struct vm_record *record, const struct vm_spec *spec);

/* The disk is of another image than the spec's, by name or by content. */
bool record_needs_new_disk(const struct vm_record *record, const struct vm_spec *spec);

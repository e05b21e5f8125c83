/* SPDX-License-Identifier: MPL-2.0 */
/* What of a spec the VM does not have yet. */
#pragma once

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

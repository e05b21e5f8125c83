/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Determines what the difference between two specs needs on a recorded VM. spec_diff.h has the
 * dispositions of the fields; this adjusts them to the VM: whether a machine runs, a disk exists,
 * and which steps ran. Reads no file but calls stat(2), except in record_has_image().
 */
#pragma once

#include <stdbool.h>

#include "specs/vm/spec_diff.h"

struct vm_record;
struct vm_status;

/* The same sha256= at another URL is not a change. `runs_appended`: appended provision steps run,
 * too; false: the user skips them. spec_diff_clear() it. */
struct spec_diff record_diff(const struct vm_record *record, const struct vm_spec *before,
    const struct vm_spec *after, bool runs_appended);

/* Whether the image that a spec names is the one that the VM's disk was made on, at another place:
 * the same sha256=, the same file moved, or a copy of the same size and bytes. A copy is read for
 * it, which takes as long as it is large: not in vmctld. */
bool record_has_image(const struct vm_record *record, const struct vm_spec *spec);

/* NULL also if the status belongs to an earlier VM of that name. Borrowed. */
const struct vm_status *record_status(const struct vm_record *record);

/* Returns whether a disk exists and some changes need another one. */
bool record_has_disk(const struct vm_record *record);

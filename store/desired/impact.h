/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What the difference between two specs needs on a VM as it is recorded: spec_diff.h knows the
 * fields, this knows whether there is a machine to change, a disk to lose, and which steps were
 * run. Pure.
 */
#pragma once

#include <stdbool.h>

#include "specs/vm/spec_diff.h"

struct vm_record;
struct vm_status;

/* `runs_appended`: provision steps that were appended to those that were run are to run, too;
 * false: the user does not want them. spec_diff_clear() it. */
struct spec_diff record_diff(const struct vm_record *record, const struct vm_spec *before,
    const struct vm_spec *after, bool runs_appended);

/* NULL also when it is the status of an earlier VM of that name. Borrowed. */
const struct vm_status *record_status(const struct vm_record *record);

/* A disk was made, and would have to be made anew for some changes. */
bool record_has_disk(const struct vm_record *record);

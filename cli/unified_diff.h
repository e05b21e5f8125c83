/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The difference between two specs of one VM in the unified format of diff(1), for people and for
 * what colours or counts such text: a hunk a field, whose heading tells what the change needs.
 *
 *   --- web (asked for)
 *   +++ web (VMFile)
 *   @@ -1 +1 @@ restart
 *   -memory 1024
 *   +memory 2048
 *
 * A list has a line an entry, and only those that differ are shown. Pure.
 */
#pragma once

#include <stdbool.h>

struct buf;
struct vm_spec;

/* Appends it. `before` NULL: a VM to be made; `after` NULL: one the file no longer has. Nothing when
 * both say the same. `running` as spec_diff_on() has it. */
void unified_diff_add(struct buf *out, const struct vm_spec *before, const struct vm_spec *after,
    const struct vm_spec *running, bool use_color);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The row hold/N: what node N has reserved for VMs of the fleet, from their placement to their end,
 * running or not, and for those that are moving to it. A transaction that places a VM, changes its
 * size or removes it also writes the row and compares it with the known one: of two at the same
 * time, one fails and looks again. The amounts are summed from the rows vm/N/ and in/N/ each time,
 * so that the next write corrects a wrong row.
 */
#pragma once

#include "controller/fleet/engine.h"

struct error;
struct member;
struct vm_spec;

/* The text of hold/N with VM `name` as in `spec`; NULL: without the VM. free() it. */
char *hold_text(
    const struct member *member, const char *node, const char *name, const struct vm_spec *spec);

/* Checks that the node has memory for the VM beyond what it has reserved and what its own running
 * VMs need. -ERR_FLEET_NO_NODE. */
int hold_check(
    const struct member *member, const char *node, const struct vm_spec *spec, struct error *err);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a node has promised to the VMs of the fleet, from their placement to their end, whether they
 * run or not, and to those that are on their way to it: the row hold/N. Who places a VM, changes
 * its size or removes it puts the row in the same transaction and compares the one that it knows,
 * so that of two who do so at once one looks again. What is promised is counted from the rows vm/N/
 * and in/N/ each time: a row that is wrong is right again once it is written next.
 */
#pragma once

#include "controller/fleet/engine.h"

struct error;
struct member;
struct vm_spec;

/* hold/N as it is with VM `name` there as in `spec`; NULL: without it. free() it. */
char *hold_text(
    const struct member *member, const char *node, const char *name, const struct vm_spec *spec);

/* Whether the node has the memory for the VM, besides what it has promised and what its own VMs
 * take that are to run: -ERR_FLEET_NO_NODE. */
int hold_check(
    const struct member *member, const char *node, const struct vm_spec *spec, struct error *err);

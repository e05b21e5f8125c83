/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The messenger's process, as its parent sees it: `vmctld --fleet`, started where a fleet was
 * joined and again, later each time, when it ends. Whatever becomes of it, vmctld and the VMs are
 * as they were.
 */
#pragma once

struct fleet_child;
struct loop;
struct paths;

/* NULL: no fleet was joined. */
struct fleet_child *fleet_child_new(struct loop *loop, const struct paths *paths);
/* Ends it, and waits until it has ended. NULL is fine. */
void fleet_child_free(struct fleet_child *child);

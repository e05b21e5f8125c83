/* SPDX-License-Identifier: MPL-2.0 */
/*
 * `vmctld --fleet`: the messenger (controller/fleet/messenger.h) as a process of its own, a child
 * of the vmctld that serves the data directory, and ended with it. What comes from the network is
 * parsed here, apart from the process that owns the VMs.
 */
#pragma once

struct error;

/* Until SIGTERM, or the end of the parent. 0 also where no fleet was joined. */
int fleet_process_run(const char *data_dir, struct error *err);

/*
 * For `vmctl fleet`: with the settings in that file, which is like FLEET_CONFIG_FILE. An object on
 * the standard output:
 *
 *   check   {"members": [{"endpoint", "error" | "version", "bytes", "full", "leader",
 *           "hasLeader"}], "uid"}; an error if there is no such fleet
 *   join    the same
 *   init    the same, and the fleet is made; an error if there is one
 *   leave   the same, and the rows of this node are removed: no messenger may run
 *   forget  the same of a node that is not heard of
 *   cordon, uncordon  the node takes no new VMs, or takes them again
 *
 * or {"error": {"code", "message", "help"}}. Returns an exit status.
 */
int fleet_process_ask(const char *verb, const char *path, const char *data_dir);

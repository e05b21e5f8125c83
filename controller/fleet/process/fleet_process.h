/* SPDX-License-Identifier: MPL-2.0 */
/*
 * `vmctld --fleet`: the messenger (controller/fleet/messenger.h) as a process of its own, a child
 * of the vmctld that serves the data directory; it ends with that. It parses what comes from the
 * network, apart from the process that owns the VMs.
 */
#pragma once

struct error;

/* Runs until SIGTERM or the end of the parent. 0 also if this host has joined no fleet. */
int fleet_process_run(const char *data_dir, struct error *err);

/*
 * For `vmctl fleet`: asks etcd with the settings in that file, which is like FLEET_CONFIG_FILE, and
 * prints an object on the standard output:
 *
 *   check   {"members": [{"endpoint", "error" | "version", "bytes", "full", "leader",
 *           "hasLeader"}], "uid"}; an error if there is no such fleet
 *   join    the same; an error if another host is the node
 *   take    the same, in place of another host that is offline
 *   init    the same, and makes the fleet; an error if there is one
 *   rebuild the same, and makes the fleet again if etcd has lost it
 *   leave   the same, and removes the rows of this node: no messenger may run
 *   forget  the same for a node that is offline
 *   cordon, uncordon  the same, and stops or resumes placing new VMs on the node
 *
 * or {"error": {"code", "message", "help"}}. Returns an exit status.
 */
int fleet_process_ask(const char *verb, const char *path, const char *data_dir);

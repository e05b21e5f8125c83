/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Other hosts with vmctl: nodes.kdl (specs/vmfile/nodes_file.h), and those of a fleet. They are
 * reached by the user's own ssh(1), which runs their vmctl: what ssh_config(5), the agent and
 * known_hosts say about them holds here as well.
 */
#pragma once

#include <stdbool.h>

#include "specs/vmfile/nodes_file.h"

struct cli;
struct error;
struct part;

/* Those of the file; without one there are none. Returns as project_load() does. */
int nodes_load_named(const struct cli *cli, struct nodes *ret, struct error *err);
/* And those of the fleet that this host is in (cli/fleet/fleet_view.h), but for itself. */
int nodes_load(struct cli *cli, struct nodes *ret, struct error *err);
/* Whether there may be any: a system call or two. */
bool nodes_exist(const struct cli *cli);

/* nodes_load(), and the node of that name, borrowed from *ret_nodes; -ERR_USAGE: there is none. */
int nodes_load_one(struct cli *cli, const char *name, struct nodes *ret_nodes,
    const struct node **ret, struct error *err);

/* Adds the node to the file, or takes it out, and leaves the file's other lines as they are. */
int nodes_add(const struct cli *cli, const struct node *node, struct error *err);
int nodes_remove(const struct cli *cli, const char *name, struct error *err);

/* -ERR_NODE, with the last line of what ssh, or the shell over there, has written. */
int node_refuse(const struct node *node, const struct part *part, struct error *err);

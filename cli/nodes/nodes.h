/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Other hosts with vmctl: nodes.kdl (specs/vmfile/nodes_file.h), and those of a fleet. They are
 * reached by the user's own ssh(1), which runs their vmctl: what ssh_config(5), the agent and
 * known_hosts say about them holds here as well.
 */
#pragma once

#include <stdbool.h>

#include "specs/vmfile/nodes_file.h"

struct arg_strings;
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

/*
 * fleet_carry.c: the disk of a VM of the fleet on its way to another node: an archive as `vmctl
 * export` writes it, of the disk as it is, from `vmctl fleet send V TOKEN` there, by ssh, to `vmctl
 * fleet fetch V` here, which the messenger runs (controller/fleet/parts.h, intake.c). Verbs of
 * `vmctl fleet` that no user gives.
 */
/* Unpacks it into DATA/imports, and records that, and how far it is, in fetched/V. Killed at any
 * moment it leaves nothing, or a folder that is swept, or is done. */
int fleet_fetch(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err);
/* Writes it to standard output, while the VM is off because it moves: the token is that of the
 * request. The status FLEET_SEND_NOTHING: it has no disk yet; FLEET_SEND_SNAPSHOTS: it has
 * snapshots, and the request does not say that they may stay behind. */
int fleet_send(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err);

enum { FLEET_SEND_NOTHING = 44, FLEET_SEND_SNAPSHOTS = 45 };

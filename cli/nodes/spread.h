/* SPDX-License-Identifier: MPL-2.0 */
/*
 * VMs on other nodes, by the `node` of the VMFile or as NODE/VM: which of them a command means, and
 * the command run there, by one ssh a node and all at once.
 *
 * A command of a whole VMFile is given its part of it as the standard input over there: the VMs of
 * that node, with every variable in its place. There it is the VMFile "//HOST/path/of/VMFile.kdl",
 * HOST being this one's name and a part of its machine-id(5), so that files of two directories, or
 * of two hosts, are two VMFiles there as well.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cli/nodes/nodes.h"
#include "specs/base/strings.h"
#include "store/source/vmfile_load.h"

struct arg_strings;
struct cli;
struct command;
struct error;
struct global_values;
struct which_values;

/* What a command means on one node. */
struct share_of_node {
    const char *place;       /* borrowed; NULL: this host */
    const struct node *node; /* of `nodes`; NULL: this host, or the fleet */
    bool is_fleets;          /* its VMs are the fleet's, and changed there (spread_fleet.c) */
    struct strings names;
};

struct spread {
    struct cli *cli;
    const struct command *command;
    const void *values; /* begins with a struct which_values */
    const struct which_values *which;
    const struct arg_strings *words;
    const struct global_values *global;
    struct vmfile_load load; /* `file` is NULL: there is none, or no valid one */
    struct nodes nodes;
    struct share_of_node *items; /* in the order in which they are first named */
    size_t count;
    char *here;       /* this host's name in its fleet; NULL: it is in none */
    bool is_of_names; /* given on the command line; else all VMs of the VMFile are meant */
};

/* Runs the command on the nodes of its VMs, if one of them is on another node: sets *ret_is_done
 * and returns what the command's run() would return. Else returns 0, and the caller runs it here.
 * Costs one system call on a host without nodes.kdl. */
int spread(const struct spread *request, bool *ret_is_done, struct error *err);

/* For a command that finds out by itself which VM it means: "web", "b/web", or NULL, the VMFile's
 * only one. `nodes` are those of nodes_load(). *ret is its node, one of them, and NULL if it is, or
 * would be, on this host; *ret_name is its name: free() it. */
int spread_find_one(struct cli *cli, const struct which_values *which, const char *word,
    const struct nodes *nodes, const struct node **ret, char **ret_name, struct error *err);

/* How many of the words are names of VMs: the first ones. */
size_t spread_name_words(const struct spread *spread);

/* spread_fleet.c: whether the command changes VMs of the fleet by a request; does so, and follows
 * it: as run() of a command. */
bool spread_asks_fleet(const struct command *command);
/* `wait` for a VM of the fleet on another node: by what that publishes. */
bool spread_waits_by_mirror(const struct spread *spread);
int spread_run_fleet(
    const struct spread *spread, const struct share_of_node *item, struct error *err);

/* What the VMFile of this host is called on another one. free() it. */
char *spread_project_of(const char *path);

/* spread_run.c: runs it on every node, once all is chosen. The status is the worst. */
int spread_run(const struct spread *spread, struct error *err);

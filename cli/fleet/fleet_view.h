/* SPDX-License-Identifier: MPL-2.0 */
/* What this host knows of its fleet: the settings, and the rows that the messenger keeps in the
 * store (specs/fleet/fleet_keys.h). Nothing is asked: it is as fresh as the messenger's link. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/json.h"
#include "specs/fleet/fleet_summary.h"

struct cli;
struct error;
struct fleet_config;
struct nodes;
struct vm_record;
struct vmfile;

/* One system call. */
bool fleet_is_joined(const struct cli *cli);

/* This host's name in its fleet. free() it. NULL: it is in none, or the settings cannot be read. */
char *fleet_own_node(const struct cli *cli);

/* Fills cli->fleet_nodes; a fleet that cannot be read has none. */
void fleet_learn_nodes(struct cli *cli);

/* A VM of the VMFile whose node is this host is one of this host. */
void fleet_resolve_places(const struct cli *cli, struct vmfile *file);

struct fleet_view {
    struct fleet_config *config; /* NULL: no fleet was joined, and all else is empty */
    json_t *rows;                /* {row: value} */
    int64_t contact_ms;          /* wall: when the messenger heard of the fleet last; 0: never */
};

/* When the messenger heard of the fleet last, wall; 0: never. */
int64_t fleet_view_contact(const struct cli *cli);

int fleet_view_read(struct cli *cli, struct fleet_view *ret, struct error *err);
/* The same without the rows. */
int fleet_view_open(struct cli *cli, struct fleet_view *ret, struct error *err);
void fleet_view_clear(struct fleet_view *view);

/* fleet_list.c: the VMs of all nodes, this one's included, for `list -A`: summaries alone, sorted
 * by node, from the snapshot of which the view has the other rows. */
struct fleet_listed {
    char *node, *name;
    struct fleet_summary summary;
};
struct fleet_list {
    struct fleet_listed *items;
    size_t count;
};
int fleet_list_read(
    struct cli *cli, struct fleet_view *ret_view, struct fleet_list *ret, struct error *err);
void fleet_list_clear(struct fleet_list *list);

/* That of the vmctld that serves the node now. Borrowed; NULL: none does. */
const char *fleet_view_session(const struct fleet_view *view, const char *node);

const json_t *fleet_view_row(const struct fleet_view *view, const char *row); /* borrowed */

/* The link is up: what the rows say is so now. */
bool fleet_view_is_fresh(const struct fleet_view *view);
/* Whether the node is heard of, as far as the link goes; else *ret_lost_ms is since when it is not,
 * wall, 0: not known. */
bool fleet_view_hears(const struct fleet_view *view, const char *node, int64_t *ret_lost_ms);

/* The VM as that node has published it; *ret_is_current: its status is one that the node's present
 * vmctld stands for. Members that are not known are NULL. vm_record_clear() it. */
struct vm_record fleet_view_record(
    const struct fleet_view *view, const char *node, const char *name, bool *ret_is_current);

/* Adds the other nodes, as they are reached by ssh, but for those of a name that is there. */
void fleet_view_add_nodes(const struct fleet_view *view, struct nodes *nodes);

/* fleet_show.c: prints the nodes, and how the link is; an exit status. The host has joined one. */
int fleet_show(struct cli *cli, struct error *err);

/* "home: etcd ok, 3 nodes, 1 lost; as of 0.4 s ago". free() it. */
char *fleet_view_summary(const struct fleet_view *view);

/* SPDX-License-Identifier: MPL-2.0 */
/* This host's view of its fleet: the settings, and the rows that the messenger keeps in the store
 * (specs/fleet/fleet_keys.h). Reading it asks no node: it is as recent as the messenger's link. */
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

/* Fills cli->fleet_nodes; leaves it empty if the fleet cannot be read. */
void fleet_learn_nodes(struct cli *cli);

/* Makes VMs of the VMFile whose node is this host VMs of this host. */
void fleet_resolve_places(const struct cli *cli, struct vmfile *file);

struct fleet_view {
    struct fleet_config *config; /* NULL: this host is in no fleet, and the rest is empty */
    json_t *rows;                /* {row: value} */
    int64_t contact_ms;          /* wall: when etcd last answered the messenger; 0: never */
};

/* When etcd last answered the messenger, wall; 0: never. */
int64_t fleet_view_contact(const struct cli *cli);

int fleet_view_read(struct cli *cli, struct fleet_view *ret, struct error *err);
/* The same without the rows. */
int fleet_view_open(struct cli *cli, struct fleet_view *ret, struct error *err);
void fleet_view_clear(struct fleet_view *view);

/* fleet_list.c: reads the summaries of the VMs of all nodes, including this one, for `list -A`,
 * sorted by node, from the same snapshot as the other rows of the view. */
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

/* The session of the vmctld that serves the node now. Borrowed; NULL: there is none. */
const char *fleet_view_session(const struct fleet_view *view, const char *node);

const json_t *fleet_view_row(const struct fleet_view *view, const char *row); /* borrowed */

/* Whether the link is up, so that the rows are current. */
bool fleet_view_is_fresh(const struct fleet_view *view);
/* Whether the node is online, according to the link; otherwise *ret_lost_ms is since when it is
 * not, wall; 0: unknown. */
bool fleet_view_hears(const struct fleet_view *view, const char *node, int64_t *ret_lost_ms);

/* The VM as its node has published it; *ret_is_current: the node's present vmctld has observed its
 * status. Unknown members are NULL. vm_record_clear() it. */
struct vm_record fleet_view_record(
    const struct fleet_view *view, const char *node, const char *name, bool *ret_is_current);

/* Adds the other nodes, with their ssh addresses, except those whose name is present. */
void fleet_view_add_nodes(const struct fleet_view *view, struct nodes *nodes);

/* fleet_show.c: prints the nodes and the state of the link, and returns an exit status. The host
 * must be in a fleet. */
int fleet_show(struct cli *cli, struct error *err);

/* "home: etcd ok, 3 nodes, 1 lost; as of 0.4 s ago". free() it. */
char *fleet_view_summary(const struct fleet_view *view);

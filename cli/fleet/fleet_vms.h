/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The VMs of a fleet: finding and choosing their nodes (fleet_place.c), and changing VMs that the
 * fleet has (fleet_request.c), by a request to this host's messenger (specs/fleet/fleet_ask.h),
 * which writes it to etcd. Commands follow a VM by what its node publishes, and ask no node: one
 * that is offline makes the change when it is back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/wait/goal.h"
#include "specs/base/json.h"
#include "specs/base/strings.h"
#include "store/desired/change_decide.h"

struct cli;
struct error;
struct fleet_move;
struct fleet_view;
struct vm_spec;

/*
 * Finds the node of a VM that the VMFile does not name. *ret_node, free() it, is NULL if that is
 * this host, or unknown. *ret_is_fleets: the VM belongs to the fleet (it has a row `name/`), not
 * only to its node. -ERR_USAGE: several nodes have a VM of that name. Without a fleet it takes one
 * system call.
 */
int fleet_find_vm(
    struct cli *cli, const char *name, char **ret_node, bool *ret_is_fleets, struct error *err);

/*
 * Adds the nodes that can take a VM whose `node` is `place` ("any", "any:ssd=yes"): those that are
 * online, take new VMs, have the label (a node's own name is its label "node") and at least as much
 * memory left as the VM needs; the one with most memory left comes first. `promised`, {node: MiB},
 * is what this command has chosen before; the first node's is increased. -ERR_FLEET_NO_NODE: the
 * reason for each node.
 */
int fleet_choose_nodes(const struct fleet_view *view, const char *place, const struct vm_spec *spec,
    json_t *promised, struct strings *ret, struct error *err);

/* fleet_pack.c: adds the bytes of the files that the VM names to `files`, {SHA256: base64}, to be
 * sent to its node, and replaces their paths in the spec by the fleet's
 * (specs/fleet/fleet_files.h). -ERR_IO: a file cannot be read. -ERR_VMFILE_INVALID: it is too
 * large, or contains a private key. -ERR_USAGE: the spec uses a key or a secret. */
int fleet_pack(struct vm_spec *spec, json_t *files, struct error *err);

struct fleet_order {
    struct change change; /* borrows */
    bool republishes;     /* instead of a change: restores the record that etcd has lost */
    json_t *files;        /* of fleet_pack(), shared by all orders; or NULL */
    struct strings nodes; /* borrowed, for a VM that is not there yet: the first that takes it;
                           * empty: it has to be there */
    struct goal goal;
    const char *done;              /* printed at the end: "destroyed"; NULL: nothing */
    const struct fleet_move *move; /* instead of the change, which has the name; then there is only
                                    * this order. NULL: none */
    int64_t move_ms;               /* additional time that the request for it may take */
};

/* Makes the fleet's VMs of this host its own, and prints each; they keep running. NULL: all of
 * them; `node`, this host's name in the fleet: only VMs without a row of the fleet. */
int fleet_release_vms(struct cli *cli, const char *node, struct error *err);

/* Restores the records of VMs of the fleet on this host; without names, of those that etcd lacks.
 */
int fleet_republish(struct cli *cli, const char *const *names, size_t count, struct error *err);

/* Makes the request, and follows it. Returns the worst exit status, with all errors printed;
 * negative: nothing was done. */
int fleet_request_run(struct cli *cli, const struct fleet_order *orders, size_t count,
    bool is_detached, int64_t timeout_ms, struct error *err);

/* fleet_move.c: moves the VM to another node, or gives it up, by a request that this host's
 * messenger carries out, and follows it there. As fleet_request_run(). */
int fleet_move_run(struct cli *cli, const struct fleet_move *move, bool is_detached,
    int64_t timeout_ms, struct error *err);

/* Waits for the goals of VMs of the fleet by what their nodes publish. As above. */
int fleet_wait_run(struct cli *cli, const struct fleet_order *orders, size_t count,
    int64_t timeout_ms, struct error *err);

/* fleet_drain.c: moves the fleet's VMs of the node to nodes with room, one after another. It prints
 * those that cannot move; they stay. Returns the worst status. */
struct fleet_drain {
    bool stops;            /* also those that run */
    bool leaves_snapshots; /* also those that have snapshots */
    bool is_detached;
    int64_t timeout_ms; /* of each */
};
int fleet_drain_node(
    struct cli *cli, const char *node, const struct fleet_drain *drain, struct error *err);

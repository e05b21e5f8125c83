/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The VMs of a fleet: where one is, or shall be (fleet_place.c), and changes of those that the
 * fleet has (fleet_request.c): a request to this host's messenger (specs/fleet/fleet_ask.h), which
 * writes them to etcd, and their following by what the VMs' nodes publish. Nothing is asked of the
 * nodes: what is meant for one that is off is done when it is back.
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
 * Of a VM that the VMFile does not name: its node, as *ret_node, free() it; NULL: this host, or
 * nobody knows it. *ret_is_fleets: it is the fleet's (it has a row `name/`), not its node's alone.
 * -ERR_USAGE: several nodes have a VM of that name. Of a host without a fleet one system call.
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

/* fleet_pack.c: adds the bytes of the files that the VM names to `files`, {SHA256: base64}, for
 * their way to its node, and puts the fleet's paths into the spec (specs/fleet/fleet_files.h).
 * -ERR_IO: one cannot be read. -ERR_VMFILE_INVALID: it is too large, or has a private key.
 * -ERR_USAGE: the spec has a key or a secret. */
int fleet_pack(struct vm_spec *spec, json_t *files, struct error *err);

struct fleet_order {
    struct change change; /* borrows */
    bool republishes;     /* instead: what etcd has lost is put there again, as it is here */
    json_t *files;        /* fleet_pack(); the same of all orders, or NULL */
    struct strings nodes; /* borrowed, for a VM that is not there yet: the first that takes it;
                           * empty: it has to be there */
    struct goal goal;
    const char *done;              /* "destroyed": printed in the end; NULL: nothing */
    const struct fleet_move *move; /* in place of the change, which has the name; it is the only
                                    * order then. NULL: none */
    int64_t move_ms;               /* so long the request for it may take, besides */
};

/* What the fleet has on this host becomes the host's own, and runs on: all of it, or, given `node`,
 * as this host is called, what no row of the fleet is of. Each is said. */
int fleet_release_vms(struct cli *cli, const char *node, struct error *err);

/* VMs of the fleet that are on this host; none: those that etcd does not have. */
int fleet_republish(struct cli *cli, const char *const *names, size_t count, struct error *err);

/* Returns an exit status, the worst, with all errors printed; negative: nothing was done. */
int fleet_request_run(struct cli *cli, const struct fleet_order *orders, size_t count,
    bool is_detached, int64_t timeout_ms, struct error *err);

/* fleet_move.c: the VM has another node from now on, or is given up, by a request that this host's
 * messenger carries out; then follows it there. As fleet_request_run(). */
int fleet_move_run(struct cli *cli, const struct fleet_move *move, bool is_detached,
    int64_t timeout_ms, struct error *err);

/* Waits for the goals of VMs of the fleet by what their nodes publish; asks nobody. As above. */
int fleet_wait_run(struct cli *cli, const struct fleet_order *orders, size_t count,
    int64_t timeout_ms, struct error *err);

/* fleet_drain.c: moves what the fleet has on the node to where it fits, one after another; what
 * cannot go is said, and stays. The status is the worst. */
struct fleet_drain {
    bool stops;            /* also those that run */
    bool leaves_snapshots; /* also those that have snapshots */
    bool is_detached;
    int64_t timeout_ms; /* of each */
};
int fleet_drain_node(
    struct cli *cli, const char *node, const struct fleet_drain *drain, struct error *err);

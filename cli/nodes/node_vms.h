/* SPDX-License-Identifier: MPL-2.0 */
/* The VMs of this host and of all nodes, for `list -A`. */
#pragma once

#include "cli/show/vm_rows.h"
#include "specs/base/json.h"
#include "store/store.h"

struct cli;
struct error;

struct node_vm {
    char *node;                /* NODE_HERE: this host */
    struct vm_summary summary; /* only if node_vms_ask() was to ask for no more; it has the name */
    struct vm_record record;   /* decoded from `json`, if it is of another one; else all zero */
    json_t *json;              /* as `list -o json` has it */
    int64_t asked_ms;          /* wall: when the node said so; 0: now */
    bool is_lost;              /* it does not answer now */
    json_t *moving;            /* {to, percent, error}; NULL: it does not move */
    char *moving_text;         /* the same for a table */
};

struct node_vms {
    struct node_vm *items; /* node by node: this host's first */
    size_t count;
    char *summary; /* of the fleet that this host is in, a line; NULL: it is in none */
};

/* `needs_records`: summaries are not enough for what is printed. Of a fleet's nodes what is known
 * here is taken (cli/fleet/fleet_view.h), and the others are asked at once. A node that does not
 * answer costs at most three seconds, half a second while it did not answer within the last minute,
 * and a note; its VMs are those of its last answer, which are kept in the data directory. Returns
 * as nodes_load() does. */
int node_vms_ask(struct cli *cli, bool needs_records, struct node_vms *ret, struct error *err);
void node_vms_clear(struct node_vms *vms);

struct vm_row node_vm_row(const struct node_vm *vm); /* borrows from it */
json_t *node_vm_json(const struct node_vm *vm);      /* caller owns */

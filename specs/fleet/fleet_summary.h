/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What `list -A` shows of a VM, as a member of its mirrored row in STORE_FLEET, so that listing
 * 10,000 VMs of other nodes does not parse their records:
 *
 *   {"#":"SESSION\nMOVES TO\ndesired summary\nstatus summary", …the row as etcd has it}
 *
 * The summaries are those of specs/vm/vm_summary.h; a part that the row does not have is empty. A
 * row and its summary are one record, so that they are never of different times: an older vmctl
 * writes the record without a summary, and one that this version cannot read counts as none. Then
 * the reader computes it from the row. Pure.
 */
#pragma once

#include <stdbool.h>

#include "specs/base/json.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/vm/vm_summary.h"

enum { FLEET_MOVE_TO_SIZE = 128 };

struct fleet_summary {
    char session[TEXT_ID_SIZE];       /* of `st`: whose vmctld stands for the status; "": none */
    char move_to[FLEET_MOVE_TO_SIZE]; /* the node that fetches the VM's disk; "": none */
    bool has_desired, has_status;
    bool is_desired_damaged, is_status_damaged; /* it is there, and cannot be read */
    struct desired_summary desired;
    struct status_summary status;
};

/* Of a row FLEET_KIND_VM or FLEET_KIND_STATUS. */
void fleet_summary_of(enum fleet_kind kind, const json_t *row, struct fleet_summary *ret);

/* Adds the row's summary to it, in place of what another node calls one. A damaged row gets none.
 */
void fleet_summary_add(enum fleet_kind kind, json_t *row);

/* Removes the row's summary; returns whether this version can read it. */
bool fleet_summary_remove(json_t *row);

/* From the text of a record, of which no more is read than the summary. False: it has none that can
 * be read. */
bool fleet_summary_read(struct bytes record, struct fleet_summary *ret);

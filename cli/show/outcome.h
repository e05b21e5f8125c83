/* SPDX-License-Identifier: MPL-2.0 */
/* What `up` and its like report of each VM: what the change did, and what of the spec has to wait.
 * Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/vm/condition.h"
#include "specs/vm/spec_diff.h"
#include "store/desired/change.h"

struct buf;

struct outcome_view {
    const char *name;
    const struct vm_spec *spec; /* NULL: the change has none */
    const struct change_outcome *outcome;
    const struct spec_diff *pending; /* what the disk and the instance that exist do not have */
    bool has_instance;               /* a machine runs: a restart is needed for some changes */
    bool stays_off;                  /* none runs, and none is started now */
    bool was_suspended;              /* and is to run again */
    bool is_restarting;
    bool is_recreating;
    bool is_provisioning;
    uint32_t left_out_from; /* the first appended provision step that is not run, from 1; 0: none */
    uint32_t resumed_from;  /* the first that was left out before and is run now; 0: none */
    enum reason drift; /* why an unchanged VM is not Synced; REASON_NONE: it is, or is unknown */
    const char *drift_message; /* NULL: none */
};

/* The data for the report on `change` and its `outcome`; the record is from before the change.
 * Borrows everything. */
struct outcome_view outcome_view_of(const struct vm_record *record, const struct spec_diff *pending,
    const struct change *change, const struct change_outcome *outcome);

/* One line or more, such as "web: restart required: memory 1024 -> 2048 (vmctl up --restart)". */
void outcome_describe(struct buf *out, const struct outcome_view *view);

/* Whether changes of this disposition wait for what the user did not ask for yet. */
bool outcome_waits(const struct outcome_view *view, enum disposition disposition);

/* What an unchanged VM lacks that no comparison of specs shows (a disk that is of another image),
 * in the controller's words; NULL: nothing that changes of this disposition wait for. */
const char *outcome_drift(const struct outcome_view *view, enum disposition disposition);

/* SPDX-License-Identifier: MPL-2.0 */
/* What is copied of a VM's disk: "VM", its present one, or "VM@SNAPSHOT". */
#pragma once

#include "specs/vm/vm_status.h"
#include "store/store.h"

struct cli;
struct error;
struct follow_values;
struct vm_spec;

/* origin_clear() it. */
struct origin {
    char *vm;
    struct vm_record record;
    /* vm and snapshot borrow from those; is_taken: it was made for this alone, of the present
     * disk, and goes by itself after an hour. */
    struct vm_origin of;
};

/* Of the present disk of a VM a snapshot is made, which takes until that is there. Opens the store.
 * Returns as vm_request_run(); -ERR_SNAPSHOT_NOT_FOUND, -ERR_VM_NOT_FOUND, -ERR_VM_INVALID_STATE.
 */
int origin_find(struct cli *cli, const char *word, const struct follow_values *follow,
    struct origin *ret, struct error *err);
/* Whether there is such a VM; as origin_find(). */
int origin_check(struct cli *cli, const char *name, struct error *err);
/* … and one whose disk can be exported and backed up: -ERR_BACKEND_UNAVAILABLE. */
int origin_check_archivable(struct cli *cli, const char *name, struct error *err);
/* For a backup of the present disk, of a running VM with what was written `since` (vm_snapshot.h;
 * "": all), or of that volume of one that runs, NULL: the disk; as origin_find(). */
int origin_back_up(struct cli *cli, const char *vm, const char *volume, const char *since,
    const struct follow_values *follow, struct origin *ret, struct error *err);
/* Removes a snapshot that is_taken. Until that is done no other can be requested. */
void origin_release(struct cli *cli, const struct origin *origin);
void origin_clear(struct origin *origin);

/* How a command names what it does. */
struct origin_words {
    const char *begun;   /* "cloning" */
    const char *done;    /* "cloned" */
    const char *started; /* "cloned and started" */
};
/* A new VM whose disk comes from there: prepared, or with `starts` Ready. `uid` is that of the VM
 * that has the snapshot, NULL: it is an import. Returns as vm_request_run(); -ERR_VM_CONFLICT: that
 * VM was renamed since. */
int origin_create_vm(struct cli *cli, const struct vm_spec *spec, const struct vm_origin *of,
    const char *uid, bool starts, const struct origin_words *words,
    const struct follow_values *follow, struct error *err);

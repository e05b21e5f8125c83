/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/snapshot_check.h"

#include "specs/base/error.h"
#include "specs/base/text.h"
#include "specs/vm/backend_traits.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "store/desired/impact.h"
#include "store/store.h"

static bool any_is_under_way(const struct vm_record *record)
{
    const struct vm_status *status = record_status(record);
    const char *token = record->desired->snapshot.token;
    return token[0] && !(status && text_eq(token, status->handled_snapshot_token));
}

bool snapshot_is_under_way(const struct vm_record *record, const struct snapshot_order *order)
{
    const struct snapshot_order *asked = &record->desired->snapshot;
    return any_is_under_way(record) && asked->verb == order->verb &&
           text_eq(asked->name, order->name);
}

/* A copy of a volume is made by the machine that has it: otherwise its file is not in use. */
static bool has_volume(const struct vm_record *record, const char *volume)
{
    const struct vm_status *status = record_status(record);
    const struct vm_spec *running = status ? vm_status_running_spec(status) : NULL;
    return running && vm_spec_volume(running, volume);
}

int snapshot_check(const struct vm_record *record, const struct snapshot_order *order,
    const char *vm_name, struct error *err)
{
    const struct vm_status *status = record_status(record);
    const struct vm_snapshot *present = status ? vm_status_snapshot(status, order->name) : NULL;
    bool is_there = present != NULL;
    if (any_is_under_way(record)) {
        (void)error_set(err, ERR_VM_CONFLICT,
            "vm '%s': another command copies or replaces its disk: a snapshot, clone, export or "
            "backup",
            vm_name);
        return error_help(err, "try again when that is done; see: vmctl events %s", vm_name);
    }
    if (record->desired->is_saved) {
        (void)error_set(err, ERR_VM_INVALID_STATE,
            "vm '%s' is suspended to disk: its disk must not change until it resumes", vm_name);
        return error_help(err, "resume it first: vmctl resume %s", vm_name);
    }
    if (!vm_desired_allows_snapshot(record->desired, order->verb)) {
        (void)error_set(err, ERR_VM_INVALID_STATE,
            "vm '%s' is %s: its snapshots can be made and restored only while it is stopped",
            vm_name, power_name(record->desired->power));
        return error_help(err, "stop it first: vmctl stop %s", vm_name);
    }
    if (order->volume[0] && !has_volume(record, order->volume)) {
        return error_set(err, ERR_VM_INVALID_STATE, "vm '%s' does not have volume '%s' in use",
            vm_name, order->volume);
    }
    if (order->verb == SNAPSHOT_RESTORE && present && present->volume) {
        return error_set(err, ERR_VM_INVALID_STATE,
            "vm '%s': '%s' is a backup copy of volume '%s', not of the VM's disk", vm_name,
            order->name, present->volume);
    }
    if (order->verb != SNAPSHOT_CREATE) {
        return is_there ? 0
                        : error_set(err, ERR_SNAPSHOT_NOT_FOUND, "vm '%s' has no snapshot '%s'",
                              vm_name, order->name);
    }
    if (!status || !status->prepared.digest[0]) {
        (void)error_set(err, ERR_VM_INVALID_STATE, "vm '%s' has no disk yet", vm_name);
        return error_help(err, "the first start creates it: vmctl start %s", vm_name);
    }
    if (is_there || text_eq(order->name, SNAPSHOT_BEFORE_RESTORE)) {
        (void)error_set(err, ERR_VM_CONFLICT, "vm '%s': the name '%s' is %s", vm_name, order->name,
            is_there ? "taken" : "reserved for the disk that a restore replaces");
        return error_help(
            err, "use another name, or remove it: vmctl snapshot rm %s %s", vm_name, order->name);
    }
    if (status->n_snapshots >= SNAPSHOTS_MAX) {
        (void)error_set(err, ERR_VM_CONFLICT, "vm '%s' has %u snapshots, and the limit is %d",
            vm_name, status->n_snapshots, SNAPSHOTS_MAX);
        return error_help(err, "remove one: vmctl snapshot rm %s NAME", vm_name);
    }
    return 0;
}

int save_check(const struct vm_record *record, const char *vm_name, struct error *err)
{
    const struct vm_desired *desired = record->desired;
    const struct vm_spec *spec = desired->spec;
    const struct vm_status *status = record_status(record);
    const struct vm_spec *running = status && status->applied_spec ? status->applied_spec : spec;
    bool is_up = status && (status->instance.pid != 0 || status->saved.phase != SAVED_NONE);
    const char *what = backend_traits(spec->backend)->is_fixed ? "its backend does not support it"
                       : !is_up                                ? "it is not running"
                       : running->n_shares > 0                 ? "it has shared folders"
                       : running->n_volumes + desired->n_volumes + running->n_disks > 0
                           ? "it has volumes or further disks"
                       : status && status->instance.is_woken
                           ? "it was started from a template's memory and has not booted since"
                           : NULL;
    if (!what) {
        return 0;
    }
    (void)error_set(
        err, ERR_VM_INVALID_STATE, "vm '%s' cannot be suspended to disk: %s", vm_name, what);
    if (!is_up) {
        return error_help(err, "see why: vmctl status %s", vm_name);
    }
    return error_help(err, "suspend it in memory: vmctl suspend %s; or shut it down: vmctl stop %s",
        vm_name, vm_name);
}

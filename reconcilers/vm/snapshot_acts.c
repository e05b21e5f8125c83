/* SPDX-License-Identifier: MPL-2.0 */
/* Snapshots of the disk: carrying out the request, and recording what came of it. */
#include <stdlib.h>
#include <string.h>

#include "reconcilers/media/snapshot.h"
#include "reconcilers/vm/pass.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

/* `error`: NULL: it is done. Either way the request is over. */
static void finish_order(struct pass *pass, const struct error *error)
{
    struct vm_status *status = pass->patch->status;
    struct vm_blocker *failure = &status->snapshot_failure;
    memcpy(status->handled_snapshot_token, pass->view->desired->snapshot.token, TEXT_ID_SIZE);
    free(failure->code);
    free(failure->message);
    free(failure->help);
    *failure = (struct vm_blocker){0};
    if (error) {
        failure->code = mem_strdup(error_code_name(error->code));
        failure->message = mem_strdup(error->message);
        failure->help = mem_strdup(error_help_text(error));
        vm_patch_event(pass->patch, true, REASON_SNAPSHOT, "%s", error->message);
    }
}

/* The size of what the request made; -1: nothing. */
static int64_t made_bytes(const struct pass *pass)
{
    cleanup_free char *path =
        snapshot_path(pass->vm->host->paths, pass->vm->name, pass->view->desired->snapshot.token);
    return fs_size(path);
}

/* The disk that was replaced is the snapshot before-restore, instead of that of the restore before.
 */
static void record_restored(struct pass *pass, const char *name)
{
    static const char aside[] = "~"; /* which no user can name */
    struct vm_status *status = pass->patch->status;
    const char *token = pass->view->desired->snapshot.token;
    cleanup_free char *disk = paths_vm(pass->vm->host->paths, pass->vm->name, VM_OVERLAY);
    int64_t bytes = fs_size(disk), kept = made_bytes(pass);
    if (kept >= 0) {
        vm_status_add_snapshot(status, aside, token, (uint64_t)kept, pass->wall_ms);
    }
    vm_status_restore_snapshot(status, name, bytes > 0 ? (uint64_t)bytes : 1);
    vm_status_remove_snapshot(status, SNAPSHOT_BEFORE_RESTORE);
    struct vm_snapshot *before = vm_status_snapshot(status, aside);
    if (before) {
        memcpy(before->name, SNAPSHOT_BEFORE_RESTORE, sizeof(SNAPSHOT_BEFORE_RESTORE));
    }
}

bool pass_record_snapshot(struct pass *pass, const struct error *error)
{
    static const char *const done[] = {
        [SNAPSHOT_CREATE] = "made", [SNAPSHOT_RESTORE] = "restored", [SNAPSHOT_REMOVE] = "removed"};
    const struct snapshot_order *order = &pass->view->desired->snapshot;
    struct vm_status *status = pass->patch->status;
    finish_order(pass, error);
    if (error) {
        return true;
    }
    if (order->verb == SNAPSHOT_CREATE) {
        int64_t bytes = made_bytes(pass);
        vm_status_add_snapshot(
            status, order->name, order->token, bytes > 0 ? (uint64_t)bytes : 0, pass->wall_ms);
    } else if (order->verb == SNAPSHOT_RESTORE) {
        record_restored(pass, order->name);
    } else {
        vm_status_remove_snapshot(status, order->name);
    }
    vm_patch_event(
        pass->patch, false, REASON_SNAPSHOT, "snapshot '%s' %s", order->name, done[order->verb]);
    return true;
}

/* What was possible when it was requested may not be so any more. */
static int check_order(const struct pass *pass, struct error *err)
{
    const struct snapshot_order *order = &pass->view->desired->snapshot;
    const struct vm_status *status = pass->view->status;
    const struct backend *backend = pass->vm->backend;
    const char *name = pass->vm->name;
    if (pass->situation.is_alive) {
        (void)error_set(err, ERR_VM_INVALID_STATE, "vm '%s' was started meanwhile", name);
        return error_help(err, "stop it, and try again: vmctl stop %s", name);
    }
    if (!backend->media->snapshot) {
        (void)error_set(err, ERR_BACKEND_UNAVAILABLE, "backend \"%s\" has no snapshots of a disk",
            backend->name);
        return error_help(err, "use the host's own, of its file system");
    }
    if (order->verb == SNAPSHOT_CREATE) {
        return status->prepared.digest[0]
                   ? 0
                   : error_set(err, ERR_VM_INVALID_STATE, "vm '%s' has no disk yet", name);
    }
    return vm_status_snapshot(status, order->name)
               ? 0
               : error_set(err, ERR_SNAPSHOT_NOT_FOUND, "vm '%s' has no snapshot '%s'", name,
                     order->name);
}

/* Killed before or after, or done twice: the files have the names that the request gave them, and
 * it counts as done only when the status says so. */
int64_t pass_snapshot(struct pass *pass)
{
    struct error err = {.code = ERR_NONE};
    struct vm *vm = pass->vm;
    if (check_order(pass, &err) < 0) {
        finish_order(pass, &err);
        return VERDICT_NOW;
    }
    vm_begin(vm, ACTION_SNAPSHOT, pass->view->desired->generation);
    vm->op =
        vm->backend->media->snapshot(&pass->env, &pass->view->desired->snapshot, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

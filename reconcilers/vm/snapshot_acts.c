/* SPDX-License-Identifier: MPL-2.0 */
/* Snapshots of the disk: carrying out the request, and recording what came of it. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "reconcilers/media/snapshot.h"
#include "reconcilers/vm/pass.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

/* `error`: NULL: it is done. Either way the request is over. */
static void finish_order(
    struct pass *pass, const struct snapshot_order *order, const struct error *error)
{
    struct vm_status *status = pass->patch->status;
    memcpy(status->handled_snapshot_token, order->token, TEXT_ID_SIZE);
    pass_report(pass, &status->snapshot_failure, error ? error : &(struct error){.code = ERR_NONE});
    if (error) {
        vm_patch_event(pass->patch, true, REASON_SNAPSHOT, "%s", error->message);
    }
}

/* The size of what the request made; -1: nothing. */
static int64_t made_bytes(const struct pass *pass, const struct snapshot_order *order)
{
    cleanup_free char *path = snapshot_path(pass->vm->host->paths, pass->vm->name, order->token);
    return fs_size(path);
}

/* The disk that was replaced is the snapshot before-restore, instead of that of the restore before.
 */
static void record_restored(struct pass *pass, const struct snapshot_order *order)
{
    static const char aside[] = "~"; /* which no user can name */
    struct vm_status *status = pass->patch->status;
    cleanup_free char *disk = paths_vm(pass->vm->host->paths, pass->vm->name, VM_OVERLAY);
    int64_t bytes = fs_size(disk), kept = made_bytes(pass, order);
    if (kept >= 0) {
        vm_status_add_snapshot(status, aside, order->token, (uint64_t)kept, pass->wall_ms);
    }
    vm_status_restore_snapshot(
        status, vm_status_snapshot(status, order->name), bytes > 0 ? (uint64_t)bytes : 1);
    vm_status_remove_snapshot(status, SNAPSHOT_BEFORE_RESTORE);
    struct vm_snapshot *before = vm_status_snapshot(status, aside);
    if (before) {
        memcpy(before->name, SNAPSHOT_BEFORE_RESTORE, sizeof(SNAPSHOT_BEFORE_RESTORE));
    }
}

/* ---- what a recreation replaced is kept for a while ---- */

static bool keeps_disk(const struct pass *pass)
{
    const struct vm_desired *desired = pass->view->desired;
    bool is_asked = pass->situation.recreation == RECREATION_READY && !desired->erases_at_once;
    const struct vm_prepared *prepared = &pass->view->status->prepared;
    /* A boot of a disk that was woken and is not itself yet would keep what is another's. */
    return is_asked && prepared->digest[0] && prepared->wake != WAKE_BEGUN &&
           pass->vm->backend->media->keep;
}

int pass_keep_disk(struct pass *pass, struct error *err)
{
    const struct vm *vm = pass->vm;
    if (!keeps_disk(pass) ||
        vm->backend->media->keep(&pass->env, pass->view->desired->recreate_token, err) == 0) {
        return 0;
    }
    return error_help(
        err, "make room, or do not keep the old disk: vmctl reload --no-keep --name %s", vm->name);
}

static void record_kept_file(struct pass *pass, const char *file, int64_t bytes)
{
    struct vm_status *status = pass->patch->status;
    char now[sizeof("20261231-235959")];
    time_t seconds = (time_t)(pass->wall_ms / 1000);
    struct tm utc;
    (void)strftime(now, sizeof(now), "%Y%m%d-%H%M%S", gmtime_r(&seconds, &utc));
    cleanup_free char *name = mem_printf("%s%s", SNAPSHOT_RECREATED, now);
    for (unsigned n = 2; vm_status_snapshot(status, name); n++) {
        free(name);
        name = mem_printf("%s%s-%u", SNAPSHOT_RECREATED, now, n);
    }
    vm_status_add_snapshot(status, name, file, (uint64_t)bytes, pass->wall_ms);
    vm_status_snapshot(status, name)->ends_ms = pass->wall_ms + KEPT_MS;
    vm_patch_event(pass->patch, false, REASON_SNAPSHOT,
        "the old disk is kept for %d hours as snapshot '%s'", KEPT_MS / 3600000, name);
}

static bool is_recorded_file(const struct pass *pass, const char *file)
{
    const struct vm_status *status = pass->patch->status;
    bool is_known = text_eq(file, pass->view->desired->snapshot.token);
    for (uint32_t i = 0; i < status->n_snapshots; i++) {
        is_known |= text_eq(file, status->snapshots[i].file);
    }
    return is_known;
}

static void record_if_lost(void *context, int dir_fd, const char *name)
{
    enum { FILE_LENGTH = TEXT_ID_SIZE - 1 };
    struct pass *pass = context;
    struct stat st;
    cleanup_free char *file = mem_strndup(name, FILE_LENGTH);
    bool is_disk = strlen(name) > FILE_LENGTH && text_eq(name + FILE_LENGTH, ".qcow2") &&
                   fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
    if (is_disk && !is_recorded_file(pass, file)) {
        record_kept_file(pass, file, st.st_size);
    }
}

/* Of every request whose disk was replaced when it could not be recorded, as the store's disk was
 * full, too: another request may have followed it. */
void pass_record_kept(struct pass *pass)
{
    const struct vm *vm = pass->vm;
    const char *token = pass->view->desired->recreate_token;
    cleanup_free char *path = snapshot_path(vm->host->paths, vm->name, token);
    int64_t bytes = fs_size(path);
    if (!keeps_disk(pass)) {
        return;
    }
    if (bytes >= 0) {
        record_kept_file(pass, token, bytes);
    }
    *strrchr(path, '/') = '\0';
    fs_each_entry(path, record_if_lost, pass);
}

/* Or the next disk to replace one does not fit. Not another failure for want of room: it may need
 * far more than a kept disk has, and is forgotten when the removal is begun. */
static bool lacks_room(const struct pass *pass)
{
    const struct error *put_off = pass->vm->put_off.error;
    return pass->media.free_bytes < (int64_t)KEPT_ROOM_MIB << 20 ||
           (put_off && put_off->code == ERR_NO_SPACE);
}

/* The clone that it was made for has taken its file. */
static bool is_taken_by_clone(const struct pass *pass, const struct vm_snapshot *snapshot)
{
    if (!text_starts_with(snapshot->name, SNAPSHOT_PASSING)) {
        return false;
    }
    cleanup_free char *path = snapshot_path(pass->vm->host->paths, pass->vm->name, snapshot->file);
    return !fs_exists(path);
}

const struct vm_snapshot *pass_due_snapshot(const struct pass *pass)
{
    const struct vm_status *status = pass->view->status;
    const struct vm_snapshot *oldest = NULL;
    unsigned n_kept = 0;
    for (uint32_t i = 0; i < status->n_snapshots; i++) {
        const struct vm_snapshot *snapshot = &status->snapshots[i];
        bool is_kept = text_starts_with(snapshot->name, SNAPSHOT_RECREATED) && snapshot->ends_ms;
        bool is_over = snapshot->ends_ms && pass->wall_ms >= snapshot->ends_ms;
        if (is_over || is_taken_by_clone(pass, snapshot)) {
            return snapshot;
        }
        n_kept += is_kept;
        oldest = !oldest && is_kept ? snapshot : oldest;
    }
    return oldest && (n_kept > KEPT_MAX || lacks_room(pass)) ? oldest : NULL;
}

/* Room is looked for at each pass, so at each resync. One that is over and still there waits for
 * what wakes the VM: its removal under way, or the end of what keeps that from beginning. */
int64_t pass_kept_ms(const struct pass *pass)
{
    const struct vm_status *status = pass->patch->status;
    int64_t first_ms = VERDICT_WHEN_WOKEN;
    for (uint32_t i = 0; pass->view->desired && i < status->n_snapshots; i++) {
        int64_t left_ms = status->snapshots[i].ends_ms - pass->wall_ms;
        if (left_ms > 0 && (first_ms < 0 || left_ms < first_ms)) {
            first_ms = left_ms;
        }
    }
    return first_ms;
}

/* Files that cannot be removed are left behind, and go with the VM: no command waits for them. */
static void record_collected(struct pass *pass, const char *name, const struct error *error)
{
    const struct vm_snapshot *snapshot = vm_status_snapshot(pass->patch->status, name);
    bool is_over = snapshot && pass->wall_ms >= snapshot->ends_ms;
    bool is_passing = text_starts_with(name, SNAPSHOT_PASSING); /* no user has seen it */
    if (error) {
        vm_patch_event(pass->patch, true, REASON_SNAPSHOT, "%s", error->message);
    } else if (!is_passing) {
        vm_patch_event(pass->patch, false, REASON_SNAPSHOT, "removed the kept snapshot '%s'%s",
            name, is_over ? "" : " early, to make room");
    }
    vm_status_remove_snapshot(pass->patch->status, name);
}

/* ---- the disk of a clone ---- */

bool pass_is_clone_due(const struct pass *pass)
{
    return pass->env.origin && !pass->view->status->prepared.digest[0] &&
           !pass->view->desired->is_deleting;
}

static void record_clone(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    const struct vm_prepared *made = &pass->vm->outcome->prepared;
    const struct vm_origin *origin = pass->env.origin;
    cleanup_free char *disk = paths_vm(pass->vm->host->paths, pass->vm->name, VM_OVERLAY);
    int64_t bytes = fs_size(disk);
    vm_status_restore_snapshot(status, &origin->snapshot, bytes > 0 ? (uint64_t)bytes : 0);
    memcpy(status->prepared.digest, made->digest, DIGEST_SIZE);
    memcpy(status->prepared.seed_digest, made->seed_digest, DIGEST_SIZE);
    vm_failure_clear(&pass->vm->failure);
    if (origin->is_taken && !origin->import) { /* its record is no longer needed */
        struct reconciler_host *host = pass->vm->host;
        host->wake(host, key_of(KEY_VM, origin->vm), WORK_EVENT);
    }
    vm_patch_event(pass->patch, false, REASON_PREPARING, "its disk is %s that of vm '%s'",
        origin->import ? "an import of" : "a copy of", origin->vm);
}

static int64_t begin_clone(struct pass *pass)
{
    struct vm *vm = pass->vm;
    vm_begin(vm, ACTION_SNAPSHOT, pass->view->desired->generation);
    vm->op = vm->backend->media->clone(&pass->env, &vm->outcome->prepared, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

/* ---- the request ---- */

static void record_part(
    struct pass *pass, const struct snapshot_order *order, struct vm_snapshot *made)
{
    struct snapshot_made *result = &pass->vm->outcome->snapshot_made;
    if (result->is_partial) {
        memcpy(made->since, order->since, sizeof(made->since));
    }
    made->whole_because = TAKE_PTR(result->whole_because);
    made->volume = order->volume[0] ? mem_strdup(order->volume) : NULL;
}

bool pass_record_snapshot(struct pass *pass, const struct error *error)
{
    static const char *const done[] = {
        [SNAPSHOT_CREATE] = "made", [SNAPSHOT_RESTORE] = "restored", [SNAPSHOT_REMOVE] = "removed"};
    const struct snapshot_order *order = &pass->vm->outcome->snapshot;
    struct vm_status *status = pass->patch->status;
    if (pass->vm->outcome->is_thaw) {
        return pass_record_thaw(pass, error);
    }
    if (pass_is_clone_due(pass)) {
        record_clone(pass);
        return true;
    }
    pass->vm->is_freeze_ours = false;
    if (pass->vm->outcome->snapshot_made.is_thawed) {
        memset(status->frozen_instance_id, 0, TEXT_ID_SIZE);
    }
    if (!order->token[0]) {
        record_collected(pass, order->name, error);
        return true;
    }
    finish_order(pass, order, error);
    if (error) {
        return true;
    }
    if (order->verb == SNAPSHOT_CREATE) {
        int64_t bytes = made_bytes(pass, order);
        vm_status_add_snapshot(
            status, order->name, order->token, bytes > 0 ? (uint64_t)bytes : 0, pass->wall_ms);
        struct vm_snapshot *made = vm_status_snapshot(status, order->name);
        made->ends_ms = order->keep_ms ? pass->wall_ms + order->keep_ms : 0;
        made->was_used = pass->vm->outcome->is_used_disk;
        made->was_frozen = pass->vm->outcome->snapshot_made.is_frozen;
        made->prepared.is_crash_consistent &= !made->was_used; /* how the guest before it ended */
        record_part(pass, order, made);
    } else if (order->verb == SNAPSHOT_RESTORE) {
        record_restored(pass, order);
    } else {
        vm_status_remove_snapshot(status, order->name);
    }
    const char *as = pass->vm->outcome->snapshot_made.is_frozen
                         ? " (filesystem-consistent: its guest's file systems were frozen)"
                     : pass->vm->outcome->is_used_disk ? " (crash-consistent: its guest runs)"
                     : order->verb == SNAPSHOT_CREATE && status->prepared.is_crash_consistent
                         ? " (crash-consistent: its guest had not shut down)"
                         : "";
    if (!text_starts_with(order->name, SNAPSHOT_PASSING)) {
        vm_patch_event(pass->patch, false, REASON_SNAPSHOT, "snapshot '%s' %s%s", order->name,
            done[order->verb], as);
    } else if (order->volume[0]) {
        vm_patch_event(pass->patch, false, REASON_SNAPSHOT, "volume '%s' was copied for a backup%s",
            order->volume, as);
    } else if (order->verb == SNAPSHOT_CREATE) {
        vm_patch_event(pass->patch, false, REASON_SNAPSHOT,
            "its disk was copied for a clone, an export or a backup%s", as);
    }
    return true;
}

/* What was possible when it was requested may not be so any more. */
static int check_order(const struct pass *pass, struct error *err)
{
    const struct snapshot_order *order = &pass->view->desired->snapshot;
    const struct vm_status *status = pass->view->status;
    const struct backend *backend = pass->vm->backend;
    const char *name = pass->vm->name;
    bool can_copy = order->verb == SNAPSHOT_CREATE && backend->machine->snapshot;
    if (pass->situation.is_alive && order->verb != SNAPSHOT_REMOVE && !can_copy) {
        (void)error_set(err, ERR_VM_INVALID_STATE, "vm '%s' was started meanwhile", name);
        return error_help(err, "stop it, then try again: vmctl stop %s", name);
    }
    if (order->volume[0] && !pass->situation.is_alive) {
        (void)error_set(err, ERR_VM_INVALID_STATE, "vm '%s' was stopped meanwhile", name);
        return error_help(err, "try again: a stopped VM's volumes are read in place");
    }
    if (!backend->media->snapshot) {
        (void)error_set(err, ERR_BACKEND_UNAVAILABLE,
            "backend \"%s\" does not support disk snapshots", backend->name);
        return error_help(err, "use the snapshots of the host's file system");
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
    const struct vm_desired *desired = pass->view->desired;
    struct snapshot_order order = desired->snapshot;
    if (pass_is_thaw_due(pass)) {
        return pass_thaw(pass);
    }
    if (pass_is_clone_due(pass)) {
        return begin_clone(pass);
    }
    if (text_eq(order.token, pass->view->status->handled_snapshot_token)) {
        order = (struct snapshot_order){.verb = SNAPSHOT_REMOVE};
        if (!pass->due_snapshot) { /* what it was decided on has changed */
            return VERDICT_NOW;
        }
        memcpy(order.name, pass->due_snapshot->name, sizeof(order.name));
    } else if (check_order(pass, &err) < 0) {
        finish_order(pass, &order, &err);
        return VERDICT_NOW;
    }
    bool is_copy = pass->situation.is_alive && order.verb == SNAPSHOT_CREATE;
    if (is_copy && pass_is_freeze_due(pass)) {
        pass_begin_freeze(pass);
        return VERDICT_NOW;
    }
    vm_begin(vm, ACTION_SNAPSHOT, desired->generation);
    vm->outcome->snapshot = order;
    vm->outcome->is_used_disk = is_copy;
    vm->op = vm->outcome->is_used_disk
                 ? vm->backend->machine->snapshot(
                       vm->machine, &pass->env, &order, &vm->outcome->snapshot_made, vm_op_done, vm)
                 : vm->backend->media->snapshot(&pass->env, &order, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

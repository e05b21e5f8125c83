/* SPDX-License-Identifier: MPL-2.0 */
/* Carrying out what makes and replaces a disk; act.c has the rest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reconcilers/vm/addresses.h"
#include "reconcilers/vm/failure.h"
#include "reconcilers/vm/memory.h"
#include "reconcilers/vm/pass.h"
#include "reconcilers/vm/templates.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/url.h"
#include "specs/base/vm_name.h"
#include "store/store.h"

static struct op *fetch_image(struct pass *pass)
{
    struct vm *vm = pass->vm;
    const struct spec_image *image = &pass->env.spec->image;
    if (image->kind != IMAGE_FILE && !pass->media.has_image) {
        cleanup_free char *url = url_for_people(image->location);
        vm_patch_event(pass->patch, false, REASON_DOWNLOADING, "getting %s", url);
    }
    return vm->backend->media->fetch_image(&pass->env, &vm->outcome->image, vm_op_done, vm);
}

int64_t pass_fetch_image(struct pass *pass)
{
    vm_begin(pass->vm, ACTION_FETCH_IMAGE, pass->view->desired->generation);
    pass->vm->op = fetch_image(pass);
    return VERDICT_WHEN_WOKEN;
}

/* The base image's location is recorded together with the disk only: after a restart of the
 * controller it has to be looked up again, which is cheap when the image is cached. A disk that was
 * imported has no base. */
int64_t pass_prepare(struct pass *pass)
{
    struct vm *vm = pass->vm;
    const struct vm_prepared *recorded = &pass->view->status->prepared;
    bool is_whole = recorded->digest[0] && !recorded->image_path;
    bool is_recorded = is_whole || (recorded->image_path && pass->situation.disk == DISK_TO_GROW);
    if (!vm->image.path && !is_recorded) {
        return pass_fetch_image(pass);
    }
    if (addresses_name_cards(pass)) {
        return VERDICT_NOW;
    }
    vm_begin(vm, ACTION_PREPARE, pass->view->desired->generation);
    struct vm_prepared *result = &vm->outcome->prepared;
    result->image_path = mem_strdup(is_recorded ? recorded->image_path : vm->image.path);
    memcpy(result->image_id, is_recorded ? recorded->image_id : vm->image.id, DIGEST_SIZE);
    memcpy(result->template_digest,
        recorded->digest[0] ? recorded->template_digest : pass->view->status->warm.template_digest,
        DIGEST_SIZE);
    result->wake = recorded->digest[0] ? recorded->wake : memory_plan(pass);
    vm->op = vm->backend->media->prepare(&pass->env, result, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

/* The image first, then the disk on it. Killed before or after, or done twice: what was made is
 * made again, beside the disk in use. */
int64_t pass_replace(struct pass *pass)
{
    struct vm *vm = pass->vm;
    const struct media_ops *media = vm->backend->media;
    if (addresses_name_cards(pass)) {
        return VERDICT_NOW;
    }
    vm_begin(vm, ACTION_REPLACE, pass->view->desired->generation);
    if (!vm->image.path) {
        vm->op = fetch_image(pass);
        return VERDICT_WHEN_WOKEN;
    }
    struct vm_prepared *result = &vm->outcome->prepared;
    result->image_path = mem_strdup(vm->image.path);
    memcpy(result->image_id, vm->image.id, DIGEST_SIZE);
    memcpy(result->template_digest, pass->view->status->warm.template_digest, DIGEST_SIZE);
    result->wake = memory_plan(pass);
    vm->op = media->prepare_next(&pass->env, result, vm->outcome->disk_stamp, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

/* Changes nothing; what was hashed is known until the controller ends. */
int64_t pass_identify_image(struct pass *pass)
{
    struct vm *vm = pass->vm;
    vm_begin(vm, ACTION_IDENTIFY_IMAGE, pass->view->desired->generation);
    vm->op = vm->backend->media->identify(&pass->env, &vm->outcome->prepared, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

bool pass_is_being_replaced(const struct pass *pass)
{
    const struct vm_failure *put_off = &pass->vm->put_off;
    bool is_due = pass->situation.recreation == RECREATION_ASKED || put_off->action != ACTION_NONE;
    return is_due && put_off->count < vm_failure_class(put_off).stalled_after;
}

/* Changes nothing. */
int64_t pass_check_disk(struct pass *pass)
{
    struct vm *vm = pass->vm;
    vm_begin(vm, ACTION_CHECK_DISK, pass->view->desired->generation);
    memcpy(vm->outcome->disk_stamp, pass->media.disk_stamp, DIGEST_SIZE);
    vm->op = vm->backend->media->check_disk(&pass->env, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

/* The next recreation, and the deletion of the VM, remove what was made for it. */
void pass_forget_replacement(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    free(status->replacement.image_path);
    status->replacement = (struct vm_prepared){.disk_gib = 0};
    memset(status->replacement_stamp, 0, sizeof(status->replacement_stamp));
    memset(status->replacement_token, 0, sizeof(status->replacement_token));
}

void pass_record_new_disk(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    pass_record_kept(pass);
    memcpy(status->handled_recreate_token, pass->view->desired->recreate_token, TEXT_ID_SIZE);
    free(TAKE_PTR(status->machine)); /* a new disk has no hardware that it was installed on */
    free(status->prepared.image_path);
    status->prepared = (struct vm_prepared){.disk_gib = 0};
    if (pass->media.has_replacement) {
        status->prepared = status->replacement;
        status->replacement.image_path = NULL;
    }
    pass_forget_replacement(pass);
    vm_forget_image(pass->vm);
    bool is_stale = pass->situation.build == BUILD_STALE;
    bool is_half_woken = pass->situation.wake == WAKE_BEGUN;
    if (is_stale || is_half_woken) { /* its steps were not asked for once only */
        memset(status->handled_provision_token, 0, TEXT_ID_SIZE);
    }
    if (is_stale) {
        status->restart.last_cause = EXIT_NONE;
        free(TAKE_PTR(status->warm.host));
        free(TAKE_PTR(status->warm.accel));
    }
    pass_reset_provision(pass);
    vm_patch_event(pass->patch, false, REASON_PREPARING, "disk discarded, %s",
        is_stale        ? "because it was not shut down cleanly"
        : is_half_woken ? "because its guest ended before it had its own identity"
                        : "as requested");
    template_note_steps(pass);
}

static const char no_record[] = "no record of this VM";

int pass_move_to_quarantine(const struct pass *pass, const char *cause, struct error *err)
{
    const struct paths *paths = pass->vm->host->paths;
    const char *name = pass->vm->name;
    cleanup_free char *quarantine = paths_path(paths, "quarantine");
    cleanup_free char *flat = vm_name_flat(name);
    cleanup_free char *new_name = mem_printf("%s-%lld", flat, (long long)(pass->wall_ms / 1000));
    int rc = fs_make_dirs(quarantine, 0700, err);
    cleanup_close int from = rc < 0 ? -1 : fs_open_beneath(paths->data_dir, "vms", err);
    cleanup_close int to = from < 0 ? -1 : fs_open_beneath(paths->data_dir, "quarantine", err);
    if (to < 0) {
        return -(int)err->code;
    }
    if (renameat(from, flat, to, new_name) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot rename it to '%s'", new_name);
    }
    log_warn("vm", "%s: %s; its files were moved to 'quarantine/%s'", name, cause, new_name);
    return 0;
}

/* Files of a VM without a record: a lost store must not cost a disk. What the lost store knew is
 * not moved, so that the next `up` of its VMFile finds it. */
int64_t pass_quarantine(struct pass *pass)
{
    enum { RECHECK_MS = 60000, RENAMED_MS = 1000 };
    struct error err = {.code = ERR_NONE};
    const char *name = pass->vm->name;
    if (renamed_now(pass->vm->host, name)) {
        return RENAMED_MS; /* they are that VM's, whose next pass moves them */
    }
    cleanup_free char *flat = vm_name_flat(name);
    if (store_may_have_lost(pass->vm->host->store, name)) {
        log_warn("vm",
            "%s: no record of this VM, perhaps because its store is gone; its files stay in "
            "'vms/%s', and `vmctl up` with its VMFile takes its disk back",
            name, flat);
        return VERDICT_WHEN_WOKEN;
    }
    if (pass_move_to_quarantine(pass, no_record, &err) < 0) {
        log_warn("vm", "%s: cannot move its files to quarantine/: %s", name, err.message);
        return RECHECK_MS;
    }
    return VERDICT_NOW;
}

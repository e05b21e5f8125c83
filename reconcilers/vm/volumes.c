/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/volumes.h"

#include <stdlib.h>
#include <string.h>

#include "reconcilers/vm/failure.h"
#include "reconcilers/vm/pass.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/text.h"

/* ---- whose they are ---- */

/* The first volume of the spec that is another VM's; NULL: none is. *ret_holder is borrowed until
 * the next question. */
static const struct spec_volume *find_foreign(const struct pass *pass, const char **ret_holder)
{
    struct reconciler_host *host = pass->vm->host;
    const struct vm_spec *spec = pass->env.spec;
    for (size_t i = 0; i < spec->n_volumes; i++) {
        cleanup_free char *key = volume_lease_key(spec->volumes[i].name);
        *ret_holder = host->lease_holder(host, key);
        if (*ret_holder && !text_eq(*ret_holder, pass->vm->name)) {
            return &spec->volumes[i];
        }
    }
    return NULL;
}

static int check_holders(const struct pass *pass, struct error *err)
{
    const char *holder = NULL;
    const struct spec_volume *foreign = find_foreign(pass, &holder);
    if (!foreign) {
        return 0;
    }
    (void)error_set(err, ERR_VOLUME_IN_USE, "volume '%s' of vm '%s' is in use by vm '%s'",
        foreign->name, pass->vm->name, holder);
    return error_help(err, "it is free once that VM is stopped: vmctl stop %s", holder);
}

int volumes_lease(struct pass *pass, struct error *err)
{
    int rc = check_holders(pass, err);
    for (size_t i = 0; rc == 0 && i < pass->env.spec->n_volumes; i++) {
        cleanup_free char *key = volume_lease_key(pass->env.spec->volumes[i].name);
        vm_patch_lease(pass->patch, key);
    }
    return rc;
}

bool volumes_are_held(const struct pass *pass)
{
    struct reconciler_host *host = pass->vm->host;
    for (size_t i = 0; i < pass->env.spec->n_volumes; i++) {
        cleanup_free char *key = volume_lease_key(pass->env.spec->volumes[i].name);
        if (!text_eq(host->lease_holder(host, key), pass->vm->name)) {
            return false;
        }
    }
    return true;
}

/* ---- mounting ---- */

/*
 * What the guest is to do (guest_ops.mount): unmount what the machine has and the spec does not,
 * and mount what both have. What only the spec has is attached first. True: one is to be unmounted.
 */
static bool list_orders(const struct pass *pass, const struct vm_status *status, struct buf *out)
{
    const struct vm_spec *running = vm_status_running_spec(status), *spec = pass->env.spec;
    bool has_leaving = false;
    for (size_t i = 0; running && i < running->n_volumes; i++) {
        const struct spec_volume *volume = &running->volumes[i];
        if (volume->mount && !vm_spec_volume(spec, volume->name)) {
            buf_printf(out, " - %s", volume->name);
            has_leaving = true;
        }
    }
    for (size_t i = 0; running && i < spec->n_volumes; i++) {
        const struct spec_volume *volume = &spec->volumes[i];
        const struct spec_volume *present = vm_spec_volume(running, volume->name);
        if (volume->mount && present) { /* its size: a larger one is mounted again, and grown */
            buf_printf(out, " + %s %u ", volume->name, present->size_gib);
            text_add_shell_word(out, volume->mount);
        }
    }
    return has_leaving;
}

/* "" of nothing to do, so that a VM without volumes has none. */
static bool digest_orders(
    const struct pass *pass, const struct vm_status *status, char ret_digest[DIGEST_SIZE])
{
    cleanup_buf struct buf orders = BUF_INIT(0);
    bool has_leaving = list_orders(pass, status, &orders);
    ret_digest[0] = '\0';
    if (orders.len > 0) {
        digest_text(buf_str(&orders), ret_digest);
    }
    return has_leaving;
}

void volumes_assess(struct pass *pass)
{
    struct situation *s = &pass->situation;
    char digest[DIGEST_SIZE];
    s->is_volume_due = pass->media.is_volume_due && pass->vm->backend->media->make_volumes;
    if (s->is_desired && s->expects_ssh) {
        bool has_leaving = digest_orders(pass, pass->view->status, digest);
        s->is_mount_due = digest[0] && !text_eq(digest, pass->view->status->mounted);
        s->is_unmount_due = s->is_mount_due && has_leaving;
    }
}

void volumes_describe(struct pass *pass)
{
    const struct vm_status *status = pass->patch->status;
    const struct vm_failure *failure = &pass->vm->failure;
    const struct vm_spec *running = vm_status_running_spec(status), *spec = pass->env.spec;
    enum condition_type type = CONDITION_MOUNTED;
    char digest[DIGEST_SIZE];
    bool is_needed = false, is_attached = true;
    for (size_t i = 0; i < spec->n_volumes; i++) {
        is_needed |= spec->volumes[i].mount != NULL;
        is_attached &= vm_spec_volume(running, spec->volumes[i].name) != NULL;
    }
    (void)digest_orders(pass, status, digest);
    if (!is_needed) {
        pass_set(pass, type, CONDITION_ABSENT, REASON_NONE, NULL);
    } else if (!vm_status_is_true(status, CONDITION_RUNNING)) {
        pass_set(pass, type, CONDITION_FALSE, status->conditions[CONDITION_RUNNING].reason, NULL);
    } else if (failure->action != ACTION_NONE && vm_failure_class(failure).condition == type) {
        pass_set(
            pass, type, CONDITION_FALSE, vm_failure_class(failure).reason, failure->error->message);
    } else if (is_attached && text_eq(digest, status->mounted)) {
        pass_set(pass, type, CONDITION_TRUE, REASON_MOUNTED, NULL);
    } else {
        pass_set(pass, type, CONDITION_FALSE, REASON_MOUNTING, NULL);
    }
}

/* Killed before or after, or done twice: what is mounted stays so. The file system of a blank
 * volume is made by a command in the guest that runs to its end whatever becomes of the connection;
 * until then a second one finds the device in use. */
int64_t volumes_act_mount(struct pass *pass)
{
    struct vm *vm = pass->vm;
    cleanup_buf struct buf orders = BUF_INIT(0);
    vm_begin(vm, ACTION_MOUNT, pass->view->desired->generation);
    (void)list_orders(pass, pass->view->status, &orders);
    (void)digest_orders(pass, pass->view->status, vm->outcome->mounted);
    vm->op = vm->backend->guest->mount(vm->guest, &pass->env, buf_str(&orders), vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

bool volumes_record_mounted(struct pass *pass)
{
    memcpy(pass->patch->status->mounted, pass->vm->outcome->mounted, DIGEST_SIZE);
    return true;
}

/* Killed before or after, or done twice, or by two VMs: what is there stays. */
int64_t volumes_act_make(struct pass *pass)
{
    struct vm *vm = pass->vm;
    vm_begin(vm, ACTION_MAKE_VOLUMES, pass->view->desired->generation);
    vm->op = vm->backend->media->make_volumes(&pass->env, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

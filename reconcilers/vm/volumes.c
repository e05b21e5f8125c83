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
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/image/volume_file.h"
#include "store/store.h"

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
    return error_help(err, "stop that VM to free it: vmctl stop %s", holder);
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

/* A mount point of the running machine: of a volume, or of a share. */
struct mount_order {
    const char *directory;
    const struct spec_volume *volume;
    const struct spec_share *share;
};

static int by_directory(const void *a, const void *b)
{
    return strcmp(
        ((const struct mount_order *)a)->directory, ((const struct mount_order *)b)->directory);
}

static void add_order(struct buf *out, const struct mount_order *order)
{
    if (order->volume) { /* its size: a larger one is mounted again, and grown */
        buf_printf(out, " + %s %u ", vm_name_plain(order->volume->name), order->volume->size_gib);
    } else {
        buf_printf(out, " = %s %s ", order->share->tag, order->share->is_readonly ? "ro" : "rw");
    }
    text_add_shell_word(out, order->directory);
}

/*
 * What the guest is to do (guest_ops.mount): unmount what the machine has and the spec does not,
 * also a volume without `mount`, which a user of the guest may have mounted, and mount what both
 * have, a directory before what is in it. What only the spec has is attached first; shares are as
 * the machine has them until it is started again. True: one is to be unmounted.
 */
static bool list_orders(const struct pass *pass, const struct vm_status *status, struct buf *out)
{
    const struct vm_spec *running = vm_status_running_spec(status), *spec = pass->env.spec;
    bool has_leaving = false;
    if (!running || running->n_volumes + running->n_shares == 0) {
        return false;
    }
    size_t n = 0;
    cleanup_free struct mount_order *orders =
        mem_calloc(running->n_volumes + running->n_shares, sizeof(*orders));
    for (size_t i = 0; i < running->n_volumes; i++) {
        const struct spec_volume *volume = &running->volumes[i];
        const struct spec_volume *wanted = vm_spec_volume(spec, volume->name);
        if (!wanted) {
            buf_printf(out, " - %s", vm_name_plain(volume->name));
            has_leaving = true;
        } else if (wanted && wanted->mount) {
            orders[n++] = (struct mount_order){wanted->mount, volume, NULL};
        }
    }
    for (size_t i = 0; i < running->n_shares; i++) {
        orders[n++] = (struct mount_order){running->shares[i].guest, NULL, &running->shares[i]};
    }
    qsort(orders, n, sizeof(*orders), by_directory);
    for (size_t i = 0; i < n; i++) {
        add_order(out, &orders[i]);
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

/* Mounted and Shared: one operation does both. */
static void describe(struct pass *pass, enum condition_type type, bool is_needed, bool is_mounted,
    enum reason done, const char *note)
{
    const struct vm_status *status = pass->patch->status;
    const struct vm_failure *failure = &pass->vm->failure;
    const struct condition *running = &status->conditions[CONDITION_RUNNING];
    if (!is_needed) {
        pass_set(pass, type, CONDITION_ABSENT, REASON_NONE, NULL);
    } else if (running->state != CONDITION_TRUE) {
        pass_set(pass, type, CONDITION_FALSE, running->reason, NULL);
    } else if (failure->action != ACTION_NONE && vm_failure_class(failure).condition == type) {
        pass_set(
            pass, type, CONDITION_FALSE, vm_failure_class(failure).reason, failure->error->message);
    } else if (is_mounted) {
        pass_set(pass, type, CONDITION_TRUE, done, note);
    } else {
        pass_set(pass, type, CONDITION_FALSE, REASON_MOUNTING, NULL);
    }
}

static void describe_shares(struct pass *pass, bool is_mounted)
{
    const struct vm_status *status = pass->patch->status;
    const struct vm_spec *running = vm_status_running_spec(status);
    const char *lost = pass->situation.is_alive ? pass->machine.lost_share : NULL;
    const char *host = status->instance.no_virtiofs, *note = status->share_note;
    cleanup_free char *whole =
        note && host ? mem_printf("%s; %s", note, host) : mem_strdup(note ? note : host);
    const struct condition *shared = &status->conditions[CONDITION_SHARED];
    describe(pass, CONDITION_SHARED, (running ? running : pass->env.spec)->n_shares > 0, is_mounted,
        REASON_SHARED, whole);
    if (host && shared->reason == REASON_SHARE_FAILED) {
        cleanup_free char *message = mem_printf("%s; %s", shared->message, host);
        pass_set(pass, CONDITION_SHARED, CONDITION_FALSE, REASON_SHARE_FAILED, message);
    }
    if (lost && vm_status_is_true(status, CONDITION_RUNNING)) {
        cleanup_free char *message = mem_printf("the server of the shared folder %s ended, and "
                                                "QEMU cannot use another one: vmctl restart %s",
            lost, pass->vm->name);
        pass_set(pass, CONDITION_SHARED, CONDITION_FALSE, REASON_SHARE_LOST, message);
    }
}

void volumes_describe(struct pass *pass)
{
    const struct vm_status *status = pass->patch->status;
    const struct vm_spec *running = vm_status_running_spec(status), *spec = pass->env.spec;
    char digest[DIGEST_SIZE];
    bool is_needed = false, is_attached = true;
    for (size_t i = 0; i < spec->n_volumes; i++) {
        is_needed |= spec->volumes[i].mount != NULL;
        is_attached &= vm_spec_volume(running, spec->volumes[i].name) != NULL;
    }
    (void)digest_orders(pass, status, digest);
    bool is_mounted = text_eq(digest, status->mounted);
    describe(pass, CONDITION_MOUNTED, is_needed, is_attached && is_mounted, REASON_MOUNTED, NULL);
    describe_shares(pass, is_mounted);
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
    vm->op = vm->backend->guest->mount(
        vm->guest, &pass->env, buf_str(&orders), &vm->outcome->mount, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

bool volumes_record_mounted(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    struct mount_result *result = &pass->vm->outcome->mount;
    memcpy(status->mounted, pass->vm->outcome->mounted, DIGEST_SIZE);
    free(status->share_note);
    status->share_note = TAKE_PTR(result->note);
    if (result->user) {
        free(status->share_user);
        status->share_user = TAKE_PTR(result->user);
    }
    return true;
}

void volumes_record_ended(struct pass *pass)
{
    struct reconciler_host *host = pass->vm->host;
    const struct vm_spec *running = vm_status_running_spec(pass->view->status);
    for (size_t i = 0; running && i < running->n_volumes; i++) {
        const char *name = running->volumes[i].name;
        cleanup_free char *path = volume_path(host->paths, name), *key = volume_record_key(name);
        cleanup_json json_t *known = NULL;
        struct error ignored = {.code = ERR_NONE};
        int64_t bytes = fs_size(path);
        (void)store_get_json(host->store, STORE_META, key, &known, &ignored);
        json_t *record = json_object();
        json_put_int(record, "fileBytes",
            bytes > 0 ? bytes : json_int(known, "fileBytes", 1)); /* used, and gone meanwhile */
        vm_patch_meta(pass->patch, key, record);
    }
}

/* Killed before or after, or done twice, or by two VMs: what is there stays. */
int64_t volumes_act_make(struct pass *pass)
{
    struct vm *vm = pass->vm;
    vm_begin(vm, ACTION_MAKE_VOLUMES, pass->view->desired->generation);
    vm->op = vm->backend->media->make_volumes(&pass->env, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

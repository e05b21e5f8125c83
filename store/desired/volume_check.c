/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/volume_check.h"

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "store/desired/impact.h"
#include "store/store.h"

/* -ERR_VOLUME_IN_USE: it is another VM's now. */
static int check_holder(struct store *store, const struct vm_desired *desired,
    const struct spec_volume *volume, struct error *err)
{
    char uid[TEXT_ID_SIZE];
    cleanup_free char *key = volume_lease_key(volume->name), *holder = NULL;
    int rc = store_lease_holder(store, key, uid, &holder, err);
    if (rc == 0 && uid[0] && !text_eq(uid, desired->uid)) {
        (void)error_set(err, ERR_VOLUME_IN_USE, "volume '%s' is in use by vm '%s'", volume->name,
            holder ? holder : "?");
        return error_help(err, "stop that VM to free it: vmctl stop %s", holder ? holder : "VM");
    }
    return rc;
}

/* ---- names and mount points, which belong to one each ---- */

/* The guest finds a disk by its serial number, which is its name: of two it would format and mount
 * either. */
static int check_disk_name(const struct vm_spec *spec, const char *name, struct error *err)
{
    if (!vm_spec_disk(spec, name)) {
        return 0;
    }
    (void)error_set(err, ERR_VM_CONFLICT,
        "vm '%s' has a disk '%s', so it cannot have a volume of that name", spec->name, name);
    return error_help(err, "use another volume, or rename the disk in the VMFile");
}

static int report_mount(
    const struct vm_spec *spec, const struct spec_volume *volume, const char *of, struct error *err)
{
    (void)error_set(err, ERR_VM_CONFLICT, "vm '%s': volume '%s' and %s have the mount point %s",
        spec->name, volume->name, of, volume->mount);
    return error_help(err, "mount it elsewhere: vmctl volume attach … --mount DIRECTORY");
}

static int check_mount(const struct vm_spec *spec, const struct spec_volume *volume,
    const struct spec_volume *other, struct error *err)
{
    bool is_taken = volume->mount && !text_eq(other->name, volume->name) &&
                    text_eq(other->mount, volume->mount);
    cleanup_free char *of = is_taken ? mem_printf("volume '%s'", other->name) : NULL;
    return is_taken ? report_mount(spec, volume, of, err) : 0;
}

/* Against what the VMFile says. */
static int check_mount_of_spec(
    const struct vm_spec *spec, const struct spec_volume *volume, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < spec->n_volumes; i++) {
        rc = check_mount(spec, volume, &spec->volumes[i], err);
    }
    for (size_t i = 0; rc == 0 && volume->mount && i < spec->n_shares; i++) {
        if (text_eq(spec->shares[i].guest, volume->mount)) {
            rc = report_mount(spec, volume, "a `share`", err);
        }
    }
    return rc;
}

/* ---- the requests ---- */

int volume_check_attach(struct store *store, const struct vm_desired *desired,
    const struct spec_volume *volume, struct error *err)
{
    const struct vm_spec *spec = desired->spec;
    if (vm_spec_volume(spec, volume->name)) {
        (void)error_set(err, ERR_VM_CONFLICT, "the VMFile of vm '%s' has a volume '%s' already",
            spec->name, volume->name);
        return error_help(err, "change it there, then: vmctl up");
    }
    if (spec->backend == BACKEND_PROPOLIS) {
        return error_set(err, ERR_VM_INVALID_STATE,
            "vm '%s': backend \"propolis\" does not support volumes", spec->name);
    }
    if (volume->mount && !vm_spec_expects_ssh(spec) && spec->backend != BACKEND_NOOP) {
        (void)error_set(err, ERR_VM_INVALID_STATE,
            "vm '%s' has no SSH, over which vmctl would mount it", spec->name);
        return error_help(err, "attach it without --mount");
    }
    if (spec->n_volumes + desired->n_volumes >= VOLUMES_MAX) {
        (void)error_set(err, ERR_VM_CONFLICT, "vm '%s' has %d volumes, which is the limit",
            spec->name, VOLUMES_MAX);
        return error_help(err, "detach one: vmctl volume detach %s NAME", spec->name);
    }
    int rc = check_disk_name(spec, volume->name, err);
    rc = rc < 0 ? rc : check_mount_of_spec(spec, volume, err);
    for (size_t i = 0; rc == 0 && i < desired->n_volumes; i++) {
        const struct spec_volume *other = &desired->volumes[i];
        rc = vm_spec_volume(spec, other->name) ? 0 : check_mount(spec, volume, other, err);
    }
    return rc < 0 ? rc : check_holder(store, desired, volume, err);
}

/* It was detached before, and is in use in the guest: it is tried again. */
static bool is_leaving(const struct vm_record *record, const char *name)
{
    const struct vm_status *status = record_status(record);
    const struct vm_spec *running = status ? vm_status_running_spec(status) : NULL;
    return running && vm_spec_volume(running, name) && !vm_spec_volume(record->desired->spec, name);
}

int volume_check_detach(const struct vm_record *record, const char *name, struct error *err)
{
    const struct vm_desired *desired = record->desired;
    if (is_leaving(record, name)) {
        return 0;
    }
    for (size_t i = 0; i < desired->n_volumes; i++) {
        if (text_eq(desired->volumes[i].name, name)) {
            return 0;
        }
    }
    const char *vm_name = desired->spec->name;
    if (vm_spec_volume(desired->spec, name)) {
        (void)error_set(
            err, ERR_VM_CONFLICT, "volume '%s' of vm '%s' comes from its VMFile", name, vm_name);
        return error_help(err, "remove the node there, then: vmctl up");
    }
    return error_set(
        err, ERR_VOLUME_NOT_FOUND, "vm '%s' has no volume '%s' attached", vm_name, name);
}

/* What a command or a VMFile asks for now, against what was asked for before: the file itself is
 * the controller's. */
static int check_sizes(const struct vm_spec *before, const struct vm_spec *after, struct error *err)
{
    for (size_t i = 0; i < before->n_volumes; i++) {
        const struct spec_volume *old = &before->volumes[i];
        const struct spec_volume *new = vm_spec_volume(after, old->name);
        if (new &&new->size_gib &&new->size_gib < old->size_gib) {
            (void)error_set(err, ERR_DISK_SHRINK,
                "vm '%s': volume '%s' cannot shrink from %u to %u GB", after->name, old->name,
                old->size_gib, new->size_gib);
            return error_help(
                err, "write size=%u, or copy what it holds to a new volume", old->size_gib);
        }
    }
    return 0;
}

int volume_check_spec(
    const struct vm_desired *desired, const struct vm_spec *spec, struct error *err)
{
    int rc = check_sizes(desired->spec, spec, err);
    for (size_t i = 0; rc == 0 && i < desired->n_volumes; i++) {
        const struct spec_volume *volume = &desired->volumes[i];
        if (vm_spec_volume(spec, volume->name)) { /* it is the VMFile's from now on */
            continue;
        }
        if (check_disk_name(spec, volume->name, err) < 0 ||
            check_mount_of_spec(spec, volume, err) < 0) {
            return error_help(
                err, "detach the volume: vmctl volume detach %s %s", spec->name, volume->name);
        }
    }
    return rc;
}

/* SPDX-License-Identifier: MPL-2.0 */
/* Checks a request for a VM's volumes before it is recorded. The VM has a desired record. */
#pragma once

struct error;
struct spec_volume;
struct store;
struct vm_desired;
struct vm_record;
struct vm_spec;

/* -ERR_VM_CONFLICT: it is of the VMFile, a further disk has its name, its mount point is another
 * volume's or a share's, or it is one too many; -ERR_VM_INVALID_STATE: the VM cannot have or mount
 * it; -ERR_VOLUME_IN_USE. */
int volume_check_attach(struct store *store, const struct vm_desired *desired,
    const struct spec_volume *volume, struct error *err);
/* -ERR_VM_CONFLICT: it is of the VMFile; -ERR_VOLUME_NOT_FOUND: nor has the running machine it. */
int volume_check_detach(const struct vm_record *record, const char *name, struct error *err);
/* Checks the VM's next spec. -ERR_DISK_SHRINK; -ERR_VM_CONFLICT: it uses the name or mount point of
 * a volume attached by command. */
int volume_check_spec(
    const struct vm_desired *desired, const struct vm_spec *spec, struct error *err);

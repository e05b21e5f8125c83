/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What belongs to a VM's disk besides: its seed, the variables of its UEFI firmware, and the state
 * of its TPM. Any of them may not be there. A snapshot has a copy of each, which is named as its
 * disk is: FILE.iso, FILE.fd, FILE.tpm.
 */
#pragma once

#include <stdatomic.h>

struct error;

/*
 * `stem`: "…/vms/NAME/snapshots/FILE". Of the VM, or back to it; what the one has not the other
 * keeps. Each is a complete copy, or none; done twice, it is the same. Restored are all or, where
 * one cannot be copied, none.
 */
int disk_files_save(
    const char *vm_dir, const char *stem, const atomic_bool *is_cancelled, struct error *err);
int disk_files_restore(
    const char *vm_dir, const char *stem, const atomic_bool *is_cancelled, struct error *err);

/* As restore, for a VM of its own: it has another seed, and another TPM. */
int disk_files_clone(
    const char *vm_dir, const char *stem, const atomic_bool *is_cancelled, struct error *err);

/* Those of a snapshot. */
int disk_files_remove(const char *stem, struct error *err);

/* Of a VM that gets a new disk: what the old one's firmware, TPM and host key were. */
int disk_files_forget(const char *vm_dir, struct error *err);

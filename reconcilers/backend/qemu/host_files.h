/* SPDX-License-Identifier: MPL-2.0 */
/* Files that must be installed on the host: the QEMU program, and UEFI firmware for VMs with it. */
#pragma once

#include <stddef.h>

struct error;

/* $VMCTL_QEMU, else qemu-system-x86_64 in $PATH. Absolute; free() it. ERR_QEMU_SPAWN: not found. */
int host_find_qemu(char **ret_path, struct error *err);

struct firmware_files {
    const char *code; /* read-only, shared by all VMs */
    const char *vars; /* template of a VM's own copy */
};

/* Where distributions install OVMF. */
extern const struct firmware_files host_firmware_files[];
extern const size_t host_n_firmware_files;

/* The first complete pair (borrowed). ERR_QEMU_SPAWN with the package's name when there is none. */
int host_find_firmware(const struct firmware_files *candidates, size_t n,
    const struct firmware_files **ret, struct error *err);

/* Copies the template to `vars_path` unless that exists: it holds the guest firmware's variables,
 * such as boot entries. */
int host_make_firmware_vars(
    const struct firmware_files *firmware, const char *vars_path, struct error *err);

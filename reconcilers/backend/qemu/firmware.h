/* SPDX-License-Identifier: MPL-2.0 */
/*
 * UEFI firmware: which build of it a machine gets, and the file of the variables that it keeps.
 *
 * Distributions describe their builds in files that QEMU specifies (docs/interop/firmware.json):
 * in /usr/share/qemu/firmware, /etc/qemu/firmware and ~/.config/qemu/firmware. Of several files of
 * one name that of the last directory counts, an empty one hides it; the first, by name, that fits
 * the machine is taken. Where nothing is described, the places are tried that are known.
 */
#pragma once

#include <stdbool.h>

#include "controller/loop/op.h"
#include "specs/vm/vm_spec.h"

struct error;
struct pool;

struct firmware_wanted {
    enum firmware kind;  /* not FIRMWARE_BIOS */
    const char *arch;    /* as uname(2) has it: "x86_64" */
    const char *machine; /* QEMU's type, or the name of its newest: "q35" */
    const char *vars;    /* the file of the variables, which need not be there yet */
};

/* Formats are "raw" or "qcow2"; all but `code` NULL: U-Boot, which QEMU loads as it does a kernel,
 * and which keeps no variables. */
struct firmware_build {
    char *code; /* read-only, shared by all VMs */
    char *code_format;
    char *vars; /* template of a VM's own copy */
    char *vars_format;
    bool needs_smm;
};

/* The directories of descriptors in which vmctld looks, the least important first; NULL ends them.
 * $VMCTL_FIRMWARE, for tests, is the only one. Of the loop's thread alone. */
const char *const *firmware_directories(void);

/*
 * A build whose variables have the form of the file that is there, if one is. Blocks on files.
 * ERR_QEMU_SPAWN, with the package's name: there is none. firmware_build_clear() it in any case.
 */
int firmware_find(const char *const *directories, const struct firmware_wanted *wanted,
    struct firmware_build *ret, struct error *err);
void firmware_build_clear(struct firmware_build *build); /* zeroed is fine */

/* Copies the template, if there is one, unless the file is there: it holds what the guest's
 * firmware keeps, such as boot entries. Killed in between, it is not there. ERR_QEMU_SPAWN:
 * something else than a file is in its place. */
int firmware_make_vars(const struct firmware_build *build, const char *vars, struct error *err);

/* For secure boot. ERR_QEMU_SPAWN: the variables are there without a platform key, which the
 * template has: a restored snapshot may be of a disk with other firmware. */
int firmware_check_keys(const struct firmware_build *build, const char *vars, struct error *err);

/* All of it, on the pool. `ret` is borrowed until it is done. */
struct op *firmware_prepare(struct pool *pool, const struct firmware_wanted *wanted,
    struct firmware_build *ret, op_done_fn *done, void *context);

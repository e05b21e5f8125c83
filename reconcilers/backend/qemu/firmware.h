/* SPDX-License-Identifier: MPL-2.0 */
/*
 * UEFI firmware: chooses a machine's build and creates the file of its variables.
 *
 * Distributions describe their builds in files that QEMU specifies (docs/interop/firmware.json): in
 * /usr/share/qemu/firmware, /etc/qemu/firmware and ~/.config/qemu/firmware. Of several files with
 * one name, the last directory's counts, and an empty file hides it; the first by name that fits
 * the machine is used. Without descriptor files, well-known paths are tried.
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

/* Returns the directories of descriptors, in order of increasing precedence, ended by NULL. If
 * $VMCTL_FIRMWARE is set (for tests), it is the only one. Only for the loop's thread. */
const char *const *firmware_directories(void);

/*
 * Finds a build; if the file of variables exists, one that has its form. Blocks on files.
 * ERR_QEMU_SPAWN, with the name of the package: no build found. The caller calls
 * firmware_build_clear() in any case.
 */
int firmware_find(const char *const *directories, const struct firmware_wanted *wanted,
    struct firmware_build *ret, struct error *err);
void firmware_build_clear(struct firmware_build *build); /* zeroed is fine */

/* Copies the template of the variables, if there is one, unless the file exists: it holds the
 * firmware's state, such as boot entries. If killed in between, the file does not exist.
 * ERR_QEMU_SPAWN: the path is not a file. */
int firmware_make_vars(const struct firmware_build *build, const char *vars, struct error *err);

/* For secure boot. ERR_QEMU_SPAWN: the variables lack the platform key that the template has: a
 * restored snapshot may belong to a disk with other firmware. */
int firmware_check_keys(const struct firmware_build *build, const char *vars, struct error *err);

/* Does all of the above on the pool. `ret` is borrowed until it is done. */
struct op *firmware_prepare(struct pool *pool, const struct firmware_wanted *wanted,
    struct firmware_build *ret, op_done_fn *done, void *context);

/* SPDX-License-Identifier: MPL-2.0 */
/* Finds files that must be installed on the host: QEMU, and vmctl's additions to it. */
#pragma once

#include "specs/vm/vm_spec.h"

struct error;

/* Finds QEMU for a processor, such as qemu-system-x86_64 in $PATH; for this host's processor
 * $VMCTL_QEMU comes first. An absolute path; free() it. ERR_QEMU_SPAWN: not found. */
int host_find_qemu(enum arch arch, char **ret_path, struct error *err);

/* The library that keeps a guest from the host's own services (guard_preload.c): beside this
 * program, or in ../lib/vmctl of it. free() it. ERR_BACKEND_UNAVAILABLE: not found. */
int host_find_guard(char **ret_path, struct error *err);

/* The program that is a project network's switch (network/switch): beside this program, or in
 * ../libexec/vmctl of it. free() it. ERR_BACKEND_UNAVAILABLE: not found. */
int host_find_switch(char **ret_path, struct error *err);

/*
 * The user that QEMU switches to if this process is root: "UID:GID" of $VMCTL_QEMU_USER, else of
 * the user `vmctl`, else of `nobody`. free() it. NULL: no switch, as for every other user, for
 * VMCTL_QEMU_USER=root, and in a user namespace without such a user. ERR_QEMU_SPAWN: the
 * environment names a user that does not exist.
 */
int host_find_qemu_user(char **ret_user, struct error *err);

/* Returns the first port that a process other than root's may bind: usually 1024. */
unsigned host_privileged_ports_end(void);

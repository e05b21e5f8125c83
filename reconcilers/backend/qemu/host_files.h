/* SPDX-License-Identifier: MPL-2.0 */
/* Files that must be installed on the host: the QEMU program, and what vmctl adds to it. */
#pragma once

#include "specs/vm/vm_spec.h"

struct error;

/* The one of a guest's processor, qemu-system-x86_64 in $PATH; of this host's, $VMCTL_QEMU before
 * that. Absolute; free() it. ERR_QEMU_SPAWN: not found. */
int host_find_qemu(enum arch arch, char **ret_path, struct error *err);

/* The library that keeps a guest from the host's own services (guard_preload.c): beside this
 * program, or in ../lib/vmctl of it. free() it. ERR_BACKEND_UNAVAILABLE: not found. */
int host_find_guard(char **ret_path, struct error *err);

/* The program that is a project network's switch (network/switch): beside this program, or in
 * ../libexec/vmctl of it. free() it. ERR_BACKEND_UNAVAILABLE: not found. */
int host_find_switch(char **ret_path, struct error *err);

/*
 * Whom QEMU becomes, when this process is root's: "UID:GID" of $VMCTL_QEMU_USER, else of the user
 * `vmctl`, else of `nobody`. free() it. NULL: it stays who it is, as for every other user, for
 * VMCTL_QEMU_USER=root, and in a user namespace that has no such user. ERR_QEMU_SPAWN: the
 * environment names a user that does not exist.
 */
int host_find_qemu_user(char **ret_user, struct error *err);

/* Ports below this one are bound by root alone: mostly 1024. */
unsigned host_privileged_ports_end(void);

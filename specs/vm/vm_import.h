/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The parts of a VM in an export, and where `vmctl import` stores them before they become a VM's:
 * DATA/imports/ID holds the files under the names of the archive, complete and verified, and a
 * volume NAME as volume-NAME.qcow2. The command that fills it holds a flock(2) on the directory
 * until the VM is recorded whose vm_origin names it; without either it is nobody's
 * (reconcilers/media/imported.h).
 */
#pragma once

#include <stdbool.h>

#include "specs/base/paths.h"

struct vm_import_file {
    const char *name; /* in the archive */
    enum vm_file file;
};

enum { VM_IMPORT_FILES = 9 };
/* The disk comes last: once it is in place, all files are. */
extern const struct vm_import_file vm_import_files[VM_IMPORT_FILES];
#define VM_IMPORT_DISK "disk.qcow2"

/* DATA/imports/ID/NAME; `name` "": the directory. free() it. */
char *vm_import_path(const struct paths *paths, const char *id, const char *name);

/* "volume-NAME.qcow2", and back: NULL: it is no such name. free() both. */
char *vm_import_volume_member(const char *volume);
char *vm_import_volume_name(const char *member);

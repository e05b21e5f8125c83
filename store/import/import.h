/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Taking over the VMs of the original vmctl, which kept them in vms.json: an object from name to
 * VmHandle (its book, "State Management" and "Core Types").
 *
 * A VM keeps its disk, seed, keys, MAC address and SSH port: its files have the same names here and
 * stay where they are (or are moved whole into DATA/vms/NAME), and the status says that they are
 * prepared, so that nothing is made again. Only a stopped VM is taken over: a running QEMU of the
 * original holds no alive.lock and has other device names than ours.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/base/error.h"
#include "specs/vm/vm_spec.h"

struct paths;
struct store;

struct import_vm {
    char *name;           /* first: see text_compare() */
    struct error problem; /* why this one cannot be taken over; ERR_NONE: nothing is wrong so far */
    char *work_dir;       /* NULL: not said */
    char *overlay_path;   /* NULL: not said */
    char *mac;            /* NULL: none */
    int32_t pid;          /* as last recorded, 0: none */
    uint16_t ssh_port;    /* 0: none */
    struct vm_spec *spec; /* what the handle says: no image, no seed, no user */
};

struct import_list {
    struct import_vm *vms; /* sorted by name */
    size_t count;
};

/* -ERR_IO: cannot be read. -ERR_VMFILE_INVALID: not an object of handles at all. */
int import_read(const char *path, struct import_list *ret, struct error *err);
void import_list_clear(struct import_list *list);

struct import_request {
    const struct import_vm *vm;
    const char *path;           /* of vms.json: remembered */
    const struct vm_spec *spec; /* what the VMFile says of it; NULL: what the handle says */
    const char *source;         /* that VMFile, absolute */
    const char *user;           /* guest's user, where there is no VMFile; NULL: the default */
};

enum import_result {
    IMPORT_DONE,
    IMPORT_UNCHANGED, /* taken over before */
    IMPORT_GONE,      /* taken over before, and destroyed since */
};

/*
 * Makes the VM ours, as it is. Killed anywhere, doing it again completes it. Does not ring a bell.
 * -ERR_VM_CONFLICT: another VM has the name. -ERR_VM_INVALID_STATE: it is running; nothing has
 * changed.
 * -ERR_IMAGE_NOT_FOUND, -ERR_IMAGE_FORMAT: its disk or the image below it is not there or no qcow2.
 */
int import_take_over(struct store *store, const struct import_request *request,
    enum import_result *ret, struct error *err);

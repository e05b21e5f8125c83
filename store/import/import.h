/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Taking over the VMs of the original vmctl, which kept them in vms.json: an object from name to
 * VmHandle (its book, "State Management" and "Core Types").
 *
 * A VM keeps its disk, seed, keys, MAC address and SSH port: its files have the same names here and
 * stay where they are (or are moved whole into DATA/vms/NAME), and the status says that they are
 * prepared, so that nothing is made anew. One that runs is recorded as the VM's instance; whoever
 * calls has made it hold the VM's alive.lock before (cli/import/running.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"

struct paths;
struct store;

struct import_vm {
    char *name;
    struct error problem; /* why this one cannot be taken over; ERR_NONE: nothing is wrong so far */
    char *work_dir;       /* NULL: not said */
    char *overlay_path;   /* NULL: not said */
    char *qmp_socket;     /* NULL: none */
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

/* Whether a QEMU has its disk open, or the recorded process is one of this VM. */
bool import_is_running(const struct paths *paths, const struct import_vm *vm);

/* The process is one of this VM: it has the path of its disk on its command line. */
bool import_is_process_of(const struct import_vm *vm, int32_t pid);

/* Where the VM's files are: ours, or those that taking it over will move there. NULL: nowhere.
 * free() it. */
char *import_directory(const struct paths *paths, const struct import_vm *vm);

/* A QEMU of the original that runs. */
struct import_running {
    int32_t pid;
    uint64_t start_ticks; /* specs/base/proc_stat.h */
    char boot_id[CLOCK_BOOT_ID_SIZE];
    char instance_id[TEXT_ID_SIZE]; /* its UUID, which is all zeros if it was given none */
    int64_t started_at_ms;  /* wall */
    bool is_paused;
    const char *accel; /* "kvm", "tcg". Static */
    char *vnc;         /* "127.0.0.1:5900", NULL: none */
};

void import_running_clear(struct import_running *running);

struct import_request {
    const struct import_vm *vm;
    const struct import_running *running; /* NULL: it has to be off */
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
 * -ERR_VM_CONFLICT: another VM has the name, or of one that runs the SSH port or MAC address.
 * -ERR_VM_INVALID_STATE: it is running.
 * -ERR_IMAGE_NOT_FOUND, -ERR_IMAGE_FORMAT: its disk or the image below it is not there or no qcow2.
 */
int import_take_over(struct store *store, const struct import_request *request,
    enum import_result *ret, struct error *err);

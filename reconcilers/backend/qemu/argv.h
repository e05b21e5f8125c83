/* SPDX-License-Identifier: MPL-2.0 */
/*
 * QEMU's command line for one instance (qemu(1)). Pure: the same input gives the same arguments,
 * which tests/unit/reconcilers/backend/qemu/golden records. boot.c sets what depends on the host
 * (ports, sizes) over QMP, where a failure does not end QEMU.
 */
#pragma once

#include <stddef.h>

#include "specs/vm/vm_spec.h"

struct firmware_build;
struct paths;

/* The descriptors that QEMU inherits, by the numbers they have there. */
enum qemu_fd {
    QEMU_FD_LOCK = 3, /* alive.lock: QEMU ignores it but holds it for its lifetime */
    QEMU_FD_CONTROL,
    QEMU_FD_QMP,
    QEMU_FD_CONSOLE,
    QEMU_FD_DIR,          /* the VM's directory: a socket's path is short through it */
    QEMU_FD_GUARD,        /* only with network "user": guard.h */
    QEMU_FD_VNC_PASSWORD, /* only of a spec with `vnc` */
    QEMU_FD_TAP,          /* only with network "tap" */
    QEMU_FD_NETWORK,      /* only with network "project": its directory */
    QEMU_FD_SHARE,        /* and SHARES_MAX - 1 behind it: to the servers of shared folders */
    /* Only with memory in a file: the guest's second serial port. */
    QEMU_FD_IDENTITY = QEMU_FD_SHARE + SHARES_MAX,
    /* Of each further network, what QEMU_FD_TAP or QEMU_FD_NETWORK are of the first. */
    QEMU_FD_FURTHER,
    QEMU_FD_AGENT = QEMU_FD_FURTHER + NETWORKS_MAX - 1,
    QEMU_FD_TPM, /* only of a spec with `tpm`: to its emulator */
    QEMU_FD_END_,
};

/* What the i-th network needs, if it is "tap" or "project". */
int qemu_network_fd(enum network_mode mode, size_t i);

/* Node and device names, which boot.c uses too. */
#define QEMU_DISK_NODE "disk0"
#define QEMU_NETDEVS "net" /* and the network's number */
#define QEMU_NETDEV QEMU_NETDEVS "0"
#define QEMU_VOLUME "volume-" /* and the volume's name: node and device */
#define QEMU_AGENT "agent"    /* chardev, and device of its port */

/* "q35": aliases for QEMU's newest version of it. Static. */
const char *qemu_newest_machine(const struct vm_spec *spec);

/* Root ports port0 … that are free when a machine starts; those of its volumes come behind them. */
enum { QEMU_FREE_PORTS = 4 };

/* All borrowed. */
struct qemu_config {
    const struct paths *paths;
    const struct vm_spec *spec;
    const char *binary;
    const char *uuid;
    const char *machine; /* "q35", of ARM and RISC-V "virt", or a version of it */
    const char *run_as;  /* "UID:GID" that QEMU switches to before a guest runs; NULL: no switch */
    unsigned early_ports_end;       /* host ports below this one are bound before that; 0: none */
    const char *accel;              /* "kvm" or "tcg" */
    const char *macs[NETWORKS_MAX]; /* of the networks' cards; NULL: QEMU's own choice */
    const char *overlay;
    const char *seed; /* NULL: none */
    const char *console_log;
    const char *pidfile;
    const struct firmware_build *firmware; /* NULL: BIOS */
    const char *firmware_vars;             /* the VM's own */
    /* For a machine that is frozen or woken: the file of its memory; NULL: none. A builder writes
     * to it; a woken machine waits for its state, and its writes stay private. */
    const char *memory;
    bool is_woken;     /* without `memory`: all of it is to be loaded */
    bool has_agent;    /* a channel to the guest's agent */
    bool has_virtiofs; /* the spec's shares have servers; 9p is offered in any case */
};

/* argv[0] is the binary; ends with NULL. qemu_argv_free() it. */
char **qemu_argv(const struct qemu_config *config);
void qemu_argv_free(char **argv); /* NULL is fine */

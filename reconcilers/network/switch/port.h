/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One VM's port on the switch of its project network, as vmctld writes it and the switch reads it:
 *
 *   DATA/networks/NETWORK/       of vmctld's user
 *     switch.lock                held by the switch for its lifetime
 *     switch.log
 *     VM.port                    this, as JSON
 *     VM.vm                      the socket that QEMU binds
 *     hub/control hub/VM.hub     the switch's sockets; the directory is its user's
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "specs/base/paths.h"
#include "specs/vm/vm_spec.h"

struct error;
struct fields;

struct switch_port {
    char *name;    /* of the VM: vm_name_of_socket() */
    char *host;    /* what the guest is called; NULL: as the VM */
    char *project; /* the guest is HOST.PROJECT.internal */
    char *mac;
    char *address;
    struct spec_forward *forwards; /* SSH's included */
    size_t n_forwards;
    struct spec_service *services;
    size_t n_services;
    bool is_isolated;
    char **egress;
    size_t n_egress;
    /* Of a VM on several networks: */
    bool is_further;   /* its way out is another network … */
    bool has_no_names; /* … and so is its name server */
    char **others;     /* networks (NETWORK as above) whose VMs' names are answered, too */
    size_t n_others;
};

extern const struct fields switch_port_fields;

#define SWITCH_PORT_SUFFIX ".port"
#define SWITCH_GUEST_SUFFIX ".vm"
#define SWITCH_HUB "hub"
#define SWITCH_HUB_SUFFIX ".hub"
#define SWITCH_CONTROL PATHS_SWITCH_CONTROL
enum { SWITCH_LOCK_FD = 3, SWITCH_PORTS_MAX = 240, SWITCH_PORT_FILE_MAX = 64 << 10 };

/* The addresses of a network: its first 24 bits are those of each of its ports. */
enum { SWITCH_GATEWAY = 2, SWITCH_NAMESERVER = 3, SWITCH_FIRST = 15, SWITCH_LAST = 254 };

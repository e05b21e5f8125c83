/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The VMs of one `vmctl run`: copies of a VMFile's under names of their own. `web` becomes
 * `web-run-a1b2`, so any number of jobs run at once from one file. The VMs it depends on are copied
 * with the same suffix. Forwards lead from free ports of the host, unless the VMFile's are kept.
 * The copies belong to no VMFile (`up` and `down` ignore them) and are destroyed with their owner,
 * if they have one.
 */
#pragma once

#include <stdbool.h>

#include "cli/request/targets.h"
#include "specs/vm/vm_spec.h"

struct error;
struct project;

struct run_vms {
    struct vm_spec **specs; /* renamed, in the order of `names`; the VM meant is the first */
    struct strings names;
};

/* Copies the VM of the project and those it depends on, with their files read; suffix "run-a1b2".
 */
int run_vms_make(const struct project *project, const char *name, const char *suffix,
    bool keeps_ports, struct run_vms *ret, struct error *err);
void run_vms_clear(struct run_vms *run_vms);

/* Whether no program listens there on 127.0.0.1. */
bool port_is_free(enum forward_protocol protocol, uint16_t port);

/*
 * Below the ports that Linux gives to outgoing connections (net.ipv4.ip_local_port_range, 32768 and
 * up): what is free now is then likely to be so when the machine boots. Above those of SSH.
 */
enum { FREE_PORT_FIRST = 20000, FREE_PORT_COUNT = 12000 };

/*
 * A host port of 127.0.0.1 for a forward: the next one after place *cursor (any number; moved on
 * behind it, so that no call returns the same again) on which no program listens now. Among VMs
 * only a lease makes it exclusive. When all are taken: one of them, which QEMU then complains of.
 */
uint16_t free_port_next(enum forward_protocol protocol, uint32_t *cursor);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * VMs made from a VMFile's for one job, beside those that `up` makes: `web` becomes `web-run-a1b2`,
 * so any number of jobs run at once from one file. What a VM depends on comes along under the same
 * suffix. Their forwards lead from free ports of the host, unless the VMFile's are asked for. They belong to no VMFile (no `up` or `down` touches them) and, with an owner, go with it.
 */
#pragma once

#include <stdbool.h>

#include "cli/request/targets.h"
#include "specs/vm/vm_spec.h"

struct error;
struct project;

struct run_vms {
    struct vm_spec **specs; /* named anew, in the order of `names`; the VM meant is the first */
    struct targets names;
};

/* Copies the VM of the project and those it depends on, with their files read; suffix "run-a1b2". */
int run_vms_make(const struct project *project, const char *name, const char *suffix,
    bool keeps_ports, struct run_vms *ret, struct error *err);
void run_vms_clear(struct run_vms *run_vms);

/*
 * Below the ports that Linux gives to outgoing connections (net.ipv4.ip_local_port_range, 32768 and
 * up): what is free now is then likely to be so when the machine boots. Above those of SSH.
 */
enum { FREE_PORT_FIRST = 20000, FREE_PORT_COUNT = 12000 };

/*
 * A host port of 127.0.0.1 for a forward: the next one after place *cursor (any number; moved on behind it, so that no call returns the
 * same again) on which no program listens now. Among VMs only a lease makes it exclusive. When all
 * are taken: one of them, which QEMU then complains of.
 */
uint16_t free_port_next(enum forward_protocol protocol, uint32_t *cursor);

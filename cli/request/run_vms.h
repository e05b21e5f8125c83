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

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * VMs whose disk `protect` keeps from what a command would do. Of a command for several VMs the
 * others are served, and it ends with the refusal.
 */
#pragma once

#include <stddef.h>

#include "specs/base/error.h"

struct change;
struct cli;
struct project;
struct strings;
struct vm_desired;

struct protected_vms {
    size_t count;
    struct error refusal; /* of the last; those before it are printed */
};

/* Takes those out of `targets` that cannot be destroyed; or, of a project's VMs, not be recreated
 * as the VMFile has them. Opens the store. */
int protected_leave_out(struct cli *cli, const struct project *project, struct strings *targets,
    struct protected_vms *ret, struct error *err);

/* Counts the change in if `protect` refuses it. */
void protected_check(struct cli *cli, const struct vm_desired *desired, const struct change *change,
    struct protected_vms *ret);

/* What the command returns that would return `rc` without them: the refusal, unless there is a
 * failure already. */
int protected_end(
    const struct cli *cli, const struct protected_vms *vms, int rc, struct error *err);

/* SPDX-License-Identifier: MPL-2.0 */
/* Questions to the person at the terminal, before what cannot be undone. */
#pragma once

#include <stdbool.h>

struct cli;
struct error;
struct strings;

/* 0 for "y" or "yes"; for all else, the end of the input and Ctrl-C included, -ERR_CANCELLED. */
int confirm(const char *question, struct error *err);

/*
 * Lists the VMs whose disks will be erased, and asks. Does not ask, and returns 0, without a
 * terminal on stdin and stderr, or with `is_sure`. `is_kept`: a snapshot of each stays for a while.
 * Skips names without a VM and VMs that are being deleted. -ERR_CANCELLED; -ERR_VM_CONFLICT if a
 * name came to belong to another VM while it asked. Opens the store.
 */
int confirm_erasure(
    struct cli *cli, bool is_sure, bool is_kept, const struct strings *names, struct error *err);

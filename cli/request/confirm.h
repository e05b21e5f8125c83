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
 * Shows whose disks are about to be erased, and asks. Without a terminal on stdin and stderr, and
 * with `is_sure`, nobody is asked: 0. `is_kept`: a snapshot of each stays for a while. Names of no
 * VM, and of one that is being deleted already, are passed over. -ERR_CANCELLED; -ERR_VM_CONFLICT
 * when one of the names has become another VM's while the question stood. Opens the store.
 */
int confirm_erasure(
    struct cli *cli, bool is_sure, bool is_kept, const struct strings *names, struct error *err);

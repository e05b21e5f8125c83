/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Completion scripts for shells, generated from the table of commands (cli/cli.h), so that they
 * match this vmctl. They read the names of VMs when they need them: `vmctl list -o name`.
 */
#pragma once

#include <stdbool.h>

struct buf;

/* "bash", "zsh" or "fish"; false: no such shell. */
bool completion_add(struct buf *out, const char *shell);

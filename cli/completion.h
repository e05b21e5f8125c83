/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Completion scripts for shells, made from the table of commands (cli/cli.h), so that they know
 * what this vmctl knows. Names of VMs are asked for when they are needed: `vmctl list -o name`.
 */
#pragma once

#include <stdbool.h>

struct buf;

/* "bash", "zsh" or "fish"; false: no such shell. */
bool completion_add(struct buf *out, const char *shell);

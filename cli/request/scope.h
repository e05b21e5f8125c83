/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Names of VMs as the user writes them become those of the store: "web" is "shop/web" where a
 * project is given (--project, $VMCTL_PROJECT), or else the VMFile that the command would read has
 * one; "shop/web" means the same everywhere, and "local/web" a VM of this host
 * (cli/nodes/spread.h).
 */
#pragma once

#include <stdbool.h>

struct arg_strings;
struct cli;
struct command;
struct error;

/* Takes over --project (NULL: not given), else $VMCTL_PROJECT: into cli->given, from where the
 * readers of the VMFile have it. -ERR_USAGE: it cannot be one. */
int scope_take_given(struct cli *cli, const char *project, struct error *err);

/* Returns whether --all includes the VM: with --project or $VMCTL_PROJECT only that project's VMs.
 */
bool scope_has(const struct cli *cli, const char *name);

/* *ret is the project, borrowed from `cli`; NULL: none. Read once, and only where it matters.
 * -ERR_USAGE: the VMFile is missing or invalid, and its VMs are of several projects;
 * -ERR_VMFILE_INVALID: it has no VMs yet, and names a project. */
int scope_find(
    struct cli *cli, const struct arg_strings *files, const char **ret, struct error *err);

/* *ret is the name in the store. free() it. As scope_find(). */
int scope_name(struct cli *cli, const struct arg_strings *files, const char *word, char **ret,
    struct error *err);

/* Does it to all words and values of options that name VMs. */
int scope_resolve(struct cli *cli, const struct command *command, void *values,
    struct arg_strings *words, struct error *err);

/* The values of the command's --file; NULL: it has none. */
const struct arg_strings *scope_files(const struct command *command, const void *values);

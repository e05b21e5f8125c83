/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Resolves the VMs of a command: the names given (positional arguments and --name), --all, else
 * those of the VMFile. An unknown name is an error that suggests the nearest known one.
 */
#pragma once

#include "specs/base/strings.h"

struct arg_strings;
struct cli;
struct error;
struct project;
struct selector;
struct which_values;

/*
 * The names given, each of which must be among `known`; all of these when none is given. `where` is
 * what knows them ("VMFile 'x'"), NULL for the store. Pure. -ERR_VM_NOT_FOUND; -ERR_USAGE for names
 * together with --all.
 */
int targets_choose(const struct strings *known, const struct which_values *which,
    const struct arg_strings *words, const char *where, struct strings *ret, struct error *err);

/* That of --selector; one without requirements where there is none. -ERR_USAGE: it is not valid, or
 * VMs are named, too. selector_clear() it. */
int targets_selector(const struct which_values *which, const struct arg_strings *words,
    struct selector *ret, struct error *err);

/* Keeps those of the store's VMs that --selector wants; without one all. -ERR_VM_NOT_FOUND when
 * none of them is left. Opens the store. */
int targets_narrow(
    struct cli *cli, const struct which_values *which, struct strings *targets, struct error *err);

/* All names in the store, sorted. */
int targets_of_store(struct cli *cli, struct strings *ret, struct error *err);

/* Of these the ones of the project that --project or $VMCTL_PROJECT gives: what --all means. */
int targets_in_scope(struct cli *cli, struct strings *ret, struct error *err);

/* The names in the store that come from the VMFile at `path` and are not being deleted. */
int targets_of_source(struct cli *cli, const char *path, struct strings *ret, struct error *err);

/* Loads the VMFile. If it is missing or invalid but VMs came from it, prints a note and uses those
 * VMs: ret->file stays NULL. `ret_recalled` are those VMs in any case. */
int targets_load_or_recall(struct cli *cli, const struct arg_strings *files, struct project *ret,
    struct strings *ret_recalled, struct error *err);

/* The names given, one or more: whatever else is in the store costs nothing where all of them
 * exist. Errors as those of targets_choose(). Opens the store. */
int targets_find_named(struct cli *cli, const struct which_values *which,
    const struct arg_strings *words, struct strings *ret, struct error *err);

/* Of the VMs of a VMFile. */
int targets_of_project(const struct project *project, const struct which_values *which,
    const struct arg_strings *words, struct strings *ret, struct error *err);

/* Adds what those of the project depend on, and so on, after them. */
void targets_add_dependencies(const struct project *project, struct strings *targets);

/* For commands that work from the store; without any name those of the VMFile that exist, with a
 * selector and without a VMFile those of the store. Returns as project_load() does. */
int targets_find(struct cli *cli, const struct which_values *which, const struct arg_strings *words,
    struct strings *ret, struct error *err);

/* For read-only commands: works without a VMFile, too, and then chooses all VMs. */
int targets_find_or_all(struct cli *cli, const struct which_values *which,
    const struct arg_strings *words, struct strings *ret, struct error *err);

/* For commands that mean one VM: the name given, else the VMFile's only one. Opens the store and
 * returns as project_load() does. free() *ret. */
int targets_find_one(struct cli *cli, const struct which_values *which, const char *word,
    char **ret, struct error *err);

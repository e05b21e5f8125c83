/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Bringing a VMFile's VMs into the store: what `up`, `apply`, `reload` and `provision` share. Reads
 * the file and the files it names, and what is known of its VMs; the command then says what else it
 * wishes of each and hands the ask to vm_request_run().
 */
#pragma once

#include "cli/request/project.h"
#include "cli/request/vm_request.h"
#include "cli/request/targets.h"
#include "specs/vm/source_record.h"
#include "specs/vm/spec_diff.h"
#include "store/store.h"

struct arg_strings;
struct follow_values;
struct which_values;

struct project_request {
    bool wants_dependencies; /* set before project_request_prepare(): also what the VMs named depend on */
    bool is_dry_run;         /* what is told has not been done */
    struct project project;
    struct targets targets;
    size_t n_named; /* of the targets; the others, behind them, are what they depend on */
    struct request request;             /* wishes with name, spec and source */
    struct vm_record *records;  /* before the wish, one for each */
    struct spec_diff *pending;  /* what disk and instance do not have of the new spec */
    struct source_record *registration; /* the VMFile is to be watched like this; NULL: not asked */
    char digest[DIGEST_SIZE];   /* of the VMFile and what it names, when all its VMs are meant */
    struct store *store;
    struct change_extra extra;
};

/* Returns as project_load() does; project_request_clear() it in any case. */
int project_request_prepare(struct cli *cli, struct project_request *project_request, const struct which_values *which,
    const struct arg_strings *words, struct error *err);
void project_request_clear(struct project_request *project_request);

/* The VMFile is registered to be watched in the transaction of the wishes, all of which must be
 * meant: -ERR_USAGE. */
int project_request_watch(
    struct project_request *project_request, enum source_prune prune, bool starts_new, struct error *err);

/* Destroys what the file no longer names, if asked for, then does as vm_request_run() does, and tells
 * that the file is watched now. */
int project_request_run(struct cli *cli, struct project_request *project_request, enum source_prune prune,
    const struct follow_values *follow, struct error *err);

/* A process of the VM exists, or is about to. */
bool project_request_has_instance(const struct project_request *project_request, size_t i);

/* Whether its machine lacks something that it only gets by being started anew. */
bool project_request_needs_restart(const struct project_request *project_request, size_t i);

/* Whether the VM's disk is of another image than its spec's, by name or by content. */
bool project_request_needs_new_disk(const struct project_request *project_request, size_t i);

/* Tells what the wishes would do, and writes nothing. */
int project_request_plan(struct cli *cli, struct project_request *project_request, struct error *err);

/* Waits until those of the VMs that are being deleted are gone, so that they can be made anew. */
int project_request_await_deletions(
    struct cli *cli, const struct project_request *project_request, int64_t timeout_ms, struct error *err);

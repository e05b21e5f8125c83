/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Writing a VMFile's VMs into the store and following them: `up`, `apply`, `reload` and
 * `provision`, which differ by what they change of each VM (struct project_action) and by the
 * options they have.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/options.h"
#include "cli/wait/goal.h"
#include "specs/vm/source_record.h"
#include "store/desired/change.h"

struct cli;
struct error;

/* The options; each command has a table with some of them. */
struct project_values {
    struct which_values which;
    struct follow_values follow;
    const char *prune; /* see prune_parse() */
    uint32_t from;     /* the provision step to begin with, from 1; 0: the first */
    bool skips_provision;
    bool is_cold;        /* new disks are made from the image, whatever `warm` says */
    bool restarts;       /* the VMs named whose changes need it */
    bool recreates;      /* likewise */
    bool erases_at_once; /* nothing is kept of the old disk */
    bool adopts;
    bool watches;
    bool is_alone; /* without what the VMs named depend on */
    bool is_dry_run;
    bool is_sure;     /* see confirm_erasure() */
    bool opens_shell; /* of `provision`: in the guest, where a step failed */
};
extern const struct project_values project_defaults;

struct project_action {
    bool starts; /* the VMs are to run, now and when a watched VMFile names new ones */
    bool retries;
    bool recreates; /* the VMs that exist get new disks, whether or not they need them */
    enum change_provision provision; /* without --no-provision */
    struct goal goal;
    bool ignores_skipped; /* with --no-provision, steps that failed before do not fail the goal */
    bool ignores_failed;  /* nor do they without it, of a VM whose steps had failed */
    bool prunes;          /* VMs that the file no longer names are reported, or go (--prune) */
    bool brings_dependencies;
    bool awaits_deletions; /* VMs that are being deleted are created again once they are gone */
    const char *done;      /* "provisioned": printed for each VM in the end; NULL: nothing */
    /* Whether the change is possible for this VM; NULL: always. */
    int (*check)(const struct cli *cli, const struct vm_record *record, const struct change *change,
        struct error *err);
};

/* Returns what run() of a command is to return. */
int project_request_run(struct cli *cli, const struct project_action *action,
    const struct project_values *values, const struct arg_strings *words, struct error *err);

/* The value of --prune: NULL (not given) is nothing, "" is destroy. -ERR_USAGE. */
int prune_parse(const char *text, enum source_prune *ret, struct error *err);

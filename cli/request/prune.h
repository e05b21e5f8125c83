/* SPDX-License-Identifier: MPL-2.0 */
/* VMs that a VMFile no longer names: they keep running and are reported, or removed on request. */
#pragma once

#include <stdbool.h>

#include "specs/vm/source_record.h"

struct cli;
struct error;
struct project;

/* The value of --prune: NULL (not given) is nothing, "" is destroy. -ERR_USAGE. */
int prune_parse(const char *text, enum source_prune *ret, struct error *err);

/* Notes each on stderr; or asks for their end, or their deletion, and says so. */
int prune_removed(struct cli *cli, const struct project *project, enum source_prune prune,
    struct error *err);

/* Tells which would be, and writes nothing. */
int prune_plan(struct cli *cli, const struct project *project, enum source_prune prune,
    struct error *err);

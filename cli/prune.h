/* SPDX-License-Identifier: MPL-2.0 */
/* VMs that a VMFile no longer names: they keep running and are reported, or removed on request. */
#pragma once

#include <stdbool.h>

struct cli;
struct error;
struct project;

/* Notes each on stderr; with `destroys` asks for their deletion instead and says so. */
int prune_removed(
    struct cli *cli, const struct project *project, bool destroys, struct error *err);

/* Tells which would be destroyed, and writes nothing. */
int prune_plan(struct cli *cli, const struct project *project, struct error *err);

/* SPDX-License-Identifier: MPL-2.0 */
/* Files that another host has sent for its VMs here, in folders of the data directory: DIR/X/NAME.
 * Each is kept while a VM's record names it, and a day after it was last sent. */
#pragma once

#include "specs/base/text.h"

struct error;
struct paths;
struct store;

/* Writes `name`, "X/NAME", below `dir`, unless it is there as it is to be. Killed anywhere, the
 * file is the old or the new one. */
int kept_file_write(
    const char *dir, const char *name, unsigned mode, struct bytes bytes, struct error *err);

/* Removes what no VM names any more of DATA/`within`. Errors cost a delay. */
void kept_files_sweep(const struct paths *paths, struct store *store, const char *within);

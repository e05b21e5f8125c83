/* SPDX-License-Identifier: MPL-2.0 */
/* Files that another host sent for its VMs on this one, stored in the data directory as DIR/X/NAME.
 * A file is kept while a VM's record names it, and for a day after it was last sent. */
#pragma once

#include "specs/base/text.h"

struct error;
struct paths;
struct store;

/* Writes `name`, "X/NAME", below `dir`, unless it has that content and mode already. Killed
 * anywhere, the file is the old or the new one. */
int kept_file_write(
    const char *dir, const char *name, unsigned mode, struct bytes bytes, struct error *err);

/* Removes the files of DATA/`within` that no VM names any more. Errors only delay it. */
void kept_files_sweep(const struct paths *paths, struct store *store, const char *within);

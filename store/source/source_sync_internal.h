/* SPDX-License-Identifier: MPL-2.0 */
/* Shared by source_sync.c (one VMFile) and source_sync_dir.c (a directory of them). */
#pragma once

#include "store/source/source_sync.h"

/* One try at one source; made anew when somebody else wrote its record meanwhile. */
struct sync {
    struct store *store;
    const struct source_sync_ask *ask;
    struct source_sync *out;
    const struct source_record *before; /* the record as it was read */
};

/* Writes `after` (NULL: removes the record) if it differs; -ERR_STORE_STALE: read again. */
int sync_write(struct sync *sync, const struct source_record *after, struct error *err);

/* The directory is listed: its VMFiles have records, with its options. */
int sync_directory(struct sync *sync, struct error *err);

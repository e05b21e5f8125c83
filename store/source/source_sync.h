/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Syncs the desired records with a watched VMFile, once: reads the record, the file and the files
 * it names, compares, and writes changes and record in one transaction. The caller decides when,
 * and how long a file may be broken or missing before that is recorded.
 *
 * Level-triggered: it depends only on the stored records and the files, so it can be killed
 * anywhere and repeated. Killed before the commit: the next call finds the same difference. After
 * it: the next call finds none. Blocks; callable from any thread.
 */
#pragma once

#include <stdbool.h>

#include "specs/base/digest.h"
#include "specs/base/strings.h"
#include "specs/vm/source_record.h"

struct error;
struct store;

struct source_sync_ask {
    const char *path;
    const struct strings *named; /* what the last call found named */
    const char
        *stamp;    /* from the last call: if it is unchanged, nothing is read; "": always read */
    bool is_early; /* the last write was a moment ago: treats a file that may be half saved as
                      broken, as more may follow */
    bool reports_broken; /* a broken file is recorded as broken; else only reported */
    bool reports_gone;   /* the same for a missing one */
    bool may_prune;      /* VMs that the file no longer names are pruned, if requested */
};

enum source_finding {
    SOURCE_FOUND_SAME,      /* the stamp is unchanged: nothing was read */
    SOURCE_FOUND_SETTLED,   /* the record is up to date */
    SOURCE_FOUND_BROKEN,    /* the file is broken, or may be half saved; not recorded */
    SOURCE_FOUND_GONE,      /* likewise */
    SOURCE_FOUND_TO_PRUNE,  /* up to date, except for VMs that `may_prune` would remove */
    SOURCE_FOUND_UNWATCHED, /* there is no such record (any more) */
    SOURCE_FINDING_COUNT_
};

struct source_sync {
    enum source_finding finding;
    enum source_state state; /* of the record as it is now */
    bool is_failing;         /* the record's state is a failure, which may pass by itself */
    char stamp[DIGEST_SIZE]; /* for the next call; "" when a change may go unnoticed by it */
    char record_digest[DIGEST_SIZE]; /* of the record as it is now */
    struct strings named;            /* all files the VMFile names: those to watch besides it */
    struct strings vms;              /* VMs whose status may have to change */
};

/* Fails only if the store cannot be read or written. The caller clears the result with
 * source_sync_clear(). */
int source_sync(struct store *store, const struct source_sync_ask *ask, struct source_sync *ret,
    struct error *err);
void source_sync_clear(struct source_sync *sync);

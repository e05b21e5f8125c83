/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Bringing the desired records in line with a watched VMFile, once: read the record, read the file
 * and the files it names, compare, and write changes and record in one transaction. The caller
 * decides when, and how long a file may be broken or missing before that is written down.
 *
 * Level-triggered: it looks at what is stored and what is on disk and at nothing else, so it may be
 * killed anywhere and called any number of times. Killed before the commit: nothing happened, the
 * next call finds the same difference. After it: the next call finds none. Blocks; any thread.
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
    const char *stamp; /* of the last call: nothing is read when it is the same; "" reads */
    bool is_early;     /* the last write to it is a moment ago: what may be half of a save is found
                        * broken, as more may follow */
    bool reports_broken; /* a broken file is written down as such; else only found */
    bool reports_gone;   /* the same for a missing one */
    bool may_prune;      /* VMs the file no longer names are pruned, if that was asked for */
};

enum source_finding {
    SOURCE_FOUND_SAME,      /* by the stamp: nothing was read */
    SOURCE_FOUND_SETTLED,   /* the record says how things are */
    SOURCE_FOUND_BROKEN,    /* it is, or may be half of a save, and that was not written down */
    SOURCE_FOUND_GONE,      /* likewise */
    SOURCE_FOUND_TO_PRUNE,  /* in step, but for what `may_prune` would remove */
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
    struct strings vms;              /* whose status may have to say something else now */
};

/* A store that cannot be read or written is the only error. source_sync_clear() the result. */
int source_sync(struct store *store, const struct source_sync_ask *ask, struct source_sync *ret,
    struct error *err);
void source_sync_clear(struct source_sync *sync);

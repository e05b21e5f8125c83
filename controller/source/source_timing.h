/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Decides when a watched VMFile is read, and when it counts as broken or missing. Pure; times are
 * the loop's milliseconds.
 *
 *   a save          at once when what wrote the file has closed or renamed it; else, and after what
 *                   that early look could not take for the whole of a save (source_sync.h), 100 ms
 *                   after its last event, at the latest 1 s after the first
 *   broken          looked at 4 times more, 250 ms apart, then it is called broken
 *   missing         2 s (git checkout, some editors), then it is called missing
 *   VMs to prune    the file must say so for 2 s
 *   failing store   1, 2, 4 … 30 s
 *   otherwise       every 30 s, for what no event reports; every 2 s where there are no events
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/source/source_sync.h"

struct source_timing {
    int64_t due_ms;         /* look then */
    int64_t first_event_ms; /* of the save under way; 0: none */
    int64_t saved_ms;       /* when the last one ended */
    bool is_saved;          /* the last event ended a save; the file is read at once */
    bool is_early;          /* so was the last look */
    int64_t gone_since_ms;  /* 0: it was there when last looked for */
    int64_t prune_since_ms; /* 0: nothing to prune */
    uint32_t broken_looks;
    uint32_t failures;
};

/* Look now. */
void source_timing_init(struct source_timing *timing, int64_t now_ms);
/* Call on an event of the file, or of a file that it names. */
void source_timing_event(struct source_timing *timing, bool is_saved, int64_t now_ms);

/* What the next look may do: see struct source_sync_ask. */
bool source_timing_reports_broken(const struct source_timing *timing);
bool source_timing_reports_gone(const struct source_timing *timing, int64_t now_ms);
bool source_timing_may_prune(const struct source_timing *timing, int64_t now_ms);

/* A look begins: an event from here on is of another save. */
void source_timing_begin(struct source_timing *timing);
/* What it found; an event since it began keeps its own, earlier time. */
void source_timing_found(
    struct source_timing *timing, enum source_finding finding, bool needs_polling, int64_t now_ms);
void source_timing_failed(struct source_timing *timing, int64_t now_ms);

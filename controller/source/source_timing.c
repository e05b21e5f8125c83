/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/source/source_timing.h"

#include "controller/queue/backoff.h"

enum {
    QUIET_MS = 100,
    SAVE_MAX_MS = 1000,
    BROKEN_MS = 250,
    BROKEN_LOOKS = 4,
    GONE_MS = 2000,
    PRUNE_MS = 2000,
    POLL_MS = 2000,
    IDLE_MS = 30 * 1000,
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void source_timing_init(struct source_timing *timing, int64_t now_ms)
{
    *timing = (struct source_timing){.due_ms = now_ms, .saved_ms = now_ms - QUIET_MS};
}

void source_timing_event(struct source_timing *timing, bool is_saved, int64_t now_ms)
{
    if (timing->first_event_ms == 0) {
        timing->first_event_ms = now_ms;
    }
    /* One that comes soon after another is one of several, whose end is waited for. */
    bool is_alone = timing->is_saved || now_ms - timing->saved_ms >= QUIET_MS;
    timing->is_saved = is_saved && is_alone;
    timing->saved_ms = is_saved ? now_ms : timing->saved_ms;
    timing->due_ms =
        timing->is_saved ? now_ms : least(now_ms + QUIET_MS, timing->first_event_ms + SAVE_MAX_MS);
    timing->broken_looks = 0;
    timing->prune_since_ms = 0;
}

bool source_timing_reports_broken(const struct source_timing *timing)
{
    return timing->broken_looks >= BROKEN_LOOKS;
}

bool source_timing_reports_gone(const struct source_timing *timing, int64_t now_ms)
{
    return timing->gone_since_ms > 0 && now_ms - timing->gone_since_ms >= GONE_MS;
}

bool source_timing_may_prune(const struct source_timing *timing, int64_t now_ms)
{
    return timing->prune_since_ms > 0 && now_ms - timing->prune_since_ms >= PRUNE_MS;
}

void source_timing_begin(struct source_timing *timing)
{
    timing->first_event_ms = 0;
    timing->is_early = timing->is_saved;
    timing->is_saved = false;
}

static int64_t since(int64_t before_ms, bool is_so, int64_t now_ms)
{
    return !is_so ? 0 : before_ms > 0 ? before_ms : now_ms;
}

static int64_t next_look(const struct source_timing *timing, enum source_finding finding,
    bool needs_polling, int64_t now_ms)
{
    switch (finding) {
    case SOURCE_FOUND_BROKEN:
        return now_ms + (timing->is_early ? QUIET_MS : BROKEN_MS);
    case SOURCE_FOUND_GONE:
        return timing->gone_since_ms + GONE_MS;
    case SOURCE_FOUND_TO_PRUNE:
        return timing->prune_since_ms + PRUNE_MS;
    default:
        return now_ms + (needs_polling ? POLL_MS : IDLE_MS);
    }
}

static void set_due(struct source_timing *timing, int64_t due_ms)
{
    timing->due_ms = timing->first_event_ms > 0 ? least(timing->due_ms, due_ms) : due_ms;
}

void source_timing_found(
    struct source_timing *timing, enum source_finding finding, bool needs_polling, int64_t now_ms)
{
    /* What was written down stays written down, until the file is found otherwise. */
    timing->broken_looks =
        finding == SOURCE_FOUND_BROKEN ? timing->broken_looks + !timing->is_early : 0;
    timing->gone_since_ms = since(timing->gone_since_ms, finding == SOURCE_FOUND_GONE, now_ms);
    timing->prune_since_ms =
        since(timing->prune_since_ms, finding == SOURCE_FOUND_TO_PRUNE, now_ms);
    timing->failures = 0;
    set_due(timing, next_look(timing, finding, needs_polling, now_ms));
}

void source_timing_failed(struct source_timing *timing, int64_t now_ms)
{
    set_due(timing, now_ms + backoff_delay_ms(&backoff_source, ++timing->failures, 0));
}

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * For vmctld as PID 1 of a container (or a child subreaper): orphans of the whole container become
 * its children, and nobody else reaps them. Its own children are reaped by who started them; so a
 * zombie is an orphan when it is still there GRACE later.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct orphan_reaper;

/* Whether orphans come to this process: PID 1, or PR_SET_CHILD_SUBREAPER (prctl(2)). */
bool orphan_reaper_is_needed(void);

struct orphan_reaper *orphan_reaper_new(struct loop *loop, int64_t grace_ms);
/* A child died: call it on SIGCHLD. Looks `grace_ms` later, and again while there are zombies. */
void orphan_reaper_look(struct orphan_reaper *reaper);
void orphan_reaper_free(struct orphan_reaper *reaper); /* NULL is fine */

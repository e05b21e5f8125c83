/* SPDX-License-Identifier: MPL-2.0 */
/*
 * For vmctld as PID 1 of a container (or a child subreaper): orphans of the whole container become
 * its children, and no other process reaps them. Code that starts a child reaps it; so a zombie
 * that still exists GRACE later is an orphan.
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

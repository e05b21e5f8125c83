/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Watch mode, the reconciler of KEY_SOURCE: keeps the desired records in step with the VMFiles that
 * are registered in the store's sources table, and with the files these name. What a check does is
 * store/source/source_sync.h; here is when: after saves, after changes of the registration, at the
 * start, and now and then (source_timing.h).
 *
 *   sources table --list--> one key a file --due--> source_sync() on a pool thread
 *                                ^                        |
 *        inotify (dir_watch.h) --+----- what to watch ----+--> wake(VM) for each VM of the file
 *
 * A pass over a key that is not due yet returns the rest of the wait, so a key may be woken at any
 * time, and a lost wake costs a delay. source_sync() commits by itself, because what it writes
 * follows from files that only a pool thread may read: the patches are empty. Nothing here needs to
 * survive: all is found again from the table and the disk.
 */
#pragma once

struct reconciler;
struct reconciler_host;

/* `host` is borrowed and outlives it. Freed by its own free(): a check under way on a pool thread
 * then ends by itself. */
struct reconciler *source_watch_new(struct reconciler_host *host);

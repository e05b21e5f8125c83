/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Watches the desired doorbell and finds the VMs it was rung for: those whose desired record has
 * another revision than at the last scan. A ring that none of them explains is for what all of them
 * may depend on, such as a VMFile that is watched no longer, or for an `up` that found nothing to
 * change and wants the machines checked: then every VM counts as changed.
 *
 * `scanned` is called after each scan, for what the bell also rings for: watched VMFiles and
 * requests for images.
 *
 * Where inotify is exhausted it scans once a second instead.
 */
#pragma once

#include <stdbool.h>

struct desired_watch;
struct error;
struct loop;
struct paths;
struct store;

/* Called for every VM of either table, and once more for a VM that is gone (`is_changed`); after a
 * ring that was for some of them, only for those. */
typedef void desired_seen_fn(void *context, const char *name, bool is_changed);
typedef void desired_scanned_fn(void *context);

/* Arms the bell; call desired_watch_scan() next: armed first, nothing can be missed. */
struct desired_watch *desired_watch_new(struct loop *loop, const struct paths *paths,
    struct store *store, desired_seen_fn *seen, desired_scanned_fn *scanned, void *context);
int desired_watch_scan(struct desired_watch *watch, struct error *err);
void desired_watch_free(struct desired_watch *watch); /* NULL is fine */

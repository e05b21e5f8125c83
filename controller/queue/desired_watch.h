/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Watches the desired doorbell and finds the VMs it was rung for, by comparing what `list` would
 * show now with what it showed last. A ring after which nothing is seen to have changed was for
 * something the summaries do not show, such as a stop timeout: then every VM counts as changed.
 *
 * `scanned` is called after each look, for what the bell also rings for: watched VMFiles and
 * requests for images.
 *
 * Where inotify is exhausted it looks once a second instead.
 */
#pragma once

#include <stdbool.h>

struct desired_watch;
struct error;
struct loop;
struct paths;
struct store;

/* Called for every VM of either table, and once more for one that is gone (`is_changed`). */
typedef void desired_seen_fn(void *context, const char *name, bool is_changed);
typedef void desired_scanned_fn(void *context);

/* Arms the bell; call desired_watch_scan() next: armed first, nothing can be missed. */
struct desired_watch *desired_watch_new(struct loop *loop, const struct paths *paths,
    struct store *store, desired_seen_fn *seen, desired_scanned_fn *scanned, void *context);
int desired_watch_scan(struct desired_watch *watch, struct error *err);
void desired_watch_free(struct desired_watch *watch); /* NULL is fine */

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Watches the entries of a set of directories (inotify(7)). Saves are reported by the
 * events that end them; a write still under way is not reported. Events are hints: after lost ones,
 * or when a directory goes, everything of it counts as changed.
 */
#pragma once

#include <stdbool.h>

struct dir_watch;
struct loop;
struct strings;

/* Something happened to `name` in `directory`; NULL: to anything in it; both NULL: anywhere.
 * `is_saved`: what wrote it has closed it, or has given another file this name. */
typedef void dir_watch_fn(void *context, const char *directory, const char *name, bool is_saved);

/* Never fails: without inotify (fs.inotify.max_user_instances) nothing is ever heard. */
struct dir_watch *dir_watch_new(struct loop *loop, dir_watch_fn *heard, void *context);
void dir_watch_free(struct dir_watch *watch); /* NULL is fine */

/*
 * These directories from now on. One that is newly watched, or is another directory than before, is
 * reported as if anything had happened in it: earlier events were missed. Directories that are
 * not there, or are too many (fs.inotify.max_user_watches), are left out.
 */
void dir_watch_set(struct dir_watch *watch, const struct strings *directories);

/* False when one of the directories asked for is not watched: poll instead. */
bool dir_watch_is_complete(const struct dir_watch *watch);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Watch mode: keeps the desired records in step with the VMFiles that are registered in the store's
 * sources table, and with the files these name. What a look does is store/source/source_sync.h;
 * here is when: after saves, after changes of the registration, at the start, and now and then.
 *
 *   sources table --scan--> one entry a file --due--> source_sync() on a pool thread
 *                                ^                        |
 *        inotify (dir_watch.h) --+----- what to watch ----+--> wake(VM) for each VM of the file
 *
 * Nothing here needs to survive: all is found again from the table and the disk.
 */
#pragma once

struct loop;
struct pool;
struct source_watch;
struct store;

/* "The status of this VM may have to say something else": never called from inside a function of
 * this module. */
typedef void source_watch_wake_fn(void *context, const char *vm_name);

struct source_watch_options {
    struct loop *loop; /* all borrowed */
    struct pool *pool;
    struct store *store;
    source_watch_wake_fn *wake;
    void *context;
};

/* Does nothing before the first source_watch_scan(). */
struct source_watch *source_watch_new(const struct source_watch_options *options);

/* Takes in what is registered now; call it whenever the store may have changed. Also a reason to
 * try again what the store refused. */
void source_watch_scan(struct source_watch *watch);

/* What is under way on a pool thread ends by itself. NULL is fine. */
void source_watch_free(struct source_watch *watch);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Doorbells: notifications that something was committed. A bell is a file whose times are set
 * (futimens) after mdb_txn_commit() has returned; watchers hold an inotify watch on it. An inotify
 * watch on data.mdb itself would lose wake-ups: LMDB publishes the transaction after the file
 * event.
 *
 * Rule for both sides: the writer commits, then rings; the watcher arms, then reads, then sleeps.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct error;
struct paths;

enum bell {
    BELL_DESIRED, /* rung by CLIs and the VMFile watcher, watched by the controller */
    BELL_STATUS,  /* rung by the controller, watched by waiting commands */
};

/* Makes the file when it is missing. Failure means a delay for watchers, never a lost write. */
int bell_ring(const struct paths *paths, enum bell bell, struct error *err);

struct bell_watch {
    int fd; /* readable when the bell was rung; O_CLOEXEC|O_NONBLOCK */
    int wd; /* the rest is bell.c's own: which file is watched, to notice that it was replaced */
    char *path;
    dev_t device;
    ino_t inode;
};
/* Fails with ERR_IO when inotify is exhausted (fs.inotify.max_user_instances): poll instead. */
int bell_watch_open(
    struct bell_watch *watch, const struct paths *paths, enum bell bell, struct error *err);
bool bell_watch_drain(struct bell_watch *watch); /* true: it was rung since the last drain */
/* Fine on a watch already closed, or never opened with fd at -1. */
void bell_watch_close(struct bell_watch *watch);

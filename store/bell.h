/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Doorbells: notifications that something was committed, rung after mdb_txn_commit() has returned.
 * An inotify watch on data.mdb itself would lose wake-ups: LMDB publishes the transaction after the
 * file event.
 *
 *   BELL_DESIRED is a file whose times are set (futimens), watched by inotify(7): also its removal
 *     is noticed, and the controller hears nothing else for minutes;
 *   the others are FIFOs, a byte written to one an edge for each epoll(7) instance: many commands
 *     watch it for a moment each, and the end of an inotify instance waits for the kernel, up to
 *     25 ms. That it was removed or replaced shows at the next drain.
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
    BELL_FLEET,   /* rung by the writer of a request to other nodes, watched by the messenger that
                     executes it */
};

/* Creates the file if it is missing. Failure delays watchers; it never loses a write. */
int bell_ring(const struct paths *paths, enum bell bell, struct error *err);

struct bell_watch {
    int fd; /* readable when the bell was rung; O_CLOEXEC */
    /* Private to bell.c: identifies the watched file, to notice that it was replaced. */
    enum bell bell;
    int armed; /* the inotify watch, or the FIFO's descriptor; -1: none */
    char *path;
    dev_t device;
    ino_t inode;
};
/* Fails with ERR_IO when inotify (fs.inotify.max_user_instances) or the descriptors are exhausted:
 * poll instead. */
int bell_watch_open(
    struct bell_watch *watch, const struct paths *paths, enum bell bell, struct error *err);
/* True if it was rung since the last drain, or may have been. */
bool bell_watch_drain(struct bell_watch *watch);
/* Safe on a watch that is closed already, or was never opened and has fd -1. */
void bell_watch_close(struct bell_watch *watch);

/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/source/dir_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"

/* No IN_MODIFY: a save is over with IN_CLOSE_WRITE, or with the rename. */
enum {
    MASK = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_DELETE_SELF |
           IN_MOVE_SELF | IN_ONLYDIR
};

/* Two paths of one directory (bind mounts) have the same wd: the kernel watches inodes. */
struct watched_dir {
    char *path;
    int wd;
};

struct dir_watch {
    dir_watch_fn *heard;
    void *context;
    int fd; /* -1: no inotify */
    struct loop_io *io;
    struct watched_dir *dirs;
    size_t count;
    bool is_complete;
};

/* ---- events ---- */

static void report_all_paths(struct dir_watch *watch, int wd, const char *name, bool is_saved)
{
    for (size_t i = 0; i < watch->count; i++) {
        if (watch->dirs[i].wd == wd) {
            watch->heard(watch->context, watch->dirs[i].path, name, is_saved);
        }
    }
}

/* The kernel gave the watch up (deleted, unmounted), or we do because the directory was moved away:
 * the next dir_watch_set() watches what is at its path then. */
static void lose(struct dir_watch *watch, int wd)
{
    for (size_t i = 0; i < watch->count; i++) {
        if (watch->dirs[i].wd == wd) {
            watch->dirs[i].wd = -1;
        }
    }
}

static void take_event(struct dir_watch *watch, const struct inotify_event *event)
{
    if (event->mask & IN_Q_OVERFLOW) {
        log_warn("controller", "file events were lost; checking every watched VMFile");
        watch->heard(watch->context, NULL, NULL, false);
        return;
    }
    bool is_over = event->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT);
    report_all_paths(watch, event->wd, event->len > 0 ? event->name : NULL,
        event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO));
    if (is_over) {
        lose(watch, event->wd);
        (void)inotify_rm_watch(watch->fd, event->wd); /* EINVAL: it is gone already */
    }
}

static void on_readable(void *context, int fd, unsigned ready)
{
    struct dir_watch *watch = context;
    char events[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)]
        __attribute__((aligned(__alignof__(struct inotify_event))));
    (void)ready;
    ssize_t n = read(fd, events, sizeof(events)); /* the rest at the next turn of the loop */
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *event = (const void *)(events + at);
        take_event(watch, event);
        at += (ssize_t)(sizeof(*event) + event->len);
    }
}

/* ---- the set ---- */

static struct watched_dir *dir_watch_find(const struct dir_watch *watch, const char *path)
{
    for (size_t i = 0; i < watch->count; i++) {
        if (strcmp(watch->dirs[i].path, path) == 0) {
            return &watch->dirs[i];
        }
    }
    return NULL;
}

static bool is_used(const struct dir_watch *watch, int wd)
{
    for (size_t i = 0; i < watch->count; i++) {
        if (watch->dirs[i].wd == wd) {
            return true;
        }
    }
    return false;
}

static void drop_unwanted(struct dir_watch *watch, const struct strings *directories)
{
    for (size_t i = 0; i < watch->count;) {
        if (strings_have(directories, watch->dirs[i].path)) {
            i++;
        } else {
            int wd = watch->dirs[i].wd;
            free(watch->dirs[i].path);
            watch->dirs[i] = watch->dirs[--watch->count];
            if (wd >= 0 && !is_used(watch, wd)) {
                (void)inotify_rm_watch(watch->fd, wd);
            }
        }
    }
}

/* Asked again of every one, which costs a path look-up: the answer is another wd when the path has
 * become another directory without our hearing of it, by a rename further up. */
static bool dir_watch_arm(struct dir_watch *watch, const char *path)
{
    int wd = inotify_add_watch(watch->fd, path, MASK);
    if (wd < 0) {
        if (watch->is_complete && errno != ENOENT) {
            log_debug("controller", "cannot watch '%s': %s", path, strerrordesc_np(errno));
        }
        watch->is_complete = false;
    }
    struct watched_dir *known = dir_watch_find(watch, path);
    if (!known) {
        mem_grow(watch->dirs, watch->count);
        known = &watch->dirs[watch->count++];
        *known = (struct watched_dir){.path = mem_strdup(path), .wd = -1};
    }
    int before = known->wd;
    known->wd = wd;
    if (before >= 0 && before != wd && !is_used(watch, before)) {
        (void)inotify_rm_watch(watch->fd, before);
    }
    return wd >= 0 && wd != before;
}

void dir_watch_set(struct dir_watch *watch, const struct strings *directories)
{
    if (watch->fd < 0) {
        return;
    }
    watch->is_complete = true;
    drop_unwanted(watch, directories);
    for (size_t i = 0; i < directories->count; i++) {
        if (dir_watch_arm(watch, directories->items[i])) {
            watch->heard(watch->context, directories->items[i], NULL, false);
        }
    }
}

bool dir_watch_is_complete(const struct dir_watch *watch)
{
    return watch->is_complete;
}

/* ---- life ---- */

struct dir_watch *dir_watch_new(struct loop *loop, dir_watch_fn *heard, void *context)
{
    struct dir_watch *watch = mem_new(struct dir_watch);
    watch->heard = heard;
    watch->context = context;
    watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch->fd < 0) {
        log_warn("controller", "no inotify (%s): checking watched VMFiles every two seconds",
            strerrordesc_np(errno));
        return watch;
    }
    watch->io = loop_io_new(loop, watch->fd, LOOP_READ, on_readable, watch);
    return watch;
}

void dir_watch_free(struct dir_watch *watch)
{
    if (!watch) {
        return;
    }
    loop_io_free(watch->io);
    cleanup_close_(&watch->fd);
    for (size_t i = 0; i < watch->count; i++) {
        free(watch->dirs[i].path);
    }
    free(watch->dirs);
    free(watch);
}

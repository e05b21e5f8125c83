/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/data_watch.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"

enum {
    /* inotify does not report everything: a parent that was moved, a file system unmounted. */
    CHECK_MS = 10 * 60 * 1000,
    POLL_MS = 5000, /* without inotify */
    /* A recursive deletion takes its time: what it means shows when it is through. */
    SETTLE_STEP_MS = 200,
    SETTLE_STEPS = 25,
    UNLINK_STEP_MS = 20, /* between the deletion of the lock table and that of the store */
    UNLINK_STEPS = 100,
};

/* What has to stay at its path. The descriptor is of the kind O_PATH: closing it gives up none of
 * the locks that LMDB holds on its file. */
struct watch_point {
    char *path;
    int fd;
};

enum { POINT_DATA, POINT_STORE, POINT_TABLE, POINT_COUNT_ };

struct data_watch {
    int *lock_fd; /* borrowed */
    char *lock_path, *vms_path;
    struct watch_point points[POINT_COUNT_];
    int inotify_fd;
    int table_wd; /* of the store's lock table; -1: not watched */
    bool is_table_written;
    struct loop_io *io; /* NULL: no inotify */
    struct loop_timer *timer;
    int n_settled; /* checks since the store was first found to be deleted */
    data_lost_fn *lost;
    void *context;
};

static bool is_at(int fd, const char *path)
{
    struct stat mine, now;
    return fstat(fd, &mine) == 0 && stat(path, &now) == 0 && now.st_dev == mine.st_dev &&
           now.st_ino == mine.st_ino;
}

static bool is_in_place(const struct watch_point *point)
{
    return point->fd < 0 || is_at(point->fd, point->path);
}

/* False when another vmctld has the lock file that is at the path now. Other causes, such as a full
 * disk, are none to give up for. */
static bool keep_lock(struct data_watch *watch)
{
    struct error err = {.code = ERR_NONE};
    int fd = -1;
    if (is_at(*watch->lock_fd, watch->lock_path)) {
        return true;
    }
    int rc = lockfile_take(watch->lock_path, &fd, &err);
    if (rc < 0) {
        log_warn("controller", "%s", err.message);
        return rc != -ERR_VM_CONFLICT;
    }
    log_warn("controller", "'%s' was removed; vmctld recreates and locks it", watch->lock_path);
    cleanup_close_(watch->lock_fd);
    *watch->lock_fd = fd;
    return true;
}

/* The store is not at its path any more. A recursive deletion is checked until it has ended. */
static enum data_loss find_cause(struct data_watch *watch)
{
    struct stat store;
    bool is_linked = fstat(watch->points[POINT_STORE].fd, &store) == 0 && store.st_nlink > 0;
    if (is_linked) {
        return is_in_place(&watch->points[POINT_DATA]) ? DATA_STORE_REPLACED : DATA_MOVED;
    }
    if (!fs_exists(watch->vms_path)) {
        return DATA_DELETED;
    }
    return watch->n_settled++ < SETTLE_STEPS ? DATA_KEPT : DATA_STORE_REPLACED;
}

/* False: only the lock table was deleted. A recursive deletion may take it before the store, and
 * must not be mistaken for that. The loop is blocked on purpose: once the table is gone the next
 * program makes a new one, and whatever this process wrote would race with it. */
static bool is_store_deleted_too(const struct data_watch *watch)
{
    const struct timespec step = {.tv_nsec = UNLINK_STEP_MS * 1000L * 1000L};
    for (int i = 0; i < UNLINK_STEPS && is_in_place(&watch->points[POINT_STORE]); i++) {
        (void)nanosleep(&step, NULL);
    }
    return !is_in_place(&watch->points[POINT_STORE]);
}

static void data_watch_check(void *context)
{
    struct data_watch *watch = context;
    enum data_loss loss = DATA_KEPT;
    bool has_table = is_in_place(&watch->points[POINT_TABLE]);
    if (!is_in_place(&watch->points[POINT_STORE]) || (!has_table && is_store_deleted_too(watch))) {
        loss = find_cause(watch);
    } else if (watch->is_table_written || !has_table) {
        loss = DATA_STORE_TAMPERED;
    } else if (!keep_lock(watch)) {
        loss = DATA_LOCK_TAKEN;
    }
    if (loss == DATA_KEPT) {
        loop_timer_start(watch->timer, watch->n_settled > 0 ? SETTLE_STEP_MS
                                       : watch->io          ? CHECK_MS
                                                            : POLL_MS);
        return;
    }
    loop_io_free(TAKE_PTR(watch->io));
    loop_timer_stop(watch->timer);
    watch->lost(watch->context, loss);
}

static void on_event(void *context, int fd, unsigned ready)
{
    struct data_watch *watch = context;
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;
    (void)ready;
    while ((n = read(fd, events, sizeof(events))) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const void *)(events + at);
            watch->is_table_written |= event->wd == watch->table_wd && (event->mask & IN_MODIFY);
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    }
    data_watch_check(watch);
}

/* LMDB changes its lock table through a map, which causes no event: what does is another program.
 */
static void start_events(struct data_watch *watch, const char *store_dir)
{
    static const uint32_t removals =
        IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF;
    watch->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch->inotify_fd < 0) {
        return;
    }
    (void)inotify_add_watch(watch->inotify_fd, watch->points[POINT_DATA].path, removals);
    (void)inotify_add_watch(watch->inotify_fd, store_dir, removals);
    watch->table_wd =
        inotify_add_watch(watch->inotify_fd, watch->points[POINT_TABLE].path, IN_MODIFY);
}

struct data_watch *data_watch_new(
    struct loop *loop, const struct paths *paths, int *lock_fd, data_lost_fn *lost, void *context)
{
    static const char *const files[] = {
        [POINT_DATA] = ".", [POINT_STORE] = "store/data.mdb", [POINT_TABLE] = "store/lock.mdb"};
    struct data_watch *watch = mem_new(struct data_watch);
    cleanup_free char *store_dir = paths_path(paths, "store");
    *watch = (struct data_watch){.lock_fd = lock_fd,
        .lock_path = paths_path(paths, "controller.lock"),
        .vms_path = paths_path(paths, "vms"),
        .table_wd = -1,
        .timer = loop_timer_new(loop, data_watch_check, watch),
        .lost = lost,
        .context = context};
    for (int i = 0; i < POINT_COUNT_; i++) {
        watch->points[i].path = paths_path(paths, files[i]);
        watch->points[i].fd = open(watch->points[i].path, O_PATH | O_CLOEXEC);
    }
    start_events(watch, store_dir);
    if (watch->inotify_fd >= 0) {
        watch->io = loop_io_new(loop, watch->inotify_fd, LOOP_READ, on_event, watch);
    }
    loop_timer_start(watch->timer, watch->io ? CHECK_MS : POLL_MS);
    return watch;
}

void data_watch_free(struct data_watch *watch)
{
    if (!watch) {
        return;
    }
    loop_io_free(watch->io);
    loop_timer_free(watch->timer);
    for (int i = 0; i < POINT_COUNT_; i++) {
        cleanup_close_(&watch->points[i].fd);
        free(watch->points[i].path);
    }
    cleanup_close_(&watch->inotify_fd);
    free(watch->lock_path);
    free(watch->vms_path);
    free(watch);
}

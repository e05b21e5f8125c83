/* SPDX-License-Identifier: MPL-2.0 */
#include "store/bell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"

static const char *const bell_files[] = {
    [BELL_DESIRED] = "desired.kick",
    [BELL_STATUS] = "status.bell",
    [BELL_FLEET] = "fleet.bell",
};

static bool is_fifo(enum bell bell)
{
    return bell != BELL_DESIRED;
}

/* O_RDWR: waits for no other end, and is never left without one (fifo(7)). A file of another kind,
 * as after a copy by a tool that knows no FIFOs, is replaced. */
static int open_fifo(const char *path, struct error *err)
{
    enum { ATTEMPTS = 3 };
    int failure = 0;
    for (int i = 0; i < ATTEMPTS && (failure == 0 || failure == ENOENT); i++) {
        struct stat file;
        cleanup_close int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
        failure = fd < 0 ? errno : 0;
        if (fd >= 0 && fstat(fd, &file) == 0 && S_ISFIFO(file.st_mode)) {
            return TAKE_FD(fd);
        }
        if (fd >= 0) {
            (void)unlink(path);
        }
        if ((fd >= 0 || failure == ENOENT) && mkfifo(path, 0600) < 0 && errno != EEXIST) {
            failure = errno;
        }
    }
    return error_set_errno(
        err, ERR_IO, failure ? failure : EEXIST, "cannot open the doorbell '%s'", path);
}

static int open_bell(const char *path, enum bell bell, struct error *err)
{
    if (is_fifo(bell)) {
        return open_fifo(path, err);
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, 0600);
    return fd >= 0 ? fd
                   : error_set_errno(err, ERR_IO, errno, "cannot open the doorbell '%s'", path);
}

/* Each write is an edge for every watcher. What it wrote stays in the FIFO, as a watcher whose edge
 * finds it empty is not woken (epoll(7)); only when it is full does what is oldest go. */
static bool ring_fifo(int fd)
{
    char oldest[4096];
    ssize_t n;
    while ((n = write(fd, "", 1)) < 0 && errno == EAGAIN) {
        if (read(fd, oldest, sizeof(oldest)) < 0 && errno != EAGAIN) {
            break;
        }
    }
    return n == 1;
}

int bell_ring(const struct paths *paths, enum bell bell, struct error *err)
{
    cleanup_free char *path = paths_path(paths, bell_files[bell]);
    cleanup_close int fd = open_bell(path, bell, err);
    if (fd < 0) {
        return fd;
    }
    bool is_rung = is_fifo(bell) ? ring_fifo(fd) : futimens(fd, NULL) == 0;
    return is_rung ? 0 : error_set_errno(err, ERR_IO, errno, "cannot ring the doorbell '%s'", path);
}

/* Starts to watch the open FIFO; the edge of what is in it already is taken off. */
static int arm_fifo(struct bell_watch *watch, int *fd_take)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    if (epoll_ctl(watch->fd, EPOLL_CTL_ADD, *fd_take, &event) < 0) {
        return -1;
    }
    cleanup_close_(&watch->armed);
    watch->armed = TAKE_FD(*fd_take);
    (void)epoll_wait(watch->fd, &event, 1, 0);
    return 0;
}

/* IN_ATTRIB is what futimens(2) causes, and also what the loss of the last name causes, so that a
 * replaced file is noticed. */
static int arm_inotify(struct bell_watch *watch)
{
    int wd = inotify_add_watch(watch->fd, watch->path, IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF);
    if (wd >= 0 && watch->armed >= 0 && watch->armed != wd) {
        (void)inotify_rm_watch(watch->fd, watch->armed); /* EINVAL: the kernel dropped it itself */
    }
    watch->armed = wd >= 0 ? wd : watch->armed;
    return wd;
}

/* Watches the file that is at the path now. */
static int bell_arm(struct bell_watch *watch, struct error *err)
{
    struct stat file;
    cleanup_close int fd = open_bell(watch->path, watch->bell, err);
    if (fd < 0) {
        return fd;
    }
    if (fstat(fd, &file) < 0 ||
        (is_fifo(watch->bell) ? arm_fifo(watch, &fd) : arm_inotify(watch)) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot watch the doorbell '%s'", watch->path);
    }
    watch->device = file.st_dev;
    watch->inode = file.st_ino;
    return 0;
}

int bell_watch_open(
    struct bell_watch *watch, const struct paths *paths, enum bell bell, struct error *err)
{
    struct bell_watch opened = {.bell = bell, .armed = -1};
    opened.fd =
        is_fifo(bell) ? epoll_create1(EPOLL_CLOEXEC) : inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (opened.fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot create an %s instance",
            is_fifo(bell) ? "epoll" : "inotify");
    }
    opened.path = paths_path(paths, bell_files[bell]);
    if (bell_arm(&opened, err) < 0) {
        bell_watch_close(&opened);
        return -(int)err->code;
    }
    *watch = opened;
    return 0;
}

/* Any event but the end of a watch is a notification. The kernel ends it with the file, whose
 * number the next one may have. */
static bool read_inotify(struct bell_watch *watch)
{
    bool is_notified = false;
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;
    while ((n = read(watch->fd, events, sizeof(events))) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const void *)(events + at);
            bool is_end = event->mask & IN_IGNORED;
            is_notified = is_notified || !is_end;
            watch->armed = is_end && event->wd == watch->armed ? -1 : watch->armed;
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    }
    return is_notified;
}

bool bell_watch_drain(struct bell_watch *watch)
{
    struct stat file;
    struct epoll_event event;
    bool has_fifo = is_fifo(watch->bell);
    bool is_notified = has_fifo ? epoll_wait(watch->fd, &event, 1, 0) > 0 : read_inotify(watch);
    bool is_replaced = false;
    if (is_notified || has_fifo || watch->armed < 0) {
        is_replaced = watch->armed < 0 || stat(watch->path, &file) < 0 ||
                      file.st_dev != watch->device || file.st_ino != watch->inode;
    }
    if (is_replaced) {
        /* Notifications since then were lost; the caller reads the store after this. When arming
         * fails, the data directory is gone. */
        struct error ignored = {0};
        (void)bell_arm(watch, &ignored);
    }
    return is_notified || is_replaced;
}

void bell_watch_close(struct bell_watch *watch)
{
    if (is_fifo(watch->bell)) {
        cleanup_close_(&watch->armed);
    }
    cleanup_close_(&watch->fd);
    free(watch->path);
    *watch = (struct bell_watch){.fd = -1, .armed = -1};
}

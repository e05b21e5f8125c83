/* SPDX-License-Identifier: MPL-2.0 */
#include "store/bell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"

static const char *const bell_files[] = {
    [BELL_DESIRED] = "desired.kick",
    [BELL_STATUS] = "status.kick",
};

static int open_bell(const char *path, struct error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, 0600);
    return fd >= 0 ? fd
                   : error_set_errno(err, ERR_IO, errno, "cannot open the doorbell '%s'", path);
}

int bell_ring(const struct paths *paths, enum bell bell, struct error *err)
{
    cleanup_free char *path = paths_path(paths, bell_files[bell]);
    cleanup_close int fd = open_bell(path, err);
    if (fd < 0) {
        return fd;
    }
    if (futimens(fd, NULL) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot ring the doorbell '%s'", path);
    }
    return 0;
}

/* Watches the file that is at the path now. IN_ATTRIB is what futimens(2) causes, and also what the
 * loss of the last name causes, so that a replaced file is noticed. */
static int bell_arm(struct bell_watch *watch, struct error *err)
{
    struct stat file;
    cleanup_close int fd = open_bell(watch->path, err);
    if (fd < 0) {
        return fd;
    }
    int wd = inotify_add_watch(watch->fd, watch->path, IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF);
    if (wd < 0 || fstat(fd, &file) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot watch the doorbell '%s'", watch->path);
    }
    if (watch->wd >= 0 && watch->wd != wd) {
        (void)inotify_rm_watch(watch->fd, watch->wd); /* EINVAL: the kernel dropped it itself */
    }
    watch->wd = wd;
    watch->device = file.st_dev;
    watch->inode = file.st_ino;
    return 0;
}

int bell_watch_open(
    struct bell_watch *watch, const struct paths *paths, enum bell bell, struct error *err)
{
    struct bell_watch opened = {.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), .wd = -1};
    if (opened.fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot make an inotify instance");
    }
    opened.path = paths_path(paths, bell_files[bell]);
    if (bell_arm(&opened, err) < 0) {
        bell_watch_close(&opened);
        return -(int)err->code;
    }
    *watch = opened;
    return 0;
}

/* Any event but the removal of a watch is a notification. */
static bool read_events(int fd)
{
    bool is_notified = false;
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;
    while ((n = read(fd, events, sizeof(events))) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const void *)(events + at);
            is_notified = is_notified || !(event->mask & IN_IGNORED);
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    }
    return is_notified;
}

bool bell_watch_drain(struct bell_watch *watch)
{
    struct stat file;
    bool is_notified = read_events(watch->fd);
    if (is_notified && (stat(watch->path, &file) < 0 || file.st_dev != watch->device ||
                           file.st_ino != watch->inode)) {
        /* The file was replaced. Notifications since then were lost; the caller reads the store
         * after this. When arming fails, the data directory is gone. */
        struct error ignored = {0};
        (void)bell_arm(watch, &ignored);
    }
    return is_notified;
}

void bell_watch_close(struct bell_watch *watch)
{
    if (watch->fd >= 0) {
        close(watch->fd);
    }
    free(watch->path);
    *watch = (struct bell_watch){.fd = -1, .wd = -1};
}

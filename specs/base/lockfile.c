/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/lockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"

/* The kernel ends a killed process's files from the highest descriptor down, and a lock is to be
 * free before it spends up to 30 ms on an inotify. Where the limit is lower, it is free later. */
static int move_up(int fd)
{
    enum { ABOVE_USUAL = 1000 };
    int high = fcntl(fd, F_DUPFD_CLOEXEC, ABOVE_USUAL);
    if (high < 0) {
        return fd;
    }
    close(fd);
    return high;
}

int lockfile_take_range(
    const char *path, uint64_t at, uint64_t length, int *ret_fd, struct error *err)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)at, .l_len = (off_t)length};
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot open lock file '%s'", path);
    }
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        if (errno == EAGAIN || errno == EACCES) {
            return error_set(err, ERR_VM_CONFLICT, "'%s' is held by another process", path);
        }
        return error_set_errno(err, ERR_IO, errno, "cannot lock '%s'", path);
    }
    struct stat mine, now;
    if (fstat(fd, &mine) < 0 || stat(path, &now) < 0 || mine.st_ino != now.st_ino ||
        mine.st_dev != now.st_dev) {
        return error_set(err, ERR_IO, "'%s' was moved away while it was being locked", path);
    }
    *ret_fd = move_up(TAKE_FD(fd));
    return 0;
}

int lockfile_take(const char *path, int *ret_fd, struct error *err)
{
    return lockfile_take_range(path, 0, 0, ret_fd, err);
}

int lockfile_byte_is_held(const char *path, uint64_t at, struct error *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)at, .l_len = 1};
    if (fd < 0 && errno == ENOENT) {
        return 0;
    }
    if (fd < 0 || fcntl(fd, F_OFD_GETLK, &lock) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot query the lock of '%s'", path);
    }
    return lock.l_type != F_UNLCK;
}

bool lockfile_is_held(const char *path)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

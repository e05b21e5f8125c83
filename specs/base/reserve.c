/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/reserve.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/paths.h"

/* Far more than the pages of some hundred records. */
#define RESERVE_BYTES ((int64_t)4 << 20)
#define PLENTY_BYTES (RESERVE_BYTES * 8)

void reserve_keep(const struct paths *paths)
{
    struct statvfs fs;
    cleanup_free char *path = paths_path(paths, "reserve");
    if (statvfs(paths->data_dir, &fs) < 0 ||
        (uint64_t)fs.f_bavail * fs.f_frsize < (uint64_t)PLENTY_BYTES) {
        return;
    }
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return; /* most often it is there */
    }
    if (fallocate(fd, 0, 0, RESERVE_BYTES) < 0) { /* a file system that cannot: none, rather */
        log_debug("reserve", "cannot reserve space in '%s'", paths->data_dir);
        (void)unlink(path);
    }
}

bool reserve_give_up(const struct paths *paths, struct error *err)
{
    cleanup_free char *path = paths_path(paths, "reserve");
    if (err->code != ERR_NO_SPACE || unlink(path) < 0) {
        return false;
    }
    log_info("reserve", "the disk is full: releasing the reserved space");
    error_clear(err);
    return true;
}

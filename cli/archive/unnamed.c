/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/archive/unnamed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

#define SPARE_PREFIX ".vmctl.tmp-"

static int report_unmade(const char *directory, int cause, struct error *err)
{
    return error_set_errno(err, ERR_IO, cause, "cannot create a file in '%s'", directory);
}

/* One that is in use is written to all the while. */
static void remove_if_left(void *context, int dir_fd, const char *name)
{
    enum { LEFT_S = 24 * 3600 };
    struct stat st;
    int64_t now_s = clock_wall_ms(clock_system()) / 1000;
    (void)context;
    if (text_starts_with(name, SPARE_PREFIX) &&
        fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && now_s - st.st_mtime > LEFT_S) {
        (void)unlinkat(dir_fd, name, 0);
    }
}

int unnamed_open_spare(const char *directory, unsigned mode, struct unnamed *ret, struct error *err)
{
    char unique[TEXT_ID_SIZE];
    digest_random_id(unique);
    cleanup_free char *name = mem_printf(SPARE_PREFIX "%s", unique);
    cleanup_free char *path = fs_join(directory, name);
    fs_each_entry(directory, remove_if_left, NULL);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) {
        return report_unmade(directory, errno, err);
    }
    *ret = (struct unnamed){.fd = fd, .spare = TAKE_PTR(path)};
    return 0;
}

int unnamed_open(const char *directory, unsigned mode, struct unnamed *ret, struct error *err)
{
    *ret = (struct unnamed){.fd = open(directory, O_RDWR | O_TMPFILE | O_CLOEXEC, mode)};
    if (ret->fd >= 0) {
        return 0;
    }
    return errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL
               ? unnamed_open_spare(directory, mode, ret, err)
               : report_unmade(directory, errno, err);
}

int unnamed_publish(struct unnamed *file, const char *path, struct error *err)
{
    cleanup_free char *open_file = mem_printf("/proc/self/fd/%d", file->fd);
    if (fsync(file->fd) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot write '%s'", path);
    }
    bool is_there =
        file->spare && fs_exists(path); /* such file systems may know no links, either */
    int rc = !file->spare ? linkat(AT_FDCWD, open_file, AT_FDCWD, path, AT_SYMLINK_FOLLOW)
             : is_there   ? -1
                          : rename(file->spare, path);
    if (rc < 0 && (is_there || errno == EEXIST)) {
        (void)error_set(err, ERR_VM_CONFLICT, "'%s' exists", path);
        return error_help(err, "choose another name, or remove it first: rm %s", path);
    }
    if (rc < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot create '%s'", path);
    }
    free(TAKE_PTR(file->spare));
    return 0;
}

void unnamed_clear(struct unnamed *file)
{
    if (file->spare) {
        (void)unlink(file->spare);
    }
    if (file->fd >= 0) {
        (void)close(file->fd);
    }
    free(TAKE_PTR(file->spare));
    file->fd = -1;
}

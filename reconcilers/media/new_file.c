/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

int new_file_make(const char *path, mode_t mode, uint64_t size, const struct file_part *parts,
    size_t n_parts, const atomic_bool *is_cancelled, struct error *err)
{
    char unique[TEXT_ID_SIZE];
    digest_random_id(unique);
    cleanup_free char *made = mem_printf("%s.tmp-%s", path, unique);
    cleanup_close int fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fchmod(fd, mode) < 0 || ftruncate(fd, (off_t)size) < 0) {
        (void)error_set_errno(err, ERR_IO, errno, "'%s'", made);
    } else if (atomic_load(is_cancelled)) {
        (void)error_set(err, ERR_CANCELLED, "cancelled");
    }
    for (size_t i = 0; !err->code && i < n_parts; i++) {
        if (lseek(fd, (off_t)parts[i].at, SEEK_SET) < 0) {
            (void)error_set_errno(err, ERR_IO, errno, "'%s'", made);
        } else {
            (void)fs_write_all(fd, parts[i].bytes, parts[i].n, err);
        }
    }
    if (!err->code && (fsync(fd) < 0 || rename(made, path) < 0)) {
        (void)error_set_errno(err, ERR_IO, errno, "'%s'", made);
    }
    if (err->code) {
        (void)unlink(made);
        return error_wrap(err, "cannot create '%s'", path);
    }
    return 0;
}

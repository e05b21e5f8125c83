/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/file_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* Only what is not a hole. */
static int copy_data(
    int from, int to, int64_t size, const atomic_bool *is_cancelled, struct error *err)
{
    enum { PIECE = 16 << 20 };
    int64_t at = 0, end = 0;
    int found = 0;
    while ((found = fs_next_data(from, &at, &end)) > 0 && at < size) {
        int64_t out = at;
        while (at < end) {
            size_t n = end - at < PIECE ? (size_t)(end - at) : PIECE;
            ssize_t copied = copy_file_range(from, &at, to, &out, n, 0);
            if (copied <= 0) {
                return error_set_errno(err, ERR_IO, copied < 0 ? errno : EIO, "cannot copy");
            }
            if (atomic_load(is_cancelled)) {
                return error_set(err, ERR_CANCELLED, "cancelled");
            }
        }
    }
    return found < 0 ? error_set_errno(err, ERR_IO, errno, "cannot copy") : 0;
}

static int copy_open(int from, int to, const atomic_bool *is_cancelled, struct error *err)
{
    struct stat st;
    if (fstat(from, &st) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot copy");
    }
    if (!S_ISREG(st.st_mode)) {
        return error_set(err, ERR_IO, "cannot copy: it is not a file");
    }
    if (ioctl(to, FICLONE, from) < 0) { /* the file system shares no blocks */
        enum { BLOCK = 512 };
        if (!fs_has_room(to, (uint64_t)st.st_blocks * BLOCK)) {
            return error_set(
                err, ERR_NO_SPACE, "%lld MiB do not fit", (long long)st.st_blocks * BLOCK >> 20);
        }
        int rc = copy_data(from, to, st.st_size, is_cancelled, err);
        if (rc < 0) {
            return rc;
        }
    }
    return ftruncate(to, st.st_size) < 0 || fsync(to) < 0
               ? error_set_errno(err, ERR_IO, errno, "cannot copy")
               : 0;
}

int file_copy_aside(const char *from_path, const char *to_path, char **ret_made,
    const atomic_bool *is_cancelled, struct error *err)
{
    char unique[TEXT_ID_SIZE];
    digest_random_id(unique);
    cleanup_free char *made = mem_printf("%s.tmp-%s", to_path, unique);
    cleanup_close int from = open(from_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (from < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot open '%s'", from_path);
    }
    cleanup_close int to = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (to < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot create '%s'", made);
    }
    if (copy_open(from, to, is_cancelled, err) < 0) {
        (void)unlink(made);
        if (err->code == ERR_NO_SPACE) {
            (void)error_help(err, "make room, then try again; see: df -h %.*s",
                (int)(strrchr(to_path, '/') - to_path), to_path);
        }
        return error_wrap(err, "'%s' to '%s'", from_path, to_path);
    }
    *ret_made = TAKE_PTR(made);
    return 0;
}

int file_copy(const char *from, const char *to, const atomic_bool *is_cancelled, struct error *err)
{
    cleanup_free char *made = NULL;
    int rc = file_copy_aside(from, to, &made, is_cancelled, err);
    if (rc == 0 && (rc = fs_publish(made, to, 0600, err)) < 0) {
        (void)unlink(made);
    }
    return rc;
}

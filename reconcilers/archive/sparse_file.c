/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/archive/sparse_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/image/image_stranger.h"

#define SIZE_MAX_UNPACKED (UINT64_C(1) << 40)
enum { HOLE_SIZE = 4096 }; /* the usual block size of file systems */

int image_sink_open(struct image_sink *sink, const char *path, struct error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot create '%s'", path);
    }
    *sink = (struct image_sink){.fd = fd, .path = path, .digest = digest_new()};
    return 0;
}

/* Refuses before the disk is full: running VMs need the rest. What was written since the last look
 * starts on its way to the disk, so that little of it is left for the sync at the end. */
static int check_room(struct image_sink *sink, struct error *err)
{
    enum { CHECK_BYTES = 8 << 20 };
    if (sink->size - sink->checked_size < CHECK_BYTES && sink->checked_size > 0) {
        return 0;
    }
    (void)sync_file_range(sink->fd, (off_t)sink->checked_size,
        (off_t)(sink->size - sink->checked_size), SYNC_FILE_RANGE_WRITE);
    sink->checked_size = sink->size;
    return fs_has_room(sink->fd, 0)
               ? 0
               : error_set(err, ERR_NO_SPACE,
                     "no space for '%s': the rest of its disk is reserved for running VMs",
                     sink->path);
}

static int write_at(struct image_sink *sink, const char *bytes, size_t n, struct error *err)
{
    while (n > 0) {
        ssize_t written = pwrite(sink->fd, bytes, n, (off_t)sink->size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return error_set_errno(err, ERR_IO, errno, "cannot write '%s'", sink->path);
        }
        bytes += written;
        n -= (size_t)written;
        sink->size += (uint64_t)written;
    }
    return 0;
}

/* Data between two holes is written at once. */
static int write_sparse(struct image_sink *sink, const char *p, size_t n, struct error *err)
{
    size_t run = 0; /* bytes at `p` that are no hole */
    while (run < n) {
        const char *at = p + run;
        size_t to_boundary = HOLE_SIZE - (size_t)((sink->size + run) % HOLE_SIZE);
        size_t block = n - run < to_boundary ? n - run : to_boundary;
        bool is_hole = block == HOLE_SIZE && at[0] == 0 && memcmp(at, at + 1, block - 1) == 0;
        if (!is_hole) {
            run += block;
            continue;
        }
        if (write_at(sink, p, run, err) < 0) {
            return -(int)err->code;
        }
        sink->size += block;
        p = at + block;
        n -= run + block;
        run = 0;
    }
    return write_at(sink, p, run, err);
}

int image_sink_write(struct image_sink *sink, const void *bytes, size_t n, struct error *err)
{
    if (atomic_load(sink->is_cancelled)) {
        return error_set(err, ERR_CANCELLED, "unpacking was cancelled");
    }
    const char *what = sink->size == 0 ? image_stranger_of_head(bytes, n) : NULL;
    if (what) {
        return image_stranger_error("what is packed in it", what, err);
    }
    if (sink->size + n > SIZE_MAX_UNPACKED) {
        return error_set(err, ERR_IMAGE_FORMAT, "it is larger than 1 TiB when unpacked");
    }
    if (check_room(sink, err) < 0) {
        return -(int)err->code;
    }
    digest_add(sink->digest, bytes, n);
    return write_sparse(sink, bytes, n, err);
}

int image_sink_finish(struct image_sink *sink, char *ret_sha256, struct error *err)
{
    if (ftruncate(sink->fd, (off_t)sink->size) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot complete '%s'", sink->path);
    }
    digest_of(sink->digest, ret_sha256);
    return 0;
}

void image_sink_close(struct image_sink *sink)
{
    if (sink->fd >= 0) {
        close(TAKE_FD(sink->fd));
    }
    digest_free(TAKE_PTR(sink->digest));
}

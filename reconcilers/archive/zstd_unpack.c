/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/archive/zstd_unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#include "reconcilers/archive/sparse_file.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

struct unpacker {
    const char *path, *title;
    ZSTD_DCtx *context;
    char *in;
    char *out;
    size_t frame_rest; /* the last result of ZSTD_decompressStream(): 0 at the end of a frame */
};

static int unpack_chunk(struct unpacker *u, size_t n, struct image_sink *sink, struct error *err)
{
    ZSTD_inBuffer in = {.src = u->in, .size = n};
    bool is_drained = false;
    /* After a full output buffer there may be more output, even when all input is consumed. */
    while (in.pos < in.size || !is_drained) {
        ZSTD_outBuffer out = {.dst = u->out, .size = ZSTD_DStreamOutSize()};
        size_t rest = ZSTD_decompressStream(u->context, &out, &in);
        if (ZSTD_isError(rest)) {
            return error_set(err, ERR_IMAGE_DECOMPRESS, "cannot decompress '%s': %s", u->title,
                ZSTD_getErrorName(rest));
        }
        is_drained = out.pos < out.size;
        u->frame_rest = rest;
        if (out.pos > 0 && image_sink_write(sink, u->out, out.pos, err) < 0) {
            return -(int)err->code;
        }
        if (rest == 0 && in.pos == in.size) {
            break; /* the next call would expect a new frame's header */
        }
    }
    return 0;
}

static int unpack_all(struct unpacker *u, int fd, struct image_sink *sink, struct error *err)
{
    ssize_t n;
    while ((n = read(fd, u->in, ZSTD_DStreamInSize())) != 0) {
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return error_set_errno(err, ERR_IO, errno, "cannot read '%s'", u->path);
        }
        if (unpack_chunk(u, (size_t)n, sink, err) < 0) {
            return -(int)err->code;
        }
    }
    if (u->frame_rest != 0) {
        return error_set(
            err, ERR_IMAGE_DECOMPRESS, "cannot decompress '%s': it is truncated", u->title);
    }
    return 0;
}

int zstd_unpack(const char *path, const char *title, struct image_sink *sink, struct error *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot open '%s'", path);
    }
    struct unpacker u = {
        .path = path,
        .title = title,
        .context = ZSTD_createDCtx(),
        .in = mem_calloc(1, ZSTD_DStreamInSize()),
        .out = mem_calloc(1, ZSTD_DStreamOutSize()),
        .frame_rest = 1,
    };
    int rc = u.context ? unpack_all(&u, fd, sink, err)
                       : error_set(err, ERR_IMAGE_DECOMPRESS, "zstd has no memory");
    ZSTD_freeDCtx(u.context);
    free(u.in);
    free(u.out);
    return rc;
}

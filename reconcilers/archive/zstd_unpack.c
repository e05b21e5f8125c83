/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/archive/zstd_unpack.h"

#include <stdbool.h>
#include <stdlib.h>
#include <zstd.h>

#include "reconcilers/archive/sparse_file.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

struct zstd_unpacker {
    const char *title; /* borrowed, see zstd_unpacker_new() */
    ZSTD_DCtx *context;
    char *out;
    size_t frame_rest; /* the last result of ZSTD_decompressStream(): 0 at the end of a frame */
};

struct zstd_unpacker *zstd_unpacker_new(const char *title)
{
    struct zstd_unpacker *u = mem_new(struct zstd_unpacker);
    *u = (struct zstd_unpacker){.title = title,
        .context = ZSTD_createDCtx(),
        .out = mem_calloc(1, ZSTD_DStreamOutSize()),
        .frame_rest = 1};
    if (!u->context) {
        abort(); /* out of memory: as mem.h does */
    }
    return u;
}

void zstd_unpacker_free(struct zstd_unpacker *u)
{
    if (u) {
        ZSTD_freeDCtx(u->context);
        free(u->out);
        free(u);
    }
}

int zstd_unpack(struct zstd_unpacker *u, const void *bytes, size_t n, struct image_sink *sink,
    struct error *err)
{
    ZSTD_inBuffer in = {.src = bytes, .size = n};
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

int zstd_unpack_end(const struct zstd_unpacker *u, struct error *err)
{
    return u->frame_rest == 0 ? 0
                              : error_set(err, ERR_IMAGE_DECOMPRESS,
                                    "cannot decompress '%s': it is truncated", u->title);
}

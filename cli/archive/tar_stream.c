/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/archive/tar_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

enum { PIECE = 1 << 17, LEVEL = 3 };

static const uint8_t zeros[2 * TAR_BLOCK];

static size_t padding_of(uint64_t size)
{
    return (size_t)(-size & (TAR_BLOCK - 1));
}

/* ---- writing ---- */

struct tar_writer {
    int fd;
    ZSTD_CCtx *zstd;
    uint8_t *out;   /* PIECE bytes */
    uint64_t left;  /* of the member */
    size_t padding; /* behind it */
};

struct tar_writer *tar_writer_new(int fd)
{
    struct tar_writer *writer = mem_new(struct tar_writer);
    writer->fd = fd;
    writer->zstd = ZSTD_createCCtx();
    writer->out = mem_calloc(1, PIECE);
    (void)ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, LEVEL);
    (void)ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_checksumFlag, 1);
    return writer;
}

void tar_writer_free(struct tar_writer *writer)
{
    if (writer) {
        (void)ZSTD_freeCCtx(writer->zstd);
        free(writer->out);
        free(writer);
    }
}

static int compress(struct tar_writer *writer, const void *bytes, size_t n, ZSTD_EndDirective end,
    struct error *err)
{
    ZSTD_inBuffer in = {bytes, n, 0};
    size_t left;
    do {
        ZSTD_outBuffer out = {writer->out, PIECE, 0};
        left = ZSTD_compressStream2(writer->zstd, &out, &in, end);
        if (ZSTD_isError(left)) {
            return error_set(err, ERR_IO, "cannot compress: %s", ZSTD_getErrorName(left));
        }
        if (fs_write_all(writer->fd, writer->out, out.pos, err) < 0) {
            return -(int)err->code;
        }
    } while (in.pos < in.size || (end == ZSTD_e_end && left > 0));
    return 0;
}

int tar_writer_begin(struct tar_writer *writer, const struct tar_member *member, struct error *err)
{
    uint8_t header[TAR_BLOCK];
    tar_header_write(member, header);
    writer->left = member->size;
    writer->padding = padding_of(member->size);
    return compress(writer, header, sizeof(header), ZSTD_e_continue, err);
}

int tar_writer_add(struct tar_writer *writer, const void *bytes, size_t n, struct error *err)
{
    if (n > writer->left) {
        return error_set(err, ERR_IO, "a file grew while it was read");
    }
    writer->left -= n;
    int rc = compress(writer, bytes, n, ZSTD_e_continue, err);
    return rc < 0 || writer->left > 0
               ? rc
               : compress(writer, zeros, writer->padding, ZSTD_e_continue, err);
}

int tar_writer_finish(struct tar_writer *writer, struct error *err)
{
    return compress(writer, zeros, sizeof(zeros), ZSTD_e_end, err);
}

/* ---- reading ---- */

struct tar_reader {
    int fd;
    const char *title;
    ZSTD_DCtx *zstd;
    uint8_t *bytes; /* PIECE of them, as they are in the file */
    ZSTD_inBuffer in;
    size_t hint;    /* what ZSTD_decompressStream() returned last; 0: the frame has ended */
    bool has_ended; /* the file has */
    uint64_t left;  /* of the member */
    size_t padding;
};

struct tar_reader *tar_reader_new(int fd, const char *title)
{
    struct tar_reader *reader = mem_new(struct tar_reader);
    reader->fd = fd;
    reader->title = title;
    reader->zstd = ZSTD_createDCtx();
    reader->bytes = mem_calloc(1, PIECE);
    reader->in.src = reader->bytes;
    reader->hint = 1;
    return reader;
}

void tar_reader_free(struct tar_reader *reader)
{
    if (reader) {
        (void)ZSTD_freeDCtx(reader->zstd);
        free(reader->bytes);
        free(reader);
    }
}

static int refuse_stream(const struct tar_reader *reader, const char *what, struct error *err)
{
    return error_set(err, ERR_ARCHIVE, "'%s' %s", reader->title, what);
}

static int fill_in(struct tar_reader *reader, struct error *err)
{
    ssize_t n;
    do {
        n = read(reader->fd, reader->bytes, PIECE);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot read '%s'", reader->title);
    }
    reader->has_ended = n == 0;
    reader->in.size = (size_t)n;
    reader->in.pos = 0;
    return 0;
}

/* As much as there is at once, at most `n`; 0: the frame has ended. */
static ssize_t decompress(struct tar_reader *reader, void *bytes, size_t n, struct error *err)
{
    ZSTD_outBuffer out = {bytes, n, 0};
    while (out.pos == 0 && reader->hint != 0) {
        if (reader->in.pos == reader->in.size && fill_in(reader, err) < 0) {
            return -(ssize_t)err->code;
        }
        size_t before = reader->in.pos;
        reader->hint = ZSTD_decompressStream(reader->zstd, &out, &reader->in);
        if (ZSTD_isError(reader->hint)) {
            return refuse_stream(reader, "is damaged, or not a zstd file", err);
        }
        if (reader->has_ended && out.pos == 0 && reader->in.pos == before && reader->hint != 0) {
            return refuse_stream(reader, "is cut off", err);
        }
    }
    return (ssize_t)out.pos;
}

static int read_block(struct tar_reader *reader, void *bytes, size_t n, struct error *err)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = decompress(reader, (uint8_t *)bytes + at, n - at, err);
        if (got <= 0) {
            return got < 0 ? (int)got : refuse_stream(reader, "is cut off", err);
        }
        at += (size_t)got;
    }
    return 0;
}

/* Behind the archive's end come zeros, then the end of the frame and of the file: reading them to
 * the end checks the frame's checksum, too. */
static int check_end(struct tar_reader *reader, struct error *err)
{
    uint8_t block[TAR_BLOCK];
    ssize_t n;
    while ((n = decompress(reader, block, sizeof(block), err)) > 0) {
        if (memcmp(block, zeros, (size_t)n) != 0) {
            return refuse_stream(reader, "has data after its end", err);
        }
    }
    if (n == 0 && reader->in.pos == reader->in.size && fill_in(reader, err) < 0) {
        return -(int)err->code;
    }
    bool has_more = n == 0 && reader->in.pos < reader->in.size;
    return has_more ? refuse_stream(reader, "has data after its end", err) : (int)n;
}

int tar_reader_next(
    struct tar_reader *reader, struct tar_member *ret, bool *ret_is_there, struct error *err)
{
    uint8_t block[TAR_BLOCK];
    int rc = read_block(reader, block, reader->padding, err);
    rc = rc < 0 ? rc : read_block(reader, block, sizeof(block), err);
    if (rc < 0) {
        return rc;
    }
    enum tar_header_kind kind = tar_header_read(block, ret);
    *ret_is_there = kind == TAR_FILE;
    reader->left = kind == TAR_FILE ? ret->size : 0;
    reader->padding = kind == TAR_FILE ? padding_of(ret->size) : 0;
    switch (kind) {
    case TAR_FILE:
        return 0;
    case TAR_END:
        return check_end(reader, err);
    case TAR_OTHER:
        return refuse_stream(reader,
            "holds an entry that is not a regular file, which an export of vmctl never does", err);
    case TAR_DAMAGED:
        break;
    }
    return refuse_stream(reader, "is not a tar archive", err);
}

ssize_t tar_reader_read(struct tar_reader *reader, void *bytes, size_t n, struct error *err)
{
    size_t most = reader->left < n ? (size_t)reader->left : n;
    if (most == 0) {
        return 0;
    }
    ssize_t got = decompress(reader, bytes, most, err);
    if (got > 0) {
        reader->left -= (uint64_t)got;
    }
    return got != 0 ? got : refuse_stream(reader, "is cut off", err);
}

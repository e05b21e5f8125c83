/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/image_unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdint.h>
#include <string.h>
#include <zstd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"

static const uint8_t zstd_magic[] = {0x28, 0xb5, 0x2f, 0xfd};

/* Whatever follows the frame, such as the rest of a sector, is not looked at. */
static size_t unpack_zstd(const void *bytes, size_t n, void *ret, size_t n_ret)
{
    ZSTD_DStream *stream = ZSTD_createDStream();
    ZSTD_inBuffer in = {.src = bytes, .size = n};
    ZSTD_outBuffer out = {.dst = ret, .size = n_ret};
    size_t rc = 1;
    while (stream && rc != 0 && !ZSTD_isError(rc) && in.pos < in.size && out.pos < out.size) {
        rc = ZSTD_decompressStream(stream, &out, &in);
    }
    (void)ZSTD_freeDStream(stream);
    return out.pos;
}

static size_t read_unpacked(
    struct archive *archive, const void *bytes, size_t n, char *ret, size_t n_ret)
{
    struct archive_entry *entry = NULL;
    size_t at = 0;
    (void)archive_read_support_filter_gzip(archive);
    (void)archive_read_support_filter_xz(archive);
    (void)archive_read_support_filter_bzip2(archive);
    (void)archive_read_support_format_raw(archive);
    if (archive_read_open_memory(archive, bytes, n) != ARCHIVE_OK ||
        archive_read_next_header(archive, &entry) != ARCHIVE_OK ||
        archive_filter_code(archive, 0) == ARCHIVE_FILTER_NONE) {
        return 0;
    }
    while (at < n_ret) {
        la_ssize_t n_read = archive_read_data(archive, ret + at, n_ret - at);
        if (n_read <= 0) {
            break;
        }
        at += (size_t)n_read;
    }
    return at;
}

size_t image_unpack(const void *bytes, size_t n, void *ret, size_t n_ret)
{
    if (n >= sizeof(zstd_magic) && memcmp(bytes, zstd_magic, sizeof(zstd_magic)) == 0) {
        return unpack_zstd(bytes, n, ret, n_ret);
    }
    struct archive *archive = archive_read_new();
    size_t n_unpacked = archive ? read_unpacked(archive, bytes, n, ret, n_ret) : 0;
    archive_read_free(archive);
    return n_unpacked;
}

/* As a file of gzip(1), whose head and end (RFC 1952) libarchive wants to see. */
size_t image_inflate(const void *bytes, size_t n, void *ret, size_t n_ret)
{
    static const char head[] = "\x1f\x8b\x08\0\0\0\0\0\0\xff", end[8];
    cleanup_buf struct buf file = BUF_INIT(0);
    (void)buf_add(&file, head, sizeof(head) - 1);
    (void)buf_add(&file, bytes, n);
    (void)buf_add(&file, end, sizeof(end));
    return image_unpack(file.data, file.len, ret, n_ret);
}

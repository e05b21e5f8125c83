/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/archive/archive_unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reconcilers/archive/sparse_file.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/user_path.h"

enum { CHUNK_SIZE = 256 * 1024 };

static int archive_fail(struct archive *archive, const char *title, struct error *err)
{
    const char *why = archive_error_string(archive);
    return error_set(err, ERR_IMAGE_DECOMPRESS, "cannot decompress '%s': %s", title,
        why ? why : "the data is damaged");
}

/* Archives are read through a stream: their file system may stop answering. */
struct archive_source {
    struct user_stream stream;
    char chunk[CHUNK_SIZE];
};

static la_ssize_t on_read(struct archive *archive, void *context, const void **ret_bytes)
{
    struct archive_source *source = context;
    ssize_t n = user_stream_read(&source->stream, source->chunk, sizeof(source->chunk));
    if (n < 0) {
        archive_set_error(archive, errno, "it cannot be read: %s", strerror(errno));
    }
    *ret_bytes = source->chunk;
    return n;
}

static int unpack(struct archive *archive, struct archive_source *source, const char *title,
    struct image_sink *sink, struct error *err)
{
    archive_read_support_filter_gzip(archive);
    archive_read_support_filter_xz(archive);
    archive_read_support_filter_bzip2(archive);
    archive_read_support_format_raw(archive);
    struct archive_entry *entry = NULL;
    if (archive_read_open(archive, source, NULL, on_read, NULL) != ARCHIVE_OK ||
        archive_read_next_header(archive, &entry) != ARCHIVE_OK) {
        return archive_fail(archive, title, err);
    }
    cleanup_free char *chunk = mem_calloc(1, CHUNK_SIZE);
    la_ssize_t n;
    while ((n = archive_read_data(archive, chunk, CHUNK_SIZE)) > 0) {
        if (image_sink_write(sink, chunk, (size_t)n, err) < 0) {
            return -(int)err->code;
        }
    }
    return n < 0 ? archive_fail(archive, title, err) : 0;
}

int archive_unpack(const char *path, const char *title, struct image_sink *sink, struct error *err)
{
    cleanup_free struct archive_source *source = mem_new(struct archive_source);
    if (user_stream_open(&source->stream, path) < 0) {
        return user_path_error(path, errno, err);
    }
    struct archive *archive = archive_read_new();
    int rc = archive ? unpack(archive, source, title, sink, err)
                     : error_set(err, ERR_IMAGE_DECOMPRESS, "libarchive has no memory");
    archive_read_free(archive);
    user_stream_close(&source->stream);
    return rc;
}

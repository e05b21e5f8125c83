/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/log_stream.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

enum { CHUNK = 64 * 1024 };

void log_stream_open(
    struct log_stream *stream, const char *path, const char *prefix, bool is_at_end)
{
    struct stat st;
    *stream = (struct log_stream){.path = mem_strdup(path), .prefix = mem_strdup(prefix)};
    if (stat(path, &st) == 0) {
        stream->device = st.st_dev;
        stream->inode = st.st_ino;
        stream->offset = is_at_end ? st.st_size : 0;
    }
}

void log_stream_close(struct log_stream *stream)
{
    free(TAKE_PTR(stream->path));
    free(TAKE_PTR(stream->prefix));
}

/* Opened at the right place, or -1: no such file, or not a regular one. */
static int open_at_offset(struct log_stream *stream)
{
    struct stat st;
    cleanup_close int fd =
        open(stream->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return -1;
    }
    bool is_other = st.st_dev != stream->device || st.st_ino != stream->inode;
    if (is_other || st.st_size < stream->offset) {
        stream->offset = 0;
        stream->device = st.st_dev;
        stream->inode = st.st_ino;
    }
    return lseek(fd, stream->offset, SEEK_SET) < 0 ? -1 : TAKE_FD(fd);
}

static void add_prefixed(struct log_stream *stream, struct buf *out, const char *text)
{
    while (*text) {
        if (!stream->is_within_line && stream->prefix) {
            buf_add_str(out, stream->prefix);
        }
        size_t n = strcspn(text, "\n");
        stream->is_within_line = text[n] != '\n';
        n += !stream->is_within_line;
        buf_add(out, text, n);
        text += n;
    }
}

bool log_stream_read(struct log_stream *stream, struct buf *out)
{
    cleanup_close int fd = open_at_offset(stream);
    cleanup_free char *chunk = mem_calloc(1, CHUNK);
    ssize_t n = fd < 0 ? 0 : read(fd, chunk, CHUNK);
    if (n <= 0) {
        return false;
    }
    cleanup_buf struct buf shown = BUF_INIT(0);
    screen_filter_add(&stream->filter, &shown, chunk, (size_t)n);
    add_prefixed(stream, out, buf_str(&shown));
    stream->offset += n;
    return true;
}

void log_stream_end(struct log_stream *stream, struct buf *out)
{
    cleanup_buf struct buf shown = BUF_INIT(0);
    screen_filter_end(&stream->filter, &shown);
    add_prefixed(stream, out, buf_str(&shown));
    if (stream->is_within_line) {
        buf_add_char(out, '\n');
        stream->is_within_line = false;
    }
}

/* Behind the `lines`th line end from the end, a line end at the very end not counted. */
void log_stream_seek_tail(struct log_stream *stream, uint32_t lines)
{
    struct stat st;
    cleanup_close int fd = lines > 0 ? open_at_offset(stream) : -1;
    if (fd < 0 || fstat(fd, &st) < 0) {
        return;
    }
    cleanup_free char *chunk = mem_calloc(1, CHUNK);
    uint32_t seen = 0;
    stream->offset = 0;
    for (int64_t end = st.st_size; end > 0;) {
        int64_t start = end > CHUNK ? end - CHUNK : 0;
        ssize_t n = pread(fd, chunk, (size_t)(end - start), start);
        for (ssize_t i = n - 1; i >= 0; i--) {
            if (chunk[i] == '\n' && start + i + 1 < st.st_size && ++seen == lines) {
                stream->offset = start + i + 1;
                return;
            }
        }
        end = n <= 0 ? 0 : start;
    }
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/log_stream.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/fs.h"
#include "specs/base/log_file.h"
#include "specs/base/mem.h"

enum { CHUNK = 16 * 1024 };

void log_stream_open(
    struct log_stream *stream, const char *path, const char *prefix, bool is_at_end)
{
    struct stat st;
    cleanup_free char *older = log_file_predecessor(path);
    *stream = (struct log_stream){.path = mem_strdup(path), .prefix = mem_strdup(prefix)};
    if (!is_at_end && fs_exists(older)) {
        stream->newer = TAKE_PTR(stream->path);
        stream->path = TAKE_PTR(older);
    } else if (stat(path, &st) == 0) {
        stream->device = st.st_dev;
        stream->inode = st.st_ino;
        stream->offset = is_at_end ? st.st_size : 0;
    }
}

void log_stream_close(struct log_stream *stream)
{
    free(TAKE_PTR(stream->path));
    free(TAKE_PTR(stream->newer));
    free(TAKE_PTR(stream->prefix));
    log_times_clear(&stream->times);
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
        log_times_clear(&stream->times);
    }
    return lseek(fd, stream->offset, SEEK_SET) < 0 ? -1 : TAKE_FD(fd);
}

static void add_prefixed(struct log_stream *stream, struct buf *out, const char *text)
{
    while (*text) {
        if (!stream->is_within_line && stream->prefix) {
            buf_add_str(out, stream->prefix);
        }
        if (!stream->is_within_line && stream->shows_times) {
            char when[CLOCK_TEXT_SIZE] = "-";
            if (stream->came_ms > 0) {
                clock_format_utc(stream->came_ms, when);
            }
            buf_printf(out, "%-20s ", when);
        }
        size_t n = strcspn(text, "\n");
        stream->is_within_line = text[n] != '\n';
        n += !stream->is_within_line;
        buf_add(out, text, n);
        text += n;
    }
}

/* Of `n` bytes at the offset those that came at the same time, which is noted. */
static size_t of_one_time(struct log_stream *stream, size_t n)
{
    uint64_t at = (uint64_t)stream->offset, end;
    stream->came_ms = log_times_at(&stream->times, at, &end);
    if (end == UINT64_MAX) { /* more may have been written down since */
        log_times_read(&stream->times, stream->path, stream->inode);
        stream->came_ms = log_times_at(&stream->times, at, &end);
    }
    if (stream->came_ms == 0 && stream->is_live) {
        stream->came_ms = clock_wall_ms(clock_system());
    }
    return end - at < n ? (size_t)(end - at) : n;
}

static void turn_to_newer(struct log_stream *stream)
{
    free(stream->path);
    stream->path = TAKE_PTR(stream->newer);
    stream->offset = 0;
    stream->inode = 0;
    log_times_clear(&stream->times);
}

bool log_stream_read(struct log_stream *stream, struct buf *out)
{
    char chunk[CHUNK];
    ssize_t n = 0;
    for (bool is_more = true; n <= 0 && is_more;) {
        cleanup_close int fd = open_at_offset(stream);
        size_t wanted = fd >= 0 && stream->shows_times ? of_one_time(stream, CHUNK) : CHUNK;
        n = fd < 0 ? 0 : read(fd, chunk, wanted);
        is_more = stream->newer;
        if (n <= 0 && is_more) {
            turn_to_newer(stream);
        }
    }
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

/* Returns the offset behind the `*lines`th line end from the end, and counts the ones found down
 * from *lines; a line end at the very end counts if `counts_last`. */
static int64_t find_tail(const char *path, bool counts_last, uint32_t *lines)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
    cleanup_free char *chunk = mem_calloc(1, CHUNK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        return 0;
    }
    for (int64_t end = st.st_size; end > 0;) {
        int64_t start = end > CHUNK ? end - CHUNK : 0;
        ssize_t n = pread(fd, chunk, (size_t)(end - start), start);
        for (ssize_t i = n - 1; i >= 0; i--) {
            bool is_last = start + i + 1 == st.st_size;
            if (chunk[i] == '\n' && (!is_last || counts_last) && --*lines == 0) {
                return start + i + 1;
            }
        }
        end = n <= 0 ? 0 : start;
    }
    return 0;
}

void log_stream_seek_tail(struct log_stream *stream, uint32_t lines)
{
    const char *newest = stream->newer ? stream->newer : stream->path;
    bool has_newest = fs_size(newest) > 0;
    if (lines == 0) {
        return;
    }
    int64_t offset = find_tail(newest, false, &lines);
    if (stream->newer && lines == 0) {
        turn_to_newer(stream);
    } else if (stream->newer) {
        offset = find_tail(stream->path, has_newest, &lines);
    }
    if (offset > 0) {
        cleanup_close int fd = open_at_offset(stream); /* notes which file it is */
        stream->offset = fd >= 0 ? offset : 0;
    }
}

bool log_stream_seek_time(struct log_stream *stream, int64_t wall_ms)
{
    enum { LINE_MAX_BYTES = 4096 };
    for (bool is_found = false; !is_found;) {
        struct stat st;
        cleanup_close int fd = open_at_offset(stream);
        int64_t size = fd >= 0 && fstat(fd, &st) == 0 ? st.st_size : 0;
        log_times_read(&stream->times, stream->path, stream->inode);
        if (size > 0 && stream->times.count == 0 && !stream->newer) {
            return false;
        }
        uint64_t at = log_times_since(&stream->times, wall_ms);
        is_found = at < (uint64_t)size || !stream->newer;
        if (!is_found) {
            turn_to_newer(stream);
            continue;
        }
        int64_t to = at < (uint64_t)size ? (int64_t)at : size;
        char before[LINE_MAX_BYTES];
        int64_t from = to > LINE_MAX_BYTES ? to - LINE_MAX_BYTES : 0;
        ssize_t n = fd < 0 ? 0 : fs_read_at(fd, before, (size_t)(to - from), from);
        const char *end = n > 0 && to < size ? memrchr(before, '\n', (size_t)n) : NULL;
        to = end ? from + (end + 1 - before) : from == 0 && to < size ? 0 : to;
        stream->offset = to > stream->offset ? to : stream->offset;
    }
    return true;
}

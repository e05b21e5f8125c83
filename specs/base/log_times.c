/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/log_times.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

enum {
    FLAGS = O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK,
    PERIOD_MS = 1000,
    SPARSE_PERIOD_MS = 60000,
    SPARSE_FROM = 4 << 20, /* bytes: two days of a pair a second */
    READ_MAX = 64 << 20,
};

char *log_times_path(const char *log_path)
{
    return mem_printf("%s.times", log_path);
}

/* ---- writing ---- */

/* A pair that a full disk cut is taken off, so that the next one begins where one has to. */
void log_times_open(struct log_times_writer *writer, const char *log_path, int log_fd)
{
    cleanup_free char *path = log_times_path(log_path);
    struct stat log, st;
    struct log_time head = {.offset = 0};
    struct error ignored = {.code = ERR_NONE};
    *writer =
        (struct log_times_writer){.fd = open(path, O_RDWR | O_CREAT | O_APPEND | FLAGS, 0600)};
    if (writer->fd < 0 || fstat(log_fd, &log) < 0 || fstat(writer->fd, &st) < 0 ||
        !S_ISREG(st.st_mode)) {
        log_times_close(writer);
        return;
    }
    bool is_ours = pread(writer->fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
                   head.offset == (uint64_t)log.st_ino;
    off_t whole = is_ours ? st.st_size - st.st_size % (off_t)sizeof(head) : 0;
    head = (struct log_time){.offset = (uint64_t)log.st_ino};
    if (ftruncate(writer->fd, whole) < 0 ||
        (!is_ours && fs_write_all(writer->fd, &head, sizeof(head), &ignored) < 0)) {
        log_times_close(writer);
    }
}

void log_times_note(struct log_times_writer *writer, int log_fd, int64_t wall_ms)
{
    struct stat log, st;
    struct error ignored = {.code = ERR_NONE};
    int64_t since_ms = wall_ms - writer->noted_ms;
    bool is_soon = since_ms >= 0 && since_ms < PERIOD_MS;
    if (writer->fd < 0 || is_soon || fstat(log_fd, &log) < 0 || fstat(writer->fd, &st) < 0 ||
        (st.st_size > SPARSE_FROM && since_ms >= 0 && since_ms < SPARSE_PERIOD_MS)) {
        return;
    }
    struct log_time pair = {.offset = (uint64_t)log.st_size, .wall_ms = wall_ms};
    (void)fs_write_all(writer->fd, &pair, sizeof(pair), &ignored);
    writer->noted_ms = wall_ms;
}

void log_times_close(struct log_times_writer *writer)
{
    if (writer->fd >= 0) {
        close(writer->fd);
    }
    writer->fd = -1;
}

/* ---- reading ---- */

void log_times_clear(struct log_times *times)
{
    free(times->items);
    *times = (struct log_times){.items = NULL};
}

/* A log that was cut begins again at a smaller offset: what was known from there on is not true any
 * more. */
void log_times_read(struct log_times *times, const char *log_path, ino_t inode)
{
    cleanup_free char *path = log_times_path(log_path);
    cleanup_close int fd = open(path, O_RDONLY | FLAGS);
    struct stat st;
    log_times_clear(times);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > READ_MAX) {
        return;
    }
    struct log_time *pairs = mem_calloc(1, (size_t)st.st_size + 1);
    ssize_t got = fs_read_at(fd, pairs, (size_t)st.st_size, 0);
    size_t n = got > 0 ? (size_t)got / sizeof(*pairs) : 0;
    bool is_of_log = n > 0 && pairs[0].offset == (uint64_t)inode;
    times->items = pairs;
    for (size_t i = 1; i < n && is_of_log; i++) {
        while (times->count > 0 && pairs[times->count - 1].offset >= pairs[i].offset) {
            times->count--;
        }
        pairs[times->count] = pairs[i];
        times->count++;
    }
}

int64_t log_times_at(const struct log_times *times, uint64_t offset, uint64_t *ret_end)
{
    size_t n = 0; /* pairs at or before it */
    for (size_t end = times->count; n < end;) {
        size_t middle = n + (end - n) / 2;
        if (times->items[middle].offset <= offset) {
            n = middle + 1;
        } else {
            end = middle;
        }
    }
    *ret_end = n < times->count ? times->items[n].offset : UINT64_MAX;
    return n > 0 ? times->items[n - 1].wall_ms : 0;
}

uint64_t log_times_since(const struct log_times *times, int64_t wall_ms)
{
    for (size_t i = 0; i < times->count; i++) {
        if (times->items[i].wall_ms > wall_ms - PERIOD_MS) {
            return times->items[i].offset;
        }
    }
    return UINT64_MAX;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log_times.h"
#include "specs/base/mem.h"

enum { FLAGS = O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, CHUNK = 64 * 1024 };

char *log_file_predecessor(const char *path)
{
    return mem_printf("%s.1", path);
}

int64_t log_file_begin(const char *path, int64_t max)
{
    int64_t size = fs_size(path);
    if (size > max) {
        cleanup_free char *older = log_file_predecessor(path);
        cleanup_free char *times = log_times_path(path), *older_times = log_times_path(older);
        size = rename(path, older) == 0 ? 0 : size;
        (void)!rename(times, older_times); /* else they are those of another file, and not read */
    }
    return size > 0 ? size : 0;
}

int log_file_rotate(const char *path, int64_t max, struct error *err)
{
    struct stat st;
    cleanup_close int from = open(path, O_RDWR | FLAGS);
    if (from < 0 || fstat(from, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= max) {
        return 0;
    }
    cleanup_free char *older = log_file_predecessor(path), *chunk = mem_calloc(1, CHUNK);
    cleanup_close int to = open(older, O_WRONLY | O_CREAT | O_TRUNC | FLAGS, 0600);
    int rc = to < 0 ? error_set_errno(err, ERR_IO, errno, "cannot open '%s'", older) : 0;
    int64_t at = st.st_size - max, end = st.st_size + max; /* it may grow meanwhile */
    for (ssize_t n = 1; rc == 0 && n > 0 && at < end; at += n) {
        n = fs_read_at(from, chunk, CHUNK, at);
        rc = n > 0 ? fs_write_all(to, chunk, (size_t)n, err) : 0;
    }
    if (ftruncate(from, 0) < 0) {
        error_clear(err);
        return error_set_errno(err, ERR_IO, errno, "cannot empty '%s'", path);
    }
    return rc < 0 ? error_wrap(err, "'%s' was emptied, not kept as '%s'", path, older) : 0;
}

ssize_t log_file_read_tail(const char *path, void *bytes, size_t n)
{
    struct stat st;
    cleanup_close int fd = open(path, O_RDONLY | FLAGS);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return -1;
    }
    size_t own = st.st_size < (off_t)n ? (size_t)st.st_size : n;
    cleanup_free char *older = own < n ? log_file_predecessor(path) : NULL;
    cleanup_close int older_fd = older ? open(older, O_RDONLY | FLAGS) : -1;
    struct stat older_st = {.st_size = 0};
    ssize_t before = 0;
    if (older_fd >= 0 && fstat(older_fd, &older_st) == 0 && S_ISREG(older_st.st_mode)) {
        off_t from = older_st.st_size - (off_t)(n - own);
        before = fs_read_at(older_fd, bytes, n - own, from > 0 ? from : 0);
        before = before > 0 ? before : 0;
    }
    ssize_t got = fs_read_at(fd, (char *)bytes + before, own, st.st_size - (off_t)own);
    return before + (got > 0 ? got : 0);
}

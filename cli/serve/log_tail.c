/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/log_tail.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/serve/route.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/log_file.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

static char *log_path(const struct paths *paths, const struct route *route)
{
    enum vm_file file = text_eq(route->file, "console") ? VM_CONSOLE_LOG : VM_PROVISION_LOG;
    return paths_vm(paths, route->vm_name, file);
}

void log_tail_read(const struct paths *paths, const struct route *route, struct buf *out)
{
    cleanup_free char *path = log_path(paths, route);
    cleanup_free char *bytes = mem_calloc(1, LOG_TAIL_MAX);
    ssize_t n = log_file_read_tail(path, bytes, LOG_TAIL_MAX);
    buf_add(out, bytes, n > 0 ? (size_t)n : 0);
}

/* -1: there is none. *ret_size is its size. */
static int log_open(const struct paths *paths, const struct route *route, uint64_t *ret_size)
{
    cleanup_free char *path = log_path(paths, route);
    cleanup_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    bool is_file = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    *ret_size = is_file ? (uint64_t)st.st_size : 0;
    return is_file ? TAKE_FD(fd) : -1;
}

uint64_t log_tail_begin(const struct paths *paths, const struct route *route)
{
    uint64_t size;
    cleanup_close int fd = log_open(paths, route, &size);
    return fd >= 0 && size > LOG_TAIL_MAX ? size - LOG_TAIL_MAX : 0;
}

void log_tail_add(
    const struct paths *paths, const struct route *route, uint64_t *at, struct buf *out)
{
    char bytes[LOG_PIECE_MAX];
    uint64_t size;
    cleanup_close int fd = log_open(paths, route, &size);
    if (*at > size) {
        *at = 0;
    }
    ssize_t n = *at < size ? fs_read_at(fd, bytes, sizeof(bytes), (int64_t)*at) : 0;
    if (n > 0 && buf_add(out, bytes, (size_t)n)) {
        *at += (uint64_t)n;
    }
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

char *fs_join(const char *a, const char *b)
{
    return b[0] == '/' ? mem_strdup(b) : mem_printf("%s/%s", a, b);
}

char *fs_find_program(const char *name)
{
    const char *item = getenv("PATH");
    while (item && *item) {
        size_t n = strcspn(item, ":");
        cleanup_free char *path = mem_printf("%.*s/%s", (int)n, item, name);
        if (item[0] == '/' && access(path, X_OK) == 0) {
            return TAKE_PTR(path);
        }
        item += n + (item[n] == ':');
    }
    return NULL;
}

/* Appends the components of `path` to the path in `out`, obeying "." and "..". */
static void push_path(struct buf *out, const char *path)
{
    for (size_t n; *path; path += n, path += *path == '/') {
        n = strcspn(path, "/");
        if (n == 0 || (n == 1 && path[0] == '.')) {
            continue;
        }
        if (n != 2 || strncmp(path, "..", 2) != 0) {
            buf_add_char(out, '/');
            buf_add(out, path, n);
            continue;
        }
        while (out->len > 0 && out->data[--out->len] != '/') {
        }
        if (out->data) {
            out->data[out->len] = '\0';
        }
    }
}

char *fs_resolve(const char *raw, const char *base_dir, const char *home)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    bool is_home = raw[0] == '~' && (raw[1] == '/' || raw[1] == '\0');
    if (is_home) {
        push_path(&out, home);
        raw++;
    } else if (raw[0] != '/') {
        push_path(&out, base_dir);
    }
    push_path(&out, raw);
    return out.len > 0 ? buf_steal(&out) : mem_strdup("/");
}

bool fs_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

int64_t fs_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

bool fs_has_room(int fd, uint64_t bytes)
{
    enum { RESERVE_MAX = 64 << 20, RESERVE_PART = 16 };
    struct statvfs fs;
    if (fstatvfs(fd, &fs) < 0 || fs.f_blocks == 0) {
        return true;
    }
    uint64_t part = (uint64_t)fs.f_blocks * fs.f_frsize / RESERVE_PART;
    uint64_t reserve = part < RESERVE_MAX ? part : RESERVE_MAX;
    return (uint64_t)fs.f_bavail * fs.f_frsize >= bytes + reserve;
}

/* Until there is something to read, or an end. 0 or an errno. */
static int wait_for_bytes(int fd, int limit_ms)
{
    struct pollfd more = {.fd = fd, .events = POLLIN};
    int rc = poll(&more, 1, limit_ms);
    while (rc < 0 && errno == EINTR) {
        rc = poll(&more, 1, limit_ms);
    }
    return rc < 0 ? errno : rc == 0 ? ETIMEDOUT : 0;
}

/* Without O_NONBLOCK a pipe that nobody writes to is opened, and /proc/kmsg read, without end. */
static int read_bounded(const char *path, bool takes_pipes, struct buf *out, struct error *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot open '%s'", path);
    }
    bool is_file = S_ISREG(st.st_mode);
    if (!is_file && !takes_pipes) {
        return error_set_errno(err, ERR_IO, S_ISDIR(st.st_mode) ? EISDIR : EINVAL,
            "cannot read '%s', which is not a file", path);
    }
    int limit_ms = is_file ? FS_READ_LIMIT_MS : FS_PIPE_LIMIT_MS;
    char chunk[16384];
    ssize_t n = -1;
    int rc = is_file || S_ISDIR(st.st_mode) ? 0 : wait_for_bytes(fd, limit_ms);
    while (rc == 0 && (n = read(fd, chunk, sizeof(chunk))) != 0) {
        if (n > 0 && !buf_add(out, chunk, (size_t)n)) {
            return error_set(err, ERR_IO, "'%s' is larger than %zu bytes", path, out->max);
        }
        rc = n > 0 || errno == EINTR ? 0 : errno == EAGAIN ? wait_for_bytes(fd, limit_ms) : errno;
    }
    return rc ? error_set_errno(err, ERR_IO, rc, "cannot read '%s'", path) : 0;
}

int fs_read_file(const char *path, struct buf *out, struct error *err)
{
    return read_bounded(path, true, out, err);
}

int fs_read_regular(const char *path, struct buf *out, struct error *err)
{
    return read_bounded(path, false, out, err);
}

ssize_t fs_read_at(int fd, void *bytes, size_t n, int64_t offset)
{
    size_t have = 0;
    while (have < n) {
        ssize_t got = pread(fd, (char *)bytes + have, n - have, (off_t)offset + (off_t)have);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        have += (size_t)got;
    }
    return (ssize_t)have;
}

int fs_next_data(int fd, int64_t *at, int64_t *ret_end)
{
    off_t begin = lseek(fd, (off_t)*at, SEEK_DATA);
    off_t end = begin < 0 ? -1 : lseek(fd, begin, SEEK_HOLE);
    if (end < 0) {
        return begin < 0 && errno == ENXIO ? 0 : -1;
    }
    *at = begin;
    *ret_end = end;
    return 1;
}

int fs_write_all(int fd, const void *bytes, size_t n, struct error *err)
{
    const char *p = bytes;
    while (n > 0) {
        ssize_t written = write(fd, p, n);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return error_set_errno(err, ERR_IO, errno, "cannot write");
        }
        p += written;
        n -= (size_t)written;
    }
    return 0;
}

int fs_write_file(const char *path, const void *bytes, size_t n, mode_t mode, struct error *err)
{
    cleanup_free char *temporary = mem_printf("%s.tmp-%d", path, (int)getpid());
    cleanup_close int fd =
        open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot create '%s'", temporary);
    }
    int rc = 0;
    if (fchmod(fd, mode) < 0) { /* a left-over from a killed run may have other permissions */
        rc = error_set_errno(err, ERR_IO, errno, "cannot set the mode of '%s'", temporary);
    } else if (fs_write_all(fd, bytes, n, err) < 0) {
        rc = error_wrap(err, "'%s'", temporary);
    } else if (fsync(fd) < 0) {
        rc = error_set_errno(err, ERR_IO, errno, "cannot sync '%s'", temporary);
    } else if (rename(temporary, path) < 0) {
        rc = error_set_errno(err, ERR_IO, errno, "cannot replace '%s'", path);
    }
    if (rc < 0) {
        (void)unlink(temporary);
        return rc;
    }
    return fs_sync_dir_of(path, err);
}

int fs_publish(const char *from, const char *to, mode_t mode, struct error *err)
{
    if (chmod(from, mode) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot set the mode of '%s'", from);
    }
    int rc = fs_sync(from, err);
    if (rc < 0) {
        return rc;
    }
    if (rename(from, to) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot create '%s'", to);
    }
    return fs_sync_dir_of(to, err);
}

static void each_entry_of(
    int fd, void (*each)(void *context, int dir_fd, const char *name), void *context)
{
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            each(context, dirfd(dir), entry->d_name);
        }
    }
    if (dir) {
        closedir(dir);
    } else if (fd >= 0) {
        close(fd);
    }
}

void fs_each_entry(
    const char *path, void (*each)(void *context, int dir_fd, const char *name), void *context)
{
    each_entry_of(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), each, context);
}

int fs_sync(const char *path, struct error *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot sync '%s'", path);
    }
    return 0;
}

int fs_sync_dir_of(const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    cleanup_free char *dir = length > 0 ? mem_strndup(path, length) : mem_strdup(slash ? "/" : ".");
    return fs_sync(dir, err);
}

int fs_make_dirs(const char *path, mode_t mode, struct error *err)
{
    cleanup_free char *copy = mem_strdup(path);
    if (mkdir(copy, mode) == 0) { /* mostly only the last one is missing, or none */
        return 0;
    }
    char *slash = errno == EEXIST ? NULL : strchr(copy + 1, '/');
    for (;; slash = strchr(slash + 1, '/')) {
        if (slash) {
            *slash = '\0';
        }
        if (mkdir(copy, mode) < 0 && errno != EEXIST) {
            return error_set_errno(err, ERR_IO, errno, "cannot create directory '%s'", copy);
        }
        if (!slash) {
            break;
        }
        *slash = '/';
    }
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        return error_set(err, ERR_IO, "'%s' is not a directory", path);
    }
    return 0;
}

int fs_remove_file(const char *path, struct error *err)
{
    if (unlink(path) < 0 && errno != ENOENT) {
        return error_set_errno(err, ERR_IO, errno, "cannot remove '%s'", path);
    }
    return 0;
}

static int remove_children(int dir_fd, struct error *err);

static int remove_at(int dir_fd, const char *name, struct error *err)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno != EISDIR && errno != EPERM) {
        return error_set_errno(err, ERR_IO, errno, "cannot remove '%s'", name);
    }
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot remove '%s'", name);
    }
    int rc = remove_children(fd, err);
    if (rc < 0) {
        return error_wrap(err, "%s", name);
    }
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
        return error_set_errno(err, ERR_IO, errno, "cannot remove directory '%s'", name);
    }
    return 0;
}

/* Takes dir_fd. */
static int remove_children(int dir_fd, struct error *err)
{
    DIR *dir = fdopendir(dir_fd);
    if (!dir) {
        close(dir_fd);
        return error_set_errno(err, ERR_IO, ENOMEM, "cannot list a directory");
    }
    int rc = 0;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            rc = remove_at(dirfd(dir), e->d_name, err);
        }
    }
    closedir(dir);
    return rc;
}

int fs_remove_tree(const char *path, struct error *err)
{
    if (remove_at(AT_FDCWD, path, err) < 0) {
        return error_wrap(err, "cannot remove '%s'", path);
    }
    return 0;
}

bool fs_is_entry_name(const char *name)
{
    return name[0] && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

int fs_open_beneath(const char *root, const char *relative, struct error *err)
{
    enum { FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC };
    cleanup_close int fd = open(root, FLAGS);
    cleanup_free char *rest = mem_strdup(relative);
    char *at = rest;
    for (char *name; fd >= 0 && (name = strsep(&at, "/"));) {
        int next = -1;
        errno = EINVAL;
        if (fs_is_entry_name(name)) {
            next = openat(fd, name, FLAGS | O_NOFOLLOW);
        }
        int cause = errno;
        cleanup_close_(&fd);
        fd = next;
        errno = cause;
    }
    if (fd >= 0) {
        return TAKE_FD(fd);
    }
    if (errno == ENOTDIR || errno == ELOOP) {
        return error_set(err, ERR_IO,
            "'%s/%s' leads through a symbolic link or another file that is not a directory", root,
            relative);
    }
    return error_set_errno(err, ERR_IO, errno, "cannot open '%s/%s'", root, relative);
}

void fs_each_beneath(const char *root, const char *relative,
    void (*each)(void *context, int dir_fd, const char *name), void *context)
{
    struct error ignored = {.code = ERR_NONE};
    each_entry_of(fs_open_beneath(root, relative, &ignored), each, context);
}

int fs_remove_beneath(const char *root, const char *relative, const char *name, struct error *err)
{
    if (!fs_is_entry_name(name)) {
        return error_set(err, ERR_IO, "cannot remove '%s': it is not the name of a file", name);
    }
    cleanup_close int fd = fs_open_beneath(root, relative, err);
    if (fd < 0 && errno == ENOENT) {
        error_clear(err);
        return 0;
    }
    int rc = fd < 0 ? fd : remove_at(fd, name, err);
    struct stat entry;
    if (rc < 0 && fstatat(fd, name, &entry, AT_SYMLINK_NOFOLLOW) == 0 &&
        entry.st_uid != geteuid()) {
        (void)error_wrap(err, "it belongs to %s", entry.st_uid == 0 ? "root" : "another user");
        (void)error_help(err, "take it over: sudo chown -R %u '%s/%s/%s'", (unsigned)geteuid(),
            root, relative, name);
    }
    return rc < 0 ? error_wrap(err, "cannot remove '%s/%s/%s'", root, relative, name) : 0;
}

void fs_hold_standard_fds(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0) { /* open(2) gives the lowest free number: this one */
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        }
    }
}

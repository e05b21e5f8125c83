/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/user_path.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/remote_mount.h"
#include "specs/base/text.h"

/* ---- asking it ---- */

/* What the reader says first; the content follows. */
struct answer {
    int sys_errno;  /* of stat(2) */
    int read_errno; /* of the right to read it, or of opening it; later that of a read(2) */
    struct stat st;
};

enum question { QUESTION_STAT, QUESTION_READABLE, QUESTION_CONTENT, QUESTION_PLACES };

/* What is asked of a reader of places; its answer is an int64_t, bytes or -errno, and the bytes. */
struct place {
    uint64_t offset, n;
};

enum { CHUNK = 65536 };

/* Those that have not answered: the mount, and the end of its reader's pipe. */
static struct {
    pthread_mutex_t lock;
    struct silent {
        char *mount;
        int fd;
    } * items;
    size_t count;
} silent = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* In the reader, until nobody asks any more. */
static void read_places(int fd, int file, char *chunk)
{
    struct place place;
    ssize_t n = 0;
    while (n >= 0 && read(fd, &place, sizeof(place)) == (ssize_t)sizeof(place)) {
        n = pread(file, chunk, place.n < CHUNK ? place.n : CHUNK, (off_t)place.offset);
        int64_t said = n < 0 ? -errno : n;
        bool is_heard = write(fd, &said, sizeof(said)) == (ssize_t)sizeof(said);
        n = is_heard && (n <= 0 || write(fd, chunk, (size_t)n) == n) ? 0 : -1;
    }
}

/* In the reader: only what signal-safety(7) allows, as other threads may have held locks. */
static void read_for_parent(int fd, const char *path, enum question question)
{
    struct answer answer = {.sys_errno = stat(path, &answer.st) < 0 ? errno : 0};
    bool is_file = answer.sys_errno == 0 && S_ISREG(answer.st.st_mode);
    int file = -1;
    if (question != QUESTION_STAT && is_file) {
        file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        answer.read_errno = file < 0 ? errno : 0;
    }
    bool is_heard = write(fd, &answer, sizeof(answer)) == (ssize_t)sizeof(answer);
    static char chunk[CHUNK]; /* of the reader's own memory */
    if (is_heard && file >= 0 && question == QUESTION_PLACES) {
        read_places(fd, file, chunk);
        return;
    }
    ssize_t n = is_heard && file >= 0 && question == QUESTION_CONTENT ? 1 : 0;
    while (n > 0) {
        n = read(file, chunk, sizeof(chunk));
        for (ssize_t sent = 0, k; n > 0 && sent < n; sent += k) {
            k = write(fd, chunk + sent, (size_t)(n - sent));
            if (k < 0) {
                return;
            }
        }
    }
    /* An end without this is that of a reader that was killed. */
    unsigned char end = n < 0 ? (unsigned char)errno : 0;
    (void)!write(fd, &end, sizeof(end));
}

/*
 * A process, because a thread that a file system does not let go keeps its process from ending, and
 * its locks from being free. It is nobody's child: the one between ends at once. Our end of the
 * socket, or -errno.
 */
static int start_reader(const char *path, enum question question)
{
    int ends[2], status;
    sigset_t all, before;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        return -errno;
    }
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t between = fork();
    if (between == 0) {
        if (fork() == 0) {
            int fd = dup2(ends[1], STDIN_FILENO);
            (void)signal(SIGPIPE, SIG_DFL); /* who asked has gone, and so does this */
            (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
            (void)close_range(STDIN_FILENO + 1, ~0U, 0); /* locks, too */
            read_for_parent(fd, path, question);
        }
        _exit(0);
    }
    int sys_errno = between < 0 ? errno : 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    while (between > 0 && waitpid(between, &status, 0) < 0 && errno == EINTR) {
    }
    if (between < 0) {
        close(ends[0]);
    }
    return between < 0 ? -sys_errno : ends[0];
}

/* Whether this mount has not answered yet what it was asked before. */
static bool is_silent(const char *mount)
{
    bool is = false;
    pthread_mutex_lock(&silent.lock);
    for (size_t i = 0; i < silent.count;) {
        struct pollfd end = {.fd = silent.items[i].fd, .events = POLLIN};
        if (poll(&end, 1, 0) > 0) { /* it has, or its reader is gone */
            close(silent.items[i].fd);
            free(silent.items[i].mount);
            silent.items[i] = silent.items[--silent.count];
        } else {
            is |= text_eq(silent.items[i++].mount, mount);
        }
    }
    pthread_mutex_unlock(&silent.lock);
    return is;
}

static void note_silent(const char *mount, int fd_take)
{
    pthread_mutex_lock(&silent.lock);
    mem_grow(silent.items, silent.count);
    silent.items[silent.count++] = (struct silent){.mount = mem_strdup(mount), .fd = fd_take};
    pthread_mutex_unlock(&silent.lock);
}

/* The next bytes of a reader: as read(2), -ETIMEDOUT or another -errno. */
static ssize_t read_reader(int fd, void *bytes, size_t n, int limit_ms)
{
    struct pollfd end = {.fd = fd, .events = POLLIN};
    int64_t deadline_ms = clock_monotonic_ms(clock_system()) + limit_ms;
    for (;;) {
        int64_t left_ms = deadline_ms - clock_monotonic_ms(clock_system());
        int rc = poll(&end, 1, left_ms > 0 ? (int)left_ms : 0);
        if (rc == 0) {
            return -ETIMEDOUT;
        }
        ssize_t got = rc < 0 ? -1 : read(fd, bytes, n);
        if (got >= 0 || errno != EINTR) {
            return got < 0 ? -errno : got;
        }
    }
}

/* 0 or an errno, EIO: it ended before. */
static int read_whole(int fd, void *bytes, size_t n)
{
    ssize_t got = 1;
    for (size_t have = 0; got > 0 && have<n; have += got> 0 ? (size_t)got : 0) {
        got = read_reader(fd, (char *)bytes + have, n - have, USER_PATH_LIMIT_MS);
    }
    return got < 0 ? (int)-got : got == 0 ? EIO : 0;
}

/* What fits of all that it sends up to its end, of which the last byte is not of the content. 0 or
 * an errno, EFBIG: not all fits. */
static int read_content(int fd, struct buf *content)
{
    char chunk[CHUNK];
    int last = -1;
    ssize_t n;
    while ((n = read_reader(fd, chunk + 1, sizeof(chunk) - 1, USER_PATH_LIMIT_MS)) > 0) {
        const char *from = last < 0 ? chunk + 1 : chunk;
        size_t came = (size_t)(chunk + n - from), room = content->max - content->len;
        chunk[0] = (char)last;
        (void)buf_add(content, from, came < room ? came : room);
        if (came > room) {
            return EFBIG;
        }
        last = (unsigned char)chunk[n];
    }
    return n < 0 ? (int)-n : last < 0 ? EIO : last;
}

/* What the reader says first. 0 or an errno; *ret_fd is the reader's, unless that is silent. */
static int begin_asking(
    const char *mount, const char *path, enum question question, struct answer *ret, int *ret_fd)
{
    if (is_silent(mount)) {
        return ETIMEDOUT;
    }
    cleanup_close int fd = start_reader(path, question);
    if (fd < 0) {
        return -fd;
    }
    int rc = read_whole(fd, ret, sizeof(*ret));
    if (rc == ETIMEDOUT) {
        note_silent(mount, TAKE_FD(fd));
        return rc;
    }
    *ret_fd = TAKE_FD(fd);
    return rc ? rc : ret->sys_errno ? ret->sys_errno : ret->read_errno;
}

/* 0 or an errno. */
static int ask(const char *mount, const char *path, enum question question, struct answer *ret,
    struct buf *content)
{
    cleanup_close int fd = -1;
    int rc = begin_asking(mount, path, question, ret, &fd);
    if (rc == 0 && question == QUESTION_CONTENT && S_ISREG(ret->st.st_mode)) {
        rc = read_content(fd, content);
        if (rc == ETIMEDOUT) {
            note_silent(mount, TAKE_FD(fd));
        }
    }
    return rc;
}

/* open(2) refuses what access(2) does not know of: another user's mount, a security module. */
static int look_at(const char *path, enum question question, struct stat *ret)
{
    struct answer answer;
    cleanup_free char *mount = remote_mount_of(path);
    int rc = mount ? ask(mount, path, question, &answer, NULL) : stat(path, ret) < 0 ? errno : 0;
    if (!mount && rc == 0 && question != QUESTION_STAT && S_ISREG(ret->st_mode)) {
        cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        rc = fd < 0 ? errno : 0;
    }
    if (mount && rc == 0) {
        *ret = answer.st;
    }
    errno = rc;
    return rc == 0 ? 0 : -1;
}

int user_path_stat(const char *path, struct stat *ret)
{
    return look_at(path, QUESTION_STAT, ret);
}

int user_path_readable(const char *path, struct stat *ret)
{
    return look_at(path, QUESTION_READABLE, ret);
}

int user_path_read(const char *path, struct buf *out, struct error *err)
{
    struct answer answer;
    cleanup_free char *mount = remote_mount_of(path);
    if (!mount) {
        return fs_read_file(path, out, err);
    }
    int rc = ask(mount, path, QUESTION_CONTENT, &answer, out);
    if (rc == EFBIG) {
        (void)buf_add(out, "", 1); /* is_full */
        return error_set(err, ERR_IO, "'%s' is larger than %zu bytes", path, out->max);
    }
    return rc ? error_set_errno(err, ERR_IO, rc, "cannot read '%s'", path) : 0;
}

int user_path_read_head(const char *path, struct buf *out)
{
    struct answer answer;
    cleanup_free char *mount = remote_mount_of(path);
    if (mount) {
        int rc = ask(mount, path, QUESTION_CONTENT, &answer, out);
        errno = rc;
        return rc == 0 || rc == EFBIG ? 0 : -1;
    }
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char chunk[16384];
    ssize_t n = fd < 0 ? -1 : 1;
    for (size_t room; n > 0 && (room = out->max - out->len) > 0;) {
        n = read(fd, chunk, sizeof(chunk) < room ? sizeof(chunk) : room);
        if (n > 0) {
            buf_add(out, chunk, (size_t)n);
        }
    }
    errno = n < 0 && errno == EAGAIN ? ETIMEDOUT : errno; /* the kernel's, which has no more yet */
    return n < 0 ? -1 : 0;
}

int user_path_answers(const char *path)
{
    cleanup_buf struct buf first = BUF_INIT(1);
    return remote_mount_has(path) ? user_path_read_head(path, &first) : 0;
}

/* ---- a long file ---- */

static int open_here(const char *path, struct stat *ret, int *ret_fd)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, ret) < 0) {
        return errno;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* 0 or an errno, EINVAL: not a file. */
static int open_there(
    const char *path, enum question question, char **ret_mount, struct answer *ret, int *ret_fd)
{
    *ret_mount = remote_mount_of(path);
    int rc = *ret_mount ? begin_asking(*ret_mount, path, question, ret, ret_fd)
                        : open_here(path, &ret->st, ret_fd);
    return rc == 0 && !S_ISREG(ret->st.st_mode) ? EINVAL : rc;
}

int user_stream_open(struct user_stream *ret, const char *path)
{
    struct answer answer;
    cleanup_close int fd = -1;
    cleanup_free char *mount = NULL;
    int rc = open_there(path, QUESTION_CONTENT, &mount, &answer, &fd);
    if (rc == 0 && mount && fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        rc = errno;
    }
    if (rc == 0) {
        *ret = (struct user_stream){.fd = TAKE_FD(fd), .mount = TAKE_PTR(mount), .last = -1};
    }
    errno = rc;
    return rc == 0 ? 0 : -1;
}

/* Keeps back the last byte it has: only at the end of the pipe it shows what that one is. Without
 * time to wait EAGAIN is what ETIMEDOUT is with it. */
static ssize_t read_stream(struct user_stream *stream, char *bytes, size_t n, int limit_ms)
{
    if (!stream->mount) {
        ssize_t got = read(stream->fd, bytes, n);
        errno = got < 0 && errno == EAGAIN ? ETIMEDOUT : errno; /* /proc/kmsg, without more yet */
        return got;
    }
    for (;;) {
        size_t held = stream->last >= 0;
        ssize_t got = read_reader(stream->fd, bytes + held, n - held, limit_ms);
        if (got < 0) {
            errno = got == -ETIMEDOUT && limit_ms == 0 ? EAGAIN : (int)-got;
            return -1;
        }
        if (got == 0) {
            errno = held ? stream->last : EIO;
            return errno ? -1 : 0;
        }
        if (held) {
            bytes[0] = (char)stream->last;
        }
        size_t have = held + (size_t)got - 1;
        stream->last = (unsigned char)bytes[have];
        if (have > 0) {
            return (ssize_t)have;
        }
    }
}

ssize_t user_stream_read(struct user_stream *stream, void *bytes, size_t n)
{
    ssize_t got = read_stream(stream, bytes, n, USER_STREAM_LIMIT_MS);
    if (got < 0 && errno == ETIMEDOUT && stream->mount) {
        user_stream_give_up(stream);
        errno = ETIMEDOUT;
    }
    return got;
}

ssize_t user_stream_read_now(struct user_stream *stream, void *bytes, size_t n)
{
    return read_stream(stream, bytes, n, 0);
}

void user_stream_give_up(struct user_stream *stream)
{
    if (stream->fd >= 0 && stream->mount) {
        note_silent(stream->mount, TAKE_FD(stream->fd));
    }
    user_stream_close(stream);
}

void user_stream_close(struct user_stream *stream)
{
    cleanup_close_(&stream->fd);
    stream->fd = -1;
    free(TAKE_PTR(stream->mount));
}

/* ---- a file read here and there ---- */

int user_file_open(struct user_file *ret, const char *path)
{
    struct answer answer;
    cleanup_close int fd = -1;
    cleanup_free char *mount = NULL;
    int rc = open_there(path, QUESTION_PLACES, &mount, &answer, &fd);
    if (rc == 0) {
        *ret = (struct user_file){
            .fd = TAKE_FD(fd), .mount = TAKE_PTR(mount), .size = (uint64_t)answer.st.st_size};
    }
    errno = rc;
    return rc == 0 ? 0 : -1;
}

static ssize_t ask_place(struct user_file *file, void *bytes, size_t n, uint64_t offset)
{
    struct place place = {.offset = offset, .n = n};
    int64_t said = 0;
    int rc = file->fd < 0 ? ETIMEDOUT
             : send(file->fd, &place, sizeof(place), MSG_NOSIGNAL) < 0
                 ? errno
                 : read_whole(file->fd, &said, sizeof(said));
    rc = rc == 0 && said > 0 ? read_whole(file->fd, bytes, (size_t)said) : rc;
    if (rc == ETIMEDOUT && file->fd >= 0) {
        note_silent(file->mount, TAKE_FD(file->fd));
    }
    errno = rc ? rc : said < 0 ? (int)-said : 0;
    return errno ? -1 : (ssize_t)said;
}

ssize_t user_file_read_at(struct user_file *file, void *bytes, size_t n, uint64_t offset)
{
    size_t have = 0;
    ssize_t got = 1;
    if (!file->mount) {
        return fs_read_at(file->fd, bytes, n, (int64_t)offset);
    }
    while (got > 0 && have < n) {
        got = ask_place(file, (char *)bytes + have, n - have, offset + have);
        have += got > 0 ? (size_t)got : 0;
    }
    return got < 0 ? -1 : (ssize_t)have;
}

void user_file_close(struct user_file *file)
{
    cleanup_close_(&file->fd);
    file->fd = -1;
    free(TAKE_PTR(file->mount));
}

int user_path_error(const char *path, int sys_errno, struct error *err)
{
    error_set_errno(err, ERR_IO, sys_errno, "cannot read '%s'", path);
    return sys_errno == ETIMEDOUT
               ? error_help(err, "its file system does not answer: findmnt -T '%s'", path)
               : -ERR_IO;
}

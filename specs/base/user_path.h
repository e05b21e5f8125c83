/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Accesses files that a user names. On a file system with a server (NFS, SMB, FUSE, 9p, an
 * automount) every call, stat(2) too, may take forever, and not even SIGKILL ends it. Such calls
 * run in a separate process, which is waited for USER_PATH_LIMIT_MS at a time while it makes
 * progress. A file system that did not answer is not accessed again until that process has its
 * result: it blocks one process, however many VMs name files on it, and each caller at most once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct error;
struct stat;

enum {
    USER_PATH_LIMIT_MS = 1000,
    USER_STREAM_LIMIT_MS = 10000, /* of a long file: servers pause, too */
};

/* As stat(2): 0, or -1 and errno; ETIMEDOUT: its file system does not answer. */
int user_path_stat(const char *path, struct stat *ret);

/* The same, and of a file: does it open for reading? */
int user_path_readable(const char *path, struct stat *ret);

/* As fs_read_file(); sys_errno ETIMEDOUT as above. Not a file: nothing is read there. */
int user_path_read(const char *path, struct buf *out, struct error *err);

/* Appends the beginning of the file, as much as fits. 0, or -1 and errno. */
int user_path_read_head(const char *path, struct buf *out);

/* Whether the file's first byte comes, before it is read in another way; not looked at on a file
 * system of this machine. 0, or -1 and errno. */
int user_path_answers(const char *path);

/* A file read from its first byte to its last, however long it is. */
struct user_stream {
    int fd; /* -1: not open. Readable when there is more to read */
    char
        *mount; /* of another's file system: then `fd` is its reader's pipe; NULL: the file's own */
    int last;   /* of a reader: the byte that is its last word if no other follows; -1: none yet */
};

#define USER_STREAM_INIT                                                                           \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* A regular file; `ret` is INIT. 0, or -1 and errno: ETIMEDOUT as above, EINVAL not a file. */
int user_stream_open(struct user_stream *ret, const char *path);

/* As read(2), of at least 2 bytes, and waits: ETIMEDOUT when nothing came for
 * USER_STREAM_LIMIT_MS. */
ssize_t user_stream_read(struct user_stream *stream, void *bytes, size_t n);

/* The same without waiting: EAGAIN. */
ssize_t user_stream_read_now(struct user_stream *stream, void *bytes, size_t n);

/* Nothing came for USER_STREAM_LIMIT_MS: its file system is not asked again until it answers. */
void user_stream_give_up(struct user_stream *stream);

void user_stream_close(struct user_stream *stream); /* twice is fine */

/* A file for reads at any offset. */
struct user_file {
    int fd;      /* -1: not open */
    char *mount; /* as in struct user_stream */
    uint64_t size;
};

#define USER_FILE_INIT                                                                             \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* As user_stream_open(). */
int user_file_open(struct user_file *ret, const char *path);

/* As fs_read_at(), and waits: ETIMEDOUT when nothing came for USER_PATH_LIMIT_MS, and ever after.
 */
ssize_t user_file_read_at(struct user_file *file, void *bytes, size_t n, uint64_t offset);

void user_file_close(struct user_file *file); /* twice is fine */

/* Sets ERR_IO of a read that failed with errno: what it is of a file system that does not answer.
 */
int user_path_error(const char *path, int sys_errno, struct error *err);

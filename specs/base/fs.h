/* SPDX-License-Identifier: MPL-2.0 */
/* Files and paths: bounded reads, durable atomic writes, private directories, long socket paths. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct error;

/* "a/b"; an absolute `b` is returned alone. free() it. */
char *fs_join(const char *a, const char *b);
/* The program's path in PATH; NULL: none. An item that is not absolute is skipped: the current
 * directory may be somebody else's. free() it. */
char *fs_find_program(const char *name);

/* Absolute and without ".", ".." and doubled slashes: "~" and "~/x" start at `home`, a relative
 * path at `base_dir` (absolute). Pure text: symbolic links are not resolved. free() it. */
char *fs_resolve(const char *raw, const char *base_dir, const char *home);

bool fs_exists(const char *path);

/* Size in bytes of the file at `path`, or -1. */
int64_t fs_size(const char *path);

/* Whether `bytes` fit on the file system of this file and leave what the others need there: 64 MiB,
 * or 1/16 of a small file system. True also where it does not say how much is free. */
bool fs_has_room(int fd, uint64_t bytes);

enum {
    FS_READ_LIMIT_MS = 1000,  /* of the kernel's files that look like others: /proc/kmsg */
    FS_PIPE_LIMIT_MS = 30000, /* of a pipe: somebody may have to type a password first */
};

/* Appends the whole file; more than buf's maximum is an error. So is one from which nothing came
 * for this long: sys_errno ETIMEDOUT. */
int fs_read_file(const char *path, struct buf *out, struct error *err);
/* The same of a regular file alone: sys_errno EINVAL or EISDIR of anything else. */
int fs_read_regular(const char *path, struct buf *out, struct error *err);

/*
 * Replaces `path` by these bytes, durably: temporary file beside it, fsync, rename, fsync of the
 * directory. Killed anywhere, `path` holds the old bytes or the new ones, never a part.
 */
int fs_write_file(const char *path, const void *bytes, size_t n, mode_t mode, struct error *err);

/* Gives the finished file `from` its mode and its name `to` in the same file system, durably. */
int fs_publish(const char *from, const char *to, mode_t mode, struct error *err);

/* fsync of the file and of its directory: makes a finished rename or creation durable. */
int fs_sync(const char *path, struct error *err);
int fs_sync_dir_of(const char *path, struct error *err);

/* mkdir -p; directories made get `mode`. An existing directory is fine. */
int fs_make_dirs(const char *path, mode_t mode, struct error *err);

/* rm -rf that follows no symbolic link at or below `path`. A missing path is fine. */
int fs_remove_tree(const char *path, struct error *err);

/*
 * For renames and deletions that must not leave a directory: opens `relative` ("vms/web") below
 * `root` and follows no symbolic link on the way, nor "..". Returns the directory's descriptor
 * (O_CLOEXEC), or a negative error.
 */
int fs_open_beneath(const char *root, const char *relative, struct error *err);

/* A name of one entry of a directory: no slash, not "", "." or "..". */
bool fs_is_entry_name(const char *name);

/* fs_each_entry() of a directory that is reached as above; for none, if it cannot be. */
void fs_each_beneath(const char *root, const char *relative,
    void (*each)(void *context, int dir_fd, const char *name), void *context);

/* rm -rf of the entry `name` in root/relative, reached as above. A missing one is fine. */
int fs_remove_beneath(const char *root, const char *relative, const char *name, struct error *err);

/* Calls `each` for every name in a directory but "." and "..", for none if it cannot be read or is
 * a symbolic link. */
void fs_each_entry(
    const char *path, void (*each)(void *context, int dir_fd, const char *name), void *context);

/* unlink(); a missing file is fine. */
int fs_remove_file(const char *path, struct error *err);

/* pread() until `n` bytes are there or the file ends; -1 with errno. */
ssize_t fs_read_at(int fd, void *bytes, size_t n, int64_t offset);

/* Of a file with holes: the first data at *at or behind it, which *at becomes, and its end. 1, or 0
 * where only a hole follows; -1 with errno. */
int fs_next_data(int fd, int64_t *at, int64_t *ret_end);

/* write() until all is written. */
int fs_write_all(int fd, const void *bytes, size_t n, struct error *err);

/*
 * Unix stream sockets at paths of any length: sun_path holds 108 bytes (unix(7)), so the directory
 * is opened first and the address goes through /proc/self/fd. Descriptors are O_CLOEXEC|O_NONBLOCK.
 * Listening replaces the file at `path`: only call it while holding the lock that owns it.
 */
int fs_listen_unix(const char *path, int *ret_fd, struct error *err);
int fs_connect_unix(const char *path, int *ret_fd, struct error *err);

/* First of all in main(): opens standard input, output and error where they are closed, so that no
 * file opened later (the store's) gets their number. Writing there fails, as on a closed one. */
void fs_hold_standard_fds(void);

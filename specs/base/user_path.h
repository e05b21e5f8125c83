/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Files that a user names. On a file system that somebody else serves (NFS, SMB, FUSE, 9p, an
 * automount) every call may take forever, stat(2) too, and not even SIGKILL ends one; so there it
 * is made by a process of its own, which is waited for USER_PATH_LIMIT_MS at a time, for as long as
 * it comes further. A file system that has not answered is not asked again until that process has
 * its answer: it blocks one of those, however many VMs name files on it, and nobody for longer than
 * once.
 */
#pragma once

#include <stdbool.h>

struct buf;
struct error;
struct stat;

enum { USER_PATH_LIMIT_MS = 1000 };

/* As stat(2): 0, or -1 and errno; ETIMEDOUT: its file system does not answer. */
int user_path_stat(const char *path, struct stat *ret);

/* The same, and of a file access(2): may this user read it? */
int user_path_readable(const char *path, struct stat *ret);

/* As fs_read_file(); sys_errno ETIMEDOUT as above. Not a file: nothing is read there. */
int user_path_read(const char *path, struct buf *out, struct error *err);

/* Appends the beginning of the file, as much as fits. 0, or -1 and errno. */
int user_path_read_head(const char *path, struct buf *out);

/* Whether the file's first byte comes, before it is read in another way; not looked at on a file
 * system of this machine. 0, or -1 and errno. */
int user_path_answers(const char *path);

/* Whether the path, links followed, leads to such a file system; asks none for it. inotify(7) is of
 * no use there, and adding a watch may block. */
bool user_path_is_remote(const char *path);

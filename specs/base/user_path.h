/* SPDX-License-Identifier: MPL-2.0 */
/*
 * stat(2) of a path that a user names, for a thread that must not block. On a file system that
 * somebody else serves (NFS, SMB, FUSE, 9p, an automount) even stat(2) can take forever; so there
 * it is called on a thread of its own and waited for USER_PATH_LIMIT_MS. A file system that has not
 * answered is not asked again until that thread has its answer: it blocks one thread, however many
 * VMs name files on it, and nobody for longer than once.
 */
#pragma once

#include <stdbool.h>

struct stat;

enum { USER_PATH_LIMIT_MS = 1000 };

/* As stat(2): 0, or -1 and errno; ETIMEDOUT: its file system does not answer. */
int user_path_stat(const char *path, struct stat *ret);

/* Whether the path, links followed, leads to such a file system; asks none for it. inotify(7) is of
 * no use there, and adding a watch may block. */
bool user_path_is_remote(const char *path);

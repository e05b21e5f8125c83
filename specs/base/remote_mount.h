/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Which mount a path is on, without asking its file system: by proc_pid_mountinfo(5), one component
 * and one link after the other.
 */
#pragma once

#include <stdbool.h>

/* The first mount point on the path, links followed, of a file system that somebody else serves
 * (NFS, SMB, FUSE, 9p, an automount); NULL: all of it is of this machine. free() it. */
char *remote_mount_of(const char *path);

/* inotify(7) does not work there, and adding a watch may block. */
bool remote_mount_has(const char *path);

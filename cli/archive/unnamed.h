/* SPDX-License-Identifier: MPL-2.0 */
/* Files that have no name until they are complete (open(2), O_TMPFILE): whatever ends the program
 * before leaves nothing of them; where the file system knows no such files, the next that is made
 * in the directory a day later removes it. */
#pragma once

#include <stdbool.h>

struct error;

struct unnamed {
    int fd;      /* -1: none */
    char *spare; /* where the file system knows no such files: the name it has instead, which
                  * unnamed_clear() removes; NULL: it has none */
};

/* In the file system of `directory`; `mode` before the umask. */
int unnamed_open(const char *directory, unsigned mode, struct unnamed *ret, struct error *err);
/* The same where the file system knows none. Removes what killed ones left a day ago. */
int unnamed_open_spare(
    const char *directory, unsigned mode, struct unnamed *ret, struct error *err);
/* Synced; `path` in the same file system must not exist: -ERR_VM_CONFLICT. The caller syncs its
 * directory. */
int unnamed_publish(struct unnamed *file, const char *path, struct error *err);
void unnamed_clear(struct unnamed *file);

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Where a change of a file shows itself: as an entry of a directory. Editors replace files rather
 * than write them (rename, symlink swap, `git checkout`), so a watch on the file itself goes dead;
 * its directory's does not. A path through symbolic links, or to what does not exist yet, has
 * several such spots: each link, the last file, the first component that is missing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct watch_point {
    char *directory; /* absolute, exists, no symbolic link in it */
    char *name;      /* of the entry; NULL: any whose name ends in ".kdl" */
};

struct watch_point_list {
    struct watch_point *items;
    size_t count;
    bool needs_polling; /* one is on a file system whose changes elsewhere are not reported here */
};

/* Both access the file system and may block: call them on a pool thread. `path` is absolute. */
void watch_points_add_file(struct watch_point_list *list, const char *path);
void watch_points_add_directory(struct watch_point_list *list, const char *path); /* of VMFiles */
void watch_points_clear(struct watch_point_list *list);

/* Whether a change of `name` (NULL: of anything) in `directory` is at one of the spots. */
bool watch_points_match(
    const struct watch_point_list *list, const char *directory, const char *name);

/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/source/path_watch.h"

#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/remote_mount.h"

enum { LINKS_MAX = 40 /* as the kernel's, path_resolution(7) */ };

/* inotify(7): changes made on another machine, or by a FUSE server, are not reported. */
static bool is_told_of_changes(const char *directory)
{
    static const unsigned long untold[] = {NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, CIFS_SUPER_MAGIC,
        SMB2_SUPER_MAGIC, V9FS_MAGIC, FUSE_SUPER_MAGIC, CEPH_SUPER_MAGIC, AFS_SUPER_MAGIC};
    struct statfs fs;
    for (size_t i = 0; statfs(directory, &fs) == 0 && i < ARRAY_LEN(untold); i++) {
        if ((unsigned long)fs.f_type == untold[i]) {
            return false;
        }
    }
    return true;
}

static void path_watch_add(struct watch_point_list *list, const char *directory, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (text_eq(list->items[i].directory, directory) && text_eq(list->items[i].name, name)) {
            return;
        }
    }
    mem_grow(list->items, list->count);
    list->items[list->count++] =
        (struct watch_point){.directory = mem_strdup(directory), .name = mem_strdup(name)};
    list->needs_polling = list->needs_polling || !is_told_of_changes(directory);
}

/* ---- along a path ---- */

/* `done` is real: each component was looked at and is no link. So ".." is a step back in text. */
struct walk {
    struct watch_point_list *list;
    struct buf done; /* "" is the root */
    char *rest;      /* owned */
    unsigned n_links;
};

static const char *where(const struct walk *walk)
{
    return walk->done.len > 0 ? buf_str(&walk->done) : "/";
}

static void step_back(struct walk *walk)
{
    const char *slash = strrchr(buf_str(&walk->done), '/');
    cleanup_free char *shorter =
        mem_strndup(buf_str(&walk->done), slash ? (size_t)(slash - buf_str(&walk->done)) : 0);
    buf_reset(&walk->done);
    buf_add_str(&walk->done, shorter);
}

/* Continues with the target of the link, then with the rest of the path. */
static bool follow_link(struct walk *walk, const char *path, const char *left)
{
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n < 0 || ++walk->n_links > LINKS_MAX) {
        return false;
    }
    target[n] = '\0';
    char *rest = mem_printf("%s/%s", target, left);
    free(walk->rest);
    walk->rest = rest;
    if (target[0] == '/') {
        buf_reset(&walk->done);
    }
    return true;
}

/* One component; false at the end of the way. */
static bool path_watch_step(struct walk *walk)
{
    const char *start = walk->rest + strspn(walk->rest, "/");
    size_t n = strcspn(start, "/");
    cleanup_free char *name = mem_strndup(start, n);
    cleanup_free char *left = mem_strdup(start + n + strspn(start + n, "/"));
    struct stat st;
    if (n == 0) {
        return false;
    }
    if (text_eq(name, "..")) {
        step_back(walk);
    } else if (!text_eq(name, ".")) {
        cleanup_free char *path = mem_printf("%s/%s", buf_str(&walk->done), name);
        if (remote_mount_has(path)) { /* no further: its server may never answer */
            path_watch_add(walk->list, where(walk), name);
            walk->list->needs_polling = true;
            return false;
        }
        bool is_there = lstat(path, &st) == 0;
        bool is_link = is_there && S_ISLNK(st.st_mode);
        if (!is_there || is_link || !left[0]) {
            path_watch_add(walk->list, where(walk), name);
        }
        if (is_link) {
            return follow_link(walk, path, left);
        }
        if (!is_there) {
            return false;
        }
        buf_printf(&walk->done, "/%s", name);
    }
    free(walk->rest);
    walk->rest = TAKE_PTR(left);
    return true;
}

/* Returns the real path of what is there in the end, or NULL. */
static char *walk_along(struct watch_point_list *list, const char *path)
{
    struct walk walk = {.list = list, .rest = mem_strdup(path)};
    struct stat st;
    while (path_watch_step(&walk)) {
    }
    char *real = mem_strdup(where(&walk));
    free(walk.rest);
    buf_clear(&walk.done);
    if (remote_mount_has(path) || stat(path, &st) < 0) {
        free(TAKE_PTR(real));
    }
    return real;
}

void watch_points_add_file(struct watch_point_list *list, const char *path)
{
    free(walk_along(list, path));
}

void watch_points_add_directory(struct watch_point_list *list, const char *path)
{
    cleanup_free char *real = walk_along(list, path);
    if (real) {
        path_watch_add(list, real, NULL);
    }
}

void watch_points_clear(struct watch_point_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].directory);
        free(list->items[i].name);
    }
    free(list->items);
    *list = (struct watch_point_list){.count = 0};
}

bool watch_points_match(
    const struct watch_point_list *list, const char *directory, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct watch_point *watch_point = &list->items[i];
        if (text_eq(watch_point->directory, directory) &&
            (!name || (watch_point->name ? text_eq(watch_point->name, name)
                                         : text_ends_with(name, ".kdl")))) {
            return true;
        }
    }
    return false;
}

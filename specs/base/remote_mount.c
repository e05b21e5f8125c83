/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/remote_mount.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { LINKS_MAX = 40 /* as the kernel's, path_resolution(7) */, MOUNTS_MAX = 16 << 20 };

/* "\040" of proc_pid_mountinfo(5) becomes a blank. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *at = text; *at; at++) {
        *to = *at;
        if (at[0] == '\\' && strspn(at + 1, "01234567") >= 3) {
            *to = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
            at += 3;
        }
        to++;
    }
    *to = '\0';
}

static bool is_remote_type(const char *type)
{
    static const char *const types[] = {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs",
        "virtiofs", "autofs", "lustre", "gpfs", "beegfs", "ocfs2", "gfs2", "fuse", "fuseblk"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (text_eq(type, types[i])) {
            return true;
        }
    }
    return text_starts_with(type, "fuse.");
}

/* The mount table, as it was read last, and under its lock. */
struct mount {
    char *point; /* "" for the root */
    bool is_remote;
};
static struct {
    pthread_mutex_t lock;
    int fd; /* -1: not opened yet */
    struct mount *mounts;
    size_t n;
    bool is_read, has_remote;
} mounted = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

/* A line of proc_pid_mountinfo(5). */
static void take_mount(const char *line)
{
    char point[PATH_MAX], type[64];
    const char *after = strstr(line, " - ");
    if (sscanf(line, "%*s %*s %*s %*s %4095s", point) != 1 || !after ||
        sscanf(after, " - %63s", type) != 1) {
        return;
    }
    unescape(point);
    struct mount mount = {mem_strdup(text_eq(point, "/") ? "" : point), is_remote_type(type)};
    mounted.has_remote |= mount.is_remote;
    mem_grow(mounted.mounts, mounted.n);
    mounted.mounts[mounted.n++] = mount;
}

/* Each pass over a VM asks this, so the table is read again only when poll(2) reports that it has
 * changed (proc_pid_mounts(5)). False: all file systems are of this machine. */
static bool has_remote_mounts(void)
{
    (void)pthread_mutex_lock(&mounted.lock);
    if (mounted.fd < 0) {
        mounted.fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    }
    struct pollfd change = {.fd = mounted.fd, .events = POLLPRI};
    if (mounted.fd >= 0 && (poll(&change, 1, 0) > 0 || !mounted.is_read)) {
        cleanup_buf struct buf table = BUF_INIT(MOUNTS_MAX);
        char chunk[4096], *state = NULL;
        (void)lseek(mounted.fd, 0, SEEK_SET);
        for (ssize_t n; (n = read(mounted.fd, chunk, sizeof(chunk))) > 0;) {
            buf_add(&table, chunk, (size_t)n);
        }
        while (mounted.n > 0) {
            free(mounted.mounts[--mounted.n].point);
        }
        free(TAKE_PTR(mounted.mounts));
        mounted.has_remote = false;
        mounted.is_read = true;
        for (char *line = table.data ? strtok_r(table.data, "\n", &state) : NULL; line;
             line = strtok_r(NULL, "\n", &state)) {
            take_mount(line);
        }
    }
    bool has_remote = mounted.has_remote;
    (void)pthread_mutex_unlock(&mounted.lock);
    return has_remote;
}

/* The longest mount point at or above `path`, the last one if several are mounted there; NULL when
 * its file system is one of this machine. free() it. */
static char *find_mount(const char *path)
{
    const struct mount *best = NULL;
    size_t best_n = 0;
    (void)pthread_mutex_lock(&mounted.lock);
    for (size_t i = 0; i < mounted.n; i++) {
        size_t n = strlen(mounted.mounts[i].point);
        bool is_above = n >= best_n && strncmp(path, mounted.mounts[i].point, n) == 0 &&
                        (path[n] == '/' || path[n] == '\0');
        best = is_above ? &mounted.mounts[i] : best;
        best_n = is_above ? n : best_n;
    }
    char *point = best && best->is_remote ? mem_strdup(best->point) : NULL;
    (void)pthread_mutex_unlock(&mounted.lock);
    return point;
}

/* A link is read only after its own directory was found to be of this machine. */
char *remote_mount_of(const char *path)
{
    if (!has_remote_mounts()) {
        return NULL;
    }
    cleanup_buf struct buf done = BUF_INIT(0);
    cleanup_free char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);
    cleanup_free char *rest = mem_printf("%s/%s", cwd ? cwd : "", path);
    char *mount = NULL;
    for (int links = 0; !mount && links <= LINKS_MAX;) {
        const char *name = rest + strspn(rest, "/");
        size_t n = strcspn(name, "/");
        if (n == 0) {
            break;
        }
        cleanup_free char *left = mem_strdup(name + n);
        cleanup_free char *next = mem_printf("%s/%.*s", buf_str(&done), (int)n, name);
        char target[PATH_MAX];
        bool is_up = n == 2 && strncmp(name, "..", 2) == 0;
        bool is_here = n == 1 && *name == '.';
        mount = is_up || is_here ? NULL : find_mount(next);
        ssize_t length = mount || is_up || is_here ? -1 : readlink(next, target, PATH_MAX - 1);
        const char *slash = strrchr(buf_str(&done), '/');
        if (length >= 0) {
            target[length] = '\0';
            links++;
            free(rest);
            rest = mem_printf("%s%s", target, left);
        } else {
            free(rest);
            rest = TAKE_PTR(left);
        }
        if (length >= 0 ? target[0] == '/' : is_up) {
            cleanup_free char *above =
                is_up && slash ? mem_strndup(buf_str(&done), (size_t)(slash - buf_str(&done)))
                               : mem_strdup("");
            buf_reset(&done);
            buf_add_str(&done, above);
        } else if (length < 0 && !is_here) {
            buf_reset(&done);
            buf_add_str(&done, next);
        }
    }
    return mount;
}

bool remote_mount_has(const char *path)
{
    cleanup_free char *mount = remote_mount_of(path);
    return mount != NULL;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/user_path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"

enum { LINKS_MAX = 40 /* as the kernel's, path_resolution(7) */, MOUNTS_MAX = 16 << 20 };

/* ---- which mount a path is on, without asking its file system ---- */

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
static char *remote_mount_of(const char *path)
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

/* Goes along the path and its links until it comes to a mount point of such a file system; a link
 * is read only after its own directory was found to be of this machine. NULL: it does not. */
static char *find_remote(const char *path)
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
        mount = is_up || is_here ? NULL : remote_mount_of(next);
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

bool user_path_is_remote(const char *path)
{
    cleanup_free char *mount = find_remote(path);
    return mount != NULL;
}

/* ---- asking it ---- */

struct question {
    char *path, *mount;
    struct stat st;
    int sys_errno;
    bool is_answered, is_left; /* under the lock: who comes second frees it */
};

/* The process's, as its threads are. `mounts`: those whose question was left. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    struct strings mounts;
} unanswered = {.lock = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER};

static void question_free(struct question *question)
{
    free(question->path);
    free(question->mount);
    free(question);
}

static void *ask(void *context)
{
    struct question *question = context;
    int sys_errno = stat(question->path, &question->st) < 0 ? errno : 0;
    pthread_mutex_lock(&unanswered.lock);
    question->sys_errno = sys_errno;
    question->is_answered = true;
    bool is_left = question->is_left;
    for (size_t i = 0; is_left && i < unanswered.mounts.count; i++) {
        if (text_eq(unanswered.mounts.items[i], question->mount)) {
            free(unanswered.mounts.items[i]);
            unanswered.mounts.items[i] = unanswered.mounts.items[--unanswered.mounts.count];
        }
    }
    pthread_cond_broadcast(&unanswered.answered);
    pthread_mutex_unlock(&unanswered.lock);
    if (is_left) {
        question_free(question);
    }
    return NULL;
}

/* Signals are for the other threads. 0 or an errno. */
static int start_asking(struct question *question)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attributes, ask, question);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return rc;
}

int user_path_stat(const char *path, struct stat *ret)
{
    cleanup_free char *mount = find_remote(path);
    if (!mount) {
        return stat(path, ret);
    }
    struct timespec limit;
    clock_gettime(CLOCK_MONOTONIC, &limit);
    limit.tv_sec += USER_PATH_LIMIT_MS / 1000;
    pthread_mutex_lock(&unanswered.lock);
    int rc = strings_have(&unanswered.mounts, mount) ? ETIMEDOUT : 0;
    struct question *question = NULL;
    if (rc == 0) {
        question = mem_new(struct question);
        question->path = mem_strdup(path);
        question->mount = mem_strdup(mount);
        rc = start_asking(question);
    }
    while (rc == 0 && !question->is_answered) {
        rc =
            pthread_cond_clockwait(&unanswered.answered, &unanswered.lock, CLOCK_MONOTONIC, &limit);
    }
    bool is_answered = question && question->is_answered;
    if (is_answered) {
        *ret = question->st;
        rc = question->sys_errno;
    } else if (question && rc == ETIMEDOUT) {
        question->is_left = true;
        strings_add(&unanswered.mounts, mount);
        question = NULL; /* the thread's */
    }
    pthread_mutex_unlock(&unanswered.lock);
    if (question) {
        question_free(question);
    }
    errno = rc;
    return rc == 0 ? 0 : -1;
}

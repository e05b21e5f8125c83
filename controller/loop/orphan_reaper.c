/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/orphan_reaper.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"

enum { CHILDREN_MAX = 1 << 20 };

struct zombies {
    pid_t *pids;
    size_t count;
};

struct orphan_reaper {
    int64_t grace_ms;
    struct loop_timer *timer;
    bool is_armed;
    struct zombies before; /* those of the last look */
};

bool orphan_reaper_is_needed(void)
{
    int is_subreaper = 0;
    (void)prctl(PR_GET_CHILD_SUBREAPER, &is_subreaper);
    return getpid() == 1 || is_subreaper;
}

/* WNOWAIT leaves it a zombie. */
static bool is_zombie(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

static void add_zombies(struct zombies *zombies, const char *children)
{
    char *end;
    for (long pid; (pid = strtol(children, &end, 10)) > 0; children = end) {
        if (is_zombie((pid_t)pid)) {
            mem_grow(zombies->pids, zombies->count);
            zombies->pids[zombies->count++] = (pid_t)pid;
        }
    }
}

/* proc_pid_task(5): the children of each thread; orphans come to any of them. */
static struct zombies list_zombies(void)
{
    struct zombies zombies = {0};
    DIR *threads = opendir("/proc/self/task");
    for (struct dirent *thread; threads && (thread = readdir(threads)) != NULL;) {
        cleanup_free char *path = mem_printf("/proc/self/task/%s/children", thread->d_name);
        cleanup_buf struct buf children = BUF_INIT(CHILDREN_MAX);
        struct error ignored = {0}; /* the thread ended meanwhile */
        if (thread->d_name[0] != '.' && fs_read_file(path, &children, &ignored) == 0) {
            add_zombies(&zombies, buf_str(&children));
        }
    }
    if (threads) {
        closedir(threads);
    }
    return zombies;
}

static bool has(const struct zombies *zombies, pid_t pid)
{
    for (size_t i = 0; i < zombies->count; i++) {
        if (zombies->pids[i] == pid) {
            return true;
        }
    }
    return false;
}

static void on_timer(void *context)
{
    struct orphan_reaper *reaper = context;
    struct zombies now = list_zombies();
    reaper->is_armed = false;
    for (size_t i = 0; i < now.count; i++) {
        if (has(&reaper->before, now.pids[i])) {
            log_debug("controller", "reaping orphan %d", (int)now.pids[i]);
            (void)waitpid(now.pids[i], NULL, WNOHANG);
        } else {
            orphan_reaper_look(reaper);
        }
    }
    free(reaper->before.pids);
    reaper->before = now;
}

struct orphan_reaper *orphan_reaper_new(struct loop *loop, int64_t grace_ms)
{
    struct orphan_reaper *reaper = mem_new(struct orphan_reaper);
    reaper->grace_ms = grace_ms;
    reaper->timer = loop_timer_new(loop, on_timer, reaper);
    return reaper;
}

void orphan_reaper_look(struct orphan_reaper *reaper)
{
    if (!reaper->is_armed) {
        reaper->is_armed = true;
        loop_timer_start(reaper->timer, reaper->grace_ms);
    }
}

void orphan_reaper_free(struct orphan_reaper *reaper)
{
    if (reaper) {
        loop_timer_free(reaper->timer);
        free(reaper->before.pids);
        free(reaper);
    }
}

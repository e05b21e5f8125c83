/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/orphan_reaper.h"

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

/* proc_pid_task(5): the children of each thread; orphans come to any of them. */
static void add_zombies(void *context, int dir_fd, const char *thread)
{
    struct zombies *zombies = context;
    cleanup_free char *path = mem_printf("/proc/self/task/%s/children", thread);
    cleanup_buf struct buf children = BUF_INIT(CHILDREN_MAX);
    struct error ignored = {0}; /* the thread ended meanwhile */
    (void)dir_fd;
    if (fs_read_file(path, &children, &ignored) < 0) {
        return;
    }
    const char *text = buf_str(&children);
    char *end;
    for (long pid; (pid = strtol(text, &end, 10)) > 0; text = end) {
        siginfo_t info = {0};
        int rc = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT); /* stays a zombie */
        if (rc == 0 && info.si_pid == pid) {
            mem_grow(zombies->pids, zombies->count);
            zombies->pids[zombies->count++] = (pid_t)pid;
        }
    }
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
    struct zombies now = {0};
    fs_each_entry("/proc/self/task", add_zombies, &now);
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

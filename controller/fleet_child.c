/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet_child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/loop/child.h"
#include "controller/loop/loop.h"
#include "controller/loop/process.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/proc_stat.h"
#include "specs/fleet/fleet_config.h"

enum { AGAIN_FIRST_MS = 200, AGAIN_MAX_MS = 30 * 1000, LIVED_MS = 60 * 1000, END_MS = 2000 };

extern char **environ;

struct fleet_child {
    struct loop *loop;
    const struct paths *paths;
    struct process *process; /* NULL: none runs */
    pid_t pid;
    struct loop_timer *again;
    int64_t delay_ms;
    int64_t started_ms;
};

static void start_again(void *context);

static void on_exited(void *context)
{
    struct fleet_child *child = context;
    int status = process_exit_status(child->process);
    bool has_lived = loop_now_ms(child->loop) - child->started_ms >= LIVED_MS;
    process_close(TAKE_PTR(child->process));
    log_warn("controller", "the fleet's messenger has ended (%d); another is started in %lld ms",
        status, (long long)child->delay_ms);
    child->delay_ms = has_lived ? AGAIN_FIRST_MS : child->delay_ms;
    loop_timer_start(child->again, child->delay_ms);
    child->delay_ms = child->delay_ms * 2 > AGAIN_MAX_MS ? AGAIN_MAX_MS : child->delay_ms * 2;
}

/* It inherits our stderr, which is the log. */
static int spawn_messenger(struct fleet_child *child, struct error *err)
{
    char *const argv[] = {(char *)(uintptr_t) "vmctld", (char *)(uintptr_t) "--fleet",
        (char *)(uintptr_t) "--data-dir", child->paths->data_dir, NULL};
    posix_spawnattr_t attributes;
    struct proc_look look;
    child_attributes_init(&attributes);
    int rc = posix_spawn(&child->pid, "/proc/self/exe", NULL, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    if (rc != 0) {
        return error_set_start(err, ERR_CONTROLLER, rc, "cannot start the fleet's messenger");
    }
    if (!proc_stat_look(child->pid, &look)) {
        (void)waitpid(child->pid, NULL, 0);
        return error_set(err, ERR_CONTROLLER, "the fleet's messenger ended at once");
    }
    return process_watch(
        child->loop, child->pid, look.start_ticks, on_exited, child, &child->process, err);
}

static void start_again(void *context)
{
    struct fleet_child *child = context;
    cleanup_free char *config = paths_path(child->paths, FLEET_CONFIG_FILE);
    struct error err = {.code = ERR_NONE};
    if (!fs_exists(config)) {
        return; /* it was left meanwhile */
    }
    child->started_ms = loop_now_ms(child->loop);
    if (spawn_messenger(child, &err) < 0) {
        log_warn("controller", "%s", err.message);
        loop_timer_start(child->again, AGAIN_MAX_MS);
    }
}

struct fleet_child *fleet_child_new(struct loop *loop, const struct paths *paths)
{
    cleanup_free char *config = paths_path(paths, FLEET_CONFIG_FILE);
    if (!fs_exists(config)) {
        return NULL;
    }
    struct fleet_child *child = mem_new(struct fleet_child);
    child->loop = loop;
    child->paths = paths;
    child->delay_ms = AGAIN_FIRST_MS;
    child->again = loop_timer_new(loop, start_again, child);
    start_again(child);
    return child;
}

void fleet_child_free(struct fleet_child *child)
{
    if (!child) {
        return;
    }
    if (child->process) {
        process_signal(child->process, SIGTERM);
        for (int waited = 0; waited < END_MS && process_is_alive(child->process); waited += 10) {
            (void)poll(NULL, 0, 10);
        }
        process_signal(child->process, SIGKILL);
        (void)process_exit_status(child->process);
        process_close(child->process);
    }
    loop_timer_free(child->again);
    free(child);
}

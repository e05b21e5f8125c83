/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/controller_process.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/wait/wakeup.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/lockfile.h"
#include "specs/base/text.h"
#include "store/session.h"
#include "store/store.h"

int controller_find(struct cli *cli, struct controller_process *ret, struct error *err)
{
    static const enum controller_state states[] = {
        [SESSION_SERVES] = CONTROLLER_SERVES,
        [SESSION_ENDING] = CONTROLLER_CHANGING,
        [SESSION_ELSEWHERE] = CONTROLLER_ELSEWHERE,
    };
    struct session session;
    cleanup_free char *lock_path = paths_path(&cli->paths, "controller.lock");
    *ret = (struct controller_process){.state = CONTROLLER_NONE};
    int rc = cli_open_store(cli, err);
    /* The lock first: one that is released in between was that of the session before. */
    bool is_held = lockfile_is_held(lock_path);
    if (rc < 0) {
        return rc;
    }
    if (session_read(cli->store, &session, err) < 0) {
        error_clear(err); /* a damaged record is as none: a starting controller writes it again */
    }
    bool is_over = session.state == SESSION_ELSEWHERE && !is_held;
    if (session.state == SESSION_NONE || is_over) {
        ret->state = is_held ? CONTROLLER_CHANGING : CONTROLLER_NONE;
        return 0;
    }
    ret->state = states[session.state];
    ret->pid = session.state == SESSION_ELSEWHERE ? 0 : session.pid;
    ret->is_stopped = session.is_stopped;
    ret->is_halted = session.is_stopped || session.is_traced;
    ret->started_ms = session.started_ms;
    (void)snprintf(ret->version, sizeof(ret->version), "%s", session.version);
    if (session.state == SESSION_SERVES) {
        (void)snprintf(ret->session, sizeof(ret->session), "%s", session.id);
        ret->has_observed_all = session.has_observed_all;
    }
    return 0;
}

void controller_note_absent(struct cli *cli)
{
    struct controller_process process;
    struct error ignored = {.code = ERR_NONE};
    if (controller_find(cli, &process, &ignored) == 0 && process.state == CONTROLLER_NONE) {
        cli_note(cli, "no controller runs: this is what the last one saw (vmctl controller start)");
    }
}

int controller_elsewhere(struct cli *cli, struct error *err)
{
    struct session session = {.pid = 0};
    struct error ignored = {.code = ERR_NONE};
    (void)session_read(cli->store, &session, &ignored);
    (void)error_set(err, ERR_CONTROLLER,
        "the controller of '%s' runs in another PID namespace (pid:[%llu], as process %d there)",
        cli->paths.data_dir, (unsigned long long)session.pid_namespace, (int)session.pid);
    return error_help(err, "run vmctl there, or end it there: vmctl controller stop; or choose "
                           "another directory: --data-dir DIR");
}

int64_t controller_requeue_after_ms(const struct controller_process *process)
{
    enum { UNKNOWN_MS = 5, STOPPED_MS = 100 };
    return process->is_stopped                   ? STOPPED_MS
           : process->state != CONTROLLER_SERVES ? UNKNOWN_MS
                                                 : WAKEUP_MAX_MS;
}

static int refuse_halted(const struct controller_process *process, struct error *err)
{
    (void)error_set(err, ERR_CONTROLLER,
        "the controller (process %d) is halted by SIGSTOP: it cannot end by itself",
        (int)process->pid);
    return error_help(err,
        "resume it, then stop it: kill -CONT %d; or end it at once (VMs keep running): kill -9 %d",
        (int)process->pid, (int)process->pid);
}

/* The descriptor is opened before the identity is checked, so it cannot come to mean another. */
static int ask_to_end(struct cli *cli, pid_t pid, struct error *err)
{
    enum { STEP_MS = 100 };
    struct controller_process again;
    cleanup_close int fd = pidfd_open(pid, 0);
    int rc = fd < 0 ? 0 : controller_find(cli, &again, err);
    if (fd >= 0 && rc == 0 && again.pid == pid) {
        struct pollfd ended = {.fd = fd, .events = POLLIN};
        (void)pidfd_send_signal(fd, SIGTERM, NULL, 0);
        (void)poll(&ended, 1, STEP_MS);
    }
    return rc;
}

enum ending { ENDING_ANY, ENDING_OLDER };

/* Finds the controller again each time: when one has ended, another may have been started. Returns
 * 1 when there is none to end. One that has just started has not written its record yet. */
static int end_step(struct cli *cli, enum ending ending, struct error *err)
{
    enum { STEP_MS = 10 };
    struct controller_process process;
    int rc = controller_find(cli, &process, err);
    if (rc < 0 || process.state == CONTROLLER_NONE) {
        return rc < 0 ? rc : 1;
    }
    if (process.state == CONTROLLER_ELSEWHERE) {
        return controller_elsewhere(cli, err);
    }
    bool is_older = process.pid != 0 && strverscmp(process.version, VMCTL_VERSION) < 0;
    if (ending == ENDING_OLDER && !is_older) {
        cli->knows_controller = process.state == CONTROLLER_SERVES;
        return 1;
    }
    if (process.is_stopped) {
        return refuse_halted(&process, err);
    }
    if (process.pid != 0) {
        return ask_to_end(cli, process.pid, err);
    }
    (void)poll(NULL, 0, STEP_MS);
    return 0;
}

static int end_all(struct cli *cli, enum ending ending, struct error *err)
{
    enum { LIMIT_MS = 30 * 1000 };
    const struct clock *clock = clock_system();
    int64_t deadline_ms = clock_monotonic_ms(clock) + LIMIT_MS;
    int rc = 0;
    while ((rc = end_step(cli, ending, err)) == 0) {
        if (clock_monotonic_ms(clock) > deadline_ms) {
            error_set(err, ERR_CONTROLLER, "the controller did not end within 30 seconds");
            return error_help(err, "kill -9 the pid that `vmctl controller status` shows; the VMs "
                                   "keep running");
        }
    }
    return rc < 0 ? rc : 0;
}

int controller_end(struct cli *cli, struct error *err)
{
    return end_all(cli, ENDING_ANY, err);
}

int controller_end_older(struct cli *cli, struct error *err)
{
    struct controller_process process;
    int rc = cli->knows_controller ? 0 : controller_find(cli, &process, err);
    if (rc < 0 || cli->knows_controller || process.state != CONTROLLER_SERVES) {
        return rc;
    }
    int order = strverscmp(process.version, VMCTL_VERSION);
    cli->knows_controller = order >= 0;
    if (order > 0) {
        cli_note(cli, "note: the controller is version %s, newer than this vmctl, %s",
            process.version, VMCTL_VERSION);
    } else if (order < 0) {
        cli_note(cli, "note: replacing the controller of version %s by %s; VMs keep running",
            process.version, VMCTL_VERSION);
        rc = end_all(cli, ENDING_OLDER, err);
    }
    return rc;
}

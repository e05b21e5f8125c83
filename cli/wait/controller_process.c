/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/controller_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/wait/wakeup.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/lockfile.h"
#include "specs/base/proc_stat.h"
#include "specs/base/text.h"
#include "store/store.h"

bool controller_is_running(const struct cli *cli)
{
    cleanup_free char *path = paths_path(&cli->paths, "controller.lock");
    return lockfile_is_held(path);
}

/* The state letter (proc(5)) of the process that wrote the record; 0: it has ended. */
static char state_of(const json_t *record)
{
    char line[PROC_STAT_MAX];
    uint64_t ticks = (uint64_t)json_int(record, "startTicks", 0);
    pid_t pid = (pid_t)json_int(record, "pid", 0);
    bool is_of_this_boot = text_eq(json_text(record, "bootId"), clock_boot_id(clock_system()));
    if (pid <= 0 || ticks == 0 || !is_of_this_boot || !proc_stat_read(pid, line)) {
        return '\0';
    }
    const char *state = proc_stat_field(line, PROC_STAT_STATE);
    const char *start = proc_stat_field(line, PROC_STAT_START_TICKS);
    bool is_alive = start && strtoull(start, NULL, 10) == ticks && *state != 'Z' && *state != 'X';
    return is_alive ? *state : '\0';
}

void controller_note_absent(const struct cli *cli)
{
    if (!controller_is_running(cli)) {
        cli_note(cli, "no controller runs: this is what the last one saw (vmctl controller start)");
    }
}

int controller_find(struct cli *cli, struct controller_process *ret, struct error *err)
{
    cleanup_json json_t *record = NULL;
    int rc = cli_open_store(cli, err);
    if (rc < 0 || (rc = store_get_json(cli->store, STORE_META, "controller", &record, err)) < 0) {
        return rc;
    }
    *ret = (struct controller_process){.pid = 0};
    char state = controller_is_running(cli) ? state_of(record) : '\0';
    if (state) {
        ret->is_stopped = state == 'T';
        ret->is_halted = ret->is_stopped || state == 't';
        const char *version = json_text(record, "version");
        const char *session = json_text(record, "session");
        bool has_session = session && strlen(session) < sizeof(ret->session);
        (void)snprintf(ret->session, sizeof(ret->session), "%s", has_session ? session : "");
        ret->pid = (pid_t)json_int(record, "pid", 0);
        ret->started_ms = json_int(record, "startedAt", 0);
        (void)snprintf(ret->version, sizeof(ret->version), "%s", version ? version : "0");
    }
    return 0;
}

int64_t controller_requeue_after_ms(const struct controller_process *process)
{
    enum { UNKNOWN_MS = 20, STOPPED_MS = 100 };
    return process->pid == 0 ? UNKNOWN_MS : process->is_stopped ? STOPPED_MS : WAKEUP_MAX_MS;
}

/* The descriptor is opened before the identity is checked, so it cannot come to mean another. */
static int open_process(
    struct cli *cli, struct controller_process *ret, int *ret_fd, struct error *err)
{
    struct controller_process again;
    int rc = controller_find(cli, ret, err);
    if (rc < 0 || ret->pid == 0) {
        return rc;
    }
    cleanup_close int fd = pidfd_open(ret->pid, 0);
    rc = fd < 0 ? 0 : controller_find(cli, &again, err);
    if (fd >= 0 && rc == 0 && again.pid == ret->pid) {
        *ret_fd = TAKE_FD(fd);
    }
    return rc;
}

enum ending { ENDING_ANY, ENDING_OLDER };

/* Finds the controller again each time: when one has ended, another may have been started. Returns
 * 1 when there is none to end. One that has just started has not written its record yet. */
static int end_step(struct cli *cli, enum ending ending, struct error *err)
{
    enum { ENDING_MS = 100, STARTING_MS = 10 };
    struct controller_process process = {.pid = 0};
    cleanup_close int pidfd = -1;
    if (!controller_is_running(cli)) {
        return 1;
    }
    int rc = open_process(cli, &process, &pidfd, err);
    if (rc < 0) {
        return rc;
    }
    bool is_older = process.pid != 0 && strverscmp(process.version, VMCTL_VERSION) < 0;
    if (ending == ENDING_OLDER && !is_older) {
        cli->knows_controller = process.pid != 0;
        return 1;
    }
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    if (pidfd >= 0) {
        (void)pidfd_send_signal(pidfd, SIGTERM, NULL, 0);
    }
    (void)poll(&ended, 1, pidfd >= 0 ? ENDING_MS : STARTING_MS);
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
    if (rc < 0 || cli->knows_controller || process.pid == 0) {
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

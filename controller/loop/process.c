/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/proc_stat.h"

enum { STATUS_UNKNOWN = -1 };

struct process {
    pid_t pid;
    int pidfd;
    struct loop_io *io; /* NULL once the end was reported */
    process_exited_fn *exited;
    void *context;
    int exit_status;
};

/* ---- PIDFD_GET_INFO, Linux 6.13 and (with the exit code) 6.15: include/uapi/linux/pidfd.h ---- */

struct pidfd_info_v1 {
    uint64_t mask;
    uint64_t cgroup_id;
    uint32_t pid, tgid, ppid;
    uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
};

_Static_assert(sizeof(struct pidfd_info_v1) == 64, "PIDFD_INFO_SIZE_VER0");

#define INFO_EXIT (UINT64_C(1) << 3) /* PIDFD_INFO_EXIT */
#define GET_INFO _IOWR(0xFF, 11, struct pidfd_info_v1)

/* The kernel keeps it once the process has been reaped, for as long as a pidfd is open. */
static int status_of_reaped(int pidfd)
{
    struct pidfd_info_v1 info = {.mask = INFO_EXIT};
    if (ioctl(pidfd, GET_INFO, &info) < 0 || !(info.mask & INFO_EXIT)) {
        return STATUS_UNKNOWN;
    }
    return info.exit_code;
}

/* ---- /proc/PID/stat ---- */

/* False once the process was reaped: only from then on its pid may be another's. A zombie is still
 * named. (Signal 0 by pidfd, not by pid.) */
static bool is_named(int pidfd)
{
    return pidfd_send_signal(pidfd, 0, NULL, 0) == 0 || errno != ESRCH;
}

/* Of a zombie that is not our child and not reaped yet: orphans are reaped late by some PID 1. The
 * kernel shows the exit code only to those who may trace the process, to others 0: so only a
 * process of the same user is believed. */
static int status_of_zombie(const struct process *process)
{
    char line[PROC_STAT_MAX], path[64];
    struct stat info;
    snprintf(path, sizeof(path), "/proc/%d", (int)process->pid);
    bool is_ours = geteuid() == 0 || (stat(path, &info) == 0 && info.st_uid == geteuid());
    if (!is_ours || !proc_stat_read(process->pid, line)) {
        return STATUS_UNKNOWN;
    }
    const char *state = proc_stat_field(line, PROC_STAT_STATE);
    const char *code = proc_stat_field(line, PROC_STAT_EXIT_CODE);
    bool is_zombie = state && *state == 'Z' && code && is_named(process->pidfd);
    return is_zombie ? (int)strtol(code, NULL, 10) : STATUS_UNKNOWN;
}

/* ---- the process ---- */

static void on_exited(void *context, int fd, unsigned ready)
{
    struct process *process = context;
    (void)fd;
    (void)ready;
    loop_io_free(TAKE_PTR(process->io)); /* a pidfd stays readable */
    process->exited(process->context);
}

int process_watch(struct loop *loop, pid_t pid, uint64_t start_ticks, process_exited_fn *exited,
    void *context, struct process **ret, struct error *err)
{
    cleanup_close int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
    if (pidfd < 0 && pid > 0 && errno != ESRCH && errno != EINVAL) {
        return error_set_errno(err, ERR_IO, errno, "cannot watch process %d", (int)pid);
    }
    /* The start time, then that the pidfd still names the pid: what was read in between was of this
     * process and of no later one with the same pid. */
    uint64_t ticks = 0;
    bool is_the_one =
        pidfd >= 0 && proc_stat_start_ticks(pid, &ticks) && ticks == start_ticks && is_named(pidfd);
    if (!is_the_one) {
        return error_set(err, ERR_VM_NOT_FOUND, "process %d is gone", (int)pid);
    }
    struct process *process = mem_new(struct process);
    process->pid = pid;
    process->exited = exited;
    process->context = context;
    process->exit_status = STATUS_UNKNOWN;
    process->pidfd = TAKE_FD(pidfd);
    process->io = loop_io_new(loop, process->pidfd, LOOP_READ, on_exited, process);
    *ret = process;
    return 0;
}

bool process_is_alive(const struct process *process)
{
    struct pollfd pollfd = {.fd = process->pidfd, .events = POLLIN};
    return poll(&pollfd, 1, 0) <= 0;
}

static void reap(int pidfd)
{
    siginfo_t info;
    (void)waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
}

void process_reap_later(struct loop *loop, int pidfd_take)
{
    loop_linger(loop, pidfd_take, reap);
}

void process_signal(const struct process *process, int signal)
{
    (void)pidfd_send_signal(process->pidfd, signal, NULL, 0);
}

int process_exit_status(struct process *process)
{
    siginfo_t info = {0};
    if (process->exit_status != STATUS_UNKNOWN) {
        return process->exit_status;
    }
    if (waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG) == 0) {
        /* as wait(2) encodes it: see <bits/waitstatus.h> */
        int status = info.si_code == CLD_EXITED
                         ? (info.si_status & 0xff) << 8
                         : info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
        process->exit_status = info.si_pid ? status : STATUS_UNKNOWN;
        return process->exit_status;
    }
    int status = process_is_alive(process) ? STATUS_UNKNOWN : status_of_zombie(process);
    process->exit_status = status != STATUS_UNKNOWN ? status : status_of_reaped(process->pidfd);
    return process->exit_status;
}

void process_close(struct process *process)
{
    if (process) {
        loop_io_free(process->io);
        close(process->pidfd);
        free(process);
    }
}

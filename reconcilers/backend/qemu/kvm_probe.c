/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/kvm_probe.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "controller/loop/process.h"
#include "reconcilers/backend/qemu/kvm_guest.h"
#include "reconcilers/backend/qemu/spawn_detached.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

/* A CPU that runs the guest needs well under one; an interpreter hundreds. */
enum { NS_PER_INSTRUCTION_MAX = 25 };

struct kvm_probe {
    struct op op;
    struct loop *loop;
    pid_t pid;               /* 0: could not be forked */
    struct process *process; /* NULL: could not be watched */
    struct loop_timer *timer;
    int report_fd;
    bool is_timed_out;
    kvm_probe_fn *done;
    void *context;
};

static const char *const step_names[] = {
    [KVM_STEP_OPEN] = "cannot open /dev/kvm",
    [KVM_STEP_VERSION] = "/dev/kvm speaks another version of its interface",
    [KVM_STEP_MAKE_VM] = "KVM cannot make a VM",
    [KVM_STEP_MAKE_MEMORY] = "KVM cannot give a VM memory",
    [KVM_STEP_MAKE_VCPU] = "KVM cannot make a virtual CPU",
    [KVM_STEP_SET_REGISTERS] = "KVM cannot set a virtual CPU's registers",
    [KVM_STEP_RUN] = "KVM cannot run a guest",
    [KVM_STEP_HALT] = "KVM does not run a 64-bit guest",
    [KVM_STEP_DONE] = "",
};
_Static_assert(ARRAY_LEN(step_names) == KVM_STEP_COUNT_, "every step has a text");

static void probe_free(struct kvm_probe *probe)
{
    process_close(probe->process);
    loop_timer_free(probe->timer);
    if (probe->report_fd >= 0) {
        close(probe->report_fd);
    }
    free(probe);
}

static void reap(int pidfd)
{
    siginfo_t info;
    (void)waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
}

/* SIGKILL ends even a process in KVM_RUN, within about a millisecond. */
static void kill_child(struct kvm_probe *probe)
{
    if (probe->pid > 0) {
        int pidfd = pidfd_open(probe->pid, 0); /* not reaped yet, so the pid is still its */
        (void)kill(probe->pid, SIGKILL);
        if (pidfd >= 0) {
            loop_linger(probe->loop, pidfd, reap);
        }
        probe->pid = 0;
    }
}

static void probe_cancel(struct op *op)
{
    struct kvm_probe *probe = (struct kvm_probe *)op;
    kill_child(probe);
    probe_free(probe);
}

static enum kvm_verdict judge_failure(
    const struct kvm_report *report, char *ret_reason, size_t size)
{
    enum kvm_step step = report->step >= 0 && report->step < KVM_STEP_COUNT_
                             ? (enum kvm_step)report->step
                             : KVM_STEP_RUN;
    if (step == KVM_STEP_HALT) {
        (void)snprintf(
            ret_reason, size, "%s (exit reason %d)", step_names[step], report->exit_reason);
    } else {
        (void)snprintf(
            ret_reason, size, "%s: %s", step_names[step], strerror(report->error_number));
    }
    return step == KVM_STEP_OPEN ? KVM_ABSENT : KVM_BROKEN;
}

static enum kvm_verdict judge(struct kvm_probe *probe, char *ret_reason, size_t size)
{
    struct kvm_report report;
    int passed = 0;
    while (read(probe->report_fd, &report, sizeof(report)) == (ssize_t)sizeof(report)) {
        if (report.step != KVM_STEP_DONE) {
            return judge_failure(&report, ret_reason, size);
        }
        passed++;
    }
    bool is_complete = passed == KVM_STAGE_COUNT_;
    if ((!is_complete && probe->is_timed_out) ||
        (is_complete &&
            report.elapsed_ns > (int64_t)NS_PER_INSTRUCTION_MAX * KVM_LOOP_INSTRUCTIONS)) {
        (void)snprintf(ret_reason, size,
            "/dev/kvm is there but runs guests too slowly to boot them (no hardware behind it)");
        return KVM_TOO_SLOW;
    }
    (void)snprintf(ret_reason, size, "%s", is_complete ? "" : "the KVM probe died");
    return is_complete ? KVM_USABLE : KVM_BROKEN;
}

static void finish(struct kvm_probe *probe)
{
    kvm_probe_fn *done = probe->done;
    void *context = probe->context;
    char reason[256] = "";
    kill_child(probe);
    enum kvm_verdict verdict = judge(probe, reason, sizeof(reason));
    probe_free(probe);
    done(context, verdict, reason);
}

static void exited(void *context)
{
    struct kvm_probe *probe = context;
    (void)process_exit_status(probe->process); /* reaps it */
    probe->pid = 0;
    finish(probe);
}

static void timed_out(void *context)
{
    struct kvm_probe *probe = context;
    probe->is_timed_out = true;
    finish(probe);
}

/* Keeps only the pipe: a descriptor of the parent held here for longer than it (a lock, another
 * child's go-pipe) would tell others that it still lives. */
static _Noreturn void child(int report_fd)
{
    if (dup2(report_fd, STDIN_FILENO) < 0) {
        _exit(1);
    }
    (void)close_range(STDERR_FILENO + 1, ~0U, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    kvm_guest_run(STDIN_FILENO);
}

static pid_t fork_child(int *ret_report_fd)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        return 0;
    }
    pid_t pid = spawn_detached();
    if (pid == 0) {
        child(ends[1]);
    }
    close(ends[1]);
    *ret_report_fd = ends[0];
    return pid > 0 ? pid : 0;
}

struct op *kvm_probe_start(struct loop *loop, kvm_probe_fn *done, void *context)
{
    struct kvm_probe *probe = mem_new(struct kvm_probe);
    *probe = (struct kvm_probe){.op = {.cancel = probe_cancel},
        .loop = loop,
        .report_fd = -1,
        .done = done,
        .context = context};
    probe->pid = fork_child(&probe->report_fd);
    probe->timer = loop_timer_new(loop, timed_out, probe);
    uint64_t start_ticks = 0;
    struct error err = {0};
    if (probe->pid > 0 && process_start_ticks(probe->pid, &start_ticks)) {
        /* A child that cannot be watched is judged by what it reported when the time is up. */
        (void)process_watch(loop, probe->pid, start_ticks, exited, probe, &probe->process, &err);
    }
    loop_timer_start(probe->timer, probe->pid > 0 ? KVM_PROBE_TIMEOUT_MS : 0);
    return &probe->op;
}

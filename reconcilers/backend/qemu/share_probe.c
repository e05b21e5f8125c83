/* SPDX-License-Identifier: MPL-2.0 */
/* The trial is a server as any, whose client has hung up before it begins: one that works here ends
 * at once, with status 0. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "controller/loop/process.h"
#include "reconcilers/backend/qemu/share.h"
#include "reconcilers/backend/qemu/spawn_detached.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/proc_stat.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"

enum { TRIAL_MS = 5000, OUTPUT_MAX = 4096 };

/* The C program was QEMU's own until 8.0, and calls with one style of the other fail. */
static const struct share_program installed[] = {
    {"/usr/libexec/virtiofsd", SHARE_STYLE_RUST}, /* Fedora, Debian from 13 on */
    {"/usr/lib/virtiofsd", SHARE_STYLE_RUST},     /* Arch */
    {"/usr/lib/qemu/virtiofsd", SHARE_STYLE_C},   /* Debian 12 */
    {"/usr/libexec/virtiofsd", SHARE_STYLE_C},
};

struct share_probe {
    struct op op; /* first: op_cancel() finds the probe by it */
    struct loop *loop;
    char *directory;
    size_t next; /* of the candidates */
    struct share_program program;
    pid_t pid;               /* 0: none, or reaped */
    struct process *process; /* NULL: none */
    struct loop_timer *timer;
    int output_fd; /* what the trial printed; -1: none */
    char *fault;   /* of the last trial; owned; NULL: there was none */
    share_probe_fn *done;
    void *context;
};

/* A fact of the host, which one success proves; failures are tried again, because a program may be
 * installed meanwhile. Only the loop's thread is here. */
static struct share_program remembered;

static void set_fault(struct share_probe *probe, char *fault_take)
{
    free(probe->fault);
    probe->fault = fault_take;
}

static void end_trial(struct share_probe *probe)
{
    int pidfd = probe->pid > 0 ? pidfd_open(probe->pid, 0) : -1; /* not reaped: still its pid */
    if (pidfd >= 0) {
        (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
        process_reap_later(probe->loop, pidfd);
    }
    probe->pid = 0;
    process_close(TAKE_PTR(probe->process));
    cleanup_close_(&probe->output_fd);
}

static void share_probe_free(struct op *op)
{
    struct share_probe *probe = (struct share_probe *)(void *)op;
    end_trial(probe);
    loop_timer_free(probe->timer);
    free(probe->directory);
    free(probe->fault);
    free(probe);
}

static void share_probe_finish(struct share_probe *probe, const char *fault)
{
    struct share_program program = fault ? (struct share_program){.path = NULL} : probe->program;
    share_probe_fn *done = probe->done;
    void *context = probe->context;
    cleanup_free char *copy = mem_strdup(fault);
    if (fault) {
        log_info("qemu", "virtiofs is not usable: %s", fault);
    } else {
        remembered = program;
    }
    share_probe_free(&probe->op);
    done(context, &program, copy);
}

/* The last line of its output, which says why. */
static void read_fault(struct share_probe *probe, int status)
{
    char bytes[OUTPUT_MAX];
    ssize_t n = pread(probe->output_fd, bytes, sizeof(bytes), 0);
    size_t end = n > 0 ? (size_t)n : 0;
    while (end > 0 && bytes[end - 1] == '\n') {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && bytes[begin - 1] != '\n') {
        begin--;
    }
    cleanup_buf struct buf line = BUF_INIT(0);
    text_add_printable(&line, bytes + begin, end - begin);
    set_fault(probe, mem_printf("%s does not run here: %s", probe->program.path,
                         line.len > 0          ? buf_str(&line)
                         : WIFSIGNALED(status) ? "a signal ended it"
                                               : "it printed nothing"));
}

static void try_next(struct share_probe *probe);

static void trial_ended(void *context)
{
    struct share_probe *probe = context;
    int status = process_exit_status(probe->process); /* reaps it */
    bool works = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    probe->pid = 0;
    loop_timer_stop(probe->timer);
    if (!works) {
        read_fault(probe, status);
    }
    end_trial(probe);
    if (works) {
        share_probe_finish(probe, NULL);
    } else {
        try_next(probe);
    }
}

static int start_trial(struct share_probe *probe, struct error *err)
{
    struct share_server server = {.listen_fd = -1, .alive_fd = -1};
    const struct spec_share share = {.host = probe->directory};
    uint64_t start_ticks = 0;
    int connection = -1, parent = getpid();
    int rc = share_prepare(&share, &probe->program, "1000:1000", NULL, &server, &connection, err);
    cleanup_close_(&connection);
    probe->output_fd = memfd_create("share", MFD_CLOEXEC);
    if (rc == 0 && probe->output_fd >= 0 && (probe->pid = spawn_detached()) == 0) {
        if (dup2(probe->output_fd, STDERR_FILENO) < 0 ||
            dup2(probe->output_fd, STDOUT_FILENO) < 0) {
            _exit(1);
        }
        share_run(&server, parent);
    }
    share_clear(&server);
    if (probe->pid > 0 && proc_stat_start_ticks(probe->pid, &start_ticks)) {
        return process_watch(
            probe->loop, probe->pid, start_ticks, trial_ended, probe, &probe->process, err);
    }
    return rc < 0 ? rc : error_set_errno(err, ERR_QEMU_SPAWN, errno, "cannot start virtiofsd");
}

static void try_next(struct share_probe *probe)
{
    const char *given = getenv("VMCTL_VIRTIOFSD");
    struct error err = {.code = ERR_NONE};
    while (probe->next < (given ? SHARE_STYLE_COUNT_ : ARRAY_LEN(installed))) {
        size_t i = probe->next++;
        probe->program = given ? (struct share_program){given, (enum share_style)i} : installed[i];
        if (access(probe->program.path, X_OK) == 0) {
            loop_timer_start(probe->timer, TRIAL_MS);
            if (start_trial(probe, &err) == 0) {
                return;
            }
            set_fault(probe, mem_strdup(err.message));
            error_clear(&err);
            end_trial(probe);
        }
    }
    share_probe_finish(
        probe, probe->fault ? probe->fault : "virtiofsd is not installed on this host");
}

/* At the beginning; then when a trial has taken too long. */
static void timer_fired(void *context)
{
    struct share_probe *probe = context;
    if (remembered.path) {
        probe->program = remembered;
        share_probe_finish(probe, NULL);
        return;
    }
    if (probe->pid > 0) {
        set_fault(probe, mem_printf("%s does not answer", probe->program.path));
    }
    end_trial(probe);
    try_next(probe);
}

struct op *share_probe_start(
    struct loop *loop, const char *directory, share_probe_fn *done, void *context)
{
    struct share_probe *probe = mem_new(struct share_probe);
    *probe = (struct share_probe){.op = {.cancel = share_probe_free},
        .loop = loop,
        .directory = mem_strdup(directory),
        .output_fd = -1,
        .done = done,
        .context = context};
    probe->timer = loop_timer_new(loop, timer_fired, probe);
    loop_timer_start(probe->timer, 0);
    return &probe->op;
}

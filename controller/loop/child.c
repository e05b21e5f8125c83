/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "controller/loop/process.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { DEFAULT_OUTPUT_MAX = 64 << 10, READ_SIZE = 4096, READS_A_TURN = 16 };

/*
 * Two facts end it, in either order: `is_exited` and `is_output_closed`. Until then the child stays
 * unreaped, so its pid (and process group) cannot become somebody else's.
 */
struct child {
    struct op op; /* first: op_cancel() hands back its address */
    struct loop *loop;
    char *program;
    child_done_fn *done;
    void *context;

    pid_t pid;
    int pidfd, output_fd, input_fd;
    struct loop_io *exit_io, *output_io, *input_io;
    struct loop_timer *deadline;

    char *input;
    size_t input_length, input_written;
    struct buf output;

    bool is_exited, is_output_closed;
    struct error failure; /* set: it did not even start, or ran out of time */
};

extern char **environ;

/* ---- the end ---- */

static void stop_stream(struct loop_io **io, int *fd)
{
    loop_io_free(TAKE_PTR(*io));
    cleanup_close_(fd);
    *fd = -1;
}

static void child_free(struct op *op)
{
    struct child *child = (struct child *)(void *)op;
    stop_stream(&child->input_io, &child->input_fd);
    stop_stream(&child->output_io, &child->output_fd);
    if (child->pidfd >= 0) {
        kill(-child->pid, SIGKILL); /* the group it leads, for grandchildren; ours while unreaped */
        loop_io_free(TAKE_PTR(child->exit_io));
        process_reap_later(child->loop, TAKE_FD(child->pidfd));
    }
    loop_timer_free(child->deadline);
    buf_clear(&child->output);
    free(child->input);
    free(child->program);
    free(child);
}

static void check_exit(struct child *child, const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED && info->si_status == 0) {
        return;
    }
    cleanup_free char *line = text_last_line(buf_str(&child->output), child->output.len);
    const char *separator = line[0] ? ": " : "";
    /* qemu-img takes EFBIG of its file for a fault of the image. */
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    bool is_large = strstr(line, "too large") && getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
                    limit.rlim_cur != RLIM_INFINITY;
    if (info->si_code != CLD_EXITED && info->si_status == SIGXFSZ) {
        error_set_errno(
            &child->failure, ERR_IO, EFBIG, "'%s' wrote too much output", child->program);
    } else if (is_large) {
        error_set_errno(
            &child->failure, ERR_IO, EFBIG, "'%s'%s%s", child->program, separator, line);
    } else if (info->si_code == CLD_EXITED) {
        error_set(&child->failure, ERR_IO, "'%s' exited with status %d%s%s", child->program,
            info->si_status, separator, line);
    } else {
        error_set(&child->failure, ERR_IO, "'%s' was ended by signal %d (%s)%s%s", child->program,
            info->si_status, strsignal(info->si_status), separator, line);
    }
}

/* Reaps and reports. An exit that cannot be read (somebody else reaped it) counts as a failure. */
static void child_finish(struct child *child)
{
    siginfo_t info = {0};
    if (child->is_exited) {
        if (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG) < 0) {
            error_set_errno(&child->failure, ERR_IO, errno,
                "cannot determine the exit status of '%s'", child->program);
        } else {
            check_exit(child, &info);
        }
        loop_io_free(TAKE_PTR(child->exit_io));
        close(TAKE_FD(child->pidfd));
    }
    const struct error *err = child->failure.code != ERR_NONE ? &child->failure : NULL;
    child->done(child->context, err, buf_str(&child->output));
    child_free(&child->op);
}

static void finish_if_complete(struct child *child)
{
    if (child->is_exited && child->is_output_closed) {
        child_finish(child);
    }
}

static void on_exit_ready(void *context, int fd, unsigned ready)
{
    struct child *child = context;
    (void)fd;
    (void)ready;
    child->is_exited = true;
    loop_io_free(TAKE_PTR(child->exit_io)); /* it stays readable until reaped */
    finish_if_complete(child);
}

/* Of a child that exited but whose output somebody keeps open, the exit is what counts. */
static void on_deadline(void *context)
{
    struct child *child = context;
    if (child->failure.code == ERR_NONE && !child->is_exited) {
        error_set(&child->failure, ERR_TIMEOUT, "'%s' did not finish in time and was killed",
            child->program);
    }
    if (child->is_exited) {
        kill(-child->pid, SIGKILL);
    }
    child_finish(child);
}

/* ---- its output and input ---- */

static void on_output(void *context, int fd, unsigned ready)
{
    struct child *child = context;
    (void)ready;
    char bytes[READ_SIZE];
    for (int i = 0; i < READS_A_TURN; i++) {
        ssize_t n = read(fd, bytes, sizeof(bytes));
        if (n > 0) {
            size_t room = child->output.max - child->output.len;
            buf_add(&child->output, bytes, (size_t)n < room ? (size_t)n : room);
        } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        } else {
            stop_stream(&child->output_io, &child->output_fd);
            child->is_output_closed = true;
            finish_if_complete(child);
            return;
        }
    }
}

/* A child that does not read its input (EPIPE) is judged by its exit alone. */
static void on_input(void *context, int fd, unsigned ready)
{
    struct child *child = context;
    (void)ready;
    ssize_t n =
        write(fd, child->input + child->input_written, child->input_length - child->input_written);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    child->input_written += n > 0 ? (size_t)n : 0;
    if (n < 0 || child->input_written == child->input_length) {
        stop_stream(&child->input_io, &child->input_fd);
    }
}

/* ---- the start ---- */

static int cannot_run(const char *program, int sys_errno, struct error *err)
{
    static const struct {
        const char *program, *package; /* in Debian's words */
    } known[] = {
        {"qemu-img", "qemu-utils"},
        {"qemu-system-x86_64", "qemu-system-x86"},
        {"ssh", "openssh-client"},
    };
    if (sys_errno != ENOENT) {
        return error_set_start(err, ERR_IO, sys_errno, "cannot run '%s'", program);
    }
    error_set(err, ERR_IO, "cannot run '%s': not found in PATH", program);
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (text_eq(program, known[i].program)) {
            return error_help(err, "apt-get install %s", known[i].package);
        }
    }
    return error_help(err, "install '%s', or add its directory to PATH", program);
}

void child_attributes_init(posix_spawnattr_t *attributes)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_init(attributes);
    posix_spawnattr_setflags(
        attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigdefault(attributes, &all);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setpgroup(attributes, 0);
}

/* Returns 0 or an errno. No descriptor but the three is left open in the child. */
static int spawn(const char *const *argv, int input, int output, pid_t *ret_pid)
{
    char *const *arguments = (char *const *)(uintptr_t)argv; /* exec(3) leaves them as they are */
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    child_attributes_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    int rc = posix_spawnp(ret_pid, argv[0], &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

static int open_input(struct child *child, int *ret_fd)
{
    if (!child->input) {
        *ret_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return *ret_fd < 0 ? -1 : 0;
    }
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -1;
    }
    *ret_fd = ends[0];
    child->input_fd = ends[1];
    return fcntl(child->input_fd, F_SETFL, O_NONBLOCK);
}

static int open_output(struct child *child, int *ret_fd)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -1;
    }
    child->output_fd = ends[0];
    *ret_fd = ends[1];
    return fcntl(child->output_fd, F_SETFL, O_NONBLOCK);
}

static int child_start_now(
    struct child *child, const struct child_request *request, struct error *err)
{
    const char *const *argv = request->argv;
    cleanup_close int input = -1;
    cleanup_close int output = -1;
    if (open_input(child, &input) < 0 || open_output(child, &output) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot create the pipes of '%s'", argv[0]);
    }
    int rc = spawn(argv, input, output, &child->pid);
    if (rc != 0) {
        return cannot_run(argv[0], rc, err);
    }
    child->pidfd = pidfd_open(child->pid, 0); /* our unreaped child: nobody else can have its pid */
    if (child->pidfd < 0) {
        rc = error_set_errno(err, ERR_IO, errno, "cannot watch '%s'", argv[0]);
        kill(child->pid, SIGKILL);
        waitpid(child->pid, NULL, 0);
        return rc;
    }
    if (request->memory_max) {
        const struct rlimit limit = {request->memory_max, request->memory_max};
        (void)prlimit(child->pid, RLIMIT_AS, &limit, NULL); /* it may have ended already */
    }
    return 0;
}

static void watch(struct child *child)
{
    child->exit_io = loop_io_new(child->loop, child->pidfd, LOOP_READ, on_exit_ready, child);
    child->output_io = loop_io_new(child->loop, child->output_fd, LOOP_READ, on_output, child);
    if (child->input_fd >= 0) {
        child->input_io = loop_io_new(child->loop, child->input_fd, LOOP_WRITE, on_input, child);
    }
}

struct op *child_start(
    struct loop *loop, const struct child_request *request, child_done_fn *done, void *context)
{
    struct child *child = mem_new(struct child);
    child->op.cancel = child_free;
    child->loop = loop;
    child->program = mem_strdup(request->argv[0]);
    child->done = done;
    child->context = context;
    child->pidfd = child->output_fd = child->input_fd = -1;
    child->output = BUF_INIT(request->output_max ? request->output_max : DEFAULT_OUTPUT_MAX);
    child->input = mem_strdup(request->standard_input);
    child->input_length = child->input ? strlen(child->input) : 0;
    child->deadline = loop_timer_new(loop, on_deadline, child);
    if (child_start_now(child, request, &child->failure) == 0) {
        watch(child);
        loop_timer_start(child->deadline, request->timeout_ms);
    } else {
        loop_timer_start(child->deadline, 0); /* reported from the loop, as everything is */
    }
    return &child->op;
}

/* ---- errors of those who need it ---- */

int child_error(
    struct error *err, enum error_code code, const struct error *child_err, const char *fmt, ...)
{
    char context[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(context, sizeof(context), fmt, ap);
    va_end(ap);
    bool is_full = child_err->code == ERR_NO_SPACE ||
                   strstr(child_err->message, strerror(ENOSPC)) ||
                   strstr(child_err->message, strerror(EDQUOT));
    int rc = error_set(err, is_full ? ERR_NO_SPACE : code, "%s: %s", context, child_err->message);
    return child_err->help[0] ? error_help(err, "%s", child_err->help) : rc;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/tap_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/loop/child.h"
#include "controller/loop/loop.h"
#include "controller/loop/process.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum {
    HELPER_FD = 3, /* the helper's end of the socket pair */
    TIMEOUT_MS = 5000,
    OUTPUT_MAX = 4096, /* fits into a pipe: the helper never waits for a reader */
};

static const char *const installed_at[] = {
    "/usr/lib/qemu/qemu-bridge-helper", /* Debian, Arch */
    "/usr/libexec/qemu-bridge-helper",  /* Fedora */
    "/usr/lib/qemu-bridge-helper",
};

extern char **environ;

struct tap_helper {
    struct op op; /* first */
    struct loop *loop;
    char bridge[IFNAMSIZ];
    struct error refusal;
    pid_t pid;
    int pidfd, socket_fd, output_fd;
    struct loop_io *exit_io;
    struct loop_timer *deadline;
    struct error failure; /* set: the helper could not be started */
    tap_helper_done_fn *done;
    void *context;
};

/* ---- the end ---- */

static void tap_helper_free(struct op *op)
{
    struct tap_helper *helper = (struct tap_helper *)(void *)op;
    loop_io_free(helper->exit_io);
    loop_timer_free(helper->deadline);
    if (helper->pidfd >= 0) { /* not reaped, so the pid is still the helper's */
        (void)kill(helper->pid, SIGKILL);
        process_reap_later(helper->loop, helper->pidfd);
    }
    cleanup_close_(&helper->socket_fd);
    cleanup_close_(&helper->output_fd);
    free(helper);
}

static void tap_helper_finish(struct tap_helper *helper, int fd_take, const struct error *err)
{
    tap_helper_done_fn *done = helper->done;
    void *context = helper->context;
    struct error copy = err ? *err : (struct error){.code = ERR_NONE};
    tap_helper_free(&helper->op);
    done(context, fd_take, err ? &copy : NULL);
}

/* `what` describes the helper's failure. */
static void tap_helper_fail(struct tap_helper *helper, const char *what)
{
    struct error err = {.code = ERR_NONE};
    (void)error_set(&err, ERR_QEMU_SPAWN, "no tap device for network bridge '%s': %s; %s",
        helper->bridge, helper->refusal.message, what);
    (void)error_help(&err,
        "run vmctld with CAP_NET_ADMIN (as root), or: sudo apt install qemu-system-common && "
        "sudo chmod u+s %s && sudo mkdir -p /etc/qemu && echo allow %s | "
        "sudo tee -a /etc/qemu/bridge.conf",
        installed_at[0], helper->bridge);
    tap_helper_finish(helper, -1, &err);
}

/* ---- the helper's results ---- */

/* The helper sends it before it exits; -1 when it sent none. */
static int receive_descriptor(int socket_fd)
{
    char byte;
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = ""};
    struct iovec payload = {.iov_base = &byte, .iov_len = sizeof(byte)};
    struct msghdr message = {.msg_iov = &payload,
        .msg_iovlen = 1,
        .msg_control = control.space,
        .msg_controllen = sizeof(control.space)};
    if (recvmsg(socket_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0) {
        return -1;
    }
    const struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    int fd = -1;
    if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS &&
        rights->cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(&fd, CMSG_DATA(rights), sizeof(fd));
    }
    return fd;
}

/* The last line of its output, such as "access denied by acl file"; "" when empty. free() it. */
static char *read_last_line(int output_fd)
{
    char bytes[OUTPUT_MAX];
    ssize_t n = read(output_fd, bytes, sizeof(bytes));
    size_t end = n > 0 ? (size_t)n : 0;
    while (end > 0 && strchr("\r\n \t", bytes[end - 1])) {
        end--;
    }
    size_t start = end;
    while (start > 0 && bytes[start - 1] != '\n') {
        start--;
    }
    cleanup_buf struct buf line = BUF_INIT(4 * OUTPUT_MAX);
    text_add_printable(&line, bytes + start, end - start);
    return buf_steal(&line);
}

static void report_exit(struct tap_helper *helper)
{
    siginfo_t info = {.si_code = 0};
    (void)waitid(P_PIDFD, (id_t)helper->pidfd, &info, WEXITED | WNOHANG);
    loop_io_free(TAKE_PTR(helper->exit_io));
    close(TAKE_FD(helper->pidfd));
    cleanup_free char *line = read_last_line(helper->output_fd);
    cleanup_free char *what =
        line[0] ? mem_printf("qemu-bridge-helper: %s", line)
                : mem_printf("qemu-bridge-helper ended with %s %d and sent no device",
                      info.si_code == CLD_EXITED ? "status" : "signal", info.si_status);
    tap_helper_fail(helper, what);
}

static void on_exit_ready(void *context, int fd, unsigned ready)
{
    struct tap_helper *helper = context;
    (void)fd;
    (void)ready;
    int tap = receive_descriptor(helper->socket_fd);
    if (tap < 0) {
        report_exit(helper);
        return;
    }
    tap_helper_finish(helper, tap, NULL);
}

static void on_deadline(void *context)
{
    struct tap_helper *helper = context;
    tap_helper_fail(helper, helper->failure.code
                                ? helper->failure.message
                                : "qemu-bridge-helper did not finish within 5 seconds");
}

/* ---- the start ---- */

static const char *find_program(void)
{
    const char *named = getenv("VMCTL_BRIDGE_HELPER");
    if (named && named[0]) {
        return named;
    }
    for (size_t i = 0; i < ARRAY_LEN(installed_at); i++) {
        if (access(installed_at[i], X_OK) == 0) {
            return installed_at[i];
        }
    }
    return NULL;
}

/* Returns 0 or an errno. --use-vnet: packets have the virtio header that QEMU expects. */
static int tap_helper_spawn(
    const char *program, const char *bridge, int socket_fd, int output, pid_t *ret_pid)
{
    char option_bridge[IFNAMSIZ + 8], option_fd[16], option_vnet[] = "--use-vnet";
    (void)snprintf(option_bridge, sizeof(option_bridge), "--br=%s", bridge);
    (void)snprintf(option_fd, sizeof(option_fd), "--fd=%d", HELPER_FD);
    cleanup_free char *name = mem_strdup(program);
    char *const argv[] = {name, option_vnet, option_bridge, option_fd, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    child_attributes_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions, socket_fd, HELPER_FD);
    posix_spawn_file_actions_addclosefrom_np(&actions, HELPER_FD + 1);
    int rc = posix_spawn(ret_pid, program, &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

static int open_channels(
    struct tap_helper *helper, int *ret_socket, int *ret_output, struct error *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        return error_set_errno(err, ERR_QEMU_SPAWN, errno, "cannot create a socket pair");
    }
    helper->socket_fd = ends[0];
    *ret_socket = ends[1];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        return error_set_errno(err, ERR_QEMU_SPAWN, errno, "cannot create a pipe");
    }
    helper->output_fd = ends[0];
    *ret_output = ends[1];
    return 0;
}

static int tap_helper_run(struct tap_helper *helper, struct error *err)
{
    const char *program = find_program();
    if (!program) {
        return error_set(err, ERR_QEMU_SPAWN, "qemu-bridge-helper is not installed");
    }
    cleanup_close int socket_fd = -1;
    cleanup_close int output = -1;
    int rc = open_channels(helper, &socket_fd, &output, err);
    if (rc < 0) {
        return rc;
    }
    rc = tap_helper_spawn(program, helper->bridge, socket_fd, output, &helper->pid);
    if (rc != 0) {
        return error_set_start(err, ERR_QEMU_SPAWN, rc, "cannot run '%s'", program);
    }
    helper->pidfd = pidfd_open(helper->pid, 0); /* our unreaped child: the pid cannot be reused */
    if (helper->pidfd < 0) {
        rc = error_set_errno(err, ERR_QEMU_SPAWN, errno, "cannot watch '%s'", program);
        (void)kill(helper->pid, SIGKILL);
        (void)waitpid(helper->pid, NULL, 0);
    }
    return rc;
}

struct op *tap_helper_start(struct loop *loop, const char *bridge, const struct error *refusal,
    tap_helper_done_fn *done, void *context)
{
    struct tap_helper *helper = mem_new(struct tap_helper);
    *helper = (struct tap_helper){.op = {.cancel = tap_helper_free},
        .loop = loop,
        .refusal = *refusal,
        .pidfd = -1,
        .socket_fd = -1,
        .output_fd = -1,
        .done = done,
        .context = context};
    (void)snprintf(helper->bridge, sizeof(helper->bridge), "%s", bridge);
    helper->deadline = loop_timer_new(loop, on_deadline, helper);
    if (tap_helper_run(helper, &helper->failure) == 0) {
        helper->exit_io = loop_io_new(loop, helper->pidfd, LOOP_READ, on_exit_ready, helper);
        loop_timer_start(helper->deadline, TIMEOUT_MS);
    } else {
        loop_timer_start(helper->deadline, 0); /* `done` is called from the loop only */
    }
    return &helper->op;
}

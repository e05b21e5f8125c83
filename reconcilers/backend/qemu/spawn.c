/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/spawn.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/loop/process.h"
#include "reconcilers/backend/instance_id.h"
#include "reconcilers/backend/qemu/argv.h"
#include "reconcilers/backend/qemu/host_files.h"
#include "reconcilers/backend/qemu/qemu_log.h"
#include "reconcilers/backend/qemu/spawn_child.h"
#include "reconcilers/backend/qemu/spawn_detached.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/vm/vm_spec.h"

enum { SLOTS = QEMU_FD_END_ - QEMU_FD_LOCK };

/* What the child inherits; the parent's copies end with the scope. */
struct inheritance {
    int fds[SLOTS];
    int log_fd;
    int start_pipe;
};

static void inheritance_clear(struct inheritance *inheritance)
{
    for (int i = 0; i < SLOTS; i++) {
        cleanup_close_(&inheritance->fds[i]);
    }
    cleanup_close_(&inheritance->log_fd);
    cleanup_close_(&inheritance->start_pipe);
}

static char *vm_path(const struct spawn_request *request, enum vm_file file)
{
    return paths_vm(request->paths, request->spec->name, file);
}

static int listen_at(const struct spawn_request *request, enum vm_file file,
    struct inheritance *inheritance, enum qemu_fd slot, struct error *err)
{
    cleanup_free char *path = vm_path(request, file);
    return fs_listen_unix(path, &inheritance->fds[slot - QEMU_FD_LOCK], err);
}

/* The lock first: it makes the sockets' paths ours. */
static int open_descriptors(
    const struct spawn_request *request, struct inheritance *inheritance, struct error *err)
{
    cleanup_free char *lock = vm_path(request, VM_ALIVE_LOCK);
    int rc = lockfile_take(lock, &inheritance->fds[0], err);
    if (rc == 0) {
        rc = listen_at(request, VM_CONTROL_SOCKET, inheritance, QEMU_FD_CONTROL, err);
    }
    if (rc == 0) {
        rc = listen_at(request, VM_QMP_SOCKET, inheritance, QEMU_FD_QMP, err);
    }
    if (rc == 0) {
        rc = listen_at(request, VM_CONSOLE_SOCKET, inheritance, QEMU_FD_CONSOLE, err);
    }
    return rc;
}

static int prepare_firmware(const struct spawn_request *request, const char *vars_path,
    struct qemu_config *config, struct error *err)
{
    if (request->spec->firmware != FIRMWARE_UEFI) {
        return 0;
    }
    const struct firmware_files *firmware = NULL;
    int rc = host_find_firmware(host_firmware_files, host_n_firmware_files, &firmware, err);
    if (rc == 0) {
        rc = host_make_firmware_vars(firmware, vars_path, err);
    }
    if (rc == 0) {
        config->firmware_code = firmware->code;
        config->firmware_vars = vars_path;
    }
    return rc;
}

static int build_argv(const struct spawn_request *request, char ***ret_argv, struct error *err)
{
    char uuid[IID_UUID_SIZE];
    if (!instance_id_to_uuid(request->instance_id, uuid)) {
        return error_set(err, ERR_QEMU_SPAWN, "'%s' is not an instance id", request->instance_id);
    }
    cleanup_free char *binary = NULL;
    int rc = host_find_qemu(&binary, err);
    if (rc < 0) {
        return rc;
    }
    cleanup_free char *overlay = vm_path(request, VM_OVERLAY);
    cleanup_free char *seed = vm_path(request, VM_SEED);
    cleanup_free char *console_log = vm_path(request, VM_CONSOLE_LOG);
    cleanup_free char *pidfile = vm_path(request, VM_PIDFILE);
    cleanup_free char *dir = vm_path(request, VM_DIR);
    cleanup_free char *firmware_vars = fs_join(dir, "uefi_vars.fd");
    struct qemu_config config = {.spec = request->spec,
        .binary = binary,
        .uuid = uuid,
        .accel = request->accel,
        .mac = request->mac,
        .overlay = overlay,
        .seed = fs_exists(seed) ? seed : NULL,
        .console_log = console_log,
        .pidfile = pidfile};
    rc = prepare_firmware(request, firmware_vars, &config, err);
    if (rc == 0) {
        *ret_argv = qemu_argv(&config);
    }
    return rc;
}

static int check_network(const struct vm_spec *spec, struct error *err)
{
    if (spec->network.mode != NETWORK_VNIC) {
        return 0;
    }
    return error_set(err, ERR_BACKEND_UNAVAILABLE,
        "network \"vnic\" is not supported by the qemu backend on this platform");
}

static pid_t fork_child(const struct child_plan *plan)
{
    pid_t pid = spawn_detached();
    if (pid == 0) {
        spawn_child_run(plan);
    }
    return pid;
}

static int start_child(const struct spawn_request *request, char *const *argv,
    struct inheritance *inheritance, struct spawned *ret, struct error *err)
{
    int ends[2];
    /* A socket and not a pipe, so that a word to a dead child gives no SIGPIPE. */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        return error_set_errno(err, ERR_QEMU_SPAWN, errno, "cannot make a socket pair");
    }
    cleanup_close int start_pipe = ends[0];
    inheritance->start_pipe = ends[1];
    struct child_plan plan = {
        .argv = argv, .log_fd = inheritance->log_fd, .start_pipe = inheritance->start_pipe};
    memcpy(plan.fds, inheritance->fds, sizeof(plan.fds));
    plan.fds[QEMU_FD_TAP - QEMU_FD_LOCK] = request->tap_fd;
    pid_t pid = fork_child(&plan);
    if (pid < 0) {
        return error_set_errno(err, ERR_QEMU_SPAWN, errno, "cannot start a process for QEMU");
    }
    uint64_t start_ticks = 0;
    if (!process_start_ticks(pid, &start_ticks)) { /* it is our child and not reaped: no /proc? */
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return error_set(err, ERR_QEMU_SPAWN, "cannot read /proc/%d/stat", (int)pid);
    }
    *ret =
        (struct spawned){.pid = pid, .start_ticks = start_ticks, .start_pipe = TAKE_FD(start_pipe)};
    return 0;
}

static void argv_clear(char ***argv)
{
    qemu_argv_free(*argv);
}

int spawn_qemu(const struct spawn_request *request, struct spawned *ret, struct error *err)
{
    cleanup_with(argv_clear) char **argv = NULL;
    int rc = check_network(request->spec, err);
    if (rc == 0) {
        rc = build_argv(request, &argv, err);
    }
    if (rc < 0) {
        return rc;
    }
    cleanup_with(inheritance_clear) struct inheritance inheritance = {
        .log_fd = -1, .start_pipe = -1};
    memset(inheritance.fds, -1, sizeof(inheritance.fds)); /* all bits one is -1 */
    rc = open_descriptors(request, &inheritance, err);
    if (rc == 0) {
        cleanup_free char *log = vm_path(request, VM_QEMU_LOG);
        rc = qemu_log_open(
            log, request->wall_ms, request->instance_id, argv, &inheritance.log_fd, err);
    }
    return rc < 0 ? rc : start_child(request, argv, &inheritance, ret, err);
}

void spawn_release(int start_pipe_take)
{
    (void)send(start_pipe_take, "g", 1, MSG_NOSIGNAL);
    close(start_pipe_take);
}

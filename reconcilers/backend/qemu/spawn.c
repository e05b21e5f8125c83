/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reconcilers/backend/instance_id.h"
#include "reconcilers/backend/qemu/argv.h"
#include "reconcilers/backend/qemu/firmware.h"
#include "reconcilers/backend/qemu/host_files.h"
#include "reconcilers/backend/qemu/qemu_log.h"
#include "reconcilers/backend/qemu/share.h"
#include "reconcilers/backend/qemu/spawn_detached.h"
#include "reconcilers/backend/qemu/switch_link.h"
#include "reconcilers/backend/qemu/tpm.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/proc_stat.h"
#include "specs/image/qcow2.h"
#include "specs/image/volume_file.h"
#include "specs/vm/vm_spec.h"

enum { SLOTS = QEMU_FD_END_ - QEMU_FD_LOCK };

/* What the child inherits; the parent closes its copies at the end of the scope. */
struct inheritance {
    int fds[SLOTS];
    int log_fd;
    int start_pipe;
    struct share_server servers[SHARES_MAX];
    size_t n_servers;
    struct tpm_emulator tpm;
};

static void inheritance_clear(struct inheritance *inheritance)
{
    for (int i = 0; i < SLOTS; i++) {
        cleanup_close_(&inheritance->fds[i]);
    }
    cleanup_close_(&inheritance->log_fd);
    cleanup_close_(&inheritance->start_pipe);
    for (size_t i = 0; i < inheritance->n_servers; i++) {
        share_clear(&inheritance->servers[i]);
    }
    tpm_clear(&inheritance->tpm);
}

static char *vm_path(const struct spawn_request *request, enum vm_file file)
{
    return paths_vm(request->paths, request->spec->name, file);
}

/* What QEMU uses by descriptor besides. */
static int open_files(
    const struct spawn_request *request, struct inheritance *inheritance, struct error *err)
{
    int *fds = inheritance->fds;
    cleanup_free char *dir = vm_path(request, VM_DIR), *guard = vm_path(request, VM_GUARD);
    const struct spec_network *network;
    bool has_guard = vm_spec_network_of_mode(request->spec, NETWORK_USER);
    bool has_password = request->spec->vnc.port > 0;
    int own = fds[QEMU_FD_DIR - QEMU_FD_LOCK] = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (own >= 0 && has_guard) {
        own = open(guard, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
        fds[QEMU_FD_GUARD - QEMU_FD_LOCK] = own;
    }
    for (size_t i = 0; own >= 0 && (network = vm_spec_network(request->spec, i)); i++) {
        int *fd = &fds[qemu_network_fd(network->mode, i) - QEMU_FD_LOCK];
        if (network->mode == NETWORK_PROJECT &&
            switch_open_network(request->paths, network->network, fd, err) < 0) {
            return -(int)err->code;
        }
    }
    if (own >= 0 && has_password) {
        own = fds[QEMU_FD_VNC_PASSWORD - QEMU_FD_LOCK] = memfd_create("vnc", MFD_CLOEXEC);
    }
    return own < 0 ? error_set_errno(err, ERR_IO, errno, "cannot open the files of '%s'", dir) : 0;
}

/* As a user of the guest: the first user that most images make, or root. */
static int prepare_shares(
    const struct spawn_request *request, struct inheritance *inheritance, struct error *err)
{
    const struct vm_spec *spec = request->spec;
    cleanup_free char *dir = vm_path(request, VM_DIR);
    bool is_root = strcmp(spec->ssh.user, "root") == 0;
    const char *user = request->share_user ? request->share_user : is_root ? "0:0" : "1000:1000";
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < spec->n_shares; i++) {
        cleanup_free char *alive = share_alive_path(dir, spec->shares[i].tag);
        if (!request->share_program->path) {
            rc = fs_remove_file(alive, err);
            continue;
        }
        rc = share_prepare(&spec->shares[i], request->share_program, user, alive,
            &inheritance->servers[i], &inheritance->fds[QEMU_FD_SHARE - QEMU_FD_LOCK + (int)i],
            err);
        inheritance->n_servers++;
    }
    return rc;
}

static int prepare_tpm(
    const struct spawn_request *request, struct inheritance *inheritance, struct error *err)
{
    cleanup_free char *user = NULL;
    if (!request->spec->has_tpm) {
        return 0;
    }
    int rc = host_find_qemu_user(&user, err);
    return rc < 0 ? rc
                  : tpm_prepare(request->paths, request->spec->name, user, &inheritance->tpm,
                        &inheritance->fds[QEMU_FD_TPM - QEMU_FD_LOCK], err);
}

/* The lock comes first: its holder owns the sockets' paths. */
static int open_descriptors(
    const struct spawn_request *request, struct inheritance *inheritance, struct error *err)
{
    const struct {
        enum vm_file file;
        enum qemu_fd fd;
        bool is_wanted;
    } sockets[] = {{VM_CONTROL_SOCKET, QEMU_FD_CONTROL, true}, {VM_QMP_SOCKET, QEMU_FD_QMP, true},
        {VM_CONSOLE_SOCKET, QEMU_FD_CONSOLE, true},
        {VM_AGENT_SOCKET, QEMU_FD_AGENT, request->has_agent},
        {VM_IDENTITY_SOCKET, QEMU_FD_IDENTITY, request->memory}};
    cleanup_free char *lock = vm_path(request, VM_ALIVE_LOCK);
    int rc = lockfile_take(lock, &inheritance->fds[0], err);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(sockets); i++) {
        cleanup_free char *path = vm_path(request, sockets[i].file);
        int *fd = &inheritance->fds[sockets[i].fd - QEMU_FD_LOCK];
        rc = sockets[i].is_wanted ? fs_listen_unix(path, fd, err) : 0;
    }
    rc = rc < 0 ? rc : open_files(request, inheritance, err);
    rc = rc < 0 ? rc : prepare_tpm(request, inheritance, err);
    return rc < 0 ? rc : prepare_shares(request, inheritance, err);
}

/* Empty, whatever the instance before left there. It is of no use after a power cut, so it is not
 * synced: that would block the loop. Killed before the start, or done twice: the next one does it.
 */
static int make_scratch_disks(const struct spawn_request *request, struct error *err)
{
    const struct vm_spec *spec = request->spec;
    for (size_t i = 0; i < spec->n_disks; i++) {
        const struct spec_disk *disk = &spec->disks[i];
        struct qcow2_overlay image;
        cleanup_free char *path = scratch_path(request->paths, spec->name, disk->name);
        if (disk->file) {
            continue;
        }
        int rc = qcow2_make_overlay(NULL, NULL, (uint64_t)disk->size_gib << 30, &image, err);
        rc = rc < 0 ? rc : fs_remove_file(path, err);
        if (rc < 0) {
            return rc;
        }
        cleanup_close int fd =
            open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 || ftruncate(fd, (off_t)image.file_size) < 0 ||
            pwrite(fd, image.head, sizeof(image.head), 0) < 0 ||
            pwrite(fd, image.refcount_table, sizeof(image.refcount_table), QCOW2_CLUSTER) < 0 ||
            pwrite(fd, image.refcounts, sizeof(image.refcounts), 2 * QCOW2_CLUSTER) < 0) {
            return error_set_errno(err, ERR_IO, errno, "cannot create disk '%s'", path);
        }
    }
    return 0;
}

static int build_argv(const struct spawn_request *request, char ***ret_argv, struct error *err)
{
    char uuid[IID_UUID_SIZE];
    if (!instance_id_to_uuid(request->instance_id, uuid)) {
        return error_set(err, ERR_QEMU_SPAWN, "'%s' is not an instance id", request->instance_id);
    }
    cleanup_free char *binary = NULL;
    cleanup_free char *user = NULL;
    int rc = host_find_qemu(request->spec->image.arch, &binary, err);
    if (rc < 0 || (rc = host_find_qemu_user(&user, err)) < 0) {
        return rc;
    }
    cleanup_free char *overlay = vm_path(request, VM_OVERLAY);
    cleanup_free char *seed = vm_path(request, VM_SEED);
    cleanup_free char *console_log = vm_path(request, VM_CONSOLE_LOG);
    cleanup_free char *pidfile = vm_path(request, VM_PIDFILE);
    cleanup_free char *firmware_vars = vm_path(request, VM_FIRMWARE_VARS);
    struct qemu_config config = {.paths = request->paths,
        .spec = request->spec,
        .binary = binary,
        .uuid = uuid,
        .machine = request->machine,
        .run_as = user,
        .early_ports_end = user ? host_privileged_ports_end() : 0,
        .accel = request->accel,
        .overlay = overlay,
        .seed = fs_exists(seed) ? seed : NULL,
        .console_log = console_log,
        .pidfile = pidfile,
        .firmware = request->firmware,
        .firmware_vars = request->firmware ? firmware_vars : NULL,
        .memory = request->memory,
        .is_woken = request->is_woken,
        .has_agent = request->has_agent,
        .has_virtiofs = request->spec->n_shares > 0 && request->share_program->path};
    memcpy(config.macs, request->macs, sizeof(config.macs));
    rc = make_scratch_disks(request, err);
    if (rc == 0) {
        *ret_argv = qemu_argv(&config);
    }
    return rc;
}

static void add_word(char ***words, size_t *n, char *word_take)
{
    mem_grow(*words, *n);
    (*words)[(*n)++] = word_take;
}

/* Of the controller's own environment QEMU gets what programs are found and set up by; the rest may
 * hold secrets. */
static int build_environment(const struct spawn_request *request, char ***ret, struct error *err)
{
    static const char *const kept[] = {
        "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "QEMU_MODULE_DIR"};
    const struct spec_network *network = vm_spec_network_of_mode(request->spec, NETWORK_USER);
    cleanup_free char *library = NULL;
    cleanup_buf struct buf ports = BUF_INIT(0);
    char **words = NULL;
    size_t n = 0;
    if (network) {
        int rc = host_find_guard(&library, err);
        if (rc < 0) {
            return rc;
        }
        for (size_t i = 0; i < network->n_services; i++) {
            buf_printf(&ports, " %u", network->services[i].port);
        }
        add_word(&words, &n, mem_printf("LD_PRELOAD=%s", library));
        add_word(&words, &n, mem_printf("VMCTL_GUARD=%d%s", QEMU_FD_GUARD, buf_str(&ports)));
    }
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        const char *value = getenv(kept[i]);
        if (value) {
            add_word(&words, &n, mem_printf("%s=%s", kept[i], value));
        }
    }
    add_word(&words, &n, NULL);
    *ret = words;
    return 0;
}

/* ---- the child ---- */

/* Built before the fork, because the child must not allocate. */
struct child_plan {
    char *const *argv; /* argv[0] is an absolute path */
    char *const *environment;
    const char *password_file;            /* NULL: none */
    int fds[QEMU_FD_END_ - QEMU_FD_LOCK]; /* to become QEMU_FD_LOCK, …; -1: stays closed */
    const struct share_server *servers;
    size_t n_servers;
    const struct tpm_emulator *tpm;
    int log_fd;
    int start_pipe; /* the child's end */
};

/* Descriptors are first moved to PARKING and above, past every number assigned below, so that none
 * is overwritten before it has its own. */
enum {
    OF_SERVER = 2,
    OF_TPM = 3,
    OF_COMPANIONS = OF_SERVER * SHARES_MAX + OF_TPM,
    START_FD = QEMU_FD_END_,
    TPM_FD,
    SERVERS_FD = TPM_FD + OF_TPM,
    PARKING = TPM_FD + OF_COMPANIONS
};

enum { EXIT_SETUP = 126, EXIT_EXEC = 127 }; /* as shells use them */

static void spawn_print(const char *text)
{
    ssize_t n = write(STDERR_FILENO, text, strlen(text)); /* to qemu.log; a failure is ignored */
    (void)n;
}

static _Noreturn void die(int status, const char *what)
{
    const char *why = strerrordesc_np(errno); /* async-signal-safe, strerror() is not */
    spawn_print(what);
    spawn_print(": ");
    spawn_print(why ? why : "unknown error");
    spawn_print("\n");
    _exit(status);
}

static int park(int fd)
{
    int parked = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, PARKING) : -1;
    if (fd >= 0 && parked < 0) {
        die(EXIT_SETUP, "cannot set up QEMU's descriptors");
    }
    return parked;
}

/* -1: the number stays closed. */
static void place(int parked, int number)
{
    if (parked >= 0 && dup2(parked, number) < 0) { /* the copy stays open across exec */
        die(EXIT_SETUP, "cannot set up QEMU's descriptors");
    }
}

/*
 * Closes all others now, not only at exec: while this child waits, a copy of another child's start
 * socket or of the controller's lock would keep it open.
 */
static void arrange_descriptors(const struct child_plan *plan)
{
    int parked[ARRAY_LEN(plan->fds)], companions[OF_COMPANIONS];
    int log_fd = park(plan->log_fd);
    int start_pipe = park(plan->start_pipe);
    int null_fd = park(open("/dev/null", O_RDWR | O_CLOEXEC));
    for (size_t i = 0; i < ARRAY_LEN(parked); i++) {
        parked[i] = park(plan->fds[i]);
    }
    companions[0] = park(plan->tpm->directory_fd);
    companions[1] = park(plan->tpm->control_fd);
    companions[2] = park(plan->tpm->alive_fd);
    for (size_t i = 0; i < plan->n_servers; i++) {
        companions[OF_TPM + OF_SERVER * i] = park(plan->servers[i].listen_fd);
        companions[OF_TPM + OF_SERVER * i + 1] = park(plan->servers[i].alive_fd);
    }
    if (close_range(QEMU_FD_LOCK, PARKING - 1, 0) < 0) {
        die(EXIT_SETUP, "cannot close the controller's descriptors");
    }
    place(null_fd, STDIN_FILENO);
    place(log_fd, STDOUT_FILENO);
    place(log_fd, STDERR_FILENO);
    for (size_t i = 0; i < ARRAY_LEN(parked); i++) {
        place(parked[i], QEMU_FD_LOCK + (int)i);
    }
    place(start_pipe, START_FD);
    unsigned end = SERVERS_FD + OF_SERVER * (unsigned)plan->n_servers;
    for (unsigned i = TPM_FD; i < end; i++) {
        place(companions[i - TPM_FD], (int)i);
    }
    if (close_range(START_FD, end - 1, CLOSE_RANGE_CLOEXEC) < 0 ||
        close_range(PARKING, ~0U, 0) < 0) {
        die(EXIT_SETUP, "cannot close the controller's descriptors");
    }
}

static void wait_for_start(void)
{
    char byte = 0;
    ssize_t n;
    do {
        n = read(START_FD, &byte, 1);
    } while (n < 0 && errno == EINTR);
    if (n != 1) {
        _exit(0); /* the controller ended or cancelled the start, which leaves no trace */
    }
}

/* Without the line end that an editor leaves. Here and not in the controller, which a file that
 * cannot be read (a dead NFS server) must not stop. */
static void pass_password(const char *path)
{
    enum { PASSWORD_MAX = 1024 };
    char password[PASSWORD_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = fd >= 0 ? read(fd, password, sizeof(password)) : -1;
    if (n < 0) {
        die(EXIT_SETUP, "cannot read the password-file of `vnc`");
    }
    while (n > 0 && (password[n - 1] == '\n' || password[n - 1] == '\r')) {
        n--;
    }
    if (n == 0 || write(QEMU_FD_VNC_PASSWORD, password, (size_t)n) != n) {
        spawn_print("the password-file of `vnc` is empty\n");
        _exit(EXIT_SETUP);
    }
}

/* Children of this process, which is about to become QEMU. What a folder lacks is said before QEMU
 * runs into it. */
static void start_servers(const struct child_plan *plan)
{
    int parent = getpid();
    for (size_t i = 0; i < plan->n_servers; i++) {
        int directory = open(plan->servers[i].directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0) {
            die(EXIT_SETUP, plan->servers[i].refusal);
        }
        close(directory);
    }
    for (size_t i = 0; i < plan->n_servers; i++) {
        struct share_server server = plan->servers[i];
        server.listen_fd = SERVERS_FD + OF_SERVER * (int)i;
        server.alive_fd = server.listen_fd + 1;
        pid_t pid = fork();
        if (pid == 0) {
            share_run(&server, parent);
        }
        if (pid < 0) {
            die(EXIT_SETUP, server.refusal);
        }
    }
    if (plan->tpm->directory_fd >= 0) {
        struct tpm_emulator tpm = *plan->tpm;
        tpm.directory_fd = TPM_FD;
        tpm.control_fd = TPM_FD + 1;
        tpm.alive_fd = TPM_FD + 2;
        pid_t pid = fork();
        if (pid == 0) {
            tpm_run(&tpm, parent);
        }
        if (pid < 0) {
            die(EXIT_SETUP, "cannot emulate a TPM");
        }
    }
}

/*
 * Runs the child from fork to exec: own session, working directory "/", umask 0177 (QEMU makes no
 * directory, and a socket of its own must be 0600), only the planned descriptors, no capabilities
 * that a service manager passes on (AmbientCapabilities=), nor any to be had from a program. It
 * then waits for the start byte, and exits 0 when the stream ends without one. Async-signal-safe
 * calls only (signal-safety(7)).
 */
static _Noreturn void spawn_child_run(const struct child_plan *plan)
{
    arrange_descriptors(plan);
    (void)setsid(); /* SIGHUP of a closed terminal would end QEMU */
    (void)umask(0177);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (chdir("/") < 0) {
        die(EXIT_SETUP, "cannot change to the root directory");
    }
    wait_for_start();
    if (plan->password_file) {
        pass_password(plan->password_file);
    }
    start_servers(plan);
    execve(plan->argv[0], plan->argv, plan->environment);
    die(EXIT_EXEC, plan->argv[0]);
}

/* ---- the parent ---- */

static int start_child(const struct spawn_request *request, char *const *argv,
    char *const *environment, struct inheritance *inheritance, struct spawned *ret,
    struct error *err)
{
    int ends[2];
    /* A socket and not a pipe, so that writing to a dead child raises no SIGPIPE. */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        return error_set_errno(err, ERR_QEMU_SPAWN, errno, "cannot create a socket pair");
    }
    cleanup_close int start_pipe = ends[0];
    inheritance->start_pipe = ends[1];
    struct child_plan plan = {.argv = argv,
        .environment = environment,
        .password_file = request->spec->vnc.port > 0 ? request->spec->vnc.password_file : NULL,
        .servers = inheritance->servers,
        .n_servers = inheritance->n_servers,
        .tpm = &inheritance->tpm,
        .log_fd = inheritance->log_fd,
        .start_pipe = inheritance->start_pipe};
    memcpy(plan.fds, inheritance->fds, sizeof(plan.fds));
    for (size_t i = 0; i < NETWORKS_MAX; i++) {
        if (request->tap_fds[i] >= 0) {
            plan.fds[qemu_network_fd(NETWORK_TAP, i) - QEMU_FD_LOCK] = request->tap_fds[i];
        }
    }
    pid_t pid = spawn_detached();
    if (pid == 0) {
        spawn_child_run(&plan);
    }
    if (pid < 0) {
        return error_set_start(err, ERR_QEMU_SPAWN, errno, "cannot start a process for QEMU");
    }
    uint64_t start_ticks = 0;
    if (!proc_stat_start_ticks(pid, &start_ticks)) { /* our unreaped child: is /proc mounted? */
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
    cleanup_with(argv_clear) char **environment = NULL;
    if (vm_spec_network_of_mode(request->spec, NETWORK_VNIC)) {
        return error_set(err, ERR_BACKEND_UNAVAILABLE,
            "network \"vnic\" is not supported by the qemu backend on this platform");
    }
    int rc = build_argv(request, &argv, err);
    if (rc < 0 || (rc = build_environment(request, &environment, err)) < 0) {
        return rc;
    }
    cleanup_with(inheritance_clear) struct inheritance inheritance = {.log_fd = -1,
        .start_pipe = -1,
        .tpm = {.directory_fd = -1, .control_fd = -1, .alive_fd = -1}};
    memset(inheritance.fds, -1, sizeof(inheritance.fds)); /* all bits one is -1 */
    rc = open_descriptors(request, &inheritance, err);
    if (rc == 0) {
        cleanup_free char *log = vm_path(request, VM_QEMU_LOG);
        rc = qemu_log_open(
            log, request->wall_ms, request->instance_id, argv, &inheritance.log_fd, err);
    }
    return rc < 0 ? rc : start_child(request, argv, environment, &inheritance, ret, err);
}

void spawn_release(int start_pipe_take)
{
    (void)send(start_pipe_take, "g", 1, MSG_NOSIGNAL);
    close(start_pipe_take);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/switch_link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "controller/loop/process.h"
#include "controller/reconciler.h"
#include "reconcilers/backend/qemu/host_files.h"
#include "reconcilers/backend/qemu/spawn_detached.h"
#include "reconcilers/network/switch/port.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/vm_name.h"

/* A switch that ends at once is not started again at once. */
enum { RETRY_MS = 20, START_EVERY_MS = 1000, DEADLINE_MS = 10000, LINE_MAX_BYTES = 4096 };

struct apply {
    struct op op;
    struct switch_link *link;
    struct switch_result *result; /* borrowed until done */
    char *directory;
    int64_t deadline_ms;
    bool is_sent;
    struct error err;
};

struct switch_link {
    struct reconciler_host *host; /* borrowed: outlives it */
    char *vm_name, *port;         /* that is its name on the switch */
    void (*changed)(void *context);
    void *context;
    char *network; /* that it is connected to; NULL: none */
    int fd;        /* -1: not connected */
    struct loop_io *io;
    struct buf line;
    bool is_up;
    bool was_lost;            /* it was, and its switch ended */
    int64_t started_ms;       /* when this VM last started one */
    struct apply *apply;      /* under way; NULL: none */
    struct loop_timer *timer; /* of it */
};

static char *network_path(
    const struct paths *paths, const char *network, const char *name, const char *suffix)
{
    cleanup_free char *relative =
        mem_printf("networks/%s%s%s%s", network, name ? "/" : "", name ? name : "", suffix);
    return paths_path(paths, relative);
}

/* ---- the directory ---- */

/* Whom the switch becomes, and owns its sockets' directory: as QEMU, when this process is root's.
 * False: it stays. */
static bool find_user(uid_t *ret_uid, gid_t *ret_gid)
{
    struct error ignored = {0};
    cleanup_free char *user = NULL;
    return host_find_qemu_user(&user, &ignored) == 0 && user &&
           sscanf(user, "%u:%u", ret_uid, ret_gid) == 2;
}

int switch_open_network(
    const struct paths *paths, const char *network, int *ret_fd, struct error *err)
{
    uid_t uid;
    gid_t gid;
    cleanup_free char *directory = network_path(paths, network, NULL, "");
    cleanup_free char *hub = network_path(paths, network, SWITCH_HUB, "");
    bool has_user = find_user(&uid, &gid);
    int rc = fs_make_dirs(hub, 0700, err);
    if (rc < 0) {
        return rc;
    }
    /* The other user passes through the one, which is reached by descriptor, to its own in it; and
     * by `..` to those beside it, whose ports have names that a VM of both may ask for. */
    cleanup_free char *all = paths_path(paths, "networks");
    if (has_user &&
        (chmod(all, 0711) < 0 || chmod(directory, 0755) < 0 || lchown(hub, uid, gid) < 0)) {
        return error_set_errno(err, ERR_IO, errno, "cannot set up '%s'", directory);
    }
    *ret_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return *ret_fd < 0 ? error_set_errno(err, ERR_IO, errno, "cannot open '%s'", directory) : 0;
}

/* QEMU binds its socket while it is still root's, and the switch, who writes to it, is not. */
static int hand_over_socket(const char *directory, const char *port, struct error *err)
{
    uid_t uid;
    gid_t gid;
    struct stat st;
    cleanup_free char *path = mem_printf("%s/%s" SWITCH_GUEST_SUFFIX, directory, port);
    bool is_due =
        find_user(&uid, &gid) && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_uid != uid;
    return is_due && lchown(path, uid, gid) < 0
               ? error_set_errno(err, ERR_IO, errno, "cannot change the owner of '%s'", path)
               : 0;
}

static int write_port(const struct switch_link *link, const struct switch_wanted *wanted,
    const char *directory, struct error *err)
{
    const struct vm_spec *spec = wanted->spec;
    const struct spec_network *network = vm_spec_network(spec, wanted->at), *other;
    char *others[NETWORKS_MAX];
    size_t n_others = 0;
    bool has_names = network == vm_spec_name_server(spec);
    for (size_t i = 0; has_names && (other = vm_spec_network(spec, i)); i++) {
        if (other != network && other->mode == NETWORK_PROJECT) {
            others[n_others++] = other->network;
        }
    }
    const struct switch_port port = {.name = link->port,
        .host = strchr(link->vm_name, '/') ? (char *)(uintptr_t)vm_name_plain(link->vm_name) : NULL,
        .project = network->project,
        .mac = (char *)(uintptr_t)wanted->mac,
        .address = (char *)(uintptr_t)wanted->address,
        .forwards = (struct spec_forward *)(uintptr_t)wanted->forwards,
        .n_forwards = wanted->n_forwards,
        .services = network->services,
        .n_services = network->n_services,
        .is_isolated = network->is_isolated,
        .egress = network->egress,
        .n_egress = network->n_egress,
        .is_further = wanted->at > 0,
        .has_no_names = !has_names,
        .others = others,
        .n_others = n_others};
    cleanup_json json_t *json = fields_to_json(&switch_port_fields, &port);
    cleanup_free char *text = json_canonical(json);
    cleanup_free char *path = mem_printf("%s/%s" SWITCH_PORT_SUFFIX, directory, link->port);
    cleanup_buf struct buf before = BUF_INIT(SWITCH_PORT_FILE_MAX);
    struct error ignored = {0};
    if (fs_read_file(path, &before, &ignored) == 0 && strcmp(buf_str(&before), text) == 0) {
        return 0; /* a check of an idle VM writes nothing */
    }
    return fs_write_file(path, text, strlen(text), 0644, err);
}

/* "web.port.tmp-123": what a vmctld that was killed had begun to write. */
static void remove_unfinished(void *context, int dir_fd, const char *name)
{
    const char *begin = context;
    if (strncmp(name, begin, strlen(begin)) == 0) {
        (void)unlinkat(dir_fd, name, 0);
    }
}

void switch_leave(const struct paths *paths, const char *network, const char *vm_name)
{
    struct error ignored = {0};
    cleanup_close int fd = -1;
    cleanup_free char *port = vm_name_of_socket(vm_name);
    cleanup_free char *path = network_path(paths, network, port, SWITCH_PORT_SUFFIX);
    cleanup_free char *socket = network_path(paths, network, port, SWITCH_GUEST_SUFFIX);
    cleanup_free char *control = network_path(paths, network, SWITCH_CONTROL, "");
    if (unlink(path) < 0) {
        return;
    }
    (void)unlink(socket);
    cleanup_free char *directory = network_path(paths, network, NULL, "");
    cleanup_free char *unfinished = mem_printf("%s" SWITCH_PORT_SUFFIX ".tmp-", port);
    fs_each_entry(directory, remove_unfinished, unfinished);
    /* It would find out by itself, half a second later; a lost line costs no more than that. */
    if (fs_connect_unix(control, &fd, &ignored) == 0) {
        (void)send(fd, "apply -\n", 8, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

/* ---- the process ---- */

/* Async-signal-safe calls only. */
static _Noreturn void become_switch(char *const *argv, int lock_fd, int log_fd, int dir_fd)
{
    enum { PARKING = SWITCH_LOCK_FD + 1 };
    static char *const environment[] = {NULL};
    int lock = fcntl(lock_fd, F_DUPFD_CLOEXEC, PARKING);
    int log = fcntl(log_fd, F_DUPFD_CLOEXEC, PARKING);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)setsid();
    (void)umask(0077);
    if (fchdir(dir_fd) == 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(log, STDOUT_FILENO) >= 0 &&
        dup2(log, STDERR_FILENO) >= 0 && dup2(lock, SWITCH_LOCK_FD) >= 0) {
        execve(argv[0], argv, environment);
    }
    _exit(127);
}

/* The child holds the lock from before it exists, so there is never a second one. One that another
 * VM is just starting is as good. */
static int start_switch(struct switch_link *link, const char *directory, struct error *err)
{
    uid_t uid;
    gid_t gid;
    cleanup_free char *lock_path = mem_printf("%s/switch.lock", directory);
    cleanup_free char *log_path = mem_printf("%s/switch.log", directory);
    cleanup_free char *program = NULL, *user = NULL;
    cleanup_close int lock_fd = -1, dir_fd = -1;
    int rc = host_find_switch(&program, err);
    if (rc < 0) {
        return rc;
    }
    rc = lockfile_take(lock_path, &lock_fd, err);
    if (rc == -ERR_VM_CONFLICT) {
        error_clear(err);
        return 0;
    }
    if (rc < 0) {
        return rc;
    }
    dir_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    cleanup_close int log_fd =
        open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (dir_fd < 0 || log_fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot open '%s'", log_path);
    }
    user = find_user(&uid, &gid) ? mem_printf("%u:%u", uid, gid) : NULL;
    link->started_ms = loop_now_ms(link->host->loop);
    char *argv[] = {program, (char *)(uintptr_t) "--in-directory", user, NULL};
    pid_t pid = spawn_detached();
    if (pid == 0) {
        become_switch(argv, lock_fd, log_fd, dir_fd);
    }
    int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
    if (pidfd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot start a process for the switch");
    }
    process_reap_later(link->host->loop, pidfd);
    link->apply->result->is_started = true;
    return 0;
}

/* It holds the connection, so that its pid is still its own. */
static void kill_switch(const struct switch_link *link)
{
    struct ucred peer;
    socklen_t n = sizeof(peer);
    if (link->fd < 0 || getsockopt(link->fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0) {
        return;
    }
    cleanup_close int pidfd = peer.pid > 0 && peer.pid != getpid() ? pidfd_open(peer.pid, 0) : -1;
    char byte;
    bool is_connected = recv(link->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
    if (pidfd >= 0 && is_connected) {
        log_warn("qemu", "%s: the switch of network '%s' does not answer: killed", link->vm_name,
            link->network);
        (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    }
}

/* ---- the connection ---- */

static void disconnect(struct switch_link *link)
{
    link->is_up = false;
    loop_io_free(TAKE_PTR(link->io));
    if (link->fd >= 0) {
        close(TAKE_FD(link->fd));
    }
    buf_reset(&link->line);
    if (link->apply) {
        link->apply->is_sent = false;
    }
}

static void finish(struct apply *apply)
{
    op_finish(&apply->op, apply->err.code ? &apply->err : NULL);
}

static void take_answer(struct switch_link *link, const char *line)
{
    cleanup_json json_t *json = json_loads(line, 0, NULL);
    struct apply *apply = link->apply;
    if (!apply || !apply->is_sent) {
        return;
    }
    if (!json) {
        (void)error_set(&apply->err, ERR_IO, "the switch does not speak JSON");
    } else if (json_text(json, "error") && !json_text(json, "port")) {
        (void)error_set(&apply->err, ERR_IO, "the switch: %s", json_text(json, "error"));
    } else {
        apply->result->taken_port = json_copy_text(json, "port");
        apply->result->why = json_copy_text(json, "error");
        link->is_up = true;
        link->was_lost = false;
    }
    finish(apply);
}

static void on_readable(void *context, int fd, unsigned ready)
{
    struct switch_link *link = context;
    char bytes[512];
    (void)ready;
    ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0 || !buf_add(&link->line, bytes, (size_t)n)) {
        link->was_lost |= link->is_up;
        disconnect(link);
        if (link->apply) {
            loop_timer_start(link->timer, RETRY_MS);
        } else {
            link->changed(link->context);
        }
        return;
    }
    char *end = memchr(link->line.data, '\n', link->line.len);
    if (end) {
        cleanup_free char *line = mem_strndup(link->line.data, (size_t)(end - link->line.data));
        buf_consume(&link->line, strlen(line) + 1);
        take_answer(link, line);
    }
}

static int connect_link(struct switch_link *link, const char *directory, struct error *err)
{
    cleanup_free char *path = mem_printf("%s/" SWITCH_CONTROL, directory);
    int rc = fs_connect_unix(path, &link->fd, err);
    if (rc == 0) {
        link->io = loop_io_new(link->host->loop, link->fd, LOOP_READ, on_readable, link);
    }
    return rc;
}

/* Called until there is an answer: the switch may be starting, or have just ended. */
static void advance(void *context)
{
    struct switch_link *link = context;
    struct apply *apply = link->apply;
    struct error why = {0};
    if (apply->err.code) {
        finish(apply);
        return;
    }
    bool is_late = loop_now_ms(link->host->loop) >= apply->deadline_ms;
    if (is_late) {
        kill_switch(link);
        disconnect(link);
        (void)error_set(
            &apply->err, ERR_TIMEOUT, "the switch of network '%s' does not answer", link->network);
        (void)error_help(&apply->err, "read its log: %s/switch.log", apply->directory);
        finish(apply);
        return;
    }
    if (link->fd < 0 && connect_link(link, apply->directory, &why) < 0) {
        bool is_due = loop_now_ms(link->host->loop) - link->started_ms >= START_EVERY_MS;
        if (is_due && start_switch(link, apply->directory, &apply->err) < 0) {
            finish(apply);
            return;
        }
        loop_timer_start(link->timer, RETRY_MS);
        return;
    }
    cleanup_free char *line = mem_printf("apply %s\n", link->port);
    apply->is_sent = send(link->fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
    if (!apply->is_sent) {
        disconnect(link);
    }
    int64_t left_ms = apply->deadline_ms - loop_now_ms(link->host->loop);
    loop_timer_start(link->timer, apply->is_sent ? left_ms : RETRY_MS);
}

static void apply_cancel(struct op *op)
{
    struct apply *apply = (struct apply *)(void *)op;
    loop_timer_stop(apply->link->timer);
    apply->link->apply = NULL;
    if (apply->is_sent && !apply->link->is_up) {
        disconnect(apply->link); /* its answer is not to be taken for that of another question */
    }
    free(apply->directory);
    free(apply);
}

struct op *switch_link_apply(struct switch_link *link, const struct switch_wanted *wanted,
    struct switch_result *result, op_done_fn *done, void *context)
{
    const char *network = vm_spec_network(wanted->spec, wanted->at)->network;
    struct apply *apply = mem_new(struct apply);
    *apply = (struct apply){.op = {apply_cancel, done, context},
        .link = link,
        .result = result,
        .directory = network_path(link->host->paths, network, NULL, ""),
        .deadline_ms = loop_now_ms(link->host->loop) + DEADLINE_MS};
    *result = (struct switch_result){.taken_port = NULL};
    link->apply = apply;
    if (!link->network || strcmp(link->network, network) != 0) {
        disconnect(link);
        free(link->network);
        link->network = mem_strdup(network);
    }
    link->is_up = false;
    cleanup_close int dir_fd = -1;
    int rc = switch_open_network(link->host->paths, network, &dir_fd, &apply->err);
    rc = rc < 0 ? rc : hand_over_socket(apply->directory, link->port, &apply->err);
    if (rc == 0) {
        (void)write_port(link, wanted, apply->directory, &apply->err);
    }
    loop_timer_start(link->timer, 0);
    return &apply->op;
}

struct switch_link *switch_link_new(
    struct reconciler_host *host, const char *vm_name, void (*changed)(void *), void *context)
{
    struct switch_link *link = mem_new(struct switch_link);
    *link = (struct switch_link){.host = host,
        .vm_name = mem_strdup(vm_name),
        .port = vm_name_of_socket(vm_name),
        .changed = changed,
        .context = context,
        .fd = -1,
        .started_ms = INT64_MIN / 2,
        .line = BUF_INIT(LINE_MAX_BYTES)};
    link->timer = loop_timer_new(host->loop, advance, link);
    return link;
}

void switch_link_free(struct switch_link *link)
{
    if (!link) {
        return;
    }
    disconnect(link);
    loop_timer_free(link->timer);
    buf_clear(&link->line);
    free(link->network);
    free(link->vm_name);
    free(link->port);
    free(link);
}

bool switch_link_is_up(const struct switch_link *link)
{
    return link && link->is_up;
}

bool switch_link_was_lost(const struct switch_link *link)
{
    return link && link->was_lost;
}

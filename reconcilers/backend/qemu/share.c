/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/share.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"

/* ---- before the fork ---- */

char *share_alive_path(const char *vm_dir, const char *tag)
{
    return mem_printf("%s/share-%s.alive", vm_dir, tag);
}

/* libfuse's option parser: a backslash before a comma, and before one of its own. */
static char **make_argv(const struct spec_share *share, const struct share_program *program)
{
    cleanup_buf struct buf escaped = BUF_INIT(0);
    for (const char *at = share->host; *at; at++) {
        buf_add_str(&escaped, *at == ',' || *at == '\\' ? "\\" : "");
        buf_add_char(&escaped, *at);
    }
    enum { WORDS_MAX = 10 };
    char **argv = mem_calloc(WORDS_MAX, sizeof(*argv));
    size_t n = 0;
    argv[n++] = mem_strdup(program->path);
    argv[n++] = mem_printf("--fd=%d", SHARE_LISTEN_FD);
    if (program->style == SHARE_STYLE_RUST) {
        argv[n++] = mem_printf("--shared-dir=%s", share->host);
        argv[n++] = mem_strdup("--sandbox=none");
        argv[n++] = mem_strdup("--cache=auto");
    } else {
        argv[n++] = mem_strdup("-o");
        argv[n++] = mem_printf("source=%s", buf_str(&escaped));
        argv[n++] = mem_strdup("-o");
        argv[n++] = mem_strdup("sandbox=namespace");
        argv[n++] = mem_strdup("-o");
        argv[n++] = mem_strdup("cache=auto");
    }
    return argv;
}

/* A listener without a name in the file system, which one connection waits for. */
static int connect_ends(int *ret_listener, int *ret_connection, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size = sizeof(address);
    cleanup_close int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cleanup_close int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || connection < 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0 || listen(listener, 1) < 0 ||
        connect(connection, (struct sockaddr *)&address, size) < 0) {
        return error_set_errno(
            err, ERR_QEMU_SPAWN, errno, "cannot create the socket of a shared folder");
    }
    *ret_listener = TAKE_FD(listener);
    *ret_connection = TAKE_FD(connection);
    return 0;
}

int share_prepare(const struct spec_share *share, const struct share_program *program,
    const char *guest, const char *alive_path, struct share_server *ret, int *ret_connection,
    struct error *err)
{
    *ret =
        (struct share_server){.is_readonly = share->is_readonly, .listen_fd = -1, .alive_fd = -1};
    int rc = connect_ends(&ret->listen_fd, ret_connection, err);
    if (rc == 0 && alive_path) { /* a new one, so that a server of before is not taken for it */
        rc = fs_remove_file(alive_path, err);
        if (rc == 0 && (mkfifo(alive_path, 0600) < 0 ||
                           (ret->alive_fd = open(alive_path, O_RDWR | O_CLOEXEC)) < 0)) {
            rc = error_set_errno(err, ERR_QEMU_SPAWN, errno, "cannot create '%s'", alive_path);
        }
    }
    ret->argv = make_argv(share, program);
    ret->directory = mem_strdup(share->host);
    ret->refusal = mem_printf("cannot share '%s'", share->host);
    (void)snprintf(ret->guest, sizeof(ret->guest), "%s", guest);
    return rc;
}

void share_clear(struct share_server *server)
{
    for (char **word = server->argv; word && *word; word++) {
        free(*word);
    }
    free(server->argv);
    free(server->directory);
    free(server->refusal);
    cleanup_close_(&server->listen_fd);
    cleanup_close_(&server->alive_fd);
    *server = (struct share_server){.listen_fd = -1, .alive_fd = -1};
}

/* ---- the child ---- */

enum { EXIT_SETUP = 126, EXIT_EXEC = 127, MAP_MAX = 48 };

static _Noreturn void give_up(const struct share_server *server, const char *what)
{
    const char *const words[] = {
        server->refusal, ": ", what, ": ", strerrordesc_np(errno), "\n"}; /* signal-safe */
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        ssize_t n = words[i] ? write(STDERR_FILENO, words[i], strlen(words[i])) : 0;
        (void)n; /* to qemu.log */
    }
    _exit(EXIT_SETUP);
}

/* Writes "INSIDE OUTSIDE 1" (user_namespaces(7)); `inside`: digits, and what follows them. */
static bool write_map(const char *path, const char *inside, unsigned outside)
{
    char text[MAP_MAX], digits[16];
    size_t n = 0, n_digits = 0;
    while (inside[n] >= '0' && inside[n] <= '9' && n < 10) {
        text[n] = inside[n];
        n++;
    }
    text[n++] = ' ';
    do {
        digits[n_digits++] = (char)('0' + outside % 10);
        outside /= 10;
    } while (outside > 0);
    while (n_digits > 0) {
        text[n++] = digits[--n_digits];
    }
    text[n++] = ' ';
    text[n++] = '1';
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, n) == (ssize_t)n;
}

/* The namespace's one user, and all capabilities within it, past exec. */
static void enter_namespace(const struct share_server *server)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    unsigned uid = geteuid(), gid = getegid();
    const char *colon = strchr(server->guest, ':');
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) {
        give_up(server, "cannot create a user namespace");
    }
    int setgroups = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
    if (setgroups < 0 || write(setgroups, "deny", 4) != 4 ||
        !write_map("/proc/self/uid_map", server->guest, uid) ||
        !write_map("/proc/self/gid_map", colon ? colon + 1 : server->guest, gid)) {
        give_up(server, "cannot map its user");
    }
    if (syscall(SYS_capget, &head, sets) < 0) {
        give_up(server, "cannot read its capabilities");
    }
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        sets[i].inheritable = sets[i].permitted;
    }
    if (syscall(SYS_capset, &head, sets) < 0) {
        give_up(server, "cannot keep its capabilities");
    }
    for (unsigned long i = 0; i <= CAP_LAST_CAP; i++) { /* fails for those it does not have */
        (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0);
    }
}

/* In its own mount namespace, with everything mounted below. */
static void make_readonly(const struct share_server *server)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
    if (mount(server->directory, server->directory, NULL, MS_BIND | MS_REC, NULL) < 0 ||
        syscall(SYS_mount_setattr, -1, server->directory, AT_RECURSIVE, &attributes,
            sizeof(attributes)) < 0) {
        give_up(server, "cannot make it read-only");
    }
}

/* The server takes on the identity of the guest's user who makes a file, and there is but one here.
 * setgroups(2) is denied in a namespace that its own user has made. */
static void keep_identity(const struct share_server *server)
{
    static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setresuid, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setresgid, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setgroups, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO), /* of 0: it succeeds */
    };
    static const struct sock_fprog program = {ARRAY_LEN(filter), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
        give_up(server, "cannot set a seccomp filter");
    }
}

/* Under root: so that no guest makes files of root's. A process that has changed its user is not
 * dumpable, and its files in /proc are root's then. */
static void become_owner(const struct share_server *server)
{
    struct stat st;
    if (geteuid() != 0) {
        return;
    }
    if (stat(server->directory, &st) < 0) {
        give_up(server, "cannot find its owner");
    }
    if (st.st_uid != 0 && (syscall(SYS_setgroups, 0, NULL) < 0 ||
                              syscall(SYS_setresgid, st.st_gid, st.st_gid, st.st_gid) < 0 ||
                              syscall(SYS_setresuid, st.st_uid, st.st_uid, st.st_uid) < 0 ||
                              prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)) {
        give_up(server, "cannot become its owner");
    }
}

_Noreturn void share_run(const struct share_server *server, int parent)
{
    char *const environment[] = {NULL};
    int alive = server->alive_fd < 0 ? -1 : fcntl(server->alive_fd, F_DUPFD, SHARE_ALIVE_FD + 1);
    if (dup2(server->listen_fd, SHARE_LISTEN_FD) < 0 ||
        (alive >= 0 && dup2(alive, SHARE_ALIVE_FD) < 0) ||
        close_range(alive >= 0 ? SHARE_ALIVE_FD + 1 : SHARE_LISTEN_FD + 1, ~0U, 0) < 0) {
        give_up(server, "cannot set up its descriptors");
    }
    become_owner(server);
    enter_namespace(server);
    if (server->is_readonly) {
        make_readonly(server);
    }
    keep_identity(server);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* last: a change of identity undoes it */
    if (getppid() != parent) {
        _exit(0);
    }
    execve(server->argv[0], server->argv, environment);
    give_up(server, server->argv[0]);
}

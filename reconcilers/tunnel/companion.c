/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/tunnel/companion.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/loop/process.h"
#include "reconcilers/backend/backend.h"
#include "reconcilers/backend/qemu/spawn_detached.h"
#include "reconcilers/tunnel/host_socket.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/ssh_options.h"

enum { LOG_MAX = 64 << 10, LOCK_TEXT_MAX = 64 };

bool companion_is_alive(const struct reconciler_host *host, const char *vm_name)
{
    cleanup_free char *path = paths_vm(host->paths, vm_name, VM_FORWARD_LOCK);
    return lockfile_is_held(path);
}

/* ---- its command line ---- */

struct words {
    char **items; /* owned; ends with NULL */
    size_t count;
};

static void words_add(struct words *words, char *word_take)
{
    words->items = mem_resize(words->items, words->count + 2, sizeof(*words->items));
    words->items[words->count++] = word_take;
    words->items[words->count] = NULL;
}

static void words_clear(struct words *words)
{
    for (size_t i = 0; i < words->count; i++) {
        free(words->items[i]);
    }
    free(words->items);
}

/* Its paths are relative: the directory's may be longer than a socket's address. */
static void add_fixed_options(struct words *words)
{
    static const char *const fixed[] = {"-F", "/dev/null", "-M", "-N", "-T", "-a", "-x", "-S",
        ("./" HOST_SOCKET_CONTROL), "-oBatchMode=yes", "-oConnectTimeout=10",
        "-oServerAliveInterval=15", "-oServerAliveCountMax=3", "-oControlPersist=no",
        "-oIdentityAgent=none", "-oStreamLocalBindMask=0177", "-oStreamLocalBindUnlink=no",
        "-oExitOnForwardFailure=no", "-oPermitLocalCommand=no", "-oEscapeChar=none"};
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        words_add(words, mem_strdup(fixed[i]));
    }
}

static int make_words(const struct vm_env *env, struct words *words, struct error *err)
{
    cleanup_with(ssh_options_clear) struct ssh_options options = {.count = 0};
    char *program = fs_find_program("ssh");
    if (!program) {
        (void)error_set(err, ERR_FORWARD, "ssh is not installed on this host");
        return error_help(err, "install the SSH client (package openssh-client)");
    }
    words_add(words, program);
    add_fixed_options(words);
    ssh_options_add_guest(&options, env->host->paths, env->spec, env->status, NULL);
    ssh_options_add_key_paths(&options, env->host->paths, env->spec);
    const struct ssh_option *unfit = ssh_options_unfit(&options);
    if (unfit) {
        return error_set(err, ERR_FORWARD, "ssh does not accept a line break in %s: '%s'",
            unfit->keyword, unfit->value);
    }
    for (size_t i = 0; i < options.count; i++) {
        words_add(words, mem_printf("-o%s=%s", options.items[i].keyword, options.items[i].value));
    }
    words_add(words, mem_strdup("--"));
    words_add(words, mem_strdup("guest")); /* its address is an option */
    return 0;
}

/* ---- the process ---- */

/* "1234 0123456789abcdef…\n": its pid, and the run. */
static void write_lock_file(int fd, const char *run)
{
    char text[LOCK_TEXT_MAX];
    size_t n = strlen(run), at = sizeof(text) - 1 - n;
    memcpy(text + at, run, n);
    text[sizeof(text) - 1] = '\n';
    text[--at] = ' ';
    for (unsigned pid = (unsigned)getpid(); pid > 0; pid /= 10) {
        text[--at] = (char)('0' + pid % 10);
    }
    (void)!pwrite(fd, text + at, sizeof(text) - at, 0);
}

/* Async-signal-safe calls only. What it logs, which its guest has a part in, is bounded. */
static _Noreturn void become_ssh(
    char *const *argv, const char *run, int lock_fd, int log_fd, int dir_fd)
{
    static char *const environment[] = {NULL};
    static const struct rlimit limit = {LOG_MAX, LOG_MAX};
    int lock = fcntl(lock_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int log = fcntl(log_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    (void)setsid();
    (void)umask(0077);
    if (fchdir(dir_fd) == 0 && setrlimit(RLIMIT_FSIZE, &limit) == 0 &&
        dup2(lock, STDIN_FILENO) >= 0 && dup2(log, STDOUT_FILENO) >= 0 &&
        dup2(log, STDERR_FILENO) >= 0) {
        write_lock_file(STDIN_FILENO, run);
        execve(argv[0], argv, environment);
    }
    _exit(127);
}

static void remove_socket(void *context, int dir_fd, const char *name)
{
    (void)context;
    if (host_socket_is_file(name)) {
        (void)unlinkat(dir_fd, name, 0);
    }
}

/* While the lock is held: no process serves what is there. */
static int clear_files(const char *dir, int dir_fd, int lock_fd, struct error *err)
{
    fs_each_entry(dir, remove_socket, NULL);
    (void)unlinkat(dir_fd, HOST_SOCKET_CONTROL, 0);
    return ftruncate(lock_fd, 0) < 0
               ? error_set_errno(err, ERR_FORWARD, errno, "cannot empty the lock file in '%s'", dir)
               : 0;
}

/* The child holds the lock from before it exists, so there is never a second one. */
int companion_start(const struct vm_env *env, struct error *err)
{
    struct reconciler_host *host = env->host;
    cleanup_free char *dir = paths_vm(host->paths, env->name, VM_DIR);
    cleanup_free char *lock_path = paths_vm(host->paths, env->name, VM_FORWARD_LOCK);
    cleanup_free char *log_path = paths_vm(host->paths, env->name, VM_FORWARD_LOG);
    cleanup_with(words_clear) struct words words = {.count = 0};
    cleanup_close int lock_fd = -1, dir_fd = -1, log_fd = -1;
    int rc = make_words(env, &words, err);
    rc = rc < 0 ? rc : lockfile_take(lock_path, &lock_fd, err);
    if (rc == -ERR_VM_CONFLICT) {
        error_clear(err);
        return 0;
    }
    if (rc < 0) {
        return rc;
    }
    dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    log_fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (dir_fd < 0 || log_fd < 0) {
        return error_set_errno(err, ERR_FORWARD, errno, "cannot open '%s'", log_path);
    }
    rc = clear_files(dir, dir_fd, lock_fd, err);
    if (rc < 0) {
        return rc;
    }
    char run[TEXT_ID_SIZE];
    digest_random_id(run);
    pid_t pid = spawn_detached();
    if (pid == 0) {
        become_ssh(words.items, run, lock_fd, log_fd, dir_fd);
    }
    int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
    if (pidfd < 0) {
        return error_set_start(err, ERR_FORWARD, errno, "cannot start ssh");
    }
    process_reap_later(host->loop, pidfd);
    return 0;
}

/* The lock that is held is the proof that the pid in its file is still that process's. False: it is
 * not, or is not written yet. */
static bool read_lock_file(
    const struct reconciler_host *host, const char *vm_name, uint64_t *ret_pid, char **ret_run)
{
    cleanup_free char *path = paths_vm(host->paths, vm_name, VM_FORWARD_LOCK);
    cleanup_buf struct buf text = BUF_INIT(LOCK_TEXT_MAX + 1);
    struct error ignored = {.code = ERR_NONE};
    if (!lockfile_is_held(path) || fs_read_regular(path, &text, &ignored) < 0 || text.len == 0 ||
        text.data[text.len - 1] != '\n') {
        return false;
    }
    text.data[text.len - 1] = '\0';
    char *space = strchr(text.data, ' ');
    if (!space) {
        return false;
    }
    *space = '\0';
    if (!text_to_u64(text.data, 2, INT32_MAX, ret_pid) || (pid_t)*ret_pid == getpid()) {
        return false;
    }
    *ret_run = mem_strdup(space + 1);
    return true;
}

char *companion_run(const struct reconciler_host *host, const char *vm_name)
{
    uint64_t pid;
    char *run = NULL;
    return read_lock_file(host, vm_name, &pid, &run) ? run : NULL;
}

void companion_end(const struct reconciler_host *host, const char *vm_name)
{
    uint64_t pid;
    cleanup_free char *run = NULL;
    if (!read_lock_file(host, vm_name, &pid, &run)) {
        return;
    }
    cleanup_close int pidfd = pidfd_open((pid_t)pid, 0);
    if (pidfd >= 0 && companion_is_alive(host, vm_name)) {
        (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    }
}

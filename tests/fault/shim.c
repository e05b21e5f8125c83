/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A fault at the N-th system call: preloaded into the program under test, it stands in front of the
 * C library's functions that change something outside the process (ld.so(8), LD_PRELOAD). A shim
 * and not ptrace, because a filter that a tracer set would stay in QEMU, which outlives both.
 *
 *   FAULT_PROGRAM=NAME   only in this program (vmctl, vmctld); children of it are left alone
 *   FAULT_DO=count       counts; kill: SIGKILL instead of the call; or an errno by name
 *   FAULT_AT=N           at which of the calls that this fault can befall
 *   FAULT_TOKEN=FILE     made when it happens: it happens once in the life of the file
 *   FAULT_STICKY=1       from then on every such call fails, until FILE.over exists
 *   FAULT_LOG=FILE       a line for each call
 *
 * Its globals are the process' own state, set before main().
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* What kind of call it is; a fault befalls some kinds. */
enum kind {
    READING = 1 << 0,  /* opens for reading */
    MAKING = 1 << 1,   /* a file or directory comes to be */
    NAMING = 1 << 2,   /* names change */
    REMOVING = 1 << 3, /* names go */
    WRITING = 1 << 4,  /* bytes of a file */
    SENDING = 1 << 5,  /* bytes to others */
    SYNCING = 1 << 6,
    SIZING = 1 << 7,
    FORKING = 1 << 8,
    OPENING = 1 << 9, /* other descriptors */
    MAPPING = 1 << 10,
    LOCKING = 1 << 11,
    TOUCHING = 1 << 12, /* times and modes */
};

static const struct fault {
    const char *name;
    int number; /* 0: SIGKILL */
    int kinds;
} faults[] = {
    {"kill", 0, ~(READING | OPENING | MAPPING)},
    {"ENOSPC", ENOSPC, MAKING | NAMING | WRITING | SIZING | SYNCING},
    {"EIO", EIO, READING | MAKING | NAMING | REMOVING | WRITING | SYNCING},
    {"EMFILE", EMFILE, READING | MAKING | OPENING},
    {"ENOMEM", ENOMEM, FORKING | MAPPING | OPENING},
    {"EAGAIN", EAGAIN, FORKING},
};

static const struct fault *fault; /* NULL: nothing happens in this process */
static bool is_counting, is_sticky;
static unsigned long fault_at;
static atomic_ulong n_calls;
static char token[PATH_MAX], over[PATH_MAX], log_path[PATH_MAX];

static void keep(char *out, const char *variable, const char *suffix)
{
    const char *value = getenv(variable);
    (void)snprintf(out, PATH_MAX, "%s%s", value ? value : "", value ? suffix : "");
}

static bool is_meant(void)
{
    char self[PATH_MAX];
    const char *program = getenv("FAULT_PROGRAM");
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n <= 0 || !program) {
        return false;
    }
    self[n] = '\0';
    return strcmp(strrchr(self, '/') + 1, program) == 0;
}

__attribute__((constructor)) static void start(void)
{
    const char *what = getenv("FAULT_DO"), *at = getenv("FAULT_AT");
    if (!what || !is_meant()) {
        return;
    }
    keep(token, "FAULT_TOKEN", "");
    keep(over, "FAULT_TOKEN", ".over");
    keep(log_path, "FAULT_LOG", "");
    fault_at = at ? strtoul(at, NULL, 10) : 0;
    is_sticky = getenv("FAULT_STICKY") != NULL;
    is_counting = fault_at == 0;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (strcmp(faults[i].name, what) == 0) {
            fault = &faults[i];
        }
    }
}

/* Below are system calls, not functions: those are the ones that are being counted. */

static void write_log(unsigned long n, const char *name, const char *object)
{
    char line[PATH_MAX + 100];
    int fd = (int)syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int size = snprintf(line, sizeof(line), "%lu %s %s\n", n, name, object ? object : "");
    if (fd >= 0) {
        (void)!syscall(SYS_write, fd, line, (size_t)size);
        (void)syscall(SYS_close, fd);
    }
}

static bool claim(void)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, token, O_WRONLY | O_CREAT | O_EXCL, 0600);
    return fd >= 0 && syscall(SYS_close, fd) == 0;
}

static bool exists(const char *path)
{
    return syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
}

/* Whether this call must fail; errno is set. Does not return when it is the end. */
static bool strikes(enum kind kind, const char *name, const char *object)
{
    int saved = errno;
    if (!fault || !(fault->kinds & (int)kind)) {
        return false;
    }
    unsigned long n = atomic_fetch_add(&n_calls, 1) + 1;
    if (log_path[0]) {
        write_log(n, name, object);
    }
    bool is_hit = !is_counting && n == fault_at && claim();
    bool goes_on = !is_counting && is_sticky && exists(token) && !exists(over);
    errno = saved;
    if (!is_hit && !goes_on) {
        return false;
    }
    if (fault->number == 0) {
        (void)syscall(SYS_kill, getpid(), SIGKILL);
    }
    errno = fault->number;
    return true;
}

/* A full disk is nothing to a pipe. */
static enum kind kind_of(int fd)
{
    struct stat st;
    int saved = errno;
    enum kind kind = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? WRITING : SENDING;
    errno = saved;
    return kind;
}

/* ---- in front of the C library ---- */

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define GUARD(kind, failed, type, name, object, parameters, ...)                                   \
    type name parameters                                                                           \
    {                                                                                              \
        return strikes(kind, #name, object) ? (failed) : REAL(name)(__VA_ARGS__);                  \
    }

GUARD(kind_of(fd), -1, ssize_t, write, NULL, (int fd, const void *bytes, size_t n), fd, bytes, n)
GUARD(WRITING, -1, ssize_t, pwrite, NULL, (int fd, const void *bytes, size_t n, off_t at), fd,
    bytes, n, at)
GUARD(kind_of(fd), -1, ssize_t, writev, NULL, (int fd, const struct iovec *v, int n), fd, v, n)
GUARD(SYNCING, -1, int, fsync, NULL, (int fd), fd)
GUARD(SYNCING, -1, int, fdatasync, NULL, (int fd), fd)
GUARD(SYNCING, -1, int, msync, NULL, (void *at, size_t n, int flags), at, n, flags)
GUARD(SIZING, -1, int, ftruncate, NULL, (int fd, off_t size), fd, size)
GUARD(SIZING, -1, int, fallocate, NULL, (int fd, int mode, off_t at, off_t n), fd, mode, at, n)
GUARD(NAMING, -1, int, rename, to, (const char *from, const char *to), from, to)
GUARD(
    NAMING, -1, int, renameat, to, (int a, const char *from, int b, const char *to), a, from, b, to)
GUARD(NAMING, -1, int, renameat2, to,
    (int a, const char *from, int b, const char *to, unsigned flags), a, from, b, to, flags)
GUARD(NAMING, -1, int, link, to, (const char *from, const char *to), from, to)
GUARD(NAMING, -1, int, symlink, to, (const char *from, const char *to), from, to)
GUARD(REMOVING, -1, int, unlink, path, (const char *path), path)
GUARD(REMOVING, -1, int, unlinkat, path, (int fd, const char *path, int flags), fd, path, flags)
GUARD(REMOVING, -1, int, rmdir, path, (const char *path), path)
GUARD(MAKING, -1, int, mkdir, path, (const char *path, mode_t mode), path, mode)
GUARD(MAKING, -1, int, mkdirat, path, (int fd, const char *path, mode_t mode), fd, path, mode)
GUARD(TOUCHING, -1, int, futimens, NULL, (int fd, const struct timespec t[2]), fd, t)
GUARD(TOUCHING, -1, int, chmod, path, (const char *path, mode_t mode), path, mode)
GUARD(TOUCHING, -1, int, fchmod, NULL, (int fd, mode_t mode), fd, mode)
GUARD(FORKING, -1, pid_t, fork, NULL, (void))
GUARD(FORKING, -1, int, execv, path, (const char *path, char *const argv[]), path, argv)
GUARD(FORKING, -1, int, execvp, path, (const char *path, char *const argv[]), path, argv)
GUARD(FORKING, errno, int, posix_spawn, path,
    (pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
        const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]),
    pid, path, actions, attributes, argv, envp)
GUARD(FORKING, errno, int, posix_spawnp, path,
    (pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
        const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]),
    pid, path, actions, attributes, argv, envp)
GUARD(SENDING, -1, int, connect, NULL, (int fd, const struct sockaddr *to, socklen_t n), fd, to, n)
GUARD(SENDING, -1, int, bind, NULL, (int fd, const struct sockaddr *to, socklen_t n), fd, to, n)
GUARD(SENDING, -1, ssize_t, send, NULL, (int fd, const void *bytes, size_t n, int flags), fd, bytes,
    n, flags)
GUARD(SENDING, -1, ssize_t, sendto, NULL,
    (int fd, const void *bytes, size_t n, int flags, const struct sockaddr *to, socklen_t size), fd,
    bytes, n, flags, to, size)
GUARD(
    SENDING, -1, ssize_t, sendmsg, NULL, (int fd, const struct msghdr *m, int flags), fd, m, flags)
GUARD(OPENING, -1, int, socket, NULL, (int domain, int type, int protocol), domain, type, protocol)
GUARD(OPENING, -1, int, socketpair, NULL, (int domain, int type, int protocol, int fds[2]), domain,
    type, protocol, fds)
GUARD(OPENING, -1, int, pipe2, NULL, (int fds[2], int flags), fds, flags)
GUARD(OPENING, -1, int, eventfd, NULL, (unsigned value, int flags), value, flags)
GUARD(OPENING, -1, int, inotify_init1, NULL, (int flags), flags)
GUARD(MAPPING, MAP_FAILED, void *, mmap, NULL,
    (void *at, size_t n, int protection, int flags, int fd, off_t offset), at, n, protection, flags,
    fd, offset)

/* What specs/base/compat.h calls by its number; six are all that there can be. */
long syscall(long number, ...)
{
    long words[6];
    va_list ap;
    va_start(ap, number);
    for (int i = 0; i < 6; i++) {
        words[i] = va_arg(ap, long);
    }
    va_end(ap);
    if ((number == SYS_pidfd_send_signal && strikes(SENDING, "pidfd_send_signal", NULL)) ||
        (number == SYS_pidfd_open && strikes(OPENING, "pidfd_open", NULL))) {
        return -1;
    }
    return REAL(syscall)(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

/* The noop backend's machine and its script are files that stand in for a process: one that could
 * not be read would be one that is dead, and that is a fault of the stand-in. */
static bool is_stand_in(const char *path)
{
    const char *name = strrchr(path, '/');
    return strstr(path, "/noop/") || (name && strcmp(name, "/noop.json") == 0);
}

static int guarded_open(const char *name, int dir_fd, const char *path, int flags, mode_t mode)
{
    bool makes = (flags & (O_CREAT | O_TRUNC)) != 0;
    bool is_counted = makes || !is_stand_in(path);
    if (is_counted && strikes(makes ? MAKING : READING, name, path)) {
        return -1;
    }
    return REAL(openat)(dir_fd, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return guarded_open("open", AT_FDCWD, path, flags, mode);
}

int openat(int dir_fd, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return guarded_open("openat", dir_fd, path, flags, mode);
}

static bool is_lock(int command)
{
    return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK;
}

/* Its third argument is a pointer or an int; both fit a register (as in the C library's own). */
int fcntl(int fd, int command, ...)
{
    va_list ap;
    va_start(ap, command);
    void *argument = va_arg(ap, void *);
    va_end(ap);
    if (is_lock(command) && strikes(LOCKING, "fcntl", NULL)) {
        return -1;
    }
    return REAL(fcntl)(fd, command, argument);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/tpm.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"

/* ---- before the fork ---- */

int tpm_find_program(char **ret_path, struct error *err)
{
    const char *wanted = getenv("VMCTL_SWTPM");
    const char *program = wanted && wanted[0] ? wanted : "swtpm";
    cleanup_free char *path = program[0] == '/' ? mem_strdup(program) : fs_find_program(program);
    if (!path || access(path, X_OK) != 0) {
        (void)error_set(err, ERR_BACKEND_UNAVAILABLE,
            "cannot find the program '%s'%s, which emulates a TPM", program,
            program == wanted ? " (from VMCTL_SWTPM)" : " in PATH");
        return error_help(err, "install it: apt-get install swtpm; or remove `tpm`");
    }
    *ret_path = TAKE_PTR(path);
    return 0;
}

static int refuse_place(const char *path, const char *what, struct error *err)
{
    (void)error_set(err, ERR_IO,
        "'%s' is not a %s of the VM's own: a TPM would keep its state there", path, what);
    return error_help(err, "remove it; vmctl creates it again");
}

struct file_check {
    bool is_bad;
    uid_t uid;
    gid_t gid;
};

/* swtpm would wait at a pipe, and another user may have given a file its second name. */
static void check_state_file(void *context, int dir_fd, const char *name)
{
    struct file_check *check = context;
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        bool is_file = S_ISREG(st.st_mode) && st.st_nlink == 1;
        check->is_bad |= !is_file;
        if (is_file && (st.st_uid != check->uid || st.st_gid != check->gid)) {
            check->is_bad |=
                fchownat(dir_fd, name, check->uid, check->gid, AT_SYMLINK_NOFOLLOW) < 0;
        }
    }
}

/* A restore puts a file of ours there. */
static int open_directory(const char *path, struct tpm_emulator *emulator, struct error *err)
{
    struct file_check check = {false, emulator->changes_user ? emulator->uid : geteuid(),
        emulator->changes_user ? emulator->gid : getegid()};
    struct stat st;
    int rc = fs_make_dirs(path, 0700, err);
    if (rc < 0) {
        return rc;
    }
    emulator->directory_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (emulator->directory_fd < 0 || fstat(emulator->directory_fd, &st) < 0) {
        return errno == ENOTDIR || errno == ELOOP
                   ? refuse_place(path, "directory", err)
                   : error_set_errno(err, ERR_IO, errno, "cannot open '%s'", path);
    }
    if (st.st_uid != check.uid && fchown(emulator->directory_fd, check.uid, check.gid) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot change the owner of '%s'", path);
    }
    fs_each_entry(path, check_state_file, &check);
    cleanup_free char *file = fs_join(path, "*");
    return check.is_bad ? refuse_place(file, "file", err) : 0;
}

char *tpm_alive_path(const char *vm_dir)
{
    return fs_join(vm_dir, "tpm.alive");
}

/* A new one, so that an emulator of before is not taken for it. */
static int make_pipe(const char *path, int *ret_fd, struct error *err)
{
    int rc = fs_remove_file(path, err);
    if (rc == 0 && (mkfifo(path, 0600) < 0 || (*ret_fd = open(path, O_RDWR | O_CLOEXEC)) < 0)) {
        rc = error_set_errno(err, ERR_QEMU_SPAWN, errno, "cannot create '%s'", path);
    }
    return rc;
}

int tpm_prepare(const struct paths *paths, const char *vm_name, const char *user,
    struct tpm_emulator *ret, int *ret_connection, struct error *err)
{
    int ends[2] = {-1, -1};
    cleanup_free char *directory = paths_vm(paths, vm_name, VM_TPM_DIR);
    cleanup_free char *vm_dir = paths_vm(paths, vm_name, VM_DIR);
    cleanup_free char *alive = tpm_alive_path(vm_dir);
    *ret = (struct tpm_emulator){.directory_fd = -1, .control_fd = -1, .alive_fd = -1};
    ret->changes_user = user && sscanf(user, "%u:%u", &ret->uid, &ret->gid) == 2;
    if (ret->changes_user && getpwuid(ret->uid)) {
        (void)snprintf(ret->run_as, sizeof(ret->run_as), "%u", ret->uid);
    }
    int rc = tpm_find_program(&ret->program, err);
    rc = rc < 0 ? rc : open_directory(directory, ret, err);
    rc = rc < 0 ? rc : make_pipe(alive, &ret->alive_fd, err);
    if (rc == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        rc = error_set_errno(err, ERR_QEMU_SPAWN, errno, "cannot create the socket of a TPM");
    }
    ret->control_fd = ends[0];
    *ret_connection = ends[1];
    return rc;
}

void tpm_clear(struct tpm_emulator *emulator)
{
    free(emulator->program);
    cleanup_close_(&emulator->directory_fd);
    cleanup_close_(&emulator->control_fd);
    cleanup_close_(&emulator->alive_fd);
    *emulator = (struct tpm_emulator){.directory_fd = -1, .control_fd = -1, .alive_fd = -1};
}

/* ---- the child ---- */

enum { EXIT_SETUP = 126, EXIT_EXEC = 127 };

static _Noreturn void give_up_tpm(int status, const char *what)
{
    const char *const words[] = {
        "cannot emulate a TPM: ", what, ": ", strerrordesc_np(errno), "\n"}; /* signal-safe */
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        ssize_t n = words[i] ? write(STDERR_FILENO, words[i], strlen(words[i])) : 0;
        (void)n; /* to qemu.log */
    }
    _exit(status);
}

_Noreturn void tpm_run(const struct tpm_emulator *emulator, int parent)
{
    const char *argv[] = {"swtpm", "socket", "--tpm2", "--tpmstate", "dir=.,mode=0600", "--ctrl",
        "type=unixio,clientfd=3", "--terminate", emulator->run_as[0] ? "--runas" : NULL,
        emulator->run_as, NULL};
    static const char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
    _Static_assert(TPM_CONTROL_FD == 3, "as the words have it");
    int alive = fcntl(emulator->alive_fd, F_DUPFD, TPM_ALIVE_FD + 1);
    if (fchdir(emulator->directory_fd) < 0) {
        give_up_tpm(EXIT_SETUP, "cannot enter its directory");
    }
    if (dup2(emulator->control_fd, TPM_CONTROL_FD) < 0 || dup2(alive, TPM_ALIVE_FD) < 0 ||
        close_range(TPM_ALIVE_FD + 1, ~0U, 0) < 0) {
        give_up_tpm(EXIT_SETUP, "cannot set up its descriptors");
    }
    if (emulator->changes_user && !emulator->run_as[0] &&
        (syscall(SYS_setgroups, 0, NULL) < 0 ||
            syscall(SYS_setresgid, emulator->gid, emulator->gid, emulator->gid) < 0 ||
            syscall(SYS_setresuid, emulator->uid, emulator->uid, emulator->uid) < 0)) {
        give_up_tpm(EXIT_SETUP, "cannot change its user");
    }
    /* Last: a change of identity undoes it. Where swtpm makes that, its end is the connection's. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(0);
    }
    execve(
        emulator->program, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)environment);
    give_up_tpm(EXIT_EXEC, emulator->program);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/archive/flatten.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/archive/progress.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"

enum { TARGET_FD = 3, OUTPUT_MAX = 64 * 1024 };

/* Only what fork(2) leaves to a child. */
static _Noreturn void become_qemu_img(const char *const *argv, int fd, int output_fd, pid_t parent)
{
    int null_fd = open("/dev/null", O_RDONLY);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool is_orphan = getppid() != parent;
    if (is_orphan || dup2(null_fd, 0) < 0 || dup2(output_fd, 1) < 0 || dup2(1, 2) < 0 ||
        (fd == TARGET_FD ? fcntl(fd, F_SETFD, 0) : dup2(fd, TARGET_FD)) < 0) {
        _exit(126);
    }
    (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

/* "    (12.50/100%)\r" each time it has come further; everything else is what it complains of. */
static void take_output(struct buf *output, struct progress *progress)
{
    const char *last = NULL, *text = buf_str(output);
    for (const char *at = text; (at = strchr(at, '(')); at++) {
        last = strstr(at, "/100%)") ? at + 1 : last;
    }
    if (last && progress) {
        progress_show(progress, strtod(last, NULL), 100);
    }
}

static void read_output(int fd, struct buf *output, struct progress *progress)
{
    char bytes[4096];
    ssize_t n;
    while ((n = read(fd, bytes, sizeof(bytes))) != 0) {
        if (n < 0 && errno != EINTR) {
            return;
        }
        if (n > 0 && output->len + (size_t)n > OUTPUT_MAX) {
            buf_consume(output, output->len / 2);
        }
        if (n > 0) {
            (void)buf_add(output, bytes, (size_t)n);
            take_output(output, progress);
        }
    }
}

/* The last line of it, without the progress. */
static const char *complaint_of(const struct buf *output)
{
    const char *text = strstr(buf_str(output), "qemu-img: ");
    return text ? text + strlen("qemu-img: ") : "it printed nothing";
}

int qemu_img_has_no_room(const struct qemu_img_target *target, uint64_t bytes, struct error *err)
{
    enum { MIB = 1 << 20 };
    cleanup_free char *size =
        bytes ? mem_printf(" of %llu MiB", (unsigned long long)((bytes + MIB - 1) / MIB))
              : mem_strdup("");
    (void)error_set(err, ERR_NO_SPACE, "there is no room in '%s' for a copy%s of %s",
        target->directory, size, target->what);
    return error_help(err, "make room there, then try again; see: df -h %s", target->directory);
}

static int report(
    int status, struct buf *output, const struct qemu_img_target *target, struct error *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return 0;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        (void)error_set(err, ERR_OVERLAY, "cannot run qemu-img");
        return error_help(err, "install it (package qemu-utils)");
    }
    const char *complaint = complaint_of(output);
    return strstr(complaint, strerrordesc_np(ENOSPC))
               ? qemu_img_has_no_room(target, 0, err)
               : error_set(err, ERR_OVERLAY, "qemu-img cannot copy %s: %.*s", target->what,
                     (int)strcspn(complaint, "\n"), complaint);
}

static int run_and_read(const char *const *argv, const struct qemu_img_target *target,
    struct buf *output, struct error *err)
{
    int ends[2], status = -1;
    pid_t parent = getpid();
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot create a pipe");
    }
    pid_t pid = fork();
    if (pid == 0) {
        become_qemu_img(argv, target->fd, ends[1], parent);
    }
    int cause = errno;
    (void)close(ends[1]);
    if (pid > 0) {
        read_output(ends[0], output, target->progress);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
    }
    (void)close(ends[0]);
    return pid < 0 ? error_set_start(err, ERR_IO, cause, "cannot start qemu-img")
                   : report(status, output, target, err);
}

int qemu_img_run(const char *const *argv, const struct qemu_img_target *target, struct error *err)
{
    cleanup_buf struct buf output = BUF_INIT(OUTPUT_MAX);
    return run_and_read(argv, target, &output, err);
}

/* How long it will be at most; 0 where qemu-img does not say. */
static int measure(
    const char *path, const struct qemu_img_target *target, uint64_t *ret_bytes, struct error *err)
{
    const char *const argv[] = {
        "qemu-img", "measure", "--output", "json", "-f", "qcow2", "-O", "qcow2", path, NULL};
    struct qemu_img_target silent = *target;
    silent.progress = NULL;
    cleanup_buf struct buf output = BUF_INIT(OUTPUT_MAX);
    int rc = run_and_read(argv, &silent, &output, err);
    cleanup_json json_t *json =
        rc < 0 ? NULL : json_loads(buf_str(&output), JSON_DISABLE_EOF_CHECK, NULL);
    *ret_bytes = (uint64_t)json_int(json, "required", 0);
    return rc;
}

int flatten(const char *path, const struct qemu_img_target *target, struct error *err)
{
    const char *const argv[] = {
        "qemu-img", "convert", "-p", "-f", "qcow2", "-O", "qcow2", path, QEMU_IMG_TARGET, NULL};
    uint64_t bytes = 0;
    int rc = measure(path, target, &bytes, err);
    return rc < 0                            ? rc
           : !fs_has_room(target->fd, bytes) ? qemu_img_has_no_room(target, bytes, err)
                                             : qemu_img_run(argv, target, err);
}

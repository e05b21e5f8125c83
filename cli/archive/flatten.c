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
#include "specs/base/error.h"

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
    return text ? text + strlen("qemu-img: ") : "it said nothing";
}

static int report(int status, struct buf *output, const char *path, struct error *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return 0;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        (void)error_set(err, ERR_OVERLAY, "cannot run qemu-img");
        return error_help(err, "install it (package qemu-utils)");
    }
    const char *complaint = complaint_of(output);
    bool is_full = strstr(complaint, "No space left") != NULL;
    return error_set(err, is_full ? ERR_NO_SPACE : ERR_OVERLAY, "qemu-img cannot read '%s': %.*s",
        path, (int)strcspn(complaint, "\n"), complaint);
}

int qemu_img_run(
    const char *const *argv, int fd, const char *path, struct progress *progress, struct error *err)
{
    int ends[2], status = -1;
    cleanup_buf struct buf output = BUF_INIT(OUTPUT_MAX);
    pid_t parent = getpid();
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot make a pipe");
    }
    pid_t pid = fork();
    if (pid == 0) {
        become_qemu_img(argv, fd, ends[1], parent);
    }
    int cause = errno;
    (void)close(ends[1]);
    if (pid > 0) {
        read_output(ends[0], &output, progress);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
    }
    (void)close(ends[0]);
    return pid < 0 ? error_set_errno(err, ERR_IO, cause, "cannot start qemu-img")
                   : report(status, &output, path, err);
}

int flatten(const char *path, int fd, struct progress *progress, struct error *err)
{
    const char *const argv[] = {
        "qemu-img", "convert", "-p", "-f", "qcow2", "-O", "qcow2", path, QEMU_IMG_TARGET, NULL};
    return qemu_img_run(argv, fd, path, progress, err);
}

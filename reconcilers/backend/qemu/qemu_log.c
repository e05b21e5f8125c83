/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/qemu_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log_file.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum {
    HEADLINE_MAX = 16384,
    TAIL_SIZE = 2 * HEADLINE_MAX, /* so that the tail contains any headline whole */
    LINE_MAX_SHOWN = 400,
};

#define HEADLINE_PREFIX "vmctl: "

static int write_headline(
    int fd, int64_t wall_ms, const char *instance_id, char *const *argv, struct error *err)
{
    cleanup_buf struct buf line = BUF_INIT(HEADLINE_MAX);
    char when[CLOCK_TEXT_SIZE];
    clock_format_utc(wall_ms, when);
    buf_printf(&line, HEADLINE_PREFIX "%s instance %s:", when, instance_id);
    for (char *const *word = argv; *word; word++) {
        buf_printf(&line, " %s", *word);
    }
    line.is_full = false; /* a truncated command line is better than none */
    buf_add_char(&line, '\n');
    return fs_write_all(fd, line.data, line.len, err);
}

int qemu_log_open(const char *path, int64_t wall_ms, const char *instance_id, char *const *argv,
    int *ret_fd, struct error *err)
{
    (void)log_file_begin(path, QEMU_LOG_MAX);
    cleanup_close int fd =
        open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot open '%s'", path);
    }
    int rc = write_headline(fd, wall_ms, instance_id, argv, err);
    if (rc < 0) {
        return error_wrap(err, "'%s'", path);
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static bool has_prefix(const char *line, size_t n, const char *prefix)
{
    size_t length = strlen(prefix);
    return n >= length && memcmp(line, prefix, length) == 0;
}

static char *shown_line(const char *line, size_t n)
{
    static const char no_machine[] = "unsupported machine type";
    if (memmem(line, n, no_machine, sizeof(no_machine) - 1)) {
        return mem_strdup(
            "this QEMU does not have the VM's machine type: install one that does, or "
            "take its newest with `machine \"q35\"` in the VMFile");
    }
    cleanup_buf struct buf shown = BUF_INIT(0);
    text_add_printable(&shown, line, n < LINE_MAX_SHOWN ? n : LINE_MAX_SHOWN);
    return buf_steal(&shown);
}

char *qemu_log_last_line(const char *path)
{
    char tail[TAIL_SIZE];
    ssize_t size = log_file_read_tail(path, tail, sizeof(tail));
    size_t end = size > 0 ? (size_t)size : 0;
    while (end > 0) {
        size_t start = end;
        while (start > 0 && tail[start - 1] != '\n') {
            start--;
        }
        const char *line = tail + start;
        size_t n = end - start;
        while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == ' ' || line[n - 1] == '\t')) {
            n--;
        }
        if (has_prefix(line, n, HEADLINE_PREFIX)) {
            return NULL;
        }
        /* not a reason: a success, the second half of an error, and the end of QEMU as its TPM has
         * it */
        bool is_small_talk = has_prefix(line, n, "VNC server running on ") ||
                             has_prefix(line, n, "swtpm: Data client disconnected") ||
                             has_prefix(line, n, "Use -machine help");
        if (n > 0 && !is_small_talk) {
            return shown_line(line, n);
        }
        end = start > 0 ? start - 1 : 0;
    }
    return NULL;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/provision_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/loop.h"
#include "reconcilers/provision.h"
#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { SHOWN_COMMAND_MAX = 120 };

struct provision_log {
    struct loop *loop;
    int fd;
    uint32_t index, total;
    int64_t started_ms;
    size_t n_output;
    bool is_cut;
    bool is_at_line_start;
};

int provision_log_open(struct loop *loop, const char *path, uint32_t index, uint32_t total,
    struct provision_log **ret, struct error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot open '%s'", path);
    }
    struct provision_log *log = mem_new(struct provision_log);
    log->loop = loop;
    log->fd = fd;
    log->index = index;
    log->total = total;
    log->started_ms = loop_now_ms(loop);
    log->is_at_line_start = true;
    *ret = log;
    return 0;
}

static void put(struct provision_log *log, const char *bytes, size_t n)
{
    struct error ignored = {.code = ERR_NONE};
    if (n > 0) {
        (void)fs_write_all(log->fd, bytes, n, &ignored);
        log->is_at_line_start = bytes[n - 1] == '\n';
    }
}

/* A line of our own, at the start of a line. One write: a reader never sees half of it. */
static void put_line(struct provision_log *log, const char *text)
{
    cleanup_buf struct buf line = BUF_INIT(0);
    buf_printf(&line, "%s==> step %u/%u: %s\n", log->is_at_line_start ? "" : "\n", log->index + 1,
        log->total, text);
    put(log, buf_str(&line), line.len);
}

/* The first line of a command, cut to a readable length. */
static void add_command(struct buf *out, const char *command)
{
    command += strspn(command, " \t\r\n");
    size_t n = strcspn(command, "\n");
    bool is_cut = command[n + strspn(command + n, " \t\r\n")] != '\0';
    if (n > SHOWN_COMMAND_MAX) {
        n = SHOWN_COMMAND_MAX;
        while (n > 0 && ((unsigned char)command[n] & 0xC0) == 0x80) { /* inside a character */
            n--;
        }
        is_cut = true;
    }
    buf_add_char(out, '"');
    text_add_printable(out, command, n);
    buf_add_str(out, is_cut ? " …\"" : "\"");
}

void provision_log_header(
    struct provision_log *log, enum step_kind kind, const char *what, const char *destination)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    if (kind == STEP_INLINE) {
        buf_add_str(&text, "shell inline ");
        add_command(&text, what);
    } else if (kind == STEP_SCRIPT) {
        buf_printf(&text, "shell script '%s'", what);
    } else {
        buf_printf(&text, "file '%s' to '%s'", what, destination);
    }
    put_line(log, buf_str(&text));
}

void provision_log_output(struct provision_log *log, const char *bytes, size_t n)
{
    size_t room = PROVISION_LOG_STEP_MAX - log->n_output;
    put(log, bytes, n < room ? n : room);
    log->n_output += n < room ? n : room;
    if (n > room && !log->is_cut) {
        log->is_cut = true;
        put_line(log, "more output than is kept: the rest is dropped");
    }
}

void provision_log_close(struct provision_log *log, const char *failure)
{
    if (!log) {
        return;
    }
    cleanup_buf struct buf text = BUF_INIT(0);
    double seconds = (double)(loop_now_ms(log->loop) - log->started_ms) / 1000.;
    if (failure) {
        buf_printf(&text, "failed after %.1f s: %s", seconds, failure);
    } else {
        buf_printf(&text, "done in %.1f s", seconds);
    }
    put_line(log, buf_str(&text));
    close(log->fd);
    free(log);
}

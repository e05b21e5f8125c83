/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/provision_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log_times.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { SHOWN_COMMAND_MAX = 44 }; /* the line fits a terminal of 80 columns */

struct provision_log {
    int fd;
    uint32_t index, total;
    const struct clock *clock;
    struct log_times_writer times;
    int64_t started_at_ms;
    uint64_t n_output;
    bool is_cut;
    bool is_at_line_start;
    bool is_ended; /* the footer is there: it was written, but the end was not recorded */
};

static void put(struct provision_log *log, const char *bytes, size_t n)
{
    struct error ignored = {.code = ERR_NONE};
    if (n > 0) {
        log_times_note(&log->times, log->fd, clock_wall_ms(log->clock));
        (void)fs_write_all(log->fd, bytes, n, &ignored);
        log->is_at_line_start = bytes[n - 1] == '\n';
    }
}

static void provision_log_add_line(
    struct buf *out, const struct provision_log *log, const char *text)
{
    buf_printf(out, "%s==> step %u/%u: %s\n", log->is_at_line_start ? "" : "\n", log->index + 1,
        log->total, text);
}

/* A line of vmctld's own, at the start of a line. One write: a reader never sees half of it. */
static void put_line(struct provision_log *log, const char *text)
{
    cleanup_buf struct buf line = BUF_INIT(0);
    provision_log_add_line(&line, log, text);
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
        const char *blank = memrchr(command, ' ', n);
        n = blank ? (size_t)(blank - command) : text_cut(command, n, n);
        is_cut = true;
    }
    buf_add_char(out, '"');
    text_add_printable(out, command, n);
    buf_add_str(out, is_cut ? " …\"" : "\"");
}

static void add_header(
    struct buf *out, const struct provision_log *log, const struct provision_log_request *request)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    struct provision_log place = *log;
    if (request->index == 0 && request->begin > 0) { /* behind what an earlier run left */
        char when[CLOCK_TEXT_SIZE];
        clock_format_utc(request->started_at_ms, when);
        buf_printf(out, "%s==> run of %s\n", log->is_at_line_start ? "" : "\n", when);
        place.is_at_line_start = true;
    }
    if (request->kind == STEP_INLINE) {
        buf_add_str(&text, "shell inline ");
        add_command(&text, request->what);
    } else if (request->kind == STEP_SCRIPT) {
        buf_printf(&text, "shell script '%s'", request->what);
    } else {
        buf_printf(&text, "file '%s' to '%s'", request->what, request->destination);
    }
    provision_log_add_line(out, &place, buf_str(&text));
}

/* Reads up to `n` bytes at `at` into `out`, a buffer that is emptied first. */
static void read_at(int fd, uint64_t at, size_t n, struct buf *out)
{
    cleanup_free char *bytes = mem_calloc(n + 1, 1);
    ssize_t got = pread(fd, bytes, n, (off_t)at);
    buf_reset(out);
    (void)buf_add(out, bytes, got > 0 ? (size_t)got : 0);
}

static bool ends_line_at(int fd, uint64_t at)
{
    cleanup_buf struct buf byte = BUF_INIT(0);
    if (at == 0) {
        return true;
    }
    read_at(fd, at - 1, 1, &byte);
    return byte.len == 0 || byte.data[0] == '\n';
}

/* Output that imitates our footer only affects the log of the guest that wrote it. */
static bool has_footer(const struct provision_log *log, uint64_t from, uint64_t size)
{
    enum { FOOTER_MAX = 2048 };
    cleanup_buf struct buf tail = BUF_INIT(0);
    uint64_t n = size - from < FOOTER_MAX ? size - from : FOOTER_MAX;
    read_at(log->fd, size - n, (size_t)n, &tail);
    if (tail.len == 0 || tail.data[tail.len - 1] != '\n') {
        return false;
    }
    tail.data[--tail.len] = '\0';
    const char *line = strrchr(tail.data, '\n');
    line = line ? line + 1 : tail.data;
    cleanup_free char *done = mem_printf("==> step %u/%u: done in ", log->index + 1, log->total);
    cleanup_free char *failed =
        mem_printf("==> step %u/%u: failed after ", log->index + 1, log->total);
    return text_starts_with(line, done) || text_starts_with(line, failed);
}

/* Continues where the file ends, or begins the step's part. */
static void find_place(struct provision_log *log, const struct provision_log_request *request)
{
    cleanup_buf struct buf header = BUF_INIT(0), there = BUF_INIT(0);
    struct stat st = {.st_size = 0};
    (void)fstat(log->fd, &st);
    uint64_t size = (uint64_t)st.st_size;
    log->is_at_line_start = ends_line_at(log->fd, request->begin);
    add_header(&header, log, request);
    read_at(log->fd, request->begin, header.len, &there);
    uint64_t from = request->begin + header.len;
    if (there.len == header.len && memcmp(there.data, header.data, header.len) == 0) {
        log->n_output = size - from;
        log->is_cut = log->n_output > PROVISION_LOG_STEP_MAX;
        log->is_at_line_start = ends_line_at(log->fd, size);
        log->is_ended = has_footer(log, from, size);
        return;
    }
    if (size > request->begin && there.len == size - request->begin &&
        memcmp(there.data, header.data, there.len) == 0) { /* a full disk cut the header */
        (void)!ftruncate(log->fd, (off_t)request->begin);
    } else if (size != request->begin) {
        log->is_at_line_start = ends_line_at(log->fd, size);
        buf_reset(&header);
        add_header(&header, log, request);
    }
    put(log, buf_str(&header), header.len);
}

int provision_log_open(
    const struct provision_log_request *request, struct provision_log **ret, struct error *err)
{
    int fd = open(request->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot open '%s'", request->path);
    }
    struct provision_log *log = mem_new(struct provision_log);
    log->fd = fd;
    log->index = request->index;
    log->total = request->total;
    log->clock = request->clock;
    log->started_at_ms = request->started_at_ms;
    log_times_open(&log->times, request->path, fd);
    find_place(log, request);
    *ret = log;
    return 0;
}

uint64_t provision_log_offset(const struct provision_log *log)
{
    return log->n_output;
}

void provision_log_begin_again(struct provision_log *log, const char *why)
{
    if (log->n_output > 0) {
        put_line(log, why);
        log->n_output = 0;
        log->is_cut = false;
        log->is_ended = false;
    }
}

void provision_log_note(struct provision_log *log, const char *text)
{
    if (!log->is_ended) {
        put_line(log, text);
    }
}

void provision_log_output(struct provision_log *log, const char *bytes, size_t n)
{
    size_t room = log->n_output < PROVISION_LOG_STEP_MAX && !log->is_cut
                      ? (size_t)(PROVISION_LOG_STEP_MAX - log->n_output)
                      : 0;
    put(log, bytes, n < room ? n : room);
    log->n_output += n;
    if (n > room && !log->is_cut) {
        log->is_cut = true;
        put_line(log, "more output than the log keeps: the rest is dropped");
    }
}

void provision_log_close(struct provision_log *log)
{
    if (log) {
        log_times_close(&log->times);
        close(log->fd);
        free(log);
    }
}

void provision_log_end(struct provision_log *log, const char *failure)
{
    if (log && !log->is_ended) {
        cleanup_buf struct buf text = BUF_INIT(0);
        int64_t took_ms = clock_wall_ms(log->clock) - log->started_at_ms;
        double seconds = (double)(took_ms > 0 ? took_ms : 0) / 1000.;
        if (failure) {
            buf_printf(&text, "failed after %.1f s: %s", seconds, failure);
        } else {
            buf_printf(&text, "done in %.1f s", seconds);
        }
        put_line(log, buf_str(&text));
    }
    provision_log_close(log);
}

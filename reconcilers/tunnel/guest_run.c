/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/tunnel/guest_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "reconcilers/tunnel/mux.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

struct guest_run {
    struct mux *mux;
    char *command;
    int pipe[2]; /* -1: closed */
    struct loop_io *io;
    struct loop_timer *end; /* reports it from the loop */
    struct buf output;
    void (*line)(void *context, const char *text);
    void (*done)(void *context, const char *output);
    void *context;
    bool *is_freed; /* set while a line is reported */
};

static void run_finish(void *context)
{
    struct guest_run *run = context;
    if (run->io) {
        loop_io_set(run->io, 0);
    }
    loop_timer_start(run->end, 0);
}

static void run_over(void *context)
{
    struct guest_run *run = context;
    run->done(run->context, buf_str(&run->output));
}

static void run_greeted(void *context)
{
    struct guest_run *run = context;
    mux_run(run->mux, 1, run->command, run->pipe[1]);
    cleanup_close_(&run->pipe[1]); /* its end is the end of the command */
}

static void run_answered(void *context, uint32_t id, const char *refusal)
{
    (void)id;
    if (refusal) { /* sshd allows no further session */
        run_finish(context);
    }
}

/* False: the run was freed meanwhile. */
static bool report_lines(struct guest_run *run)
{
    bool is_freed = false;
    char *end;
    run->is_freed = &is_freed;
    while (run->line && run->output.len > 0 &&
           (end = memchr(run->output.data, '\n', run->output.len))) {
        cleanup_free char *text = mem_strndup(run->output.data, (size_t)(end - run->output.data));
        buf_consume(&run->output, (size_t)(end - run->output.data) + 1);
        run->line(run->context, text);
        if (is_freed) {
            return false;
        }
    }
    run->is_freed = NULL;
    return true;
}

static void run_readable(void *context, int fd, unsigned ready)
{
    struct guest_run *run = context;
    char bytes[4096];
    (void)ready;
    ssize_t n = read(fd, bytes, sizeof(bytes));
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0 || !buf_add(&run->output, bytes, (size_t)n)) {
        run_finish(run);
    } else {
        (void)report_lines(run);
    }
}

struct guest_run *guest_run_new(struct loop *loop, const char *control, const char *command,
    void (*line)(void *context, const char *text), void (*done)(void *context, const char *output),
    void *context)
{
    static const struct mux_events events = {run_greeted, run_answered, run_finish};
    struct guest_run *run = mem_new(struct guest_run);
    *run = (struct guest_run){.command = mem_strdup(command),
        .pipe = {-1, -1},
        .output = BUF_INIT(GUEST_RUN_OUTPUT_MAX),
        .line = line,
        .done = done,
        .context = context};
    run->end = loop_timer_new(loop, run_over, run);
    if (pipe2(run->pipe, O_CLOEXEC) == 0) {
        (void)fcntl(run->pipe[0], F_SETFL, O_NONBLOCK); /* ssh has its own flags for its end */
        run->io = loop_io_new(loop, run->pipe[0], LOOP_READ, run_readable, run);
        run->mux = mux_new(loop, control, &events, run);
    }
    if (!run->mux) {
        run_finish(run);
    }
    return run;
}

void guest_run_free(struct guest_run *run)
{
    if (!run) {
        return;
    }
    if (run->is_freed) {
        *run->is_freed = true;
    }
    mux_free(run->mux);
    loop_io_free(run->io);
    loop_timer_free(run->end);
    cleanup_close_(&run->pipe[0]);
    cleanup_close_(&run->pipe[1]);
    buf_clear(&run->output);
    free(run->command);
    free(run);
}

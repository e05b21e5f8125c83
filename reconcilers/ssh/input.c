/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/ssh/input.h"

#include <errno.h>
#include <stdlib.h>

#include "controller/loop/loop.h"
#include "reconcilers/ssh/session.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

int ssh_input_open(
    struct ssh_input *input, struct ssh_task *task, const char *path, struct error *err)
{
    struct user_stream stream = USER_STREAM_INIT;
    if (user_stream_open(&stream, path) < 0) {
        return errno == EINVAL ? error_set(err, ERR_IO, "'%s' is not a regular file", path)
                               : user_path_error(path, errno, err);
    }
    *input = (struct ssh_input){.task = task, .path = mem_strdup(path), .stream = stream};
    return 0;
}

bool ssh_input_is_open(const struct ssh_input *input)
{
    return input->path != NULL;
}

static void end_wait(struct ssh_input *input)
{
    loop_io_free(TAKE_PTR(input->io));
    loop_timer_free(TAKE_PTR(input->silence));
}

static void on_readable(void *context, int fd, unsigned ready)
{
    struct ssh_input *input = context;
    (void)fd;
    (void)ready;
    end_wait(input);
    ssh_task_run(input->task); /* may end it, and free this */
}

static void on_silence(void *context)
{
    struct ssh_input *input = context;
    input->is_silent = true;
    end_wait(input);
    ssh_task_run(input->task);
}

/* The guest's packets run the task, too: that is no answer of the file system. */
static void wait_for_more(struct ssh_input *input)
{
    struct loop *loop = input->task->session->loop;
    if (!input->io) {
        input->io = loop_io_new(loop, input->stream.fd, LOOP_READ, on_readable, input);
        input->silence = loop_timer_new(loop, on_silence, input);
        loop_timer_start(input->silence, USER_STREAM_LIMIT_MS);
    }
}

ssize_t ssh_input_read(struct ssh_input *input, void *bytes, size_t n, struct error *err)
{
    ssize_t got = user_stream_read_now(&input->stream, bytes, n);
    int sys_errno = got < 0 ? errno : 0;
    input->is_silent = input->is_silent && got < 0;
    if (sys_errno == EAGAIN && !input->is_silent) {
        wait_for_more(input);
        return -EAGAIN;
    }
    end_wait(input); /* before its descriptor goes */
    if (sys_errno == EAGAIN) {
        user_stream_give_up(&input->stream);
        sys_errno = ETIMEDOUT;
    }
    return got >= 0 ? got : user_path_error(input->path, sys_errno, err);
}

void ssh_input_close(struct ssh_input *input)
{
    if (!input->path) {
        return;
    }
    end_wait(input);
    user_stream_close(&input->stream);
    free(TAKE_PTR(input->path));
}

/* SPDX-License-Identifier: MPL-2.0 */
/* One command on one channel (RFC 4254, 6.5): open, start, feed its input, read, close. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reconcilers/ssh/input.h"
#include "reconcilers/ssh/session.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

enum stage { EXEC_OPEN, EXEC_START, EXEC_INPUT, EXEC_INPUT_END, EXEC_READ, EXEC_WAIT, EXEC_CLOSE };

enum { CHUNK_SIZE = 32768 };

struct exec {
    struct ssh_task task; /* first */
    enum stage stage;
    char *command, *input_path, *input_text;
    size_t text_sent;
    struct ssh_input file; /* at `input_path` */
    ssh_output_fn *output;
    void *output_context;
    int64_t timeout_ms;
    struct ssh_exit *result;
    LIBSSH2_CHANNEL *channel;
    char input[CHUNK_SIZE];
    size_t input_start, input_end; /* libssh2 must be given the same bytes again after EAGAIN */
};

static enum ssh_progress exec_enter(struct exec *exec, enum stage stage)
{
    exec->stage = stage;
    return SSH_AGAIN;
}

static enum ssh_progress step_open(struct exec *exec, struct error *err)
{
    struct ssh_session *session = exec->task.session;
    if (exec->input_path && !ssh_input_is_open(&exec->file) &&
        ssh_input_open(&exec->file, &exec->task, exec->input_path, err) < 0) {
        return SSH_REFUSED;
    }
    exec->channel = libssh2_channel_open_session(session->ssh);
    if (!exec->channel) {
        return ssh_blocked_or_fail(
            session, libssh2_session_last_errno(session->ssh), err, "cannot open a channel");
    }
    /* Before any data can come: it decides which queue the data is read from. */
    (void)libssh2_channel_handle_extended_data2(exec->channel, LIBSSH2_CHANNEL_EXTENDED_DATA_MERGE);
    return exec_enter(exec, EXEC_START);
}

static enum ssh_progress step_start(struct exec *exec, struct error *err)
{
    int rc = libssh2_channel_exec(exec->channel, exec->command);
    if (rc != 0) {
        return ssh_blocked_or_fail(
            exec->task.session, rc, err, "the guest refused to start the command");
    }
    bool has_input = exec->input_path || exec->input_text;
    return exec_enter(exec, has_input ? EXEC_INPUT : EXEC_INPUT_END);
}

static enum ssh_progress refill(struct exec *exec, struct error *err)
{
    size_t left = exec->input_text ? strlen(exec->input_text + exec->text_sent) : 0;
    ssize_t n = (ssize_t)(left < sizeof(exec->input) ? left : sizeof(exec->input));
    if (left > 0) {
        memcpy(exec->input, exec->input_text + exec->text_sent, (size_t)n);
        exec->text_sent += (size_t)n;
    } else if (exec->input_path) {
        n = ssh_input_read(&exec->file, exec->input, sizeof(exec->input), err);
    }
    if (n < 0) {
        return n == -EAGAIN ? SSH_BLOCKED : SSH_FAILED;
    }
    exec->input_start = 0;
    exec->input_end = (size_t)n;
    return n > 0 ? SSH_AGAIN : exec_enter(exec, EXEC_INPUT_END);
}

static enum ssh_progress step_input(struct exec *exec, struct error *err)
{
    if (exec->input_start == exec->input_end) {
        return refill(exec, err);
    }
    ssize_t n = libssh2_channel_write(
        exec->channel, exec->input + exec->input_start, exec->input_end - exec->input_start);
    if (n == LIBSSH2_ERROR_CHANNEL_CLOSED) {
        return exec_enter(
            exec, EXEC_READ); /* the command ended without reading all: its status decides */
    }
    if (n < 0) {
        return ssh_blocked_or_fail(exec->task.session, n, err, "cannot send to the command");
    }
    exec->input_start += (size_t)n;
    return SSH_AGAIN;
}

static enum ssh_progress step_input_end(struct exec *exec, struct error *err)
{
    int rc = libssh2_channel_send_eof(exec->channel);
    if (rc != 0 && rc != LIBSSH2_ERROR_CHANNEL_CLOSED) {
        return ssh_blocked_or_fail(exec->task.session, rc, err, "cannot end the command's input");
    }
    return exec_enter(exec, EXEC_READ);
}

static enum ssh_progress step_read(struct exec *exec, struct error *err)
{
    char bytes[CHUNK_SIZE];
    ssize_t n = libssh2_channel_read(exec->channel, bytes, sizeof(bytes));
    if (n > 0) {
        if (exec->output) {
            exec->output(exec->output_context, bytes, (size_t)n);
        }
        return SSH_AGAIN;
    }
    if (n < 0) {
        return ssh_blocked_or_fail(
            exec->task.session, n, err, "the connection was lost while the command ran");
    }
    if (!libssh2_channel_eof(exec->channel)) {
        return SSH_BLOCKED;
    }
    return exec_enter(exec, EXEC_WAIT);
}

/* The server closes once the command has ended, after its status; a command that only closed its
 * output still runs. So our own CLOSE waits for the server's. */
static enum ssh_progress step_wait(struct exec *exec, struct error *err)
{
    struct ssh_session *session = exec->task.session;
    int rc = libssh2_channel_wait_closed(exec->channel);
    if (rc != 0) {
        return ssh_blocked_or_fail(
            session, rc, err, "the connection was lost before the command's status came");
    }
    *exec->result = (struct ssh_exit){.status = libssh2_channel_get_exit_status(exec->channel)};
    char *name = NULL;
    (void)libssh2_channel_get_exit_signal(exec->channel, &name, NULL, NULL, NULL, NULL, NULL);
    if (name) {
        exec->result->status = -1;
        (void)snprintf(exec->result->signal, sizeof(exec->result->signal), "%s", name);
        libssh2_free(session->ssh, name);
    }
    return exec_enter(exec, EXEC_CLOSE);
}

static enum ssh_progress step_close(struct exec *exec, struct error *err)
{
    int rc = libssh2_channel_free(exec->channel); /* sends our CLOSE */
    if (rc != 0) {
        return ssh_blocked_or_fail(exec->task.session, rc, err, "cannot close the channel");
    }
    exec->channel = NULL;
    return SSH_DONE;
}

static enum ssh_progress exec_step(struct ssh_task *task, struct error *err)
{
    static enum ssh_progress (*const steps[])(struct exec *, struct error *) = {
        [EXEC_OPEN] = step_open,
        [EXEC_START] = step_start,
        [EXEC_INPUT] = step_input,
        [EXEC_INPUT_END] = step_input_end,
        [EXEC_READ] = step_read,
        [EXEC_WAIT] = step_wait,
        [EXEC_CLOSE] = step_close,
    };
    struct exec *exec = (struct exec *)(void *)task;
    return steps[exec->stage](exec, err);
}

static void exec_expire(struct ssh_task *task, struct error *err)
{
    const struct exec *exec = (struct exec *)(void *)task;
    error_set(
        err, ERR_TIMEOUT, "the command did not end within %g s", (double)exec->timeout_ms / 1000.);
}

static void exec_release(struct ssh_task *task)
{
    struct exec *exec = (struct exec *)(void *)task;
    ssh_input_close(&exec->file);
    free(exec->command);
    free(exec->input_path);
    mem_wipe_text(exec->input_text); /* it may begin with secrets */
    explicit_bzero(exec->input, sizeof(exec->input));
    free(exec); /* the broken session frees the channel */
}

static const struct ssh_task_kind kind = {
    .name = "command", .step = exec_step, .expire = exec_expire, .release = exec_release};

struct op *ssh_exec(struct ssh_session *session, const struct ssh_exec_request *request,
    struct ssh_exit *result, op_done_fn *done, void *context)
{
    struct exec *exec = mem_new(struct exec);
    exec->command = mem_strdup(request->command);
    exec->input_path = mem_strdup(request->input_path);
    exec->input_text = mem_strdup(request->input_text);
    exec->output = request->output;
    exec->output_context = request->output_context;
    exec->timeout_ms = request->timeout_ms;
    exec->result = result;
    ssh_task_start(&exec->task, &kind, session, request->timeout_ms, done, context);
    return &exec->task.op;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/agent.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/agent_protocol.h"

enum {
    ANSWER_MAX = 1 << 20, /* network interfaces of a guest with hundreds of them */
    REQUEST_MAX = 1 << 16,
    READ_SIZE = 16384,
    READS_PER_TURN = 16, /* a guest that keeps sending must not block the loop */
    RETRY_MS = 50,
};

enum agent_state {
    AGENT_STATE_IDLE,
    AGENT_STATE_CONNECTING,
    AGENT_STATE_SYNCING,
    AGENT_STATE_READY,
    AGENT_STATE_CALLING,
};

struct agent {
    struct loop *loop;
    char *path;
    enum agent_state state;
    int fd; /* -1: not connected */
    struct loop_io *io;
    struct loop_timer *retry;    /* of the connection */
    struct loop_timer *deadline; /* of the call */
    struct agent_stream stream;
    struct buf output;
    int64_t n_conversations;
    char *command;      /* of the call under way … */
    struct buf request; /* … as a line */
    int64_t timeout_ms;
    int64_t sent_ms, trip_ms;
    agent_reply_fn *reply; /* NULL: no call is under way */
    void *context;
    unsigned in_callback; /* depth; the object is freed when the outermost call returns */
    bool is_free_wanted;
};

static void hang_up(struct agent *agent)
{
    loop_io_free(TAKE_PTR(agent->io));
    cleanup_close_(&agent->fd);
    agent->fd = -1;
    agent_stream_clear(&agent->stream);
    buf_clear(&agent->output);
    loop_timer_stop(agent->retry);
    agent->state = AGENT_STATE_IDLE;
}

static void agent_leave(struct agent *agent)
{
    if (--agent->in_callback > 0 || !agent->is_free_wanted) {
        return;
    }
    loop_timer_free(agent->retry);
    loop_timer_free(agent->deadline);
    buf_clear(&agent->request);
    free(agent->command);
    free(agent->path);
    free(agent);
}

/* The caller is within a callback of the loop, and holds `in_callback`. */
static void agent_reply(struct agent *agent, const json_t *value, const struct error *err)
{
    agent_reply_fn *reply = agent->reply;
    loop_timer_stop(agent->deadline);
    agent->reply = NULL;
    if (reply) {
        reply(agent->context, value, err);
    }
}

static void agent_fail(struct agent *agent, const struct error *why)
{
    hang_up(agent);
    agent_reply(agent, NULL, why);
}

static void agent_flush(struct agent *agent)
{
    while (agent->output.len > 0) {
        ssize_t n = send(agent->fd, agent->output.data, agent->output.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) { /* reading reports a broken connection */
            break;
        }
        buf_consume(&agent->output, (size_t)n);
    }
    loop_io_set(agent->io, agent->output.len > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void send_request(struct agent *agent)
{
    log_trace("agent", "-> %s", buf_str(&agent->request));
    agent->state = AGENT_STATE_CALLING;
    agent->sent_ms = loop_now_ms(agent->loop);
    buf_add(&agent->output, agent->request.data, agent->request.len);
    agent_flush(agent);
}

static void take_answer(struct agent *agent, const struct agent_answer *answer)
{
    struct error err = {.code = ERR_NONE};
    if (answer->is_sync) {
        send_request(agent);
        return;
    }
    if (agent->state != AGENT_STATE_CALLING) {
        return; /* nothing was asked */
    }
    agent->state = AGENT_STATE_READY;
    agent->trip_ms = loop_now_ms(agent->loop) - agent->sent_ms;
    if (answer->text) {
        cleanup_buf struct buf text = BUF_INIT(0);
        text_add_printable(&text, answer->text, strlen(answer->text));
        (void)error_set(
            &err, ERR_AGENT, "the guest's agent refused '%s': %s", agent->command, buf_str(&text));
    }
    agent_reply(agent, answer->value, err.code ? &err : NULL);
}

/* Returns whether there may be more to read. */
static bool read_some(struct agent *agent)
{
    char chunk[READ_SIZE];
    struct error err = {.code = ERR_NONE};
    ssize_t n = recv(agent->fd, chunk, sizeof(chunk), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (n <= 0) {
        (void)error_set(
            &err, ERR_AGENT, "the connection to the guest's agent ended before it answered");
        agent_fail(agent, &err);
        return false;
    }
    int rc = agent_stream_feed(&agent->stream, chunk, (size_t)n, &err);
    struct agent_answer answer = {.object = NULL};
    while (rc >= 0 && agent->fd >= 0 && !agent->is_free_wanted &&
           (rc = agent_stream_next(&agent->stream, &answer, &err)) > 0) {
        take_answer(agent, &answer);
        agent_answer_clear(&answer);
    }
    if (rc < 0) {
        agent_fail(agent, &err);
    }
    return rc >= 0 && agent->fd >= 0 && (size_t)n == sizeof(chunk);
}

static void socket_ready(void *context, int fd, unsigned ready)
{
    struct agent *agent = context;
    (void)fd;
    agent->in_callback++;
    if (ready & LOOP_WRITE) {
        agent_flush(agent);
    }
    for (int i = 0; (ready & LOOP_READ) && i < READS_PER_TURN && read_some(agent); i++) {
    }
    agent_leave(agent);
}

/* Full or refused: another client's connection may fill QEMU's queue. */
static void agent_connect(void *context)
{
    struct agent *agent = context;
    struct error ignored = {.code = ERR_NONE};
    if (fs_connect_unix(agent->path, &agent->fd, &ignored) < 0) {
        log_trace("agent", "%s", ignored.message);
        loop_timer_start(agent->retry, RETRY_MS);
        return;
    }
    agent->state = AGENT_STATE_SYNCING;
    int64_t id = (loop_now_ms(agent->loop) << 8) + ++agent->n_conversations;
    agent_stream_init(&agent->stream, id & INT32_MAX, ANSWER_MAX);
    agent->output = BUF_INIT(REQUEST_MAX);
    agent->io = loop_io_new(agent->loop, agent->fd, LOOP_READ, socket_ready, agent);
    agent_add_sync(&agent->output, agent->stream.id);
    agent_flush(agent);
}

static void agent_expired(void *context)
{
    struct agent *agent = context;
    struct error err = {.code = ERR_NONE};
    (void)error_set(&err, ERR_TIMEOUT, "the guest's agent did not answer '%s' within %lld s",
        agent->command, (long long)(agent->timeout_ms + 999) / 1000);
    agent->in_callback++;
    agent_fail(agent, &err);
    agent_leave(agent);
}

struct agent *agent_new(struct loop *loop, const char *socket_path)
{
    struct agent *agent = mem_new(struct agent);
    *agent = (struct agent){.loop = loop, .path = mem_strdup(socket_path), .fd = -1};
    agent->request = BUF_INIT(REQUEST_MAX);
    agent->retry = loop_timer_new(loop, agent_connect, agent);
    agent->deadline = loop_timer_new(loop, agent_expired, agent);
    return agent;
}

void agent_free(struct agent *agent)
{
    if (!agent || agent->is_free_wanted) {
        return;
    }
    agent->in_callback++;
    agent->is_free_wanted = true;
    agent->reply = NULL;
    hang_up(agent);
    loop_timer_stop(agent->deadline);
    agent_leave(agent);
}

void agent_call(struct agent *agent, const char *command, json_t *arguments_take,
    int64_t timeout_ms, agent_reply_fn *reply, void *context)
{
    assert(!agent->reply);
    free(agent->command);
    agent->command = mem_strdup(command);
    buf_reset(&agent->request);
    agent_add_command(&agent->request, command, arguments_take);
    agent->timeout_ms = timeout_ms;
    agent->reply = reply;
    agent->context = context;
    loop_timer_start(agent->deadline, timeout_ms);
    if (agent->state == AGENT_STATE_READY) {
        send_request(agent);
    } else if (agent->state == AGENT_STATE_IDLE) {
        agent->state = AGENT_STATE_CONNECTING;
        loop_timer_start(agent->retry, 0);
    }
}

int64_t agent_trip_ms(const struct agent *agent)
{
    return agent->trip_ms;
}

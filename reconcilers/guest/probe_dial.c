/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/probe_dial.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

enum { CHUNK_SIZE = 1024 };

struct dial {
    struct op op; /* first */
    struct loop *loop;
    char *host, *request;
    uint16_t port;
    int64_t timeout_ms;
    bool (*is_complete)(const char *answer);
    struct buf *answer;
    int fd; /* -1: not begun */
    struct loop_io *io;
    struct loop_timer *start, *deadline;
    bool is_connected;
    size_t n_sent;
};

static void on_cancel(struct op *op)
{
    struct dial *self = (struct dial *)(void *)op;
    loop_io_free(self->io);
    loop_timer_free(self->start);
    loop_timer_free(self->deadline);
    cleanup_close_(&self->fd);
    free(self->host);
    free(self->request);
    free(self);
}

static void fail(struct dial *self, int sys_errno, const char *what)
{
    struct error err = {.code = ERR_NONE};
    if (sys_errno == ECONNREFUSED) {
        error_set(&err, ERR_PROBE, "connection refused");
    } else {
        error_set_errno(&err, ERR_PROBE, sys_errno, "%s", what);
    }
    op_finish(&self->op, &err);
}

static void on_deadline(void *context)
{
    struct dial *self = context;
    struct error err = {.code = ERR_NONE};
    double limit_s = (double)self->timeout_ms / 1000.;
    error_set(&err, ERR_TIMEOUT,
        self->is_connected ? "no answer within %g s" : "no connection within %g s", limit_s);
    op_finish(&self->op, &err);
}

/* ---- the stages, each on the socket's readiness ---- */

static void read_answer(struct dial *self)
{
    char bytes[CHUNK_SIZE];
    size_t room = self->answer->max - self->answer->len;
    ssize_t n = recv(self->fd, bytes, room < sizeof(bytes) ? room : sizeof(bytes), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n < 0) {
        fail(self, errno, "the connection broke");
        return;
    }
    buf_add(self->answer, bytes, (size_t)n);
    if (n == 0 || self->is_complete(buf_str(self->answer)) ||
        self->answer->len == self->answer->max) {
        op_finish(&self->op, NULL);
    }
}

static void send_request(struct dial *self)
{
    size_t left = strlen(self->request) - self->n_sent;
    ssize_t n = send(self->fd, self->request + self->n_sent, left, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n < 0) {
        fail(self, errno, "the connection broke");
        return;
    }
    self->n_sent += (size_t)n;
    if (self->request[self->n_sent] == '\0') {
        loop_io_set(self->io, LOOP_READ);
    }
}

static void on_socket(void *context, int fd, unsigned ready)
{
    struct dial *self = context;
    (void)ready;
    if (!self->is_connected) {
        int sys_errno = 0;
        socklen_t size = sizeof(sys_errno);
        (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys_errno, &size);
        if (sys_errno) {
            fail(self, sys_errno, "cannot connect");
            return;
        }
        self->is_connected = true;
        if (!self->request) {
            op_finish(&self->op, NULL);
            return;
        }
    }
    if (self->request[self->n_sent]) {
        send_request(self);
    } else {
        read_answer(self);
    }
}

static void on_start(void *context)
{
    struct dial *self = context;
    struct addrinfo *address;
    char port[8];
    struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    (void)snprintf(port, sizeof(port), "%u", self->port);
    if (getaddrinfo(self->host, port, &hints, &address) != 0) {
        fail(self, EINVAL, "the guest's address is not an IP address");
        return;
    }
    self->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rc = self->fd < 0 ? -1 : connect(self->fd, address->ai_addr, address->ai_addrlen);
    int sys_errno = rc < 0 ? errno : 0;
    freeaddrinfo(address);
    if (self->fd < 0 || (rc < 0 && sys_errno != EINPROGRESS)) {
        fail(self, sys_errno, "cannot connect");
        return;
    }
    self->io = loop_io_new(self->loop, self->fd, LOOP_WRITE, on_socket, self);
}

struct op *dial(struct loop *loop, const struct dial_request *request, struct buf *answer,
    op_done_fn *done, void *context)
{
    struct dial *self = mem_new(struct dial);
    self->op = (struct op){on_cancel, done, context};
    self->loop = loop;
    self->host = mem_strdup(request->host);
    self->port = request->port;
    self->request = mem_strdup(request->request);
    self->timeout_ms = request->timeout_ms;
    self->is_complete = request->is_complete;
    self->answer = answer;
    self->fd = -1;
    self->start = loop_timer_new(loop, on_start, self);
    self->deadline = loop_timer_new(loop, on_deadline, self);
    loop_timer_start(self->start, 0);
    loop_timer_start(self->deadline, request->timeout_ms);
    return &self->op;
}

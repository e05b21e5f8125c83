/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/tunnel/mux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* PROTOCOL.mux, sections 1 to 9. */
enum mux_message {
    MUX_HELLO = 0x00000001,
    MUX_NEW_SESSION = 0x10000002,
    MUX_OPEN_FORWARD = 0x10000006,
    MUX_CLOSE_FORWARD = 0x10000007,
    /* Added to MUX_ANSWERS: */
    MUX_OK = 1,
    MUX_DENIED = 2,
    MUX_FAILURE = 3,
    MUX_REMOTE_PORT = 7,
};
#define MUX_ANSWERS 0x80000000U
#define MUX_SOCKET_PORT 0xfffffffeU /* instead of a port: the host is a path */

enum { MUX_VERSION = 4, MUX_LOCAL = 1, MUX_REMOTE = 2, MUX_MESSAGE_MAX = 64 << 10, WORD = 4 };

struct mux {
    int fd;
    struct loop_io *io;
    struct loop_timer *end; /* reports the end from the loop */
    struct buf input;
    struct mux_events events;
    void *context;
    bool is_greeted, is_ended;
    bool *is_freed; /* set while an event is reported: where mux_free() notes itself */
};

/* ---- what is sent ---- */

static void put_word(struct buf *out, uint32_t word)
{
    uint32_t big = htonl(word);
    buf_add(out, &big, WORD);
}

static void put_text(struct buf *out, const char *text)
{
    put_word(out, (uint32_t)strlen(text));
    buf_add_str(out, text);
}

static void fail(struct mux *mux)
{
    if (!mux->is_ended) {
        mux->is_ended = true;
        loop_io_set(mux->io, 0);
        loop_timer_start(mux->end, 0);
    }
}

/* In one piece: a master whose socket's buffer is full does not work. */
static void mux_send(struct mux *mux, const struct buf *message)
{
    cleanup_buf struct buf packet = BUF_INIT(MUX_MESSAGE_MAX);
    put_word(&packet, (uint32_t)message->len);
    buf_add(&packet, buf_str(message), message->len);
    if (mux->is_ended) {
        return;
    }
    ssize_t n = send(mux->fd, packet.data, packet.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (packet.is_full || n != (ssize_t)packet.len) {
        fail(mux);
    }
}

static void send_hello(struct mux *mux)
{
    cleanup_buf struct buf out = BUF_INIT(MUX_MESSAGE_MAX);
    put_word(&out, MUX_HELLO);
    put_word(&out, MUX_VERSION);
    mux_send(mux, &out);
}

static void add_end(struct buf *out, const char *host, uint16_t port)
{
    put_text(out, host);
    put_word(out, port ? port : MUX_SOCKET_PORT);
}

void mux_forward(struct mux *mux, uint32_t id, bool is_to_be, const struct mux_forward *forward)
{
    cleanup_buf struct buf out = BUF_INIT(MUX_MESSAGE_MAX);
    put_word(&out, is_to_be ? MUX_OPEN_FORWARD : MUX_CLOSE_FORWARD);
    put_word(&out, id);
    put_word(&out, forward->is_remote ? MUX_REMOTE : MUX_LOCAL);
    add_end(&out, forward->listen_host, forward->listen_port);
    add_end(&out, forward->connect_host, forward->connect_port);
    mux_send(mux, &out);
}

/* Each descriptor with a byte of its own, as mm_send_fd() of OpenSSH does. */
static void send_descriptor(struct mux *mux, int fd)
{
    char byte = '\0';
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr alignment;
    } control = {.bytes = {0}};
    struct iovec io = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &io,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_len = CMSG_LEN(sizeof(int));
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    if (!mux->is_ended && sendmsg(mux->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) {
        fail(mux);
    }
}

void mux_run(struct mux *mux, uint32_t id, const char *command, int output_fd)
{
    enum { NO_ESCAPE = -1, FLAGS = 4 }; /* a terminal, X11, the agent, a subsystem */
    cleanup_buf struct buf out = BUF_INIT(MUX_MESSAGE_MAX);
    cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    put_word(&out, MUX_NEW_SESSION);
    put_word(&out, id);
    put_text(&out, "");
    for (int i = 0; i < FLAGS; i++) {
        put_word(&out, 0);
    }
    put_word(&out, (uint32_t)NO_ESCAPE);
    put_text(&out, "");
    put_text(&out, command);
    mux_send(mux, &out);
    if (null < 0) {
        fail(mux);
        return;
    }
    const int descriptors[] = {null, output_fd, null};
    for (size_t i = 0; i < ARRAY_LEN(descriptors); i++) {
        send_descriptor(mux, descriptors[i]);
    }
}

/* ---- what comes ---- */

static bool take_word(const char **at, const char *end, uint32_t *ret)
{
    if (end - *at < WORD) {
        return false;
    }
    memcpy(ret, *at, WORD);
    *ret = ntohl(*ret);
    *at += WORD;
    return true;
}

static void take_reply(struct mux *mux, uint32_t kind, const char *at, const char *end)
{
    uint32_t id, n;
    if (!take_word(&at, end, &id)) {
        fail(mux);
        return;
    }
    if (kind == MUX_OK || kind == MUX_REMOTE_PORT) {
        mux->events.answered(mux->context, id, NULL);
    } else if (kind == MUX_DENIED || kind == MUX_FAILURE) {
        bool has_text = take_word(&at, end, &n) && n <= (size_t)(end - at);
        cleanup_free char *text = has_text ? mem_strndup(at, n) : mem_strdup("ssh refuses it");
        for (char *c = text; *c; c++) {
            *c = *c >= ' ' && *c <= '~' ? *c : '?';
        }
        mux->events.answered(mux->context, id, text);
    } /* the others are about sessions, whose output says more */
}

static void take_message(struct mux *mux, const char *at, const char *end)
{
    uint32_t kind, version;
    if (!take_word(&at, end, &kind)) {
        fail(mux);
    } else if (kind == MUX_HELLO && !mux->is_greeted) {
        mux->is_greeted = take_word(&at, end, &version) && version == MUX_VERSION;
        if (mux->is_greeted) {
            mux->events.greeted(mux->context);
        } else {
            fail(mux);
        }
    } else if (kind >= MUX_ANSWERS) {
        take_reply(mux, kind - MUX_ANSWERS, at, end);
    }
}

/* Takes what is whole. False: the connection was freed meanwhile. */
static bool take_messages(struct mux *mux)
{
    bool is_freed = false;
    mux->is_freed = &is_freed;
    while (!mux->is_ended) {
        const char *at = mux->input.data;
        const char *end = at ? at + mux->input.len : NULL;
        uint32_t n;
        if (!at || !take_word(&at, end, &n)) {
            break;
        }
        if (n > MUX_MESSAGE_MAX - WORD) {
            fail(mux);
        } else if (n > (size_t)(end - at)) {
            break;
        } else {
            cleanup_free char *message = mem_dup(at, n);
            buf_consume(&mux->input, WORD + n);
            take_message(mux, message, message + n);
            if (is_freed) {
                return false;
            }
        }
    }
    mux->is_freed = NULL;
    return true;
}

static void mux_ready(void *context, int fd, unsigned ready)
{
    struct mux *mux = context;
    char bytes[4096];
    (void)ready;
    ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0 || !buf_add(&mux->input, bytes, (size_t)n)) {
        fail(mux);
    } else {
        (void)take_messages(mux);
    }
}

static void mux_over(void *context)
{
    struct mux *mux = context;
    mux->events.ended(mux->context);
}

struct mux *mux_new(
    struct loop *loop, const char *path, const struct mux_events *events, void *context)
{
    struct error ignored = {.code = ERR_NONE};
    int fd;
    if (fs_connect_unix(path, &fd, &ignored) < 0) {
        return NULL;
    }
    struct mux *mux = mem_new(struct mux);
    *mux = (struct mux){
        .fd = fd, .input = BUF_INIT(MUX_MESSAGE_MAX), .events = *events, .context = context};
    mux->io = loop_io_new(loop, fd, LOOP_READ, mux_ready, mux);
    mux->end = loop_timer_new(loop, mux_over, mux);
    send_hello(mux);
    return mux;
}

void mux_free(struct mux *mux)
{
    if (!mux) {
        return;
    }
    if (mux->is_freed) {
        *mux->is_freed = true;
    }
    loop_io_free(mux->io);
    loop_timer_free(mux->end);
    close(mux->fd);
    buf_clear(&mux->input);
    free(mux);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/console_link.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/guest/websocket.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/propolis.h"

enum {
    OPEN_MS = 5000,
    GOODBYE_MS = 1000, /* for the server's part of the closing handshake */
    BACKLOG = 65536,
    PIECE = 16384,
    HEAD_MAX = 16384,
    LANE_MAX = 1 << 20,
};

struct console_link {
    int wire;    /* to the server */
    int inside;  /* the thread's end of the pair */
    int outside; /* the terminal's */
    pthread_t thread;
    struct websocket ws;
    struct buf to_server, to_terminal;
    int64_t goodbye_ms; /* when the terminal's end was closed; 0: it is open */
    struct error failure;
};

static int64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

static bool is_retried(void)
{
    return errno == EAGAIN || errno == EINTR;
}

/* ---- connecting ---- */

/* False: not by then. */
static bool await_socket(int fd, short events, int64_t deadline_ms)
{
    struct pollfd ready = {.fd = fd, .events = events};
    for (;;) {
        int64_t left_ms = deadline_ms - now_ms();
        int n = left_ms > 0 ? poll(&ready, 1, (int)left_ms) : 0;
        if (n >= 0 || errno != EINTR) {
            return n > 0;
        }
    }
}

/* 0, or an errno. */
static int connect_one(const struct addrinfo *to, int64_t deadline_ms, int *ret_fd)
{
    cleanup_close int fd =
        socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, to->ai_protocol);
    if (fd < 0) {
        return errno;
    }
    if (connect(fd, to->ai_addr, to->ai_addrlen) < 0) {
        int failure = errno;
        socklen_t size = sizeof(failure);
        if (failure != EINPROGRESS) {
            return failure;
        }
        if (!await_socket(fd, POLLOUT, deadline_ms)) {
            return ETIMEDOUT;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) < 0 || failure) {
            return failure;
        }
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* A host that goes away without a word ends the connection within a minute; keys go at once. */
static void set_options(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 30},
        {IPPROTO_TCP, TCP_KEEPINTVL, 10},
        {IPPROTO_TCP, TCP_KEEPCNT, 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        (void)setsockopt(
            fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
    }
}

static int dial(const char *address, int64_t deadline_ms, int *ret_fd, struct error *err)
{
    const char *colon = strrchr(address, ':');
    bool is_literal = address[0] == '[';
    size_t n = (size_t)(colon - address);
    cleanup_free char *host = mem_strndup(address + is_literal, n - (is_literal ? 2 : 0));
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int failure = ETIMEDOUT;
    int rc = getaddrinfo(host, colon + 1, &hints, &found);
    if (rc != 0) {
        return error_set(err, ERR_PROPOLIS_UNREACHABLE,
            "cannot resolve the address of propolis-server, %s: %s", address, gai_strerror(rc));
    }
    for (const struct addrinfo *to = found; to && failure; to = to->ai_next) {
        failure = connect_one(to, deadline_ms, ret_fd);
    }
    freeaddrinfo(found);
    if (failure) {
        return error_set_errno(err, ERR_PROPOLIS_UNREACHABLE, failure,
            "propolis-server on %s does not answer", address);
    }
    set_options(*ret_fd);
    return 0;
}

/* Receives until `out` has what `is_complete` wants. */
static int receive_until(int fd, struct buf *out, bool (*is_complete)(const struct buf *out),
    const char *address, int64_t deadline_ms, struct error *err)
{
    char bytes[PIECE];
    while (!is_complete(out)) {
        ssize_t n = await_socket(fd, POLLIN, deadline_ms) ? recv(fd, bytes, sizeof(bytes), 0) : -1;
        if (n < 0 && is_retried() && now_ms() < deadline_ms) {
            continue;
        }
        if (n <= 0 || !buf_add(out, bytes, (size_t)n)) {
            return error_set(err, ERR_PROPOLIS_UNREACHABLE,
                "propolis-server on %s does not answer the request for the console", address);
        }
    }
    return 0;
}

static const char *end_of_head(const struct buf *answer)
{
    const char *end = memmem(buf_str(answer), answer->len, "\r\n\r\n", 4);
    return end ? end + 4 : NULL;
}

static bool has_head(const struct buf *answer)
{
    return end_of_head(answer) != NULL;
}

/* The body of an error: JSON, so its end shows. */
static bool has_error(const struct buf *answer)
{
    const char *body = end_of_head(answer);
    cleanup_json json_t *json = body ? json_loads(body, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    return json != NULL;
}

static int refuse(
    const char *vm_name, const char *address, int status, const char *body, struct error *err)
{
    cleanup_json json_t *json = json_loads(body, JSON_DISABLE_EOF_CHECK, NULL);
    const char *message = json_text(json, "message");
    cleanup_buf struct buf words = BUF_INIT(HEAD_MAX);
    text_add_printable(&words, message ? message : "", message ? strcspn(message, "\r\n") : 0);
    (void)error_set(err, ERR_VM_INVALID_STATE,
        "propolis-server on %s does not open the console of vm '%s' (status %d)%s%s", address,
        vm_name, status, words.len > 0 ? ": " : "", buf_str(&words));
    return error_help(err, "see whether it runs: vmctl status %s", vm_name);
}

/* The handshake. *ret_is_old: the server does not know our version of its interface. `answer`: what
 * came, from *ret_rest on it is frames. */
static int shake_hands(struct console_link *link, const char *vm_name, const char *address,
    bool wants_backlog, const char *version, bool *ret_is_old, struct error *err)
{
    char key[WEBSOCKET_KEY_SIZE], target[64];
    int64_t deadline_ms = now_ms() + OPEN_MS;
    cleanup_buf struct buf request = BUF_INIT(HEAD_MAX), answer = BUF_INIT(HEAD_MAX + PIECE);
    cleanup_free char *headers = mem_printf("api-version: %s\r\n", version);
    (void)snprintf(target, sizeof(target), "/instance/serial?most_recent=%d", BACKLOG);
    target[wants_backlog ? strlen(target) : strcspn(target, "?")] = '\0';
    websocket_add_request(&request, address, target, headers, key);
    if (send(link->wire, request.data, request.len, MSG_NOSIGNAL) != (ssize_t)request.len) {
        return error_set_errno(err, ERR_PROPOLIS_UNREACHABLE, errno,
            "propolis-server on %s does not accept the request for the console", address);
    }
    int rc = receive_until(link->wire, &answer, has_head, address, deadline_ms, err);
    if (rc < 0) {
        return rc;
    }
    int status = websocket_status(answer.data);
    if (status != 101) {
        struct error ignored = {.code = ERR_NONE};
        (void)receive_until(link->wire, &answer, has_error, address, deadline_ms, &ignored);
        const char *body = end_of_head(&answer);
        *ret_is_old = status == 400 && propolis_is_version_refused(body);
        return refuse(vm_name, address, status, body, err);
    }
    size_t n_head = (size_t)(end_of_head(&answer) - answer.data);
    cleanup_free char *head = mem_strndup(answer.data, n_head);
    if (websocket_check_head(head, key, err) < 0) {
        return error_wrap(
            err, "propolis-server on %s does not open the console of vm '%s'", address, vm_name);
    }
    return websocket_read(&link->ws, answer.data + n_head, answer.len - n_head, &link->to_terminal,
        &link->to_server, err);
}

/* ---- the thread ---- */

/* Sends what there is. False: the other end is gone. */
static bool flush(int fd, struct buf *lane)
{
    ssize_t n = lane->len > 0 ? send(fd, lane->data, lane->len, MSG_NOSIGNAL) : 0;
    if (n > 0) {
        buf_consume(lane, (size_t)n);
    }
    return n >= 0 || is_retried();
}

/* False: the console is over. */
static bool read_server(struct console_link *link)
{
    char bytes[PIECE];
    ssize_t n = recv(link->wire, bytes, sizeof(bytes), 0);
    if (n < 0 && is_retried()) {
        return true;
    }
    if (n <= 0 && !link->ws.is_closed && !link->goodbye_ms) {
        (void)error_set(
            &link->failure, ERR_IO, "the connection to propolis-server's console was lost");
    }
    return n > 0 && websocket_read(&link->ws, bytes, (size_t)n, &link->to_terminal,
                        &link->to_server, &link->failure) == 0;
}

static void read_terminal(struct console_link *link)
{
    char bytes[PIECE];
    ssize_t n = recv(link->inside, bytes, sizeof(bytes), 0);
    if (n > 0) {
        websocket_write(&link->to_server, WEBSOCKET_BINARY, bytes, (size_t)n);
    } else if (n == 0 || !is_retried()) {
        static const uint8_t normal[] = {0x03, 0xe8}; /* 1000 */
        websocket_write(&link->to_server, WEBSOCKET_CLOSE, normal, sizeof(normal));
        link->goodbye_ms = now_ms();
    }
}

/* Each lane is filled only when it is empty: an end that does not read stops the other one. */
static bool turn(struct console_link *link)
{
    bool is_leaving = link->goodbye_ms != 0;
    int64_t left_ms = link->goodbye_ms + GOODBYE_MS - now_ms();
    bool reads_terminal = !is_leaving && link->to_server.len == 0;
    short wire = (short)((link->to_terminal.len == 0 ? POLLIN : 0) |
                         (link->to_server.len > 0 ? POLLOUT : 0));
    short inside =
        (short)((reads_terminal ? POLLIN : 0) | (link->to_terminal.len > 0 ? POLLOUT : 0));
    struct pollfd polls[] = {
        {.fd = wire ? link->wire : -1, .events = wire},
        {.fd = inside && !is_leaving ? link->inside : -1, .events = inside},
    };
    if (is_leaving) {
        buf_reset(&link->to_terminal); /* nobody reads it any more */
    }
    if (is_leaving && left_ms <= 0) {
        return false;
    }
    if (poll(polls, ARRAY_LEN(polls), is_leaving ? (int)left_ms : -1) < 0) {
        return errno == EINTR;
    }
    if (polls[1].revents & (POLLIN | POLLHUP | POLLERR)) {
        read_terminal(link);
    }
    if ((polls[0].revents & (POLLIN | POLLHUP | POLLERR)) && !read_server(link)) {
        return false;
    }
    if (!is_leaving) {
        (void)flush(link->inside, &link->to_terminal); /* read_terminal() sees its end */
    }
    return flush(link->wire, &link->to_server) && !link->ws.is_closed;
}

static void *pass_on(void *context)
{
    struct console_link *link = context;
    while (turn(link)) {
    }
    while (!link->goodbye_ms && link->to_terminal.len > 0 &&
           flush(link->inside, &link->to_terminal) &&
           await_socket(link->inside, POLLOUT, now_ms() + GOODBYE_MS)) {
    }
    (void)shutdown(link->inside, SHUT_RDWR);
    return NULL;
}

/* ---- all of it ---- */

static void free_link(struct console_link *link)
{
    int fds[] = {link->wire, link->inside, link->outside};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    buf_clear(&link->to_server);
    buf_clear(&link->to_terminal);
    free(link);
}

/* Signals are the main thread's. */
static int start_thread(struct console_link *link, struct error *err)
{
    int pair[2];
    sigset_t all, before;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot create a pair of sockets");
    }
    link->inside = pair[0];
    link->outside = pair[1];
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&link->thread, NULL, pass_on, link);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure ? error_set_start(err, ERR_IO, failure, "cannot start a thread") : 0;
}

int console_link_open(const char *vm_name, const char *address, bool wants_backlog,
    struct console_link **ret, struct error *err)
{
    static const char *const versions[] = {PROPOLIS_API_VERSION, PROPOLIS_API_VERSION_OLDEST};
    bool is_old = true;
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(versions) && is_old; i++) {
        struct console_link *link = mem_new(struct console_link);
        link->wire = link->inside = link->outside = -1;
        link->to_server = link->to_terminal = BUF_INIT(LANE_MAX);
        error_clear(err);
        is_old = false;
        rc = dial(address, now_ms() + OPEN_MS, &link->wire, err);
        if (rc == 0) {
            rc = shake_hands(link, vm_name, address, wants_backlog, versions[i], &is_old, err);
        }
        if (rc == 0) {
            rc = start_thread(link, err);
        }
        if (rc < 0) {
            free_link(link);
        } else {
            *ret = link;
        }
    }
    return rc;
}

int console_link_fd(const struct console_link *link)
{
    return link->outside;
}

int console_link_close(struct console_link *link, struct error *err)
{
    close(link->outside);
    link->outside = -1;
    (void)pthread_join(link->thread, NULL);
    int rc = -(int)link->failure.code;
    if (rc < 0) {
        *err = link->failure;
    }
    free_link(link);
    return rc;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/import/qmp_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

enum { INPUT_MAX = 1 << 20, READ_SIZE = 4096 };

static int no_answer(const struct qmp_client *client, struct error *err)
{
    (void)error_set(err, ERR_QMP_CONNECT, "QEMU does not answer on '%s'", client->path);
    return error_help(err,
        "it serves one client at a time: end what is connected there (socat, another vmctl), and "
        "try again");
}

/* ---- reading ---- */

static int read_more(struct qmp_client *client, struct error *err)
{
    char bytes[READ_SIZE];
    struct pollfd readable = {.fd = client->fd, .events = POLLIN};
    int64_t left_ms = client->deadline_ms - clock_monotonic_ms(clock_system());
    if (left_ms <= 0 || poll(&readable, 1, (int)left_ms) == 0) {
        return no_answer(client, err);
    }
    ssize_t n = read(client->fd, bytes, sizeof(bytes));
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (n <= 0 || client->input.len + (size_t)n > INPUT_MAX) {
        return error_set(err, ERR_QMP_CONNECT, "QEMU closed '%s'", client->path);
    }
    buf_add(&client->input, bytes, (size_t)n);
    return 0;
}

/* The next message, one line each; json_decref() *ret. */
static int read_message(struct qmp_client *client, json_t **ret, struct error *err)
{
    const char *end = NULL;
    while (client->input.len == 0 ||
           !(end = memchr(client->input.data, '\n', client->input.len))) {
        int rc = read_more(client, err);
        if (rc < 0) {
            return rc;
        }
    }
    size_t n = (size_t)(end - client->input.data) + 1;
    json_t *message = json_loadb(client->input.data, n, 0, NULL);
    struct buf rest = BUF_INIT(INPUT_MAX);
    buf_add(&rest, client->input.data + n, client->input.len - n);
    buf_clear(&client->input);
    client->input = rest;
    if (!json_is_object(message)) {
        json_decref(message);
        return error_set(err, ERR_QMP_CONNECT, "what answers on '%s' is no QEMU", client->path);
    }
    *ret = message;
    return 0;
}

/* The answer to what was sent last; events in between are of no interest. */
static int read_answer(
    struct qmp_client *client, const char *command, json_t **ret, struct error *err)
{
    for (;;) {
        cleanup_json json_t *message = NULL;
        int rc = read_message(client, &message, err);
        if (rc < 0) {
            return rc;
        }
        const json_t *failure = json_object_get(message, "error");
        if (failure) {
            const char *why = json_text(failure, "desc");
            return error_set(err, ERR_QMP_COMMAND, "QEMU refused '%s': %s", command,
                why ? why : "it does not say why");
        }
        json_t *value = json_object_get(message, "return");
        if (value) {
            if (ret) {
                *ret = json_incref(value);
            }
            return 0;
        }
    }
}

/* ---- sending ---- */

/* A line is far shorter than a socket's buffer: it goes at once. */
static int send_line(struct qmp_client *client, char *line, int fd, struct error *err)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec part = {.iov_base = line, .iov_len = strlen(line)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
            .cmsg_level = SOL_SOCKET,
            .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    }
    if (sendmsg(client->fd, &message, MSG_NOSIGNAL) != (ssize_t)part.iov_len) {
        return error_set(err, ERR_QMP_CONNECT, "cannot write to '%s'", client->path);
    }
    return 0;
}

int qmp_client_execute(struct qmp_client *client, const char *command, json_t *arguments_take,
    int fd, json_t **ret, struct error *err)
{
    cleanup_json json_t *message = json_object();
    json_put_text(message, "execute", command);
    if (arguments_take) {
        json_put(message, "arguments", arguments_take);
    }
    cleanup_free char *text = json_canonical(message);
    cleanup_free char *line = mem_printf("%s\n", text);
    int rc = send_line(client, line, fd, err);
    return rc < 0 ? rc : read_answer(client, command, ret, err);
}

/* ---- open and close ---- */

static int negotiate(struct qmp_client *client, struct error *err)
{
    cleanup_json json_t *greeting = NULL;
    int rc = read_message(client, &greeting, err);
    if (rc < 0) {
        return rc;
    }
    return qmp_client_execute(client, "qmp_capabilities", NULL, -1, NULL, err);
}

int qmp_client_open(
    const char *path, int64_t timeout_ms, struct qmp_client *ret, struct error *err)
{
    struct qmp_client client = {.path = path,
        .fd = -1,
        .deadline_ms = clock_monotonic_ms(clock_system()) + timeout_ms,
        .input = BUF_INIT(INPUT_MAX)};
    if (fs_connect_unix(path, &client.fd, err) < 0) {
        err->code = ERR_QMP_CONNECT;
        return -ERR_QMP_CONNECT;
    }
    int rc = negotiate(&client, err);
    if (rc < 0) {
        qmp_client_close(&client);
        return rc;
    }
    *ret = client;
    return 0;
}

void qmp_client_close(struct qmp_client *client)
{
    if (client->path && client->fd >= 0) {
        close(TAKE_FD(client->fd));
    }
    buf_clear(&client->input);
}

pid_t qmp_client_peer(const struct qmp_client *client)
{
    struct ucred peer = {.pid = 0};
    socklen_t size = sizeof(peer);
    bool is_known = getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    return is_known ? peer.pid : 0;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

enum { BACKLOG = 128 };

union address {
    struct sockaddr any;
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;
    struct sockaddr_un local;
};

static bool parse_port(const char *text, in_port_t *ret)
{
    uint64_t port = 0;
    bool is_port = text_to_u64(text, 0, UINT16_MAX, &port);
    *ret = htons((uint16_t)port);
    return is_port;
}

static bool parse_address(const char *text, union address *ret)
{
    const char *colon = strrchr(text, ':');
    bool is_ip6 = text[0] == '[' && colon && colon > text && colon[-1] == ']';
    cleanup_free char *ip =
        colon ? mem_strndup(text + is_ip6, (size_t)(colon - text) - 2 * (size_t)is_ip6) : NULL;
    *ret = (union address){.any = {.sa_family = is_ip6 ? AF_INET6 : AF_INET}};
    if (is_ip6) {
        return inet_pton(AF_INET6, ip, &ret->ip6.sin6_addr) == 1 &&
               parse_port(colon + 1, &ret->ip6.sin6_port);
    }
    return colon && inet_pton(AF_INET, ip, &ret->ip4.sin_addr) == 1 &&
           parse_port(colon + 1, &ret->ip4.sin_port);
}

/* What it is bound to. */
static void describe_listener(struct listener *listener)
{
    union address at = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t n = sizeof(at);
    char ip[INET6_ADDRSTRLEN] = "";
    (void)getsockname(listener->fd, &at.any, &n);
    listener->is_unix = at.any.sa_family == AF_UNIX;
    if (at.any.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &at.ip4.sin_addr, ip, sizeof(ip));
        listener->is_loopback = ntohl(at.ip4.sin_addr.s_addr) >> 24 == 127;
        (void)snprintf(listener->name, sizeof(listener->name), "%s:%u", ip, ntohs(at.ip4.sin_port));
    } else if (at.any.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &at.ip6.sin6_addr, ip, sizeof(ip));
        listener->is_loopback = IN6_IS_ADDR_LOOPBACK(&at.ip6.sin6_addr);
        (void)snprintf(
            listener->name, sizeof(listener->name), "[%s]:%u", ip, ntohs(at.ip6.sin6_port));
    }
}

int listener_open_tcp(const char *address, struct listener *ret, struct error *err)
{
    union address at;
    int on = 1;
    *ret = (struct listener){.fd = -1, .lock_fd = -1};
    if (!parse_address(address, &at)) {
        (void)error_set(err, ERR_USAGE, "--listen '%s' is not an address and a port", address);
        return error_help(err, "write --listen 127.0.0.1:8080");
    }
    socklen_t n = at.any.sa_family == AF_INET ? sizeof(at.ip4) : sizeof(at.ip6);
    cleanup_close int fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, &at.any, n) < 0 || listen(fd, BACKLOG) < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot listen on %s", address);
    }
    ret->fd = TAKE_FD(fd);
    describe_listener(ret);
    return 0;
}

int listener_open_unix(const struct paths *paths, struct listener *ret, struct error *err)
{
    cleanup_free char *path = paths_path(paths, "serve.sock");
    cleanup_free char *lock = paths_path(paths, "serve.lock");
    *ret = (struct listener){.fd = -1, .lock_fd = -1, .is_unix = true};
    int rc = lockfile_take(lock, &ret->lock_fd, err);
    if (rc == -ERR_VM_CONFLICT) {
        error_clear(err);
        (void)error_set(err, ERR_VM_CONFLICT, "another vmctl-serve listens on '%s'", path);
        return error_help(err, "use that one, or another address: --listen 127.0.0.1:8080");
    }
    rc = rc < 0 ? rc : fs_listen_unix(path, &ret->fd, err);
    if (rc < 0) {
        listener_close(ret);
        return rc;
    }
    (void)snprintf(ret->name, sizeof(ret->name), "%s", path);
    return 0;
}

bool listener_take_passed(struct listener *ret)
{
    enum { FIRST_FD = 3 };
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    if (!pid || !text_eq(count, "1") || strtol(pid, NULL, 10) != (long)getpid()) {
        return false;
    }
    *ret = (struct listener){.fd = FIRST_FD, .lock_fd = -1};
    (void)fcntl(ret->fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(ret->fd, F_SETFL, fcntl(ret->fd, F_GETFL) | O_NONBLOCK);
    describe_listener(ret);
    if (ret->is_unix) {
        (void)snprintf(ret->name, sizeof(ret->name), "the socket of the service manager");
    }
    return true;
}

void listener_close(struct listener *listener)
{
    int fd = TAKE_FD(listener->fd), lock_fd = TAKE_FD(listener->lock_fd);
    if (fd >= 0) {
        (void)close(fd);
    }
    if (lock_fd >= 0) {
        (void)close(lock_fd);
    }
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/support/http_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

/* A listening socket on a free port of 127.0.0.1. */
static int listen_anywhere(uint16_t *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 64) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
        abort();
    }
    *ret_port = ntohs(address.sin_port);
    return fd;
}

/* ---- nginx ---- */

struct nginx {
    pid_t pid;
    uint16_t port;
    char *log_path;
};

static void write_config(const char *path, const char *dir, const char *root, uint16_t port)
{
    cleanup_free char *text = mem_printf(
        "daemon off; master_process off; pid %s/nginx.pid; error_log %s/nginx.err;\n"
        "events { worker_connections 64; }\n"
        "http {\n"
        "  log_format vmctl '$status $body_bytes_sent $http_range $request_uri';\n"
        "  access_log %s/access.log vmctl; root %s;\n"
        "  client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3;\n"
        "  uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;\n"
        "  server { listen 127.0.0.1:%u;\n"
        "    location /moved/ { rewrite ^/moved/(.*)$ /$1 redirect; } }\n"
        "}\n",
        dir, dir, dir, root, dir, dir, dir, dir, dir, port);
    struct error err = {0};
    if (fs_write_file(path, text, strlen(text), 0600, &err) < 0) {
        abort();
    }
}

/* True once it accepts; false when it ended or 10 s have gone. */
static bool is_up(const struct nginx *nginx)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons(nginx->port)};
    for (int i = 0; i < 1000; i++) {
        cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
            return true;
        }
        if (waitpid(nginx->pid, NULL, WNOHANG) == nginx->pid) {
            return false;
        }
        (void)poll(NULL, 0, 10);
    }
    return false;
}

struct nginx *nginx_start(const char *dir, const char *root)
{
    struct nginx *nginx = mem_new(struct nginx);
    close(listen_anywhere(&nginx->port));
    nginx->log_path = fs_join(dir, "access.log");
    cleanup_free char *config = fs_join(dir, "nginx.conf");
    write_config(config, dir, root, nginx->port);
    const char *argv[] = {"nginx", "-c", config, "-p", dir, NULL};
    nginx->pid = fork();
    if (nginx->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves nothing behind */
        execvp("nginx", (char *const *)(const void *)argv);
        _exit(127);
    }
    if (nginx->pid < 0 || !is_up(nginx)) {
        free(nginx->log_path);
        free(nginx);
        return NULL;
    }
    return nginx;
}

void nginx_stop(struct nginx *nginx)
{
    if (nginx) {
        kill(nginx->pid, SIGTERM); /* our child, not reaped yet: the pid is its own */
        waitpid(nginx->pid, NULL, 0);
        free(nginx->log_path);
        free(nginx);
    }
}

uint16_t nginx_port(const struct nginx *nginx)
{
    return nginx->port;
}

char *nginx_log(const struct nginx *nginx)
{
    struct buf text = BUF_INIT(0);
    struct error err = {0};
    (void)fs_read_file(nginx->log_path, &text, &err);
    return buf_steal(&text);
}

/* ---- the faulty one ---- */

enum { REQUESTS_MAX = 1024, HEAD_MAX = 4096, CHUNK = 16384 };

struct http_server {
    int listen_fd;
    uint16_t port;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct http_behaviour behaviour;
    struct http_request requests[REQUESTS_MAX];
    size_t n_requests;
    size_t n_connections; /* open, each with its thread */
    unsigned released;
    bool is_stopping;
};

struct connection {
    struct http_server *server;
    int fd;
};

static bool read_head(int fd, char *head)
{
    size_t n = 0;
    while (n < HEAD_MAX - 1) {
        ssize_t got = recv(fd, head + n, HEAD_MAX - 1 - n, 0);
        if (got <= 0) {
            return false;
        }
        n += (size_t)got;
        head[n] = '\0';
        if (strstr(head, "\r\n\r\n")) {
            return true;
        }
    }
    return false;
}

static void copy_header(const char *head, const char *name, char *out, size_t size)
{
    const char *at = strcasestr(head, name);
    if (at) {
        at += strlen(name);
        snprintf(out, size, "%.*s", (int)strcspn(at, "\r\n"), at);
    }
}

/* What came with the head, and the rest. */
static void read_body(int fd, const char *head, struct http_request *request)
{
    char length[16] = "0";
    copy_header(head, "\r\nContent-Length: ", length, sizeof(length));
    const char *came = strstr(head, "\r\n\r\n") + 4;
    size_t wanted = strtoul(length, NULL, 10), have = strlen(came);
    assert(have <= wanted);
    char *body = mem_calloc(1, wanted + 1);
    request->body = body;
    memcpy(body, came, have);
    while (have < wanted) {
        ssize_t got = recv(fd, body + have, wanted - have, 0);
        if (got <= 0) {
            return;
        }
        have += (size_t)got;
    }
}

static struct http_request parse_head(const char *head)
{
    struct http_request request = {0};
    snprintf(request.method, sizeof(request.method), "%.*s", (int)strcspn(head, " "), head);
    const char *path = strchr(head, ' ');
    if (path) {
        snprintf(request.path, sizeof(request.path), "%.*s", (int)strcspn(path + 1, " "), path + 1);
    }
    copy_header(head, "\r\nRange: ", request.range, sizeof(request.range));
    copy_header(head, "\r\nIf-Range: ", request.if_range, sizeof(request.if_range));
    copy_header(head, "\r\nIf-None-Match: ", request.if_none_match, sizeof(request.if_none_match));
    copy_header(head, "\r\napi-version: ", request.api_version, sizeof(request.api_version));
    copy_header(head, "\r\nProxy-Authorization: ", request.proxy_authorization,
        sizeof(request.proxy_authorization));
    copy_header(head, "\r\nAuthorization: ", request.authorization, sizeof(request.authorization));
    return request;
}

/* Where to start sending; *ret_status becomes 206 when a range is honoured. */
static size_t range_start(
    const struct http_behaviour *b, const struct http_request *request, int *ret_status)
{
    unsigned long long first = 0;
    bool is_range = sscanf(request->range, "bytes=%llu-", &first) == 1 && !b->ignores_range;
    bool is_same = !request->if_range[0] || (b->etag && strcmp(request->if_range, b->etag) == 0);
    if (!is_range || (!is_same && !b->is_lying)) {
        return 0;
    }
    *ret_status = first < b->size ? 206 : 416;
    return (size_t)first;
}

static void add_head(
    struct buf *out, const struct http_behaviour *b, int status, size_t start, const char *location)
{
    size_t length = status < 300 ? b->size - start : 0;
    length = status == 206 && b->piece && b->piece < length ? b->piece : length;
    const char *etag = status == 206 && b->etag_of_range ? b->etag_of_range : b->etag;
    buf_printf(out, "HTTP/1.1 %d X\r\nConnection: close\r\n", status);
    if (etag && etag[0]) {
        buf_printf(out, "ETag: %s\r\n", etag);
    }
    if (location) {
        buf_printf(out, "Location: %s\r\n", location);
    }
    if (status == 206 && b->sends_parts) {
        buf_add_str(out, "Content-Type: multipart/byteranges; boundary=x\r\n");
    } else if (status == 206) {
        buf_printf(out, "Content-Range: bytes %zu-%zu/%zu\r\n", b->is_lying ? start / 2 : start,
            b->piece ? start + length - 1 : b->size - 1, b->size);
    }
    if (!b->has_no_length) {
        buf_printf(out, "Content-Length: %zu\r\n", length);
    }
    buf_add_str(out, "\r\n");
}

static void hold(struct http_server *server)
{
    pthread_mutex_lock(&server->mutex);
    unsigned before = server->released;
    while (!server->is_stopping && server->released == before) {
        pthread_cond_wait(&server->changed, &server->mutex);
    }
    pthread_mutex_unlock(&server->mutex);
}

static void count_sent(struct http_server *server, size_t index, size_t n)
{
    pthread_mutex_lock(&server->mutex);
    server->requests[index].sent += n;
    pthread_mutex_unlock(&server->mutex);
}

static void send_body(
    struct connection *connection, const struct http_behaviour *b, size_t start, size_t index)
{
    const char *bytes = b->body;
    size_t end = b->cut_after && start + b->cut_after < b->size ? start + b->cut_after : b->size;
    end = start > 0 && b->piece && start + b->piece < end ? start + b->piece : end;
    size_t held_at = b->hold_after ? start + b->hold_after : b->size + 1;
    while (start < end) {
        size_t n = end - start < CHUNK ? end - start : CHUNK;
        n = start < held_at && start + n > held_at ? held_at - start : n;
        if (start == held_at) {
            hold(connection->server);
        }
        ssize_t sent = send(connection->fd, bytes + start, n, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        start += (size_t)sent;
        count_sent(connection->server, index, (size_t)sent);
    }
}

static const struct http_rule *find_rule(
    const struct http_behaviour *b, const struct http_request *request)
{
    for (size_t i = 0; i < b->n_rules; i++) {
        const struct http_rule *rule = &b->rules[i];
        bool is_right =
            !rule->authorization || strcmp(rule->authorization, request->authorization) == 0;
        if (is_right && strncmp(rule->path, request->path, strlen(rule->path)) == 0) {
            return rule;
        }
    }
    return NULL;
}

static void answer_by_rule(int fd, const struct http_rule *rule)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    const char *body = rule->body ? rule->body : "";
    buf_printf(&out, "HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %zu\r\n%s%s\r\n%s",
        rule->status, strlen(body), rule->header ? rule->header : "", rule->header ? "\r\n" : "",
        body);
    (void)send(fd, out.data, out.len, MSG_NOSIGNAL);
}

static void answer_by_decision(struct connection *connection, const struct http_behaviour *b,
    const struct http_request *request)
{
    struct http_rule rule = {.status = 200};
    pthread_mutex_lock(&connection->server->mutex);
    rule.body = b->decide(b->decide_context, request, &rule.status);
    cleanup_free char *body = mem_strdup(rule.body);
    pthread_mutex_unlock(&connection->server->mutex);
    rule.body = body;
    answer_by_rule(connection->fd, &rule);
}

static void answer(struct connection *connection, const struct http_request *request)
{
    struct http_server *server = connection->server;
    pthread_mutex_lock(&server->mutex);
    struct http_behaviour b = server->behaviour;
    assert(server->n_requests < REQUESTS_MAX);
    size_t index = server->n_requests++;
    server->requests[index] = *request;
    pthread_mutex_unlock(&server->mutex);
    if (b.decide) {
        answer_by_decision(connection, &b, request);
        return;
    }
    const struct http_rule *rule = find_rule(&b, request);
    if (rule && (rule->body || rule->header || rule->status != 200)) {
        answer_by_rule(connection->fd, rule);
        return;
    }
    int status = b.status ? b.status : 200;
    const char *location = b.redirects_to_itself ? request->path : b.location;
    size_t start = status == 200 ? range_start(&b, request, &status) : 0;
    status = location ? 302 : status;
    if (status == 200 && b.etag && strcmp(request->if_none_match, b.etag) == 0) {
        status = 304;
    }
    cleanup_buf struct buf head = BUF_INIT(0);
    add_head(&head, &b, status, start, location);
    if (send(connection->fd, head.data, head.len, MSG_NOSIGNAL) > 0 && status < 300) {
        send_body(connection, &b, start, index);
    }
}

static void *serve_connection(void *context)
{
    struct connection *connection = context;
    struct http_server *server = connection->server;
    char head[HEAD_MAX];
    if (read_head(connection->fd, head)) {
        struct http_request request = parse_head(head);
        read_body(connection->fd, head, &request);
        answer(connection, &request);
    }
    close(connection->fd);
    free(connection);
    pthread_mutex_lock(&server->mutex);
    server->n_connections--;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

static void *serve(void *context)
{
    struct http_server *server = context;
    for (;;) {
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            return NULL; /* http_server_stop() shut it down */
        }
        struct connection *connection = mem_new(struct connection);
        *connection = (struct connection){.server = server, .fd = fd};
        pthread_mutex_lock(&server->mutex);
        server->n_connections++;
        pthread_mutex_unlock(&server->mutex);
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve_connection, connection) != 0) {
            abort();
        }
        pthread_detach(thread);
    }
}

struct http_server *http_server_start(void)
{
    struct http_server *server = mem_new(struct http_server);
    server->listen_fd = listen_anywhere(&server->port);
    pthread_mutex_init(&server->mutex, NULL);
    pthread_cond_init(&server->changed, NULL);
    if (pthread_create(&server->thread, NULL, serve, server) != 0) {
        abort();
    }
    return server;
}

void http_server_stop(struct http_server *server)
{
    shutdown(server->listen_fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listen_fd);
    pthread_mutex_lock(&server->mutex);
    server->is_stopping = true;
    pthread_cond_broadcast(&server->changed);
    while (server->n_connections > 0) {
        pthread_cond_wait(&server->changed, &server->mutex);
    }
    for (size_t i = 0; i < server->n_requests; i++) {
        free((char *)(uintptr_t)server->requests[i].body);
    }
    pthread_mutex_unlock(&server->mutex);
    pthread_mutex_destroy(&server->mutex);
    pthread_cond_destroy(&server->changed);
    free(server);
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

void http_server_behave(struct http_server *server, const struct http_behaviour *behaviour)
{
    pthread_mutex_lock(&server->mutex);
    server->behaviour = *behaviour;
    pthread_mutex_unlock(&server->mutex);
}

void http_server_release(struct http_server *server)
{
    pthread_mutex_lock(&server->mutex);
    server->released++;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->mutex);
}

size_t http_server_count(struct http_server *server)
{
    pthread_mutex_lock(&server->mutex);
    size_t n = server->n_requests;
    pthread_mutex_unlock(&server->mutex);
    return n;
}

struct http_request http_server_request(struct http_server *server, size_t index)
{
    pthread_mutex_lock(&server->mutex);
    struct http_request request = server->requests[index];
    pthread_mutex_unlock(&server->mutex);
    return request;
}

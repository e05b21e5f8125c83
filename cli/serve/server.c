/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/serve/exchange.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/log.h"

enum {
    CONNECTIONS_MAX = 512,
    FDS_MAX = CONNECTIONS_MAX + 128,
    HEADER_MAX = 4096,
    HEADER_S = 10, /* for a request's headers, and between two requests */
};

static struct server *server_of(struct lws *wsi)
{
    return lws_context_user(lws_get_context(wsi));
}

static char connection_tag; /* whose address marks what was accepted */

static int on_http(
    struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct exchange *exchange = user;
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        return exchange_begin(server_of(wsi), wsi, exchange, in);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return exchange_send(server_of(wsi), exchange);
    case LWS_CALLBACK_CLOSED_HTTP:
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
        if (exchange) {
            exchange_end(server_of(wsi), exchange);
        }
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        server_of(wsi)->n_connections -= lws_get_opaque_user_data(wsi) == &connection_tag;
        return 0;
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return -1; /* a WebSocket that names none gets this one */
    case LWS_CALLBACK_HTTP_BODY:
        return exchange_take(exchange, in, len);
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        return exchange_taken(server_of(wsi), exchange);
    default:
        return lws_callback_http_dummy(wsi, reason, user, in, len);
    }
}

/* ---- connections ---- */

/* Without a descriptor for it a connection would stay, and the loop turn for it forever. */
static void refuse_one(struct server *server)
{
    (void)close(server->spare_fd);
    int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        (void)close(fd);
    }
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void take_connection(struct server *server, int fd)
{
    struct lws *wsi = server->n_connections < CONNECTIONS_MAX
                          ? lws_adopt_socket_vhost(server->vhost, fd)
                          : (close(fd), NULL);
    if (wsi) {
        lws_set_opaque_user_data(wsi, &connection_tag);
        server->n_connections++;
    }
}

struct watch *watch_open(struct server *server, struct watch *watch, int fd)
{
    const lws_sock_file_fd_type watched = {.filefd = fd};
    watch->wsi =
        lws_adopt_descriptor_vhost(server->vhost, LWS_ADOPT_RAW_FILE_DESC, watched, "raw", NULL);
    if (!watch->wsi) {
        (void)close(fd); /* libwebsockets does that of a socket only */
        return NULL;
    }
    lws_set_opaque_user_data(watch->wsi, watch);
    return watch;
}

static int on_connections(struct server *server, struct watch *watch)
{
    enum { ACCEPTED_AT_ONCE = 64 };
    (void)watch;
    for (int i = 0; i < ACCEPTED_AT_ONCE; i++) {
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) {
                refuse_one(server);
            }
            return 0;
        }
        take_connection(server, fd);
    }
    return 0;
}

static int on_raw(
    struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct watch *watch = lws_get_opaque_user_data(wsi);
    (void)user;
    (void)in;
    (void)len;
    if (reason == LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION) {
        return -1; /* a WebSocket may name every protocol */
    }
    if (reason == LWS_CALLBACK_RAW_CLOSE_FILE && watch) {
        watch->wsi = NULL;
        if (watch->on_lost) {
            watch->on_lost(server_of(wsi), watch);
        }
        return 0;
    }
    int rc =
        reason == LWS_CALLBACK_RAW_RX_FILE && watch ? watch->on_ready(server_of(wsi), watch) : 0;
    if (rc < 0) { /* whose it was may be gone */
        lws_set_opaque_user_data(wsi, NULL);
    }
    return rc;
}

/* ---- starting ---- */

static void log_server(int level, const char *line)
{
    int n = (int)strcspn(line, "\n");
    log_line(level == LLL_ERR ? LOG_WARN : LOG_DEBUG, "http", "%.*s", n, line);
}

/* libwebsockets keeps a table as long as the limit of descriptors. */
static void limit_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max < FDS_MAX ? limit.rlim_max : FDS_MAX;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static const struct lws_protocols protocols[] = {
    {"http", on_http, sizeof(struct exchange), 0, 0, NULL, 0},
    {"raw", on_raw, 0, 0, 0, NULL, 0},
    {"binary", viewer_callback, sizeof(struct viewer), VIEWER_PIECE, 0, NULL, 0},
    {NULL, NULL, 0, 0, 0, NULL, 0},
};

static int make_context(struct server *server, const struct server_tls *tls, struct error *err)
{
    struct lws_context_creation_info info;
    memset(&info, 0, sizeof(info));
    info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
    info.protocols = protocols;
    info.user = server;
    info.server_string = "vmctl-serve";
    info.timeout_secs = HEADER_S;
    info.keepalive_timeout = HEADER_S;
    info.max_http_header_data = HEADER_MAX;
    info.max_http_header_pool = CONNECTIONS_MAX;
    info.alpn = "http/1.1";
    info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_LIBEV;
    if (tls->cert_path) {
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
        info.ssl_cert_filepath = tls->cert_path;
        info.ssl_private_key_filepath = tls->key_path;
    }
    server->context = lws_create_context(&info);
    if (!server->context) {
        info.options &= ~(uint64_t)LWS_SERVER_OPTION_LIBEV;
        server->context = lws_create_context(&info);
    }
    server->vhost = server->context ? lws_create_vhost(server->context, &info) : NULL;
    if (!server->vhost && tls->cert_path) {
        (void)error_set(err, ERR_USAGE, "cannot use the certificate '%s' with the key '%s'",
            tls->cert_path, tls->key_path);
        return error_help(err, "the cause: VMCTL_LOG=debug vmctl-serve …");
    }
    return server->vhost ? 0 : error_set(err, ERR_IO, "cannot start the HTTP library");
}

/* With libev, libwebsockets catches SIGINT and stays: what these signals meant to the process
 * before, which is to end it or to be ignored behind a shell's `&`, they mean again. */
static int make_context_signalled(
    struct server *server, const struct server_tls *tls, struct error *err)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction before[ARRAY_LEN(ending)];
    for (size_t i = 0; i < ARRAY_LEN(ending); i++) {
        (void)sigaction(ending[i], NULL, &before[i]);
    }
    int rc = make_context(server, tls, err);
    for (size_t i = 0; i < ARRAY_LEN(ending); i++) {
        (void)sigaction(ending[i], &before[i], NULL);
    }
    return rc;
}

int server_run(struct serve *serve, const struct listener *listener, const struct server_tls *tls,
    struct error *err)
{
    struct server server = {.serve = serve,
        .listen_fd = listener->fd,
        .listening.on_ready = on_connections,
        .bell.fd = -1};
    limit_descriptors();
    lws_set_log_level(LLL_ERR | LLL_WARN, log_server);
    int rc = make_context_signalled(&server, tls, err);
    if (rc < 0) {
        return rc;
    }
    server.spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (!watch_open(&server, &server.listening, listener->fd)) {
        return error_set(err, ERR_IO, "cannot watch the listening socket");
    }
    cli_note(&serve->cli, "listening: %s%s",
        listener->is_unix ? "unix:"
        : tls->cert_path  ? "https://"
                          : "http://",
        listener->name);
    while (lws_service(server.context, 0) >= 0) {
    }
    return error_set(err, ERR_IO, "the loop of the HTTP library ended");
}

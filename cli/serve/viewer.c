/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/exchange.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

enum {
    VIEWERS_MAX = 32,
    ENTRY_S = 10, /* for the token */
    CREDENTIAL_MAX = 7 + ACCESS_TOKEN_MAX,
    REASON_MAX = 120, /* of a close frame, 125 at most */
    VALUE_MAX = 1024,
};

static struct server *server_of(struct lws *wsi)
{
    return lws_context_user(lws_get_context(wsi));
}

/* ---- who may ---- */

static int value_of(struct lws *wsi, enum lws_token_indexes token, char ret[VALUE_MAX])
{
    ret[0] = '\0';
    return lws_hdr_total_length(wsi, token) > 0 ? lws_hdr_copy(wsi, ret, VALUE_MAX, token) : 0;
}

/* Scripts cannot give a WebSocket an Authorization, so the token follows as the first message; what
 * the request says besides is checked as of any other one. */
static int viewer_let_in(struct lws *wsi, struct viewer *viewer)
{
    const struct serve *serve = server_of(wsi)->serve;
    char path[VALUE_MAX], host[VALUE_MAX], origin[VALUE_MAX];
    struct route route;
    struct error ignored = {.code = ERR_NONE};
    if (value_of(wsi, WSI_TOKEN_GET_URI, path) < 0 || value_of(wsi, WSI_TOKEN_HOST, host) < 0 ||
        value_of(wsi, WSI_TOKEN_ORIGIN, origin) < 0) {
        return -1;
    }
    const struct http_request request = {.method = "GET",
        .path = path,
        .host = host,
        .origin = origin,
        .authorization = "",
        .accept = "",
        .last_event_id = ""};
    if (!serve->allows_changes || server_of(wsi)->n_viewers >= VIEWERS_MAX ||
        route_find(&request, &route, &ignored) != 200 || route.kind != ROUTE_VNC ||
        access_check(&serve->access, &request, true, &ignored) != 200) {
        return -1;
    }
    (void)snprintf(viewer->vm_name, sizeof(viewer->vm_name), "%s", route.vm_name);
    return 0;
}

/* ---- the screen's socket ---- */

/* -1, with what the page shows. */
static int end_with(struct viewer *viewer, const char *reason)
{
    char text[REASON_MAX + 1];
    (void)snprintf(text, sizeof(text), "%s", reason);
    lws_close_reason(viewer->wsi, LWS_CLOSE_STATUS_NORMAL, (unsigned char *)text, strlen(text));
    return -1;
}

static void read_piece(struct viewer *viewer)
{
    ssize_t n = read(viewer->fd, viewer->piece + LWS_PRE, VIEWER_PIECE);
    bool is_later = n < 0 && (errno == EAGAIN || errno == EINTR);
    viewer->n_piece = n > 0 ? (size_t)n : 0;
    viewer->has_ended = n <= 0 && !is_later;
}

/* It is read only while nothing of it is on its way to the browser. */
static int on_screen(struct server *server, struct watch *watch)
{
    struct viewer *viewer = lws_container_of(watch, struct viewer, watch);
    (void)server;
    if (viewer->n_piece > 0) {
        return 0;
    }
    read_piece(viewer);
    if (viewer->has_ended) {
        viewer->watch.wsi = NULL;
        (void)lws_callback_on_writable(viewer->wsi);
        return -1;
    }
    if (viewer->n_piece > 0) {
        (void)lws_rx_flow_control(viewer->watch.wsi, 0);
        (void)lws_callback_on_writable(viewer->wsi);
    }
    return 0;
}

/* What it has said before is still to be read, by viewer_send(). */
static void on_hangup(struct server *server, struct watch *watch)
{
    struct viewer *viewer = lws_container_of(watch, struct viewer, watch);
    (void)server;
    (void)lws_callback_on_writable(viewer->wsi);
}

static int open_screen(struct server *server, struct viewer *viewer)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = paths_vm(&server->serve->cli.paths, viewer->vm_name, VM_VNC_SOCKET);
    if (fs_connect_unix(path, &viewer->fd, &err) < 0) {
        return end_with(viewer, "the VM is not running, so it has no screen");
    }
    viewer->watch = (struct watch){.on_ready = on_screen, .on_lost = on_hangup};
    int fd = fcntl(viewer->fd, F_DUPFD_CLOEXEC, 0);
    return fd >= 0 && watch_open(server, &viewer->watch, fd)
               ? 0
               : end_with(viewer, "the screen cannot be watched");
}

/* ---- messages ---- */

static int take_credential(
    struct server *server, struct viewer *viewer, const char *bytes, size_t n)
{
    char credential[CREDENTIAL_MAX + 1];
    (void)snprintf(credential, sizeof(credential), "%.*s", n <= CREDENTIAL_MAX ? (int)n : 0, bytes);
    bool is_whole = lws_is_first_fragment(viewer->wsi) && lws_is_final_fragment(viewer->wsi);
    if (!is_whole || !access_has_token(&server->serve->access, credential)) {
        return end_with(viewer, "the token is missing or wrong");
    }
    viewer->is_let_in = true;
    lws_set_timeout(viewer->wsi, NO_PENDING_TIMEOUT, 0);
    return open_screen(server, viewer);
}

/* Keys and the mouse are few bytes: a QEMU that lets them fill its socket does not answer. */
static int viewer_take(struct server *server, struct viewer *viewer, const char *bytes, size_t n)
{
    if (!viewer->is_let_in) {
        return take_credential(server, viewer, bytes, n);
    }
    if (!viewer->watch.wsi) {
        return 0; /* the VM is gone, and viewer_send() closes the connection */
    }
    return write(viewer->fd, bytes, n) == (ssize_t)n
               ? 0
               : end_with(viewer, "the VM does not read what is typed");
}

static int viewer_send(struct viewer *viewer)
{
    if (viewer->n_piece == 0 && viewer->is_let_in && !viewer->watch.wsi && !viewer->has_ended) {
        read_piece(viewer);
        viewer->has_ended |= viewer->n_piece == 0;
    }
    size_t n = viewer->n_piece;
    if (n == 0) {
        return viewer->has_ended ? end_with(viewer, "the VM closed the connection") : 0;
    }
    viewer->n_piece = 0;
    if (lws_write(viewer->wsi, viewer->piece + LWS_PRE, n, LWS_WRITE_BINARY) < (int)n) {
        return -1;
    }
    if (viewer->watch.wsi) {
        (void)lws_rx_flow_control(viewer->watch.wsi, 1);
        return 0;
    }
    return lws_callback_on_writable(viewer->wsi) < 0 ? -1 : 0;
}

static void viewer_end(struct server *server, struct viewer *viewer)
{
    if (viewer->watch.wsi) {
        lws_set_opaque_user_data(viewer->watch.wsi, NULL);
        lws_set_timeout(viewer->watch.wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
        viewer->watch.wsi = NULL;
    }
    if (viewer->fd >= 0) {
        (void)close(viewer->fd);
        viewer->fd = -1;
    }
    server->n_viewers -= viewer->wsi != NULL;
    viewer->wsi = NULL;
}

int viewer_callback(
    struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct viewer *viewer = user;
    switch (reason) {
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return viewer ? viewer_let_in(wsi, viewer) : -1;
    case LWS_CALLBACK_ESTABLISHED:
        viewer->wsi = wsi;
        viewer->fd = -1;
        server_of(wsi)->n_viewers++;
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, ENTRY_S);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        return viewer_take(server_of(wsi), viewer, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return viewer_send(viewer);
    case LWS_CALLBACK_CLOSED:
        viewer_end(server_of(wsi), viewer);
        return 0;
    default:
        return lws_callback_http_dummy(wsi, reason, user, in, len);
    }
}

/* SPDX-License-Identifier: MPL-2.0 */
/* Responses that take longer: streams of events and logs, and changes. */
#include <fcntl.h>
#include <stdlib.h>

#include "cli/serve/action.h"
#include "cli/serve/exchange.h"
#include "cli/serve/log_tail.h"
#include "cli/serve/stream.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

enum {
    ACTIONS_MAX = 8, /* processes at a time */
    HEARTBEAT_TICKS = 15,
};

/* An action, and who waits for it. */
struct acting {
    struct watch watch;
    struct action action;
    struct exchange *exchange; /* NULL: the client has gone */
    lws_sorted_usec_list_t deadline;
};

/* ---- streams ---- */

static bool is_of_events(const struct exchange *stream)
{
    return stream->answer.route.kind == ROUTE_EVENTS;
}

/* A log grows without a bell: the timer looks. */
static int on_bell(struct server *server, struct watch *watch)
{
    (void)watch;
    bool has_rung = bell_watch_drain(&server->bell);
    for (struct exchange *stream = server->streams; has_rung && stream; stream = stream->next) {
        if (is_of_events(stream)) {
            stream->is_changed = true;
            (void)lws_callback_on_writable(stream->wsi);
        }
    }
    return 0;
}

void stream_look(struct server *server)
{
    for (struct exchange *stream = server->streams; stream; stream = stream->next) {
        (void)lws_callback_on_writable(stream->wsi);
    }
}

/* Nothing promises that every commit rings; and a client that has gone shows when it is sent
 * something. */
static void on_tick(lws_sorted_usec_list_t *timer)
{
    struct server *server = lws_container_of(timer, struct server, timer);
    bool is_heartbeat = ++server->n_ticks % HEARTBEAT_TICKS == 0;
    for (struct exchange *stream = server->streams; stream; stream = stream->next) {
        if (is_heartbeat && is_of_events(stream) && stream->answer.body.len == 0) {
            buf_add_str(&stream->answer.body, ":\n\n");
        }
    }
    stream_look(server);
    lws_sul_schedule(server->context, 0, timer, on_tick, LWS_US_PER_SEC);
}

/* The bell's descriptor is closed by libwebsockets, so that is a copy. Where it cannot be
 * watched, the timer does. */
static void streams_begin(struct server *server)
{
    struct error ignored = {.code = ERR_NONE};
    const struct paths *paths = &server->serve->cli.paths;
    server->ringing = (struct watch){.on_ready = on_bell};
    if (bell_watch_open(&server->bell, paths, BELL_STATUS, &ignored) == 0) {
        int fd = fcntl(server->bell.fd, F_DUPFD_CLOEXEC, 0);
        (void)(fd >= 0 && watch_open(server, &server->ringing, fd));
    }
    lws_sul_schedule(server->context, 0, &server->timer, on_tick, LWS_US_PER_SEC);
}

int stream_begin(struct server *server, struct exchange *exchange)
{
    if (!server->streams) {
        streams_begin(server);
    }
    exchange->phase = PHASE_STREAMING;
    exchange->next = server->streams;
    server->streams = exchange;
    lws_set_timeout(exchange->wsi, NO_PENDING_TIMEOUT, 0);
    if (exchange_send_headers(exchange, LWS_ILLEGAL_HTTP_CONTENT_LEN) < 0) {
        return -1;
    }
    exchange->is_changed = true;
    return lws_callback_on_writable(exchange->wsi) < 0 ? -1 : 0;
}

/* What has come since the last time. */
static int stream_read(struct server *server, struct exchange *stream)
{
    struct error err = {.code = ERR_NONE};
    struct cli *cli = &server->serve->cli;
    struct route *route = &stream->answer.route;
    const char *name = route->vm_name[0] ? route->vm_name : NULL;
    if (!is_of_events(stream)) {
        log_tail_add(&cli->paths, route, &route->after, &stream->answer.body);
        return 0;
    }
    int rc = stream_add(cli->store, name, &route->after, &stream->answer.body, &err);
    buf_add_str(&stream->answer.body, stream->is_changed ? "event: changed\ndata: {}\n\n" : "");
    stream->is_changed = false;
    return rc;
}

/* More is read only when all of the last was sent: a slow client costs no memory. */
int stream_send(struct server *server, struct exchange *stream)
{
    struct buf *text = &stream->answer.body;
    if (stream->n_sent == text->len) {
        buf_reset(text);
        stream->n_sent = 0;
    }
    if (text->len == 0 && stream_read(server, stream) < 0) {
        return -1;
    }
    if (text->len == 0) {
        lws_set_timeout(stream->wsi, NO_PENDING_TIMEOUT, 0);
        return 0;
    }
    lws_set_timeout(stream->wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_S);
    if (exchange_send_piece(stream, false) < 0) {
        return -1;
    }
    return lws_callback_on_writable(stream->wsi) < 0 ? -1 : 0;
}

void stream_end(struct server *server, struct exchange *exchange)
{
    struct exchange **at = &server->streams;
    while (*at && *at != exchange) {
        at = &(*at)->next;
    }
    *at = *at ? exchange->next : NULL;
    if (!server->streams) {
        lws_sul_cancel(&server->timer);
        bell_watch_close(&server->bell);
        if (server->ringing.wsi) {
            lws_set_timeout(server->ringing.wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
            server->ringing.wsi = NULL;
        }
    }
}

/* ---- changes ---- */

static int on_acted(struct server *server, struct watch *watch)
{
    struct acting *acting = lws_container_of(watch, struct acting, watch);
    struct exchange *exchange = acting->exchange;
    struct answer dropped = {.body = BUF_INIT(ANSWER_MAX)};
    lws_sul_cancel(&acting->deadline);
    action_finish(&acting->action, exchange ? &exchange->answer : &dropped);
    answer_clear(&dropped);
    server->n_actions--;
    free(acting);
    if (exchange) {
        exchange->acting = NULL;
        if (exchange_answer(server, exchange) < 0) {
            lws_set_timeout(exchange->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
        }
    }
    return -1;
}

static void on_action_late(lws_sorted_usec_list_t *deadline)
{
    action_kill(&lws_container_of(deadline, struct acting, deadline)->action);
}

static int start_action(struct server *server, struct exchange *exchange, struct error *err)
{
    const struct route *route = &exchange->answer.route;
    if (server->n_actions >= ACTIONS_MAX) {
        return error_set(err, ERR_CONTROLLER, "too many changes are under way: try again");
    }
    struct acting *acting = mem_calloc(1, sizeof(*acting));
    acting->watch.on_ready = on_acted;
    acting->exchange = exchange;
    int rc = action_start(&server->serve->cli, route->verb, route->vm_name, &acting->action, err);
    if (rc == 0 && !watch_open(server, &acting->watch, acting->action.process_fd)) {
        action_abandon(&acting->action);
        rc = error_set(err, ERR_IO, "cannot watch a process");
    }
    if (rc < 0) {
        free(acting);
        return rc;
    }
    server->n_actions++;
    exchange->acting = acting;
    lws_sul_schedule(server->context, 0, &acting->deadline, on_action_late,
        ACTION_LIMIT_S * (lws_usec_t)LWS_US_PER_SEC);
    return 0;
}

int action_begin(struct server *server, struct exchange *exchange)
{
    struct error err = {.code = ERR_NONE};
    exchange->phase = PHASE_ACTING;
    if (start_action(server, exchange, &err) < 0) {
        answer_error(&exchange->answer, 503, &err);
        return exchange_answer(server, exchange);
    }
    lws_set_timeout(exchange->wsi, PENDING_TIMEOUT_HTTP_CONTENT, ACTION_LIMIT_S + ANSWER_S);
    return 0;
}

void action_forget(struct exchange *exchange)
{
    if (exchange->acting) {
        exchange->acting->exchange = NULL;
    }
}

/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Shared by the files of the server, which alone use libwebsockets: exchange.c receives a
 * connection's request and sends the response, live.c those that take longer, server.c has the
 * loop.
 */
#pragma once

#include <libwebsockets.h>
#include <stdbool.h>

#include "cli/serve/answer.h"
#include "store/bell.h"

struct server;
struct exchange;
struct acting;
struct typing;

/* A descriptor that libwebsockets' loop watches. */
struct watch {
    int (*on_ready)(struct server *server, struct watch *watch); /* -1: it is closed */
    /* Without libev the loop drops a descriptor whose other end has hung up, even with bytes left
     * to read; it calls this then. NULL: nothing to do. */
    void (*on_lost)(struct server *server, struct watch *watch);
    struct lws *wsi;
};

struct server {
    struct serve *serve;
    struct lws_context *context;
    struct lws_vhost *vhost;
    int listen_fd;
    int spare_fd; /* closed to accept, and close, a connection when no descriptor is left */
    size_t n_connections;
    size_t held_bytes;
    struct watch listening;
    size_t n_actions, n_viewers;
    struct exchange *streams; /* the bell and the timer are on while there is one */
    struct bell_watch bell;
    struct watch ringing;
    lws_sorted_usec_list_t timer, typing_timer, echo_timer;
    struct typing *typings;
    bool is_echo_due;
    unsigned n_ticks;
};

enum phase { PHASE_NONE, PHASE_READING, PHASE_SENDING, PHASE_STREAMING, PHASE_ACTING };

enum { ANSWER_S = 60 }; /* for an answer, or a piece of a stream */

/* A connection's request and its response. */
struct exchange {
    enum phase phase;
    struct lws *wsi;
    struct answer answer;
    struct buf input; /* the body of a request that has one */
    size_t n_sent;    /* of its body; of a stream that is what was read and not sent yet */
    int64_t begun_ms; /* monotonic */
    bool is_head, is_changed;
    bool is_last;          /* the connection is closed behind it */
    struct exchange *next; /* of a stream */
    struct acting *acting; /* the command it waits for; NULL: none */
};

/* server.c. Takes `fd`, also when it fails: NULL. */
struct watch *watch_open(struct server *server, struct watch *watch, int fd);

/* exchange.c. Those that return an int: -1 closes the connection. */
int exchange_begin(
    struct server *server, struct lws *wsi, struct exchange *exchange, const char *path);
int exchange_take(struct exchange *exchange, const char *bytes, size_t n);
int exchange_taken(struct server *server, struct exchange *exchange); /* the body is complete */
int exchange_send(struct server *server, struct exchange *exchange);
void exchange_end(struct server *server, struct exchange *exchange); /* twice is fine */
int exchange_send_headers(const struct exchange *exchange, lws_filepos_t length);
int exchange_send_piece(struct exchange *exchange, bool ends);
/* The response is complete: starts sending it. */
int exchange_answer(struct server *server, struct exchange *exchange);

/* live.c */
void stream_look(struct server *server); /* sends what was added since */
int stream_begin(struct server *server, struct exchange *exchange);
int stream_send(struct server *server, struct exchange *exchange);
void stream_end(struct server *server, struct exchange *exchange);
int action_begin(struct server *server, struct exchange *exchange);
void action_forget(struct exchange *exchange);

/*
 * viewer.c: connects a viewer to the screen of a VM: VNC over a WebSocket with the protocol
 * "binary", bytes passed on as they come. The first message must be "Bearer TOKEN". It needs
 * --allow-changes, because the viewer has a keyboard and a mouse.
 */
enum { VIEWER_PIECE = 16 << 10 };

struct viewer {
    struct lws *wsi;    /* NULL: it is not established yet, or has ended */
    struct watch watch; /* of a copy of `fd` */
    int fd;             /* -1: not connected */
    bool is_let_in, has_ended;
    size_t n_piece; /* of `piece`, on its way to the browser */
    char vm_name[VM_FULL_NAME_MAX + 1];
    unsigned char piece[LWS_PRE + VIEWER_PIECE];
};

int viewer_callback(
    struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);

/*
 * typing.c: sends text typed on the page to a VM's serial console. The connection stays open for
 * some seconds after the last text, because QEMU drops what the guest has not read when the client
 * leaves. The guest's output is in the console's log. -ERR_VM_INVALID_STATE: there is no such
 * console, or it is in use; -ERR_TIMEOUT: the guest has not read what was typed before.
 */
enum { TYPING_MAX = 4096 }; /* bytes at a time */
int typing_add(
    struct server *server, const char *vm_name, const char *text, size_t n, struct error *err);

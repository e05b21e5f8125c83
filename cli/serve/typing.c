/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/guest/console_socket.h"
#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { IDLE_S = 5, PENDING_MAX = 16 * 1024, ECHO_US = 10 * LWS_US_PER_MS };

struct typing {
    struct watch watch;
    struct console_socket console; /* its `fd` is closed by libwebsockets */
    char *vm_name;
    struct buf pending;
    unsigned idle_s;
    struct typing *next; /* in server->typings */
};

static void typing_free(struct server *server, struct typing *typing)
{
    struct typing **at = &server->typings;
    while (*at != typing) {
        at = &(*at)->next;
    }
    *at = typing->next;
    typing->console.fd = -1;
    console_socket_close(&typing->console);
    buf_clear(&typing->pending);
    free(typing->vm_name);
    free(typing);
}

static void typing_end(struct server *server, struct typing *typing)
{
    lws_set_opaque_user_data(typing->watch.wsi, NULL);
    lws_set_timeout(typing->watch.wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    typing_free(server, typing);
}

static void on_echo(lws_sorted_usec_list_t *timer)
{
    struct server *server = lws_container_of(timer, struct server, echo_timer);
    server->is_echo_due = false;
    stream_look(server);
}

/* What the guest says is in the log, too, a moment later: streams of the log are sent it then,
 * not with the next tick. QEMU waits for a client that does not read. */
static int on_guest(struct server *server, struct watch *watch)
{
    struct typing *typing = lws_container_of(watch, struct typing, watch);
    char ignored[4096];
    ssize_t n = read(typing->console.fd, ignored, sizeof(ignored));
    if (n > 0 && !server->is_echo_due) {
        server->is_echo_due = true;
        lws_sul_schedule(server->context, 0, &server->echo_timer, on_echo, ECHO_US);
    }
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) {
        return 0;
    }
    typing_free(server, typing);
    return -1;
}

static void on_hangup(struct server *server, struct watch *watch)
{
    typing_free(server, lws_container_of(watch, struct typing, watch));
}

static void write_pending(struct typing *typing)
{
    ssize_t n = typing->pending.len > 0
                    ? write(typing->console.fd, typing->pending.data, typing->pending.len)
                    : 0;
    if (n > 0) {
        buf_consume(&typing->pending, (size_t)n);
    }
}

static void on_second(lws_sorted_usec_list_t *timer)
{
    struct server *server = lws_container_of(timer, struct server, typing_timer);
    for (struct typing *typing = server->typings, *next; typing; typing = next) {
        next = typing->next;
        write_pending(typing);
        if (++typing->idle_s > IDLE_S) {
            typing_end(server, typing);
        }
    }
    if (server->typings) {
        lws_sul_schedule(server->context, 0, timer, on_second, LWS_US_PER_SEC);
    }
}

static struct typing *typing_open(struct server *server, const char *vm_name, struct error *err)
{
    struct console_socket console;
    if (console_socket_open(&server->serve->cli.paths, vm_name, &console, err) < 0) {
        return NULL;
    }
    struct typing *typing = mem_new(struct typing);
    *typing = (struct typing){.watch = {.on_ready = on_guest, .on_lost = on_hangup},
        .console = console,
        .vm_name = mem_strdup(vm_name),
        .pending = BUF_INIT(PENDING_MAX),
        .next = server->typings};
    server->typings = typing;
    if (!watch_open(server, &typing->watch, console.fd)) {
        (void)error_set(err, ERR_IO, "cannot watch the console of vm '%s'", vm_name);
        typing_free(server, typing);
        return NULL;
    }
    lws_sul_schedule(server->context, 0, &server->typing_timer, on_second, LWS_US_PER_SEC);
    return typing;
}

int typing_add(
    struct server *server, const char *vm_name, const char *text, size_t n, struct error *err)
{
    struct typing *typing = server->typings;
    while (typing && !text_eq(typing->vm_name, vm_name)) {
        typing = typing->next;
    }
    typing = typing ? typing : typing_open(server, vm_name, err);
    if (!typing) {
        return -(int)err->code;
    }
    if (typing->pending.len + n > PENDING_MAX) {
        return error_set(
            err, ERR_TIMEOUT, "vm '%s' does not read what is typed on its console", vm_name);
    }
    typing->idle_s = 0;
    buf_add(&typing->pending, text, n);
    write_pending(typing);
    return 0;
}

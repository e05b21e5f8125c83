/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What is forwarded over SSH for one VM, by an ssh(1) that is asked over its master's socket. What
 * that one has made already, for an earlier controller, is asked for again and stays as it is.
 *
 *   link:  new -> (the guest's side) -> asked -> made         leaving -> (the guest's side) -> gone
 */
#include "reconcilers/backend/backend.h"

#include <stdlib.h>
#include <string.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/qemu/qemu_log.h"
#include "reconcilers/tunnel/companion.h"
#include "reconcilers/tunnel/guest_ports.h"
#include "reconcilers/tunnel/guest_run.h"
#include "reconcilers/tunnel/guest_sockets.sh.h"
#include "reconcilers/tunnel/host_socket.h"
#include "reconcilers/tunnel/mux.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

enum {
    CONNECT_EVERY_MS = 50,
    LOGIN_LIMIT_MS = 60000,
    ANSWER_LIMIT_MS = 60000, /* ssh itself gives up a guest after 45 s */
    START_EVERY_MS = 1000,   /* an ssh that ends at once is not started again at once, … */
    START_LIMIT_MS = 30000,  /* … and less and less often */
    REFUSED_RETRY_MS = 5000,
    FAILURES_UNTIL_SHOWN = 3, /* a guest that boots may refuse some logins */
};

enum link_phase { LINK_NEW, LINK_PREPARING, LINK_ASKED, LINK_MADE, LINK_REFUSED, LINK_GONE };

struct link {
    struct vm_forward *forward; /* owned; its key: what does not change */
    char *id;                   /* of a socket: host_socket_id() */
    enum link_phase phase;
    bool is_leaving;
    uint32_t request; /* LINK_ASKED */
    char *target;     /* of a socket that leads to the host: where sshd listens in the guest */
    char *refusal;    /* LINK_REFUSED */
    int64_t retry_ms; /* LINK_REFUSED: when it is tried again */
};

struct tunnel {
    struct reconciler_host *host; /* borrowed: outlives it */
    char *vm_name;
    void (*changed)(void *context);
    void *context;
    struct link *links;
    size_t n_links;
    bool is_connecting, is_up;
    bool is_set_up; /* as wanted last */
    int64_t login_ends_ms;
    struct mux *mux;
    struct loop_timer *timer;  /* of the connection */
    struct loop_timer *answer; /* of what was asked */
    uint32_t n_requests;
    struct guest_run *orders;  /* for the guest's side, under way; NULL: none */
    struct guest_ports *ports; /* NULL: they are not watched */
    int64_t started_ms;        /* when the last one was started; 0: none */
    unsigned n_failures;       /* in a row, without a login */
    char *failure;
};

/* ---- links ---- */

static bool is_port(const struct vm_forward *forward)
{
    return !forward->socket;
}

static bool is_to_host(const struct vm_forward *forward)
{
    return forward->socket && forward->direction == SOCKET_TO_HOST;
}

static bool is_same(const struct vm_forward *a, const struct vm_forward *b)
{
    return text_eq(a->socket, b->socket) && text_eq(a->guest_socket, b->guest_socket) &&
           a->direction == b->direction && a->guest_port == b->guest_port &&
           a->host_port == b->host_port && text_eq(a->guest_address, b->guest_address);
}

static struct link *find_link(struct tunnel *tunnel, const struct vm_forward *forward)
{
    for (size_t i = 0; i < tunnel->n_links; i++) {
        if (is_same(tunnel->links[i].forward, forward)) {
            return &tunnel->links[i];
        }
    }
    return NULL;
}

static void link_clear(struct link *link)
{
    fields_free(&vm_forward_fields, link->forward);
    free(link->id);
    free(link->target);
    free(link->refusal);
}

static void set_phase(struct tunnel *tunnel, struct link *link, enum link_phase phase)
{
    if (link->phase != phase) {
        link->phase = phase;
        tunnel->changed(tunnel->context);
    }
}

static void refuse_link(struct tunnel *tunnel, struct link *link, const char *why)
{
    bool is_known = text_eq(link->refusal, why);
    char *copy = mem_strdup(why);
    free(link->refusal);
    link->refusal = copy;
    link->retry_ms = loop_now_ms(tunnel->host->loop) + REFUSED_RETRY_MS;
    log_debug("tunnel", "%s: %s", tunnel->vm_name, why);
    link->phase = is_known ? LINK_REFUSED : link->phase;
    set_phase(tunnel, link, LINK_REFUSED);
}

/* No process serves them any more: the host's sockets stay, for those that are made again. */
static void reset_links(struct tunnel *tunnel)
{
    for (size_t i = 0; i < tunnel->n_links; i++) {
        struct link *link = &tunnel->links[i];
        free(TAKE_PTR(link->target));
        if (link->is_leaving) {
            host_socket_unlink(tunnel->host->paths, tunnel->vm_name, link->forward);
        }
        if (link->phase != LINK_REFUSED || link->is_leaving) {
            link->phase = link->is_leaving ? LINK_GONE : LINK_NEW;
        }
    }
}

/* The links become those of the wanted forwards. One that is not wanted any more is dropped: its
 * record was, because it is gone. */
static void take_wanted(struct tunnel *tunnel, const struct tunnel_wanted *wanted)
{
    struct link *links = mem_calloc(wanted->n_forwards + 1, sizeof(*links));
    size_t n = 0;
    for (size_t i = 0; i < wanted->n_forwards; i++) {
        const struct vm_forward *forward = &wanted->forwards[i];
        struct link *known = find_link(tunnel, forward);
        if (!forward->is_leased) {
            continue;
        }
        if (known) {
            links[n] = *known;
            *known = (struct link){
                .phase = LINK_GONE, .forward = fields_copy(&vm_forward_fields, forward)};
        } else {
            links[n] = (struct link){.forward = fields_copy(&vm_forward_fields, forward),
                .id = forward->socket ? host_socket_id(forward) : NULL};
        }
        if (forward->is_leaving && !links[n].is_leaving) {
            links[n].is_leaving = true;
            links[n].phase = LINK_NEW;
        }
        n++;
    }
    for (size_t i = 0; i < tunnel->n_links; i++) {
        link_clear(&tunnel->links[i]);
    }
    free(tunnel->links);
    tunnel->links = links;
    tunnel->n_links = n;
    for (size_t i = 0; wanted->is_set_up && !tunnel->is_set_up && i < n; i++) {
        links[i].phase = links[i].phase == LINK_REFUSED ? LINK_NEW : links[i].phase;
    }
    tunnel->is_set_up = wanted->is_set_up;
}

/* ---- asking ---- */

static struct mux_forward mux_forward_of(const struct link *link, char file[static SOCKET_PATH_MAX])
{
    const struct vm_forward *forward = link->forward;
    if (is_port(forward)) {
        return (struct mux_forward){
            false, "127.0.0.1", forward->host_port, forward->guest_address, forward->guest_port};
    }
    if (is_to_host(forward)) {
        return (struct mux_forward){true, link->target, 0, forward->socket, 0};
    }
    cleanup_free char *name = host_socket_file(forward);
    (void)snprintf(file, SOCKET_PATH_MAX, "./%s", name);
    return (struct mux_forward){false, file, 0, forward->guest_socket, 0};
}

static void ask_for(struct tunnel *tunnel, struct link *link)
{
    char file[SOCKET_PATH_MAX];
    struct error err = {.code = ERR_NONE};
    struct reconciler_host *host = tunnel->host;
    bool has_link = link->forward->socket && !is_to_host(link->forward);
    if (has_link && link->is_leaving) {
        host_socket_unlink(tunnel->host->paths, tunnel->vm_name, link->forward);
    } else if (has_link &&
               host_socket_link(host->paths, tunnel->vm_name, link->forward, &err) < 0) {
        refuse_link(tunnel, link, err.message);
        return;
    }
    struct mux_forward asked = mux_forward_of(link, file);
    link->request = ++tunnel->n_requests;
    link->phase = LINK_ASKED;
    loop_timer_start(tunnel->answer, ANSWER_LIMIT_MS);
    mux_forward(tunnel->mux, link->request, !link->is_leaving, &asked);
}

static void advance_links(struct tunnel *tunnel);

static bool is_awaiting(const struct tunnel *tunnel)
{
    bool is_awaiting = tunnel->orders;
    for (size_t i = 0; i < tunnel->n_links; i++) {
        is_awaiting |= tunnel->links[i].phase == LINK_ASKED;
    }
    return is_awaiting;
}

/* What the guest is to lose it loses without its help, too: all is made again without that one. */
static void cut_off(struct tunnel *tunnel, struct link *link, const char *why)
{
    log_warn("tunnel", "%s: cannot remove the socket '%s' in the guest in order: %s",
        tunnel->vm_name, link->forward->socket, why);
    companion_end(tunnel->host, tunnel->vm_name);
}

static void fail_link(struct tunnel *tunnel, struct link *link, const char *why)
{
    refuse_link(tunnel, link, why);
    if (link->is_leaving) {
        cut_off(tunnel, link, why);
    }
}

/* Why the guest does not make it, in its words. */
static void refuse_in_guest(struct tunnel *tunnel, struct link *link, const char *words)
{
    enum { SHOWN_MAX = 200 };
    cleanup_buf struct buf shown = BUF_INIT(0);
    text_add_printable(&shown, words, strnlen(words, SHOWN_MAX));
    cleanup_free char *why = mem_printf(
        "the guest's socket '%s' is not created: %s", link->forward->guest_socket, buf_str(&shown));
    fail_link(tunnel, link, why);
}

/* Where sshd listens is the guest's own choice, but not another one at each time: what was asked
 * for at one path is not withdrawn at another. */
static void take_target(struct tunnel *tunnel, struct link *link, const char *target)
{
    if (!socket_path_is_valid(target) || (link->target && !text_eq(link->target, target))) {
        fail_link(tunnel, link, "the guest does not report where its socket is");
        return;
    }
    char *copy = mem_strdup(target);
    free(link->target);
    link->target = copy;
    ask_for(tunnel, link);
}

static void orders_done(void *context, const char *answer)
{
    struct tunnel *tunnel = context;
    cleanup_free char *text = mem_strdup(answer);
    guest_run_free(TAKE_PTR(tunnel->orders));
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *id = strchr(line, ' '), *what = id ? strchr(id + 1, ' ') : NULL;
        for (size_t i = 0; what && i < tunnel->n_links; i++) {
            struct link *link = &tunnel->links[i];
            size_t n = (size_t)(what - id - 1);
            if (link->phase != LINK_PREPARING || strlen(link->id) != n ||
                strncmp(link->id, id + 1, n) != 0) {
                continue;
            }
            if (line[0] == 'x') {
                refuse_in_guest(tunnel, link, what + 1);
            } else if (line[0] == (link->is_leaving ? '-' : '+')) {
                take_target(tunnel, link, what + 1);
            }
        }
    }
    for (size_t i = 0; i < tunnel->n_links; i++) {
        if (tunnel->links[i].phase == LINK_PREPARING) {
            fail_link(
                tunnel, &tunnel->links[i], "the guest did not run the commands for its socket");
        }
    }
    if (!is_awaiting(tunnel)) {
        loop_timer_stop(tunnel->answer);
    }
    advance_links(tunnel); /* there may be others by now */
}

/* The guest's side of all sockets that need it, in one command. */
static void send_orders(struct tunnel *tunnel)
{
    cleanup_buf struct buf command = BUF_INIT(0);
    cleanup_free char *run = companion_run(tunnel->host, tunnel->vm_name);
    cleanup_free char *path = paths_vm(tunnel->host->paths, tunnel->vm_name, VM_FORWARD_CONTROL);
    bool has_orders = false;
    buf_add_str(&command, "sh -c ");
    text_add_shell_word(&command, guest_sockets_sh);
    buf_add_str(&command, " guest_sockets");
    for (size_t i = 0; run && !tunnel->orders && i < tunnel->n_links; i++) {
        struct link *link = &tunnel->links[i];
        if (link->phase == LINK_NEW && is_to_host(link->forward)) {
            buf_printf(&command, " %c %s %s ", link->is_leaving ? '-' : '+', link->id, run);
            text_add_shell_word(&command, link->forward->guest_socket);
            link->phase = LINK_PREPARING;
            has_orders = true;
        }
    }
    if (has_orders) {
        loop_timer_start(tunnel->answer, ANSWER_LIMIT_MS);
        tunnel->orders =
            guest_run_new(tunnel->host->loop, path, buf_str(&command), NULL, orders_done, tunnel);
    }
}

static void advance_links(struct tunnel *tunnel)
{
    int64_t now_ms = loop_now_ms(tunnel->host->loop);
    for (size_t i = 0; tunnel->is_up && i < tunnel->n_links; i++) {
        struct link *link = &tunnel->links[i];
        if (link->phase == LINK_REFUSED && now_ms >= link->retry_ms) {
            link->phase = LINK_NEW;
        }
        if (link->phase == LINK_NEW && !is_to_host(link->forward)) {
            ask_for(tunnel, link);
        }
    }
    if (tunnel->is_up) {
        send_orders(tunnel);
    }
}

/* ---- the connection ---- */

static void drop_connection(struct tunnel *tunnel)
{
    mux_free(TAKE_PTR(tunnel->mux));
    guest_run_free(TAKE_PTR(tunnel->orders));
    guest_ports_free(TAKE_PTR(tunnel->ports));
    loop_timer_stop(tunnel->answer);
    loop_timer_stop(tunnel->timer);
    tunnel->is_up = tunnel->is_connecting = false;
    reset_links(tunnel);
}

static void greeted(void *context)
{
    struct tunnel *tunnel = context;
    tunnel->is_connecting = false;
    tunnel->is_up = true;
    tunnel->n_failures = 0;
    free(TAKE_PTR(tunnel->failure));
    loop_timer_stop(tunnel->timer);
    tunnel->changed(tunnel->context);
    advance_links(tunnel);
}

/* A refusal to remove one: it is not there. */
static void answered(void *context, uint32_t id, const char *refusal)
{
    struct tunnel *tunnel = context;
    for (size_t i = 0; i < tunnel->n_links; i++) {
        struct link *link = &tunnel->links[i];
        if (link->phase == LINK_ASKED && link->request == id) {
            if (link->is_leaving) {
                set_phase(tunnel, link, LINK_GONE);
            } else if (refusal) {
                cleanup_free char *why = mem_printf("ssh: %s", refusal);
                refuse_link(tunnel, link, why);
            } else {
                free(TAKE_PTR(link->refusal));
                set_phase(tunnel, link, LINK_MADE);
            }
        }
    }
    if (!is_awaiting(tunnel)) {
        loop_timer_stop(tunnel->answer);
    }
}

static void note_failure(struct tunnel *tunnel, const char *why)
{
    tunnel->n_failures++;
    free(tunnel->failure);
    tunnel->failure = mem_strdup(why);
    log_debug("tunnel", "%s: %s", tunnel->vm_name, why);
}

static void ended(void *context)
{
    struct tunnel *tunnel = context;
    if (tunnel->is_up || !companion_is_alive(tunnel->host, tunnel->vm_name)) {
        drop_connection(tunnel);
        tunnel->changed(tunnel->context);
    } else { /* it was ending, or is just starting: the timer looks again */
        mux_free(TAKE_PTR(tunnel->mux));
        loop_timer_start(tunnel->timer, CONNECT_EVERY_MS);
    }
}

static void answer_overdue(void *context)
{
    struct tunnel *tunnel = context;
    log_warn("tunnel", "%s: the ssh that forwards for it does not answer: killed", tunnel->vm_name);
    companion_end(tunnel->host, tunnel->vm_name);
}

/* Called until ssh has logged in, which is when it listens, or has ended. */
static void connect_tunnel(void *context)
{
    static const struct mux_events events = {greeted, answered, ended};
    struct tunnel *tunnel = context;
    struct reconciler_host *host = tunnel->host;
    cleanup_free char *path = paths_vm(host->paths, tunnel->vm_name, VM_FORWARD_CONTROL);
    if (tunnel->mux) { /* connected, and not greeted in time */
        mux_free(TAKE_PTR(tunnel->mux));
    }
    if (!companion_is_alive(host, tunnel->vm_name)) {
        cleanup_free char *log = paths_vm(host->paths, tunnel->vm_name, VM_FORWARD_LOG);
        cleanup_free char *line = qemu_log_last_line(log);
        note_failure(tunnel, line ? line : "ssh ended");
        drop_connection(tunnel);
        tunnel->changed(tunnel->context);
        return;
    }
    if (loop_now_ms(host->loop) >= tunnel->login_ends_ms) {
        companion_end(host, tunnel->vm_name);
    } else {
        tunnel->mux = mux_new(host->loop, path, &events, tunnel);
    }
    loop_timer_start(tunnel->timer, tunnel->mux ? ANSWER_LIMIT_MS : CONNECT_EVERY_MS);
}

static int64_t start_pause_ms(const struct tunnel *tunnel)
{
    int64_t pause_ms = START_EVERY_MS;
    for (unsigned i = 1; i < tunnel->n_failures && pause_ms < START_LIMIT_MS; i++) {
        pause_ms *= 2;
    }
    return pause_ms < START_LIMIT_MS ? pause_ms : START_LIMIT_MS;
}

/* One that runs is an earlier controller's, or this one's that it has just lost. */
static void begin_connection(
    struct tunnel *tunnel, const struct vm_env *env, const struct tunnel_wanted *wanted)
{
    struct error err = {.code = ERR_NONE};
    int64_t now_ms = loop_now_ms(tunnel->host->loop);
    bool is_alive = companion_is_alive(tunnel->host, tunnel->vm_name);
    bool is_early = tunnel->started_ms && now_ms - tunnel->started_ms < start_pause_ms(tunnel);
    if (!is_alive && (!wanted->may_log_in || is_early)) {
        return;
    }
    if (!is_alive) {
        tunnel->started_ms = now_ms;
        if (companion_start(env, &err) < 0) {
            note_failure(tunnel, err.message);
            tunnel->n_failures += FAILURES_UNTIL_SHOWN;
            return;
        }
    }
    tunnel->is_connecting = true;
    tunnel->login_ends_ms = now_ms + LOGIN_LIMIT_MS;
    loop_timer_start(tunnel->timer, CONNECT_EVERY_MS);
}

/* ---- the operations ---- */

static struct tunnel *tunnel_open(struct reconciler_host *host, const char *vm_name,
    void (*changed)(void *context), void *context)
{
    struct tunnel *tunnel = mem_new(struct tunnel);
    *tunnel = (struct tunnel){
        .host = host, .vm_name = mem_strdup(vm_name), .changed = changed, .context = context};
    tunnel->timer = loop_timer_new(host->loop, connect_tunnel, tunnel);
    tunnel->answer = loop_timer_new(host->loop, answer_overdue, tunnel);
    return tunnel;
}

static void tunnel_close(struct tunnel *tunnel)
{
    if (!tunnel) {
        return;
    }
    mux_free(tunnel->mux);
    guest_run_free(tunnel->orders);
    guest_ports_free(tunnel->ports);
    loop_timer_free(tunnel->timer);
    loop_timer_free(tunnel->answer);
    for (size_t i = 0; i < tunnel->n_links; i++) {
        link_clear(&tunnel->links[i]);
    }
    free(tunnel->links);
    free(tunnel->failure);
    free(tunnel->vm_name);
    free(tunnel);
}

static void tunnel_keep(
    struct tunnel *tunnel, const struct vm_env *env, const struct tunnel_wanted *wanted)
{
    take_wanted(tunnel, wanted);
    if (!tunnel->is_up && !tunnel->is_connecting) {
        begin_connection(tunnel, env, wanted);
    }
    if (!tunnel->is_up && !tunnel->is_connecting &&
        !companion_is_alive(tunnel->host, tunnel->vm_name)) {
        reset_links(tunnel);
    }
    advance_links(tunnel);
    if (!wanted->watches_ports) {
        guest_ports_free(TAKE_PTR(tunnel->ports));
    } else if (!tunnel->ports && tunnel->is_up) {
        tunnel->ports =
            guest_ports_new(tunnel->host, tunnel->vm_name, tunnel->changed, tunnel->context);
    }
}

static void tunnel_end(struct tunnel *tunnel, const struct vm_forward *forwards, size_t n)
{
    drop_connection(tunnel);
    take_wanted(tunnel, &(struct tunnel_wanted){.n_forwards = 0});
    companion_end(tunnel->host, tunnel->vm_name);
    for (size_t i = 0; i < n; i++) {
        host_socket_unlink(tunnel->host->paths, tunnel->vm_name, &forwards[i]);
    }
    tunnel->started_ms = 0;
    tunnel->n_failures = 0;
    free(TAKE_PTR(tunnel->failure));
}

/* Until the next link, or login, is to be tried again. */
static int64_t tunnel_retry_ms(const struct tunnel *tunnel)
{
    int64_t now_ms = loop_now_ms(tunnel->host->loop), due_ms = INT64_MAX;
    for (size_t i = 0; tunnel->is_up && i < tunnel->n_links; i++) {
        const struct link *link = &tunnel->links[i];
        due_ms = link->phase == LINK_REFUSED && link->retry_ms < due_ms ? link->retry_ms : due_ms;
    }
    if (!tunnel->is_up && !tunnel->is_connecting) {
        due_ms = tunnel->started_ms + start_pause_ms(tunnel);
    }
    return due_ms == INT64_MAX ? VERDICT_WHEN_WOKEN : due_ms > now_ms ? due_ms - now_ms : 1;
}

static void tunnel_observe(struct tunnel *tunnel, const struct vm_forward *forwards, size_t n,
    struct tunnel_forward *ret_forwards, struct tunnel_facts *ret)
{
    static const enum tunnel_state states[] = {
        [LINK_NEW] = TUNNEL_PENDING,
        [LINK_PREPARING] = TUNNEL_PENDING,
        [LINK_ASKED] = TUNNEL_PENDING,
        [LINK_MADE] = TUNNEL_MADE,
        [LINK_REFUSED] = TUNNEL_REFUSED,
        [LINK_GONE] = TUNNEL_GONE,
    };
    *ret = (struct tunnel_facts){
        .is_gone = !tunnel->is_up && !companion_is_alive(tunnel->host, tunnel->vm_name),
        .failure = tunnel->n_failures >= FAILURES_UNTIL_SHOWN ? tunnel->failure : NULL,
        .retry_ms = tunnel_retry_ms(tunnel)};
    guest_ports_get(tunnel->ports, ret);
    for (size_t i = 0; i < n; i++) {
        const struct link *link = find_link(tunnel, &forwards[i]);
        bool is_alive = link && (tunnel->is_up || link->phase == LINK_REFUSED);
        ret_forwards[i] = (struct tunnel_forward){.state = TUNNEL_PENDING};
        if (is_alive || (link && link->phase == LINK_GONE)) {
            ret_forwards[i].state = states[link->phase];
            ret_forwards[i].refusal = link->phase == LINK_REFUSED ? link->refusal : NULL;
        }
    }
}

const struct tunnel_ops *tunnel_ssh(void)
{
    static const struct tunnel_ops ops = {
        .open = tunnel_open,
        .close = tunnel_close,
        .keep = tunnel_keep,
        .end = tunnel_end,
        .observe = tunnel_observe,
    };
    return &ops;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/network/switch/world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/mem.h"

struct timer {
    struct timer *next;
    SlirpTimerCb call;
    void *context;
    int64_t at_ms; /* INT64_MAX: not started */
};

static struct {
    Slirp *slirp;
    struct timer *timers;
    void (*send)(const uint8_t *frame, size_t n);
    int (*add)(int fd, short events); /* during world_prepare() */
    short (*get)(int index);          /* during world_handle() */
} world;

static int64_t slirp_clock(void *context)
{
    struct timespec now;
    (void)context;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int64_t world_now_ms(void)
{
    return slirp_clock(NULL) / 1000000;
}

static ssize_t slirp_sends(const void *frame, size_t n, void *context)
{
    (void)context;
    world.send(frame, n);
    return (ssize_t)n;
}

static void slirp_complains(const char *message, void *context)
{
    (void)context;
    (void)message; /* about a guest, as often as it likes */
}

static void *timer_new(SlirpTimerCb call, void *call_context, void *context)
{
    (void)context;
    struct timer *timer = mem_new(struct timer);
    *timer = (struct timer){world.timers, call, call_context, INT64_MAX};
    world.timers = timer;
    return timer;
}

static void timer_free(void *timer, void *context)
{
    struct timer **at = &world.timers;
    (void)context;
    while (*at && *at != timer) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = (*at)->next;
        free(timer);
    }
}

static void timer_set(void *timer, int64_t at_ms, void *context)
{
    (void)context;
    ((struct timer *)timer)->at_ms = at_ms;
}

static void slirp_ignores(void *context)
{
    (void)context; /* it is one thread: nothing waits that would have to be woken */
}

static void slirp_ignores_fd(int fd, void *context)
{
    (void)fd;
    (void)context; /* each turn asks slirp for all of them */
}

static void run_timers(void)
{
    for (struct timer *at = world.timers; at; at = at->next) {
        if (at->at_ms <= world_now_ms()) {
            at->at_ms = INT64_MAX;
            at->call(at->context);
            at = world.timers; /* it may have made or freed some */
            if (!at) {
                return;
            }
        }
    }
}

bool world_start(uint32_t network, void (*send)(const uint8_t *frame, size_t n))
{
    static const SlirpCb callbacks = {.send_packet = slirp_sends,
        .guest_error = slirp_complains,
        .clock_get_ns = slirp_clock,
        .timer_new = timer_new,
        .timer_free = timer_free,
        .timer_mod = timer_set,
        .register_poll_fd = slirp_ignores_fd,
        .unregister_poll_fd = slirp_ignores_fd,
        .notify = slirp_ignores};
    /* The host's loopback is at the gateway's address; the guard says what of it is open. */
    SlirpConfig config = {.version = 4,
        .in_enabled = true,
        .vnetwork.s_addr = htonl(network),
        .vnetmask.s_addr = htonl(0xffffff00),
        .vhost.s_addr = htonl(network | SWITCH_GATEWAY),
        .vnameserver.s_addr = htonl(network | SWITCH_NAMESERVER),
        .vdhcp_start.s_addr = htonl(network | SWITCH_FIRST),
        .disable_dhcp = true};
    if (!world.slirp) {
        world.send = send;
        world.slirp = slirp_new(&config, &callbacks, NULL);
    }
    return world.slirp;
}

void world_input(const uint8_t *frame, size_t n)
{
    if (world.slirp) {
        slirp_input(world.slirp, frame, (int)n);
    }
}

/* ---- forwards ---- */

static bool is_among(const struct spec_forward *forward, const struct spec_forward *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (forward_equal(&list[i], forward)) {
            return true;
        }
    }
    return false;
}

static struct in_addr address_of(const struct spec_forward *forward)
{
    struct in_addr address = {htonl(INADDR_LOOPBACK)};
    (void)inet_pton(AF_INET, forward_address(forward), &address);
    return address;
}

void world_remove_forwards(struct world_forwards *forwards, const struct switch_port *wanted)
{
    size_t kept = 0;
    for (size_t i = 0; i < forwards->n; i++) {
        const struct spec_forward *forward = &forwards->list[i];
        if (wanted && is_among(forward, wanted->forwards, wanted->n_forwards)) {
            forwards->list[kept++] = *forward;
        } else {
            (void)slirp_remove_hostfwd(world.slirp, forward->protocol == FORWARD_UDP,
                address_of(forward), forward->host_port);
        }
    }
    forwards->n = kept;
}

void world_add_forwards(
    struct world_forwards *forwards, const struct switch_port *wanted, uint32_t guest)
{
    struct in_addr to = {htonl(guest)};
    free(TAKE_PTR(forwards->failed_port));
    free(TAKE_PTR(forwards->failure));
    for (size_t i = 0; i < wanted->n_forwards; i++) {
        const struct spec_forward *forward = &wanted->forwards[i];
        if (is_among(forward, forwards->list, forwards->n)) {
            continue;
        }
        if (slirp_add_hostfwd(world.slirp, forward->protocol == FORWARD_UDP, address_of(forward),
                forward->host_port, to, forward->guest_port) == 0) {
            mem_grow(forwards->list, forwards->n);
            forwards->list[forwards->n++] = *forward;
        } else if (!forwards->failure) {
            const char *why = strerrordesc_np(errno);
            forwards->failure = mem_strdup(why ? why : "unknown error");
            forwards->failed_port = forward_lease_key(forward);
        }
    }
}

void world_clear_forwards(struct world_forwards *forwards)
{
    world_remove_forwards(forwards, NULL);
    free(forwards->list);
    free(forwards->failed_port);
    free(forwards->failure);
    *forwards = (struct world_forwards){.list = NULL};
}

/* ---- waiting ---- */

static int slirp_adds(int fd, int events, void *context)
{
    (void)context;
    return world.add(fd,
        (short)((events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
                (events & SLIRP_POLL_PRI ? POLLPRI : 0)));
}

static int slirp_gets(int index, void *context)
{
    (void)context;
    short got = world.get(index);
    return (got & POLLIN ? SLIRP_POLL_IN : 0) | (got & POLLOUT ? SLIRP_POLL_OUT : 0) |
           (got & POLLPRI ? SLIRP_POLL_PRI : 0) | (got & POLLERR ? SLIRP_POLL_ERR : 0) |
           (got & POLLHUP ? SLIRP_POLL_HUP : 0);
}

void world_prepare(uint32_t *timeout_ms, int (*add)(int fd, short events))
{
    world.add = add;
    if (world.slirp) {
        slirp_pollfds_fill(world.slirp, timeout_ms, slirp_adds, NULL);
    }
    for (const struct timer *timer = world.timers; timer; timer = timer->next) {
        int64_t left_ms = timer->at_ms - world_now_ms();
        left_ms = left_ms < 0 ? 0 : left_ms;
        *timeout_ms = left_ms < *timeout_ms ? (uint32_t)left_ms : *timeout_ms;
    }
}

void world_handle(bool has_failed, short (*get)(int index))
{
    world.get = get;
    if (world.slirp) {
        slirp_pollfds_poll(world.slirp, has_failed, slirp_gets, NULL);
    }
    run_timers();
}

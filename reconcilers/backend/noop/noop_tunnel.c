/* SPDX-License-Identifier: MPL-2.0 */
/* Forwards nothing, and reports that it does. */
#include <stdlib.h>

#include "reconcilers/backend/noop/noop.h"
#include "specs/base/mem.h"

struct tunnel {
    struct reconciler_host *host;
    char *vm_name;
    bool is_kept; /* keep() was called since it was opened, or ended */
};

static struct tunnel *noop_tunnel_open(struct reconciler_host *host, const char *vm_name,
    void (*changed)(void *context), void *context)
{
    struct tunnel *tunnel = mem_new(struct tunnel);
    (void)changed;
    (void)context;
    *tunnel = (struct tunnel){.host = host, .vm_name = mem_strdup(vm_name)};
    return tunnel;
}

static void noop_tunnel_close(struct tunnel *tunnel)
{
    free(tunnel ? tunnel->vm_name : NULL);
    free(tunnel);
}

static void noop_tunnel_keep(
    struct tunnel *tunnel, const struct vm_env *env, const struct tunnel_wanted *wanted)
{
    (void)env;
    (void)wanted;
    tunnel->is_kept = true;
}

static void noop_tunnel_end(struct tunnel *tunnel, const struct vm_forward *forwards, size_t n)
{
    (void)forwards;
    (void)n;
    tunnel->is_kept = false;
}

/* In scripts: "refuseForwards", how many of them; "guestPort", which the guest listens on. */
static void noop_tunnel_observe(struct tunnel *tunnel, const struct vm_forward *forwards, size_t n,
    struct tunnel_forward *ret_forwards, struct tunnel_facts *ret)
{
    enum { RETRY_MS = 5000 };
    static struct tunnel_port port = {.address = "127.0.0.1"};
    int64_t n_refused = noop_script_int(tunnel->host, tunnel->vm_name, "refuseForwards", 0);
    port.port = (uint16_t)noop_script_int(tunnel->host, tunnel->vm_name, "guestPort", 0);
    for (size_t i = 0; i < n; i++) {
        bool is_refused = (int64_t)i < n_refused;
        enum tunnel_state state = !tunnel->is_kept         ? TUNNEL_PENDING
                                  : forwards[i].is_leaving ? TUNNEL_GONE
                                  : is_refused             ? TUNNEL_REFUSED
                                                           : TUNNEL_MADE;
        ret_forwards[i] = (struct tunnel_forward){state, is_refused ? "noop: refused" : NULL};
    }
    *ret = (struct tunnel_facts){.is_gone = !tunnel->is_kept,
        .are_ports_known = tunnel->is_kept,
        .ports = &port,
        .n_ports = port.port ? 1 : 0,
        .retry_ms = n_refused > 0 || port.port ? RETRY_MS : VERDICT_WHEN_WOKEN};
}

const struct tunnel_ops noop_tunnel_ops = {
    .open = noop_tunnel_open,
    .close = noop_tunnel_close,
    .keep = noop_tunnel_keep,
    .end = noop_tunnel_end,
    .observe = noop_tunnel_observe,
};

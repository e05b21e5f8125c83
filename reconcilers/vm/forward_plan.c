/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/forward_plan.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/lease_key.h"

enum { GUEST_SSH_PORT = 22, PRIVILEGED_END = 1024 };

char *vm_forward_lease_key(const struct vm_forward *forward)
{
    if (forward->socket) {
        return forward->direction == SOCKET_TO_GUEST ? socket_lease_key(forward->socket) : NULL;
    }
    return forward->host_port ? mem_printf("tcp/%u", forward->host_port) : NULL;
}

/* ---- what is desired ---- */

static bool is_of_socket(const struct vm_forward *forward, const struct spec_socket *wanted)
{
    return text_eq(forward->socket, wanted->host) &&
           text_eq(forward->guest_socket, wanted->guest) && forward->direction == wanted->direction;
}

static const struct tunnel_port *find_port(const struct forward_input *input, uint16_t port)
{
    for (size_t i = 0; i < input->facts->n_ports; i++) {
        if (input->facts->ports[i].port == port) {
            return &input->facts->ports[i];
        }
    }
    return NULL;
}

/* SSH's own, and what the VMFile forwards. */
static bool is_covered(const struct spec_network *network, uint16_t port)
{
    bool is_covered = port == GUEST_SSH_PORT;
    for (size_t i = 0; i < network->n_forwards; i++) {
        const struct spec_forward *forward = &network->forwards[i];
        is_covered |= forward->protocol == FORWARD_TCP && forward->guest_port == port;
    }
    return is_covered;
}

/* What the VMFile forwards from a port of this host is not the guest's to choose. */
static bool is_named(const struct spec_network *network, uint16_t host_port)
{
    bool is_named = false;
    for (size_t i = 0; i < network->n_forwards; i++) {
        const struct spec_forward *forward = &network->forwards[i];
        is_named |= forward->protocol == FORWARD_TCP && forward->host_port == host_port;
    }
    return is_named;
}

/* A port is wanted where the guest listens now, and as long as that is not known. */
static bool is_still_wanted(const struct forward_input *input, const struct vm_forward *forward)
{
    const struct spec_network *network = &input->spec->network;
    if (!input->is_wanted) {
        return false;
    }
    if (!forward->socket) {
        const struct tunnel_port *port = find_port(input, forward->guest_port);
        bool is_listening = !input->facts->are_ports_known ||
                            (port && text_eq(port->address, forward->guest_address));
        return network->is_auto && is_listening && !is_covered(network, forward->guest_port) &&
               !is_named(network, forward->host_port);
    }
    for (size_t i = 0; i < network->n_sockets; i++) {
        if (is_of_socket(forward, &network->sockets[i])) {
            return true;
        }
    }
    return false;
}

/* ---- what is recorded ---- */

static void add_key(char ***list, size_t *n, char *text_take)
{
    mem_grow(*list, *n);
    (*list)[(*n)++] = text_take;
}

static struct vm_forward *plan_add(struct forward_plan *plan, const struct vm_forward *forward)
{
    cleanup_free struct vm_forward *copy = fields_copy(&vm_forward_fields, forward);
    mem_grow(plan->forwards, plan->n);
    plan->forwards[plan->n] = *copy;
    return &plan->forwards[plan->n++];
}

static void set_refusal(struct vm_forward *forward, const char *why)
{
    char *copy = mem_strdup(why);
    free(forward->refusal);
    forward->refusal = copy;
}

/* While ssh did not listen there, a program has taken the port: the guest's gets another. */
static bool is_port_lost(const struct forward_input *input, const struct vm_forward *forward,
    const struct tunnel_forward *observed)
{
    return !forward->socket && observed->state == TUNNEL_REFUSED &&
           !input->is_bindable(input->context, forward->host_port);
}

/* Kept, marked, or dropped with its lease. One that is only named is decided on again below. */
static void carry_over(const struct forward_input *input, size_t i, struct forward_plan *plan)
{
    const struct vm_forward *forward = &input->recorded->forwards[i];
    const struct tunnel_forward *observed = &input->observed[i];
    bool is_wanted = is_still_wanted(input, forward) && !forward->is_leaving &&
                     !is_port_lost(input, forward, observed);
    bool is_gone = input->facts->is_gone || observed->state == TUNNEL_GONE;
    if (!forward->is_leased) {
        return;
    }
    if (!is_wanted && is_gone && (forward->is_leaving || input->facts->is_gone)) {
        cleanup_free char *key = vm_forward_lease_key(forward);
        if (key && (forward->socket || !is_named(&input->spec->network, forward->host_port))) {
            add_key(&plan->dropped, &plan->n_dropped, TAKE_PTR(key));
        }
        return;
    }
    struct vm_forward *kept = plan_add(plan, forward);
    kept->is_leaving = !is_wanted;
    kept->is_made = is_wanted && observed->state == TUNNEL_MADE;
    const char *failure = is_wanted && !kept->is_made ? input->facts->failure : NULL;
    set_refusal(kept, observed->state == TUNNEL_REFUSED ? observed->refusal : failure);
}

/* ---- what comes ---- */

static bool has_path(const struct forward_plan *plan, const char *socket)
{
    for (uint32_t i = 0; i < plan->n; i++) {
        if (text_eq(plan->forwards[i].socket, socket)) {
            return true;
        }
    }
    return false;
}

static bool has_socket(const struct forward_plan *plan, const struct spec_socket *wanted)
{
    for (uint32_t i = 0; i < plan->n; i++) {
        if (is_of_socket(&plan->forwards[i], wanted)) {
            return true;
        }
    }
    return false;
}

/* One whose path is that of another which is leaving waits for that. */
static void add_socket(
    const struct forward_input *input, const struct spec_socket *wanted, struct forward_plan *plan)
{
    bool is_in_the_way = wanted->direction == SOCKET_TO_GUEST && has_path(plan, wanted->host);
    if (has_socket(plan, wanted) || is_in_the_way) {
        return;
    }
    struct vm_forward *added = plan_add(plan,
        &(struct vm_forward){
            .socket = wanted->host, .guest_socket = wanted->guest, .direction = wanted->direction});
    cleanup_free char *key = vm_forward_lease_key(added);
    const char *holder = key ? input->holder(input->context, key) : NULL;
    added->is_leased = !holder;
    if (holder) {
        cleanup_free char *why =
            mem_printf("the socket '%s' belongs to vm '%s': stop that VM, or choose another path",
                wanted->host, holder);
        set_refusal(added, why);
    } else if (key) {
        add_key(&plan->leases, &plan->n_leases, TAKE_PTR(key));
    }
}

/* ---- the guest's ports ---- */

static const struct vm_forward *of_port(const struct forward_plan *plan, uint16_t guest_port)
{
    for (uint32_t i = 0; i < plan->n; i++) {
        if (!plan->forwards[i].socket && plan->forwards[i].guest_port == guest_port) {
            return &plan->forwards[i];
        }
    }
    return NULL;
}

static bool has_host_port(const struct forward_plan *plan, uint16_t port)
{
    for (uint32_t i = 0; i < plan->n; i++) {
        if (plan->forwards[i].is_leased && plan->forwards[i].host_port == port) {
            return true;
        }
    }
    return false;
}

/* It is free, as far as can be known before the bind. */
static bool is_free(
    const struct forward_input *input, const struct forward_plan *plan, uint16_t port)
{
    cleanup_free char *key = mem_printf("tcp/%u", port);
    return port != input->recorded->ssh_port && !has_host_port(plan, port) &&
           !is_named(&input->spec->network, port) && !input->holder(input->context, key) &&
           input->is_bindable(input->context, port);
}

/* The same number; another one where that is taken, or not for every user to listen on. 0: there is
 * none. */
static uint16_t choose_host_port(
    const struct forward_input *input, const struct forward_plan *plan, uint16_t guest_port)
{
    enum { TRIES = 128 };
    if (guest_port >= PRIVILEGED_END && is_free(input, plan, guest_port)) {
        return guest_port;
    }
    uint16_t start = guest_port;
    for (int i = 0; i < TRIES; i++) {
        uint16_t port = input->free_port(input->context, start);
        if (!port || is_free(input, plan, port)) {
            return port;
        }
        start = (uint16_t)(port + 1);
    }
    return 0;
}

/* What is skipped is named, so that the reason can be seen, but not endlessly. */
static void add_port(const struct forward_input *input, const struct tunnel_port *port,
    struct forward_plan *plan, size_t *n_made, size_t *n_named)
{
    enum { NAMED_MAX = 16 };
    bool is_full = *n_made >= FORWARD_PORTS_MAX;
    uint16_t host_port = is_full ? 0 : choose_host_port(input, plan, port->port);
    cleanup_free char *problem =
        is_full      ? mem_printf("%d ports are forwarded already", FORWARD_PORTS_MAX)
        : !host_port ? mem_strdup("this host has no free port")
                     : NULL;
    if (problem && ++*n_named > NAMED_MAX) {
        return;
    }
    struct vm_forward *added = plan_add(plan, &(struct vm_forward){.guest_port = port->port,
                                                  .guest_address = (char *)(uintptr_t)port->address,
                                                  .host_port = problem ? 0 : host_port,
                                                  .is_leased = !problem});
    if (problem) {
        set_refusal(added, problem);
    } else {
        ++*n_made;
        add_key(&plan->leases, &plan->n_leases, vm_forward_lease_key(added));
    }
}

static void add_ports(const struct forward_input *input, struct forward_plan *plan)
{
    size_t n_made = 0, n_named = 0;
    for (uint32_t i = 0; i < plan->n; i++) {
        n_made += !plan->forwards[i].socket;
    }
    for (size_t i = 0; i < input->facts->n_ports; i++) {
        const struct tunnel_port *port = &input->facts->ports[i];
        if (!of_port(plan, port->port) && !is_covered(&input->spec->network, port->port)) {
            add_port(input, port, plan, &n_made, &n_named);
        }
    }
}

void forward_plan_make(const struct forward_input *input, struct forward_plan *ret)
{
    const struct spec_network *network = &input->spec->network;
    *ret = (struct forward_plan){.n = 0};
    for (uint32_t i = 0; i < input->recorded->n_forwards; i++) {
        carry_over(input, i, ret);
    }
    for (size_t i = 0; input->is_wanted && i < network->n_sockets; i++) {
        add_socket(input, &network->sockets[i], ret);
    }
    if (input->is_wanted && network->is_auto && input->facts->are_ports_known) {
        add_ports(input, ret);
    }
}

void forward_plan_clear(struct forward_plan *plan)
{
    for (uint32_t i = 0; i < plan->n; i++) {
        struct vm_forward *forward = mem_dup(&plan->forwards[i], sizeof(*forward));
        fields_free(&vm_forward_fields, forward);
    }
    for (size_t i = 0; i < plan->n_leases; i++) {
        free(plan->leases[i]);
    }
    for (size_t i = 0; i < plan->n_dropped; i++) {
        free(plan->dropped[i]);
    }
    free(plan->forwards);
    free(plan->leases);
    free(plan->dropped);
    *plan = (struct forward_plan){.n = 0};
}

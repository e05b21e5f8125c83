/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/forward_plan.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/lease_key.h"

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

static bool is_still_wanted(const struct forward_input *input, const struct vm_forward *forward)
{
    const struct spec_network *network = &input->spec->network;
    if (!input->is_wanted) {
        return false;
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

/* Kept, marked, or dropped with its lease. One that is only named is decided on again below. */
static void carry_over(const struct forward_input *input, size_t i, struct forward_plan *plan)
{
    const struct vm_forward *forward = &input->recorded->forwards[i];
    const struct tunnel_forward *observed = &input->observed[i];
    bool is_wanted = is_still_wanted(input, forward) && !forward->is_leaving;
    bool is_gone = input->facts->is_gone || observed->state == TUNNEL_GONE;
    if (!forward->is_leased) {
        return;
    }
    if (!is_wanted && is_gone && (forward->is_leaving || input->facts->is_gone)) {
        char *key = vm_forward_lease_key(forward);
        if (key) {
            add_key(&plan->dropped, &plan->n_dropped, key);
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
        cleanup_free char *why = mem_printf(
            "the socket '%s' is vm '%s's: stop that, or choose another path", wanted->host, holder);
        set_refusal(added, why);
    } else if (key) {
        add_key(&plan->leases, &plan->n_leases, TAKE_PTR(key));
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

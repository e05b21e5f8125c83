/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/forwards.h"

#include <stdlib.h>

#include "reconcilers/vm/forward_plan.h"
#include "reconcilers/vm/pass.h"
#include "reconcilers/vm/ports.h"
#include "specs/base/cleanup.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum {
    GONE_RECHECK_MS = 50,
    SKIPPED_RECHECK_MS = 10000, /* a port that another program or VM gives up causes no event */
};

/* Those that need a tunnel: also one that is recorded, and not desired any more. */
static bool is_needed(const struct pass *pass, const struct vm_status *status)
{
    const struct vm_desired *desired = pass->view->desired;
    const struct spec_network *network = desired ? &desired->spec->network : NULL;
    return network && (network->n_sockets > 0 || network->is_auto || status->n_forwards > 0 ||
                          pass->vm->tunnel);
}

static void tunnel_changed(void *context)
{
    struct vm *vm = context;
    vm->host->wake(vm->host, key_of(KEY_VM, vm->name), WORK_EVENT);
}

static struct tunnel *open_tunnel(struct vm *vm)
{
    if (!vm->tunnel) {
        vm->tunnel = vm->backend->tunnel->open(vm->host, vm->name, tunnel_changed, vm);
    }
    return vm->tunnel;
}

/* The guest was reached in this instance, and it is meant to stay. */
static bool are_wanted(const struct pass *pass)
{
    const struct situation *s = &pass->situation;
    const struct spec_network *network = &pass->view->desired->spec->network;
    return s->is_alive && s->intent == INTENT_NONE && !situation_must_be_down(s) &&
           pass->patch->status->was_reached && (network->n_sockets > 0 || network->is_auto);
}

/* ---- what the plan asks ---- */

static const char *other_holder(void *context, const char *key)
{
    const struct pass *pass = context;
    const char *holder = pass->vm->host->lease_holder(pass->vm->host, key);
    return text_eq(holder, pass->vm->name) ? NULL : holder;
}

static bool port_is_bindable(void *context, uint16_t port)
{
    (void)context;
    return ports_is_bindable(port);
}

static uint16_t free_port(void *context, uint16_t start)
{
    const struct pass *pass = context;
    return ports_free(pass->vm->host, pass->vm->name, start);
}

/* ---- the record ---- */

static void take_plan(struct pass *pass, struct forward_plan *plan)
{
    struct vm_status *status = pass->patch->status;
    for (size_t i = 0; i < plan->n_dropped; i++) {
        vm_patch_drop_lease(pass->patch, plan->dropped[i]);
    }
    for (size_t i = 0; i < plan->n_leases; i++) {
        vm_patch_lease(pass->patch, plan->leases[i]);
    }
    struct forward_plan before = {.forwards = status->forwards, .n = status->n_forwards};
    status->forwards = TAKE_PTR(plan->forwards);
    status->n_forwards = plan->n;
    plan->n = 0;
    forward_plan_clear(&before);
}

static bool are_equal(const struct vm_status *a, const struct vm_status *b)
{
    bool is_equal = a->n_forwards == b->n_forwards;
    for (uint32_t i = 0; is_equal && i < a->n_forwards; i++) {
        is_equal = fields_equal(&vm_forward_fields, &a->forwards[i], &b->forwards[i]);
    }
    return is_equal;
}

/* Once, not at every pass: the condition shows it as long as it lasts. */
static void report_refusals(struct pass *pass, const struct vm_status *before)
{
    const struct vm_status *status = pass->patch->status;
    for (uint32_t i = 0; i < status->n_forwards; i++) {
        const char *refusal = status->forwards[i].refusal;
        bool is_known = !refusal || !status->forwards[i].socket;
        for (uint32_t j = 0; j < before->n_forwards; j++) {
            is_known |= text_eq(before->forwards[j].refusal, refusal);
        }
        if (!is_known) {
            vm_patch_event(pass->patch, true, REASON_FORWARD_FAILED, "%s", refusal);
        }
    }
}

static void record_plan(struct pass *pass, const struct vm_status *committed,
    const struct tunnel_forward *observed, const struct tunnel_facts *facts)
{
    const struct forward_input input = {
        .spec = pass->view->desired->spec,
        .is_wanted = are_wanted(pass),
        .recorded = committed,
        .observed = observed,
        .facts = facts,
        .holder = other_holder,
        .is_bindable = port_is_bindable,
        .free_port = free_port,
        .context = pass,
    };
    struct forward_plan plan;
    forward_plan_make(&input, &plan);
    take_plan(pass, &plan);
    forward_plan_clear(&plan);
    report_refusals(pass, committed);
}

/* ---- the pass ---- */

/* Nothing is recorded, nothing is desired, nothing runs. */
static void close_tunnel(struct pass *pass)
{
    const struct tunnel_ops *ops = pass->vm->backend->tunnel;
    ops->close(TAKE_PTR(pass->vm->tunnel));
}

static bool has_skipped(const struct vm_status *status)
{
    bool is_skipped = false;
    for (uint32_t i = 0; i < status->n_forwards; i++) {
        is_skipped |= !status->forwards[i].is_leased;
    }
    return is_skipped;
}

int64_t forwards_keep(struct pass *pass, const struct vm_status *committed)
{
    struct vm *vm = pass->vm;
    const struct tunnel_ops *ops = vm->backend->tunnel;
    if (pass->patch->forget || !is_needed(pass, committed)) {
        return VERDICT_WHEN_WOKEN;
    }
    struct tunnel *tunnel = open_tunnel(vm);
    struct tunnel_facts facts;
    cleanup_free struct tunnel_forward *observed =
        mem_calloc(committed->n_forwards + 1, sizeof(*observed));
    const struct tunnel_wanted wanted = {
        .forwards = committed->forwards,
        .n_forwards = committed->n_forwards,
        .watches_ports = pass->view->desired->spec->network.is_auto,
        .may_log_in = pass->situation.run_state == RUN_STATE_RUNNING,
        .is_set_up = vm_status_is_true(committed, CONDITION_PROVISIONED),
    };
    if (!are_wanted(pass)) {
        ops->end(tunnel, committed->forwards, committed->n_forwards);
    } else if (committed->n_forwards > 0 || wanted.watches_ports) {
        ops->keep(tunnel, &pass->env, &wanted);
    }
    ops->observe(tunnel, committed->forwards, committed->n_forwards, observed, &facts);
    record_plan(pass, committed, observed, &facts);
    if (!are_equal(pass->patch->status, committed)) {
        return VERDICT_NOW; /* once it is committed */
    }
    bool is_over = !are_wanted(pass) && facts.is_gone;
    if (is_over) {
        close_tunnel(pass);
    }
    bool is_sooner = facts.retry_ms != VERDICT_WHEN_WOKEN && facts.retry_ms < SKIPPED_RECHECK_MS;
    return is_over                                ? VERDICT_WHEN_WOKEN
           : !are_wanted(pass)                    ? GONE_RECHECK_MS
           : has_skipped(committed) && !is_sooner ? SKIPPED_RECHECK_MS
                                                  : facts.retry_ms;
}

void forwards_end(struct pass *pass)
{
    const struct vm_status *status = pass->view->status;
    if (status->n_forwards > 0) {
        pass->vm->backend->tunnel->end(open_tunnel(pass->vm), status->forwards, status->n_forwards);
    }
}

bool forwards_have_lease(const struct vm_status *status, const char *key)
{
    bool is_one = false;
    for (uint32_t i = 0; i < status->n_forwards; i++) {
        cleanup_free char *lease = vm_forward_lease_key(&status->forwards[i]);
        is_one |= status->forwards[i].is_leased && text_eq(lease, key);
    }
    return is_one;
}

/* ---- what is shown ---- */

static const struct vm_forward *first_unmade(const struct pass *pass, bool is_refused)
{
    const struct vm_status *status = pass->patch->status;
    for (uint32_t i = 0; i < status->n_forwards; i++) {
        const struct vm_forward *forward = &status->forwards[i];
        if (forward->socket && !forward->is_leaving && !forward->is_made &&
            (forward->refusal || !is_refused)) {
            return forward;
        }
    }
    return NULL;
}

const char *forwards_failure(const struct pass *pass)
{
    const struct vm_forward *refused = first_unmade(pass, true);
    return refused ? refused->refusal : NULL;
}

/* A socket of the VMFile that has no record yet is about to get one. */
static bool are_all_recorded(const struct pass *pass)
{
    const struct spec_network *network = &pass->view->desired->spec->network;
    const struct vm_status *status = pass->patch->status;
    size_t n = 0;
    for (uint32_t i = 0; i < status->n_forwards; i++) {
        n += status->forwards[i].socket && !status->forwards[i].is_leaving;
    }
    return n >= network->n_sockets;
}

/* "but not the guest's port 8080: …" of the first; NULL: none. free() it. */
static char *list_skipped(const struct vm_status *status)
{
    const struct vm_forward *first = NULL;
    size_t n = 0;
    for (uint32_t i = 0; i < status->n_forwards; i++) {
        const struct vm_forward *forward = &status->forwards[i];
        if (!forward->socket && !forward->is_made && forward->refusal) {
            first = first ? first : forward;
            n++;
        }
    }
    return n == 0 ? NULL
           : n == 1
               ? mem_printf("but not the guest's port %u: %s", first->guest_port, first->refusal)
               : mem_printf("but not the guest's port %u: %s; and %zu more: vmctl port",
                     first->guest_port, first->refusal, n - 1);
}

/* Of a tunnel that does not come about, for `forward "auto"` alone: no record has it. */
static const char *tunnel_failure(const struct pass *pass)
{
    const struct vm *vm = pass->vm;
    struct tunnel_facts facts = {.failure = NULL};
    if (vm->tunnel && pass->view->desired->spec->network.is_auto) {
        vm->backend->tunnel->observe(vm->tunnel, NULL, 0, NULL, &facts);
    }
    return facts.failure;
}

void forwards_describe(struct pass *pass)
{
    const struct spec_network *network = &pass->view->desired->spec->network;
    const struct condition *reachable = &pass->patch->status->conditions[CONDITION_GUEST_REACHABLE];
    const char *failure = forwards_failure(pass);
    if (network->n_sockets == 0 && !network->is_auto) {
        pass_set(pass, CONDITION_FORWARDED, CONDITION_ABSENT, REASON_NONE, NULL);
    } else if (reachable->state != CONDITION_TRUE) {
        pass_set(pass, CONDITION_FORWARDED, CONDITION_FALSE, reachable->reason, NULL);
    } else if (failure) {
        pass_set(pass, CONDITION_FORWARDED, CONDITION_FALSE, REASON_FORWARD_FAILED, failure);
    } else if (tunnel_failure(pass)) {
        pass_set(pass, CONDITION_FORWARDED, CONDITION_FALSE, REASON_FORWARD_FAILED,
            tunnel_failure(pass));
    } else if (first_unmade(pass, false) || !are_all_recorded(pass)) {
        pass_set(pass, CONDITION_FORWARDED, CONDITION_FALSE, REASON_FORWARDING, NULL);
    } else {
        cleanup_free char *skipped = list_skipped(pass->patch->status);
        pass_set(pass, CONDITION_FORWARDED, CONDITION_TRUE, REASON_FORWARDED, skipped);
    }
}

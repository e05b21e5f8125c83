/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/hot_change.h"

#include <stdlib.h>
#include <string.h>

#include "reconcilers/vm/pass.h"
#include "reconcilers/vm/probes.h"
#include "specs/base/cleanup.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* Between two checks of an idle machine. No wakeup is requested for it: the next pass does it, at
 * the latest the controller's resync. While its cloud-init runs this is rarer: the first one would
 * come between the login and Ready. */
enum { CHECK_EVERY_MS = 10000, CHECK_SETTING_UP_MS = 60000 };

static bool has_live(const struct spec_diff *diff, const char *field)
{
    for (size_t i = 0; i < diff->count; i++) {
        if (text_eq(diff->changes[i].field, field)) {
            return diff->changes[i].disposition == DISPOSITION_LIVE;
        }
    }
    return false;
}

/* Nothing of the machine can be changed while it runs. */
static bool is_fixed(const struct pass *pass)
{
    return pass->vm->backend->traits->is_fixed;
}

static void compare(struct vm_comparison *comparison, const struct pass *pass)
{
    const struct vm_spec *running = pass->view->status->applied_spec, *wanted = pass->env.spec;
    struct spec_diff *diff = &comparison->diff;
    spec_diff_clear(diff);
    comparison->is_pending = false;
    if (!running) {
        return;
    }
    *diff = spec_diff(running, wanted);
    if (!comparison->is_outdated) { /* the same image, under another name */
        spec_diff_drop_field(diff, "image");
    }
    if (is_fixed(pass)) {
        spec_diff_put_off(diff); /* at the next start */
        return;
    }
    /* The controller reads the other live fields from the desired spec. */
    comparison->is_pending = wanted->disk_gib > running->disk_gib || has_live(diff, "forward") ||
                             has_live(diff, "host-services") || has_live(diff, "isolate") ||
                             has_live(diff, "egress") || has_live(diff, "further network") ||
                             has_live(diff, "volume") || has_live(diff, "vcpus") ||
                             has_live(diff, "memory") || has_live(diff, "io-limit") ||
                             has_live(diff, "cpu-limit") || has_live(diff, "memory-limit");
}

static const struct vm_comparison *comparison_of(const struct pass *pass)
{
    static const struct vm_comparison equal = {.diff = {.strongest = DISPOSITION_LIVE}};
    const struct vm_status *status = pass->view->status;
    struct vm_comparison *comparison = &pass->vm->comparison;
    if (!pass->env.spec || !status->instance.instance_id[0] ||
        status->applied_generation == pass->view->desired->generation) {
        return &equal;
    }
    uint64_t generation = pass->view->desired->generation;
    if (!comparison->is_made || comparison->generation != generation ||
        comparison->is_outdated != pass->media.is_outdated ||
        !text_eq(comparison->instance_id, status->instance.instance_id)) {
        comparison->is_outdated = pass->media.is_outdated;
        compare(comparison, pass);
        comparison->is_made = true;
        comparison->generation = generation;
        memcpy(
            comparison->instance_id, status->instance.instance_id, sizeof(comparison->instance_id));
    }
    return comparison;
}

const struct spec_diff *hot_change_diff(const struct pass *pass)
{
    return &comparison_of(pass)->diff;
}

bool hot_change_is_pending(const struct pass *pass)
{
    return comparison_of(pass)->is_pending;
}

bool hot_change_is_check_due(const struct pass *pass)
{
    const struct vm *vm = pass->vm;
    const struct situation *s = &pass->situation;
    bool is_idle = vm->op_action == ACTION_NONE || vm->op_action == ACTION_APPLY;
    bool is_settled = !s->has_step && !s->has_appended && (s->is_reached || !s->expects_ssh);
    int64_t period_ms = s->is_setting_up && s->expects_ssh ? CHECK_SETTING_UP_MS : CHECK_EVERY_MS;
    return is_idle && is_settled && !is_fixed(pass) && s->power == POWER_RUNNING &&
           pass->now_ms - vm->checked_at_ms >= period_ms;
}

bool hot_change_has_network(const struct pass *pass)
{
    const struct vm_spec *running = pass->view->status->applied_spec;
    return running && spec_network_is_same(&running->network, &pass->env.spec->network);
}

void hot_change_record(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    const struct vm_spec *spec = pass->env.spec;
    const struct spec_diff *diff = hot_change_diff(pass);
    struct vm_growth *growth = &status->growth;
    if (!status->applied_spec) {
        return;
    }
    struct vm_spec *applied = vm_spec_copy(status->applied_spec);
    free(TAKE_PTR(growth->refusal));
    pass->vm->growth_due_ms = 0;
    growth->disk |= spec->disk_gib > applied->disk_gib;
    growth->vcpus |= has_live(diff, "vcpus");
    growth->memory |= has_live(diff, "memory");
    if (spec->disk_gib > applied->disk_gib) {
        applied->disk_gib = spec->disk_gib;
        uint64_t bytes = (uint64_t)spec->disk_gib << 30;
        status->prepared.disk_gib = spec->disk_gib;
        status->prepared.disk_bytes =
            bytes > status->prepared.disk_bytes ? bytes : status->prepared.disk_bytes;
    }
    if (has_live(diff, "vcpus")) {
        applied->vcpus = spec->vcpus;
    }
    if (has_live(diff, "memory")) {
        applied->memory_mib = spec->memory_mib;
    }
    if (has_live(diff, "volume")) {
        (void)fields_take(&vm_spec_fields, applied, spec, "volumes");
    }
    if (has_live(diff, "cpu-limit")) {
        applied->cpu_limit_milli = spec->cpu_limit_milli;
    }
    if (has_live(diff, "memory-limit")) {
        applied->memory_limit_mib = spec->memory_limit_mib;
    }
    if (has_live(diff, "io-limit")) {
        (void)fields_take(&vm_spec_fields, applied, spec, "ioLimit");
    }
    if (has_live(diff, "forward")) {
        (void)fields_take(&vm_spec_fields, applied, spec, "network.forwards");
    }
    if (has_live(diff, "further network")) {
        (void)fields_take(&vm_spec_fields, applied, spec, "furtherNetworks");
    }
    if (applied->network.mode == NETWORK_PROJECT && spec->network.mode == NETWORK_PROJECT) {
        (void)fields_take(&vm_spec_fields, applied, spec, "network.hostServices");
        (void)fields_take(&vm_spec_fields, applied, spec, "network.isolated");
        (void)fields_take(&vm_spec_fields, applied, spec, "network.egress");
    }
    vm_status_take_applied_spec(status, applied);
}

/* ---- the guest's side of it ---- */

bool hot_change_is_growth_due(const struct pass *pass)
{
    const struct vm_growth *growth = &pass->view->status->growth;
    bool has_grown = growth->vcpus || growth->memory || growth->disk;
    return has_grown && pass->now_ms >= pass->vm->growth_due_ms;
}

/* Killed before or after, or done twice: it is still due, and what the guest uses is left alone. */
int64_t hot_change_grow_guest(struct pass *pass)
{
    struct vm *vm = pass->vm;
    vm_begin(vm, ACTION_GROW_GUEST, pass->view->desired->generation);
    vm->op = vm->backend->guest->grow(vm->guest, &pass->env, &vm->outcome->growth, vm_op_done, vm);
    return VERDICT_WHEN_WOKEN;
}

bool hot_change_record_guest(struct pass *pass)
{
    enum { RETRY_MS = 600000 };
    struct growth_result *result = &pass->vm->outcome->growth;
    struct vm_growth *growth = &pass->patch->status->growth;
    bool is_known = result->refusal && text_eq(growth->refusal, result->refusal);
    pass->vm->n_growth_lost = 0;
    pass->vm->growth_due_ms = pass->now_ms + RETRY_MS;
    if (result->done) {
        vm_patch_event(pass->patch, false, REASON_GUEST_GREW,
            "the guest now uses the added resources: %s", result->done);
    }
    if (result->refusal && !is_known) {
        vm_patch_event(pass->patch, true, REASON_GUEST_NOT_GROWN,
            "the guest does not use all of the added resources: %s", result->refusal);
    }
    free(growth->refusal);
    growth->refusal = TAKE_PTR(result->refusal);
    if (!growth->refusal) {
        *growth = (struct vm_growth){.refusal = NULL};
    }
    return !is_known || result->done;
}

void hot_change_guest_failed(struct pass *pass)
{
    enum { LOST_MAX = 5 };
    struct vm *vm = pass->vm;
    if (++vm->n_growth_lost < LOST_MAX) {
        pass->patch->status->was_reached = false;
        return;
    }
    vm->outcome->growth.refusal = mem_strdup(vm->outcome->error->message);
    vm_failure_clear(&vm->failure);
    (void)hot_change_record_guest(pass);
}

void hot_change_take_over(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    if (!status->applied_spec || !status->instance.instance_id[0]) {
        return; /* a start applies all of the spec */
    }
    struct vm_spec *applied = vm_spec_copy(status->applied_spec);
    const struct vm_spec *wanted = pass->view->desired->spec;
    bool has_other_ssh = fields_take(&vm_spec_fields, applied, wanted, "ssh");
    bool has_other_ready = fields_take(&vm_spec_fields, applied, wanted, "ready");
    bool has_other_live = fields_take(&vm_spec_fields, applied, wanted, "live");
    bool has_other_checks = has_other_ready || has_other_live;
    (void)fields_take(&vm_spec_fields, applied, wanted, "network.sockets"); /* forwards.c */
    (void)fields_take(&vm_spec_fields, applied, wanted, "network.autoForward");
    vm_status_take_applied_spec(status, applied);
    if (!has_other_ssh && !has_other_checks) {
        return;
    }
    if (has_other_ssh) {
        status->was_reached = false;
        vm_forget_boot(pass->vm);
    }
    if (has_other_checks) {
        probes_reset(pass);
    }
    struct vm *vm = pass->vm;
    enum action action = vm->op_action;
    if (action == ACTION_REACH || action == ACTION_AWAIT_CLOUD_INIT || action == ACTION_PROBE) {
        vm_cancel(vm); /* it was begun with the old settings */
    }
}

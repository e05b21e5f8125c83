/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/hot_change.h"

#include <string.h>

#include "reconcilers/vm/pass.h"
#include "reconcilers/vm/probes.h"
#include "specs/base/json.h"
#include "specs/base/text.h"

/* Between two looks at a machine that is left alone. Nobody is woken for it: it is done in a pass
 * that comes anyway, at the latest with the controller's resync. */
enum { CHECK_EVERY_MS = 10000 };

static bool has_live(const struct spec_diff *diff, const char *field)
{
    for (size_t i = 0; i < diff->count; i++) {
        if (text_eq(diff->changes[i].field, field)) {
            return diff->changes[i].disposition == DISPOSITION_LIVE;
        }
    }
    return false;
}

/* The other live fields are the controller's own: it reads them from the desired spec. */
static bool is_any_pending(
    const struct spec_diff *diff, const struct vm_spec *running, const struct vm_spec *wanted)
{
    return wanted->disk_gib > running->disk_gib || has_live(diff, "forward") ||
           has_live(diff, "vcpus") || has_live(diff, "memory");
}

/* Nothing of the machine can be changed while it runs. */
static bool is_fixed(const struct pass *pass)
{
    return pass->view->status->instance.is_foreign || pass->vm->backend->traits->is_fixed;
}

static void compare(struct vm_comparison *comparison, const struct pass *pass)
{
    struct vm_spec *running = vm_status_applied_spec(pass->view->status);
    spec_diff_clear(&comparison->diff);
    comparison->is_pending = false;
    if (running && is_fixed(pass)) {
        comparison->diff = spec_diff(running, pass->env.spec);
        spec_diff_put_off(&comparison->diff); /* QMP names of ours (net0, disk0) it does not have */
    } else if (running) {
        comparison->diff = spec_diff(running, pass->env.spec);
        comparison->is_pending = is_any_pending(&comparison->diff, running, pass->env.spec);
    }
    vm_spec_free(running);
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
        !text_eq(comparison->instance_id, status->instance.instance_id)) {
        compare(comparison, pass);
        comparison->is_made = true;
        comparison->generation = generation;
        memcpy(comparison->instance_id, status->instance.instance_id, sizeof(comparison->instance_id));
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
    bool is_idle = (!vm->op || vm->op_action == ACTION_APPLY) && vm->outcome.action == ACTION_NONE;
    bool is_settled =
        !s->has_step && !s->has_appended && (s->is_reached || !s->expects_ssh);
    return is_idle && is_settled && !is_fixed(pass) && s->power == POWER_RUNNING &&
           pass->now_ms - vm->checked_at_ms >= CHECK_EVERY_MS;
}

static const char *network_mode_of(const json_t *spec)
{
    return json_text(json_object_get(spec, "network"), "mode");
}

bool hot_change_has_network(const struct pass *pass)
{
    const char *mode = network_mode_of(pass->view->status->applied_spec);
    return text_eq(mode, network_mode_name(pass->env.spec->network.mode));
}

static void take_over(json_t *applied, const json_t *wanted, const char *key)
{
    json_put(applied, key, json_incref(json_object_get(wanted, key)));
}

void hot_change_record(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    const struct vm_spec *spec = pass->env.spec;
    const struct spec_diff *diff = hot_change_diff(pass);
    cleanup_json json_t *wanted = vm_spec_to_json(spec);
    json_t *applied = json_deep_copy(status->applied_spec); /* shared with the view: never changed */
    if (spec->disk_gib > json_int(applied, "diskGib", 0)) {
        take_over(applied, wanted, "diskGib");
        status->prepared.disk_gib = spec->disk_gib;
    }
    if (has_live(diff, "vcpus")) {
        take_over(applied, wanted, "vcpus");
    }
    if (has_live(diff, "memory")) {
        take_over(applied, wanted, "memoryMib");
    }
    if (has_live(diff, "forward")) {
        take_over(json_object_get(applied, "network"), json_object_get(wanted, "network"),
            "forwards");
    }
    json_decref(status->applied_spec);
    status->applied_spec = applied;
}

/* What is under way, or just done, was begun with the old settings. */
static void cancel_asking(struct vm *vm)
{
    enum action action = vm->op ? vm->op_action : vm->outcome.action;
    if (action == ACTION_REACH || action == ACTION_PROBE) {
        vm_cancel(vm);
    }
}

/* Whether it was another; then `applied` has it from now on. */
static bool replace(json_t *applied, const json_t *wanted, const char *key)
{
    json_t *value = json_object_get(wanted, key);
    if (json_equal(json_object_get(applied, key), value)) {
        return false;
    }
    json_put(applied, key, json_incref(value));
    return true;
}

void hot_change_take_over(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    if (!status->applied_spec || !status->instance.instance_id[0]) {
        return; /* a start takes all of the spec */
    }
    cleanup_json json_t *wanted = vm_spec_to_json(pass->view->desired->spec);
    json_t *applied = json_copy(status->applied_spec); /* shared with the view: never changed */
    bool has_other_ssh = replace(applied, wanted, "ssh");
    bool has_other_ready = replace(applied, wanted, "ready");
    bool has_other_live = replace(applied, wanted, "live");
    bool has_other_checks = has_other_ready || has_other_live;
    if (!has_other_ssh && !has_other_checks) {
        json_decref(applied);
        return;
    }
    json_decref(status->applied_spec);
    status->applied_spec = applied;
    if (has_other_ssh) {
        status->was_reached = false;
        pass->vm->reach_deadline_ms = 0;
    }
    if (has_other_checks) {
        probes_reset(pass);
    }
    cancel_asking(pass->vm);
}

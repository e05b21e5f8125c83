/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/live.h"

#include "reconcilers/pass.h"
#include "specs/base/json.h"

static json_t *forwards_of(const json_t *spec)
{
    return json_object_get(json_object_get(spec, "network"), "forwards");
}

/* Another network mode needs a restart, and the forwards come with it. */
static bool is_network_same(const json_t *a, const json_t *b)
{
    const json_t *left = json_object_get(a, "network"), *right = json_object_get(b, "network");
    return json_equal(json_object_get(left, "mode"), json_object_get(right, "mode"));
}

bool live_is_pending(const struct pass *pass)
{
    const struct vm_status *status = pass->view->status;
    if (!pass->env.spec || !status->applied_spec ||
        status->applied_generation == pass->view->desired->generation) {
        return false;
    }
    cleanup_json json_t *wanted = vm_spec_to_json(pass->env.spec);
    const json_t *applied = status->applied_spec;
    bool is_larger = json_int(wanted, "diskGib", 0) > json_int(applied, "diskGib", 0);
    bool has_forwards = is_network_same(wanted, applied) &&
                        !json_equal(forwards_of(wanted), forwards_of(applied));
    return is_larger || has_forwards;
}

void live_record(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    cleanup_json json_t *wanted = vm_spec_to_json(pass->env.spec);
    json_t *applied = json_deep_copy(status->applied_spec); /* shared with the view: never changed */
    if (json_int(wanted, "diskGib", 0) > json_int(applied, "diskGib", 0)) {
        json_put(applied, "diskGib", json_incref(json_object_get(wanted, "diskGib")));
        status->prepared.disk_gib = pass->env.spec->disk_gib;
    }
    if (is_network_same(wanted, applied)) {
        json_put(json_object_get(applied, "network"), "forwards", json_incref(forwards_of(wanted)));
    }
    json_decref(status->applied_spec);
    status->applied_spec = applied;
}

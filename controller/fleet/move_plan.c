/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/parts.h"

#include <stdlib.h>
#include <string.h>

#include "controller/fleet/hold.h"
#include "controller/fleet/mirror.h"
#include "controller/fleet/member.h"
#include "controller/fleet/tombstone.h"
#include "specs/base/cleanup.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"

void move_plan_clear(struct move_plan *plan)
{
    free(plan->row);
    json_decref(plan->ask);
    free(plan->from);
    vm_desired_free(plan->vm);
    vm_desired_free(plan->next);
    strings_clear(&plan->rows);
    strings_clear(&plan->texts);
    strings_clear(&plan->unchanged);
    free(plan->absent);
    free(plan->present);
    *plan = (struct move_plan){.row = NULL};
}

static void plan_add_row(struct move_plan *plan, char *row_take, const char *text)
{
    strings_append(&plan->rows, row_take);
    strings_append(&plan->texts, text);
    free(row_take);
}

static void add_unchanged(struct move_plan *plan, char *row_take)
{
    strings_append(&plan->unchanged, row_take);
    free(row_take);
}

/* The VM's record at its node, and the row of its name. */
static void plan_add_vm(struct move_plan *plan, const char *node, const struct vm_desired *vm)
{
    cleanup_json json_t *json = vm_desired_to_json(vm);
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    plan_add_row(plan, fleet_row(FLEET_KIND_VM, node, plan->move.name), text);
}

/* Any change of it, by whomever, comes first. */
static void add_subject(struct move_plan *plan)
{
    add_unchanged(plan, fleet_row(FLEET_KIND_VM, plan->from, plan->move.name));
    add_unchanged(plan, fleet_row(FLEET_KIND_NAME, plan->move.name, NULL));
}

/* The node's memory, with the VM as in `spec`, is promised once: NULL: without it. */
static void promise(const struct member *member, struct move_plan *plan, const char *node,
    const struct vm_spec *spec)
{
    cleanup_free char *hold = hold_text(member, node, plan->move.name, spec);
    plan_add_row(plan, fleet_row(FLEET_KIND_HOLD, node, NULL), hold);
    add_unchanged(plan, fleet_row(FLEET_KIND_HOLD, node, NULL));
}

/* What it is on its way with goes, too, if it moves. */
static void drop_incoming(const struct member *member, struct move_plan *plan)
{
    const char *to = plan->vm->fleet.move_to;
    cleanup_free char *row = to ? fleet_row(FLEET_KIND_IN, to, plan->move.name) : NULL;
    if (row && mirror_get(member->mirror, row)) {
        if (!text_eq(to, plan->from) && !text_eq(to, plan->move.to)) {
            promise(member, plan, to, NULL);
        }
        add_unchanged(plan, mem_strdup(row));
        plan_add_row(plan, TAKE_PTR(row), "");
    }
}

/* Its new life: what only the old one's node knows is not of it. */
static void plan_recreation(const struct member *member, struct move_plan *plan)
{
    const char *name = plan->move.name, *to = plan->move.to;
    struct vm_desired *next = plan->next = vm_desired_copy(plan->vm);
    bool starts = next->fleet.starts_after || next->power == POWER_SUSPENDED;
    next->generation++;
    next->fleet.epoch++;
    next->fleet.is_ahead = false;
    next->fleet.base = 0;
    free(TAKE_PTR(next->fleet.move_to));
    next->fleet.starts_after = false;
    memcpy(next->fleet.moved, plan->token, TEXT_ID_SIZE);
    vm_desired_drop_requests(next); /* of another disk: all steps are run on this one */
    fields_free(&vm_origin_fields, TAKE_PTR(next->origin));
    next->n_origins = 0;
    next->is_saved = false; /* its memory stays where it is */
    next->power = starts ? POWER_RUNNING : next->power;
    cleanup_json json_t *owner = json_object();
    json_put_text(owner, "node", to);
    json_put_text(owner, "uid", next->uid);
    json_put_int(owner, "epoch", (int64_t)next->fleet.epoch);
    cleanup_free char *owner_text = json_dumps(owner, JSON_COMPACT);
    plan_add_row(plan, fleet_row(FLEET_KIND_NAME, name, NULL), owner_text);
    plan_add_vm(plan, to, next);
    promise(member, plan, to, next->spec);
    plan->present = fleet_row(FLEET_KIND_ALIVE, to, NULL);
}

/* Takes the VM from its node, which is offline. */
void move_plan_loss(const struct member *member, struct move_plan *plan)
{
    const char *name = plan->move.name, *from = plan->from;
    bool is_destroyed = plan->move.verb == FLEET_MOVE_DESTROY;
    cleanup_free char *mark =
        tombstone_text(member, plan->vm, is_destroyed ? NULL : plan->move.to, plan->token);
    plan_add_row(plan, fleet_row(FLEET_KIND_VM, from, name), "");
    promise(member, plan, from, NULL);
    plan_add_row(plan, fleet_row(FLEET_KIND_STATUS, from, name), "");
    plan_add_row(plan, tombstone_row(from, plan->vm->uid), mark);
    add_unchanged(plan, fleet_row(FLEET_KIND_REG, from, NULL));
    plan->absent = fleet_row(FLEET_KIND_ALIVE, from, NULL);
    add_subject(plan);
    drop_incoming(member, plan);
    if (is_destroyed) {
        plan_add_row(plan, fleet_row(FLEET_KIND_NAME, name, NULL), "");
    } else {
        plan_recreation(member, plan);
    }
}

/* Off from now on, and as it is until the other node has its disk. */
void move_plan_begin(const struct member *member, struct move_plan *plan)
{
    const char *to = plan->move.to;
    struct vm_desired *next = plan->next = vm_desired_copy(plan->vm);
    cleanup_json json_t *incoming = json_object();
    next->generation++;
    next->fleet.move_to = mem_strdup(to);
    next->fleet.starts_after = next->power == POWER_RUNNING;
    memcpy(next->fleet.moved, plan->token, TEXT_ID_SIZE);
    next->power = POWER_STOPPED;
    json_put_text(incoming, "from", plan->from);
    json_put_text(incoming, "uid", next->uid);
    json_put_int(incoming, "epoch", (int64_t)next->fleet.epoch);
    json_put_text(incoming, "token", plan->token);
    if (plan->move.leaves_snapshots) {
        json_put_flag(incoming, "leavesSnapshots", true);
    }
    cleanup_free char *text = json_dumps(incoming, JSON_COMPACT);
    plan_add_vm(plan, plan->from, next);
    plan_add_row(plan, fleet_row(FLEET_KIND_IN, to, plan->move.name), text);
    add_unchanged(plan, fleet_row(FLEET_KIND_IN, to, plan->move.name));
    promise(member, plan, to, next->spec);
    plan->present = fleet_row(FLEET_KIND_ALIVE, to, NULL);
    add_subject(plan);
}

void move_plan_cancel(const struct member *member, struct move_plan *plan)
{
    struct vm_desired *next = plan->next = vm_desired_copy(plan->vm);
    next->generation++;
    free(TAKE_PTR(next->fleet.move_to));
    next->power = next->fleet.starts_after ? POWER_RUNNING : next->power;
    next->fleet.starts_after = false;
    memcpy(next->fleet.moved, plan->token, TEXT_ID_SIZE);
    plan_add_vm(plan, plan->from, next);
    drop_incoming(member, plan);
    add_subject(plan);
}

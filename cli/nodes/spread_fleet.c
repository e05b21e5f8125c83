/* SPDX-License-Identifier: MPL-2.0 */
/* The VMs that a command means and that the fleet has: changed by a request to it, wherever they
 * are (cli/fleet/fleet_vms.h). */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/fleet/fleet_vms.h"
#include "cli/fleet/fleet_view.h"
#include "cli/nodes/spread.h"
#include "cli/options.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_ask.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/vm/vm_spec.h"

bool spread_asks_fleet(const struct command *command)
{
    return text_has_word("up apply reload down destroy start stop restart", command->name);
}

static const void *option_of(const struct spread *spread, const char *name)
{
    for (const struct arg_option *o = spread->command->options; o && o->name; o++) {
        if (text_eq(o->name, name)) {
            return (const char *)spread->values + o->offset;
        }
    }
    return NULL;
}

static bool has_flag(const struct spread *spread, const char *name)
{
    const bool *flag = option_of(spread, name);
    return flag && *flag;
}

/* What is decided by what only the VM's host knows, or is about a whole VMFile on one host. */
static int check_options(const struct spread *spread, struct error *err)
{
    static const char allowed[] = "file name selector all detach no-wait timeout yes force "
                                  "no-provision adopt destroy no-deps node-is-off";
    for (const struct arg_option *o = spread->command->options; o && o->name; o++) {
        if (!text_has_word(allowed, o->name) && arg_is_given(o, spread->values)) {
            (void)error_set(err, ERR_USAGE, "--%s is not for VMs of the fleet", o->name);
            return error_help(err, "use it on the VM's node: vmctl --node NODE %s --%s …",
                spread->command->name, o->name);
        }
    }
    return 0;
}

static int check_spec(const struct vm_spec *spec, const char *place, struct error *err)
{
    if (spec->n_depends_on > 0 && !text_starts_with(place, NODE_ANY ":node=")) {
        (void)error_set(err, ERR_USAGE, "vm '%s' depends on '%s', which may be on another node",
            spec->name, spec->depends_on[0]);
        return error_help(err, "give both the same one, such as: node \"" NODE_ANY ":node=b\"");
    }
    return 0;
}

static const struct vm_spec *spec_of(const struct spread *spread, const char *name, size_t *ret)
{
    const struct vmfile *file = spread->load.file;
    for (size_t i = 0; file && i < file->n_vms; i++) {
        if (text_eq(file->vms[i]->name, name)) {
            *ret = i;
            return file->vms[i];
        }
    }
    return NULL;
}

/* `down` stops, or destroys; `start` and the like set the power. */
static void set_power(const struct spread *spread, struct fleet_order *order)
{
    const char *command = spread->command->name;
    struct change *change = &order->change;
    bool deletes = text_eq(command, "destroy") || has_flag(spread, "destroy");
    bool stops = !deletes && (text_eq(command, "stop") || text_eq(command, "down"));
    change->deletes = deletes;
    change->sets_power = !deletes && !text_eq(command, "restart");
    change->power = stops ? POWER_STOPPED : POWER_RUNNING;
    change->restarts = text_eq(command, "restart");
    order->goal.kind = deletes ? GOAL_DELETED : stops ? GOAL_STOPPED : GOAL_READY;
    order->goal.allows_drift = true;
    order->done = deletes ? "destroyed" : stops ? "stopped" : NULL;
}

static void set_spec(const struct spread *spread, struct fleet_order *order)
{
    struct change *change = &order->change;
    bool recreates = text_eq(spread->command->name, "reload");
    bool starts = recreates || text_eq(spread->command->name, "up");
    change->sets_power = starts;
    change->power = POWER_RUNNING;
    change->retries = starts;
    change->recreates = recreates;
    change->takes_over = has_flag(spread, "adopt");
    change->provision = has_flag(spread, "no-provision") ? PROVISION_SKIP
                        : recreates                      ? PROVISION_AGAIN
                        : starts                         ? PROVISION_ON_START
                                                         : PROVISION_KEEP;
    order->goal.kind = starts ? GOAL_READY : GOAL_SETTLED;
    order->goal.allows_drift = true;
    order->goal.ignores_steps = has_flag(spread, "no-provision");
}

struct orders {
    struct fleet_order *items;
    struct strings *nodes;  /* those chosen; owned */
    struct vm_spec **specs; /* as they are sent; owned */
    json_t *files;          /* … and what goes along */
    size_t count;
    char *source;
};

static void orders_clear(struct orders *orders)
{
    for (size_t i = 0; i < orders->count; i++) {
        strings_clear(&orders->nodes[i]);
        vm_spec_free(orders->specs[i]);
    }
    free(orders->nodes);
    free(orders->specs);
    json_decref(orders->files);
    free(orders->items);
    free(orders->source);
}

static bool has_owner(const struct fleet_view *view, const char *name)
{
    cleanup_free char *row = fleet_row(FLEET_KIND_NAME, name, NULL);
    return fleet_view_row(view, row) != NULL;
}

/* As `down` of this host: what another VMFile has made is not erased by one that names it, too. */
static bool is_left(const struct spread *spread, const struct fleet_view *view, const char *name,
    const char *source)
{
    cleanup_free char *owner_row = fleet_row(FLEET_KIND_NAME, name, NULL);
    const char *node = json_text(fleet_view_row(view, owner_row), "node");
    cleanup_free char *row = fleet_row(FLEET_KIND_VM, node ? node : "", name);
    const json_t *desired = fleet_view_row(view, row);
    const char *theirs = json_text(desired, "source");
    bool is = desired && !text_eq(theirs, source);
    if (is) {
        cli_note(spread->cli, "note: %s stays as it is: it belongs to another VMFile, %s", name,
            theirs ? theirs : "?");
    }
    return is;
}

/* One that is there already stays where it is. */
static int choose_node(const struct spread *spread, const struct fleet_view *view, size_t index,
    const struct vm_spec *spec, json_t *promised, struct strings *ret, struct error *err)
{
    const char *place = spread->load.file->places[index];
    return has_owner(view, spec->name) ? 0
                                       : fleet_choose_nodes(view, place, spec, promised, ret, err);
}

static int make_orders(const struct spread *spread, const struct share_of_node *item,
    struct orders *ret, struct error *err)
{
    cleanup_with(fleet_view_clear) struct fleet_view view = {.config = NULL};
    cleanup_json json_t *promised = json_object();
    bool needs_spec = text_has_word("up apply reload", spread->command->name);
    int rc = fleet_view_read(spread->cli, &view, err);
    ret->items = mem_calloc(item->names.count, sizeof(*ret->items));
    ret->nodes = mem_calloc(item->names.count, sizeof(*ret->nodes));
    ret->specs = mem_calloc(item->names.count, sizeof(struct vm_spec *));
    ret->files = json_object();
    ret->source = spread_project_of(spread->load.path ? spread->load.path : "/");
    for (size_t i = 0; rc == 0 && i < item->names.count; i++) {
        size_t index = 0;
        const char *name = item->names.items[i];
        bool is_down = text_eq(spread->command->name, "down");
        bool erases_own = is_down && has_flag(spread, "destroy");
        if (is_down && !has_owner(&view, name)) {
            continue; /* it is down */
        }
        if (erases_own && is_left(spread, &view, name, ret->source)) {
            continue;
        }
        struct fleet_order *order = &ret->items[ret->count++];
        const struct vm_spec *spec = spec_of(spread, name, &index);
        order->change.name = name;
        if (!needs_spec) {
            set_power(spread, order);
            order->change.source = erases_own ? ret->source : NULL;
            continue;
        }
        if (!spec) {
            return error_set(
                err, ERR_VM_NOT_FOUND, "there is no vm '%s' in the VMFile", order->change.name);
        }
        set_spec(spread, order);
        struct vm_spec *sent = ret->specs[ret->count - 1] = vm_spec_copy(spec);
        order->change.spec = sent;
        order->change.source = ret->source;
        order->files = ret->files;
        rc = check_spec(spec, spread->load.file->places[index], err);
        rc = rc == 0 ? fleet_pack(sent, ret->files, err) : rc;
        struct strings *nodes = &ret->nodes[ret->count - 1];
        rc = rc == 0 ? choose_node(spread, &view, index, spec, promised, nodes, err) : rc;
        order->nodes = *nodes;
    }
    return rc;
}

/* `destroy --node-is-off`, one after another: the status is the worst. */
static int give_up_all(
    const struct spread *spread, const struct share_of_node *item, struct error *err)
{
    int worst = 0;
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < item->names.count; i++) {
        const struct fleet_move move = {
            .name = item->names.items[i], .verb = FLEET_MOVE_DESTROY, .is_off = true};
        rc = fleet_move_run(spread->cli, &move, true, 0, err);
        worst = rc > worst ? rc : worst;
    }
    return rc < 0 ? rc : worst;
}

/* ---- waiting ---- */

bool spread_waits_by_mirror(const struct spread *spread)
{
    const char *const *condition =
        text_eq(spread->command->name, "wait") ? option_of(spread, "for") : NULL;
    return condition && !*condition;
}

static bool is_given(const struct spread *spread, const char *name)
{
    for (const struct arg_option *o = spread->command->options; o && o->name; o++) {
        if (text_eq(o->name, name)) {
            return arg_is_given(o, spread->values);
        }
    }
    return false;
}

static int choose_goal(const struct spread *spread, struct goal *ret, struct error *err)
{
    static const struct {
        const char *option;
        enum goal_kind kind;
    } goals[] = {{"ready", GOAL_READY}, {"running", GOAL_RUNNING}, {"stopped", GOAL_STOPPED},
        {"suspended", GOAL_SUSPENDED}, {"provisioned", GOAL_PROVISIONED},
        {"deleted", GOAL_DELETED}};
    unsigned count = 0;
    *ret = (struct goal){.kind = GOAL_READY,
        .allows_drift = has_flag(spread, "allow-drift"),
        .is_patient = is_given(spread, "timeout")};
    for (size_t i = 0; i < ARRAY_LEN(goals); i++) {
        if (has_flag(spread, goals[i].option)) {
            ret->kind = goals[i].kind;
            count++;
        }
    }
    return count > 1 ? error_set(err, ERR_USAGE, "wait: the conditions exclude each other") : 0;
}

static int wait_for_all(
    const struct spread *spread, const struct share_of_node *item, struct error *err)
{
    const int64_t *timeout_ms = option_of(spread, "timeout");
    struct fleet_order *orders = mem_calloc(item->names.count, sizeof(*orders));
    struct goal goal;
    int rc = choose_goal(spread, &goal, err);
    for (size_t i = 0; i < item->names.count; i++) {
        orders[i] = (struct fleet_order){.change.name = item->names.items[i], .goal = goal};
    }
    rc = rc == 0 ? fleet_wait_run(spread->cli, orders, item->names.count,
                       timeout_ms ? *timeout_ms : FOLLOW_TIMEOUT_MS, err)
                 : rc;
    free(orders);
    return rc;
}

int spread_run_fleet(
    const struct spread *spread, const struct share_of_node *item, struct error *err)
{
    if (spread_waits_by_mirror(spread)) {
        return wait_for_all(spread, item, err);
    }
    cleanup_with(orders_clear) struct orders orders = {.count = 0};
    const int64_t *timeout_ms =
        text_eq(spread->command->name, "stop") ? NULL : option_of(spread, "timeout");
    int rc = check_options(spread, err);
    if (rc == 0 && has_flag(spread, "node-is-off")) {
        return give_up_all(spread, item, err);
    }
    rc = rc == 0 ? make_orders(spread, item, &orders, err) : rc;
    return rc < 0 || orders.count == 0
               ? rc
               : fleet_request_run(spread->cli, orders.items, orders.count,
                     has_flag(spread, "detach"), timeout_ms ? *timeout_ms : FOLLOW_TIMEOUT_MS, err);
}

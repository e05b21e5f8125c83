/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/fleet/fleet_vms.h"

#include <stdlib.h>

#include "cli/cli.h"
#include "cli/fleet/fleet_view.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_ask.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/vm/vm_desired.h"
#include "store/store.h"

/* Those of the fleet that the node has, in the order of their names; the others are counted. */
static void list_vms(
    const struct fleet_view *view, const char *node, struct strings *names, unsigned *ret_own)
{
    const char *row;
    json_t *value;
    *ret_own = 0;
    json_object_foreach(view->rows, row, value)
    {
        struct fleet_key key = fleet_row_parse(row);
        bool is_nodes = text_eq(key.first, node);
        if (is_nodes && key.kind == FLEET_KIND_VM) {
            strings_add(names, key.second);
        } else if (is_nodes && key.kind == FLEET_KIND_STATUS) {
            *ret_own += json_object_get(value, "desired") != NULL;
        }
        fleet_key_clear(&key);
    }
}

/* As for a new one; not to the node itself, whose row may not say yet that it takes no more. */
static char *choose_target(const struct fleet_view *view, const char *node, const char *name,
    json_t *promised, struct error *err)
{
    bool is_current;
    cleanup_with(strings_clear) struct strings nodes = {.count = 0};
    cleanup_with(vm_record_clear) struct vm_record record =
        fleet_view_record(view, node, name, &is_current);
    if (!record.desired) {
        (void)error_set(err, ERR_STORE, "cannot read the settings of vm '%s' in etcd", name);
        return NULL;
    }
    json_put_int(promised, node, INT32_MAX);
    int rc = fleet_choose_nodes(view, "any", record.desired->spec, promised, &nodes, err);
    return rc == 0 ? mem_strdup(nodes.items[0]) : NULL;
}

static int drain_one(struct cli *cli, const char *node, const char *name,
    const struct fleet_drain *drain, json_t *promised)
{
    struct error err = {.code = ERR_NONE};
    cleanup_with(fleet_view_clear) struct fleet_view view = {.config = NULL};
    cleanup_json json_t *with_this = json_deep_copy(promised);
    int rc = fleet_view_read(cli, &view, &err);
    cleanup_free char *to = rc == 0 ? choose_target(&view, node, name, with_this, &err) : NULL;
    if (to) {
        const struct fleet_move move = {.name = name,
            .verb = FLEET_MOVE_BEGIN,
            .to = to,
            .stops = drain->stops,
            .leaves_snapshots = drain->leaves_snapshots};
        rc = fleet_move_run(cli, &move, drain->is_detached, drain->timeout_ms, &err);
    }
    if (rc != 0 || drain->is_detached) { /* else the next view counts it there */
        (void)json_object_update(promised, with_this);
    }
    if (err.code != ERR_NONE) {
        cli_print_error(cli, &err);
        return error_exit_status(err.code);
    }
    return rc;
}

int fleet_drain_node(
    struct cli *cli, const char *node, const struct fleet_drain *drain, struct error *err)
{
    cleanup_with(strings_clear) struct strings names = {.count = 0};
    cleanup_with(fleet_view_clear) struct fleet_view view = {.config = NULL};
    cleanup_json json_t *promised = json_object();
    unsigned n_own;
    int worst = 0;
    int rc = fleet_view_read(cli, &view, err);
    if (rc < 0) {
        return rc;
    }
    enum { INTERRUPTED = 128 }; /* and the signal */
    list_vms(&view, node, &names, &n_own);
    for (size_t i = 0; i < names.count; i++) {
        int status = drain_one(cli, node, names.items[i], drain, promised);
        worst = status > worst ? status : worst;
        if (status > INTERRUPTED) { /* none of the others begins */
            return status;
        }
    }
    if (n_own > 0) {
        cli_note(cli,
            "node %s keeps %u VM%s of its own, which the fleet did not place: vmctl list -A", node,
            n_own, n_own == 1 ? "" : "s");
    }
    return worst;
}

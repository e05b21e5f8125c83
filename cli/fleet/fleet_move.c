/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/fleet/fleet_vms.h"

#include <stdlib.h>

#include "cli/cli.h"
#include "cli/fleet/fleet_view.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_ask.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_keys.h"
#include "store/store.h"

/* One that a host has for itself is copied by hand. */
static int refuse_unknown(struct cli *cli, const char *name, struct error *err)
{
    bool is_here = false;
    int rc = store_has(cli->store, name, &is_here, err);
    if (rc < 0) {
        return rc;
    }
    if (!is_here) {
        return error_set(err, ERR_VM_NOT_FOUND, "there is no vm '%s' in the fleet", name);
    }
    (void)error_set(err, ERR_VM_INVALID_STATE,
        "vm '%s' belongs to this host: the fleet moves only VMs that it placed", name);
    return error_help(err,
        "copy it: vmctl export %s - | ssh HOST vmctl import -; then: vmctl destroy %s", name, name);
}

/* What the user may have to wait for, and does not see. */
static int64_t note_wait(
    const struct cli *cli, const struct fleet_view *view, const char *from, bool is_off)
{
    cleanup_free char *row = fleet_row(FLEET_KIND_NODE, from, NULL);
    int64_t ttl_s = json_int(fleet_view_row(view, row), "ttl", FLEET_TTL_S), lost_ms;
    if (is_off || fleet_view_hears(view, from, &lost_ms)) {
        return 0;
    }
    cli_note(
        cli, "node %s is offline; waiting %lld s in case it comes back", from, (long long)ttl_s);
    return ttl_s * 1000 + ttl_s * 10;
}

int fleet_move_run(struct cli *cli, const struct fleet_move *move, bool is_detached,
    int64_t timeout_ms, struct error *err)
{
    cleanup_with(fleet_view_clear) struct fleet_view view = {.config = NULL};
    struct fleet_order order = {.change.name = move->name, .move = move, .goal.kind = GOAL_SETTLED};
    int rc = fleet_view_read(cli, &view, err);
    if (rc == 0 && !view.config) {
        return error_set(err, ERR_FLEET_CONFIG, "this host has joined no fleet");
    }
    if (rc < 0) {
        return rc;
    }
    cleanup_free char *row = fleet_row(FLEET_KIND_NAME, move->name, NULL);
    const char *from = json_text(fleet_view_row(&view, row), "node");
    order.done = move->verb == FLEET_MOVE_BEGIN ? "moved" : NULL;
    if (!from && fleet_view_is_fresh(&view)) {
        return refuse_unknown(cli, move->name, err);
    }
    bool is_loss = move->verb == FLEET_MOVE_RECREATE || move->verb == FLEET_MOVE_DESTROY;
    order.move_ms = from && is_loss ? note_wait(cli, &view, from, move->is_off) : 0;
    return fleet_request_run(cli, &order, 1, is_detached, timeout_ms, err);
}

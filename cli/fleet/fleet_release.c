/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/fleet/fleet_vms.h"

#include <stdlib.h>

#include "cli/cli.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "store/batch.h"
#include "store/store.h"

static int has_row(
    struct cli *cli, const char *node, const char *name, bool *ret, struct error *err)
{
    cleanup_free char *row = fleet_row(FLEET_KIND_VM, node, name);
    cleanup_json json_t *json = NULL;
    int rc = store_get_json(cli->store, STORE_FLEET, row, &json, err);
    *ret = rc == 0 && json;
    return rc;
}

/* That it was the fleet's stays: etcd may have it, if that was not asked, and this host may join
 * again. */
static void release_one(struct store_batch *batch, const struct vm_desired *desired)
{
    struct vm_desired *own = vm_desired_copy(desired);
    char *home = own->fleet.home ? own->fleet.home : mem_strdup("?");
    free(own->fleet.move_to);
    own->fleet = (struct vm_fleet){.home = home};
    store_batch_put_desired(batch, own, desired->revision);
    vm_desired_free(own);
}

/* One that is on its way stays off: the other node may have it by now, or get it. */
static void note_released(struct cli *cli, const struct vm_desired *desired)
{
    const char *name = desired->spec->name, *to = desired->fleet.move_to;
    if (to) {
        cli_note(cli,
            "%s: belongs to this host from now on and stays off: it was moving to node %s, and "
            "must not run on both",
            name, to);
    } else {
        cli_note(cli, "%s: belongs to this host from now on", name);
    }
}

int fleet_release_vms(struct cli *cli, const char *node, struct error *err)
{
    struct vm_list list = {.count = 0};
    struct store_batch *batch = store_batch_new();
    int rc = cli_open_store(cli, err);
    rc = rc == 0 ? store_list(cli->store, &list, err) : rc;
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        const struct vm_desired *desired = list.records[i].desired;
        bool is_fenced = desired && desired->fleet.is_fenced; /* it is another node's */
        bool is_fleets = desired && desired->fleet.epoch && !is_fenced, stays = false;
        rc = is_fleets && node ? has_row(cli, node, list.records[i].name, &stays, err) : 0;
        if (rc == 0 && is_fleets && !stays) {
            release_one(batch, desired);
            note_released(cli, desired);
        }
    }
    rc = rc == 0 && !store_batch_is_empty(batch) ? store_commit(cli->store, batch, err) : rc;
    vm_list_clear(&list);
    store_batch_free(batch);
    return rc;
}

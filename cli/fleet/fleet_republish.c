/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/fleet/fleet_vms.h"

#include <stdlib.h>

#include "cli/cli.h"
#include "cli/fleet/fleet_view.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/vm/vm_desired.h"
#include "store/store.h"

/* VMs of the fleet that are here, and which etcd does not have. */
static int find_missing(struct cli *cli, struct strings *ret, struct error *err)
{
    cleanup_free char *own = fleet_own_node(cli);
    struct vm_list list = {.count = 0};
    int rc = cli_open_store(cli, err);
    rc = rc == 0 ? store_list(cli->store, &list, err) : rc;
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        const struct vm_desired *desired = list.records[i].desired;
        cleanup_free char *row = fleet_row(FLEET_KIND_VM, own ? own : "", list.records[i].name);
        cleanup_json json_t *object = NULL;
        bool is_fleets = desired && desired->fleet.epoch && !desired->fleet.is_fenced;
        rc = is_fleets ? store_get_json(cli->store, STORE_FLEET, row, &object, err) : 0;
        if (rc == 0 && is_fleets && !object) {
            strings_add(ret, list.records[i].name);
        }
    }
    vm_list_clear(&list);
    return rc;
}

int fleet_republish(struct cli *cli, const char *const *names, size_t count, struct error *err)
{
    cleanup_with(strings_clear) struct strings all = {.count = 0};
    int rc = count == 0 ? find_missing(cli, &all, err) : 0;
    for (size_t i = 0; i < count; i++) {
        strings_add(&all, names[i]);
    }
    if (rc < 0) {
        return rc;
    }
    if (all.count == 0) {
        cli_note(cli, "etcd has all VMs of the fleet on this host");
        return 0;
    }
    struct fleet_order *orders = mem_calloc(all.count, sizeof(*orders));
    for (size_t i = 0; i < all.count; i++) {
        orders[i] = (struct fleet_order){
            .change.name = all.items[i], .republishes = true, .goal.kind = GOAL_SETTLED};
    }
    rc = fleet_request_run(cli, orders, all.count, true, 0, err);
    free(orders);
    return rc;
}

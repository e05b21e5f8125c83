/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/port_lease.h"

#include <stdio.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "store/batch.h"

int port_lease_check(struct store *store, const struct vm_desired *desired, struct error *err)
{
    const struct vm_spec *spec = desired->spec;
    for (size_t i = 0; i < spec->network.n_forwards; i++) {
        char uid[TEXT_ID_SIZE];
        cleanup_free char *key = forward_lease_key(&spec->network.forwards[i]);
        cleanup_free char *holder = NULL;
        int rc = store_lease_holder(store, key, uid, &holder, err);
        if (rc < 0) {
            return rc;
        }
        if (uid[0] && !text_eq(uid, desired->uid)) {
            return error_set(err, ERR_VM_CONFLICT, "host port %s of vm '%s' is used by vm '%s'",
                key, spec->name, holder ? holder : "?");
        }
    }
    return 0;
}

void port_lease_take(struct store_batch *batch, const struct vm_desired *desired)
{
    const struct vm_spec *spec = desired->spec;
    for (size_t i = 0; i < spec->network.n_forwards; i++) {
        cleanup_free char *key = forward_lease_key(&spec->network.forwards[i]);
        char purpose[] = "port"; /* as the controller's own leases of ports */
        struct lease lease = {.key = key, .vm_name = spec->name, .purpose = purpose};
        (void)snprintf(lease.uid, sizeof(lease.uid), "%s", desired->uid);
        store_batch_take_lease(batch, &lease);
    }
}

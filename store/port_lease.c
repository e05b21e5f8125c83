/* SPDX-License-Identifier: MPL-2.0 */
#include "store/port_lease.h"

#include <stdio.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "store/batch.h"

/* "tcp/65535": as the controller calls it. */
enum { KEY_SIZE = 16 };

static void write_key(const struct spec_forward *forward, char ret[KEY_SIZE])
{
    (void)snprintf(ret, KEY_SIZE, "%s/%u", forward_protocol_name(forward->protocol),
        forward->host_port);
}

int port_lease_check(struct store *store, const struct vm_desired *desired, struct error *err)
{
    const struct vm_spec *spec = desired->spec;
    for (size_t i = 0; i < spec->network.n_forwards; i++) {
        char key[KEY_SIZE], uid[TEXT_ID_SIZE];
        cleanup_free char *holder = NULL;
        write_key(&spec->network.forwards[i], key);
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
        char key[KEY_SIZE];
        char purpose[] = "port"; /* as the controller's own leases of ports */
        struct lease lease = {.key = key, .vm_name = spec->name, .purpose = purpose};
        write_key(&spec->network.forwards[i], key);
        (void)snprintf(lease.uid, sizeof(lease.uid), "%s", desired->uid);
        store_batch_take_lease(batch, &lease);
    }
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/spec_leases.h"

#include <stdio.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "specs/vm/lease_key.h"
#include "specs/vm/vm_desired.h"
#include "store/batch.h"

int spec_leases_check(struct store *store, const struct vm_desired *desired, struct error *err)
{
    const struct vm_spec *spec = desired->spec;
    for (size_t i = 0;; i++) {
        char uid[TEXT_ID_SIZE];
        cleanup_free char *key = vm_spec_lease_key(spec, i);
        cleanup_free char *holder = NULL;
        int rc = key ? store_lease_holder(store, key, uid, &holder, err) : 0;
        if (rc < 0 || !key) {
            return rc;
        }
        if (uid[0] && !text_eq(uid, desired->uid)) {
            cleanup_free char *what = lease_in_words(key);
            (void)error_set(err, ERR_VM_CONFLICT, "%s of vm '%s' is used by vm '%s'", what,
                spec->name, holder ? holder : "?");
            return error_help(err, "choose another one; see which VM has it: vmctl status %s",
                holder ? holder : "");
        }
    }
}

void spec_leases_take(struct store_batch *batch, const struct vm_desired *desired)
{
    const struct vm_spec *spec = desired->spec;
    for (size_t i = 0;; i++) {
        cleanup_free char *key = vm_spec_lease_key(spec, i);
        if (!key) {
            return;
        }
        struct lease lease = {
            .key = key, .vm_name = spec->name, .purpose = (char *)(uintptr_t)lease_purpose(key)};
        (void)snprintf(lease.uid, sizeof(lease.uid), "%s", desired->uid);
        store_batch_take_lease(batch, &lease);
    }
}

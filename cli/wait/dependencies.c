/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/dependencies.h"

#include <stddef.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/vm/dependency.h"
#include "store/store.h"

bool dependencies_stalled(const struct vm_record *record)
{
    const struct condition *stalled =
        record->status ? &record->status->conditions[CONDITION_STALLED] : NULL;
    return record->desired && stalled && stalled->state == CONDITION_TRUE &&
           stalled->reason == REASON_WAITING_FOR_DEPENDENCY;
}

/* VMFiles have no cycle, but records of several commands may: `depth`. */
static bool is_in_vain(struct store *store, const struct vm_record *record, int depth)
{
    const struct vm_spec *spec = record->desired->spec;
    bool ret = false;
    for (size_t i = 0; depth > 0 && !ret && i < spec->n_depends_on; i++) {
        cleanup_with(vm_record_clear) struct vm_record other = {.name = NULL};
        struct error ignored = {.code = ERR_NONE};
        ret = store_get(store, spec->depends_on[i], &other, &ignored) == 0 &&
              dependency_state(spec->depends_on[i], other.desired, other.status, &ignored) >
                  DEPENDENCY_COMING &&
              (!dependencies_stalled(&other) || is_in_vain(store, &other, depth - 1));
    }
    return ret;
}

bool dependencies_are_stuck(struct store *store, const struct vm_record *record)
{
    enum { DEPTH_MAX = 64 };
    return is_in_vain(store, record, DEPTH_MAX);
}

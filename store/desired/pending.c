/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/pending.h"

#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"
#include "store/desired/impact.h"
#include "store/store.h"

struct spec_diff pending_changes(const struct vm_record *record, const struct vm_spec *spec)
{
    struct spec_diff diff = {.strongest = DISPOSITION_LIVE};
    const struct vm_spec *applied = record->status ? record->status->applied_spec : NULL;
    if (applied) {
        diff = record_diff(record, applied, spec, true);
    } else if (record->desired) {
        diff = record_diff(record, record->desired->spec, spec, true);
    }
    return diff;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/pending.h"

#include "specs/base/cleanup.h"
#include "specs/base/text.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "store/desired/impact.h"
#include "store/store.h"

struct spec_diff pending_changes(const struct vm_record *record, const struct vm_spec *spec)
{
    struct spec_diff diff = {.strongest = DISPOSITION_LIVE};
    /* The machine has what is attached by hand, too. */
    struct vm_spec *whole = record->desired ? vm_desired_attach(record->desired, spec) : NULL;
    const struct vm_spec *applied = record->status ? record->status->applied_spec : NULL;
    if (applied) {
        diff = record_diff(record, applied, whole ? whole : spec, true);
    } else if (record->desired) {
        diff = record_diff(record, record->desired->spec, spec, true);
    }
    vm_spec_free(whole);
    return diff;
}

bool pending_needs(const struct spec_diff *diff, enum disposition disposition)
{
    for (size_t i = 0; i < diff->count; i++) {
        if (diff->changes[i].disposition == disposition) {
            return true;
        }
    }
    return false;
}

bool record_has_instance(const struct vm_record *record)
{
    return record->status && record->status->instance.instance_id[0];
}

static bool is_handled(const char *token, const char *handled)
{
    return !token[0] || text_eq(token, handled);
}

bool record_is_at_rest(const struct vm_record *record)
{
    const struct vm_desired *desired = record->desired;
    const struct vm_status *status = record_status(record);
    if (!desired || !status || status->observed_generation < desired->generation ||
        record_has_instance(record)) {
        return false;
    }
    bool is_coming = desired->origin && desired->origin->import && !status->prepared.digest[0];
    return !is_coming && is_handled(desired->recreate_token, status->handled_recreate_token) &&
           is_handled(desired->snapshot.token, status->handled_snapshot_token);
}

enum reason record_drift(const struct vm_record *record, const struct vm_spec *spec)
{
    const struct vm_status *status = record_status(record);
    const struct condition *synced = status ? &status->conditions[CONDITION_SYNCED] : NULL;
    if (!synced || synced->state != CONDITION_FALSE ||
        synced->observed_generation < record->desired->generation) {
        return REASON_NONE;
    }
    return vm_spec_equal(spec, record->desired->spec) ? synced->reason : REASON_NONE;
}

static bool has_pending(
    const struct vm_record *record, const struct vm_spec *spec, enum disposition disposition)
{
    cleanup_with(spec_diff_clear) struct spec_diff pending = pending_changes(record, spec);
    return pending_needs(&pending, disposition);
}

bool record_needs_restart(const struct vm_record *record, const struct vm_spec *spec)
{
    return has_pending(record, spec, DISPOSITION_RESTART) ||
           record_drift(record, spec) == REASON_RESTART_REQUIRED;
}

bool record_needs_new_disk(const struct vm_record *record, const struct vm_spec *spec)
{
    const struct vm_status *status = record->status;
    return (status &&
               status->conditions[CONDITION_IMAGE_READY].reason == REASON_BACKING_IMAGE_CHANGED) ||
           has_pending(record, spec, DISPOSITION_RECREATE) ||
           record_drift(record, spec) == REASON_RECREATE_REQUIRED;
}

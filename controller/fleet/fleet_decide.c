/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/fleet_decide.h"

#include "specs/base/cleanup.h"

#define PREDICATE(name, expression)                                                                \
    static bool name(const struct fleet_situation *s)                                              \
    {                                                                                              \
        return (expression);                                                                       \
    }

/* ---- what several rows need ---- */

PREDICATE(is_ours, s->has_object && s->has_record && s->is_same_vm)
PREDICATE(is_of_epoch, is_ours(s) && s->epoch == s->object_epoch)
/* Of an epoch at or above ours: it was given to another node, or destroyed, behind our back. */
PREDICATE(is_buried, s->has_tombstone && s->has_record && s->is_fleets &&
                         s->tombstone_epoch >= s->epoch && !is_of_epoch(s))

/* ---- one predicate a row, in the table's order ---- */

PREDICATE(foreign, s->is_foreign)
PREDICATE(unread, !s->is_read)
PREDICATE(fenced, s->has_record && s->is_fenced)
PREDICATE(buried, is_buried(s))
/* Files of before, or a machine, of which this host has lost the record. */
PREDICATE(left_behind, s->has_tombstone && !s->has_record && (s->has_directory || s->is_locked) &&
                           !(s->has_object && s->object_epoch <= s->tombstone_epoch))
/* Else etcd says both: it was put together of two states. */
PREDICATE(cleared, s->has_spent_tombstone ||
                       (s->has_tombstone && !(is_of_epoch(s) && s->tombstone_epoch >= s->epoch)))
/* A VM of this host alone that has the name: the fleet's was never made here, or is gone. */
PREDICATE(is_anothers, s->has_record && !s->is_fleets && !s->is_same_vm)
PREDICATE(destroyed, s->has_object && s->is_object_deleting &&
                         (is_anothers(s) || (!s->has_record && !s->has_directory && !s->is_locked)))
PREDICATE(missing, s->has_object && !s->has_record)
PREDICATE(name_taken, s->has_object && !s->is_same_vm)
PREDICATE(old_epoch, is_ours(s) && s->object_epoch < s->epoch)
PREDICATE(ahead, is_of_epoch(s) && s->is_ahead && s->base == s->object_generation)
PREDICATE(outrun, is_of_epoch(s) && s->is_ahead)
PREDICATE(changed, is_ours(s) && (s->object_epoch != s->epoch || !s->is_fleets ||
                                     s->object_generation != s->generation))
PREDICATE(offered, is_of_epoch(s) && s->is_moving && s->is_offered)
/* It stays off: its record says so, until etcd says something else. */
PREDICATE(moving_off, is_of_epoch(s) && s->is_moving && s->is_settled && !s->is_locked)
PREDICATE(moving, is_of_epoch(s) && s->is_moving)
PREDICATE(orphaned, !s->has_object && s->has_record && s->is_fleets)

static const struct {
    bool (*applies)(const struct fleet_situation *s);
    enum fleet_action action;
} rows[] = {
    {foreign, FLEET_REPORT_FROZEN},
    {unread, FLEET_WAIT},
    {fenced, FLEET_AWAIT_CLEARED},
    {buried, FLEET_FENCE},
    {left_behind, FLEET_FENCE},
    {cleared, FLEET_REMOVE_TOMBSTONE},
    {destroyed, FLEET_COMMIT_DESTROYED},
    {missing, FLEET_WRITE_NEW},
    {name_taken, FLEET_REPORT_NAME_TAKEN},
    {old_epoch, FLEET_REPORT_OLD_EPOCH},
    {ahead, FLEET_PUSH},
    {outrun, FLEET_DROP_OVERRIDE},
    {changed, FLEET_WRITE_CHANGE},
    {offered, FLEET_NOTHING},
    {moving_off, FLEET_OFFER},
    {moving, FLEET_AWAIT_STOP},
    {orphaned, FLEET_REPORT_ORPHANED},
};

enum fleet_action fleet_decide(const struct fleet_situation *situation)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].applies(situation)) {
            return rows[i].action;
        }
    }
    return FLEET_NOTHING;
}

const char *fleet_action_name(enum fleet_action action)
{
    static const char *const names[] = {
        [FLEET_WAIT] = "Wait",
        [FLEET_REPORT_FROZEN] = "ReportFrozen",
        [FLEET_COMMIT_DESTROYED] = "CommitDestroyed",
        [FLEET_WRITE_NEW] = "WriteNew",
        [FLEET_REPORT_NAME_TAKEN] = "ReportNameTaken",
        [FLEET_REPORT_OLD_EPOCH] = "ReportOldEpoch",
        [FLEET_PUSH] = "Push",
        [FLEET_DROP_OVERRIDE] = "DropOverride",
        [FLEET_WRITE_CHANGE] = "WriteChange",
        [FLEET_OFFER] = "Offer",
        [FLEET_AWAIT_STOP] = "AwaitStop",
        [FLEET_FENCE] = "Fence",
        [FLEET_AWAIT_CLEARED] = "AwaitCleared",
        [FLEET_REMOVE_TOMBSTONE] = "RemoveTombstone",
        [FLEET_REPORT_ORPHANED] = "ReportOrphaned",
        [FLEET_NOTHING] = "Nothing",
    };
    _Static_assert(ARRAY_LEN(names) == FLEET_ACTION_COUNT_, "every action has a name");
    return names[action];
}

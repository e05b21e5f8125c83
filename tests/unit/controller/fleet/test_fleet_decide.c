/* SPDX-License-Identifier: MPL-2.0 */
/* Each row of the table by what it is for, and that an earlier row counts first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/fleet/fleet_decide.h"
#include "specs/base/cleanup.h"
#pragma GCC diagnostic ignored "-Woverride-init" /* an item says how it differs */

#define READ .is_read = true
#define OBJECT .has_object = true, .object_epoch = 2, .object_generation = 5
#define OURS                                                                                       \
    .has_record = true, .is_fleets = true, .is_same_vm = true, .epoch = 2, .generation = 5,        \
    .has_directory = true

static const struct golden {
    const char *name;
    struct fleet_situation situation;
    enum fleet_action action;
} goldens[] = {
    {"all is well", {READ, OBJECT, OURS}, FLEET_NOTHING},
    {"it runs, and all is well", {READ, OBJECT, OURS, .is_locked = true}, FLEET_NOTHING},
    {"a VM of this host alone", {READ, .has_record = true, .has_directory = true}, FLEET_NOTHING},
    {"nothing at all", {READ}, FLEET_NOTHING},

    {"another fleet", {READ, OBJECT, .is_foreign = true}, FLEET_REPORT_FROZEN},
    {"another fleet, before it was read", {.is_foreign = true}, FLEET_REPORT_FROZEN},
    {"another fleet that says it is gone",
        {READ, OURS, .has_tombstone = true, .tombstone_epoch = 9, .is_foreign = true},
        FLEET_REPORT_FROZEN},
    {"not read yet", {OURS}, FLEET_WAIT},

    {"deleted, and nothing is left", {READ, OBJECT, .is_object_deleting = true},
        FLEET_COMMIT_DESTROYED},
    {"deleted, and its directory is left",
        {READ, OBJECT, .is_object_deleting = true, .has_directory = true}, FLEET_WRITE_NEW},
    {"deleted, and its record is left", {READ, OBJECT, OURS, .is_object_deleting = true},
        FLEET_NOTHING},
    {"not deleted, and nothing is here", {READ, OBJECT}, FLEET_WRITE_NEW},
    {"its record was lost while it runs", {READ, OBJECT, .has_directory = true, .is_locked = true},
        FLEET_WRITE_NEW},
    {"the directory of an earlier life, whose record is lost",
        {READ, OBJECT, .has_directory = true, .has_tombstone = true, .tombstone_epoch = 1},
        FLEET_FENCE},
    {"a machine of an earlier life, whose record is lost",
        {READ, .is_locked = true, .has_tombstone = true, .tombstone_epoch = 1}, FLEET_FENCE},
    {"the directory of this life, whose record is lost",
        {READ, OBJECT, .has_directory = true, .has_tombstone = true, .tombstone_epoch = 2},
        FLEET_REMOVE_TOMBSTONE},

    {"a local VM has the name", {READ, OBJECT, .has_record = true, .has_directory = true},
        FLEET_REPORT_NAME_TAKEN},
    {"a local VM has the name of one that is deleted",
        {READ, OBJECT, .is_object_deleting = true, .has_record = true, .has_directory = true,
            .is_locked = true},
        FLEET_COMMIT_DESTROYED},
    {"a VM of the fleet has the name of one that is deleted",
        {READ, OBJECT, .is_object_deleting = true, .has_record = true, .is_fleets = true},
        FLEET_REPORT_NAME_TAKEN},
    {"etcd is of before", {READ, OBJECT, OURS, .epoch = 3}, FLEET_REPORT_OLD_EPOCH},
    {"etcd is of before, and says that it is deleted",
        {READ, OBJECT, OURS, .epoch = 3, .is_object_deleting = true}, FLEET_REPORT_OLD_EPOCH},

    {"changed here", {READ, OBJECT, OURS, .is_ahead = true, .generation = 6, .base = 5},
        FLEET_PUSH},
    {"changed here and there",
        {READ, OBJECT, OURS, .object_generation = 7, .is_ahead = true, .generation = 6, .base = 5},
        FLEET_DROP_OVERRIDE},
    {"changed there", {READ, OBJECT, OURS, .generation = 4}, FLEET_WRITE_CHANGE},
    {"an older vmctl forgot whose it is", {READ, OBJECT, OURS, .is_fleets = false, .epoch = 0},
        FLEET_WRITE_CHANGE},
    {"a new epoch, which is ours", {READ, OBJECT, OURS, .epoch = 1}, FLEET_WRITE_CHANGE},

    {"it moves, and is off", {READ, OBJECT, OURS, .is_moving = true, .is_settled = true},
        FLEET_OFFER},
    {"it moves, and a start may be under way", {READ, OBJECT, OURS, .is_moving = true},
        FLEET_AWAIT_STOP},
    {"it moves and runs",
        {READ, OBJECT, OURS, .is_moving = true, .is_settled = true, .is_locked = true},
        FLEET_AWAIT_STOP},
    {"it moves, and is being fetched",
        {READ, OBJECT, OURS, .is_moving = true, .is_offered = true, .is_settled = true},
        FLEET_NOTHING},
    {"it moves, and its record here does not say so yet",
        {READ, OBJECT, OURS, .generation = 4, .is_moving = true, .is_settled = true},
        FLEET_WRITE_CHANGE},
    {"it moves, and was changed here",
        {READ, OBJECT, OURS, .is_ahead = true, .base = 4, .generation = 5, .is_moving = true,
            .is_settled = true},
        FLEET_DROP_OVERRIDE},

    {"it is another's, and runs",
        {READ, OURS, .has_tombstone = true, .tombstone_epoch = 2, .is_locked = true}, FLEET_FENCE},
    {"it is another's, and off: also a start may be under way",
        {READ, OURS, .has_tombstone = true, .tombstone_epoch = 2}, FLEET_FENCE},
    {"its name is another VM's",
        {READ, OBJECT, OURS, .is_same_vm = false, .has_tombstone = true, .tombstone_epoch = 2},
        FLEET_FENCE},
    {"it is being ended",
        {READ, OURS, .is_fenced = true, .has_tombstone = true, .tombstone_epoch = 2,
            .is_locked = true},
        FLEET_AWAIT_CLEARED},
    {"it is being ended, and ours again by now",
        {READ, OBJECT, OURS, .object_epoch = 3, .is_fenced = true, .has_tombstone = true,
            .tombstone_epoch = 2},
        FLEET_AWAIT_CLEARED},
    {"it is being ended, and etcd was wiped", {READ, OURS, .is_fenced = true}, FLEET_AWAIT_CLEARED},
    {"it is ours again, and the life before is here",
        {READ, OBJECT, OURS, .object_epoch = 3, .has_tombstone = true, .tombstone_epoch = 2},
        FLEET_FENCE},
    {"nothing is left of it", {READ, .has_tombstone = true, .tombstone_epoch = 2},
        FLEET_REMOVE_TOMBSTONE},
    {"nothing is left of it, and it is ours again",
        {READ, OBJECT, .has_tombstone = true, .tombstone_epoch = 1}, FLEET_REMOVE_TOMBSTONE},
    {"another VM of the name was another's", {READ, OBJECT, OURS, .has_spent_tombstone = true},
        FLEET_REMOVE_TOMBSTONE},
    {"an earlier life of it ended", {READ, OURS, .has_tombstone = true, .tombstone_epoch = 1},
        FLEET_REMOVE_TOMBSTONE},
    {"it came back to us", {READ, OBJECT, OURS, .has_tombstone = true, .tombstone_epoch = 2},
        FLEET_NOTHING},
    {"a tombstone of a VM that is not the fleet's",
        {READ, .has_record = true, .has_directory = true, .has_tombstone = true,
            .tombstone_epoch = 2},
        FLEET_REMOVE_TOMBSTONE},
    {"etcd was wiped", {READ, OURS, .is_locked = true}, FLEET_REPORT_ORPHANED},
    {"etcd was wiped, and it is ahead", {READ, OURS, .is_ahead = true, .base = 5},
        FLEET_REPORT_ORPHANED},
};

static void each_situation_has_its_action(void **state)
{
    (void)state;
    bool is_seen[FLEET_ACTION_COUNT_] = {false};
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        enum fleet_action action = fleet_decide(&goldens[i].situation);
        if (action != goldens[i].action) {
            fail_msg("%s: %s, not %s", goldens[i].name, fleet_action_name(action),
                fleet_action_name(goldens[i].action));
        }
        is_seen[action] = true;
    }
    for (int i = 0; i < FLEET_ACTION_COUNT_; i++) {
        if (!is_seen[i]) {
            fail_msg("no situation for %s", fleet_action_name((enum fleet_action)i));
        }
    }
}

/* Every combination of the flags, with epochs and generations that are below, at and above. */
static void nothing_is_erased_without_a_mark_nor_done_when_frozen(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 1 << 14; bits++) {
        for (uint64_t epoch = 0; epoch < 9; epoch++) {
            const struct fleet_situation s = {
                .is_foreign = bits & 1,
                .is_read = bits & 2,
                .has_object = bits & 4,
                .is_object_deleting = (bits & 8) && (bits & 4),
                .is_moving = bits & 16,
                .object_epoch = epoch % 3,
                .object_generation = 5,
                .has_tombstone = bits & 32,
                .tombstone_epoch = epoch / 3,
                .has_record = bits & 64,
                .is_fleets = bits & 128,
                .is_same_vm = bits & 256,
                .is_ahead = bits & 512,
                .epoch = 1,
                .generation = 5 + (bits & 1024 ? 1 : 0),
                .base = 5,
                .has_directory = bits & 2048,
                .is_locked = bits & 4096,
                .is_fenced = bits & 8192,
            };
            enum fleet_action action = fleet_decide(&s);
            if (s.is_foreign || !s.is_read) {
                assert_true(action == FLEET_REPORT_FROZEN || action == FLEET_WAIT);
            }
            if (action == FLEET_FENCE) {
                bool is_fleets = s.has_record && s.is_fleets && s.tombstone_epoch >= s.epoch;
                bool is_lost = !s.has_record && (s.has_directory || s.is_locked);
                assert_true(s.has_tombstone && (is_fleets || is_lost));
            }
            if (action == FLEET_REMOVE_TOMBSTONE) {
                assert_true(s.has_tombstone || s.has_spent_tombstone);
                assert_true(!s.has_record || !s.is_fleets || s.epoch > s.tombstone_epoch);
            }
            if (s.has_record && s.is_fenced && s.is_read && !s.is_foreign) {
                assert_int_equal(action, FLEET_AWAIT_CLEARED);
            }
            if (action == FLEET_COMMIT_DESTROYED) {
                bool is_gone = !s.has_record && !s.has_directory && !s.is_locked;
                assert_true(s.is_object_deleting);
                assert_true(is_gone || (s.has_record && !s.is_fleets && !s.is_same_vm));
            }
            if (action == FLEET_WRITE_NEW) {
                assert_true(s.has_object && !s.has_record);
            }
            if (action == FLEET_WRITE_CHANGE) {
                assert_true(s.has_object && s.is_same_vm && s.object_epoch >= s.epoch);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_situation_has_its_action),
        cmocka_unit_test(nothing_is_erased_without_a_mark_nor_done_when_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* Wishes on a store, and a controller's answers to them. */
#pragma once

#include "store/desired/change.h"
#include "tests/unit/store/store_fixture.h"

/* A wish that succeeds: its outcome is what the record says. */
static inline enum change_result apply(struct store *store, struct change change)
{
    struct change_outcome outcome = {0};
    struct error err = {0};
    must(change_apply(store, &change, 1, &outcome, &err), &err);
    struct vm_record record = get_vm(store, change.name);
    assert_string_equal(record.desired->uid, outcome.uid);
    assert_int_equal(record.desired->generation, outcome.generation);
    vm_record_clear(&record);
    change_outcome_clear(&outcome);
    return outcome.result;
}

static inline uint64_t generation_of(struct store *store, const char *name)
{
    struct vm_record record = get_vm(store, name);
    uint64_t generation = record.desired->generation;
    vm_record_clear(&record);
    return generation;
}

/* Writes what the controller would: `change` gets the status of the VM as it is desired now. */
static inline void write_status(
    struct store *store, const char *name, void (*change)(struct vm_status *status))
{
    struct vm_record record = get_vm(store, name);
    struct vm_status *status = vm_status_new(record.desired->uid);
    struct store_batch *batch = store_batch_new();
    status->observed_generation = record.desired->generation;
    change(status);
    store_batch_put_status(batch, name, status);
    assert_int_equal(commit(store, batch), 0);
    vm_status_free(status);
    vm_record_clear(&record);
}

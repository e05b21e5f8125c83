/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/change.h"

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/applied_files.h"
#include "specs/vm/vm_spec.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/desired/change_decide.h"
#include "store/desired/rename.h"
#include "store/desired/spec_leases.h"
#include "store/desired/volume_check.h"

/* One try of a change: the stored record, the next one, and the outcome to report. */
struct attempt {
    const struct change *change;
    const struct vm_record *record; /* the caller's, or what was read since */
    struct vm_record own;
    struct vm_desired *next; /* NULL: it was refused */
    struct change_outcome outcome;
};

/* ---- what this host's store says ---- */

static int on_name(void *context, const char *name, struct error *err)
{
    return rename_check_free(context, name, err);
}

static int on_dependencies(
    void *context, const struct vm_spec *before, const struct vm_spec *spec, struct error *err)
{
    return rename_check_dependencies(context, before, spec, err);
}

static int on_attach(void *context, const struct vm_desired *desired,
    const struct spec_volume *volume, struct error *err)
{
    return volume_check_attach(context, desired, volume, err);
}

static int on_ports(void *context, const struct vm_desired *next, struct error *err)
{
    return spec_leases_check(context, next, err);
}

/* A VM that was renamed since has its snapshot elsewhere, and another may have its name. */
static int check_origin(struct store *store, const struct change *change, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = change->origin_uid ? store_get(store, change->origin->vm, &record, err) : 0;
    bool is_there = record.desired && text_eq(record.desired->uid, change->origin_uid);
    if (rc < 0 || !change->origin_uid || is_there) {
        return rc;
    }
    (void)error_set(err, ERR_VM_CONFLICT, "vm '%s' was renamed, destroyed or replaced meanwhile",
        change->origin->vm);
    return error_help(err, "see: vmctl list");
}

/* ---- read, decide, compare and set ---- */

static void put_next(struct store_batch *batch, const struct attempt *attempt)
{
    const struct vm_desired *stored = attempt->record->desired;
    if (!vm_desired_equal(stored, attempt->next)) {
        store_batch_put_desired(batch, attempt->next, stored ? stored->revision : 0);
    }
    if (change_takes_ports(attempt->change, attempt->record)) {
        spec_leases_take(batch, attempt->next);
    }
    if (!stored && attempt->change->origin_uid) {
        store_batch_expect_vm(batch, attempt->change->origin->vm, attempt->change->origin_uid);
    }
}

static int work_out(struct store *store, struct attempt *attempt, bool is_plan, struct error *err)
{
    static const struct vm_record gone = {.name = NULL};
    const struct change_host host = {on_name, on_dependencies, on_attach, on_ports, store};
    bool is_changed = true;
    const struct vm_record *known = attempt->change->known;
    struct vm_mark mark = known ? known->mark : VM_MARK_NEVER;
    int rc =
        store_get_changed(store, attempt->change->name, &mark, &attempt->own, &is_changed, err);
    attempt->record = rc == 0 && !is_changed ? known : &attempt->own;
    const struct vm_desired *stored = attempt->record->desired;
    if (rc == 0 && is_plan && stored && stored->is_deleting) {
        attempt->record = &gone;
    }
    rc = rc == 0 && !attempt->record->desired ? check_origin(store, attempt->change, err) : rc;
    if (rc < 0) {
        return rc;
    }
    const struct change_input input = {.change = attempt->change,
        .record = attempt->record,
        .host = &host,
        .now_ms = clock_wall_ms(clock_system()),
        .is_plan = is_plan};
    return change_decide(&input, &attempt->next, &attempt->outcome, err);
}

/* Tries all changes once: commits them, or with `ret_rings` NULL only plans the outcomes.
 * *ret_rings: the controller has something to do for them. */
static int try_once(struct store *store, const struct change *changes, size_t count,
    const struct change_extra *extra, struct change_outcome *ret, bool *ret_rings,
    struct error *err)
{
    struct store_batch *batch = store_batch_new();
    cleanup_free struct attempt *attempts = mem_calloc(count, sizeof(*attempts));
    for (size_t i = 0; i < count; i++) {
        attempts[i] = (struct attempt){.change = &changes[i]};
    }
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = work_out(store, &attempts[i], !ret_rings, err);
        if (rc == 0) {
            put_next(batch, &attempts[i]);
        }
    }
    if (rc == 0 && extra) {
        rc = extra->add(extra->context, batch, err);
    }
    if (rc == 0 && ret_rings && !store_batch_is_empty(batch)) {
        rc = store_commit(store, batch, err);
        *ret_rings = rc == 0;
    }
    for (size_t i = 0; i < count; i++) {
        const struct vm_record *record = attempts[i].record;
        const struct vm_status *status = record ? record->status : NULL;
        const struct vm_desired *desired = record ? record->desired : NULL;
        bool is_unseen = desired && (!status || status->observed_generation != desired->generation);
        if (ret_rings && (is_unseen || (status && status->instance.pid > 0))) {
            /* The command that committed it may have been killed before the bell; and a machine
             * may have been changed by others, which is checked. */
            *ret_rings = true;
        }
        if (rc == 0) {
            ret[i] = attempts[i].outcome;
        } else {
            change_outcome_clear(&attempts[i].outcome);
        }
        vm_record_clear(&attempts[i].own);
        vm_desired_free(attempts[i].next);
    }
    store_batch_free(batch);
    return rc;
}

int change_apply_with(struct store *store, const struct change *changes, size_t count,
    const struct change_extra *extra, struct change_outcome *ret, struct error *err)
{
    enum { TRIES = 100 }; /* every lost try means that another process committed */
    bool rings = false;
    int rc = try_once(store, changes, count, extra, ret, &rings, err);
    for (int i = 0; rc == -ERR_STORE_STALE && i < TRIES; i++) {
        error_clear(err);
        rc = try_once(store, changes, count, extra, ret, &rings, err);
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (changes[i].spec) {
            applied_files_keep(
                store_paths(store), changes[i].spec, ret[i].result != CHANGE_UNCHANGED);
        }
    }
    /* Without machines and changes there is nothing to do, and no notification. What is under way
     * may be of a command that was killed before its own. A failure (full disk) costs a delay. */
    struct error ignored = {.code = ERR_NONE};
    bool may_be_done = rc == -ERR_VM_CONFLICT || rc == -ERR_VOLUME_NOT_FOUND;
    if (rc == 0 ? rings : may_be_done) {
        (void)bell_ring(store_paths(store), BELL_DESIRED, &ignored);
    }
    return rc;
}

int change_plan(struct store *store, const struct change *changes, size_t count,
    struct change_outcome *ret, struct error *err)
{
    return try_once(store, changes, count, NULL, ret, NULL, err);
}

int change_apply(struct store *store, const struct change *changes, size_t count,
    struct change_outcome *ret, struct error *err)
{
    return change_apply_with(store, changes, count, NULL, ret, err);
}

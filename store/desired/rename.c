/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/rename.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/strings.h"
#include "specs/base/vm_name.h"
#include "specs/vm/lease_key.h"
#include "specs/vm/media_digest.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "specs/vmfile/vmfile.h"
#include "store/bell.h"
#include "store/lmdb/checksum.h"
#include "store/lmdb/lmdb_env.h"
#include "store/record.h"
#include "store/session.h"
#include "store/store.h"

struct rename_work {
    const char *old_name, *new_name;
    struct vm_desired *desired;
    struct vm_status *status;
    uint64_t inode; /* of its directory; 0: there is none */
    struct error err;
};

static void rename_work_clear(struct rename_work *work)
{
    vm_desired_free(TAKE_PTR(work->desired));
    vm_status_free(TAKE_PTR(work->status));
}

/* ---- what forbids it ---- */

static int refuse(struct rename_work *work, enum error_code code, const char *problem)
{
    return error_set(&work->err, code, "vm '%s' %s", work->old_name, problem);
}

static int read_records(struct store *store, MDB_txn *txn, struct rename_work *work)
{
    struct bytes value;
    int rc = lmdb_get(store, txn, STORE_DESIRED, work->old_name, &value);
    if (rc == MDB_NOTFOUND) {
        return error_set(&work->err, ERR_VM_NOT_FOUND, "there is no vm '%s'", work->old_name);
    }
    rc = rc != 0 ? rc : record_decode_desired(value, work->old_name, &work->desired, &work->err);
    rc = rc != 0 ? rc : lmdb_get(store, txn, STORE_STATUS, work->old_name, &value);
    if (rc == 0) {
        rc = record_decode_status(value, &work->status, &work->err);
    }
    return rc == MDB_NOTFOUND && work->desired ? 0 : rc;
}

static bool is_settled(const struct vm_desired *desired, const struct vm_status *status)
{
    return status && text_eq(status->uid, desired->uid) &&
           status->observed_generation == desired->generation &&
           text_eq(status->handled_snapshot_token, desired->snapshot.token) &&
           (!desired->recreate_token[0] ||
               text_eq(status->handled_recreate_token, desired->recreate_token)) &&
           (!desired->wants_prepared || status->prepared.digest[0]);
}

/* Who made the snapshot finds it by the VM's name. */
static bool is_being_copied(const struct vm_status *status)
{
    for (size_t i = 0; i < status->n_snapshots; i++) {
        if (text_starts_with(status->snapshots[i].name, SNAPSHOT_PASSING)) {
            return true;
        }
    }
    return false;
}

static int check_state(struct rename_work *work)
{
    const struct vm_desired *desired = work->desired;
    const struct vm_status *status = work->status;
    if (desired->is_deleting) {
        return refuse(work, ERR_VM_DELETING, "is being deleted");
    }
    if (desired->owner || desired->template_key) {
        return refuse(
            work, ERR_VM_INVALID_STATE, "belongs to a `vmctl run`, which destroys it at its end");
    }
    if (desired->spec->backend == BACKEND_PROPOLIS) {
        return refuse(work, ERR_VM_INVALID_STATE, "has the name of its zone");
    }
    if (desired->fleet.epoch) {
        return refuse(
            work, ERR_VM_INVALID_STATE, "belongs to the fleet, which knows it by its name");
    }
    if (desired->power != POWER_STOPPED ||
        (status && (status->instance.pid > 0 || status->instance.intent != INTENT_NONE))) {
        (void)refuse(work, ERR_VM_INVALID_STATE, "is not stopped");
        return error_help(&work->err, "stop it first: vmctl stop %s", work->old_name);
    }
    /* Before its files have moved no pass does anything else, also when they cannot be moved. */
    bool goes_back = status && text_eq(status->renamed_from, work->new_name);
    if (!is_settled(desired, status) && !(goes_back && !status->has_moved)) {
        (void)refuse(work, ERR_VM_INVALID_STATE, "has work in progress");
        return error_help(&work->err, "see which: vmctl status %s", work->old_name);
    }
    if (is_being_copied(status)) {
        (void)refuse(work, ERR_VM_INVALID_STATE, "is being cloned, exported or backed up");
        return error_help(
            &work->err, "try again when that is done; if it was killed, an hour later");
    }
    if (status->renamed_from && !goes_back) {
        (void)error_set(&work->err, ERR_VM_CONFLICT, "vm '%s' was renamed before, from '%s'",
            work->old_name, status->renamed_from);
        return desired->renamed_from
                   ? error_help(&work->err,
                         "apply its VMFile '%s' with the new name first: vmctl apply %s",
                         desired->source, work->old_name)
                   : error_help(
                         &work->err, "vmctld has to move its files first: vmctl controller start");
    }
    return 0;
}

/* ---- other records with the name in them ---- */

/* Adds the records of a table for which `take` makes another value. They are written once the table
 * was read: a page that is written to moves. */
struct rewritten {
    struct record {
        char *key;
        size_t n_key;
        char *value;
        size_t n_value;
    } * items;
    size_t count;
};

static void rewritten_clear(struct rewritten *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].key);
        free(list->items[i].value);
    }
    free(list->items);
}

typedef bool take_record(
    const struct rename_work *work, struct bytes key, struct bytes value, struct buf *ret);

static int rewrite(struct store *store, MDB_txn *txn, enum store_table table,
    const struct rename_work *work, take_record *take)
{
    cleanup_with(rewritten_clear) struct rewritten list = {.count = 0};
    MDB_cursor *cursor = NULL;
    MDB_val key, raw;
    int rc = mdb_cursor_open(txn, store->tables[table], &cursor);
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &raw, MDB_NEXT)) == 0) {
        cleanup_buf struct buf out = BUF_INIT(0);
        bool may_name_it = memmem(raw.mv_data, raw.mv_size, work->old_name, strlen(work->old_name));
        struct bytes value = checksum_take(table, lmdb_bytes(key), lmdb_bytes(raw));
        if (may_name_it && take(work, lmdb_bytes(key), value, &out)) {
            mem_grow(list.items, list.count);
            list.items[list.count++] = (struct record){.key = mem_dup(key.mv_data, key.mv_size),
                .n_key = key.mv_size,
                .value = mem_dup(buf_str(&out), out.len + 1),
                .n_value = out.len};
        }
    }
    if (cursor) {
        mdb_cursor_close(cursor);
    }
    rc = rc == MDB_NOTFOUND ? 0 : rc;
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        rc = lmdb_put(store, txn, table, lmdb_value(list.items[i].key, list.items[i].n_key),
            (struct bytes){list.items[i].value, list.items[i].n_value});
    }
    return rc;
}

static bool take_lease(
    const struct rename_work *work, struct bytes key, struct bytes value, struct buf *ret)
{
    struct lease lease;
    if (!record_decode_lease(key, value, &lease)) {
        return false;
    }
    bool is_ours = text_eq(lease.uid, work->desired->uid);
    if (is_ours) {
        free(lease.vm_name);
        lease.vm_name = mem_strdup(work->new_name);
        record_encode_lease(ret, &lease);
    }
    free(lease.key);
    free(lease.vm_name);
    free(lease.purpose);
    return is_ours;
}

/* Those of an earlier VM of that name stay under it. */
static bool take_event(
    const struct rename_work *work, struct bytes key, struct bytes value, struct buf *ret)
{
    struct event_view event;
    (void)key;
    if (!record_event_view(value, &event) || event.vm_name.n != strlen(work->old_name) ||
        memcmp(event.vm_name.data, work->old_name, event.vm_name.n) != 0 ||
        event.last_ms < work->desired->created_ms) {
        return false;
    }
    event.vm_name = (struct bytes){work->new_name, strlen(work->new_name)};
    record_encode_event(ret, &event);
    return true;
}

/* Who waits for it waits for it by its new name; and what is cloned of it is found there. */
static bool take_desired(
    const struct rename_work *work, struct bytes key, struct bytes value, struct buf *ret)
{
    struct vm_desired *desired = NULL;
    struct error ignored = {.code = ERR_NONE};
    bool is_changed = false, is_of_origin = false;
    if (record_decode_desired(value, NULL, &desired, &ignored) < 0) {
        return false; /* a damaged one is not made worse */
    }
    (void)key;
    for (size_t i = 0; i < desired->spec->n_depends_on; i++) {
        if (text_eq(desired->spec->depends_on[i], work->old_name)) {
            free(desired->spec->depends_on[i]);
            desired->spec->depends_on[i] = mem_strdup(work->new_name);
            is_changed = true;
        }
    }
    if (desired->origin && text_eq(desired->origin->vm, work->old_name)) {
        free(desired->origin->vm);
        desired->origin->vm = mem_strdup(work->new_name);
        is_of_origin = true;
    }
    if (is_changed || is_of_origin) {
        vm_spec_digest(desired->spec, desired->spec_digest);
        desired->generation += is_changed;
        record_encode_desired(ret, desired, desired->revision + 1);
    }
    vm_desired_free(desired);
    return is_changed || is_of_origin;
}

/* ---- its own ---- */

static void replace(char **text, const char *by)
{
    free(*text);
    *text = mem_strdup(by);
}

/* A VM without `hostname` has its name in the seed: the disk is the one that was made with it, and
 * no other is to be made because of the name. */
static void keep_prepared(
    struct vm_prepared *prepared, const struct vm_spec *before, const struct vm_spec *after)
{
    char digest[DIGEST_SIZE];
    spec_media_digest(before, digest);
    if (text_eq(digest, prepared->digest)) {
        spec_media_digest(after, prepared->digest);
    }
    spec_seed_digest(before, digest);
    if (text_eq(digest, prepared->seed_digest)) {
        spec_seed_digest(after, prepared->seed_digest);
    }
}

static void give_name(struct rename_work *work)
{
    struct vm_desired *desired = work->desired;
    struct vm_status *status = work->status;
    struct vm_spec *before = vm_spec_copy(desired->spec);
    bool goes_back = text_eq(desired->renamed_from, work->new_name);
    replace(&desired->spec->name, work->new_name);
    replace(&desired->renamed_from, goes_back || !desired->source ? NULL : work->old_name);
    vm_spec_digest(desired->spec, desired->spec_digest);
    desired->generation++;
    desired->revision++;
    if (!status->renamed_from || status->has_moved) {
        status->dir_inode = work->inode; /* else they are still the same files */
    }
    status->has_moved = false;
    replace(&status->renamed_from, work->old_name);
    replace(&status->vnc, NULL);
    if (status->applied_spec) {
        struct vm_spec *renamed = vm_spec_copy(status->applied_spec);
        replace(&renamed->name, work->new_name);
        vm_status_take_applied_spec(status, renamed);
    }
    keep_prepared(&status->prepared, before, desired->spec);
    keep_prepared(&status->replacement, before, desired->spec);
    for (size_t i = 0; i < status->n_snapshots; i++) {
        keep_prepared(&status->snapshots[i].prepared, before, desired->spec);
    }
    vm_spec_free(before);
}

static int put_records(struct store *store, MDB_txn *txn, struct rename_work *work)
{
    cleanup_buf struct buf desired = BUF_INIT(0), status = BUF_INIT(0), lease = BUF_INIT(0);
    MDB_val name = lmdb_value(work->new_name, strlen(work->new_name));
    MDB_val old_name = lmdb_value(work->old_name, strlen(work->old_name));
    cleanup_free char *key = name_lease_key(work->old_name);
    cleanup_free char *vm_name = mem_strdup(work->new_name);
    struct lease held = {
        .key = key, .vm_name = vm_name, .purpose = (char *)(uintptr_t)lease_purpose(key)};
    (void)snprintf(held.uid, sizeof(held.uid), "%s", work->desired->uid);
    record_encode_desired(&desired, work->desired, work->desired->revision);
    record_encode_status(&status, work->status);
    record_encode_lease(&lease, &held);
    int rc =
        lmdb_put(store, txn, STORE_DESIRED, name, (struct bytes){buf_str(&desired), desired.len});
    rc =
        rc ? rc
           : lmdb_put(store, txn, STORE_STATUS, name, (struct bytes){buf_str(&status), status.len});
    rc = rc ? rc : lmdb_remove(store, txn, STORE_DESIRED, old_name);
    rc = rc ? rc : lmdb_remove(store, txn, STORE_STATUS, old_name);
    return rc ? rc
              : lmdb_put(store, txn, STORE_LEASES, lmdb_value(key, strlen(key)),
                    (struct bytes){buf_str(&lease), lease.len});
}

/* 0: there is none. */
static uint64_t dir_inode(struct store *store, const char *name)
{
    struct stat st;
    cleanup_free char *dir = paths_vm(store_paths(store), name, VM_DIR);
    return lstat(dir, &st) == 0 ? (uint64_t)st.st_ino & INT64_MAX : 0;
}

/* Files that no record names would be taken for the VM's. Of a VM that gets its name back before
 * its files have moved they may be its own. */
static int check_new_dir(struct store *store, struct rename_work *work)
{
    const struct vm_status *status = work->status;
    uint64_t present = dir_inode(store, work->new_name);
    bool may_be_ours = status->renamed_from && !status->has_moved &&
                       (!status->dir_inode || status->dir_inode == present);
    work->inode = dir_inode(store, work->old_name);
    if (!present || may_be_ours) {
        return 0;
    }
    cleanup_free char *dir = paths_vm(store_paths(store), work->new_name, VM_DIR);
    (void)error_set(&work->err, ERR_VM_CONFLICT, "'%s' has files of no VM that vmctl knows", dir);
    return error_help(&work->err, "move them elsewhere, or choose another name");
}

/* The name is no other VM's, and none that another had; its own of before it has back. */
static int check_new_name(struct store *store, MDB_txn *txn, struct rename_work *work)
{
    struct bytes value;
    struct lease lease;
    cleanup_free char *key = name_lease_key(work->new_name);
    bool is_there = lmdb_get(store, txn, STORE_DESIRED, work->new_name, &value) == 0 ||
                    lmdb_get(store, txn, STORE_STATUS, work->new_name, &value) == 0;
    if (is_there) {
        (void)error_set(&work->err, ERR_VM_CONFLICT, "vm '%s' exists already", work->new_name);
        return error_help(&work->err, "choose another name; see what has this one: vmctl status %s",
            work->new_name);
    }
    if (lmdb_get(store, txn, STORE_LEASES, key, &value) != 0) {
        return 0;
    }
    bool is_ours = record_decode_lease((struct bytes){key, strlen(key)}, value, &lease) &&
                   text_eq(lease.uid, work->desired->uid);
    MDB_val k = lmdb_value(key, strlen(key));
    if (is_ours) {
        free(lease.key);
        free(lease.vm_name);
        free(lease.purpose);
        return lmdb_remove(store, txn, STORE_LEASES, k);
    }
    return error_set(&work->err, ERR_VM_CONFLICT,
        "another vm was named '%s', and its rename is not finished; see: vmctl list",
        work->new_name);
}

static int rename_records(struct store *store, MDB_txn *txn, void *context)
{
    struct rename_work *work = context;
    rename_work_clear(work); /* it may be run again */
    error_clear(&work->err);
    int rc = read_records(store, txn, work);
    rc = rc ? rc : check_state(work);
    rc = rc ? rc : check_new_dir(store, work);
    rc = rc ? rc : check_new_name(store, txn, work);
    if (rc) {
        return rc;
    }
    rc = rewrite(store, txn, STORE_LEASES, work, take_lease);
    rc = rc ? rc : rewrite(store, txn, STORE_EVENTS, work, take_event);
    rc = rc ? rc : rewrite(store, txn, STORE_DESIRED, work, take_desired);
    if (rc == 0) {
        give_name(work);
        rc = put_records(store, txn, work);
    }
    return rc;
}

/* One that knows nothing of renaming would take the files for nobody's. */
static int check_controller(struct store *store, struct error *err)
{
    struct session session;
    int rc = session_read(store, &session, err);
    if (rc < 0 || session.state == SESSION_NONE || session.can_rename) {
        return rc;
    }
    (void)error_set(err, ERR_CONTROLLER, "the controller (process %d, version %s) cannot rename",
        (int)session.pid, session.version);
    return error_help(err, "stop it (VMs keep running): vmctl controller stop");
}

int rename_vm(struct store *store, const char *old_name, const char *new_name, struct renamed *ret,
    struct error *err)
{
    cleanup_with(rename_work_clear) struct rename_work work = {
        .old_name = old_name, .new_name = new_name};
    int rc = check_controller(store, err);
    if (rc < 0) {
        return rc;
    }
    rc = lmdb_write(store, rename_records, &work);
    if (rc != 0 && work.err.code != ERR_NONE) {
        *err = work.err;
        return -(int)err->code;
    }
    if (rc != 0) {
        return lmdb_error(store, rc, "cannot rename a VM", err);
    }
    struct error ignored = {.code = ERR_NONE}; /* costs a delay */
    (void)bell_ring(store_paths(store), BELL_DESIRED, &ignored);
    *ret = (struct renamed){.generation = work.desired->generation,
        .source = work.desired->renamed_from ? mem_strdup(work.desired->source) : NULL};
    memcpy(ret->uid, work.desired->uid, TEXT_ID_SIZE);
    return 0;
}

int rename_check_free(struct store *store, const char *name, struct error *err)
{
    char uid[TEXT_ID_SIZE];
    cleanup_free char *key = name_lease_key(name), *holder = NULL;
    int rc = store_lease_holder(store, key, uid, &holder, err);
    if (rc < 0 || !uid[0]) {
        return rc;
    }
    const char *now = holder ? holder : "?";
    (void)error_set(err, ERR_VM_CONFLICT, "vm '%s' was renamed to '%s'", name, now);
    return error_help(err, "if a VMFile has it, write vm \"%s\" there, then: vmctl apply %s",
        vm_name_plain(now), now);
}

int rename_check_dependencies(struct store *store, const struct vm_spec *before,
    const struct vm_spec *spec, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < spec->n_depends_on; i++) {
        bool is_known = false;
        for (size_t j = 0; before && j < before->n_depends_on; j++) {
            is_known |= text_eq(before->depends_on[j], spec->depends_on[i]);
        }
        rc = is_known ? 0 : rename_check_free(store, spec->depends_on[i], err);
    }
    return rc;
}

static bool is_in_file(const struct vmfile *file, const char *name, size_t likely)
{
    for (size_t i = 0; i < file->n_vms; i++) {
        if (text_eq(file->vms[(likely + i) % file->n_vms]->name, name)) {
            return true;
        }
    }
    return false;
}

int rename_find_removed(struct store *store, const struct strings *vms, const struct vmfile *file,
    struct strings *ret, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < vms->count; i++) {
        cleanup_with(vm_record_clear) struct vm_record vm = {.name = NULL};
        if (is_in_file(file, vms->items[i], i)) {
            continue;
        }
        rc = store_get(store, vms->items[i], &vm, err);
        const char *before = vm.desired ? vm.desired->renamed_from : NULL;
        if (rc == 0 && !(before && is_in_file(file, before, i))) {
            strings_add(ret, vms->items[i]);
        }
    }
    return rc;
}

/* SPDX-License-Identifier: MPL-2.0 */
/* One batch inside a write transaction: expectations are checked and records copied, no more. */
#include "store/lmdb/lmdb_batch.h"

#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/strings.h"
#include "specs/vm/lease_key.h"
#include "store/lmdb/checksum.h"
#include "store/lmdb/lmdb_events.h"
#include "store/lmdb/lmdb_index.h"

struct apply {
    struct store *store;
    MDB_txn *txn;
    struct error *err;
    bool has_written;
};

static int put(struct apply *apply, const struct batch_op *op)
{
    char key[RECORD_KEY_SIZE];
    record_key(op->key, key);
    apply->has_written = true;
    return lmdb_put(apply->store, apply->txn, op->table, lmdb_value(key, strlen(key)),
        (struct bytes){op->value, op->value_len});
}

static int drop(struct apply *apply, enum store_table table, const char *text)
{
    char key[RECORD_KEY_SIZE];
    record_key(text, key);
    MDB_val k = lmdb_value(key, strlen(key));
    apply->has_written = true;
    int rc = lmdb_remove(apply->store, apply->txn, table, k);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* The holder of the name in this table: MDB_NOTFOUND when there is none. A head that cannot be read
 * equals no uid and no revision. */
static int find_head(
    struct apply *apply, enum store_table table, const char *name, struct record_head *ret)
{
    struct bytes value;
    *ret = (struct record_head){.revision = UINT64_MAX};
    int rc = lmdb_get(apply->store, apply->txn, table, name, &value);
    if (rc == 0) {
        (void)record_head(value, table == STORE_DESIRED, ret);
    }
    return rc;
}

static bool is_lease_of(struct bytes value, const char *uid)
{
    size_t n = strlen(uid);
    return value.n > n && memcmp(value.data, uid, n) == 0 && value.data[n] == '\t';
}

/* A VM that was renamed may still hold the name. */
static int check_name_is_free(struct apply *apply, const struct batch_op *op)
{
    struct bytes value;
    cleanup_free char *key = name_lease_key(op->key);
    int rc = lmdb_get(apply->store, apply->txn, STORE_LEASES, key, &value);
    if (rc == 0 && !is_lease_of(value, op->uid)) {
        return error_set(apply->err, ERR_STORE_STALE,
            "the name '%s' still belongs to a VM that was renamed", op->key);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int put_desired(struct apply *apply, const struct batch_op *op)
{
    struct record_head head;
    int rc = find_head(apply, STORE_DESIRED, op->key, &head);
    if (rc == 0 && op->expected_revision == 0) {
        return error_set(apply->err, ERR_STORE_STALE, "VM '%s' exists already", op->key);
    }
    if (rc == MDB_NOTFOUND && op->expected_revision > 0) {
        return error_set(apply->err, ERR_STORE_STALE, "VM '%s' was removed meanwhile", op->key);
    }
    if (rc == 0 && head.revision != op->expected_revision) {
        return error_set(apply->err, ERR_STORE_STALE, "VM '%s' was changed meanwhile", op->key);
    }
    if (rc == MDB_NOTFOUND) {
        rc = check_name_is_free(apply, op);
    }
    return rc == 0 ? put(apply, op) : rc;
}

/* 0 when the name is this VM's or free; the desired record decides, then the status. */
static int check_owner(struct apply *apply, const struct batch_op *op)
{
    struct record_head head;
    int rc = find_head(apply, STORE_DESIRED, op->key, &head);
    if (rc == MDB_NOTFOUND) {
        rc = find_head(apply, STORE_STATUS, op->key, &head);
    }
    if (rc == 0 && strcmp(head.uid, op->uid) != 0) {
        return error_set(
            apply->err, ERR_STORE_STALE, "the name '%s' now belongs to another VM", op->key);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Without the index. */
static int drop_leases_of_all(struct apply *apply, const char *uid)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    int rc = mdb_cursor_open(apply->txn, apply->store->tables[STORE_LEASES], &cursor);
    if (rc != 0) {
        return rc;
    }
    rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    while (rc == 0) {
        if (is_lease_of(lmdb_bytes(value), uid)) {
            rc = lmdb_index_change_lease(apply->store, apply->txn, key, NULL);
            rc = rc == 0 ? mdb_cursor_del(cursor, 0) : rc;
        }
        if (rc == 0) { /* after a deletion the cursor is at the next one already */
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* A lease names its holder, also after a rename, which changes both. */
static int drop_leases(struct apply *apply, const char *vm_name, const char *uid)
{
    cleanup_with(strings_clear) struct strings keys = {.count = 0};
    int rc = lmdb_index_leases_now(apply->store, apply->txn, vm_name, &keys);
    if (rc == MDB_NOTFOUND) {
        return drop_leases_of_all(apply, uid);
    }
    for (size_t i = 0; rc == 0 && i < keys.count; i++) {
        MDB_val key = lmdb_value(keys.items[i], strlen(keys.items[i])), value;
        rc = mdb_get(apply->txn, apply->store->tables[STORE_LEASES], &key, &value);
        if (rc == 0 && is_lease_of(lmdb_bytes(value), uid)) {
            rc = drop(apply, STORE_LEASES, keys.items[i]);
        }
    }
    return rc;
}

static int expect_vm(struct apply *apply, const struct batch_op *op)
{
    struct record_head head;
    int rc = find_head(apply, STORE_DESIRED, op->key, &head);
    if (rc == MDB_NOTFOUND || (rc == 0 && strcmp(head.uid, op->uid) != 0)) {
        return error_set(
            apply->err, ERR_STORE_STALE, "VM '%s' was removed or renamed meanwhile", op->key);
    }
    return rc;
}

/* Whether any desired record has this uid. */
static int find_uid(struct apply *apply, const char *uid, bool *ret)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, raw;
    int rc = mdb_cursor_open(apply->txn, apply->store->tables[STORE_DESIRED], &cursor);
    *ret = false;
    while (rc == 0 && !*ret && (rc = mdb_cursor_get(cursor, &key, &raw, MDB_NEXT)) == 0) {
        struct record_head head = {.revision = 0};
        struct bytes value = checksum_take(STORE_DESIRED, lmdb_bytes(key), lmdb_bytes(raw));
        *ret = record_head(value, true, &head) && strcmp(head.uid, uid) == 0;
    }
    if (cursor) {
        mdb_cursor_close(cursor);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* A record of no more than a status may be what is left of a VM that lives under another name: the
 * leases are that one's. */
static int forget_vm(struct apply *apply, const struct batch_op *op)
{
    struct record_head head;
    bool lives_on = false;
    int rc = check_owner(apply, op);
    if (rc == 0 && (rc = find_head(apply, STORE_DESIRED, op->key, &head)) == MDB_NOTFOUND) {
        rc = find_uid(apply, op->uid, &lives_on);
    }
    if (rc == 0) {
        rc = drop(apply, STORE_DESIRED, op->key);
    }
    if (rc == 0) {
        rc = drop(apply, STORE_STATUS, op->key);
    }
    return rc == 0 && !lives_on ? drop_leases(apply, op->key, op->uid) : rc;
}

static int take_lease(struct apply *apply, const struct batch_op *op)
{
    struct bytes value;
    int rc = lmdb_get(apply->store, apply->txn, STORE_LEASES, op->key, &value);
    if (rc == 0) {
        return is_lease_of(value, op->uid)
                   ? 0
                   : error_set(apply->err, ERR_STORE_STALE, "'%s' is taken by another VM", op->key);
    }
    return rc == MDB_NOTFOUND ? put(apply, op) : rc;
}

/* Records are canonical JSON: the same record is the same bytes. */
static int expect_json(struct apply *apply, const struct batch_op *op)
{
    struct bytes value = {NULL, 0};
    int rc = lmdb_get(apply->store, apply->txn, op->table, op->key, &value);
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return rc;
    }
    bool is_same = rc == MDB_NOTFOUND ? !op->value
                                      : op->value && value.n == op->value_len &&
                                            memcmp(value.data, op->value, value.n) == 0;
    return is_same ? 0
                   : error_set(apply->err, ERR_STORE_STALE, "the record '%s' was changed meanwhile",
                         op->key);
}

static int add_event(struct apply *apply, const struct batch_op *op)
{
    const char *reason = reason_name(op->reason);
    struct event_view event = {
        .count = 1,
        .first_ms = op->now_ms,
        .last_ms = op->now_ms,
        .is_warning = op->is_warning,
        .reason = {reason, strlen(reason)},
        .vm_name = {op->key, strlen(op->key)},
        .message = {op->value, op->value_len},
    };
    apply->has_written = true;
    return lmdb_add_event(apply->store, apply->txn, &event);
}

static int apply_op(struct apply *apply, const struct batch_op *op)
{
    int rc;
    switch (op->kind) {
    case OP_PUT_DESIRED:
        return put_desired(apply, op);
    case OP_PUT_STATUS:
        rc = check_owner(apply, op);
        return rc == 0 ? put(apply, op) : rc;
    case OP_EXPECT_VM:
        return expect_vm(apply, op);
    case OP_FORGET_VM:
        return forget_vm(apply, op);
    case OP_TAKE_LEASE:
        return take_lease(apply, op);
    case OP_PUT_JSON:
        return put(apply, op);
    case OP_DROP_LEASE:
    case OP_REMOVE_JSON:
        return drop(apply, op->table, op->key);
    case OP_EXPECT_JSON:
        return expect_json(apply, op);
    case OP_ADD_EVENT:
        return add_event(apply, op);
    }
    return 0;
}

int lmdb_apply_batch(struct store *store, MDB_txn *txn, const struct store_batch *batch,
    bool *ret_has_written, struct error *err)
{
    struct apply apply = {.store = store, .txn = txn, .err = err};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < batch->n_ops; i++) {
        rc = apply_op(&apply, &batch->ops[i]);
    }
    *ret_has_written = apply.has_written;
    return rc;
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "store/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/mem.h"
#include "store/lmdb/checksum.h"
#include "store/lmdb/lmdb_batch.h"

struct store_batch *store_batch_new(void)
{
    return mem_new(struct store_batch);
}

void store_batch_free(struct store_batch *batch)
{
    if (!batch) {
        return;
    }
    for (size_t i = 0; i < batch->n_ops; i++) {
        free(batch->ops[i].key);
        free(batch->ops[i].value);
    }
    free(batch->ops);
    free(batch);
}

bool store_batch_is_empty(const struct store_batch *batch)
{
    return batch->n_ops == 0;
}

/* The new operation, to be filled in; borrowed until the next one. */
static struct batch_op *add_op(struct store_batch *batch, enum batch_op_kind kind,
    enum store_table table, const char *key, const char *uid)
{
    assert(key[0] != '\0');
    mem_grow(batch->ops, batch->n_ops);
    struct batch_op *op = &batch->ops[batch->n_ops++];
    *op = (struct batch_op){.kind = kind, .table = table, .key = mem_strdup(key)};
    memcpy(op->uid, uid, strnlen(uid, sizeof(op->uid) - 1));
    return op;
}

static void set_value(struct batch_op *op, struct buf *value)
{
    assert(!value->is_full);
    op->value_len = value->len;
    op->value = buf_steal(value);
}

void store_batch_put_desired(
    struct store_batch *batch, const struct vm_desired *desired, uint64_t expected_revision)
{
    struct buf value = BUF_INIT(0);
    struct batch_op *op =
        add_op(batch, OP_PUT_DESIRED, STORE_DESIRED, desired->spec->name, desired->uid);
    op->expected_revision = expected_revision;
    record_encode_desired(&value, desired, expected_revision + 1);
    set_value(op, &value);
}

uint64_t store_batch_put_status(
    struct store_batch *batch, const char *name, const struct vm_status *status)
{
    enum { STATUS_BYTES = 4096 }; /* as most need: no copies while it grows */
    struct buf value = BUF_INIT(0);
    struct batch_op *op = add_op(batch, OP_PUT_STATUS, STORE_STATUS, name, status->uid);
    (void)buf_grow(&value, STATUS_BYTES - 1);
    record_encode_status(&value, status);
    set_value(op, &value);
    return checksum_of(
        STORE_STATUS, (struct bytes){name, strlen(name)}, (struct bytes){op->value, op->value_len});
}

void store_batch_expect_vm(struct store_batch *batch, const char *name, const char *uid)
{
    (void)add_op(batch, OP_EXPECT_VM, STORE_DESIRED, name, uid);
}

void store_batch_forget_vm(struct store_batch *batch, const char *name, const char *uid)
{
    (void)add_op(batch, OP_FORGET_VM, STORE_DESIRED, name, uid);
}

void store_batch_take_lease(struct store_batch *batch, const struct lease *lease)
{
    struct buf value = BUF_INIT(0);
    struct batch_op *op = add_op(batch, OP_TAKE_LEASE, STORE_LEASES, lease->key, lease->uid);
    record_encode_lease(&value, lease);
    set_value(op, &value);
}

void store_batch_each_lease(
    const struct store_batch *batch, void (*each)(void *context, const char *key), void *context)
{
    for (size_t i = 0; i < batch->n_ops; i++) {
        if (batch->ops[i].kind == OP_TAKE_LEASE) {
            each(context, batch->ops[i].key);
        }
    }
}

void store_batch_drop_lease(struct store_batch *batch, const char *key)
{
    (void)add_op(batch, OP_DROP_LEASE, STORE_LEASES, key, "");
}

static void add_json_op(struct store_batch *batch, enum batch_op_kind kind, enum store_table table,
    const char *key, const json_t *record)
{
    assert(table == STORE_IMAGES || table == STORE_SOURCES || table == STORE_META ||
           table == STORE_FLEET);
    struct batch_op *op = add_op(batch, kind, table, key, "");
    if (record) {
        struct buf value = BUF_INIT(0);
        record_encode_json(&value, key, record);
        set_value(op, &value);
    }
}

void store_batch_put_json(
    struct store_batch *batch, enum store_table table, const char *key, const json_t *record)
{
    add_json_op(batch, record ? OP_PUT_JSON : OP_REMOVE_JSON, table, key, record);
}

void store_batch_expect_json(
    struct store_batch *batch, enum store_table table, const char *key, const json_t *record)
{
    add_json_op(batch, OP_EXPECT_JSON, table, key, record);
}

void store_batch_add_event(struct store_batch *batch, const char *vm_name, bool is_warning,
    enum reason reason, const char *message, int64_t now_ms)
{
    struct batch_op *op = add_op(batch, OP_ADD_EVENT, STORE_EVENTS, vm_name, "");
    op->value = mem_strdup(message ? message : "");
    op->value_len = strlen(op->value);
    op->is_warning = is_warning;
    op->reason = reason;
    op->now_ms = now_ms < 0 ? 0 : now_ms;
}

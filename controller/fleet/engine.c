/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/engine.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/error.h"

void engine_rows_clear(struct engine_rows *rows)
{
    if (rows->free_memory) {
        rows->free_memory(rows->memory);
    }
    free(rows->rows);
    *rows = (struct engine_rows){0};
}

const struct engine_row *engine_rows_find(const struct engine_rows *rows, const char *key)
{
    for (size_t i = 0; i < rows->n; i++) {
        if (text_eq(rows->rows[i].key, key)) {
            return &rows->rows[i];
        }
    }
    return NULL;
}

void engine_result_clear(struct engine_result *result)
{
    for (size_t i = 0; i < result->n_reads; i++) {
        engine_rows_clear(&result->reads[i]);
    }
    free(result->reads);
    *result = (struct engine_result){0};
}

void engine_close(struct engine *engine)
{
    if (engine) {
        engine->ops->close(engine);
    }
}

/* Of one write or compare besides its key and value, in etcd's encoding. */
enum { ENTRY_OVERHEAD = 48 };

static size_t txn_bytes(const struct engine_txn *txn)
{
    size_t n = 0;
    for (size_t i = 0; i < txn->n_compares; i++) {
        const struct engine_compare *compare = &txn->compares[i];
        n += strlen(compare->key) + ENTRY_OVERHEAD;
        n += compare->condition == ENGINE_IF_VALUE ? compare->value.n : 0;
    }
    for (size_t i = 0; i < txn->n_writes; i++) {
        const struct engine_write *write = &txn->writes[i];
        n += strlen(write->key) + ENTRY_OVERHEAD + (write->kind == ENGINE_PUT ? write->value.n : 0);
    }
    for (size_t i = 0; i < txn->n_reads; i++) {
        n += 2 * (strlen(txn->reads[i].key) + ENTRY_OVERHEAD); /* for either case */
    }
    return n;
}

int engine_txn_check(const struct engine_txn *txn, struct error *err)
{
    if (txn->n_compares > ENGINE_WRITES_MAX || txn->n_writes + txn->n_reads > ENGINE_WRITES_MAX) {
        return error_set(err, ERR_FLEET_LIMIT,
            "a transaction of %zu compares and %zu writes: the fleet's store takes %d of each",
            txn->n_compares, txn->n_writes + txn->n_reads, ENGINE_WRITES_MAX);
    }
    size_t n = txn_bytes(txn);
    if (n > ENGINE_REQUEST_MAX) {
        return error_set(err, ERR_FLEET_LIMIT,
            "a transaction of %zu KiB: the fleet's store takes %d KiB", n / 1024,
            ENGINE_REQUEST_MAX / 1024);
    }
    return 0;
}

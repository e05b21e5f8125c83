/* SPDX-License-Identifier: MPL-2.0 */
/* The contents of tests/support/engine_fake.h's store: all changes since the last compaction, from
 * which every revision is read. No clock, no links. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/fleet/engine.h"

/* One change of one key. */
struct fake_change {
    char *key;
    char *value; /* NULL: deleted */
    size_t n_value;
    int64_t revision;
    int64_t create_revision;
    int64_t lease;
};

struct fake_store {
    uint64_t id;
    int64_t revision;
    int64_t compacted;
    int64_t last_lease;
    struct fake_change *changes; /* by revision */
    size_t n;
};
void fake_store_clear(struct fake_store *store);
void fake_store_copy(struct fake_store *to, const struct fake_store *from);
void fake_store_compact(struct fake_store *store, int64_t revision);

int fake_store_range(const struct fake_store *store, const struct engine_range *range,
    struct engine_rows *rows, struct error *err);
const char *fake_store_get(const struct fake_store *store, const char *key);

bool fake_store_holds(const struct fake_store *store, const struct engine_txn *txn);
int fake_store_txn(struct fake_store *store, const struct engine_txn *txn,
    struct engine_result *result, struct error *err);
void fake_store_delete_of_lease(struct fake_store *store, int64_t lease);

/* A copy of all that it points to. */
struct fake_txn {
    struct engine_txn txn;
};
struct fake_txn *fake_txn_copy(const struct engine_txn *txn);
void fake_txn_free(struct fake_txn *txn); /* NULL is fine */

/* Copies: the store may change while they are reported. */
struct fake_events {
    struct engine_event *events;
    size_t n;
};
void fake_store_events(const struct fake_store *store, const char *prefix, int64_t from, int64_t to,
    struct fake_events *ret);
void fake_events_clear(struct fake_events *events);

/* SPDX-License-Identifier: MPL-2.0 */
/* Events inside a write transaction. Private to store/. */
#pragma once

#include "store/lmdb/lmdb_env.h"

enum {
    EVENTS_MAX = 10000,     /* a ring: the oldest go first */
    EVENT_FOLD_WINDOW = 16, /* how many of a VM's last events are searched for an equal one */
    EVENT_FOLD_SCAN = 128,  /* and how many events of all VMs: bounds the time under the lock */
};

/*
 * Adds the event; when an equal one is among the VM's last, since it was created, counts that one
 * up and moves it to the end, so that a reader that follows by sequence sees it again. Drops what
 * is beyond EVENTS_MAX. `event` has count 1 and first_ms equal to last_ms. Returns an LMDB code.
 */
int lmdb_add_event(struct store *store, MDB_txn *txn, const struct event_view *event);

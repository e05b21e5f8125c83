/* SPDX-License-Identifier: MPL-2.0 */
/*
 * controller/fleet/engine.h in memory, for simulations: one store, any number of engines on it,
 * each with a link of its own, and faults of the links and of the store. It goes by the loop's
 * clock, so with tests/support/loop_fake.h the same program gives the same history.
 *
 * Without a delay a request is carried out and answered in the loop's next turns, in the order of
 * the calls.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/fleet/engine.h"
#include "specs/base/error.h"

struct engine_fake;
struct engine_fake_snapshot;
struct loop;

/* Empty, at revision 1, as etcd is. `loop` is borrowed. */
struct engine_fake *engine_fake_new(struct loop *loop);
void engine_fake_free(struct engine_fake *fake); /* all engines must be closed */

/* A client; engine_close() ends it. */
struct engine *engine_fake_connect(struct engine_fake *fake);

/* ---- faults of one engine's link ---- */

/* Nothing arrives, either way: requests under way are lost and time out, watches hear nothing and
 * end after two ticks without an answer. A watch that lives to see the end of it gets everything.
 */
void engine_fake_cut(struct engine *engine, bool is_cut);

/* Each request takes so long to the store, and its answer as long back; events as long. */
void engine_fake_delay(struct engine *engine, int64_t ms);

/* The next `n` transactions happen, but their answers are lost: ENGINE_UNKNOWN. */
void engine_fake_lose_answers(struct engine *engine, unsigned n);

/* The next `n` transactions happen so long after their caller was given ENGINE_UNKNOWN, or
 * cancelled them, whatever the link and the engine are then. Their compares are judged when they
 * happen. */
void engine_fake_make_late(struct engine *engine, unsigned n, int64_t ms);

/* Every request fails with this at once, and watches end; ERR_NONE: no longer. */
void engine_fake_refuse(struct engine *engine, enum error_code code);

/* How many requests and watches it was asked for. */
size_t engine_fake_calls(const struct engine *engine);

/* ---- faults of the store ---- */

/* Drops what lies before `revision`: reads of older ones and watches from them fail. */
void engine_fake_compact(struct engine_fake *fake, int64_t revision);

/* All of the store, and back to it: the revision goes back, the store's id stays, watches end,
 * leases have their whole TTL again. A snapshot may be restored many times; free it. */
struct engine_fake_snapshot *engine_fake_save(const struct engine_fake *fake);
void engine_fake_restore(struct engine_fake *fake, const struct engine_fake_snapshot *snapshot);
void engine_fake_snapshot_free(struct engine_fake_snapshot *snapshot);

/* Another store, empty, at the same address. */
void engine_fake_wipe(struct engine_fake *fake);

/* Puts fail with ERR_FLEET_FULL. */
void engine_fake_fill(struct engine_fake *fake, bool is_full);

/* Ends a lease behind its owner's back, as a leader that is stuck does. */
void engine_fake_expire(struct engine_fake *fake, int64_t lease);

/* ---- as another client, at once ---- */

int64_t engine_fake_revision(const struct engine_fake *fake);
void engine_fake_put(struct engine_fake *fake, const char *key, const char *value);
void engine_fake_delete(struct engine_fake *fake, const char *key, bool is_prefix);
/* Borrowed until the next write; NULL: absent. */
const char *engine_fake_get(const struct engine_fake *fake, const char *key);
size_t engine_fake_count(const struct engine_fake *fake, const char *prefix);

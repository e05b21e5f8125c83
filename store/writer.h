/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The controller's store writer: one thread that owns every write transaction, because LMDB's write
 * lock can block (a stopped writer process blocks every other). Batches submitted together are
 * committed together (group commit), each still all-or-nothing; then the status bell is rung once.
 *
 * Completions come back on the submitting thread: when store_writer_fd() is readable, call
 * store_writer_dispatch().
 */
#pragma once

#include <stdbool.h>

struct error;
struct store;
struct store_batch;
struct store_writer;

enum store_writer_mode {
    STORE_WRITER_THREAD,
    STORE_WRITER_INLINE, /* commits inside submit(), for simulations that replay exactly */
};

/* `rc` is 0, -ERR_STORE_STALE (this batch only) or another error; `err` is set when rc < 0. */
typedef void store_writer_done(void *context, int rc, const struct error *err);

int store_writer_start(
    struct store *store, enum store_writer_mode mode, struct store_writer **ret, struct error *err);
int store_writer_fd(const struct store_writer *writer);
void store_writer_submit(struct store_writer *writer, struct store_batch *batch_take,
    store_writer_done *done, void *context);
/* While true, submitted batches are held and then committed together, for a caller that submits
 * several. At most for one turn of the loop. Without a thread it does nothing. */
void store_writer_hold(struct store_writer *writer, bool is_held);
void store_writer_dispatch(struct store_writer *writer);
/* Commits what was submitted, drops undelivered completions, ends the thread. NULL is fine. */
void store_writer_stop(struct store_writer *writer);

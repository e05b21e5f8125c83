/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A batch of writes that is committed as a whole or not at all. Records are encoded when they are
 * added, so a commit holds LMDB's write lock for copying bytes only.
 *
 * Compare-and-set: a batch whose expectation does not hold changes nothing and its commit returns
 * -ERR_STORE_STALE; read again, decide again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

struct store_batch;

struct store_batch *store_batch_new(void);
void store_batch_free(struct store_batch *batch); /* NULL is fine */
bool store_batch_is_empty(const struct store_batch *batch);

/*
 * Writes the desired record if the stored one still has `expected_revision` (0: must not exist).
 * The stored revision becomes expected_revision + 1, whatever desired->revision is.
 */
void store_batch_put_desired(
    struct store_batch *batch, const struct vm_desired *desired, uint64_t expected_revision);

/*
 * Writes the status if the name still belongs to this VM: the desired record has the same uid;
 * without a desired record (an orphan, a deletion nearly done), the stored status has it; with
 * neither, the name is free. Returns vm_mark.status after the write.
 */
uint64_t store_batch_put_status(
    struct store_batch *batch, const char *name, const struct vm_status *status);

/*
 * Stale unless a desired record of this name exists and has this uid. Commits a decision only
 * together with the record it was based on: a VM that was renamed meanwhile
 * (store/desired/rename.h) has freed its name, and nothing may be written under it.
 */
void store_batch_expect_vm(struct store_batch *batch, const char *name, const char *uid);

/* Drops desired record and status if the name still belongs to this VM, as above, and its leases
 * unless the VM exists under another name. */
void store_batch_forget_vm(struct store_batch *batch, const char *name, const char *uid);

/* Takes the lease for the VM; stale when another uid holds the key. Same holder: no change. */
void store_batch_take_lease(struct store_batch *batch, const struct lease *lease);
/* Calls each() with the key of every lease that the batch takes; keys are valid as long as the
 * batch. */
void store_batch_each_lease(
    const struct store_batch *batch, void (*each)(void *context, const char *key), void *context);
void store_batch_drop_lease(struct store_batch *batch, const char *key);

/* Writes a JSON record of STORE_IMAGES, STORE_SOURCES, STORE_META or STORE_FLEET, or removes it
 * when `record` is NULL. `record` is borrowed, `key` is not empty and may be of any length. */
void store_batch_put_json(
    struct store_batch *batch, enum store_table table, const char *key, const json_t *record);

/* Stale unless the table has exactly this record under the key; NULL: no record. */
void store_batch_expect_json(
    struct store_batch *batch, enum store_table table, const char *key, const json_t *record);

/* Adds an event. If one of the VM's last 16 events has the same reason and message, its count is
 * increased and it gets a new sequence instead. The newest 10 000 of all VMs are kept. `message`
 * may be NULL. */
void store_batch_add_event(struct store_batch *batch, const char *vm_name, bool is_warning,
    enum reason reason, const char *message, int64_t now_ms);

/* One durable transaction on the calling thread. Blocks while another process writes (the CLI may;
 * the controller uses store/writer.h). Holds back SIGINT, SIGTERM, SIGTSTP, SIGHUP and SIGQUIT
 * meanwhile. ERR_NO_SPACE when the disk is full: nothing was changed. Does not ring the doorbell.
 */
int store_commit(struct store *store, const struct store_batch *batch, struct error *err);

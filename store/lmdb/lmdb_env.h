/* SPDX-License-Identifier: MPL-2.0 */
/*
 * LMDB behind the store: one environment, its transactions, and recovery from errors that callers
 * need not handle. Private to store/.
 *
 * What lmdb.h leaves to its users and is done here:
 * - MDB_MAP_RESIZED, MDB_MAP_FULL, MDB_READERS_FULL, MDB_PANIC: remap, grow, clear dead readers,
 *   reopen, and run the transaction again. Remapping is forbidden while any transaction is open in
 *   this process, hence `map_lock`: shared by every transaction, exclusive for remapping.
 * - A reader slot is tied to the pid, and two pid namespaces may have the same one: then the read
 *   transaction fails with EAGAIN and the read is done in a write transaction, which needs no slot.
 * - A process stopped inside a write transaction blocks every other writer, so the signals a
 *   terminal sends are blocked meanwhile (SIGKILL is harmless: LMDB's mutex is robust).
 */
#pragma once

#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "specs/base/paths.h"
#include "store/record.h"
#include "store/store.h"

struct error;

/* STORE_FLEET of a store that an older vmctl made and that can only be read. */
#define LMDB_NO_TABLE ((MDB_dbi)-1)

/* See lmdb_index.h. */
#define LMDB_INDEX_NAME "by-source"
#define LMDB_CHANGES_NAME "changes"
#define LMDB_HELD_NAME "leases-by-vm"
#define LMDB_BLOCKS_NAME "event-blocks"
enum { LMDB_TABLES_MAX = STORE_TABLE_COUNT_ + 4 };

struct store {
    MDB_env *env; /* NULL after a failed reopening: the next transaction tries again */
    MDB_dbi tables[STORE_TABLE_COUNT_]; /* LMDB_NO_TABLE: it is not there, and is read as empty */
    MDB_dbi by_source, changes, held;   /* lmdb_index.h, */
    MDB_dbi event_blocks;               /* lmdb_event_blocks.h */
    bool is_indexing;                   /* the write transaction that is open keeps the index, */
    uint64_t changes_since;             /* and this of it, */
    size_t n_changes;                   /* of as many records */
    struct paths paths;
    char *path; /* DATA/store */
    size_t map_bytes;
    bool is_relaxed;   /* MDB_NOMETASYNC: a power cut may take the last transactions back */
    bool is_read_only; /* its file system was when it was opened: read without locks */
    pthread_rwlock_t map_lock;
    atomic_uint commits;
    atomic_flag has_warned; /* of a damaged record: once for each opening */
};

/* Opens the environment and its tables, making what is missing. Returns an LMDB code, or
 * -ERR_STORE_VERSION with `err` set. */
int lmdb_open(struct store *store, struct error *err);
void lmdb_close(struct store *store);

/* Sets `err` from an LMDB code or errno: "what: why", with a help line where it is known. */
int lmdb_error(const struct store *store, int rc, const char *what, struct error *err);

/* ---- recovery ---- */

/* After a transaction failed with `rc`: true when another try may succeed. */
bool lmdb_recover(struct store *store, int rc, int attempt);
int lmdb_clear_dead_readers(struct store *store); /* returns how many there were */

/* ---- reading ---- */

struct lmdb_read {
    MDB_txn *txn;
    bool is_write;
    sigset_t mask; /* to restore, when is_write */
};
int lmdb_read_begin(struct store *store, struct lmdb_read *read, struct error *err);
void lmdb_read_end(struct store *store, struct lmdb_read *read);

/* ---- writing ---- */

/*
 * What a write transaction does: returns 0 to commit, LMDB_UNCHANGED when it has written nothing,
 * or an LMDB code or a code of its own (negative and above -1000, LMDB's are below) to abort. May
 * be run again, so it must not keep what it did. It writes by lmdb_put() and lmdb_remove().
 */
enum { LMDB_UNCHANGED = -999 };
typedef int lmdb_write_body(struct store *store, MDB_txn *txn, void *context);
int lmdb_write(struct store *store, lmdb_write_body *body, void *context);

/*
 * From now on a commit waits for its data but not for the page that makes it count
 * (MDB_NOMETASYNC): half the time, never a damaged store, and only a power cut can take the last
 * transactions back.
 */
void lmdb_relax(struct store *store);

/* Flushes what a relaxed environment left unsynced. */
int lmdb_sync(struct store *store);

/* ---- small things ---- */

/* Blocks the signals of a terminal while the write lock is held; release restores the mask. */
void lmdb_hold_signals(sigset_t *ret_previous);
void lmdb_release_signals(const sigset_t *previous);

/* Whether a read transaction failed for want of a reader slot: a write transaction needs none. */
bool lmdb_lacks_slot(int rc);

static inline MDB_val lmdb_value(const void *data, size_t n)
{
    return (MDB_val){.mv_size = n, .mv_data = (void *)(uintptr_t)data};
}

static inline struct bytes lmdb_bytes(MDB_val value)
{
    return (struct bytes){value.mv_data, value.mv_size};
}

/* Numbers in keys are big-endian, so that LMDB's order of bytes is theirs. */
enum { LMDB_NUMBER_BYTES = 8 };
MDB_val lmdb_number_key(uint64_t number, unsigned char bytes[LMDB_NUMBER_BYTES]); /* in `bytes` */
/* The number that the key begins with. */
uint64_t lmdb_number_of(MDB_val key);

/* mdb_put() of a record and its checksum. */
int lmdb_put(
    struct store *store, MDB_txn *txn, enum store_table table, MDB_val key, struct bytes value);

/* mdb_del() of a record; MDB_NOTFOUND: there is none. */
int lmdb_remove(struct store *store, MDB_txn *txn, enum store_table table, MDB_val key);

/* mdb_get() by text key, without the checksum (checksum_take()); a key that cannot exist is
 * MDB_NOTFOUND. */
int lmdb_get(
    struct store *store, MDB_txn *txn, enum store_table table, const char *key, struct bytes *ret);
/* *ret_sum: checksum_of() the result; left alone where there is none. */
int lmdb_get_summed(struct store *store, MDB_txn *txn, enum store_table table, const char *key,
    struct bytes *ret, uint64_t *ret_sum);

/* Whether the record still ends with the checksum that it had, 0: whether there still is none. Its
 * bytes are neither read nor checked: for who has them already. */
int lmdb_is_unchanged(struct store *store, MDB_txn *txn, enum store_table table, const char *key,
    uint64_t sum, bool *ret);

/* A VM's name becomes the name of a directory. A key of the tables of VMs that no VM can have is no
 * record's: the page it is on is damaged, and nothing else on it can be trusted. */
bool lmdb_is_vm_name(struct bytes key);

/* Reads the whole store in a child process, as damaged pages may crash their reader: 0, or
 * MDB_CORRUPTED. Takes milliseconds: for a suspected store, and before the controller opens one.
 */
int lmdb_check_pages(const char *path);

/* Whether LMDB can work on the pages that the data file, mapped, has as of a transaction: those of
 * its trees and lists are what they should be, each in one place. */
bool lmdb_pages_are_sound(const void *map, size_t n, uint64_t txn);

/* Whether the tables were made in a transaction before this one: the first one makes all. */
bool lmdb_has_tables(MDB_txn *txn, bool is_read_only);

/* In STORE_META: the names that vms/ had when the store was made; none: no such record. */
#define STORE_FOUND_KEY "found"

const char *lmdb_table_name(enum store_table table);

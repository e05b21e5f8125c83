/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The store of all records: LMDB under DATA/store, shared by every vmctl and vmctld process.
 *
 * Readers see one consistent snapshot and are never blocked. Writers build a batch (store/batch.h)
 * and commit it in one durable transaction, or hand it to the writer thread (store/writer.h); after
 * a commit the doorbell is rung (store/bell.h). The interface is narrow on purpose: get, list,
 * compare-and-set, watch. No caller sees an LMDB type or holds a transaction.
 *
 * Opening: made with mode 0700/0600, read-write (a read-only open of a half-made store fails),
 * retried when another process is just making it; refuses network file systems and newer schemas.
 * On a file system that is read-only it opens for reading, and each commit tries whether that has
 * changed. A full map grows; readers that died are cleared.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/base/json.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "specs/vm/vm_summary.h"

struct error;
struct paths;
struct store;
struct strings;

/* The order is part of the format: a record's checksum includes its table. */
enum store_table {
    STORE_DESIRED,
    STORE_STATUS,
    STORE_EVENTS,
    STORE_LEASES,
    STORE_IMAGES,
    STORE_SOURCES,
    STORE_META,
    STORE_FLEET, /* what other nodes have, and requests to them: specs/fleet/fleet_keys.h */
    STORE_TABLE_COUNT_
};

/*
 * ERR_STORE_VERSION: made by a newer vmctl. ERR_STORE: cannot be opened, or is damaged; the help
 * line has the command that moves it aside. A store belongs to the process that opened it: never
 * use it, nor close it, after fork(). Reads and store_commit() may be called from any thread.
 */
int store_open(const struct paths *paths, struct store **ret, struct error *err);
void store_close(struct store *store);                      /* NULL is fine */
const struct paths *store_paths(const struct store *store); /* borrowed */

/* Returns the number of transactions ever committed. */
uint64_t store_commits(const struct store *store);

/* Unmaps pages that were read, so that they no longer count as memory of an idle process; the
 * kernel keeps them in its cache. Returns false while a transaction is open. */
bool store_unload(struct store *store);

/* For main(): a store whose pages are damaged ends the process with a message and the exit status
 * of ERR_STORE, not with a crash. See store/lmdb/guard.h. */
void store_guard(void);

/* Reads every page of the store, if there is one, in a child process: ERR_STORE when it is damaged.
 * Takes milliseconds; before any thread is started. */
int store_check(const struct paths *paths, struct error *err);

/* Reads every record: adds "web (desired)" for each one that cannot be read, key and table, and
 * "all VMFiles (index)", "all leases (index)" or "all events (index)" if the index says something
 * else than the records.
 */
int store_find_damage(struct store *store, struct strings *names, struct error *err);

/* ---- one VM, in one snapshot ---- */

/* A port or MAC address a VM holds: "tcp/10022" or "mac/52:54:00:…". */
struct lease {
    char *key;
    char uid[TEXT_ID_SIZE]; /* of the VM */
    char *vm_name;
    char *purpose; /* "ssh", "forward", "mac" */
};

/* Identifies the contents of a VM's records, to compare two reads. */
struct vm_mark {
    uint64_t desired, status; /* 0: there is none */
};
#define VM_MARK_NEVER ((struct vm_mark){UINT64_MAX, UINT64_MAX})

/* All records of one name. A member is NULL if there is no such record. */
struct vm_record {
    char *name;
    struct vm_desired *desired;
    struct vm_status *status;
    struct vm_mark mark; /* not of store_list() */
    bool is_damaged; /* store_list() only: a NULL member may stand for a record that cannot be read
                      */
};

/* A record that cannot be read is ERR_STORE, naming table and key. */

int store_get(struct store *store, const char *name, struct vm_record *ret, struct error *err);
/* store_get() if the records differ from *mark, which is updated. Else *ret_is_changed is false and
 * *ret is not set. */
int store_get_changed(struct store *store, const char *name, struct vm_mark *mark,
    struct vm_record *ret, bool *ret_is_changed, struct error *err);
/* Returns whether either table has a record of the name, readable or not. */
int store_has(struct store *store, const char *name, bool *ret, struct error *err);
void vm_record_clear(struct vm_record *record);

/*
 * All VMs (of either table), sorted by name, from one snapshot. A record that cannot be read does
 * not hide the others: its member is NULL, the VM is_damaged (leave it alone: it is not an orphan),
 * and a warning is logged once.
 */
struct vm_list {
    struct vm_record *records;
    size_t count;
};
int store_list(struct store *store, struct vm_list *ret, struct error *err);
void vm_list_clear(struct vm_list *list);

/* Appends the names of the VMs that came from the VMFile at `source` and are not being deleted, in
 * their order. By an index: a command does not cost more where there are more VMs of others. */
int store_list_source(
    struct store *store, const char *source, struct strings *names, struct error *err);

/* All VMs for `list`: summaries only, no JSON parsed. */
struct vm_summary {
    char *name;
    bool has_desired, has_status;
    bool is_damaged;        /* a record is there and cannot be read; its summary is all zero */
    char uid[TEXT_ID_SIZE]; /* of the desired record; its revision moves with each write of it */
    uint64_t revision;
    struct desired_summary desired;
    struct status_summary status;
};
struct vm_summary_list {
    struct vm_summary *items;
    size_t count;
};
int store_list_summaries(struct store *store, struct vm_summary_list *ret, struct error *err);
/* The same without the summaries, of which none is read: which records there are of which VMs. */
int store_list_heads(struct store *store, struct vm_summary_list *ret, struct error *err);
/* Of the VMs whose desired records were written or removed since *since, a result of this function:
 * as above, the oldest change first; one that has neither record is gone. *ret_is_known is
 * false, and *ret empty, where that is not known: look at all then. *since becomes what is to be
 * asked for next, also then. 0 is never known. */
int store_list_changed(struct store *store, uint64_t *since, struct vm_summary_list *ret,
    bool *ret_is_known, struct error *err);
void vm_summary_list_clear(struct vm_summary_list *list);

/* Returns whether the directory of a VM without a record may belong to an earlier store: true for
 * directories that existed when this store was made, for all while it has no VM, and when the store
 * cannot be read. */
bool store_may_have_lost(struct store *store, const char *vm_name);
/* Appends the directories of VMs that have no record, from any store: "vms/web", "quarantine/db-1".
 */
int store_list_orphans(struct store *store, struct strings *names, struct error *err);

struct lease_list {
    struct lease *items;
    size_t count;
};
/* The uid of the VM that holds a key; "" when none does, and "?" when the lease cannot be read (the
 * key is taken all the same). `ret_name` may be NULL; else it receives the VM's name (caller owns),
 * or NULL. */
int store_lease_holder(struct store *store, const char *key, char ret_uid[TEXT_ID_SIZE],
    char **ret_name, struct error *err);
/* Calls back with each key from `first` to `last`, in byte order, that has a holder. */
int store_each_lease_between(struct store *store, const char *first, const char *last,
    void (*each)(void *context, const char *key), void *context, struct error *err);
/* The leases that the VM holds; NULL: all leases, including unreadable ones. */
int store_list_leases(
    struct store *store, const char *vm_name, struct lease_list *ret, struct error *err);
void lease_list_clear(struct lease_list *list);

/* ---- plain JSON records: images, sources, meta, fleet ---- */

/* *ret is NULL when there is no such key. Caller owns. */
int store_get_json(
    struct store *store, enum store_table table, const char *key, json_t **ret, struct error *err);
/* An object {key: record} of the whole table. Caller owns. */
int store_list_json(struct store *store, enum store_table table, json_t **ret, struct error *err);
/* Calls back with the text of each record of the table, in the order of the keys, from one
 * snapshot. Both are valid until it returns, and it must not use the store. A record that cannot be
 * read is left out, as by store_list_json(). */
typedef void store_text_fn(void *context, const char *key, struct bytes text);
int store_each_text(struct store *store, enum store_table table, store_text_fn *each, void *context,
    struct error *err);
/* store_list_json() of the keys that begin with `prefix`, which is short. */
int store_list_json_below(struct store *store, enum store_table table, const char *prefix,
    json_t **ret, struct error *err);

/* ---- events, oldest first ---- */

struct vm_event {
    uint64_t sequence; /* ever rising, over all VMs */
    char *vm_name;
    bool is_warning;
    enum reason reason;
    char *message;
    uint32_t count; /* how many alike were folded into this one */
    int64_t first_ms, last_ms;
};
struct event_list {
    struct vm_event *items;
    size_t count;
};
/* Events of `vm_name` (NULL: of all) with a sequence above `after`, the newest `limit` (0: all).
 * An event that was counted up comes again, under a new sequence. */
int store_list_events(struct store *store, const char *vm_name, uint64_t after, size_t limit,
    struct event_list *ret, struct error *err);
void event_list_clear(struct event_list *list);

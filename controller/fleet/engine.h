/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The store that the nodes of a fleet share: a map from keys to bytes with one revision,
 * transactions that compare, watches and leases. controller/fleet/etcd/ implements it with etcd,
 * tests/support/engine_fake.h in memory, with faults that a test chooses.
 *
 * Every call starts an operation on the loop (controller/loop/op.h): it never blocks, ends once,
 * and reports nothing once it is cancelled. A request ends after `timeout_ms` at the latest, a
 * watch when it breaks. Arguments are copied at the call. Results are complete when `done` reports
 * success; after an error they are unchanged, except for a transaction's outcome.
 *
 * Keys are text without a NUL; rows and events omit keys that contain one. Values are bytes.
 * Revisions count the writes of the whole store from 1. They decrease only if the store was
 * restored from a backup or wiped: to detect that, a caller compares `store` and `revision` of a
 * result with those it saw before.
 *
 * Errors, each with the endpoint in its message:
 *   ERR_FLEET_UNREACHABLE  no endpoint with a leader answered in time; a watch stopped reporting
 *   ERR_FLEET_TLS          a certificate is expired, unknown, or cannot be read
 *   ERR_FLEET_DENIED       the certificate's user may not do this
 *   ERR_FLEET_VERSION      it is not etcd 3.4 or newer, or what it sent is not its protocol
 *   ERR_FLEET_COMPACTED    the revision asked for is no longer kept: read again, without one
 *   ERR_FLEET_LIMIT        the request has too many writes or bytes, or the answer has too many
 *   ERR_FLEET_FULL         the store has reached its quota and takes no writes
 *   ERR_FLEET_LEASE        the lease does not exist, or has ended
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/loop/op.h"
#include "specs/base/text.h"

struct error;

enum {
    ENGINE_TIMEOUT_MS = 7000,
    ENGINE_WRITES_MAX = 128, /* compares, and writes and reads, of one transaction: etcd's */
    ENGINE_REQUEST_MAX = 1536 << 10, /* bytes of a request: etcd's */
    ENGINE_ANSWER_MAX = 64 << 20,    /* bytes of an answer or of a watch's message: ours */
};

/* ---- reading ---- */

/* One key, or all that begin with `key`, in the order of their bytes. */
struct engine_range {
    const char *key;
    bool is_prefix;
    const char *after;  /* of a prefix: only keys behind this one; NULL: all. For pages: the last
                         * key of the page before */
    uint32_t limit;     /* rows at most; 0: all */
    int64_t revision;   /* as of then; 0: now */
    bool has_keys_only; /* rows without values */
    bool may_be_stale;  /* as the member has it, without asking the others: also without a leader */
};

struct engine_row {
    const char *key;
    struct bytes value; /* a NUL follows it */
    int64_t create_revision;
    int64_t mod_revision;
    int64_t lease; /* 0: none */
};

/* Zero-initialised by its owner, who clears it; rows and texts live until then. */
struct engine_rows {
    struct engine_row *rows;
    size_t n;
    bool has_more;    /* `limit` left some out */
    int64_t revision; /* of the store when it answered, not the one asked for */
    uint64_t store;   /* which store answered: etcd's cluster id */
    void *memory;     /* the implementation's */
    void (*free_memory)(void *memory);
};
void engine_rows_clear(struct engine_rows *rows);

/* The row of `key`, borrowed; NULL: none. */
const struct engine_row *engine_rows_find(const struct engine_rows *rows, const char *key);

/* ---- writing ---- */

enum engine_condition {
    ENGINE_IF_ABSENT,
    ENGINE_IF_PRESENT,
    ENGINE_IF_REVISION, /* `revision` is its mod_revision */
    ENGINE_IF_VALUE,    /* `value` is its value; a key that is absent has none */
};

struct engine_compare {
    enum engine_condition condition;
    const char *key;
    int64_t revision;
    struct bytes value;
};

enum engine_write_kind { ENGINE_PUT, ENGINE_DELETE, ENGINE_DELETE_PREFIX };

struct engine_write {
    enum engine_write_kind kind;
    const char *key;
    struct bytes value; /* of a put */
    int64_t lease;      /* of a put: deleted when that ends; 0: none */
};

/*
 * If all compares hold, all writes take effect, as one revision; otherwise none does. The reads are
 * made in either case, after the writes and in the same revision. A transaction writes a key at
 * most once: it does not put it twice, nor put and delete it. Without writes it is a read that a
 * majority confirms.
 */
struct engine_txn {
    const struct engine_compare *compares;
    size_t n_compares;
    const struct engine_write *writes;
    size_t n_writes;
    const struct engine_range *reads; /* without a revision */
    size_t n_reads;
};

enum engine_outcome {
    ENGINE_NOT_DONE,  /* `err` says why; it will not happen later either */
    ENGINE_UNKNOWN,   /* `err` says why; it may have happened, or may yet: read, then decide */
    ENGINE_FAILED,    /* a compare does not hold; no error */
    ENGINE_SUCCEEDED, /* no error */
};

/* Checks the size against what a store accepts: ERR_FLEET_LIMIT, with the limit that is exceeded.
 * Every implementation calls it first; a caller that packs many writes into one transaction may
 * call it, too. */
int engine_txn_check(const struct engine_txn *txn, struct error *err);

/* Zero-initialised by its owner, who clears it. */
struct engine_result {
    enum engine_outcome outcome; /* also set when `done` reports an error */
    int64_t revision;            /* of the store; of the writes, if it succeeded with some */
    uint64_t store;
    struct engine_rows *reads; /* as many as the transaction has; NULL unless it was answered */
    size_t n_reads;
};
void engine_result_clear(struct engine_result *result);

/* ---- watching ---- */

enum engine_event_kind { ENGINE_WAS_PUT, ENGINE_WAS_DELETED };

struct engine_event {
    enum engine_event_kind kind;
    struct engine_row row; /* of a deleted key: no value; mod_revision is the deletion's */
};

struct engine_watch {
    const char *const *prefixes;
    size_t n_prefixes; /* disjoint: an event is reported once for each it matches */
    int64_t revision;  /* the first whose events are reported */
};

/*
 * For each prefix, events come in the order of their revisions, and all events of one revision in
 * one call; between prefixes there is no order. They are borrowed for the call.
 *
 * A call without events reports progress, about every six seconds: the connection works, and all
 * events up to `revision`, for all prefixes, were reported before. A store that has not reached the
 * watch's revision (it was restored or wiped, or its member lags) ends the watch instead; the next
 * read shows the reason.
 */
typedef void engine_events_fn(
    void *context, const struct engine_event *events, size_t n, int64_t revision);

/* ---- leases ---- */

struct engine_lease {
    int64_t id;
    int64_t ttl_ms; /* as granted or left; etcd counts in seconds and may grant more than asked */
};

/* ---- which store this is ---- */

struct engine_status {
    uint64_t store;  /* etcd's cluster id: a restore keeps it, a new cluster has another one */
    uint64_t member; /* that answered */
    uint64_t leader; /* a member; 0: it knows of none */
    uint64_t term;   /* raft's: rises with each election */
    int64_t revision;
    int64_t size_bytes; /* of its database */
    bool is_full;       /* the alarm NOSPACE is raised: no writes until it is disarmed */
    char version[24];   /* "3.4.23" */
    char endpoint[256]; /* that answered */
};

/* ---- the engine ---- */

struct engine;

/* All returned operations belong to the caller (op.h). */
struct engine_ops {
    struct op *(*range)(struct engine *engine, const struct engine_range *range,
        struct engine_rows *rows, op_done_fn *done, void *context);

    /* `done` reports success for ENGINE_FAILED and ENGINE_SUCCEEDED. One that is cancelled may
     * happen all the same. */
    struct op *(*txn)(struct engine *engine, const struct engine_txn *txn,
        struct engine_result *result, op_done_fn *done, void *context);

    /* Its `done` always has an error: the watch's end, after which nothing is reported. The caller
     * reads again and watches from there. It may be cancelled inside `events`. */
    struct op *(*watch)(struct engine *engine, const struct engine_watch *watch,
        engine_events_fn *events, op_done_fn *done, void *context);

    struct op *(*lease_grant)(struct engine *engine, int64_t ttl_ms, struct engine_lease *lease,
        op_done_fn *done, void *context);
    /* Renews it once; `lease` gets what is left. ERR_FLEET_LEASE: it has ended. That a lease is
     * renewed does not prove that a majority still has its keys: a transaction does. */
    struct op *(*lease_keep)(struct engine *engine, int64_t id, struct engine_lease *lease,
        op_done_fn *done, void *context);
    /* Ends it, with its keys. One that is not there is a success. */
    struct op *(*lease_revoke)(struct engine *engine, int64_t id, op_done_fn *done, void *context);

    /* Of the member at `endpoint`, one of those configured; NULL: of the first that answers, which
     * further requests then go to. */
    struct op *(*status)(struct engine *engine, const char *endpoint, struct engine_status *status,
        op_done_fn *done, void *context);

    /* Closes the connections; all operations must be over. Leases stay until they expire. */
    void (*close)(struct engine *engine);
};

/* The first member of an implementation, which makes it and sends nothing before the first
 * request. */
struct engine {
    const struct engine_ops *ops;
    int64_t timeout_ms; /* of each request from now on; ENGINE_TIMEOUT_MS at first */
};

void engine_close(struct engine *engine); /* NULL is fine */

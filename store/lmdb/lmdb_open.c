/* SPDX-License-Identifier: MPL-2.0 */
#include "store/lmdb/lmdb_env.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/vm_name.h"
#include "store/lmdb/guard.h"
#include "store/lmdb/lmdb_index.h"

enum {
    SCHEMA_VERSION = 2, /* of the layout in record.h: raised when an older vmctl cannot read it */
    READERS_MAX = 512,
    OPEN_ATTEMPTS = 5,
    OPEN_RETRY_MS = 10,
    RESERVE_BYTES = 1 << 20,
    LOCK_FILE_BYTES = 64 * 1024, /* more than READERS_MAX slots of 64 bytes and the header */
};

#define SCHEMA_KEY "schema"

static const char *const table_names[] = {
    [STORE_DESIRED] = "desired",
    [STORE_STATUS] = "status",
    [STORE_EVENTS] = "events",
    [STORE_LEASES] = "leases",
    [STORE_IMAGES] = "images",
    [STORE_SOURCES] = "sources",
    [STORE_META] = "meta",
    [STORE_FLEET] = "fleet",
};
_Static_assert(ARRAY_LEN(table_names) == STORE_TABLE_COUNT_, "every table has a name");

const char *lmdb_table_name(enum store_table table)
{
    return table_names[table];
}

/*
 * A data file cut off by a failed copy still has good meta pages, and touching a page behind its
 * end is SIGBUS. But a healthy file may lack its last pages as well, when they were taken and given
 * back in one transaction and so never written. Hence the pages of a short file are checked.
 */
static int check_length(struct store *store)
{
    MDB_stat stat;
    MDB_envinfo info;
    struct stat file;
    int fd;
    int rc = mdb_env_stat(store->env, &stat);
    if (rc != 0 || (rc = mdb_env_info(store->env, &info)) != 0 ||
        (rc = mdb_env_get_fd(store->env, &fd)) != 0) {
        return rc;
    }
    if (stat.ms_psize == 0 || info.me_last_pgno >= info.me_mapsize / stat.ms_psize) {
        return MDB_CORRUPTED;
    }
    if (fstat(fd, &file) < 0) {
        return errno;
    }
    bool is_short = (uint64_t)file.st_size < (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
    return is_short ? lmdb_check_pages(store->path) : 0;
}

static int check_schema(struct store *store, MDB_txn *txn, bool has_tables, struct error *err)
{
    struct bytes value;
    int rc = lmdb_get(store, txn, STORE_META, SCHEMA_KEY, &value);
    if (rc != 0) {
        return rc == MDB_NOTFOUND && has_tables ? MDB_CORRUPTED : rc;
    }
    const char *key;
    cleanup_json json_t *json = NULL;
    struct error ignored = {0};
    if (record_decode_json(value, &key, &json, &ignored) < 0 || !json_is_integer(json)) {
        return MDB_CORRUPTED;
    }
    if (json_integer_value(json) > SCHEMA_VERSION) {
        return error_set(err, ERR_STORE_VERSION,
            "the store in '%s' has version %lld, this vmctl %s knows versions up to %d",
            store->path, (long long)json_integer_value(json), VMCTL_VERSION, SCHEMA_VERSION);
    }
    /* An older one is as good: what is written from now on is of this version. */
    return json_integer_value(json) < SCHEMA_VERSION ? MDB_NOTFOUND : 0;
}

static int put_schema(struct store *store, MDB_txn *txn)
{
    cleanup_buf struct buf value = BUF_INIT(0);
    cleanup_json json_t *version = json_integer(SCHEMA_VERSION);
    record_encode_json(&value, SCHEMA_KEY, version);
    return lmdb_put(store, txn, STORE_META, lmdb_value(SCHEMA_KEY, strlen(SCHEMA_KEY)),
        (struct bytes){value.data, value.len});
}

static void note_name(void *context, int dir_fd, const char *name)
{
    (void)dir_fd;
    cleanup_free char *full = vm_name_of_flat(name);
    const char *known = full ? full : name;
    if (lmdb_is_vm_name((struct bytes){known, strlen(known)})) {
        (void)json_array_append_new(context, json_string(known));
    }
}

/* A store before this one may have known them; later they would look like leftovers. */
static int put_found(struct store *store, MDB_txn *txn)
{
    cleanup_buf struct buf value = BUF_INIT(0);
    cleanup_free char *directory = paths_path(&store->paths, "vms");
    cleanup_json json_t *names = json_array();
    fs_each_entry(directory, note_name, names);
    if (json_array_size(names) == 0) {
        return 0;
    }
    record_encode_json(&value, STORE_FOUND_KEY, names);
    return lmdb_put(store, txn, STORE_META, lmdb_value(STORE_FOUND_KEY, strlen(STORE_FOUND_KEY)),
        (struct bytes){value.data, value.len});
}

bool lmdb_has_tables(MDB_txn *txn, bool is_read_only)
{
    return mdb_txn_id(txn) > (is_read_only ? 0 : 1); /* a writing one has the next number */
}

/*
 * Normally reads only, without the write lock; then MDB_NOTFOUND: there are no tables yet, or their
 * schema is older. With `creates`, makes them. A table that is missing once they were made is on a
 * page that is damaged: made again it would be empty, and the store one without VMs.
 */
static int open_tables(struct store *store, bool creates, struct error *err)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(store->env, NULL, creates ? 0 : MDB_RDONLY, &txn);
    if (rc != 0) {
        return rc;
    }
    bool has_tables = lmdb_has_tables(txn, !creates);
    for (int i = 0; rc == 0 && i < STORE_TABLE_COUNT_; i++) {
        bool may_lack = i == STORE_FLEET; /* it is younger, and a copy of what is elsewhere */
        unsigned flags = creates && (!has_tables || may_lack) ? MDB_CREATE : 0;
        rc = mdb_dbi_open(txn, table_names[i], flags, &store->tables[i]);
        if (rc == MDB_NOTFOUND && may_lack && store->is_read_only) {
            store->tables[i] = LMDB_NO_TABLE;
            rc = 0;
        }
        rc = rc == MDB_NOTFOUND && has_tables && !may_lack ? MDB_CORRUPTED : rc;
    }
    if (rc == 0) {
        rc = check_schema(store, txn, has_tables, err);
        rc = rc == MDB_NOTFOUND && creates ? put_schema(store, txn) : rc;
        rc = rc == 0 && creates && !has_tables ? put_found(store, txn) : rc;
        rc = rc != 0                  ? rc
             : creates && !has_tables ? lmdb_index_make(store, txn)
                                      : lmdb_index_open(store, txn);
    }
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn); /* also when only read: an abort would close the tables again */
}

/* A store that an older vmctl made has none, and is read without when the disk is full. */
static void make_index(struct store *store)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (rc == 0 && (rc = lmdb_index_make(store, txn)) != 0) {
        mdb_txn_abort(txn);
    } else if (rc == 0) {
        rc = mdb_txn_commit(txn);
    }
    if (rc != 0) {
        store->by_source = LMDB_NO_TABLE;
    }
}

/*
 * LMDB makes the lock file sparse and maps it: the first write to it on a full disk is SIGBUS. Only
 * a file without blocks is opened here, because closing it gives up this process' locks on it.
 */
static int reserve_lock_file(const struct store *store)
{
    cleanup_free char *path = mem_printf("%s/lock.mdb", store->path);
    struct stat file;
    if (stat(path, &file) == 0 && file.st_blocks > 0) {
        return 0;
    }
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    bool is_full = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, LOCK_FILE_BYTES) < 0 &&
                   (errno == ENOSPC || errno == EDQUOT);
    return is_full ? errno : 0; /* else a file system that cannot do it */
}

/* Reserves room for the records of a full disk: its error, and the next request of the user. */
static void reserve_space(const struct store *store)
{
    struct stat file;
    int fd;
    if (mdb_env_get_fd(store->env, &fd) != 0 || fstat(fd, &file) < 0) {
        return;
    }
    if (file.st_blocks * 512 < file.st_size + RESERVE_BYTES / 2) {
        (void)fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, file.st_size + RESERVE_BYTES);
    }
}

static int set_up(struct store *store, struct error *err)
{
    int rc, dead;
    const unsigned flags = MDB_NOTLS | (store->is_read_only ? MDB_RDONLY : 0);
    if ((rc = store->is_read_only ? 0 : reserve_lock_file(store)) != 0 ||
        (rc = mdb_env_set_maxdbs(store->env, LMDB_TABLES_MAX)) != 0 ||
        (rc = mdb_env_set_maxreaders(store->env, READERS_MAX)) != 0 ||
        (rc = mdb_env_set_mapsize(store->env, store->map_bytes)) != 0 ||
        (rc = mdb_env_open(store->env, store->path, flags, 0600)) != 0) {
        return rc;
    }
    guard_watch(store->env, store->path);
    if ((rc = mdb_reader_check(store->env, &dead)) != 0 || (rc = check_length(store)) != 0) {
        return rc;
    }
    rc = open_tables(store, false, err);
    if (store->is_read_only) {
        return rc == MDB_NOTFOUND ? EROFS : rc;
    }
    if (rc == MDB_NOTFOUND || lmdb_lacks_slot(rc)) {
        rc = open_tables(store, true, err);
    }
    if (rc == 0) {
        reserve_space(store);
    }
    if (rc == 0 && store->by_source == LMDB_NO_TABLE) {
        make_index(store);
    }
    if (rc == 0 && store->is_relaxed) {
        rc = mdb_env_set_flags(store->env, MDB_NOMETASYNC, 1);
    }
    return rc;
}

static int open_as(struct store *store, bool is_read_only, struct error *err)
{
    int rc = mdb_env_create(&store->env);
    store->is_read_only = is_read_only;
    if (rc != 0) {
        store->env = NULL;
        return rc;
    }
    guard_enter();
    rc = set_up(store, err);
    guard_leave();
    if (rc != 0) {
        lmdb_close(store);
    }
    return rc;
}

/* Of a file system that is read-only what is there can still be read. LMDB then takes no locks: who
 * writes it through another mount may change a page under the reader, which its checksum shows. */
static int open_once(struct store *store, struct error *err)
{
    int rc = open_as(store, false, err);
    return rc == EROFS ? open_as(store, true, err) : rc;
}

/* Tries again: a store that another process is creating looks damaged for a moment. */
int lmdb_open(struct store *store, struct error *err)
{
    static const struct timespec pause = {.tv_nsec = OPEN_RETRY_MS * 1000000L};
    sigset_t previous;
    lmdb_hold_signals(&previous); /* making the tables takes the write lock */
    int rc = open_once(store, err);
    for (int i = 1; i < OPEN_ATTEMPTS; i++) {
        if (rc == 0 || rc == -ERR_STORE_VERSION || rc == EACCES || rc == EPERM || rc == EROFS ||
            rc == ENOSPC || rc == EDQUOT) {
            break;
        }
        (void)nanosleep(&pause, NULL);
        rc = open_once(store, err);
    }
    lmdb_release_signals(&previous);
    return rc;
}

void lmdb_close(struct store *store)
{
    if (store->env) {
        guard_forget();
        mdb_env_close(store->env);
        store->env = NULL;
    }
}

/* SPDX-License-Identifier: MPL-2.0 */
/* Reading whole small tables: leases, and the plain JSON ones (images, sources, meta). */
#include "store/store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "store/bell.h"
#include "store/lmdb/checksum.h"
#include "store/lmdb/lmdb_env.h"
#include "store/lmdb/lmdb_events.h"
#include "store/lmdb/lmdb_index.h"
#include "store/repair.h"

typedef void table_visit(struct bytes key, struct bytes value, void *context);

static int visit_table(
    struct store *store, MDB_txn *txn, enum store_table table, table_visit *visit, void *context)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    if (store->tables[table] == LMDB_NO_TABLE) {
        return 0;
    }
    int rc = mdb_cursor_open(txn, store->tables[table], &cursor);
    if (rc != 0) {
        return rc;
    }
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        visit(lmdb_bytes(key), checksum_take(table, lmdb_bytes(key), lmdb_bytes(value)), context);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int read_table(struct store *store, enum store_table table, table_visit *visit,
    void *context, struct error *err)
{
    struct lmdb_read read;
    if (lmdb_read_begin(store, &read, err) < 0) {
        return -(int)err->code;
    }
    int rc = visit_table(store, read.txn, table, visit, context);
    lmdb_read_end(store, &read);
    return rc == 0 ? 0 : lmdb_error(store, rc, "cannot read a table", err);
}

/* A damaged lease still keeps its key taken, with an unknown holder. */
static void add_lease(struct bytes key, struct bytes value, void *context)
{
    struct lease_list *list = context;
    struct lease lease;
    if (!record_decode_lease(key, value, &lease)) {
        lease = (struct lease){.key = mem_strndup(key.data, key.n),
            .vm_name = mem_strdup(""),
            .purpose = mem_strdup("")};
    }
    mem_grow(list->items, list->count);
    list->items[list->count++] = lease;
}

struct key_visit {
    void (*each)(void *context, const char *key);
    void *context;
};

static int visit_keys(struct store *store, MDB_txn *txn, const char *first, const char *last,
    const struct key_visit *visit)
{
    MDB_cursor *cursor = NULL;
    MDB_val key = {strlen(first), (void *)(uintptr_t)first}, value;
    int rc = mdb_cursor_open(txn, store->tables[STORE_LEASES], &cursor);
    if (rc != 0) {
        return rc;
    }
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; rc == 0; rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        char name[RECORD_KEY_SIZE];
        size_t n = key.mv_size < sizeof(name) ? key.mv_size : sizeof(name) - 1;
        memcpy(name, key.mv_data, n);
        name[n] = '\0';
        if (strcmp(name, last) > 0) {
            break;
        }
        visit->each(visit->context, name);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int store_each_lease_between(struct store *store, const char *first, const char *last,
    void (*each)(void *context, const char *key), void *context, struct error *err)
{
    struct lmdb_read read;
    struct key_visit visit = {each, context};
    if (lmdb_read_begin(store, &read, err) < 0) {
        return -(int)err->code;
    }
    int rc = visit_keys(store, read.txn, first, last, &visit);
    lmdb_read_end(store, &read);
    return rc == 0 ? 0 : lmdb_error(store, rc, "cannot read the leases", err);
}

int store_lease_holder(struct store *store, const char *key, char ret_uid[TEXT_ID_SIZE],
    char **ret_name, struct error *err)
{
    struct lmdb_read read;
    struct bytes value;
    struct lease_list list = {0};
    if (lmdb_read_begin(store, &read, err) < 0) {
        return -(int)err->code;
    }
    int rc = lmdb_get(store, read.txn, STORE_LEASES, key, &value);
    if (rc == 0) {
        add_lease((struct bytes){key, strlen(key)}, value, &list);
    }
    lmdb_read_end(store, &read);
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return lmdb_error(store, rc, "cannot read a lease", err);
    }
    const struct lease *lease = list.count > 0 ? &list.items[0] : NULL;
    (void)snprintf(ret_uid, TEXT_ID_SIZE, "%s", !lease ? "" : lease->uid[0] ? lease->uid : "?");
    if (ret_name) {
        *ret_name = lease ? mem_strdup(lease->vm_name) : NULL;
    }
    lease_list_clear(&list);
    return 0;
}

struct lease_search {
    struct lease_list list;
    const char *vm_name; /* NULL: any */
};

/* The others are not copied: the table is as long as the fleet is large. */
static void add_lease_of(struct bytes key, struct bytes value, void *context)
{
    struct lease_search *search = context;
    const char *tab = value.n > 0 ? memchr(value.data, '\t', value.n) : NULL;
    size_t n = search->vm_name ? strlen(search->vm_name) : 0;
    bool has_room = tab && (size_t)(value.data + value.n - tab) > n + 1;
    if (!search->vm_name ||
        (has_room && memcmp(tab + 1, search->vm_name, n) == 0 && tab[n + 1] == '\t')) {
        add_lease(key, value, &search->list);
    }
}

/* MDB_NOTFOUND: the index does not say which they are. */
static int visit_leases_of(
    struct store *store, const struct lmdb_read *read, struct lease_search *search)
{
    cleanup_with(strings_clear) struct strings keys = {.count = 0};
    int rc =
        search->vm_name ? lmdb_index_leases(store, read, search->vm_name, &keys) : MDB_NOTFOUND;
    for (size_t i = 0; rc == 0 && i < keys.count; i++) {
        const struct bytes key = {keys.items[i], strlen(keys.items[i])};
        struct bytes value;
        rc = lmdb_get(store, read->txn, STORE_LEASES, keys.items[i], &value);
        if (rc == 0) {
            add_lease_of(key, value, search);
        }
    }
    return rc;
}

int store_list_leases(
    struct store *store, const char *vm_name, struct lease_list *ret, struct error *err)
{
    struct lmdb_read read;
    struct lease_search search = {.vm_name = vm_name};
    if (lmdb_read_begin(store, &read, err) < 0) {
        return -(int)err->code;
    }
    int rc = visit_leases_of(store, &read, &search);
    if (rc == MDB_NOTFOUND) {
        rc = visit_table(store, read.txn, STORE_LEASES, add_lease_of, &search);
    }
    lmdb_read_end(store, &read);
    if (rc != 0) {
        lease_list_clear(&search.list);
        return lmdb_error(store, rc, "cannot read the leases", err);
    }
    *ret = search.list;
    return 0;
}

void lease_list_clear(struct lease_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].key);
        free(list->items[i].vm_name);
        free(list->items[i].purpose);
    }
    free(list->items);
    *list = (struct lease_list){0};
}

static int check_key(struct bytes key, const char *stored_key, struct error *err)
{
    char bounded[RECORD_KEY_SIZE];
    record_key(stored_key, bounded);
    bool is_its_own = key.n == strlen(bounded) && memcmp(key.data, bounded, key.n) == 0;
    return is_its_own ? 0 : error_set(err, ERR_STORE, "the record belongs to another key");
}

static int decode_json(
    struct bytes key, struct bytes value, const char **ret_key, json_t **ret, struct error *err)
{
    int rc = record_decode_json(value, ret_key, ret, err);
    if (rc == 0 && (rc = check_key(key, *ret_key, err)) < 0) {
        json_decref(TAKE_PTR(*ret));
    }
    return rc;
}

static bool holds_json(enum store_table table)
{
    return table == STORE_IMAGES || table == STORE_SOURCES || table == STORE_META ||
           table == STORE_FLEET;
}

int store_get_json(
    struct store *store, enum store_table table, const char *key, json_t **ret, struct error *err)
{
    assert(holds_json(table));
    struct lmdb_read read;
    struct bytes value;
    struct error cause = {0};
    const char *stored_key;
    json_t *json = NULL;
    if (lmdb_read_begin(store, &read, err) < 0) {
        return -(int)err->code;
    }
    int rc = lmdb_get(store, read.txn, table, key, &value);
    if (rc == 0) {
        char bounded[RECORD_KEY_SIZE];
        record_key(key, bounded);
        struct bytes stored = {bounded, strlen(bounded)};
        (void)decode_json(stored, value, &stored_key, &json, &cause);
    }
    lmdb_read_end(store, &read);
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return lmdb_error(store, rc, "cannot read a record", err);
    }
    if (cause.code != ERR_NONE) {
        return error_set(err, ERR_STORE, "cannot read the record '%s' of table '%s' in '%s': %s",
            key, lmdb_table_name(table), store->path, cause.message);
    }
    *ret = json;
    return 0;
}

/* ---- damage ---- */

struct search {
    enum store_table table;
    struct strings *names;
};

static bool is_readable(enum store_table table, struct bytes key, struct bytes value)
{
    cleanup_json json_t *json = NULL;
    cleanup_free char *name = mem_strndup(key.data, key.n);
    struct vm_desired *desired = NULL;
    struct vm_status *status = NULL;
    struct lease_list leases = {0};
    struct event_view event;
    struct error ignored = {0};
    const char *stored_key;
    bool is_readable = false;
    switch (table) {
    case STORE_DESIRED:
        is_readable = record_decode_desired(value, name, &desired, &ignored) == 0;
        break;
    case STORE_STATUS:
        is_readable = record_decode_status(value, &status, &ignored) == 0;
        break;
    case STORE_LEASES:
        add_lease(key, value, &leases);
        is_readable = leases.items[0].uid[0] != '\0';
        break;
    case STORE_EVENTS:
        is_readable = record_event_view(value, &event);
        break;
    default:
        is_readable = decode_json(key, value, &stored_key, &json, &ignored) == 0;
    }
    vm_desired_free(desired);
    vm_status_free(status);
    lease_list_clear(&leases);
    return is_readable;
}

/* "web (desired)", "17 (events)". */
static void name_record(enum store_table table, struct bytes key, struct buf *out)
{
    if (table == STORE_EVENTS) {
        uint64_t sequence = lmdb_number_of(lmdb_value(key.data, key.n));
        buf_printf(out, "%llu", (unsigned long long)sequence);
    } else {
        text_add_printable(out, key.data, key.n);
    }
    buf_printf(out, " (%s)", lmdb_table_name(table));
}

static void add_damaged(struct bytes key, struct bytes value, void *context)
{
    const struct search *search = context;
    cleanup_buf struct buf name = BUF_INIT(0);
    if (!is_readable(search->table, key, value)) {
        name_record(search->table, key, &name);
        strings_add(search->names, buf_str(&name));
    }
}

/* As "web (desired)" is a record. Returns whether there are any. */
static bool name_damaged_parts(
    const struct index_agreement *agreement, const char *outcome, struct strings *names)
{
    const struct {
        const char *name;
        bool agrees;
    } parts[] = {
        {"VMFiles", agreement->of_sources},
        {"leases", agreement->of_leases},
        {"events", agreement->of_events},
    };
    bool is_any_damaged = false;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        cleanup_free char *text = mem_printf("all %s (index)%s", parts[i].name, outcome);
        if (!parts[i].agrees) {
            strings_add(names, text);
            is_any_damaged = true;
        }
    }
    return is_any_damaged;
}

static int check_index(struct store *store, struct strings *names, struct error *err)
{
    struct lmdb_read read;
    struct index_agreement agreement;
    int rc = lmdb_read_begin(store, &read, err);
    if (rc < 0) {
        return rc;
    }
    rc = lmdb_index_agrees(store, &read, &agreement);
    lmdb_read_end(store, &read);
    (void)name_damaged_parts(&agreement, "", names);
    return rc == 0 ? 0 : lmdb_error(store, rc, "cannot read the index", err);
}

int store_find_damage(struct store *store, struct strings *names, struct error *err)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < STORE_TABLE_COUNT_; i++) {
        struct search search = {.table = (enum store_table)i, .names = names};
        rc = read_table(store, search.table, add_damaged, &search, err);
    }
    return rc < 0 ? rc : check_index(store, names, err);
}

/* ---- repairing ---- */

struct repair_work {
    struct repair *repair;
    struct error err;
};

/* NULL: the status does not say enough. The tokens are those that were handled, so that nothing is
 * done again; the generation is one that nobody has seen. */
static struct vm_desired *desired_of_status(struct store *store, MDB_txn *txn, struct bytes key)
{
    cleanup_free char *name = mem_strndup(key.data, key.n);
    struct vm_status *status = NULL;
    struct error ignored = {.code = ERR_NONE};
    struct bytes value;
    bool is_there = lmdb_get(store, txn, STORE_STATUS, name, &value) == 0 &&
                    record_decode_status(value, &status, &ignored) == 0;
    struct vm_desired *desired = NULL;
    if (is_there && status->uid[0] && status->applied_spec &&
        text_eq(status->applied_spec->name, name)) {
        int64_t now_ms = clock_wall_ms(clock_system());
        desired = vm_desired_new(vm_spec_copy(status->applied_spec), now_ms);
        memcpy(desired->uid, status->uid, TEXT_ID_SIZE);
        desired->generation = status->observed_generation + 1;
        desired->power = status->instance.instance_id[0] ? POWER_RUNNING : POWER_STOPPED;
        memcpy(desired->restart_token, status->handled_restart_token, TEXT_ID_SIZE);
        memcpy(desired->recreate_token, status->handled_recreate_token, TEXT_ID_SIZE);
        memcpy(desired->provision_token, status->handled_provision_token, TEXT_ID_SIZE);
        memcpy(desired->snapshot.token, status->handled_snapshot_token, TEXT_ID_SIZE);
    }
    vm_status_free(status);
    return desired;
}

static int keep_in_quarantine(
    const struct store *store, enum store_table table, MDB_val key, MDB_val raw, struct error *err)
{
    cleanup_buf struct buf bytes = BUF_INIT(0);
    char digest[DIGEST_SIZE];
    buf_add(&bytes, key.mv_data, key.mv_size);
    buf_add_char(&bytes, '\n');
    buf_add(&bytes, raw.mv_data, raw.mv_size);
    digest_bytes(buf_str(&bytes), bytes.len, digest);
    cleanup_free char *name =
        mem_printf("quarantine/record-%s-%.16s", lmdb_table_name(table), digest);
    cleanup_free char *path = paths_path(&store->paths, name);
    cleanup_free char *directory = paths_path(&store->paths, "quarantine");
    int rc = fs_make_dirs(directory, 0700, err);
    return rc < 0 ? rc : fs_write_file(path, bytes.data, bytes.len, 0600, err);
}

static int repair_record(struct store *store, MDB_cursor *cursor, enum store_table table,
    struct repair_work *work, MDB_val key, MDB_val raw)
{
    MDB_txn *txn = mdb_cursor_txn(cursor);
    struct bytes name = lmdb_bytes(key);
    if (is_readable(table, name, checksum_take(table, name, lmdb_bytes(raw)))) {
        return 0;
    }
    cleanup_buf struct buf text = BUF_INIT(0), value = BUF_INIT(0);
    name_record(table, name, &text);
    struct vm_desired *desired =
        table == STORE_DESIRED ? desired_of_status(store, txn, name) : NULL;
    if (!desired && (table == STORE_DESIRED || table == STORE_STATUS)) {
        strings_add(&work->repair->left, buf_str(&text));
        return 0;
    }
    int rc = keep_in_quarantine(store, table, key, raw, &work->err);
    if (rc == 0 && desired) {
        cleanup_free char *copy = mem_strndup(name.data, name.n); /* its page is written to */
        record_encode_desired(&value, desired, desired->generation);
        rc = lmdb_put(store, txn, table, lmdb_value(copy, name.n),
            (struct bytes){buf_str(&value), value.len});
        buf_add_str(&text, ": recreated from its status");
    } else if (rc == 0) {
        rc = table == STORE_LEASES ? lmdb_index_change_lease(store, txn, key, NULL) : 0;
        rc = rc == 0 ? mdb_cursor_del(cursor, 0) : rc;
        buf_add_str(&text, ": removed");
    }
    vm_desired_free(desired);
    strings_add(&work->repair->done, buf_str(&text));
    return rc;
}

static int repair_index(struct store *store, MDB_txn *txn, struct repair *repair)
{
    const struct lmdb_read read = {.txn = txn, .is_write = true};
    struct index_agreement agreement;
    int rc = lmdb_index_agrees(store, &read, &agreement);
    bool is_damaged = rc == 0 && name_damaged_parts(&agreement, ": made again", &repair->done);
    return is_damaged ? lmdb_index_make(store, txn) : rc;
}

static int repair_all(struct store *store, MDB_txn *txn, void *context)
{
    struct repair_work *work = context;
    int rc = 0;
    repair_clear(work->repair); /* it may be run again */
    error_clear(&work->err);
    for (int i = 0; rc == 0 && i < STORE_TABLE_COUNT_; i++) {
        MDB_cursor *cursor = NULL;
        MDB_val key, raw;
        rc = mdb_cursor_open(txn, store->tables[i], &cursor);
        while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &raw, MDB_NEXT)) == 0) {
            rc = repair_record(store, cursor, (enum store_table)i, work, key, raw);
        }
        mdb_cursor_close(cursor);
        rc = rc == MDB_NOTFOUND ? 0 : rc;
    }
    return rc == 0 ? repair_index(store, txn, work->repair) : rc;
}

void repair_clear(struct repair *repair)
{
    strings_clear(&repair->done);
    strings_clear(&repair->left);
}

int store_repair(struct store *store, struct repair *ret, struct error *err)
{
    struct repair_work work = {.repair = ret};
    struct error ignored = {.code = ERR_NONE};
    int rc = lmdb_write(store, repair_all, &work);
    if (rc != 0) {
        repair_clear(ret);
        *err = work.err;
        return err->code != ERR_NONE ? -(int)err->code
                                     : lmdb_error(store, rc, "cannot repair the store", err);
    }
    (void)bell_ring(&store->paths, BELL_DESIRED, &ignored); /* costs a delay */
    return 0;
}

static void add_json(struct bytes key, struct bytes value, void *context)
{
    json_t *object = context, *json = NULL;
    const char *stored_key;
    struct error cause = {0};
    if (decode_json(key, value, &stored_key, &json, &cause) < 0) {
        log_warn("store", "cannot read the record '%.*s': %s", (int)key.n, key.data, cause.message);
        return;
    }
    json_put(object, stored_key, json);
}

int store_list_json(struct store *store, enum store_table table, json_t **ret, struct error *err)
{
    assert(holds_json(table));
    cleanup_json json_t *object = json_object();
    int rc = read_table(store, table, add_json, object, err);
    if (rc < 0) {
        return rc;
    }
    *ret = TAKE_PTR(object);
    return 0;
}

struct text_visit {
    store_text_fn *each;
    void *context;
};

static void visit_text(struct bytes key, struct bytes value, void *context)
{
    const struct text_visit *visit = context;
    const char *stored_key;
    struct bytes text;
    struct error cause = {0};
    int rc = record_split_json(value, &stored_key, &text, &cause);
    if (rc < 0 || check_key(key, stored_key, &cause) < 0) {
        log_warn("store", "cannot read the record '%.*s': %s", (int)key.n, key.data, cause.message);
        return;
    }
    visit->each(visit->context, stored_key, text);
}

int store_each_text(struct store *store, enum store_table table, store_text_fn *each, void *context,
    struct error *err)
{
    assert(holds_json(table));
    return read_table(store, table, visit_text, &(struct text_visit){each, context}, err);
}

static int visit_below(
    struct store *store, MDB_txn *txn, enum store_table table, const char *prefix, json_t *object)
{
    MDB_cursor *cursor = NULL;
    MDB_val key = lmdb_value(prefix, strlen(prefix)), value;
    size_t n = strlen(prefix);
    if (store->tables[table] == LMDB_NO_TABLE) {
        return 0;
    }
    int rc = mdb_cursor_open(txn, store->tables[table], &cursor);
    if (rc != 0) {
        return rc;
    }
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && key.mv_size >= n && memcmp(key.mv_data, prefix, n) == 0) {
        add_json(lmdb_bytes(key), checksum_take(table, lmdb_bytes(key), lmdb_bytes(value)), object);
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int store_list_json_below(struct store *store, enum store_table table, const char *prefix,
    json_t **ret, struct error *err)
{
    assert(holds_json(table));
    struct lmdb_read read;
    cleanup_json json_t *object = json_object();
    if (lmdb_read_begin(store, &read, err) < 0) {
        return -(int)err->code;
    }
    int rc = visit_below(store, read.txn, table, prefix, object);
    lmdb_read_end(store, &read);
    if (rc != 0) {
        return lmdb_error(store, rc, "cannot read a table", err);
    }
    *ret = TAKE_PTR(object);
    return 0;
}

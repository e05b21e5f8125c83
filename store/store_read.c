/* SPDX-License-Identifier: MPL-2.0 */
/* Reading VMs, leases and plain records: one snapshot for each call, closed before it returns. */
#include "store/store.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "store/lmdb/checksum.h"
#include "store/lmdb/lmdb_env.h"
#include "store/lmdb/lmdb_index.h"

/* ---- one VM ---- */

/* A VM's two records as they are stored; `data` NULL: there is none. */
struct raw_record {
    struct bytes desired, status;
    struct vm_mark mark;
};

static int find_record(
    struct store *store, MDB_txn *txn, const char *name, struct raw_record *ret, struct error *err)
{
    int rc = lmdb_get_summed(store, txn, STORE_DESIRED, name, &ret->desired, &ret->mark.desired);
    if (rc == 0 || rc == MDB_NOTFOUND) {
        rc = lmdb_get_summed(store, txn, STORE_STATUS, name, &ret->status, &ret->mark.status);
    }
    return rc == 0 || rc == MDB_NOTFOUND ? 0
                                         : lmdb_error(store, rc, "cannot read a VM's record", err);
}

static int decode(struct store *store, enum store_table table, const char *name, struct bytes value,
    struct vm_record *ret, struct error *err)
{
    struct error cause = {0};
    int rc = !value.data              ? 0
             : table == STORE_DESIRED ? record_decode_desired(value, name, &ret->desired, &cause)
                                      : record_decode_status(value, &ret->status, &cause);
    if (rc == 0) {
        return 0;
    }
    (void)error_set(err, ERR_STORE, "cannot read the record '%s' of table '%s' in '%s': %s", name,
        lmdb_table_name(table), store->path, cause.message);
    return error_help(err,
        "move the store aside (the disks in vms/ stay untouched): mv %s %s.broken", store->path,
        store->path);
}

static int find_change(struct store *store, MDB_txn *txn, const char *name,
    const struct vm_mark *mark, bool *ret_is_changed, struct error *err)
{
    bool is_desired_same = false, is_status_same = false;
    int rc = lmdb_is_unchanged(store, txn, STORE_DESIRED, name, mark->desired, &is_desired_same);
    if (rc == 0 && is_desired_same) {
        rc = lmdb_is_unchanged(store, txn, STORE_STATUS, name, mark->status, &is_status_same);
    }
    *ret_is_changed = !is_status_same;
    return rc == 0 ? 0 : lmdb_error(store, rc, "cannot read a VM's record", err);
}

static int read_vm(
    struct store *store, MDB_txn *txn, const char *name, struct vm_record *ret, struct error *err)
{
    struct raw_record raw = {.desired = {NULL, 0}};
    struct vm_record record = {0};
    int rc = find_record(store, txn, name, &raw, err);
    if (rc == 0) {
        rc = decode(store, STORE_DESIRED, name, raw.desired, &record, err);
    }
    if (rc == 0) {
        rc = decode(store, STORE_STATUS, name, raw.status, &record, err);
    }
    if (rc < 0) {
        vm_record_clear(&record);
        return rc;
    }
    record.name = mem_strdup(name);
    record.mark = raw.mark;
    *ret = record;
    return 0;
}

int store_get_changed(struct store *store, const char *name, struct vm_mark *mark,
    struct vm_record *ret, bool *ret_is_changed, struct error *err)
{
    struct lmdb_read read;
    int rc = lmdb_read_begin(store, &read, err);
    if (rc < 0) {
        return rc;
    }
    rc = find_change(store, read.txn, name, mark, ret_is_changed, err);
    if (rc == 0 && *ret_is_changed) {
        rc = read_vm(store, read.txn, name, ret, err);
        *mark = rc == 0 ? ret->mark : *mark;
    }
    lmdb_read_end(store, &read);
    return rc;
}

int store_get(struct store *store, const char *name, struct vm_record *ret, struct error *err)
{
    bool is_changed;
    struct vm_mark mark = VM_MARK_NEVER;
    return store_get_changed(store, name, &mark, ret, &is_changed, err);
}

int store_has(struct store *store, const char *name, bool *ret, struct error *err)
{
    struct lmdb_read read;
    struct bytes value;
    int rc = lmdb_read_begin(store, &read, err);
    if (rc < 0) {
        return rc;
    }
    rc = lmdb_get(store, read.txn, STORE_DESIRED, name, &value);
    if (rc == MDB_NOTFOUND) {
        rc = lmdb_get(store, read.txn, STORE_STATUS, name, &value);
    }
    lmdb_read_end(store, &read);
    *ret = rc == 0;
    return rc == 0 || rc == MDB_NOTFOUND ? 0
                                         : lmdb_error(store, rc, "cannot read a VM's record", err);
}

void vm_record_clear(struct vm_record *record)
{
    free(record->name);
    vm_desired_free(record->desired);
    vm_status_free(record->status);
    *record = (struct vm_record){0};
}

/* ---- all VMs: both tables walked side by side, as their keys are in the same order ---- */

struct walk_side {
    MDB_cursor *cursor;
    MDB_val key, value;
    bool has_item;
};

struct walk {
    struct walk_side desired, status;
};

/* The records of one name; the texts are in the map. */
struct walk_item {
    struct bytes name;
    bool has_desired, has_status;
    struct bytes desired, status; /* without their checksums */
};

typedef void walk_visit(struct store *store, const struct walk_item *item, void *list);

static int store_read_step(struct walk_side *side, MDB_cursor_op op)
{
    int rc = mdb_cursor_get(side->cursor, &side->key, &side->value, op);
    side->has_item = rc == 0;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int compare_names(struct bytes a, struct bytes b)
{
    int difference = memcmp(a.data, b.data, a.n < b.n ? a.n : b.n);
    return difference ? difference : (a.n > b.n) - (a.n < b.n);
}

static int order(const struct walk *walk)
{
    if (!walk->desired.has_item || !walk->status.has_item) {
        return walk->desired.has_item ? -1 : 1;
    }
    return compare_names(lmdb_bytes(walk->desired.key), lmdb_bytes(walk->status.key));
}

static int visit_all(struct store *store, struct walk *walk, walk_visit *visit, void *list)
{
    int rc = store_read_step(&walk->desired, MDB_FIRST);
    if (rc == 0) {
        rc = store_read_step(&walk->status, MDB_FIRST);
    }
    struct bytes before = {0};
    while (rc == 0 && (walk->desired.has_item || walk->status.has_item)) {
        int difference = order(walk);
        bool has_desired = difference <= 0, has_status = difference >= 0;
        struct walk_item item = {
            .name = lmdb_bytes(has_desired ? walk->desired.key : walk->status.key),
            .has_desired = has_desired,
            .has_status = has_status,
        };
        if (has_desired) {
            item.desired = checksum_take(STORE_DESIRED, item.name, lmdb_bytes(walk->desired.value));
        }
        if (has_status) {
            item.status = checksum_take(STORE_STATUS, item.name, lmdb_bytes(walk->status.value));
        }
        if (!lmdb_is_vm_name(item.name) ||
            (before.data && compare_names(before, item.name) >= 0)) { /* none comes twice */
            return MDB_CORRUPTED;
        }
        before = item.name;
        visit(store, &item, list);
        rc = has_desired ? store_read_step(&walk->desired, MDB_NEXT) : 0;
        if (rc == 0 && has_status) {
            rc = store_read_step(&walk->status, MDB_NEXT);
        }
    }
    return rc;
}

static int walk_vms(struct store *store, walk_visit *visit, void *list, struct error *err)
{
    struct lmdb_read read;
    struct walk walk = {0};
    if (lmdb_read_begin(store, &read, err) < 0) {
        return -(int)err->code;
    }
    int rc = mdb_cursor_open(read.txn, store->tables[STORE_DESIRED], &walk.desired.cursor);
    if (rc == 0) {
        rc = mdb_cursor_open(read.txn, store->tables[STORE_STATUS], &walk.status.cursor);
    }
    if (rc == 0) {
        rc = visit_all(store, &walk, visit, list);
    }
    if (walk.desired.cursor) {
        mdb_cursor_close(walk.desired.cursor);
    }
    if (walk.status.cursor) {
        mdb_cursor_close(walk.status.cursor);
    }
    lmdb_read_end(store, &read);
    return rc == 0 ? 0 : lmdb_error(store, rc, "cannot list the VMs", err);
}

/* One damaged record must not hide the others; it is logged once, not at every read. */
static void report_damage(
    struct store *store, enum store_table table, const char *key, const struct error *cause)
{
    if (!atomic_flag_test_and_set(&store->has_warned)) {
        log_warn("store", "cannot read the record '%s' of table '%s' in '%s': %s", key,
            lmdb_table_name(table), store->path, cause->message);
    }
}

static void add_record(struct store *store, const struct walk_item *item, void *context)
{
    struct vm_list *list = context;
    struct vm_record record = {.name = mem_strndup(item->name.data, item->name.n)};
    struct error cause = {0};
    if (item->has_desired &&
        record_decode_desired(item->desired, record.name, &record.desired, &cause) < 0) {
        record.is_damaged = true;
        report_damage(store, STORE_DESIRED, record.name, &cause);
        error_clear(&cause);
    }
    if (item->has_status && record_decode_status(item->status, &record.status, &cause) < 0) {
        record.is_damaged = true;
        report_damage(store, STORE_STATUS, record.name, &cause);
    }
    mem_grow(list->records, list->count);
    list->records[list->count++] = record;
}

int store_list(struct store *store, struct vm_list *ret, struct error *err)
{
    struct vm_list list = {0};
    int rc = walk_vms(store, add_record, &list, err);
    if (rc < 0) {
        vm_list_clear(&list);
        return rc;
    }
    *ret = list;
    return 0;
}

void vm_list_clear(struct vm_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        vm_record_clear(&list->records[i]);
    }
    free(list->records);
    *list = (struct vm_list){0};
}

/* ---- summaries ---- */

/* From the first line; when another version wrote that differently, from the JSON. */
static bool summarize_desired(struct bytes value, struct desired_summary *ret, struct error *cause)
{
    struct vm_desired *desired = NULL;
    if (record_desired_summary(value, ret)) {
        return true;
    }
    if (record_decode_desired(value, NULL, &desired, cause) < 0) {
        return false;
    }
    desired_summary_of(desired, ret);
    vm_desired_free(desired);
    return true;
}

static bool summarize_status(struct bytes value, struct status_summary *ret, struct error *cause)
{
    struct vm_status *status = NULL;
    if (record_status_summary(value, ret)) {
        return true;
    }
    if (record_decode_status(value, &status, cause) < 0) {
        return false;
    }
    status_summary_of(status, ret);
    vm_status_free(status);
    return true;
}

/* Borrowed until the next one. */
static struct vm_summary *append_head(struct vm_summary_list *list, const struct walk_item *item)
{
    struct record_head head = {.revision = 0};
    mem_grow(list->items, list->count);
    struct vm_summary *summary = &list->items[list->count++];
    *summary = (struct vm_summary){
        .name = mem_strndup(item->name.data, item->name.n),
        .has_desired = item->has_desired,
        .has_status = item->has_status,
    };
    if (item->has_desired && record_head(item->desired, true, &head)) {
        memcpy(summary->uid, head.uid, TEXT_ID_SIZE);
        summary->revision = head.revision;
    }
    return summary;
}

static void add_head(struct store *store, const struct walk_item *item, void *context)
{
    (void)store;
    (void)append_head(context, item);
}

static void add_summary(struct store *store, const struct walk_item *item, void *context)
{
    struct vm_summary *summary = append_head(context, item);
    struct error cause = {0};
    if (item->has_desired && !summarize_desired(item->desired, &summary->desired, &cause)) {
        summary->is_damaged = true;
        report_damage(store, STORE_DESIRED, summary->name, &cause);
        error_clear(&cause);
    }
    if (item->has_status && !summarize_status(item->status, &summary->status, &cause)) {
        summary->is_damaged = true;
        report_damage(store, STORE_STATUS, summary->name, &cause);
    }
}

static int list_vms(
    struct store *store, walk_visit *add, struct vm_summary_list *ret, struct error *err)
{
    struct vm_summary_list list = {0};
    int rc = walk_vms(store, add, &list, err);
    if (rc < 0) {
        vm_summary_list_clear(&list);
        return rc;
    }
    *ret = list;
    return 0;
}

int store_list_summaries(struct store *store, struct vm_summary_list *ret, struct error *err)
{
    return list_vms(store, add_summary, ret, err);
}

int store_list_heads(struct store *store, struct vm_summary_list *ret, struct error *err)
{
    return list_vms(store, add_head, ret, err);
}

static int add_head_of(
    struct store *store, MDB_txn *txn, const char *name, struct vm_summary_list *list)
{
    struct walk_item item = {.name = {name, strlen(name)}};
    int rc = lmdb_get(store, txn, STORE_DESIRED, name, &item.desired);
    item.has_desired = rc == 0;
    rc =
        rc == 0 || rc == MDB_NOTFOUND ? lmdb_get(store, txn, STORE_STATUS, name, &item.status) : rc;
    item.has_status = rc == 0;
    (void)append_head(list, &item);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int store_list_changed(struct store *store, uint64_t *since, struct vm_summary_list *ret,
    bool *ret_is_known, struct error *err)
{
    struct lmdb_read read;
    struct vm_summary_list list = {0};
    cleanup_with(strings_clear) struct strings names = {.count = 0};
    uint64_t now;
    int rc = lmdb_read_begin(store, &read, err);
    if (rc < 0) {
        return rc;
    }
    rc = lmdb_index_changed(store, &read, *since, &names, &now);
    *ret_is_known = rc == 0;
    rc = rc == MDB_NOTFOUND ? 0 : rc;
    for (size_t i = 0; *ret_is_known && rc == 0 && i < names.count; i++) {
        rc = add_head_of(store, read.txn, names.items[i], &list);
    }
    lmdb_read_end(store, &read);
    if (rc != 0) {
        vm_summary_list_clear(&list);
        return lmdb_error(store, rc, "cannot list the VMs", err);
    }
    *since = now;
    *ret = list;
    return 0;
}

void vm_summary_list_clear(struct vm_summary_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].name);
    }
    free(list->items);
    *list = (struct vm_summary_list){0};
}

/* ---- the VMs of a VMFile ---- */

struct source_search {
    struct bytes source; /* as in the record */
    struct strings *names;
};

static int add_name_of_source(
    struct store *store, struct bytes key, struct bytes stored, void *context)
{
    const struct source_search *search = context;
    struct bytes source;
    struct desired_summary summary;
    struct error cause = {0};
    if (!record_source(stored, &source) || compare_names(source, search->source) != 0) {
        return 0;
    }
    if (!lmdb_is_vm_name(key)) {
        return MDB_CORRUPTED;
    }
    cleanup_free char *name = mem_strndup(key.data, key.n);
    if (!summarize_desired(checksum_take(STORE_DESIRED, key, stored), &summary, &cause)) {
        report_damage(store, STORE_DESIRED, name, &cause);
    } else if (!summary.is_deleting) {
        strings_append(search->names, name); /* a key is visited once */
    }
    return 0;
}

static int search_all(struct store *store, MDB_txn *txn, struct source_search *search)
{
    struct walk_side desired = {0};
    int rc = mdb_cursor_open(txn, store->tables[STORE_DESIRED], &desired.cursor);
    if (rc != 0) {
        return rc;
    }
    rc = store_read_step(&desired, MDB_FIRST);
    while (rc == 0 && desired.has_item) {
        rc = add_name_of_source(store, lmdb_bytes(desired.key), lmdb_bytes(desired.value), search);
        rc = rc == 0 ? store_read_step(&desired, MDB_NEXT) : rc;
    }
    mdb_cursor_close(desired.cursor);
    return rc;
}

int store_list_source(
    struct store *store, const char *source, struct strings *names, struct error *err)
{
    struct lmdb_read read;
    cleanup_with(strings_clear) struct strings found = {.count = 0};
    cleanup_json json_t *json = json_of_text(source);
    cleanup_free char *quoted = json_dumps(json, JSON_ENCODE_ANY);
    struct source_search search = {{quoted + 1, strlen(quoted) - 2}, &found};
    int rc = lmdb_read_begin(store, &read, err);
    if (rc < 0) {
        return rc;
    }
    rc = lmdb_index_each(store, &read, search.source, add_name_of_source, &search);
    if (rc == MDB_NOTFOUND) {
        strings_clear(&found);
        rc = search_all(store, read.txn, &search);
    }
    lmdb_read_end(store, &read);
    for (size_t i = 0; rc == 0 && i < found.count; i++) {
        strings_append(names, found.items[i]);
    }
    return rc == 0 ? 0 : lmdb_error(store, rc, "cannot list the VMs", err);
}

bool store_may_have_lost(struct store *store, const char *vm_name)
{
    cleanup_json json_t *found = NULL;
    cleanup_with(vm_summary_list_clear) struct vm_summary_list list = {.count = 0};
    struct error ignored = {.code = ERR_NONE};
    if (store_get_json(store, STORE_META, STORE_FOUND_KEY, &found, &ignored) < 0 ||
        store_list_summaries(store, &list, &ignored) < 0) {
        return true;
    }
    for (size_t i = 0; i < json_array_size(found); i++) {
        if (text_eq(json_string_value(json_array_get(found, i)), vm_name)) {
            return true;
        }
    }
    for (size_t i = 0; i < list.count; i++) {
        if (list.items[i].has_desired) {
            return false;
        }
    }
    return true;
}

struct orphan_search {
    struct store *store;
    bool is_quarantine;
    struct strings *names;
    struct error *err; /* of the last that cannot be read */
};

static void add_orphan(void *context, int dir_fd, const char *name)
{
    struct orphan_search *search = context;
    struct stat st;
    bool has_record = false;
    cleanup_free char *full = vm_name_of_flat(name);
    const char *vm = full ? full : name;
    bool is_directory = fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    if (!is_directory || (!search->is_quarantine &&
                             (!lmdb_is_vm_name((struct bytes){vm, strlen(vm)}) ||
                                 store_has(search->store, vm, &has_record, search->err) < 0))) {
        return;
    }
    if (!has_record) {
        cleanup_free char *path =
            mem_printf("%s/%s", search->is_quarantine ? "quarantine" : "vms", name);
        strings_append(search->names, path); /* a directory has each name once */
    }
}

int store_list_orphans(struct store *store, struct strings *names, struct error *err)
{
    cleanup_free char *vms = paths_path(store_paths(store), "vms");
    cleanup_free char *quarantine = paths_path(store_paths(store), "quarantine");
    struct error found = {.code = ERR_NONE};
    fs_each_entry(vms, add_orphan, &(struct orphan_search){store, false, names, &found});
    fs_each_entry(quarantine, add_orphan, &(struct orphan_search){store, true, names, &found});
    if (found.code != ERR_NONE) {
        *err = found;
    }
    return -(int)found.code;
}

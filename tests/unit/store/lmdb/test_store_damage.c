/* SPDX-License-Identifier: MPL-2.0 */
/* Stores that are broken, foreign or full: an error that says what to do, never a crash. */
#include "tests/unit/store/store_fixture.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "specs/base/cleanup.h"
#include "specs/base/strings.h"
#include "store/lmdb/checksum.h"
#include "store/lmdb/guard.h"
#include "store/lmdb/lmdb_env.h"
#include "store/record.h"
#include "store/repair.h"

static char *data_file(const struct fixture *f)
{
    return paths_path(&f->paths, "store/data.mdb");
}

static void write_data_file(const struct fixture *f, const void *bytes, size_t n)
{
    struct error err = {0};
    char *dir = paths_path(&f->paths, "store"), *path = data_file(f);
    must(fs_make_dirs(dir, 0700, &err), &err);
    must(fs_write_file(path, bytes, n, 0600, &err), &err);
    free(dir);
    free(path);
}

static void expect_damage(const struct fixture *f)
{
    struct store *store = NULL;
    struct error err = {0};
    char help[200];
    assert_int_equal(store_open(&f->paths, &store, &err), -ERR_STORE);
    assert_null(store);
    assert_non_null(strstr(err.message, f->dir));
    assert_non_null(strstr(err.message, "damaged"));
    (void)snprintf(help, sizeof(help), "mv %s/store %s/store.broken", f->dir, f->dir);
    assert_non_null(strstr(error_help_text(&err), help));
}

static void a_data_file_of_garbage_is_refused_with_the_way_out(void **state)
{
    struct fixture *f = *state;
    char garbage[20000];
    for (size_t i = 0; i < sizeof(garbage); i++) {
        garbage[i] = (char)(i * 7919 >> 3);
    }
    write_data_file(f, garbage, sizeof(garbage));
    expect_damage(f);
}

static void a_data_file_too_short_for_its_header_is_refused(void **state)
{
    struct fixture *f = *state;
    write_data_file(f, "short", 5);
    expect_damage(f);
}

/* A store with enough in it to have pages behind the first ones. */
static void fill_store(struct fixture *f)
{
    char name[32];
    f->store = open_store(f);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof(name), "vm-%d", i);
        assert_int_equal(create_vm(f->store, name, NULL), 0);
    }
    store_close(f->store);
    f->store = NULL;
}

static void a_data_file_cut_off_anywhere_is_an_error_and_not_a_crash(void **state)
{
    struct fixture *f = *state;
    fill_store(f);
    char *path = data_file(f);
    struct buf whole = BUF_INIT(0);
    struct error err = {0};
    must(fs_read_file(path, &whole, &err), &err);
    int refused = 0;
    for (size_t n = 8192; n < whole.len; n += 4096) {
        struct store *store = NULL;
        struct vm_list list = {0};
        error_clear(&err);
        write_data_file(f, whole.data, n);
        if (store_open(&f->paths, &store, &err) < 0 || store_list(store, &list, &err) < 0) {
            assert_int_equal(err.code, ERR_STORE);
            refused++;
        }
        vm_list_clear(&list);
        store_close(store);
    }
    assert_true(refused > 0);
    buf_clear(&whole);
    free(path);
}

/* ---- pages of nonsense in a file of full length ---- */

enum { PAGE_BYTES = 4096, N_SPOILS = 5 };

static void spoil(char *page, int how, size_t n)
{
    switch (how) {
    case 0:
        memset(page, 0, PAGE_BYTES);
        break;
    case 1:
        memset(page, 0xff, PAGE_BYTES);
        break;
    case 2: /* a page that says it is what it is, with offsets into nowhere */
        memset(page + 16, 0xee, PAGE_BYTES - 16);
        break;
    case 3: /* half of it was never written */
        memset(page + PAGE_BYTES / 2, 0, PAGE_BYTES / 2);
        break;
    default:
        for (size_t i = 0; i < PAGE_BYTES; i++) {
            page[i] = (char)(page[i] ^ ((i + n) * 2654435761u >> 13));
        }
    }
}

/* What a command does with a store, as far as it comes; never returns. */
static void read_all(const struct fixture *f, int number)
{
    struct store *store = NULL;
    struct vm_list list = {0};
    struct lease_list leases = {0};
    struct event_list events = {0};
    struct error err = {0};
    (void)number;
    (void)!freopen("/dev/null", "w", stderr);
    store_guard();
    int rc = store_open(&f->paths, &store, &err);
    if (rc == 0 && (rc = store_list(store, &list, &err)) == 0 &&
        (rc = store_list_leases(store, NULL, &leases, &err)) == 0) {
        rc = store_list_events(store, NULL, 0, 0, &events, &err);
    }
    _exit(rc == 0 ? 0 : error_exit_status(err.code));
}

/* The child's exit status; a signal is a failure. */
static int read_spoiled(const struct fixture *f, size_t page, int how)
{
    int status = wait_for_child(start_child(read_all, f, 0));
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 5)) {
        fail_msg("page %zu spoiled in way %d: wait status %#x", page, how, status);
    }
    return WEXITSTATUS(status);
}

static void a_damaged_page_anywhere_is_an_error_and_not_a_crash(void **state)
{
    struct fixture *f = *state;
    struct buf whole = BUF_INIT(0);
    struct error err = {0};
    fill_store(f);
    char *path = data_file(f);
    must(fs_read_file(path, &whole, &err), &err);
    int refused = 0, checked = 0;
    for (size_t at = 2 * PAGE_BYTES; at + PAGE_BYTES <= whole.len; at += PAGE_BYTES) {
        char *bytes = mem_dup(whole.data, whole.len);
        int how = (int)(at / PAGE_BYTES % N_SPOILS);
        spoil(bytes + at, how, at);
        write_data_file(f, bytes, whole.len);
        free(bytes);
        refused += read_spoiled(f, at / PAGE_BYTES, how) == 5;
        error_clear(&err);
        if (store_check(&f->paths, &err) < 0) {
            assert_int_equal(err.code, ERR_STORE);
            assert_non_null(strstr(error_help_text(&err), "store.broken"));
            checked++;
        }
    }
    assert_true(refused > 0);
    assert_true(checked >= refused);
    write_data_file(f, whole.data, whole.len);
    error_clear(&err);
    assert_int_equal(store_check(&f->paths, &err), 0);
    assert_int_equal(read_spoiled(f, 0, 0), 0);
    buf_clear(&whole);
    free(path);
}

/* Heads that send LMDB's own writing out of the page: its number, where its nodes begin and end.
 * And a page that is another one's twin, whose keys come a second time. */
static void spoil_head(char *pages, size_t page, int how)
{
    enum { AT_LOWER = 12, AT_UPPER = 14 };
    static const uint16_t far = 0xffff, near = 8;
    char *at = pages + page * PAGE_BYTES;
    uint64_t number = page;
    switch (how) {
    case 0:
        memcpy(at + AT_UPPER, &far, sizeof(far));
        break;
    case 1:
        memcpy(at + AT_LOWER, &far, sizeof(far));
        break;
    case 2:
        memcpy(at + AT_UPPER, &near, sizeof(near));
        break;
    case 3:
        at[0] = (char)(at[0] ^ 1);
        break;
    default:
        memcpy(at, at - PAGE_BYTES, PAGE_BYTES);
        memcpy(at, &number, sizeof(number));
    }
}

/* As vmctld does: looks at the store first, and only then writes. Never returns. */
static void check_and_write(const struct fixture *f, int number)
{
    char name[32];
    struct error err = {0};
    (void)!freopen("/dev/null", "w", stderr);
    struct fixture child = *f;
    if (store_check(&f->paths, &err) < 0) {
        _exit(5);
    }
    child.store = open_store(&child);
    for (int i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof(name), "new-%d-%d", number, i);
        (void)create_vm(child.store, name, NULL);
    }
    _exit(0);
}

static void a_head_that_lies_is_found_before_anything_is_written(void **state)
{
    struct fixture *f = *state;
    struct buf whole = BUF_INIT(0);
    struct error err = {0};
    size_t refused = 0, n_pages;
    fill_store(f);
    char *path = data_file(f);
    must(fs_read_file(path, &whole, &err), &err);
    n_pages = whole.len / PAGE_BYTES;
    for (size_t page = 3; page < n_pages; page++) {
        char *bytes = mem_dup(whole.data, whole.len);
        spoil_head(bytes, page, (int)(page % 5));
        write_data_file(f, bytes, whole.len);
        free(bytes);
        int status = wait_for_child(start_child(check_and_write, f, (int)page));
        if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 5)) {
            fail_msg("page %zu in way %zu: wait status %#x", page, page % 5, status);
        }
        refused += WEXITSTATUS(status) == 5;
    }
    assert_true(refused > n_pages / 4);
    buf_clear(&whole);
    free(path);
}

/* Never returns. */
static void fault_in_transaction(const struct fixture *f, int number)
{
    struct store *store = NULL;
    struct error err = {0};
    int *volatile nowhere = (int *)(uintptr_t)64;
    (void)number;
    (void)!freopen("/dev/null", "w", stderr);
    (void)signal(SIGSEGV, SIG_DFL); /* instead of the sanitizer's */
    store_guard();
    if (store_open(&f->paths, &store, &err) == 0) {
        guard_enter();
        *nowhere = 1;
    }
    _exit(1);
}

static void a_fault_outside_the_map_is_a_crash_and_not_damage(void **state)
{
    struct fixture *f = *state;
    fill_store(f);
    int status = wait_for_child(start_child(fault_in_transaction, f, 0));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

/* Of the tree that has the tables themselves, as the newer of the two meta pages names it. */
static size_t main_root(const struct buf *file)
{
    enum { ROOT_AT = 128, COMMIT_AT = 144 }; /* MDB_page, then MDB_meta: mdb.c */
    uint64_t root[2], commit[2];
    for (size_t i = 0; i < 2; i++) {
        memcpy(&root[i], file->data + i * PAGE_BYTES + ROOT_AT, sizeof(*root));
        memcpy(&commit[i], file->data + i * PAGE_BYTES + COMMIT_AT, sizeof(*commit));
    }
    return (size_t)root[commit[1] > commit[0]];
}

/* Else the tables would be made again, empty, and every disk be one that no record knows. */
static void tables_that_cannot_be_found_are_damage_and_not_made_again(void **state)
{
    struct fixture *f = *state;
    struct buf whole = BUF_INIT(0);
    struct error err = {0};
    fill_store(f);
    char *path = data_file(f);
    must(fs_read_file(path, &whole, &err), &err);
    size_t root = main_root(&whole) * PAGE_BYTES, n_opened = 0;
    for (size_t from = 2 * PAGE_BYTES; from + PAGE_BYTES <= whole.len; from += PAGE_BYTES) {
        enum { HEADER = 16 };
        struct store *store = NULL;
        struct vm_list list = {0};
        char *bytes = mem_dup(whole.data, whole.len);
        memmove(bytes + root + HEADER, bytes + from + HEADER, PAGE_BYTES - HEADER);
        write_data_file(f, bytes, whole.len);
        free(bytes);
        error_clear(&err);
        if (store_check(&f->paths, &err) == 0) { /* itself, or what it was a few commits before */
            must(store_open(&f->paths, &store, &err), &err);
            must(store_list(store, &list, &err), &err);
            assert_in_range(list.count, 90, 100);
            n_opened++;
        }
        vm_list_clear(&list);
        store_close(store);
    }
    assert_true(n_opened > 0);
    buf_clear(&whole);
    free(path);
}

static void remove_table(const struct fixture *f, const char *table)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    cleanup_free char *path = paths_path(&f->paths, "store");
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 8), 0);
    assert_int_equal(mdb_env_open(env, path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
    assert_int_equal(mdb_drop(txn, dbi, 1), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void a_missing_table_is_damage_for_whoever_opens_the_store(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    fill_store(f);
    remove_table(f, "desired");
    expect_damage(f);
    assert_int_equal(store_check(&f->paths, &err), -ERR_STORE);
}

static void a_store_that_is_not_there_yet_is_not_damaged(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    assert_int_equal(store_check(&f->paths, &err), 0);
    write_data_file(f, "", 0);
    assert_int_equal(store_check(&f->paths, &err), 0);
}

/* Data for pages of its own. */
static int put_large(MDB_txn *txn, MDB_dbi table, const char *key)
{
    static char bytes[10 * PAGE_BYTES];
    MDB_val k = {strlen(key), (void *)(uintptr_t)key}, v = {sizeof(bytes), bytes};
    return mdb_put(txn, table, &k, &v, 0);
}

/* Takes pages behind the last one and gives them back, in one transaction: LMDB counts them, and
 * has not written them. */
static void free_unwritten_pages(const struct fixture *f)
{
    static const char *const keys[] = {"large", "larger"};
    MDB_env *env = NULL;
    MDB_envinfo info;
    cleanup_free char *path = paths_path(&f->paths, "store"), *file = data_file(f);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 8), 0);
    assert_int_equal(mdb_env_open(env, path, 0, 0600), 0);
    for (int i = 0; i < 4; i++) { /* the first ones leave free pages to be looked at */
        MDB_txn *txn = NULL;
        MDB_dbi table;
        size_t n = i < 3 ? 1 : 2;
        assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
        assert_int_equal(mdb_dbi_open(txn, "meta", 0, &table), 0);
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(put_large(txn, table, keys[k]), 0);
        }
        for (size_t k = 0; k < n; k++) {
            MDB_val key = {strlen(keys[k]), (void *)(uintptr_t)keys[k]};
            assert_int_equal(mdb_del(txn, table, &key, NULL), 0);
        }
        assert_int_equal(mdb_txn_commit(txn), 0);
    }
    assert_int_equal(mdb_env_info(env, &info), 0);
    mdb_env_close(env);
    assert_true((uint64_t)fs_size(file) / PAGE_BYTES <= info.me_last_pgno);
}

static void a_file_that_ends_before_its_last_free_pages_is_whole(void **state)
{
    struct fixture *f = *state;
    struct vm_list list = {0};
    struct error err = {0};
    fill_store(f);
    free_unwritten_pages(f);
    must(store_check(&f->paths, &err), &err);
    f->store = open_store(f);
    must(store_list(f->store, &list, &err), &err);
    assert_int_equal(list.count, 100);
    vm_list_clear(&list);
    assert_int_equal(create_vm(f->store, "one-more", NULL), 0);
}

/* ---- records written past the store's own functions ---- */

/* NULL: removes it. */
static void put_raw(const struct fixture *f, const char *table, const char *key, const char *value,
    size_t value_len)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    char *path = paths_path(&f->paths, "store");
    MDB_val k = {strlen(key), (void *)(uintptr_t)key};
    MDB_val v = {value_len, (void *)(uintptr_t)value};
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 8), 0);
    assert_int_equal(mdb_env_open(env, path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
    assert_int_equal(value ? mdb_put(txn, dbi, &k, &v, 0) : mdb_del(txn, dbi, &k, NULL), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    free(path);
}

static void put_raw_into_closed(
    struct fixture *f, const char *table, const char *key, const char *value, size_t n)
{
    store_close(f->store); /* LMDB forbids two environments of one file in a process */
    f->store = NULL;
    put_raw(f, table, key, value, n);
}

static void remove_raw_from_closed(struct fixture *f, const char *table, const char *key)
{
    put_raw_into_closed(f, table, key, NULL, 0);
}

static void a_newer_schema_is_refused_naming_both_versions(void **state)
{
    struct fixture *f = *state;
    put_raw_into_closed(f, "meta", "schema",
        "schema\0"
        "3",
        8);
    struct store *store = NULL;
    struct error err = {0};
    assert_int_equal(store_open(&f->paths, &store, &err), -ERR_STORE_VERSION);
    assert_non_null(strstr(err.message, "has version 3"));
    assert_non_null(strstr(err.message, "up to 2"));
}

static void a_schema_that_is_no_number_is_damage(void **state)
{
    struct fixture *f = *state;
    put_raw_into_closed(f, "meta", "schema", "nonsense", 8);
    expect_damage(f);
}

static void a_damaged_record_is_named_and_hides_no_other(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_vm(f->store, "a", NULL), 0);
    assert_int_equal(create_vm(f->store, "c", NULL), 0);
    static const char record[] = "uid\t1\tv1\tnonsense\n{\"uid\":";
    put_raw_into_closed(f, "desired", "b", record, sizeof(record) - 1);
    f->store = open_store(f);
    struct vm_record one = {0};
    struct error err = {0};
    assert_int_equal(store_get(f->store, "b", &one, &err), -ERR_STORE);
    assert_non_null(strstr(err.message, "record 'b' of table 'desired'"));
    error_clear(&err);
    struct vm_list list;
    must(store_list(f->store, &list, &err), &err);
    assert_int_equal(list.count, 3);
    assert_non_null(list.records[0].desired);
    assert_null(list.records[1].desired);
    assert_true(list.records[1].is_damaged);
    assert_non_null(list.records[2].desired);
    assert_false(list.records[2].is_damaged);
    vm_list_clear(&list);
    struct vm_summary_list summaries;
    must(store_list_summaries(f->store, &summaries, &err), &err);
    assert_int_equal(summaries.count, 3);
    assert_true(summaries.items[1].has_desired);
    assert_true(summaries.items[1].is_damaged);
    vm_summary_list_clear(&summaries);
}

/* ---- checksums ---- */

static void a_changed_byte_anywhere_is_found(void **state)
{
    static const char value[] = "uid\t1\tv1\t4\n{\"memory\":1024,\"name\":\"web\"}";
    enum { VALUE_BYTES = sizeof(value) - 1, STORED_BYTES = VALUE_BYTES + CHECKSUM_BYTES };
    const struct bytes key = {"web", 3};
    unsigned char stored[STORED_BYTES];
    (void)state;
    memcpy(stored, value, VALUE_BYTES);
    checksum_write(STORE_DESIRED, key, (struct bytes){value, VALUE_BYTES}, stored + VALUE_BYTES);
    struct bytes whole = {(const char *)stored, STORED_BYTES};
    assert_int_equal(checksum_take(STORE_DESIRED, key, whole).n, VALUE_BYTES);
    assert_int_equal(checksum_take(STORE_STATUS, key, whole).n, 0); /* of another table */
    assert_int_equal(checksum_take(STORE_DESIRED, (struct bytes){"wex", 3}, whole).n, 0);
    for (size_t at = 0; at < STORED_BYTES; at++) {
        bool is_mark = at >= VALUE_BYTES && at < VALUE_BYTES + 4;
        for (unsigned bit = 1; bit < 256; bit <<= 1) {
            stored[at] = (unsigned char)(stored[at] ^ bit);
            /* Without its mark it is a record of an older version, whose JSON ends in nonsense. */
            assert_int_equal(
                checksum_take(STORE_DESIRED, key, whole).n, is_mark ? STORED_BYTES : 0);
            stored[at] = (unsigned char)(stored[at] ^ bit);
        }
    }
}

/* In all copies of the page that the file has. */
static void change_in_file(const struct fixture *f, const char *old, const char *new)
{
    struct buf whole = BUF_INIT(0);
    struct error err = {0};
    char *path = data_file(f), *at;
    size_t n = strlen(old);
    int count = 0;
    must(fs_read_file(path, &whole, &err), &err);
    char *end = whole.data + whole.len;
    for (char *from = whole.data; (at = memmem(from, (size_t)(end - from), old, n));
         from = at + n) {
        memcpy(at, new, n);
        count++;
    }
    assert_true(count > 0);
    write_data_file(f, whole.data, whole.len);
    buf_clear(&whole);
    free(path);
}

static void fill_all_tables(struct store *store, const char *uid)
{
    const struct lease lease = {.key = (char *)(uintptr_t) "tcp/10022",
        .vm_name = (char *)(uintptr_t) "web",
        .purpose = (char *)(uintptr_t) "lease-text"};
    struct lease of_web = lease;
    (void)snprintf(of_web.uid, sizeof(of_web.uid), "%s", uid);
    struct vm_status *status = vm_status_new(uid);
    vm_status_set(status, CONDITION_READY, CONDITION_FALSE, REASON_STOPPED, "status-text", 1);
    json_t *json = json_pack("{s:s}", "x", "json-text");
    struct store_batch *batch = store_batch_new();
    store_batch_put_status(batch, "web", status);
    store_batch_take_lease(batch, &of_web);
    store_batch_add_event(batch, "web", false, REASON_READY, "event-text", 1);
    store_batch_put_json(batch, STORE_IMAGES, "images/x", json);
    assert_int_equal(commit(store, batch), 0);
    vm_status_free(status);
    json_decref(json);
}

/* What is changed still parses as the record it was: only the checksum can find it. */
static void a_change_that_still_reads_as_a_record_is_found_in_every_table(void **state)
{
    static const struct {
        const char *old, *new, *name;
    } rows[] = {{"\"power\":\"stopped\"", "\"power\":\"running\"", "web (desired)"},
        {"status-text", "status-tExt", "web (status)"},
        {"lease-text", "lease-tExt", "tcp/10022 (leases)"},
        {"event-text", "event-tExt", "1 (events)"},
        {"json-text", "json-tExt", "images/x (images)"}};
    struct fixture *f = *state;
    struct strings names = {.count = 0};
    struct error err = {0};
    char uid[TEXT_ID_SIZE];
    assert_int_equal(create_vm(f->store, "web", uid), 0);
    fill_all_tables(f->store, uid);
    must(store_find_damage(f->store, &names, &err), &err);
    assert_int_equal(names.count, 0);
    store_close(TAKE_PTR(f->store));
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        change_in_file(f, rows[i].old, rows[i].new);
        assert_int_equal(store_check(&f->paths, &err), 0); /* good pages: vmctld starts */
        f->store = open_store(f);
        strings_clear(&names);
        must(store_find_damage(f->store, &names, &err), &err);
        assert_int_equal(names.count, 1);
        assert_string_equal(names.items[0], rows[i].name);
        store_close(TAKE_PTR(f->store));
        change_in_file(f, rows[i].new, rows[i].old);
    }
    strings_clear(&names);
}

static void note_name(void *context, int dir_fd, const char *name)
{
    (void)dir_fd;
    strings_add(context, name);
}

/* What the VM last ran with comes back as the same VM; what only its status knows stays. */
static void a_damaged_record_is_taken_out_and_that_of_a_vm_made_again(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct repair repair = {.done = {.count = 0}};
    char uid[TEXT_ID_SIZE];
    assert_int_equal(create_vm(f->store, "web", uid), 0);
    assert_int_equal(create_vm(f->store, "new", NULL), 0);
    fill_all_tables(f->store, uid);
    struct vm_record record = get_vm(f->store, "web");
    struct store_batch *batch = store_batch_new();
    record.status->observed_generation = 7;
    strcpy(record.status->handled_recreate_token, "token");
    vm_status_set_applied_spec(record.status, record.desired->spec);
    store_batch_put_status(batch, "web", record.status);
    assert_int_equal(commit(f->store, batch), 0);
    vm_record_clear(&record);
    store_close(TAKE_PTR(f->store));
    change_in_file(f, "\"power\":\"stopped\"", "\"power\":\"stoppeD\"");
    change_in_file(f, "event-text", "event-tExt");
    f->store = open_store(f);
    for (int i = 0; i < 2; i++) { /* the second time there is only left what must be */
        must(store_repair(f->store, &repair, &err), &err);
        assert_int_equal(repair.done.count, i == 0 ? 2 : 0);
        assert_int_equal(repair.left.count, 1);
        assert_string_equal(repair.left.items[0], "new (desired)");
        if (i == 0) {
            assert_string_equal(repair.done.items[0], "web (desired): recreated from its status");
            assert_string_equal(repair.done.items[1], "1 (events): removed");
        }
        repair_clear(&repair);
    }
    record = get_vm(f->store, "web");
    assert_string_equal(record.desired->uid, uid);
    assert_int_equal(record.desired->generation, 8);
    assert_string_equal(record.desired->recreate_token, "token");
    assert_int_equal(record.desired->power, POWER_STOPPED);
    assert_null(record.desired->source);
    vm_record_clear(&record);
    struct strings kept = {.count = 0};
    cleanup_free char *quarantine = paths_path(&f->paths, "quarantine");
    fs_each_entry(quarantine, note_name, &kept);
    assert_int_equal(kept.count, 2);
    strings_clear(&kept);
}

static void a_damaged_status_is_left(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct repair repair = {.done = {.count = 0}};
    char uid[TEXT_ID_SIZE];
    assert_int_equal(create_vm(f->store, "web", uid), 0);
    fill_all_tables(f->store, uid);
    store_close(TAKE_PTR(f->store));
    change_in_file(f, "status-text", "status-tExt");
    f->store = open_store(f);
    must(store_repair(f->store, &repair, &err), &err);
    assert_int_equal(repair.done.count, 0);
    assert_int_equal(repair.left.count, 1);
    assert_string_equal(repair.left.items[0], "web (status)");
    repair_clear(&repair);
}

static void a_changed_record_is_named_and_its_lease_keeps_the_key(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char uid[TEXT_ID_SIZE], holder[TEXT_ID_SIZE];
    assert_int_equal(create_vm(f->store, "web", uid), 0);
    fill_all_tables(f->store, uid);
    store_close(TAKE_PTR(f->store));
    change_in_file(f, "\"power\":\"stopped\"", "\"power\":\"running\"");
    change_in_file(f, "lease-text", "lease-tExt");
    f->store = open_store(f);
    struct vm_record record = {0};
    assert_int_equal(store_get(f->store, "web", &record, &err), -ERR_STORE);
    assert_non_null(strstr(err.message, "record 'web' of table 'desired'"));
    assert_non_null(strstr(err.message, "checksum"));
    error_clear(&err);
    must(store_lease_holder(f->store, "tcp/10022", holder, NULL, &err), &err);
    assert_string_equal(holder, "?");
}

/* As version 0.1.0 made it: schema 1, and no record with a checksum. */
static void a_store_of_schema_1_is_read_and_gets_checksums_as_it_is_written(void **state)
{
    static const char status[] = "u\tv9\tx\n{\"uid\":\"u\",\"observedGeneration\":12}";
    struct fixture *f = *state;
    struct buf value = BUF_INIT(0);
    struct strings names = {.count = 0};
    struct error err = {0};
    struct vm_desired *desired = a_desired("web", 1);
    record_encode_desired(&value, desired, 1);
    vm_desired_free(desired);
    put_raw_into_closed(f, "meta", "schema",
        "schema\0"
        "1",
        8);
    put_raw(f, "desired", "web", value.data, value.len);
    put_raw(f, "status", "web", status, sizeof(status) - 1);
    buf_clear(&value);
    for (int i = 0; i < 2; i++) { /* the second time as schema 2 */
        f->store = open_store(f);
        must(store_find_damage(f->store, &names, &err), &err);
        assert_int_equal(names.count, 0);
        struct vm_record record = get_vm(f->store, "web");
        assert_int_equal(record.status->observed_generation, 12);
        json_t *schema = NULL;
        must(store_get_json(f->store, STORE_META, "schema", &schema, &err), &err);
        assert_int_equal(json_integer_value(schema), 2);
        json_decref(schema);
        vm_record_clear(&record);
        store_close(TAKE_PTR(f->store));
    }
    f->store = open_store(f);
    assert_int_equal(create_vm(f->store, "db", NULL), 0); /* one of each kind in a table */
    must(store_find_damage(f->store, &names, &err), &err);
    assert_int_equal(names.count, 0);
    struct vm_list list;
    must(store_list(f->store, &list, &err), &err);
    assert_int_equal(list.count, 2);
    assert_true(list.records[0].desired && list.records[1].desired);
    vm_list_clear(&list);
}

/* A name becomes the name of a directory: one that no VM can have means that the page is damaged,
 * and nothing may be done with what else is on it. */
static void a_key_that_is_no_name_is_damage(void **state)
{
    static const char *const keys[] = {"../x", "a/../b", "A/b", ".hidden", "a b",
        "a-name-that-is-longer-than-the-sixty-three-bytes-that-a-name-may-have"};
    static const char *const tables[] = {"desired", "status"};
    static const char record[] = "uid\tv1\tx\n{\"uid\":\"uid\"}";
    struct fixture *f = *state;
    for (size_t i = 0; i < 2 * (sizeof(keys) / sizeof(*keys)); i++) {
        struct vm_list list = {0};
        struct vm_summary_list summaries = {0};
        struct error err = {0};
        put_raw_into_closed(f, tables[i % 2], keys[i / 2], record, sizeof(record) - 1);
        f->store = open_store(f);
        assert_int_equal(store_list(f->store, &list, &err), -ERR_STORE);
        assert_non_null(strstr(err.message, "is damaged"));
        assert_non_null(strstr(error_help_text(&err), "mv "));
        error_clear(&err);
        assert_int_equal(store_list_summaries(f->store, &summaries, &err), -ERR_STORE);
        error_clear(&err);
        store_close(TAKE_PTR(f->store));
        assert_int_equal(store_check(&f->paths, &err), -ERR_STORE); /* no vmctld starts with it */
        remove_raw_from_closed(f, tables[i % 2], keys[i / 2]);
    }
}

static void a_record_of_another_name_or_with_a_uid_that_is_a_path_is_damaged(void **state)
{
    static const char path_uid[] = "../../x\tv1\tx\n{\"uid\":\"../../x\"}";
    struct fixture *f = *state;
    struct buf value = BUF_INIT(0);
    struct vm_desired *desired = a_desired("other", 1);
    record_encode_desired(&value, desired, 1);
    vm_desired_free(desired);
    put_raw_into_closed(f, "desired", "web", value.data, value.len);
    put_raw(f, "status", "db", path_uid, sizeof(path_uid) - 1);
    buf_clear(&value);
    f->store = open_store(f);
    struct vm_list list = {0};
    struct error err = {0};
    must(store_list(f->store, &list, &err), &err);
    assert_int_equal(list.count, 2);
    assert_true(list.records[0].is_damaged && list.records[1].is_damaged);
    assert_null(list.records[0].status);
    assert_null(list.records[1].desired);
    vm_list_clear(&list);
}

static void a_summary_of_another_layout_is_computed_from_the_json(void **state)
{
    struct fixture *f = *state;
    static const char record[] = "u\tv9\tsomething else\n{\"uid\":\"u\",\"observedGeneration\":12}";
    put_raw_into_closed(f, "status", "web", record, sizeof(record) - 1);
    f->store = open_store(f);
    struct vm_summary_list summaries;
    struct error err = {0};
    must(store_list_summaries(f->store, &summaries, &err), &err);
    assert_int_equal(summaries.count, 1);
    assert_false(summaries.items[0].is_damaged);
    assert_int_equal(summaries.items[0].status.observed_generation, 12);
    vm_summary_list_clear(&summaries);
}

static void an_event_that_cannot_be_read_is_passed_over(void **state)
{
    struct fixture *f = *state;
    put_raw_into_closed(f, "events", "\1\1\1\1\1\1\1\1", "x", 1);
    f->store = open_store(f);
    struct store_batch *batch = store_batch_new();
    store_batch_add_event(batch, "web", false, REASON_READY, "m", 1);
    assert_int_equal(commit(f->store, batch), 0);
    struct event_list list;
    struct error err = {0};
    must(store_list_events(f->store, NULL, 0, 0, &list, &err), &err);
    assert_int_equal(list.count, 1);
    event_list_clear(&list);
}

static void a_place_that_is_a_file_is_refused(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct store *store = NULL;
    char *path = paths_path(&f->paths, "store");
    must(fs_write_file(path, "x", 1, 0600, &err), &err);
    assert_true(store_open(&f->paths, &store, &err) < 0);
    assert_non_null(strstr(err.message, path));
    free(path);
}

/* ---- a full disk: a small tmpfs in a mount namespace of the child's own ---- */

enum { CANNOT_MOUNT = 77, ENOUGH = 200000 };

static bool mount_small(const struct fixture *f, const char *options, unsigned long flags)
{
    return mount("none", f->dir, "tmpfs", flags, options) == 0;
}

static int put_big_statuses(struct store *store, int first, int n, struct error *err)
{
    char name[32], message[3000];
    memset(message, 'm', sizeof(message) - 1);
    message[sizeof(message) - 1] = '\0';
    struct vm_status *status = vm_status_new("u");
    struct store_batch *batch = store_batch_new();
    vm_status_set(status, CONDITION_READY, CONDITION_FALSE, REASON_STOPPED, message, 1);
    for (int i = first; i < first + n; i++) {
        (void)snprintf(name, sizeof(name), "vm-%d", i);
        store_batch_put_status(batch, name, status);
    }
    int rc = store_commit(store, batch, err);
    vm_status_free(status);
    store_batch_free(batch);
    return rc;
}

static int put_big_status(struct store *store, int i, struct error *err)
{
    return put_big_statuses(store, i, 1, err);
}

/* LMDB writes many pages at once, and calls it an I/O error that some of them were written. */
static void expect_full(const struct fixture *f, struct store *store, int first)
{
    enum { MANY = 40, SIZES = 8 };
    for (int i = 1; i <= SIZES; i++) {
        struct error err = {0};
        char options[32];
        (void)snprintf(options, sizeof(options), "size=%dk", 512 + 4 * i);
        child_must(mount_small(f, options, MS_REMOUNT));
        child_must(put_big_statuses(store, first, MANY, &err) < 0);
        child_must(err.code == ERR_NO_SPACE);
    }
}

static void fill_the_disk(const struct fixture *f, int number)
{
    (void)number;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        !mount_small(f, "size=512k", 0)) {
        _exit(CANNOT_MOUNT);
    }
    struct store *store = NULL;
    struct error err = {0};
    struct vm_list list;
    child_must(store_open(&f->paths, &store, &err) == 0);
    int i = 0;
    while (i < ENOUGH && put_big_status(store, i, &err) == 0) {
        i++;
    }
    child_must(i > 0 && i < ENOUGH);
    child_must(err.code == ERR_NO_SPACE);
    error_clear(&err);
    expect_full(f, store, i);
    child_must(store_list(store, &list, &err) == 0 && list.count == (size_t)i);
    vm_list_clear(&list);
    child_must(mount_small(f, "size=4m", MS_REMOUNT));
    child_must(put_big_status(store, i, &err) == 0);
    child_must(store_list(store, &list, &err) == 0 && list.count == (size_t)i + 1);
    vm_list_clear(&list);
    store_close(store);
}

static void a_full_disk_is_said_to_be_full_and_loses_nothing(void **state)
{
    struct fixture *f = *state;
    int status = wait_for_child(start_child(fill_the_disk, f, 0));
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_MOUNT) {
        skip();
    }
    assert_int_equal(status, 0);
}

enum { FEW_PAGES_BYTES = 8 * PAGE_BYTES };

/* Of all blocks but those few pages that a small transaction takes. */
static void leave_few_pages(const struct fixture *f)
{
    static const char bytes[PAGE_BYTES];
    cleanup_free char *path = paths_path(&f->paths, "filler");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    off_t n = 0;
    child_must(fd >= 0);
    while (write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes)) {
        n += (off_t)sizeof(bytes);
    }
    child_must(n > FEW_PAGES_BYTES && ftruncate(fd, n - FEW_PAGES_BYTES) == 0);
    close(fd);
}

/* Its index is that of an empty store: a vmctl without one has written the rest. */
static void fill_beside_index(const struct fixture *f)
{
    struct store *store = open_store(f);
    struct store_batch *batch = store_batch_new();
    struct error err = {0};
    store->by_source = LMDB_NO_TABLE;
    for (int i = 0; i < 500; i++) {
        cleanup_free char *name = mem_printf("a-name-as-long-as-a-name-of-a-vm-can-be-%d", i);
        struct vm_desired *desired = a_desired(name, 1);
        desired->source = mem_strdup("/VMFile.kdl");
        store_batch_put_desired(batch, desired, 0);
        vm_desired_free(desired);
    }
    child_must(store_commit(store, batch, &err) == 0);
    store_batch_free(batch);
    store_close(store);
}

static void write_without_room_for_an_index(const struct fixture *f, int number)
{
    (void)number;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        !mount_small(f, "size=512k", 0)) {
        _exit(CANNOT_MOUNT);
    }
    struct error err = {0};
    struct strings names = {.count = 0};
    fill_beside_index(f);
    leave_few_pages(f);
    struct store *store = open_store(f);
    child_must(create_vm(store, "web", NULL) == 0);
    child_must(!store->is_indexing);
    child_must(store_list_source(store, "/VMFile.kdl", &names, &err) == 0 && names.count == 500);
    child_must(mount_small(f, "size=4m", MS_REMOUNT));
    child_must(create_vm(store, "db", NULL) == 0);
    child_must(store->is_indexing);
    strings_clear(&names);
    store_close(store);
}

static void a_full_disk_without_room_for_an_index_can_be_written_to(void **state)
{
    struct fixture *f = *state;
    int status = wait_for_child(start_child(write_without_room_for_an_index, f, 0));
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_MOUNT) {
        skip();
    }
    assert_int_equal(status, 0);
}

#define in_empty_dir(test) cmocka_unit_test_setup_teardown(test, fixture_set_up, fixture_tear_down)
#define on_open_store(test)                                                                        \
    cmocka_unit_test_setup_teardown(test, fixture_set_up_open, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_empty_dir(a_data_file_of_garbage_is_refused_with_the_way_out),
        in_empty_dir(a_data_file_too_short_for_its_header_is_refused),
        in_empty_dir(a_data_file_cut_off_anywhere_is_an_error_and_not_a_crash),
        in_empty_dir(a_damaged_page_anywhere_is_an_error_and_not_a_crash),
        in_empty_dir(a_head_that_lies_is_found_before_anything_is_written),
        in_empty_dir(a_fault_outside_the_map_is_a_crash_and_not_damage),
        in_empty_dir(tables_that_cannot_be_found_are_damage_and_not_made_again),
        in_empty_dir(a_missing_table_is_damage_for_whoever_opens_the_store),
        in_empty_dir(a_store_that_is_not_there_yet_is_not_damaged),
        in_empty_dir(a_file_that_ends_before_its_last_free_pages_is_whole),
        on_open_store(a_newer_schema_is_refused_naming_both_versions),
        on_open_store(a_schema_that_is_no_number_is_damage),
        on_open_store(a_damaged_record_is_named_and_hides_no_other),
        cmocka_unit_test(a_changed_byte_anywhere_is_found),
        on_open_store(a_change_that_still_reads_as_a_record_is_found_in_every_table),
        on_open_store(a_changed_record_is_named_and_its_lease_keeps_the_key),
        on_open_store(a_damaged_record_is_taken_out_and_that_of_a_vm_made_again),
        on_open_store(a_damaged_status_is_left),
        on_open_store(a_store_of_schema_1_is_read_and_gets_checksums_as_it_is_written),
        on_open_store(a_key_that_is_no_name_is_damage),
        on_open_store(a_record_of_another_name_or_with_a_uid_that_is_a_path_is_damaged),
        on_open_store(a_summary_of_another_layout_is_computed_from_the_json),
        on_open_store(an_event_that_cannot_be_read_is_passed_over),
        in_empty_dir(a_place_that_is_a_file_is_refused),
        in_empty_dir(a_full_disk_is_said_to_be_full_and_loses_nothing),
        in_empty_dir(a_full_disk_without_room_for_an_index_can_be_written_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

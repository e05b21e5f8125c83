/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/strings.h"
#include "tests/unit/store/store_fixture.h"

#include <sys/stat.h>

/* ---- compare-and-set ---- */

static void a_new_vm_is_read_back_with_revision_one(void **state)
{
    struct fixture *f = *state;
    struct vm_desired *desired = a_desired("web", 4);
    desired->generation = 1;
    assert_int_equal(put_desired(f->store, desired, 0), 0);
    struct vm_record record = get_vm(f->store, "web");
    assert_string_equal(record.name, "web");
    assert_non_null(record.desired);
    assert_null(record.status);
    assert_string_equal(record.desired->uid, desired->uid);
    assert_int_equal(record.desired->revision, 1);
    assert_int_equal(record.desired->spec->vcpus, 4);
    vm_record_clear(&record);
    vm_desired_free(desired);
}

static void a_name_nobody_has_reads_as_nothing(void **state)
{
    struct fixture *f = *state;
    char long_name[2000];
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    const char *const names[] = {"nobody", "", long_name};
    for (size_t i = 0; i < 3; i++) {
        struct vm_record record = get_vm(f->store, names[i]);
        assert_null(record.desired);
        assert_null(record.status);
        vm_record_clear(&record);
    }
}

static void creating_a_vm_twice_is_stale(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_vm(f->store, "web", NULL), 0);
    assert_int_equal(create_vm(f->store, "web", NULL), -ERR_STORE_STALE);
}

static void the_second_of_two_writers_with_one_revision_is_stale(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_vm(f->store, "web", NULL), 0);
    struct vm_record record = get_vm(f->store, "web");
    record.desired->spec->vcpus = 2;
    assert_int_equal(put_desired(f->store, record.desired, 1), 0);
    record.desired->spec->vcpus = 3;
    assert_int_equal(put_desired(f->store, record.desired, 1), -ERR_STORE_STALE);
    vm_record_clear(&record);
    record = get_vm(f->store, "web");
    assert_int_equal(record.desired->spec->vcpus, 2);
    assert_int_equal(record.desired->revision, 2);
    vm_record_clear(&record);
}

static void an_update_of_a_removed_vm_is_stale(void **state)
{
    struct fixture *f = *state;
    struct vm_desired *desired = a_desired("web", 1);
    assert_int_equal(put_desired(f->store, desired, 1), -ERR_STORE_STALE);
    vm_desired_free(desired);
}

static void a_stale_batch_changes_nothing_at_all(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_vm(f->store, "b", NULL), 0);
    struct vm_desired *a = a_desired("a", 1), *b = a_desired("b", 1);
    struct store_batch *batch = store_batch_new();
    store_batch_put_desired(batch, a, 0);
    store_batch_add_event(batch, "a", false, REASON_READY, "made", 1);
    store_batch_put_desired(batch, b, 0);
    assert_int_equal(commit(f->store, batch), -ERR_STORE_STALE);
    struct vm_record record = get_vm(f->store, "a");
    assert_null(record.desired);
    vm_record_clear(&record);
    struct event_list events;
    struct error err = {0};
    must(store_list_events(f->store, NULL, 0, 0, &events, &err), &err);
    assert_int_equal(events.count, 0);
    vm_desired_free(a);
    vm_desired_free(b);
}

static void a_status_is_written_only_for_the_vm_it_is_of(void **state)
{
    struct fixture *f = *state;
    char uid[TEXT_ID_SIZE];
    assert_int_equal(create_vm(f->store, "web", uid), 0);
    assert_int_equal(put_status(f->store, "web", uid, 3), 0);
    assert_int_equal(put_status(f->store, "web", "another", 4), -ERR_STORE_STALE);
    struct vm_record record = get_vm(f->store, "web");
    assert_int_equal(record.status->observed_generation, 3);
    vm_record_clear(&record);
}

static void a_status_without_desired_record_keeps_its_owner(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put_status(f->store, "orphan", "first", 1), 0);
    assert_int_equal(put_status(f->store, "orphan", "first", 2), 0);
    assert_int_equal(put_status(f->store, "orphan", "second", 3), -ERR_STORE_STALE);
    struct vm_record record = get_vm(f->store, "orphan");
    assert_null(record.desired);
    assert_string_equal(record.status->uid, "first");
    assert_int_equal(record.status->observed_generation, 2);
    vm_record_clear(&record);
}

static bool has_changed_since(struct fixture *f, const char *name, struct vm_mark *mark)
{
    struct error err = {0};
    struct vm_record record = {0};
    bool is_changed;
    must(store_get_changed(f->store, name, mark, &record, &is_changed, &err), &err);
    assert_int_equal(record.name != NULL, is_changed);
    vm_record_clear(&record);
    return is_changed;
}

static void a_record_that_is_as_it_was_is_not_read_again(void **state)
{
    struct fixture *f = *state;
    char uid[TEXT_ID_SIZE];
    struct vm_mark mark = VM_MARK_NEVER;
    assert_true(has_changed_since(f, "web", &mark)); /* that there is none is news once */
    assert_false(has_changed_since(f, "web", &mark));
    assert_int_equal(create_vm(f->store, "web", uid), 0);
    assert_true(has_changed_since(f, "web", &mark));
    assert_int_equal(create_vm(f->store, "db", NULL), 0);
    assert_false(has_changed_since(f, "web", &mark));
    assert_int_equal(put_status(f->store, "web", uid, 3), 0);
    assert_true(has_changed_since(f, "web", &mark));
    assert_int_equal(put_status(f->store, "web", uid, 3), 0); /* the same bytes */
    assert_false(has_changed_since(f, "web", &mark));
}

/* ---- forgetting and leases ---- */

static int take_lease(struct store *store, const char *key, const char *uid, const char *vm)
{
    struct store_batch *batch = store_batch_new();
    struct lease lease = {
        .key = mem_strdup(key), .vm_name = mem_strdup(vm), .purpose = mem_strdup("ssh")};
    strcpy(lease.uid, uid);
    store_batch_take_lease(batch, &lease);
    free(lease.key);
    free(lease.vm_name);
    free(lease.purpose);
    return commit(store, batch);
}

static struct lease_list leases_of(struct store *store)
{
    struct lease_list list = {0};
    struct error err = {0};
    must(store_list_leases(store, NULL, &list, &err), &err);
    return list;
}

static void expect_holder(
    struct store *store, const char *key, const char *uid, const char *vm_name)
{
    char found[TEXT_ID_SIZE], *name = NULL;
    struct error err = {0};
    must(store_lease_holder(store, key, found, &name, &err), &err);
    assert_string_equal(found, uid);
    assert_true(text_eq(name, vm_name));
    free(name);
}

static void a_lease_has_one_holder_until_it_is_dropped(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(take_lease(f->store, "tcp/10022", "u1", "a"), 0);
    assert_int_equal(take_lease(f->store, "tcp/10022", "u1", "a"), 0);
    assert_int_equal(take_lease(f->store, "tcp/10022", "u", "b"), -ERR_STORE_STALE);
    assert_int_equal(take_lease(f->store, "tcp/10022", "u12", "b"), -ERR_STORE_STALE);
    struct lease_list list = leases_of(f->store);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0].key, "tcp/10022");
    assert_string_equal(list.items[0].uid, "u1");
    assert_string_equal(list.items[0].vm_name, "a");
    assert_string_equal(list.items[0].purpose, "ssh");
    lease_list_clear(&list);
    expect_holder(f->store, "tcp/10022", "u1", "a");
    expect_holder(f->store, "tcp/10023", "", NULL);
    struct store_batch *batch = store_batch_new();
    store_batch_drop_lease(batch, "tcp/10022");
    store_batch_drop_lease(batch, "tcp/never-taken");
    assert_int_equal(commit(f->store, batch), 0);
    assert_int_equal(take_lease(f->store, "tcp/10022", "u2", "b"), 0);
}

static void append_key(void *context, const char *key)
{
    struct buf *seen = context;
    buf_printf(seen, "%s ", key);
}

static void leases_are_shown_by_a_range_of_keys(void **state)
{
    struct fixture *f = *state;
    static const char *const keys[] = {
        "tcp/10021", "tcp/10022", "tcp/1003", "tcp/10122", "tcp/10123", "udp/10022"};
    cleanup_buf struct buf seen = BUF_INIT(0);
    struct error err = {0};
    must(store_each_lease_between(f->store, "tcp/10022", "tcp/10122", append_key, &seen, &err),
        &err);
    assert_string_equal(buf_str(&seen), "");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_int_equal(take_lease(f->store, keys[i], "u1", "a"), 0);
    }
    must(store_each_lease_between(f->store, "tcp/10022", "tcp/10122", append_key, &seen, &err),
        &err);
    assert_string_equal(buf_str(&seen), "tcp/10022 tcp/1003 tcp/10122 ");
}

static void the_leases_of_a_vm_are_those_of_its_very_name(void **state)
{
    struct fixture *f = *state;
    struct lease_list list = {0};
    struct error err = {0};
    assert_int_equal(take_lease(f->store, "tcp/1", "u1", "web"), 0);
    assert_int_equal(take_lease(f->store, "tcp/2", "u2", "web2"), 0);
    assert_int_equal(take_lease(f->store, "tcp/3", "u3", "we"), 0);
    assert_int_equal(take_lease(f->store, "tcp/4", "web", "other"), 0);
    assert_int_equal(take_lease(f->store, "udp/1", "u1", "web"), 0);
    must(store_list_leases(f->store, "web", &list, &err), &err);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].key, "tcp/1");
    assert_string_equal(list.items[1].key, "udp/1");
    lease_list_clear(&list);
    must(store_list_leases(f->store, "ssh", &list, &err), &err); /* what they are for */
    assert_int_equal(list.count, 0);
}

static void forgetting_a_vm_drops_its_records_and_its_leases_only(void **state)
{
    struct fixture *f = *state;
    char uid[TEXT_ID_SIZE], other[TEXT_ID_SIZE];
    assert_int_equal(create_vm(f->store, "web", uid), 0);
    assert_int_equal(create_vm(f->store, "db", other), 0);
    assert_int_equal(put_status(f->store, "web", uid, 1), 0);
    assert_int_equal(take_lease(f->store, "mac/1", uid, "web"), 0);
    assert_int_equal(take_lease(f->store, "mac/2", other, "db"), 0);
    assert_int_equal(take_lease(f->store, "tcp/1", uid, "web"), 0);
    assert_int_equal(take_lease(f->store, "tcp/2", uid, "web"), 0);
    struct store_batch *batch = store_batch_new();
    store_batch_forget_vm(batch, "web", uid);
    assert_int_equal(commit(f->store, batch), 0);
    struct vm_record record = get_vm(f->store, "web");
    assert_null(record.desired);
    assert_null(record.status);
    vm_record_clear(&record);
    record = get_vm(f->store, "db");
    assert_non_null(record.desired);
    vm_record_clear(&record);
    struct lease_list list = leases_of(f->store);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0].key, "mac/2");
    lease_list_clear(&list);
}

static void the_successor_of_a_vm_is_not_forgotten_with_it(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_vm(f->store, "web", NULL), 0);
    struct store_batch *batch = store_batch_new();
    store_batch_forget_vm(batch, "web", "its-predecessor");
    assert_int_equal(commit(f->store, batch), -ERR_STORE_STALE);
    struct vm_record record = get_vm(f->store, "web");
    assert_non_null(record.desired);
    vm_record_clear(&record);
}

static void forgetting_what_is_gone_is_fine(void **state)
{
    struct fixture *f = *state;
    struct store_batch *batch = store_batch_new();
    store_batch_forget_vm(batch, "web", "uid");
    assert_int_equal(commit(f->store, batch), 0);
}

/* ---- listing ---- */

static void a_list_has_the_vms_of_both_tables_in_order(void **state)
{
    struct fixture *f = *state;
    char uid[TEXT_ID_SIZE];
    assert_int_equal(create_vm(f->store, "b", uid), 0);
    assert_int_equal(put_status(f->store, "b", uid, 7), 0);
    assert_int_equal(create_vm(f->store, "b2", NULL), 0);
    assert_int_equal(put_status(f->store, "a-orphan", "x", 1), 0);
    assert_int_equal(put_status(f->store, "z-orphan", "y", 1), 0);
    struct vm_list list;
    struct vm_summary_list summaries;
    struct error err = {0};
    must(store_list(f->store, &list, &err), &err);
    must(store_list_summaries(f->store, &summaries, &err), &err);
    static const char *const names[] = {"a-orphan", "b", "b2", "z-orphan"};
    assert_int_equal(list.count, 4);
    assert_int_equal(summaries.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(list.records[i].name, names[i]);
        assert_string_equal(summaries.items[i].name, names[i]);
        assert_int_equal(list.records[i].desired != NULL, i == 1 || i == 2);
        assert_int_equal(list.records[i].status != NULL, i != 2);
        assert_int_equal(summaries.items[i].has_desired, i == 1 || i == 2);
        assert_int_equal(summaries.items[i].has_status, i != 2);
        assert_false(list.records[i].is_damaged);
        assert_false(summaries.items[i].is_damaged);
    }
    assert_int_equal(summaries.items[1].status.observed_generation, 7);
    assert_int_equal(summaries.items[1].desired.vcpus, 1);
    assert_int_equal(summaries.items[1].desired.created_ms, 1700000000000);
    vm_list_clear(&list);
    vm_summary_list_clear(&summaries);
}

static void put_of_source(
    struct store *store, const char *name, const char *source, bool is_deleting)
{
    struct vm_desired *desired = a_desired(name, 1);
    desired->source = mem_strdup(source);
    desired->is_deleting = is_deleting;
    assert_int_equal(put_desired(store, desired, 0), 0);
    vm_desired_free(desired);
}

static void the_vms_of_a_vmfile_are_listed_by_its_very_path(void **state)
{
    static const char source[] = "/home/me/my \"\\ déjà/VMFile.kdl";
    struct fixture *f = *state;
    struct strings names = {.count = 0};
    struct error err = {0};
    put_of_source(f->store, "b", source, false);
    put_of_source(f->store, "a", source, false);
    put_of_source(f->store, "going", source, true);
    put_of_source(f->store, "longer", "/home/me/my \"\\ déjà/VMFile.kdl2", false);
    put_of_source(f->store, "other", "/VMFile.kdl", false);
    put_of_source(f->store, "quotes", "/\"source\":\"/home/me/my \"\\ déjà/VMFile.kdl\"", false);
    assert_int_equal(create_vm(f->store, "none", NULL), 0);
    must(store_list_source(f->store, source, &names, &err), &err);
    assert_int_equal(names.count, 2);
    assert_string_equal(names.items[0], "a");
    assert_string_equal(names.items[1], "b");
    strings_clear(&names);
}

static void a_name_is_there_by_either_record(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    bool is_there = true;
    assert_int_equal(create_vm(f->store, "desired", NULL), 0);
    assert_int_equal(put_status(f->store, "orphan", "x", 1), 0);
    must(store_has(f->store, "none", &is_there, &err), &err);
    assert_false(is_there);
    must(store_has(f->store, "desired", &is_there, &err), &err);
    assert_true(is_there);
    is_there = false;
    must(store_has(f->store, "orphan", &is_there, &err), &err);
    assert_true(is_there);
}

static void the_summary_has_the_revision_that_a_write_moves(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct vm_summary_list list;
    char uid[TEXT_ID_SIZE];
    assert_int_equal(create_vm(f->store, "web", uid), 0);
    for (uint64_t revision = 1; revision <= 2; revision++) {
        must(store_list_summaries(f->store, &list, &err), &err);
        assert_string_equal(list.items[0].uid, uid);
        assert_int_equal(list.items[0].revision, revision);
        vm_summary_list_clear(&list);
        struct vm_record record = get_vm(f->store, "web");
        assert_int_equal(put_desired(f->store, record.desired, revision), 0);
        vm_record_clear(&record);
    }
}

static void an_empty_store_lists_nothing(void **state)
{
    struct fixture *f = *state;
    struct vm_list list;
    struct error err = {0};
    must(store_list(f->store, &list, &err), &err);
    assert_int_equal(list.count, 0);
    vm_list_clear(&list);
}

/* ---- plain JSON ---- */

static void a_plain_record_is_written_replaced_listed_and_removed(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char key[1500]; /* longer than LMDB's keys may be, as an URL can */
    memset(key, 'u', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    json_t *record = json_pack("{s:i}", "bytes", 5), *read = NULL, *all = NULL;
    struct store_batch *batch = store_batch_new();
    store_batch_put_json(batch, STORE_IMAGES, key, record);
    store_batch_put_json(batch, STORE_IMAGES, "short", record);
    assert_int_equal(commit(f->store, batch), 0);
    must(store_get_json(f->store, STORE_IMAGES, key, &read, &err), &err);
    assert_true(json_equal(read, record));
    json_decref(read);
    must(store_list_json(f->store, STORE_IMAGES, &all, &err), &err);
    assert_int_equal(json_object_size(all), 2);
    assert_true(json_equal(json_object_get(all, key), record));
    json_decref(all);
    batch = store_batch_new();
    store_batch_put_json(batch, STORE_IMAGES, key, NULL);
    assert_int_equal(commit(f->store, batch), 0);
    must(store_get_json(f->store, STORE_IMAGES, key, &read, &err), &err);
    assert_null(read);
    json_decref(record);
}

/* ---- files ---- */

static int mode_of(const struct fixture *f, const char *name)
{
    struct stat st;
    char *path = paths_path(&f->paths, name);
    assert_int_equal(stat(path, &st), 0);
    free(path);
    return (int)(st.st_mode & 0777);
}

static void the_store_is_private_to_its_user(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mode_of(f, "store"), 0700);
    assert_int_equal(mode_of(f, "store/data.mdb"), 0600);
    assert_int_equal(mode_of(f, "store/lock.mdb"), 0600);
}

static void what_was_written_is_there_after_reopening(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_vm(f->store, "web", NULL), 0);
    store_close(f->store);
    f->store = open_store(f);
    struct vm_record record = get_vm(f->store, "web");
    assert_non_null(record.desired);
    vm_record_clear(&record);
}

/* What of the store's map counts as this process's memory. */
static size_t resident_kib(void)
{
    char line[512];
    size_t kib = 0;
    bool is_map = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        char mode[8];
        bool is_head = sscanf(line, "%*x-%*x %7s", mode) == 1;
        is_map = is_head ? strstr(line, "/store/data.mdb") != NULL : is_map;
        if (is_map && sscanf(line, "Rss: %zu kB", &kib) == 1) {
            break;
        }
    }
    assert_int_equal(fclose(file), 0);
    return kib;
}

/* But for the pages around the first one: the kernel maps 64 KiB at a time. */
static void an_unloaded_store_takes_no_memory_and_serves_as_before(void **state)
{
    enum { N = 200, AROUND_KIB = 64 };
    struct fixture *f = *state;
    struct vm_list list;
    struct error err = {0};
    struct store_batch *batch = store_batch_new();
    for (int i = 0; i < N; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "vm%d", i);
        struct vm_desired *desired = a_desired(name, 1);
        store_batch_put_desired(batch, desired, 0);
        vm_desired_free(desired);
    }
    assert_int_equal(commit(f->store, batch), 0);
    must(store_list(f->store, &list, &err), &err);
    vm_list_clear(&list);
    assert_true(resident_kib() > AROUND_KIB + 4);
    assert_true(store_unload(f->store));
    assert_true(resident_kib() <= AROUND_KIB + 4);
    assert_int_equal(create_vm(f->store, "web", NULL), 0);
    must(store_list(f->store, &list, &err), &err);
    assert_int_equal(list.count, N + 1);
    vm_list_clear(&list);
}

static void network_file_systems_are_refused_and_local_ones_are_not(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(store_check_filesystem(0x6969, "/mnt/x", &err), -ERR_STORE);
    assert_non_null(strstr(err.message, "'/mnt/x' is on NFS"));
    assert_non_null(strstr(error_help_text(&err), "--data-dir"));
    error_clear(&err);
    assert_int_equal(store_check_filesystem(0x01021997, "/mnt/x", &err), -ERR_STORE);
    error_clear(&err);
    assert_int_equal(
        store_check_filesystem(-11317950, "/mnt/x", &err), -ERR_STORE); /* CIFS, signed */
    error_clear(&err);
    assert_int_equal(store_check_filesystem(0xef53, "/mnt/x", &err), 0);
    assert_int_equal(store_check_filesystem(0x01021994, "/mnt/x", &err), 0);
}

#define on_open_store(test)                                                                        \
    cmocka_unit_test_setup_teardown(test, fixture_set_up_open, fixture_tear_down)

/* ---- expectations of plain records ---- */

static int put_expecting(struct store *store, const json_t *expected, const json_t *record)
{
    struct store_batch *batch = store_batch_new();
    store_batch_expect_json(batch, STORE_SOURCES, "/p", expected);
    store_batch_put_json(batch, STORE_SOURCES, "/p", record);
    return commit(store, batch);
}

static void a_plain_record_is_written_only_over_the_expected_one(void **state)
{
    struct fixture *f = *state;
    json_t *one = json_object(), *two = json_object();
    json_put_int(one, "n", 1);
    json_put_int(two, "n", 2);
    assert_int_equal(put_expecting(f->store, one, two), -ERR_STORE_STALE);
    assert_int_equal(put_expecting(f->store, NULL, one), 0);
    assert_int_equal(put_expecting(f->store, NULL, two), -ERR_STORE_STALE);
    assert_int_equal(put_expecting(f->store, two, two), -ERR_STORE_STALE);
    assert_int_equal(put_expecting(f->store, one, two), 0);
    assert_int_equal(put_expecting(f->store, two, NULL), 0);
    assert_int_equal(put_expecting(f->store, NULL, NULL), 0);
    json_decref(one);
    json_decref(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_open_store(a_new_vm_is_read_back_with_revision_one),
        on_open_store(a_name_nobody_has_reads_as_nothing),
        on_open_store(creating_a_vm_twice_is_stale),
        on_open_store(the_second_of_two_writers_with_one_revision_is_stale),
        on_open_store(an_update_of_a_removed_vm_is_stale),
        on_open_store(a_stale_batch_changes_nothing_at_all),
        on_open_store(a_record_that_is_as_it_was_is_not_read_again),
        on_open_store(a_status_is_written_only_for_the_vm_it_is_of),
        on_open_store(a_status_without_desired_record_keeps_its_owner),
        on_open_store(a_lease_has_one_holder_until_it_is_dropped),
        on_open_store(leases_are_shown_by_a_range_of_keys),
        on_open_store(the_leases_of_a_vm_are_those_of_its_very_name),
        on_open_store(forgetting_a_vm_drops_its_records_and_its_leases_only),
        on_open_store(the_successor_of_a_vm_is_not_forgotten_with_it),
        on_open_store(forgetting_what_is_gone_is_fine),
        on_open_store(a_list_has_the_vms_of_both_tables_in_order),
        on_open_store(an_empty_store_lists_nothing),
        on_open_store(the_vms_of_a_vmfile_are_listed_by_its_very_path),
        on_open_store(a_name_is_there_by_either_record),
        on_open_store(the_summary_has_the_revision_that_a_write_moves),
        on_open_store(a_plain_record_is_written_replaced_listed_and_removed),
        on_open_store(a_plain_record_is_written_only_over_the_expected_one),
        on_open_store(the_store_is_private_to_its_user),
        on_open_store(what_was_written_is_there_after_reopening),
        on_open_store(an_unloaded_store_takes_no_memory_and_serves_as_before),
        cmocka_unit_test(network_file_systems_are_refused_and_local_ones_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

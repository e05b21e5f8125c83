/* SPDX-License-Identifier: MPL-2.0 */
#include "store/source/sources.h"

#include "tests/unit/store/source/source_fixture.h"

static void a_registration_is_read_back(void **state)
{
    struct fixture *f = *state;
    assert_null(get_source(f, "/p/VMFile.kdl"));
    register_source(f, "/p/VMFile.kdl", SOURCE_PRUNE_DESTROY, false);
    struct source_record *record = get_source(f, "/p/VMFile.kdl");
    assert_int_equal(record->state, SOURCE_PENDING);
    assert_int_equal(record->prune, SOURCE_PRUNE_DESTROY);
    assert_int_equal(record->since_ms, 1700000000000);
    source_record_free(record);
}

static void registering_again_changes_the_options_and_keeps_what_came_of_it(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char digest[DIGEST_SIZE];
    digest_text("x", digest);
    register_source(f, "/p/VMFile.kdl", SOURCE_PRUNE_DESTROY, false);
    struct store_batch *batch = store_batch_new();
    must(sources_add_applied(f->store, batch, "/p/VMFile.kdl", digest, digest,
             &(struct strings){.count = 0}, &(struct strings){.count = 0}, &err),
        &err);
    assert_int_equal(commit(f->store, batch), 0);
    register_source(f, "/p/VMFile.kdl", SOURCE_PRUNE_STOP, false);
    struct source_record *record = get_source(f, "/p/VMFile.kdl");
    assert_int_equal(record->state, SOURCE_SYNCED);
    assert_int_equal(record->prune, SOURCE_PRUNE_STOP);
    assert_string_equal(record->applied_sha, digest);
    source_record_free(record);
}

static void what_is_applied_is_noted_of_watched_files_only(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char digest[DIGEST_SIZE];
    digest_text("x", digest);
    struct store_batch *batch = store_batch_new();
    must(sources_add_applied(f->store, batch, "/p/VMFile.kdl", digest, digest,
             &(struct strings){.count = 0}, &(struct strings){.count = 0}, &err),
        &err);
    assert_true(store_batch_is_empty(batch));
    store_batch_free(batch);
}

static void a_change_of_a_record_that_changed_meanwhile_is_stale(void **state)
{
    struct fixture *f = *state;
    register_source(f, "/p/VMFile.kdl", SOURCE_PRUNE_NOTHING, false);
    struct source_record *before = get_source(f, "/p/VMFile.kdl");
    struct source_record *after = source_record_copy(before);
    after->state = SOURCE_SYNCED;
    register_source(f, "/p/VMFile.kdl", SOURCE_PRUNE_STOP, false);
    struct store_batch *batch = store_batch_new();
    sources_change(batch, before, after);
    assert_int_equal(commit(f->store, batch), -ERR_STORE_STALE);
    batch = store_batch_new();
    sources_change(batch, NULL, after);
    assert_int_equal(commit(f->store, batch), -ERR_STORE_STALE);
    assert_int_equal(source_state_of(f, "/p/VMFile.kdl"), SOURCE_PENDING);
    source_record_free(before);
    source_record_free(after);
}

static void a_directory_is_forgotten_with_its_files(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    bool was_watched = false;
    register_source(f, "/p", SOURCE_PRUNE_NOTHING, true);
    register_source(f, "/p/alone.kdl", SOURCE_PRUNE_NOTHING, false);
    struct source_record *child = source_record_new("/p/a.kdl", 1);
    child->directory = mem_strdup("/p");
    struct store_batch *batch = store_batch_new();
    sources_change(batch, NULL, child);
    assert_int_equal(commit(f->store, batch), 0);
    source_record_free(child);
    must(sources_forget(f->store, "/p", &was_watched, &err), &err);
    assert_true(was_watched);
    cleanup_with(source_list_clear) struct source_list list = {.count = 0};
    must(sources_list(f->store, &list, &err), &err);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0]->path, "/p/alone.kdl");
    must(sources_forget(f->store, "/p", &was_watched, &err), &err);
    assert_false(was_watched);
}

static void a_damaged_record_does_not_hide_the_others(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    cleanup_json json_t *json = json_object();
    struct store_batch *batch = store_batch_new();
    store_batch_put_json(batch, STORE_SOURCES, "/damaged", json);
    assert_int_equal(commit(f->store, batch), 0);
    register_source(f, "/p/VMFile.kdl", SOURCE_PRUNE_NOTHING, false);
    cleanup_with(source_list_clear) struct source_list list = {.count = 0};
    must(sources_list(f->store, &list, &err), &err);
    assert_int_equal(list.count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up_open, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_registration_is_read_back),
        TEST(registering_again_changes_the_options_and_keeps_what_came_of_it),
        TEST(what_is_applied_is_noted_of_watched_files_only),
        TEST(a_change_of_a_record_that_changed_meanwhile_is_stale),
        TEST(a_directory_is_forgotten_with_its_files),
        TEST(a_damaged_record_does_not_hide_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

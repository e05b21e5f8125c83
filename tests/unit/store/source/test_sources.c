/* SPDX-License-Identifier: MPL-2.0 */
#include "store/source/sources.h"

#include "store/desired/change.h"
#include "store/source/vmfile_load.h"
#include "tests/unit/store/source/source_fixture.h"

/* What a command has read: a VMFile with `n` nodes, by the one input it has. */
struct applying {
    struct vmfile_load load;
    char digest[DIGEST_SIZE];
    struct strings inputs, overrides;
    struct source_applied applied;
};

static const char nodes_file[] =
    "var \"n\" default=1\n"
    "vm \"node\" count=\"${{ n }}\" { backend \"noop\"; image \"image\" }\n"
    "vm \"db\" { backend \"noop\"; image \"image\" }\n";

static void begin_applying(struct fixture *f, struct applying *ret, const char *input)
{
    struct error err = {0};
    cleanup_free char *path = project_file(f, "VMFile.kdl");
    *ret = (struct applying){.digest = ""};
    write_image(f);
    write_project(f, "VMFile.kdl", nodes_file);
    if (input) {
        strings_append(&ret->inputs, input);
    }
    const struct vmfile_inputs inputs = {.given = &ret->inputs};
    must(vmfile_load(path, path, &inputs, &ret->load, &err), &err);
    assert_int_equal(ret->load.file->n_diagnostics, 0);
    must(vmfile_load_referenced(&ret->load, ret->digest, &err), &err);
    ret->applied = (struct source_applied){
        .load = &ret->load, .is_whole = true, .inputs = &ret->inputs, .overrides = &ret->overrides};
}

static void end_applying(struct applying *applying)
{
    vmfile_load_clear(&applying->load);
    strings_clear(&applying->inputs);
    strings_clear(&applying->overrides);
}

static int try_applying(struct fixture *f, const struct applying *applying)
{
    struct error err = {0};
    return sources_check_applied(f->store, &applying->applied, &err);
}

/* As a command does it: the VMs and the record. */
static void apply_all(struct fixture *f, const struct applying *applying)
{
    struct error err = {0};
    for (size_t i = 0; i < applying->load.file->n_vms; i++) {
        const struct change change = {.name = applying->load.file->vms[i]->name,
            .spec = applying->load.file->vms[i],
            .source = applying->load.path};
        struct change_outcome outcome = {0};
        must(change_apply(f->store, &change, 1, &outcome, &err), &err);
        change_outcome_clear(&outcome);
    }
    struct store_batch *batch = store_batch_new();
    must(sources_add_applied(f->store, batch, &applying->applied, &err), &err);
    assert_int_equal(commit(f->store, batch), 0);
}

/* Watched with n=3, which was applied. */
static void watch_three_nodes(struct fixture *f, enum source_prune prune)
{
    struct applying three;
    cleanup_free char *path = project_file(f, "VMFile.kdl");
    register_source(f, path, prune, false);
    begin_applying(f, &three, "n=3");
    apply_all(f, &three);
    end_applying(&three);
}

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
    cleanup_free char *path = project_file(f, "VMFile.kdl");
    struct applying applying;
    register_source(f, path, SOURCE_PRUNE_DESTROY, false);
    begin_applying(f, &applying, NULL);
    apply_all(f, &applying);
    register_source(f, path, SOURCE_PRUNE_STOP, false);
    struct source_record *record = get_source(f, path);
    assert_int_equal(record->state, SOURCE_SYNCED);
    assert_int_equal(record->prune, SOURCE_PRUNE_STOP);
    assert_string_equal(record->applied_sha, applying.load.sha256);
    source_record_free(record);
    end_applying(&applying);
}

static void what_is_applied_is_noted_of_watched_files_only(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct applying applying;
    begin_applying(f, &applying, NULL);
    strings_append(&applying.overrides, "/p/prod.kdl");
    struct store_batch *batch = store_batch_new();
    must(sources_add_applied(f->store, batch, &applying.applied, &err), &err);
    assert_true(store_batch_is_empty(batch));
    store_batch_free(batch);
    end_applying(&applying);
}

static void other_overrides_than_a_file_is_watched_with_are_refused(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct applying applying;
    watch_three_nodes(f, SOURCE_PRUNE_NOTHING);
    begin_applying(f, &applying, "n=3");
    assert_int_equal(try_applying(f, &applying), 0);
    strings_append(&applying.overrides, "/p/prod.kdl");
    assert_int_equal(try_applying(f, &applying), -ERR_VM_CONFLICT);
    struct store_batch *batch = store_batch_new();
    assert_int_equal(
        sources_add_applied(f->store, batch, &applying.applied, &err), -ERR_VM_CONFLICT);
    assert_true(store_batch_is_empty(batch));
    store_batch_free(batch);
    applying.applied.is_whole = false; /* nor for some of its VMs */
    applying.applied.names = &(struct strings){.count = 0};
    assert_int_equal(try_applying(f, &applying), -ERR_VM_CONFLICT);
    end_applying(&applying);
    begin_applying(f, &applying, VMFILE_GIVEN_PROJECT "other"); /* whose VMs are others */
    strings_append(&applying.overrides, "/p/prod.kdl");
    assert_int_equal(try_applying(f, &applying), 0);
    end_applying(&applying);
}

static void other_inputs_are_refused_where_the_watch_would_take_vms_away(void **state)
{
    struct fixture *f = *state;
    struct applying two;
    watch_three_nodes(f, SOURCE_PRUNE_DESTROY);
    begin_applying(f, &two, "n=2");
    assert_int_equal(try_applying(f, &two), -ERR_VM_CONFLICT);
    two.applied.prune = SOURCE_PRUNE_STOP; /* less than the watch would do */
    assert_int_equal(try_applying(f, &two), -ERR_VM_CONFLICT);
    two.applied.prune = SOURCE_PRUNE_DESTROY;
    assert_int_equal(try_applying(f, &two), 0);
    end_applying(&two);
}

static void other_inputs_of_a_file_that_prunes_nothing_are_taken_over(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = project_file(f, "VMFile.kdl");
    struct applying two;
    watch_three_nodes(f, SOURCE_PRUNE_NOTHING);
    begin_applying(f, &two, "n=2");
    apply_all(f, &two);
    struct source_record *record = get_source(f, path);
    assert_string_equal(record->inputs.items[0], "n=2");
    assert_int_equal(record->removed.count, 1);
    assert_string_equal(record->removed.items[0], "node-3");
    source_record_free(record);
    register_source(f, path, SOURCE_PRUNE_STOP, false);
    apply_all(f, &two); /* of node-3 it says nothing new */
    end_applying(&two);
}

static void what_is_protected_is_no_reason_to_refuse_other_inputs(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct applying two;
    struct change_outcome outcome = {0};
    watch_three_nodes(f, SOURCE_PRUNE_DESTROY);
    begin_applying(f, &two, "n=2");
    struct vm_record node = get_vm(f->store, "node-3");
    node.desired->spec->is_protected = true;
    const struct change change = {
        .name = "node-3", .spec = node.desired->spec, .source = two.load.path};
    must(change_apply(f->store, &change, 1, &outcome, &err), &err);
    change_outcome_clear(&outcome);
    vm_record_clear(&node);
    assert_int_equal(try_applying(f, &two), 0);
    end_applying(&two);
}

static void a_vm_that_the_watch_would_not_know_is_not_made_by_name(void **state)
{
    struct fixture *f = *state;
    struct applying four;
    static char known[] = "node-2", unknown[] = "node-4";
    char *names[] = {known, unknown};
    watch_three_nodes(f, SOURCE_PRUNE_STOP);
    begin_applying(f, &four, "n=4");
    four.applied.is_whole = false;
    four.applied.names = &(struct strings){.items = names, .count = 1};
    assert_int_equal(try_applying(f, &four), 0);
    four.applied.names = &(struct strings){.items = names, .count = 2};
    assert_int_equal(try_applying(f, &four), -ERR_VM_CONFLICT);
    end_applying(&four);
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
        TEST(other_overrides_than_a_file_is_watched_with_are_refused),
        TEST(other_inputs_are_refused_where_the_watch_would_take_vms_away),
        TEST(other_inputs_of_a_file_that_prunes_nothing_are_taken_over),
        TEST(what_is_protected_is_no_reason_to_refuse_other_inputs),
        TEST(a_vm_that_the_watch_would_not_know_is_not_made_by_name),
        TEST(a_change_of_a_record_that_changed_meanwhile_is_stale),
        TEST(a_directory_is_forgotten_with_its_files),
        TEST(a_damaged_record_does_not_hide_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

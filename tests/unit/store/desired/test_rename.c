/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/rename.h"

#include <string.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/paths.h"
#include "specs/base/proc_stat.h"
#include "specs/base/strings.h"
#include "specs/vm/lease_key.h"
#include "specs/vm/media_digest.h"
#include "specs/vmfile/vmfile.h"
#include "store/session.h"
#include "tests/unit/store/desired/change_fixture.h"

#define SOURCE "/project/VMFile.kdl"

static void apply_spec(
    struct store *store, const char *name, const char *source, const char *depends_on)
{
    struct vm_spec *spec = vm_spec_new(name);
    spec->image.location = mem_strdup("/images/base.qcow2");
    spec->cloud_init.is_set = true;
    if (depends_on) {
        spec->depends_on = mem_calloc(1, sizeof(*spec->depends_on));
        spec->depends_on[spec->n_depends_on++] = mem_strdup(depends_on);
    }
    (void)apply(store, (struct change){.name = name, .spec = spec, .source = source});
    vm_spec_free(spec);
}

/* As the controller writes it of a VM that has run and is off. */
static void off(struct vm_status *status)
{
    struct vm_spec *spec = vm_spec_new("web");
    spec->image.location = mem_strdup("/images/base.qcow2");
    spec->cloud_init.is_set = true;
    spec_media_digest(spec, status->prepared.digest);
    spec_seed_digest(spec, status->prepared.seed_digest);
    vm_status_set_applied_spec(status, spec);
    status->ssh_port = 10022;
    status->vnc = mem_strdup("/data/vms/web/vnc.sock");
    vm_spec_free(spec);
}

static void on(struct vm_status *status)
{
    status->instance.pid = 42;
}

static void take_lease(struct store *store, const char *name, const char *key)
{
    struct vm_record record = get_vm(store, name);
    struct lease lease = {.key = (char *)(uintptr_t)key,
        .vm_name = (char *)(uintptr_t)name,
        .purpose = (char *)(uintptr_t) "ssh"};
    struct store_batch *batch = store_batch_new();
    memcpy(lease.uid, record.desired->uid, TEXT_ID_SIZE);
    store_batch_take_lease(batch, &lease);
    store_batch_add_event(
        batch, name, false, REASON_STOPPED, "it ended", record.desired->created_ms + 1);
    store_batch_add_event(batch, name, false, REASON_STOPPED, "of an earlier one", 1);
    assert_int_equal(commit(store, batch), 0);
    vm_record_clear(&record);
}

static int rename_to(struct store *store, const char *from, const char *to, struct error *err)
{
    struct renamed renamed = {.source = NULL};
    int rc = rename_vm(store, from, to, &renamed, err);
    free(renamed.source);
    return rc;
}

static void refused(
    struct store *store, const char *from, const char *to, enum error_code code, const char *words)
{
    struct error err = {0};
    assert_int_equal(rename_to(store, from, to, &err), -(int)code);
    assert_non_null(strstr(err.message, words));
}

static size_t count_events(struct store *store, const char *name)
{
    struct event_list events = {0};
    struct error err = {0};
    must(store_list_events(store, name, 0, 0, &events, &err), &err);
    size_t count = events.count;
    event_list_clear(&events);
    return count;
}

static void all_of_it_goes_along(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct error err = {0};
    char uid[TEXT_ID_SIZE], digest[DIGEST_SIZE];
    apply_spec(store, "web", NULL, NULL);
    apply_spec(store, "app", NULL, "web");
    write_status(store, "web", off);
    take_lease(store, "web", "tcp/10022");
    struct vm_record before = get_vm(store, "web");
    must(rename_to(store, "web", "www", &err), &err);
    struct vm_record old = get_vm(store, "web"), now = get_vm(store, "www"),
                     app = get_vm(store, "app");
    assert_null(old.desired);
    assert_null(old.status);
    assert_string_equal(now.desired->uid, before.desired->uid);
    assert_int_equal(now.desired->generation, before.desired->generation + 1);
    assert_string_equal(now.desired->spec->name, "www");
    vm_spec_digest(now.desired->spec, digest);
    assert_string_equal(now.desired->spec_digest, digest);
    assert_string_equal(now.status->applied_spec->name, "www");
    assert_string_equal(now.status->renamed_from, "web");
    assert_null(now.status->vnc);
    spec_media_digest(now.desired->spec, digest); /* no other disk is due */
    assert_string_equal(now.status->prepared.digest, digest);
    spec_seed_digest(now.desired->spec, digest);
    assert_string_equal(now.status->prepared.seed_digest, digest);
    assert_string_equal(app.desired->spec->depends_on[0], "www");
    cleanup_free char *holder = NULL;
    must(store_lease_holder(store, "tcp/10022", uid, &holder, &err), &err);
    assert_string_equal(uid, before.desired->uid);
    assert_string_equal(holder, "www");
    assert_int_equal(count_events(store, "www"), 1);
    assert_int_equal(count_events(store, "web"), 1); /* of an earlier one */
    vm_record_clear(&before);
    vm_record_clear(&old);
    vm_record_clear(&now);
    vm_record_clear(&app);
}

static size_t count_removed(struct store *store, const char *name, const struct vmfile *file)
{
    struct error err = {0};
    cleanup_with(strings_clear) struct strings vms = {.count = 0}, removed = {.count = 0};
    strings_add(&vms, name);
    must(rename_find_removed(store, &vms, file, &removed, &err), &err);
    return removed.count;
}

static void the_old_name_is_no_other_vms_until_the_vmfile_has_the_new_one(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct error err = {0};
    apply_spec(store, "web", SOURCE, NULL);
    write_status(store, "web", off);
    must(rename_to(store, "web", "www", &err), &err);
    struct vm_spec *web = vm_spec_new("web");
    struct change_outcome outcome = {0};
    const struct change change = {.name = "web", .spec = web, .source = SOURCE};
    assert_int_equal(change_apply(store, &change, 1, &outcome, &err), -ERR_VM_CONFLICT);
    assert_string_equal(err.message, "vm 'web' was renamed to 'www'");
    struct vm_spec *vms[] = {web};
    const struct vmfile file = {.vms = vms, .n_vms = 1};
    assert_int_equal(count_removed(store, "www", &file), 0);
    apply_spec(store, "www", SOURCE, NULL);
    struct vm_record record = get_vm(store, "www");
    assert_null(record.desired->renamed_from);
    assert_int_equal(count_removed(store, "www", &file), 1);
    vm_record_clear(&record);
    vm_spec_free(web);
}

static void a_name_is_given_back_by_renaming_again(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct error err = {0};
    apply_spec(store, "web", SOURCE, NULL);
    write_status(store, "web", off);
    must(rename_to(store, "web", "www", &err), &err);
    refused(store, "www", "w3", ERR_VM_INVALID_STATE, "has work in progress");
    struct vm_record record = get_vm(store, "www");
    struct store_batch *batch = store_batch_new();
    record.status->observed_generation = record.desired->generation;
    store_batch_put_status(batch, "www", record.status);
    assert_int_equal(commit(store, batch), 0);
    vm_record_clear(&record);
    refused(store, "www", "w3", ERR_VM_CONFLICT, "was renamed before, from 'web'");
    must(rename_to(store, "www", "web", &err), &err);
    record = get_vm(store, "web");
    assert_null(record.desired->renamed_from);
    assert_string_equal(record.status->renamed_from, "www");
    must(rename_check_free(store, "web", &err), &err);
    assert_int_equal(rename_check_free(store, "www", &err), -ERR_VM_CONFLICT);
    vm_record_clear(&record);
}

static void what_runs_or_is_worked_on_keeps_its_name(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    refused(store, "web", "www", ERR_VM_NOT_FOUND, "there is no vm 'web'");
    apply_spec(store, "web", NULL, NULL);
    apply_spec(store, "db", NULL, NULL);
    refused(store, "web", "www", ERR_VM_INVALID_STATE, "has work in progress");
    write_status(store, "web", on);
    refused(store, "web", "www", ERR_VM_INVALID_STATE, "is not stopped");
    write_status(store, "web", off);
    refused(store, "web", "db", ERR_VM_CONFLICT, "vm 'db' exists already");
    (void)apply(store, (struct change){.name = "web", .sets_power = true, .power = POWER_RUNNING});
    refused(store, "web", "www", ERR_VM_INVALID_STATE, "is not stopped");
    (void)apply(store, (struct change){.name = "web", .deletes = true});
    refused(store, "web", "www", ERR_VM_DELETING, "is being deleted");
}

static struct vm_status *recorded_status(struct store *store, const char *name)
{
    struct vm_record record = get_vm(store, name);
    struct vm_status *status = TAKE_PTR(record.status);
    vm_record_clear(&record);
    return status;
}

static void assert_holder(struct store *store, const char *key, const char *expected)
{
    char uid[TEXT_ID_SIZE];
    struct error err = {0};
    cleanup_free char *holder = NULL;
    must(store_lease_holder(store, key, uid, &holder, &err), &err);
    assert_string_equal(holder ? holder : "", expected);
}

/* As of a pass that began before the name was another. */
static void what_was_decided_under_the_old_name_is_void(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct error err = {0};
    apply_spec(store, "web", SOURCE, NULL);
    write_status(store, "web", off);
    take_lease(store, "web", "tcp/10022");
    struct vm_status *status = recorded_status(store, "web");
    struct store_batch *late = store_batch_new(), *forget = store_batch_new();
    store_batch_put_status(late, "web", status);
    store_batch_expect_vm(late, "web", status->uid);
    store_batch_forget_vm(forget, "web", status->uid);
    must(rename_to(store, "web", "www", &err), &err);
    assert_int_equal(commit(store, late), -ERR_STORE_STALE);
    assert_null(recorded_status(store, "web"));
    assert_int_equal(commit(store, forget), 0);
    assert_holder(store, "tcp/10022", "www");
    assert_holder(store, "name/web", "www");
    vm_status_free(status);
}

/* A status without a desired record, of whatever origin, is not all that there is of the VM. */
static void who_lives_on_under_another_name_keeps_its_leases(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct error err = {0};
    apply_spec(store, "web", SOURCE, NULL);
    write_status(store, "web", off);
    take_lease(store, "web", "tcp/10022");
    struct vm_status *status = recorded_status(store, "web");
    must(rename_to(store, "web", "www", &err), &err);
    struct store_batch *batch = store_batch_new();
    store_batch_put_status(batch, "web", status);
    assert_int_equal(commit(store, batch), 0);
    batch = store_batch_new();
    store_batch_forget_vm(batch, "web", status->uid);
    assert_int_equal(commit(store, batch), 0);
    assert_null(recorded_status(store, "web"));
    assert_holder(store, "tcp/10022", "www");
    assert_holder(store, "name/web", "www");
    batch = store_batch_new();
    store_batch_forget_vm(batch, "www", status->uid);
    assert_int_equal(commit(store, batch), 0);
    assert_holder(store, "tcp/10022", "");
    vm_status_free(status);
}

/* `vmctl import`, say, which writes a record without asking. */
static void a_held_name_is_taken_by_no_commit(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct error err = {0};
    apply_spec(store, "web", SOURCE, NULL);
    write_status(store, "web", off);
    must(rename_to(store, "web", "www", &err), &err);
    struct vm_desired *desired = vm_desired_new(vm_spec_new("web"), 1);
    struct store_batch *batch = store_batch_new();
    store_batch_put_desired(batch, desired, 0);
    assert_int_equal(commit(store, batch), -ERR_STORE_STALE);
    vm_desired_free(desired);
}

static void make_dir(struct store *store, const char *name)
{
    struct error err = {0};
    cleanup_free char *dir = paths_vm(store_paths(store), name, VM_DIR);
    must(fs_make_dirs(dir, 0700, &err), &err);
}

static void files_that_nobody_knows_are_not_made_its_own(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct error err = {0};
    apply_spec(store, "web", NULL, NULL);
    write_status(store, "web", off);
    make_dir(store, "web");
    make_dir(store, "www");
    refused(store, "web", "www", ERR_VM_CONFLICT, "has files of no VM");
    must(rename_to(store, "web", "w3", &err), &err);
    /* no pass has moved its files, nor can: it has its name back */
    make_dir(store, "w3");
    refused(store, "w3", "w4", ERR_VM_INVALID_STATE, "has work in progress");
    must(rename_to(store, "w3", "web", &err), &err);
}

static void a_controller_that_cannot_rename_is_not_left_to_find_the_files(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct error err = {0};
    struct proc_look look;
    apply_spec(store, "web", NULL, NULL);
    write_status(store, "web", off);
    assert_true(proc_stat_look(getpid(), &look));
    cleanup_json json_t *record =
        session_record(store_paths(store), "session", look.start_ticks, clock_system());
    json_t *older = json_copy(record);
    json_object_del(older, "renames");
    struct store_batch *batch = store_batch_new();
    store_batch_put_json(batch, STORE_META, "controller", older);
    assert_int_equal(commit(store, batch), 0);
    refused(store, "web", "www", ERR_CONTROLLER, "cannot rename");
    batch = store_batch_new();
    store_batch_put_json(batch, STORE_META, "controller", record);
    assert_int_equal(commit(store, batch), 0);
    must(rename_to(store, "web", "www", &err), &err);
    json_decref(older);
}

static void what_is_being_copied_keeps_its_name(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    apply_spec(store, "web", NULL, NULL);
    write_status(store, "web", off);
    struct vm_status *status = recorded_status(store, "web");
    (void)vm_status_add_snapshot(status, SNAPSHOT_PASSING "1", "file", 1, 1);
    struct store_batch *batch = store_batch_new();
    store_batch_put_status(batch, "web", status);
    assert_int_equal(commit(store, batch), 0);
    refused(store, "web", "www", ERR_VM_INVALID_STATE, "is being cloned, exported or backed up");
    vm_status_free(status);
}

/* Another VM of the VMFile that still has the old name, which was applied alone. */
static void nothing_comes_to_depend_on_the_old_name(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct error err = {0};
    apply_spec(store, "web", SOURCE, NULL);
    apply_spec(store, "app", SOURCE, "web");
    write_status(store, "web", off);
    must(rename_to(store, "web", "www", &err), &err);
    struct vm_spec *app = vm_spec_new("app");
    app->depends_on = mem_calloc(1, sizeof(*app->depends_on));
    app->depends_on[app->n_depends_on++] = mem_strdup("web");
    struct change_outcome outcome = {0};
    const struct change change = {.name = "app", .spec = app, .source = SOURCE};
    assert_int_equal(change_apply(store, &change, 1, &outcome, &err), -ERR_VM_CONFLICT);
    assert_string_equal(err.message, "vm 'web' was renamed to 'www'");
    vm_spec_free(app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            all_of_it_goes_along, fixture_set_up_open, fixture_tear_down),
        cmocka_unit_test_setup_teardown(
            the_old_name_is_no_other_vms_until_the_vmfile_has_the_new_one, fixture_set_up_open,
            fixture_tear_down),
        cmocka_unit_test_setup_teardown(
            a_name_is_given_back_by_renaming_again, fixture_set_up_open, fixture_tear_down),
        cmocka_unit_test_setup_teardown(
            what_runs_or_is_worked_on_keeps_its_name, fixture_set_up_open, fixture_tear_down),
        cmocka_unit_test_setup_teardown(
            what_was_decided_under_the_old_name_is_void, fixture_set_up_open, fixture_tear_down),
        cmocka_unit_test_setup_teardown(who_lives_on_under_another_name_keeps_its_leases,
            fixture_set_up_open, fixture_tear_down),
        cmocka_unit_test_setup_teardown(
            a_held_name_is_taken_by_no_commit, fixture_set_up_open, fixture_tear_down),
        cmocka_unit_test_setup_teardown(
            files_that_nobody_knows_are_not_made_its_own, fixture_set_up_open, fixture_tear_down),
        cmocka_unit_test_setup_teardown(
            a_controller_that_cannot_rename_is_not_left_to_find_the_files, fixture_set_up_open,
            fixture_tear_down),
        cmocka_unit_test_setup_teardown(
            what_is_being_copied_keeps_its_name, fixture_set_up_open, fixture_tear_down),
        cmocka_unit_test_setup_teardown(
            nothing_comes_to_depend_on_the_old_name, fixture_set_up_open, fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

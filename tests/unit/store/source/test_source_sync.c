/* SPDX-License-Identifier: MPL-2.0 */
#include "store/source/source_sync.h"

#include <fcntl.h>

#include "store/desired/change.h"
#include "tests/unit/store/source/source_fixture.h"

static const struct strings nothing = {.count = 0};

/* A look whose patience is over, unless `ask` says otherwise. */
static struct source_sync look_as(struct fixture *f, const char *name, struct source_sync_ask ask)
{
    struct error err = {0};
    struct source_sync found = {.finding = SOURCE_FOUND_SETTLED};
    cleanup_free char *path = project_file(f, name);
    ask.path = path;
    ask.named = ask.named ? ask.named : &nothing;
    ask.stamp = ask.stamp ? ask.stamp : "";
    must(source_sync(f->store, &ask, &found, &err), &err);
    return found;
}

static enum source_finding look(struct fixture *f, const char *name)
{
    struct source_sync found =
        look_as(f, name, (struct source_sync_ask){.reports_broken = true, .reports_gone = true});
    enum source_finding finding = found.finding;
    source_sync_clear(&found);
    return finding;
}

static enum source_finding look_and_prune(struct fixture *f, const char *name)
{
    struct source_sync found = look_as(f, name, (struct source_sync_ask){.may_prune = true});
    enum source_finding finding = found.finding;
    source_sync_clear(&found);
    return finding;
}

static void watch_file(struct fixture *f, const char *name, enum source_prune prune)
{
    cleanup_free char *path = project_file(f, name);
    write_image(f);
    register_source(f, path, prune, false);
}

static struct source_record *record_of(struct fixture *f, const char *name)
{
    cleanup_free char *path = project_file(f, name);
    return get_source(f, path);
}

static enum source_state state_of(struct fixture *f, const char *name)
{
    cleanup_free char *path = project_file(f, name);
    return source_state_of(f, path);
}

static void change_for(struct fixture *f, struct change change)
{
    struct error err = {0};
    struct change_outcome outcome = {0};
    must(change_apply(f->store, &change, 1, &outcome, &err), &err);
    change_outcome_clear(&outcome);
}

/* What the controller does at the end of a deletion. */
static void forget_vm(struct fixture *f, const char *name)
{
    struct vm_record record = get_vm(f->store, name);
    struct store_batch *batch = store_batch_new();
    store_batch_forget_vm(batch, name, record.desired->uid);
    assert_int_equal(commit(f->store, batch), 0);
    vm_record_clear(&record);
}

static enum power power_of(struct fixture *f, const char *name)
{
    struct vm_record record = get_vm(f->store, name);
    enum power power = record.desired->power;
    vm_record_clear(&record);
    return power;
}

/* ---- a valid file ---- */

static void a_file_is_applied_and_noted_in_one_look(void **state)
{
    struct fixture *f = *state;
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_NOTHING);
    write_project(f, "VMFile.kdl", VM("web", "memory 512") VM("db", ""));
    assert_int_equal(look(f, "VMFile.kdl"), SOURCE_FOUND_SETTLED);
    assert_int_equal(memory_of(f, "web"), 512);
    assert_int_equal(power_of(f, "db"), POWER_STOPPED);
    struct source_record *record = record_of(f, "VMFile.kdl");
    char sha[DIGEST_SIZE];
    digest_text(VM("web", "memory 512") VM("db", ""), sha);
    assert_int_equal(record->state, SOURCE_SYNCED);
    assert_string_equal(record->applied_sha, sha);
    source_record_free(record);
}

static void a_second_look_writes_nothing(void **state)
{
    struct fixture *f = *state;
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_NOTHING);
    write_project(f, "VMFile.kdl", VM("web", ""));
    (void)look(f, "VMFile.kdl");
    struct vm_record before = get_vm(f->store, "web");
    struct source_record *record = record_of(f, "VMFile.kdl");
    (void)look(f, "VMFile.kdl");
    struct vm_record after = get_vm(f->store, "web");
    struct source_record *again = record_of(f, "VMFile.kdl");
    assert_int_equal(after.desired->revision, before.desired->revision);
    assert_true(source_record_equal(record, again));
    vm_record_clear(&before);
    vm_record_clear(&after);
    source_record_free(record);
    source_record_free(again);
}

static void a_changed_file_changes_its_vms_and_leaves_their_power(void **state)
{
    struct fixture *f = *state;
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_NOTHING);
    write_project(f, "VMFile.kdl", VM("web", "memory 512"));
    (void)look(f, "VMFile.kdl");
    change_for(f, (struct change){.name = "web", .sets_power = true, .power = POWER_RUNNING});
    write_project(f, "VMFile.kdl", VM("web", "memory 768"));
    (void)look(f, "VMFile.kdl");
    assert_int_equal(memory_of(f, "web"), 768);
    assert_int_equal(power_of(f, "web"), POWER_RUNNING);
}

static void new_vms_are_started_if_that_was_asked_for(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    cleanup_free char *path = project_file(f, "VMFile.kdl");
    struct source_record *wanted = source_record_new(path, 1);
    struct store_batch *batch = store_batch_new();
    wanted->starts_new = true;
    must(sources_add_registration(f->store, batch, wanted, &err), &err);
    assert_int_equal(commit(f->store, batch), 0);
    source_record_free(wanted);
    write_image(f);
    write_project(f, "VMFile.kdl", VM("web", "provision \"shell\" { inline \"true\" }"));
    (void)look(f, "VMFile.kdl");
    struct vm_record record = get_vm(f->store, "web");
    assert_int_equal(record.desired->power, POWER_RUNNING);
    assert_int_not_equal(record.desired->provision_token[0], '\0');
    vm_record_clear(&record);
    change_for(f, (struct change){.name = "web", .sets_power = true, .power = POWER_STOPPED});
    write_project(f, "VMFile.kdl", VM("web", "memory 512"));
    (void)look(f, "VMFile.kdl"); /* it is not new any more */
    assert_int_equal(power_of(f, "web"), POWER_STOPPED);
}

static void a_change_of_a_named_file_alone_is_a_change(void **state)
{
    struct fixture *f = *state;
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_NOTHING);
    write_project(f, "setup.sh", "one");
    write_project(f, "VMFile.kdl", VM("web", "provision \"shell\" { script \"setup.sh\" }"));
    (void)look(f, "VMFile.kdl");
    struct vm_record before = get_vm(f->store, "web");
    write_project(f, "setup.sh", "two");
    (void)look(f, "VMFile.kdl");
    struct vm_record after = get_vm(f->store, "web");
    assert_int_equal(after.desired->generation, before.desired->generation + 1);
    vm_record_clear(&before);
    vm_record_clear(&after);
}

static void a_destroyed_vm_comes_back_with_the_next_change_only(void **state)
{
    struct fixture *f = *state;
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_NOTHING);
    write_project(f, "VMFile.kdl", VM("web", ""));
    (void)look(f, "VMFile.kdl");
    change_for(f, (struct change){.name = "web", .deletes = true});
    forget_vm(f, "web");
    (void)look(f, "VMFile.kdl");
    assert_false(is_desired(f, "web"));
    write_project(f, "VMFile.kdl", VM("web", "memory 512"));
    (void)look(f, "VMFile.kdl");
    assert_true(is_desired(f, "web"));
}

/* ---- a file that is not right ---- */

static void a_broken_file_is_only_written_down_when_patience_is_over(void **state)
{
    struct fixture *f = *state;
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_NOTHING);
    write_project(f, "VMFile.kdl", VM("web", "memory 512"));
    (void)look(f, "VMFile.kdl");
    write_project(f, "VMFile.kdl", "// x\nvm \"web\" { imge 1; vcpus 0 }");
    struct source_sync found = look_as(f, "VMFile.kdl", (struct source_sync_ask){.path = NULL});
    assert_int_equal(found.finding, SOURCE_FOUND_BROKEN);
    assert_int_equal(state_of(f, "VMFile.kdl"), SOURCE_SYNCED);
    source_sync_clear(&found);
    found = look_as(f, "VMFile.kdl", (struct source_sync_ask){.reports_broken = true});
    assert_int_equal(found.finding, SOURCE_FOUND_SETTLED);
    assert_true(found.is_failing);
    assert_int_equal(found.stamp[0], '\0'); /* it may be cured from outside */
    assert_true(strings_have(&found.vms, "web"));
    source_sync_clear(&found);
    struct source_record *record = record_of(f, "VMFile.kdl");
    assert_int_equal(record->state, SOURCE_PARSE_FAILED);
    assert_int_equal(record->line, 2);
    assert_int_equal(record->column, 12);
    assert_true(text_starts_with(record->message, "unknown node `imge`"));
    assert_true(text_ends_with(record->message, "; and 1 more: vmctl validate"));
    source_record_free(record);
    assert_int_equal(memory_of(f, "web"), 512);
}

/* Looks right behind a save, and then when it is quiet. */
static void expect_applied_early(struct fixture *f, const char *text, bool is_early)
{
    write_project(f, "VMFile.kdl", text);
    struct source_sync found = look_as(f, "VMFile.kdl", (struct source_sync_ask){.is_early = true});
    assert_int_equal(found.finding == SOURCE_FOUND_BROKEN, !is_early);
    assert_int_equal(found.stamp[0], '\0'); /* read again */
    assert_int_equal(state_of(f, "VMFile.kdl"), SOURCE_SYNCED);
    source_sync_clear(&found);
    (void)look(f, "VMFile.kdl");
    struct source_record *record = record_of(f, "VMFile.kdl");
    assert_string_equal(record->message ? record->message : "", "");
    assert_int_equal(record->state, SOURCE_SYNCED);
    source_record_free(record);
}

static void what_may_be_half_of_a_save_is_not_applied_early(void **state)
{
    static const char script[] = VM("web", "provision \"shell\" { script \"setup.sh\" }");
    static const char user_data[] = VM("web", "cloud-init { user-data \"setup.sh\" }") VM("db", "");
    struct fixture *f = *state;
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_DESTROY);
    write_project(f, "setup.sh", "#!/bin/sh\n");
    write_project(f, "VMFile.kdl", VM("web", "memory 512") VM("db", "memory 512"));
    (void)look(f, "VMFile.kdl");
    expect_applied_early(f, VM("web", "memory 768") VM("db", "memory 768") VM("new", ""), true);
    assert_int_equal(memory_of(f, "db"), 768);
    expect_applied_early(f, VM("web", "memory 1024"), false); /* the other may follow */
    expect_applied_early(f, VM("web", "memory 512"), true);   /* it has not */
    expect_applied_early(f, script, false);                   /* the script may */
    expect_applied_early(f, user_data, false);
    expect_applied_early(f, VM("web", "provision \"shell\" { inline \"true\" }"), false);
    expect_applied_early(f, VM("web", "provision \"shell\" { inline \"false\" }"), true);
    write_project(f, "VMFile.kdl", "");
    struct source_sync found = look_as(f, "VMFile.kdl", (struct source_sync_ask){.is_early = true});
    assert_int_equal(found.finding, SOURCE_FOUND_BROKEN);
    source_sync_clear(&found);
    assert_int_equal(state_of(f, "VMFile.kdl"), SOURCE_SYNCED);
}

static void a_file_that_is_as_it_was_again_is_in_step_without_a_change(void **state)
{
    struct fixture *f = *state;
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_NOTHING);
    write_project(f, "VMFile.kdl", VM("web", ""));
    (void)look(f, "VMFile.kdl");
    struct vm_record before = get_vm(f->store, "web");
    write_project(f, "VMFile.kdl", "vm {");
    (void)look(f, "VMFile.kdl");
    write_project(f, "VMFile.kdl", VM("web", ""));
    (void)look(f, "VMFile.kdl");
    assert_int_equal(state_of(f, "VMFile.kdl"), SOURCE_SYNCED);
    struct vm_record after = get_vm(f->store, "web");
    assert_int_equal(after.desired->revision, before.desired->revision);
    vm_record_clear(&before);
    vm_record_clear(&after);
}

static void a_named_file_that_is_missing_is_told_and_to_be_watched(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *script = project_file(f, "setup.sh");
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_NOTHING);
    write_project(f, "VMFile.kdl", VM("web", "provision \"shell\" { script \"setup.sh\" }"));
    struct source_sync found =
        look_as(f, "VMFile.kdl", (struct source_sync_ask){.reports_broken = true});
    assert_true(strings_have(&found.named, script));
    source_sync_clear(&found);
    assert_int_equal(state_of(f, "VMFile.kdl"), SOURCE_PARSE_FAILED);
    write_project(f, "setup.sh", "true");
    (void)look(f, "VMFile.kdl");
    assert_int_equal(state_of(f, "VMFile.kdl"), SOURCE_SYNCED);
}

static void an_empty_file_and_one_that_is_no_file_are_broken_and_prune_nothing(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = project_file(f, "VMFile.kdl");
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_DESTROY);
    write_project(f, "VMFile.kdl", VM("web", ""));
    (void)look(f, "VMFile.kdl");
    write_project(f, "VMFile.kdl", "");
    (void)look(f, "VMFile.kdl");
    assert_int_equal(state_of(f, "VMFile.kdl"), SOURCE_PARSE_FAILED);
    (void)look_and_prune(f, "VMFile.kdl");
    assert_true(is_desired(f, "web"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    (void)look(f, "VMFile.kdl"); /* and does not wait for a writer */
    assert_int_equal(state_of(f, "VMFile.kdl"), SOURCE_PARSE_FAILED);
}

static void a_missing_file_keeps_its_vms(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = project_file(f, "VMFile.kdl");
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_DESTROY);
    write_project(f, "VMFile.kdl", VM("web", ""));
    (void)look(f, "VMFile.kdl");
    assert_int_equal(unlink(path), 0);
    struct source_sync found = look_as(f, "VMFile.kdl", (struct source_sync_ask){.path = NULL});
    assert_int_equal(found.finding, SOURCE_FOUND_GONE);
    source_sync_clear(&found);
    assert_int_equal(state_of(f, "VMFile.kdl"), SOURCE_SYNCED);
    (void)look(f, "VMFile.kdl");
    assert_int_equal(state_of(f, "VMFile.kdl"), SOURCE_GONE);
    assert_true(is_desired(f, "web"));
    write_project(f, "VMFile.kdl", VM("web", ""));
    (void)look(f, "VMFile.kdl");
    assert_int_equal(state_of(f, "VMFile.kdl"), SOURCE_SYNCED);
}

/* ---- what the store refuses ---- */

static void the_first_owner_of_a_name_keeps_it(void **state)
{
    struct fixture *f = *state;
    watch_file(f, "a.kdl", SOURCE_PRUNE_NOTHING);
    watch_file(f, "b.kdl", SOURCE_PRUNE_NOTHING);
    write_project(f, "a.kdl", VM("web", "memory 512"));
    write_project(f, "b.kdl", VM("web", "memory 768") VM("other", ""));
    (void)look(f, "a.kdl");
    (void)look(f, "b.kdl");
    assert_int_equal(memory_of(f, "web"), 512);
    assert_false(is_desired(f, "other")); /* a file is applied as a whole or not at all */
    struct source_record *record = record_of(f, "b.kdl");
    assert_int_equal(record->state, SOURCE_CONFLICT);
    assert_non_null(strstr(record->message, "web"));
    source_record_free(record);
    change_for(f, (struct change){.name = "web", .deletes = true});
    (void)look(f, "b.kdl");
    assert_int_equal(state_of(f, "b.kdl"), SOURCE_REFUSED); /* it is being deleted */
    forget_vm(f, "web");
    (void)look(f, "b.kdl");
    assert_int_equal(state_of(f, "b.kdl"), SOURCE_SYNCED);
    assert_int_equal(memory_of(f, "web"), 768);
}

static void a_disk_does_not_shrink(void **state)
{
    struct fixture *f = *state;
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_NOTHING);
    write_project(f, "VMFile.kdl", VM("web", "disk 20"));
    (void)look(f, "VMFile.kdl");
    write_project(f, "VMFile.kdl", VM("web", "disk 10"));
    (void)look(f, "VMFile.kdl");
    assert_int_equal(state_of(f, "VMFile.kdl"), SOURCE_REFUSED);
}

/* ---- VMs that left the file ---- */

static void a_vm_that_left_the_file_is_told_and_left_alone(void **state)
{
    struct fixture *f = *state;
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_NOTHING);
    write_project(f, "VMFile.kdl", VM("web", "") VM("db", ""));
    (void)look(f, "VMFile.kdl");
    write_project(f, "VMFile.kdl", VM("web", ""));
    (void)look(f, "VMFile.kdl");
    struct source_record *record = record_of(f, "VMFile.kdl");
    assert_int_equal(record->state, SOURCE_SYNCED);
    assert_true(strings_have(&record->removed, "db"));
    assert_int_equal(record->removed.count, 1);
    source_record_free(record);
    assert_int_equal(look_and_prune(f, "VMFile.kdl"), SOURCE_FOUND_SETTLED);
    assert_true(is_desired(f, "db"));
}

static void pruning_waits_for_leave_and_then_deletes(void **state)
{
    struct fixture *f = *state;
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_DESTROY);
    write_project(f, "VMFile.kdl", VM("web", "") VM("db", ""));
    (void)look(f, "VMFile.kdl");
    write_project(f, "VMFile.kdl", VM("web", ""));
    assert_int_equal(look_and_prune(f, "VMFile.kdl"), SOURCE_FOUND_TO_PRUNE); /* it is new */
    assert_int_equal(look(f, "VMFile.kdl"), SOURCE_FOUND_TO_PRUNE);
    assert_true(is_desired(f, "db"));
    assert_int_equal(look_and_prune(f, "VMFile.kdl"), SOURCE_FOUND_SETTLED);
    assert_false(is_desired(f, "db"));
    assert_true(is_desired(f, "web"));
    assert_int_equal(look_and_prune(f, "VMFile.kdl"), SOURCE_FOUND_SETTLED);
}

/* It stays in the record, whose message says why for as long as that is so. */
static void what_is_protected_is_not_pruned_and_the_others_are(void **state)
{
    struct fixture *f = *state;
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_DESTROY);
    write_project(f, "VMFile.kdl", VM("web", "") VM("db", "protect") VM("old", ""));
    (void)look(f, "VMFile.kdl");
    write_project(f, "VMFile.kdl", VM("web", ""));
    (void)look(f, "VMFile.kdl");
    assert_int_equal(look_and_prune(f, "VMFile.kdl"), SOURCE_FOUND_SETTLED);
    assert_true(is_desired(f, "db"));
    assert_false(is_desired(f, "old"));
    for (int i = 0; i < 2; i++) {
        struct source_record *record = record_of(f, "VMFile.kdl");
        assert_int_equal(record->state, SOURCE_SYNCED);
        assert_string_equal(record->message, "no longer names db, which is protected and stays");
        assert_int_equal(record->removed.count, 1);
        source_record_free(record);
        assert_int_equal(look_and_prune(f, "VMFile.kdl"), SOURCE_FOUND_SETTLED);
    }
    write_project(f, "VMFile.kdl", VM("web", "") VM("db", ""));
    (void)look(f, "VMFile.kdl");
    write_project(f, "VMFile.kdl", VM("web", ""));
    (void)look(f, "VMFile.kdl");
    (void)look_and_prune(f, "VMFile.kdl");
    assert_false(is_desired(f, "db"));
}

static void pruning_may_stop_instead_once_for_each_content(void **state)
{
    struct fixture *f = *state;
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_STOP);
    write_project(f, "VMFile.kdl", VM("web", "") VM("db", ""));
    (void)look(f, "VMFile.kdl");
    change_for(f, (struct change){.name = "db", .sets_power = true, .power = POWER_RUNNING});
    write_project(f, "VMFile.kdl", VM("web", ""));
    (void)look(f, "VMFile.kdl");
    (void)look_and_prune(f, "VMFile.kdl");
    assert_int_equal(power_of(f, "db"), POWER_STOPPED);
    change_for(f, (struct change){.name = "db", .sets_power = true, .power = POWER_RUNNING});
    (void)look_and_prune(f, "VMFile.kdl");
    assert_int_equal(power_of(f, "db"), POWER_RUNNING); /* the user has the last word */
    assert_true(is_desired(f, "db"));
}

/* ---- when nothing is read, or nothing is registered ---- */

static void make_old(const struct fixture *f, const char *name)
{
    cleanup_free char *path = project_file(f, name);
    const struct timespec times[2] = {{.tv_sec = 1700000000}, {.tv_sec = 1700000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void a_file_just_written_has_no_stamp_to_go_by(void **state)
{
    struct fixture *f = *state;
    watch_file(f, "VMFile.kdl", SOURCE_PRUNE_NOTHING);
    write_project(f, "VMFile.kdl", VM("web", ""));
    make_old(f, "VMFile.kdl"); /* the time of the change of the inode is still now */
    struct source_sync found = look_as(f, "VMFile.kdl", (struct source_sync_ask){.path = NULL});
    assert_int_equal(found.stamp[0], '\0');
    source_sync_clear(&found);
}

static void what_is_not_registered_is_not_looked_at(void **state)
{
    struct fixture *f = *state;
    write_image(f);
    write_project(f, "VMFile.kdl", VM("web", ""));
    assert_int_equal(look(f, "VMFile.kdl"), SOURCE_FOUND_UNWATCHED);
    assert_false(is_desired(f, "web"));
}

/* ---- directories ---- */

static void watch_directory(struct fixture *f)
{
    cleanup_free char *path = project_file(f, "");
    path[strlen(path) - 1] = '\0';
    write_image(f);
    register_source(f, path, SOURCE_PRUNE_STOP, true);
}

static enum source_finding look_at_directory(struct fixture *f)
{
    struct error err = {0};
    struct source_sync found = {.finding = SOURCE_FOUND_SETTLED};
    cleanup_free char *path = mem_printf("%s/project", f->dir);
    struct source_sync_ask ask = {
        .path = path, .named = &nothing, .stamp = "", .reports_gone = true};
    must(source_sync(f->store, &ask, &found, &err), &err);
    source_sync_clear(&found);
    return found.finding;
}

static void vmfiles_of_a_directory_are_found_and_other_kdl_is_not(void **state)
{
    struct fixture *f = *state;
    watch_directory(f);
    write_project(f, "a.kdl", VM("a", ""));
    write_project(f, "broken.kdl", "vm \"b\" {");
    write_project(f, "theme.kdl", "theme dark");
    write_project(f, ".hidden.kdl", VM("h", ""));
    write_project(f, "VMFile.txt", VM("t", ""));
    assert_int_equal(look_at_directory(f), SOURCE_FOUND_SETTLED);
    cleanup_with(source_list_clear) struct source_list list = {.count = 0};
    struct error err = {0};
    must(sources_list(f->store, &list, &err), &err);
    assert_int_equal(list.count, 3); /* the directory, a.kdl, broken.kdl */
    struct source_record *record = record_of(f, "a.kdl");
    assert_int_equal(record->state, SOURCE_PENDING);
    assert_int_equal(record->prune, SOURCE_PRUNE_STOP);
    source_record_free(record);
    (void)look(f, "a.kdl");
    assert_true(is_desired(f, "a"));
}

static void other_options_of_a_directory_are_those_of_its_files(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = mem_printf("%s/project", f->dir);
    watch_directory(f);
    write_project(f, "a.kdl", VM("a", ""));
    (void)look_at_directory(f);
    register_source(f, path, SOURCE_PRUNE_DESTROY, true);
    (void)look_at_directory(f);
    struct source_record *record = record_of(f, "a.kdl");
    assert_int_equal(record->prune, SOURCE_PRUNE_DESTROY);
    source_record_free(record);
}

static void register_directory_with(struct fixture *f, const char *input, enum source_prune prune)
{
    struct error err = {0};
    cleanup_free char *path = mem_printf("%s/project", f->dir);
    struct source_record *wanted = source_record_new(path, 1);
    struct store_batch *batch = store_batch_new();
    wanted->is_directory = true;
    wanted->prune = prune;
    strings_append(&wanted->inputs, input);
    must(sources_add_registration(f->store, batch, wanted, &err), &err);
    assert_int_equal(commit(f->store, batch), 0);
    source_record_free(wanted);
}

static void expect_input(struct fixture *f, const char *name, const char *input)
{
    struct source_record *record = record_of(f, name);
    assert_int_equal(record->inputs.count, 1);
    assert_string_equal(record->inputs.items[0], input);
    source_record_free(record);
}

static void values_that_a_command_gave_stay_until_the_directory_gets_others(void **state)
{
    struct fixture *f = *state;
    watch_directory(f);
    write_project(f, "a.kdl", VM("a", ""));
    (void)look_at_directory(f);
    struct source_record *before = record_of(f, "a.kdl");
    struct source_record *after = source_record_copy(before);
    strings_append(&after->inputs, "n=3");
    struct store_batch *batch = store_batch_new();
    sources_change(batch, before, after);
    assert_int_equal(commit(f->store, batch), 0);
    source_record_free(before);
    source_record_free(after);
    (void)look_at_directory(f);
    expect_input(f, "a.kdl", "n=3");
    register_directory_with(f, "n=4", SOURCE_PRUNE_STOP);
    (void)look_at_directory(f);
    expect_input(f, "a.kdl", "n=4");
    register_directory_with(f, "n=4", SOURCE_PRUNE_DESTROY);
    (void)look_at_directory(f);
    expect_input(f, "a.kdl", "n=4");
    before = record_of(f, "a.kdl");
    assert_int_equal(before->prune, SOURCE_PRUNE_DESTROY);
    source_record_free(before);
}

static void proxies_of_a_directory_are_those_of_its_files_and_vms(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = mem_printf("%s/project", f->dir);
    watch_directory(f);
    write_project(f, "a.kdl", VM("a", ""));
    (void)look_at_directory(f);
    char http[] = "http://proxy";
    struct error err = {0};
    struct source_record *wanted = source_record_new(path, 1);
    struct store_batch *batch = store_batch_new();
    wanted->is_directory = true;
    wanted->prune = SOURCE_PRUNE_STOP;
    const struct proxies proxies = {.http = http};
    proxies_assign(&wanted->proxies, &proxies);
    must(sources_add_registration(f->store, batch, wanted, &err), &err);
    assert_int_equal(commit(f->store, batch), 0);
    source_record_free(wanted);
    write_project(f, "b.kdl", VM("b", ""));
    (void)look_at_directory(f);
    static const char *const files[][2] = {{"a.kdl", "a"}, {"b.kdl", "b"}};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        (void)look(f, files[i][0]);
        struct vm_record record = get_vm(f->store, files[i][1]);
        assert_string_equal(record.desired->proxies.http, http);
        vm_record_clear(&record);
    }
}

static void a_file_that_goes_is_forgotten_once_it_has_no_vms(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = project_file(f, "a.kdl");
    watch_directory(f);
    write_project(f, "a.kdl", VM("a", ""));
    (void)look_at_directory(f);
    (void)look(f, "a.kdl");
    assert_int_equal(unlink(path), 0);
    struct source_sync found = look_as(f, "a.kdl", (struct source_sync_ask){.reports_gone = true});
    assert_int_equal(state_of(f, "a.kdl"), SOURCE_GONE);
    assert_int_equal(found.stamp[0], '\0'); /* its VMs may go while the file stays away */
    source_sync_clear(&found);
    forget_vm(f, "a");
    assert_int_equal(look(f, "a.kdl"), SOURCE_FOUND_UNWATCHED);
    assert_null(get_source(f, path));
}

static void a_file_renamed_within_its_directory_takes_its_vms_along(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *old = project_file(f, "a.kdl"), *new = project_file(f, "b.kdl");
    watch_directory(f);
    write_project(f, "a.kdl", VM("web", "memory 512"));
    (void)look_at_directory(f);
    (void)look(f, "a.kdl");
    assert_int_equal(rename(old, new), 0);
    (void)look_at_directory(f);
    (void)look(f, "b.kdl");
    assert_int_equal(state_of(f, "b.kdl"), SOURCE_CONFLICT); /* a.kdl may yet come back */
    (void)look(f, "a.kdl");
    assert_int_equal(state_of(f, "a.kdl"), SOURCE_GONE);
    (void)look(f, "b.kdl");
    assert_int_equal(state_of(f, "b.kdl"), SOURCE_SYNCED);
    struct vm_record record = get_vm(f->store, "web");
    assert_string_equal(record.desired->source, new);
    vm_record_clear(&record);
}

static void a_directory_that_goes_is_told(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    cleanup_free char *path = mem_printf("%s/project", f->dir);
    watch_directory(f);
    must(fs_remove_tree(path, &err), &err);
    assert_int_equal(look_at_directory(f), SOURCE_FOUND_SETTLED);
    assert_int_equal(source_state_of(f, path), SOURCE_GONE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up_open, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_applied_and_noted_in_one_look),
        TEST(a_second_look_writes_nothing),
        TEST(a_changed_file_changes_its_vms_and_leaves_their_power),
        TEST(new_vms_are_started_if_that_was_asked_for),
        TEST(a_change_of_a_named_file_alone_is_a_change),
        TEST(a_destroyed_vm_comes_back_with_the_next_change_only),
        TEST(a_broken_file_is_only_written_down_when_patience_is_over),
        TEST(what_may_be_half_of_a_save_is_not_applied_early),
        TEST(a_file_that_is_as_it_was_again_is_in_step_without_a_change),
        TEST(a_named_file_that_is_missing_is_told_and_to_be_watched),
        TEST(an_empty_file_and_one_that_is_no_file_are_broken_and_prune_nothing),
        TEST(a_missing_file_keeps_its_vms),
        TEST(the_first_owner_of_a_name_keeps_it),
        TEST(a_disk_does_not_shrink),
        TEST(a_vm_that_left_the_file_is_told_and_left_alone),
        TEST(pruning_waits_for_leave_and_then_deletes),
        TEST(what_is_protected_is_not_pruned_and_the_others_are),
        TEST(pruning_may_stop_instead_once_for_each_content),
        TEST(a_file_just_written_has_no_stamp_to_go_by),
        TEST(what_is_not_registered_is_not_looked_at),
        TEST(vmfiles_of_a_directory_are_found_and_other_kdl_is_not),
        TEST(other_options_of_a_directory_are_those_of_its_files),
        TEST(values_that_a_command_gave_stay_until_the_directory_gets_others),
        TEST(proxies_of_a_directory_are_those_of_its_files_and_vms),
        TEST(a_file_that_goes_is_forgotten_once_it_has_no_vms),
        TEST(a_file_renamed_within_its_directory_takes_its_vms_along),
        TEST(a_directory_that_goes_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

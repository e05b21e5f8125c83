/* SPDX-License-Identifier: MPL-2.0 */
/* Watch mode in the whole controller: patience, restarts, crashes, on the virtual clock. */
#include <string.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/source/sources.h"
#include "tests/sim/sim.h"

static struct sim *sim;

static int set_up(void **state)
{
    sim = sim_new(1);
    *state = sim;
    return 0;
}

static int tear_down(void **state)
{
    sim_free(*state);
    return 0;
}

static void must(int rc, const struct error *err)
{
    if (rc < 0) {
        fail_msg("%s", err->message);
    }
}

static char *vmfile_path(void)
{
    return mem_printf("%s/VMFile.kdl", sim->paths.data_dir);
}

static void save(const char *text)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = vmfile_path();
    must(fs_write_file(path, text, strlen(text), 0600, &err), &err);
}

#define VM(name, rest) "vm \"" name "\" { backend \"noop\"; image \"/bin/true\"; " rest " }\n"

static void watch(enum source_prune prune, bool starts_new)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = vmfile_path();
    struct store_batch *batch = store_batch_new();
    struct source_record *wanted = source_record_new(path, 1);
    wanted->prune = prune;
    wanted->starts_new = starts_new;
    must(sources_add_registration(sim->store, batch, wanted, &err), &err);
    must(store_commit(sim->store, batch, &err), &err);
    must(bell_ring(&sim->paths, BELL_DESIRED, &err), &err);
    store_batch_free(batch);
    source_record_free(wanted);
}

static struct source_record *record(void)
{
    struct error err = {.code = ERR_NONE};
    struct source_record *found = NULL;
    cleanup_free char *path = vmfile_path();
    must(sources_get(sim->store, path, &found, &err), &err);
    return found;
}

static enum source_state source_state(void)
{
    struct source_record *found = record();
    enum source_state state = found->state;
    source_record_free(found);
    return state;
}

static uint32_t memory_of(const char *name)
{
    struct vm_record vm = sim_record(sim, name);
    uint32_t memory = vm.desired ? vm.desired->spec->memory_mib : 0;
    vm_record_clear(&vm);
    return memory;
}

/* A VM "web" of 512 MiB that runs because its file is watched. */
static void begin(enum source_prune prune)
{
    save(VM("web", "network \"none\"; memory 512"));
    sim_start(sim);
    watch(prune, true);
    sim_wait(sim, "web", sim_is_ready, 60000);
}

static void a_broken_file_shows_after_a_second_and_its_vm_stays_ready(void **state)
{
    (void)state;
    begin(SOURCE_PRUNE_NOTHING);
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_living_instance_id(sim, "web", before);
    save("vm \"web\" { imge 1 }");
    sim_advance(sim, 900);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_SYNCED);
    sim_advance(sim, 600);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_SOURCE_INVALID);
    assert_int_equal(sim_state(sim, "web", CONDITION_READY), CONDITION_TRUE);
    assert_int_equal(sim_count_events(sim, "web", REASON_SOURCE_INVALID), 1);
    sim_advance(sim, 120000);
    assert_int_equal(sim_count_events(sim, "web", REASON_SOURCE_INVALID), 1);
    save(VM("web", "network \"none\"; memory 512"));
    sim_advance(sim, 500);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_SYNCED);
    sim_living_instance_id(sim, "web", after);
    assert_string_equal(before, after);
}

static void a_save_in_two_parts_is_never_called_broken(void **state)
{
    (void)state;
    begin(SOURCE_PRUNE_NOTHING);
    save("vm \"web\" { backend \"noop\"; ");
    sim_advance(sim, 800);
    save(VM("web", "network \"none\"; memory 768"));
    sim_advance(sim, 5000);
    assert_int_equal(sim_count_events(sim, "web", REASON_SOURCE_INVALID), 0);
    assert_int_equal(memory_of("web"), 768);
}

static void a_save_is_applied_at_once_unless_more_of_it_may_follow(void **state)
{
    (void)state;
    begin(SOURCE_PRUNE_DESTROY);
    sim_advance(sim, 1000);
    save(VM("web", "network \"none\"; memory 600") VM("db", "network \"none\""));
    sim_advance(sim, 1);
    assert_int_equal(memory_of("web"), 600);
    sim_advance(sim, 1000);
    save(VM("web", "network \"none\"; memory 700")); /* the other half is not there yet */
    sim_advance(sim, 99);
    assert_int_equal(memory_of("web"), 600);
    save(VM("web", "network \"none\"; memory 700") VM("db", "network \"none\"; memory 700"));
    sim_advance(sim, 99);
    assert_int_equal(memory_of("web"), 600);
    sim_advance(sim, 2);
    assert_int_equal(memory_of("web"), 700);
    assert_int_equal(memory_of("db"), 700);
    assert_int_equal(sim_count_events(sim, "db", REASON_REMOVED_FROM_SOURCE), 0);
    sim_advance(sim, 1000);
    for (unsigned i = 0; i < 10; i++) { /* the first at once, the others when it is quiet */
        cleanup_free char *text =
            mem_printf(VM("web", "network \"none\"; memory %u") VM("db", ""), 800 + i);
        save(text);
        sim_advance(sim, 50);
        assert_int_equal(memory_of("web"), 800);
    }
    sim_advance(sim, 51);
    assert_int_equal(memory_of("web"), 809);
}

static void a_change_that_needs_a_restart_waits_for_the_users_word(void **state)
{
    (void)state;
    begin(SOURCE_PRUNE_NOTHING);
    char before[TEXT_ID_SIZE], after[TEXT_ID_SIZE];
    sim_living_instance_id(sim, "web", before);
    save(VM("web", "network \"none\"; memory 768"));
    sim_advance(sim, 60000);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_RESTART_REQUIRED);
    sim_living_instance_id(sim, "web", after);
    assert_string_equal(before, after);
}

static void a_file_that_goes_is_told_after_two_seconds_and_its_vm_stays(void **state)
{
    (void)state;
    cleanup_free char *path = vmfile_path();
    begin(SOURCE_PRUNE_DESTROY);
    assert_int_equal(unlink(path), 0);
    sim_advance(sim, 1900);
    assert_int_equal(sim_state(sim, "web", CONDITION_ORPHANED), CONDITION_ABSENT);
    sim_advance(sim, 400);
    assert_int_equal(sim_reason(sim, "web", CONDITION_ORPHANED), REASON_SOURCE_MISSING);
    sim_advance(sim, 600000);
    assert_true(sim_is_ready(sim, "web"));
    save(VM("web", "network \"none\"; memory 512"));
    sim_advance(sim, 500);
    assert_int_equal(sim_state(sim, "web", CONDITION_ORPHANED), CONDITION_ABSENT);
}

static void a_file_that_is_away_for_a_moment_is_not_told(void **state)
{
    (void)state;
    cleanup_free char *path = vmfile_path();
    begin(SOURCE_PRUNE_NOTHING);
    assert_int_equal(unlink(path), 0);
    sim_advance(sim, 1500);
    save(VM("web", "network \"none\"; memory 768"));
    sim_advance(sim, 10000);
    assert_int_equal(sim_count_events(sim, "web", REASON_SOURCE_MISSING), 0);
    assert_int_equal(memory_of("web"), 768);
}

static void a_save_just_before_a_crash_is_found_after_it(void **state)
{
    (void)state;
    begin(SOURCE_PRUNE_NOTHING);
    for (int64_t ms = 0; ms <= 120; ms += 10) { /* killed before, at and after the look */
        cleanup_free char *text =
            mem_printf(VM("web", "network \"none\"; memory %u"), (unsigned)(600 + ms));
        save(text);
        sim_advance(sim, ms);
        sim_kill(sim);
        sim_start(sim);
        sim_advance(sim, 1000);
        assert_int_equal(memory_of("web"), 600 + ms);
        assert_int_equal(source_state(), SOURCE_SYNCED);
    }
}

static void what_changed_while_no_controller_ran_is_found_at_its_start(void **state)
{
    (void)state;
    begin(SOURCE_PRUNE_NOTHING);
    sim_kill(sim);
    save(VM("web", "network \"none\"; memory 768") VM("db", "network \"none\""));
    sim_advance(sim, 60000);
    assert_int_equal(memory_of("web"), 512);
    sim_start(sim);
    sim_wait(sim, "db", sim_is_ready, 60000);
    assert_int_equal(memory_of("web"), 768);
}

static void a_controller_that_starts_over_an_unchanged_file_writes_no_change(void **state)
{
    (void)state;
    begin(SOURCE_PRUNE_NOTHING);
    struct vm_record before = sim_record(sim, "web");
    sim_kill(sim);
    sim_start(sim);
    sim_advance(sim, 120000);
    struct vm_record after = sim_record(sim, "web");
    assert_int_equal(before.desired->revision, after.desired->revision);
    vm_record_clear(&before);
    vm_record_clear(&after);
}

static void a_block_that_goes_is_told_and_pruned_after_two_seconds_if_asked(void **state)
{
    (void)state;
    begin(SOURCE_PRUNE_DESTROY);
    save(VM("web", "network \"none\"; memory 512") VM("db", "network \"none\""));
    sim_wait(sim, "db", sim_is_ready, 60000);
    save(VM("web", "network \"none\"; memory 512"));
    sim_advance(sim, 1500);
    assert_int_equal(sim_reason(sim, "db", CONDITION_ORPHANED), REASON_REMOVED_FROM_SOURCE);
    assert_true(sim_is_ready(sim, "db"));
    sim_wait(sim, "db", sim_is_gone, 60000);
    assert_true(sim_is_ready(sim, "web"));
}

static void a_block_that_goes_is_left_alone_otherwise(void **state)
{
    (void)state;
    begin(SOURCE_PRUNE_NOTHING);
    save(VM("db", "network \"none\""));
    sim_wait(sim, "db", sim_is_ready, 60000);
    sim_advance(sim, 600000);
    assert_int_equal(sim_reason(sim, "web", CONDITION_ORPHANED), REASON_REMOVED_FROM_SOURCE);
    assert_true(sim_is_ready(sim, "web"));
}

static void what_is_no_longer_watched_is_no_longer_followed(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    bool was_watched = false;
    cleanup_free char *path = vmfile_path();
    begin(SOURCE_PRUNE_NOTHING);
    save("vm \"web\" {");
    sim_advance(sim, 2000);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_SOURCE_INVALID);
    must(sources_forget(sim->store, path, &was_watched, &err), &err);
    assert_true(was_watched);
    sim_advance(sim, 1000);
    assert_int_equal(sim_reason(sim, "web", CONDITION_SYNCED), REASON_SYNCED);
    save(VM("web", "network \"none\"; memory 768"));
    sim_advance(sim, 600000);
    assert_int_equal(memory_of("web"), 512);
}

static void a_name_that_becomes_free_goes_to_the_second_file_by_itself(void **state)
{
    (void)state;
    struct vm_spec *spec = sim_spec("web");
    sim_start(sim);
    (void)sim_up(sim, spec);
    sim_wait(sim, "web", sim_is_ready, 60000);
    save(VM("web", "network \"none\"; memory 768"));
    watch(SOURCE_PRUNE_NOTHING, true);
    sim_advance(sim, 5000);
    assert_int_equal(source_state(), SOURCE_CONFLICT);
    assert_int_not_equal(memory_of("web"), 768);
    (void)sim_delete(sim, "web");
    sim_advance(sim, 60000);
    assert_int_equal(source_state(), SOURCE_SYNCED);
    assert_int_equal(memory_of("web"), 768);
}

static void nothing_is_written_while_nothing_changes(void **state)
{
    (void)state;
    char before[DIGEST_SIZE], after[DIGEST_SIZE];
    begin(SOURCE_PRUNE_NOTHING);
    sim_advance(sim, 5000);
    sim_store_digest(sim, before);
    sim_advance(sim, 3600 * 1000);
    sim_store_digest(sim, after);
    assert_string_equal(before, after);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_broken_file_shows_after_a_second_and_its_vm_stays_ready),
        TEST(a_save_in_two_parts_is_never_called_broken),
        TEST(a_save_is_applied_at_once_unless_more_of_it_may_follow),
        TEST(a_change_that_needs_a_restart_waits_for_the_users_word),
        TEST(a_file_that_goes_is_told_after_two_seconds_and_its_vm_stays),
        TEST(a_file_that_is_away_for_a_moment_is_not_told),
        TEST(a_save_just_before_a_crash_is_found_after_it),
        TEST(what_changed_while_no_controller_ran_is_found_at_its_start),
        TEST(a_controller_that_starts_over_an_unchanged_file_writes_no_change),
        TEST(a_block_that_goes_is_told_and_pruned_after_two_seconds_if_asked),
        TEST(a_block_that_goes_is_left_alone_otherwise),
        TEST(what_is_no_longer_watched_is_no_longer_followed),
        TEST(a_name_that_becomes_free_goes_to_the_second_file_by_itself),
        TEST(nothing_is_written_while_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/memory.h"

#include <signal.h>

#include "tests/unit/reconcilers/vm/pass_fixture.h"

#define IID "11111111111111111111111111111111"

/* A guest that this controller let run from memory, and that is not itself yet. */
static struct pass *a_waking(struct pass_fixture *f, enum warm warm)
{
    f->desired->spec->warm = warm;
    f->status->prepared.wake = WAKE_BEGUN;
    f->status->instance = (struct vm_instance){
        .instance_id = IID, .intent = INTENT_START, .boot_id = FIXTURE_BOOT_ID, .pid = 42};
    memcpy(f->vm.woken_instance_id, IID, TEXT_ID_SIZE);
    struct pass *pass = begin(f);
    memory_assess(pass);
    return pass;
}

static void a_guest_whose_identity_was_not_committed_is_not_asked_twice(void **state)
{
    struct pass_fixture *f = *state;
    assert_true(memory_record_identified(a_waking(f, WARM_AUTO)));
    struct pass *pass = a_waking(f, WARM_AUTO); /* the commit failed */
    assert_int_equal(memory_identify(pass), VERDICT_NOW);
    assert_null(f->vm.op);
    assert_int_equal(pass->patch->status->prepared.wake, WAKE_NONE);
}

static void a_guest_that_ends_before_it_is_itself_is_not_woken_again(void **state)
{
    static const struct {
        enum exit_cause cause;
        const char *why;
    } rows[] = {
        {EXIT_GUEST_PANIC, "the guest's kernel panicked before it had its own identity"},
        {EXIT_GUEST_SHUTDOWN, "the guest powered itself off before it had its own identity"},
        {EXIT_INTERNAL_ERROR, "the machine could not continue before it had its own identity"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pass *pass = a_waking(*state, WARM_REQUIRE);
        assert_true(memory_record_guest_end(pass, rows[i].cause));
        assert_string_equal(pass->patch->status->warm.cold, rows[i].why);
        assert_int_equal(memory_judge_exit(pass, EXIT_START_FAILED), EXIT_BY_USER);
        pass->situation.wake = WAKE_NONE; /* one that is itself */
        assert_false(memory_record_guest_end(pass, rows[i].cause));
    }
}

static void a_machine_that_ends_with_such_a_guest_is_woken_again_only_if_it_has_to_be(void **state)
{
    struct pass *pass = a_waking(*state, WARM_AUTO);
    pass->machine.last_output = "qemu: oh";
    assert_int_equal(memory_judge_exit(pass, EXIT_START_FAILED), EXIT_BY_USER);
    assert_string_equal(pass->patch->status->warm.cold,
        "QEMU ended before its guest had its own identity: qemu: oh");
    pass = a_waking(*state, WARM_REQUIRE);
    assert_int_equal(memory_judge_exit(pass, EXIT_START_FAILED), EXIT_START_FAILED);
    assert_null(pass->patch->status->warm.cold);
}

static void what_does_not_fit_any_more_boots_and_says_why(void **state)
{
    struct pass_fixture *f = *state;
    f->desired->spec->warm = WARM_NEVER;
    f->status->prepared.wake = WAKE_DUE;
    struct pass *pass = begin(f);
    memory_assess(pass);
    assert_true(pass->situation.is_wake_refused);
    assert_int_equal(memory_boot_cold(pass), VERDICT_NOW);
    assert_string_equal(pass->patch->status->warm.cold, "a VM without `warm` cannot be woken");
    assert_int_equal(pass->patch->status->prepared.wake, WAKE_NONE);
    free(TAKE_PTR(pass->wake_mismatch));
}

static void a_builder_that_ran_out_of_room_says_so(void **state)
{
    static const struct {
        int status;
        int64_t free_mib;
        const char *why;
    } rows[] = {
        {SIGBUS, 0,
            "no space left for its memory, 512 MiB in '/nowhere/vms/web/memory': free some "
            "(df -h /nowhere/vms/web)"},
        {SIGBUS, 4096,
            "its memory in '/nowhere/vms/web/memory' could not be read or written: see dmesg"},
        {SIGKILL, 0, NULL},
        {-1, 0, NULL},
    };
    struct pass_fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        free(f->status->instance.memory_host);
        f->status->instance.memory_host = mem_strdup("host 0");
        f->desired->spec->memory_mib = 512;
        struct pass *pass = begin(f);
        pass->machine.exit_status = rows[i].status;
        pass->media.free_bytes = rows[i].free_mib << 20;
        cleanup_free char *why = memory_exit_message(pass);
        assert_true(text_eq(why, rows[i].why));
    }
    free(TAKE_PTR(f->status->instance.memory_host));
    struct pass *pass = begin(f); /* its memory is no file */
    pass->machine.exit_status = SIGBUS;
    assert_null(memory_exit_message(pass));
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, pass_fixture_set_up, pass_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_guest_whose_identity_was_not_committed_is_not_asked_twice),
        TEST(a_guest_that_ends_before_it_is_itself_is_not_woken_again),
        TEST(what_does_not_fit_any_more_boots_and_says_why),
        TEST(a_builder_that_ran_out_of_room_says_so),
        TEST(a_machine_that_ends_with_such_a_guest_is_woken_again_only_if_it_has_to_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/exit.h"

#include "tests/unit/reconcilers/vm/pass_fixture.h"

#define IID "11111111111111111111111111111111"

/* An instance that has ended now, after `age_ms`. */
static struct pass *an_exit(struct pass_fixture *f, enum intent intent, int64_t age_ms)
{
    f->status->instance = (struct vm_instance){.instance_id = IID,
        .intent = intent,
        .boot_id = FIXTURE_BOOT_ID,
        .pid = 42,
        .started_at_ms = FIXTURE_WALL_MS - age_ms};
    return begin(f);
}

static const struct vm_restart *recorded(struct pass *pass)
{
    exit_record(pass);
    assert_string_equal(pass->patch->status->instance.instance_id, "");
    assert_int_equal(pass->patch->status->instance.intent, INTENT_NONE);
    assert_false(pass->patch->status->was_reached);
    return &pass->patch->status->restart;
}

/* ---- causes ---- */

static void a_process_that_is_gone_died(void **state)
{
    struct pass *pass = an_exit(*state, INTENT_NONE, 1000);
    pass->machine.exit_status = 9;
    pass->machine.last_output = "qemu: oh";
    pass->vm->backend = backend_qemu();
    const struct vm_restart *restart = recorded(pass);
    assert_int_equal(restart->last_cause, EXIT_PROCESS_DIED);
    assert_int_equal(restart->last_exit_status, 9);
    assert_string_equal(restart->last_message, "qemu: oh");
    assert_string_equal(pass->patch->events[0].message, "the QEMU process died: qemu: oh");
    assert_true(pass->patch->events[0].is_warning);
}

static void what_died_or_was_silent_is_called_by_its_backends_name(void **state)
{
    struct pass_fixture *f = *state;
    const struct {
        const struct backend *backend;
        const char *died, *silence, *killed;
    } expected[] = {
        {backend_qemu(), "the QEMU process died",
            "QEMU did not come up: QEMU did not answer on its QMP socket",
            "QEMU did not end on SIGTERM and was killed"},
        {backend_noop(), "the noop machine died",
            "the noop machine did not come up: the noop machine did not answer",
            "the noop machine did not terminate and was killed"},
        {backend_propolis(), "the zone went down",
            "propolis-server did not come up: propolis-server did not answer",
            "the guest did not shut down in time; its zone was halted"},
    };
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        f->vm.backend = expected[i].backend;
        struct pass *pass = an_exit(f, INTENT_NONE, 1000);
        (void)recorded(pass);
        assert_string_equal(pass->patch->events[0].message, expected[i].died);

        (void)an_exit(f, INTENT_STOP, 1000);
        f->status->instance.cause = EXIT_START_FAILED;
        pass = begin(f);
        (void)recorded(pass);
        assert_string_equal(pass->patch->events[0].message, expected[i].silence);

        (void)an_exit(f, INTENT_STOP, 1000);
        f->status->instance.cause = EXIT_BY_USER;
        pass = begin(f);
        pass->vm->last_command = MACHINE_KILL;
        pass->vm->last_command_ms = 1;
        pass->situation.stage = STOP_STAGE_KILL;
        assert_string_equal(recorded(pass)->last_message, expected[i].killed);
    }
}

static void a_start_that_never_answered_failed(void **state)
{
    struct pass *pass = an_exit(*state, INTENT_START, 1000);
    memcpy(pass->vm->launched_instance_id, IID, sizeof(IID));
    const struct vm_restart *restart = recorded(pass);
    assert_int_equal(restart->last_cause, EXIT_START_FAILED);
    assert_int_equal(restart->count, 1);
}

/* Killed between the commit of the pid and the release: its child ended at the end of the pipe. */
static void a_start_whose_controller_died_did_not_fail(void **state)
{
    struct pass_fixture *f = *state;
    f->status->restart.last_cause = EXIT_GUEST_SHUTDOWN;
    struct pass *pass = an_exit(f, INTENT_START, 1000);
    const struct vm_restart *restart = recorded(pass);
    assert_int_equal(restart->last_cause, EXIT_GUEST_SHUTDOWN); /* of the one before */
    assert_int_equal(restart->count, 0);
    assert_int_equal(restart->held_generation, 0);
    assert_false(pass->patch->events[0].is_warning);
}

static void a_start_the_user_called_off_did_not_fail(void **state)
{
    struct pass *pass = an_exit(*state, INTENT_START, 1000);
    pass->situation.power = POWER_STOPPED;
    const struct vm_restart *restart = recorded(pass);
    assert_int_equal(restart->last_cause, EXIT_BY_USER);
    assert_int_equal(restart->count, 0);
}

static void a_cause_that_was_learnt_before_counts(void **state)
{
    struct pass_fixture *f = *state;
    (void)an_exit(f, INTENT_STOP, 1000);
    f->status->instance.cause = EXIT_GUEST_PANIC;
    assert_int_equal(recorded(begin(f))->last_cause, EXIT_GUEST_PANIC);
}

static void an_instance_of_another_boot_ended_with_the_host(void **state)
{
    struct pass_fixture *f = *state;
    (void)an_exit(f, INTENT_NONE, 1000);
    f->status->instance.boot_id[0] = 'f';
    const struct vm_restart *restart = recorded(begin(f));
    assert_int_equal(restart->last_cause, EXIT_HOST_REBOOT);
    assert_int_equal(restart->count, 0);
    assert_int_equal(restart->held_generation, 0);
}

/* ---- counting ---- */

static void failures_back_off_from_nothing_to_a_minute(void **state)
{
    struct pass_fixture *f = *state;
    static const int64_t delays_ms[] = {0, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    for (uint32_t i = 0; i < ARRAY_LEN(delays_ms); i++) {
        (void)an_exit(f, INTENT_NONE, 1000);
        f->status->restart.count = i;
        const struct vm_restart *restart = recorded(begin(f));
        assert_int_equal(restart->count, i + 1);
        assert_int_equal(restart->not_before_ms - FIXTURE_WALL_MS, delays_ms[i]);
        assert_int_equal(exit_backoff_left_ms(&f->pass), delays_ms[i]);
    }
}

static void a_guest_that_ends_itself_backs_off_only_if_it_is_started_again(void **state)
{
    struct pass_fixture *f = *state;
    (void)an_exit(f, INTENT_STOP, 1000);
    f->status->instance.cause = EXIT_GUEST_SHUTDOWN;
    assert_int_equal(recorded(begin(f))->count, 0);
    f->desired->spec->restart = RESTART_ALWAYS;
    f->status->restart.count = 4;
    const struct vm_restart *restart = recorded(begin(f));
    assert_int_equal(restart->count, 5);
    assert_true(restart->not_before_ms > FIXTURE_WALL_MS);
}

static void a_guest_that_was_ended_keeps_the_words_of_its_probe(void **state)
{
    struct pass_fixture *f = *state;
    (void)an_exit(f, INTENT_STOP, 1000);
    f->status->instance.cause = EXIT_LIVENESS_FAILED;
    f->status->restart.last_message = mem_strdup("tcp 80: connection refused");
    struct pass *pass = begin(f);
    pass->machine.last_output = "qemu: terminating";
    const struct vm_restart *restart = recorded(pass);
    assert_int_equal(restart->count, 1);
    assert_string_equal(restart->last_message, "tcp 80: connection refused");
    assert_string_equal(pass->patch->events[0].message,
        "stopped because its `live` probes failed: tcp 80: connection refused");
}

static void a_failure_is_counted_once_per_instance(void **state)
{
    struct pass_fixture *f = *state;
    (void)an_exit(f, INTENT_NONE, 1000);
    f->status->restart.count = 2;
    memcpy(f->status->restart.last_failed_instance_id, IID, sizeof(IID));
    assert_int_equal(recorded(begin(f))->count, 2);
}

static void ten_quiet_minutes_forgive_what_was_before(void **state)
{
    struct pass_fixture *f = *state;
    (void)an_exit(f, INTENT_NONE, 10 * 60 * 1000 - 1);
    f->status->restart.count = 5;
    assert_int_equal(recorded(begin(f))->count, 6);
    (void)an_exit(f, INTENT_NONE, 10 * 60 * 1000);
    assert_int_equal(recorded(begin(f))->count, 1);
}

static void a_clock_that_was_set_back_does_not_prolong_a_backoff(void **state)
{
    struct pass_fixture *f = *state;
    f->status->restart.not_before_ms = FIXTURE_WALL_MS + 75000;
    assert_int_equal(exit_backoff_left_ms(begin(f)), 75000);
    f->status->restart.not_before_ms = FIXTURE_WALL_MS + 75001;
    assert_int_equal(exit_backoff_left_ms(begin(f)), 0);
    f->status->restart.not_before_ms = FIXTURE_WALL_MS - 1;
    assert_int_equal(exit_backoff_left_ms(begin(f)), 0);
}

/* ---- staying down ---- */

static void the_policy_says_what_stays_down(void **state)
{
    struct pass_fixture *f = *state;
    static const struct {
        enum restart_policy policy;
        enum exit_cause cause;
        bool stays_down;
    } expected[] = {
        {RESTART_ON_FAILURE, EXIT_GUEST_SHUTDOWN, true},
        {RESTART_ON_FAILURE, EXIT_GUEST_PANIC, false},
        {RESTART_ON_FAILURE, EXIT_PROCESS_DIED, false},
        {RESTART_ALWAYS, EXIT_GUEST_SHUTDOWN, false},
        {RESTART_ALWAYS, EXIT_PROCESS_DIED, false},
        {RESTART_ALWAYS, EXIT_LIVENESS_FAILED, false},
        {RESTART_ON_FAILURE, EXIT_LIVENESS_FAILED, false},
        {RESTART_NEVER, EXIT_LIVENESS_FAILED, true},
        {RESTART_NEVER, EXIT_GUEST_SHUTDOWN, true},
        {RESTART_NEVER, EXIT_GUEST_PANIC, true},
        {RESTART_NEVER, EXIT_INTERNAL_ERROR, true},
        {RESTART_NEVER, EXIT_START_FAILED, true},
        {RESTART_NEVER, EXIT_BY_USER, false},
        {RESTART_NEVER, EXIT_HOST_REBOOT, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        f->desired->spec->restart = expected[i].policy;
        struct pass *pass = begin(f);
        exit_hold(pass, expected[i].cause);
        assert_int_equal(
            pass->patch->status->restart.held_generation, expected[i].stays_down ? 1 : 0);
    }
}

/* The user has spoken between the guest's end and the process': the hold is of the older wish. */
static void a_change_after_the_guests_end_is_not_held(void **state)
{
    struct pass_fixture *f = *state;
    (void)an_exit(f, INTENT_STOP, 1000);
    f->status->instance.cause = EXIT_GUEST_SHUTDOWN;
    f->status->restart.held_generation = 1;
    f->desired->generation = 2;
    assert_int_equal(recorded(begin(f))->held_generation, 1);
}

static void one_that_the_kernel_killed_says_for_whose_memory(void **state)
{
    struct pass_fixture *f = *state;
    static const struct {
        enum oom_kill kill;
        enum exit_cause cause;
        const char *message;
    } cases[] = {
        {OOM_KILL_BY_LIMIT, EXIT_OOM_KILLED,
            "the kernel killed it: it needed more than its `memory-limit` of 320 MiB; raise "
            "`memory-limit` or lower `memory` in its VMFile, then: vmctl up --name web"},
        {OOM_KILL_BY_HOST, EXIT_HOST_OUT_OF_MEMORY,
            "the kernel killed it: the host ran out of memory; free memory on the host, or lower "
            "`memory` in its VMFile, then: vmctl up --name web"},
    };
    struct vm_spec *limited = vm_spec_copy(f->desired->spec);
    limited->memory_limit_mib = 320;
    vm_status_take_applied_spec(f->status, limited);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (enum intent intent = INTENT_NONE; intent <= INTENT_START; intent++) {
            struct pass *pass = an_exit(f, intent, 1000);
            pass->machine.oom_kill = cases[i].kill;
            pass->machine.last_output = "a warning";
            const struct vm_restart *restart = recorded(pass);
            assert_int_equal(restart->last_cause, cases[i].cause);
            assert_int_equal(restart->count, 1);
            assert_true(pass->patch->events[0].is_warning);
            assert_int_equal(pass->patch->events[0].reason, REASON_OOM_KILLED);
            assert_string_equal(pass->patch->events[0].message, cases[i].message);
        }
    }
}

static void one_that_was_stopped_meanwhile_was_stopped(void **state)
{
    struct pass_fixture *f = *state;
    (void)an_exit(f, INTENT_STOP, 1000);
    f->status->instance.cause = EXIT_BY_USER;
    struct pass *pass = begin(f);
    pass->machine.oom_kill = OOM_KILL_BY_LIMIT;
    assert_int_equal(recorded(pass)->last_cause, EXIT_BY_USER);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, pass_fixture_set_up, pass_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_process_that_is_gone_died),
        TEST(what_died_or_was_silent_is_called_by_its_backends_name),
        TEST(a_start_that_never_answered_failed),
        TEST(a_start_whose_controller_died_did_not_fail),
        TEST(a_start_the_user_called_off_did_not_fail),
        TEST(a_cause_that_was_learnt_before_counts),
        TEST(an_instance_of_another_boot_ended_with_the_host),
        TEST(failures_back_off_from_nothing_to_a_minute),
        TEST(a_guest_that_ends_itself_backs_off_only_if_it_is_started_again),
        TEST(a_guest_that_was_ended_keeps_the_words_of_its_probe),
        TEST(a_failure_is_counted_once_per_instance),
        TEST(ten_quiet_minutes_forgive_what_was_before),
        TEST(a_clock_that_was_set_back_does_not_prolong_a_backoff),
        TEST(the_policy_says_what_stays_down),
        TEST(a_change_after_the_guests_end_is_not_held),
        TEST(one_that_the_kernel_killed_says_for_whose_memory),
        TEST(one_that_was_stopped_meanwhile_was_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

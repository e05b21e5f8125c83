/* SPDX-License-Identifier: MPL-2.0 */
/* When `ready` and `live` are due, and what their results mean. */
#include "tests/unit/reconcilers/vm/pass_fixture.h"

#include "reconcilers/vm/probes.h"

static struct spec_check *give_probe(struct pass_fixture *f, enum check_kind kind)
{
    struct spec_check *check = &f->desired->spec->checks[kind];
    mem_grow(check->probes, check->n_probes);
    check->probes[check->n_probes++] = (struct spec_probe){.kind = PROBE_TCP, .port = 80};
    return check;
}

/* A pass over a VM that runs for so long, whose round of `kind` has just ended. */
static struct pass *after_round(struct pass_fixture *f, enum check_kind kind, enum error_code code)
{
    struct pass *pass = begin(f);
    pass->situation.is_alive = true;
    pass->situation.run_state = RUN_STATE_RUNNING;
    pass_fixture_end_op(f, ACTION_PROBE, code, "tcp 80: connection refused");
    f->vm.outcome->check = kind;
    return pass;
}

/* Takes the result in, and commits. */
static bool record_outcome(struct pass_fixture *f, enum check_kind kind, enum error_code code)
{
    bool has_changed = probes_record(after_round(f, kind, code));
    vm_status_free(f->status);
    f->status = vm_status_copy(f->patch.status);
    return has_changed;
}

/* ---- when ---- */

static void nothing_is_due_without_probes(void **state)
{
    struct pass_fixture *f = *state;
    struct pass *pass = after_round(f, CHECK_READY, ERR_NONE);
    assert_false(probes_are_due(pass));
    assert_int_equal(probes_wait_ms(pass), VERDICT_WHEN_WOKEN);
    assert_false(probes_are_fatal(pass));
}

static void probes_are_due_at_once_then_after_their_period(void **state)
{
    struct pass_fixture *f = *state;
    give_probe(f, CHECK_READY)->period_s = 7;
    assert_true(probes_are_due(begin(f)));
    assert_int_equal(probes_next(begin(f)), CHECK_READY);
    record_outcome(f, CHECK_READY, ERR_NONE);
    struct pass *pass = after_round(f, CHECK_READY, ERR_NONE);
    assert_false(probes_are_due(pass));
    assert_int_equal(probes_wait_ms(pass), 7000);
}

static void a_failed_ready_is_tried_again_after_a_second(void **state)
{
    struct pass_fixture *f = *state;
    give_probe(f, CHECK_READY);
    record_outcome(f, CHECK_READY, ERR_PROBE);
    assert_int_equal(probes_wait_ms(after_round(f, CHECK_READY, ERR_PROBE)), 1000);
}

static void the_longer_overdue_check_comes_first(void **state)
{
    struct pass_fixture *f = *state;
    give_probe(f, CHECK_READY);
    give_probe(f, CHECK_LIVE);
    f->vm.checks[CHECK_READY].due_ms = FIXTURE_NOW_MS - 1;
    f->vm.checks[CHECK_LIVE].due_ms = FIXTURE_NOW_MS - 2;
    assert_int_equal(probes_next(begin(f)), CHECK_LIVE);
    f->vm.checks[CHECK_LIVE].due_ms = FIXTURE_NOW_MS - 1;
    assert_int_equal(probes_next(begin(f)), CHECK_READY);
    f->vm.checks[CHECK_READY].due_ms = FIXTURE_NOW_MS + 1;
    assert_int_equal(probes_next(begin(f)), CHECK_LIVE);
}

static void nothing_is_probed_after_a_step_failed(void **state)
{
    struct pass_fixture *f = *state;
    give_probe(f, CHECK_LIVE)->failures = 1;
    struct vm_spec *spec = f->desired->spec;
    mem_grow(spec->steps, spec->n_steps);
    spec->steps[spec->n_steps++] =
        (struct spec_step){.kind = STEP_INLINE, .command = mem_strdup("x")};
    f->status->probing.live.failures = 1;
    assert_true(probes_are_due(begin(f)));
    assert_true(probes_are_fatal(begin(f)));
    f->status->provision.is_failed = true;
    assert_false(probes_are_due(begin(f)));
    assert_false(probes_are_fatal(begin(f)));
    assert_int_equal(probes_wait_ms(after_round(f, CHECK_LIVE, ERR_PROBE)), VERDICT_WHEN_WOKEN);
}

static void a_guest_that_is_not_set_up_is_not_waited_for(void **state)
{
    struct pass_fixture *f = *state;
    give_probe(f, CHECK_READY);
    struct pass *pass = after_round(f, CHECK_READY, ERR_NONE);
    pass->situation.expects_ssh = true;
    assert_int_equal(probes_wait_ms(pass), VERDICT_WHEN_WOKEN);
    pass->situation.is_reached = true;
    assert_int_equal(probes_wait_ms(pass), VERDICT_NOW);
    pass->situation.has_step = true;
    assert_int_equal(probes_wait_ms(pass), VERDICT_WHEN_WOKEN);
}

/* Before the pass has assessed anything, as in a real one. */
static void a_probe_whose_login_is_refused_leads_back_to_reaching_the_guest(void **state)
{
    struct pass_fixture *f = *state;
    give_probe(f, CHECK_READY);
    f->status->was_reached = true;
    for (int expects = 0; expects < 2; expects++) {
        f->desired->spec->ssh.is_set = expects;
        struct pass *pass = after_round(f, CHECK_READY, ERR_SSH_AUTH);
        pass->situation = (struct situation){.is_desired = false};
        assert_true(pass_record_outcomes(pass));
        assert_int_equal(f->patch.status->was_reached, !expects);
    }
}

/* ---- ready ---- */

static void ready_passes_and_says_so_once(void **state)
{
    struct pass_fixture *f = *state;
    give_probe(f, CHECK_READY);
    assert_true(record_outcome(f, CHECK_READY, ERR_PROBE));
    assert_false(f->status->probing.is_passed);
    assert_string_equal(f->status->probing.failure, "tcp 80: connection refused");
    assert_false(
        record_outcome(f, CHECK_READY, ERR_PROBE)); /* the same failure again changes nothing */
    assert_true(record_outcome(f, CHECK_READY, ERR_NONE));
    assert_true(f->status->probing.is_passed);
    assert_null(f->status->probing.failure);
    assert_int_equal(f->patch.n_events, 1);
    assert_false(record_outcome(f, CHECK_READY, ERR_NONE));
    assert_int_equal(f->patch.n_events, 0);
}

static void what_has_passed_is_lost_by_failing_in_a_row_only(void **state)
{
    struct pass_fixture *f = *state;
    give_probe(f, CHECK_READY);
    record_outcome(f, CHECK_READY, ERR_NONE);
    assert_false(record_outcome(f, CHECK_READY, ERR_PROBE));
    assert_false(record_outcome(f, CHECK_READY, ERR_PROBE));
    assert_false(record_outcome(f, CHECK_READY, ERR_NONE));
    assert_false(record_outcome(f, CHECK_READY, ERR_PROBE));
    assert_false(record_outcome(f, CHECK_READY, ERR_TIMEOUT));
    assert_true(f->status->probing.is_passed);
    assert_true(record_outcome(f, CHECK_READY, ERR_SSH));
    assert_false(f->status->probing.is_passed);
    assert_int_equal(f->patch.n_events, 1);
    assert_true(f->patch.events[0].is_warning);
}

static void ready_that_fails_never_ends_the_guest(void **state)
{
    struct pass_fixture *f = *state;
    give_probe(f, CHECK_READY)->failures = 1;
    give_probe(f, CHECK_LIVE)->failures = 1;
    for (int i = 0; i < 100; i++) {
        record_outcome(f, CHECK_READY, ERR_PROBE);
    }
    assert_false(probes_are_fatal(begin(f)));
}

static void ready_is_overdue_after_ten_minutes_without_a_pass(void **state)
{
    struct pass_fixture *f = *state;
    give_probe(f, CHECK_READY);
    assert_false(probes_are_overdue(begin(f)));
    record_outcome(f, CHECK_READY, ERR_PROBE);
    struct pass *pass = begin(f);
    pass->now_ms = FIXTURE_NOW_MS + 599999;
    assert_false(probes_are_overdue(pass));
    pass->now_ms++;
    assert_true(probes_are_overdue(pass));
    record_outcome(f, CHECK_READY, ERR_NONE);
    pass = begin(f);
    pass->now_ms = FIXTURE_NOW_MS + 600000;
    assert_false(probes_are_overdue(pass));
}

/* ---- live ---- */

static void live_is_fatal_after_so_many_failures_in_a_row(void **state)
{
    struct pass_fixture *f = *state;
    give_probe(f, CHECK_LIVE)->failures = 2;
    record_outcome(f, CHECK_LIVE, ERR_PROBE);
    record_outcome(f, CHECK_LIVE, ERR_NONE);
    record_outcome(f, CHECK_LIVE, ERR_PROBE);
    assert_false(probes_are_fatal(begin(f)));
    record_outcome(f, CHECK_LIVE, ERR_TIMEOUT);
    assert_true(probes_are_fatal(begin(f)));
    assert_int_equal(f->vm.checks[CHECK_LIVE].due_ms, FIXTURE_NOW_MS + 10000);
}

static void not_being_let_in_is_no_sign_of_death(void **state)
{
    struct pass_fixture *f = *state;
    static const enum error_code codes[] = {
        ERR_SSH_AUTH, ERR_SSH_HOSTKEY, ERR_KEY_UNREADABLE, ERR_IP_TIMEOUT};
    give_probe(f, CHECK_LIVE)->failures = 1;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        record_outcome(f, CHECK_LIVE, codes[i]);
        assert_false(probes_are_fatal(begin(f)));
    }
}

static void failures_while_it_starts_do_not_count_until_it_passed_once(void **state)
{
    struct pass_fixture *f = *state;
    struct spec_check *live = give_probe(f, CHECK_LIVE);
    live->failures = 1;
    live->start_period_s = 60;
    f->status->instance.started_at_ms = FIXTURE_WALL_MS - 59999;
    record_outcome(f, CHECK_LIVE, ERR_PROBE);
    assert_false(probes_are_fatal(begin(f)));
    f->status->instance.started_at_ms--;
    record_outcome(f, CHECK_LIVE, ERR_PROBE);
    assert_true(probes_are_fatal(begin(f)));
    record_outcome(f, CHECK_LIVE, ERR_NONE);
    f->status->instance.started_at_ms = FIXTURE_WALL_MS;
    record_outcome(f, CHECK_LIVE, ERR_PROBE);
    assert_true(probes_are_fatal(begin(f)));
}

static void what_live_told_is_news_when_it_counts_or_changes(void **state)
{
    struct pass_fixture *f = *state;
    give_probe(f, CHECK_LIVE);
    assert_true(record_outcome(f, CHECK_LIVE, ERR_NONE));
    assert_false(record_outcome(f, CHECK_LIVE, ERR_NONE)); /* a healthy guest costs no write */
    assert_false(record_outcome(f, CHECK_LIVE, ERR_SSH_AUTH));
    assert_true(record_outcome(f, CHECK_LIVE, ERR_PROBE));
    assert_string_equal(f->status->probing.live.failure, "tcp 80: connection refused");
    assert_true(record_outcome(f, CHECK_LIVE, ERR_NONE));
    assert_null(f->status->probing.live.failure);
    assert_int_equal(f->status->probing.live.due_ms, 0);
}

/* The counts and clocks are in the status; a new controller's memory is empty. */
static void a_new_controller_goes_on_counting_and_waits_for_the_rest_of_the_period(void **state)
{
    struct pass_fixture *f = *state;
    give_probe(f, CHECK_READY);
    give_probe(f, CHECK_LIVE)->failures = 2;
    record_outcome(f, CHECK_READY, ERR_PROBE);
    record_outcome(f, CHECK_LIVE, ERR_PROBE);
    vm_forget_checks(&f->vm);
    struct pass *pass = begin(f);
    assert_int_equal(probes_next(pass), CHECK_READY);
    pass->now_ms += 9999;
    assert_int_equal(probes_next(pass), CHECK_READY);
    pass->now_ms++;
    f->vm.checks[CHECK_READY].due_ms = pass->now_ms + 1;
    assert_int_equal(probes_next(pass), CHECK_LIVE);
    record_outcome(f, CHECK_LIVE, ERR_TIMEOUT);
    assert_true(probes_are_fatal(begin(f)));
    vm_forget_checks(&f->vm);
    assert_true(probes_are_fatal(begin(f)));
    pass = begin(f);
    pass->now_ms = FIXTURE_NOW_MS + 600000;
    assert_true(probes_are_overdue(pass));
}

static void resetting_forgets_both(void **state)
{
    struct pass_fixture *f = *state;
    give_probe(f, CHECK_READY);
    give_probe(f, CHECK_LIVE)->failures = 1;
    record_outcome(f, CHECK_READY, ERR_NONE);
    record_outcome(f, CHECK_LIVE, ERR_PROBE);
    struct pass *pass = begin(f);
    probes_reset(pass);
    assert_false(pass->patch->status->probing.is_passed);
    assert_false(pass->patch->status->probing.live.has_passed);
    assert_null(pass->patch->status->probing.live.failure);
    assert_false(probes_are_fatal(pass));
    assert_true(probes_are_due(pass));
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, pass_fixture_set_up, pass_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_due_without_probes),
        TEST(probes_are_due_at_once_then_after_their_period),
        TEST(a_failed_ready_is_tried_again_after_a_second),
        TEST(the_longer_overdue_check_comes_first),
        TEST(nothing_is_probed_after_a_step_failed),
        TEST(a_guest_that_is_not_set_up_is_not_waited_for),
        TEST(a_probe_whose_login_is_refused_leads_back_to_reaching_the_guest),
        TEST(ready_passes_and_says_so_once),
        TEST(what_has_passed_is_lost_by_failing_in_a_row_only),
        TEST(ready_that_fails_never_ends_the_guest),
        TEST(ready_is_overdue_after_ten_minutes_without_a_pass),
        TEST(live_is_fatal_after_so_many_failures_in_a_row),
        TEST(not_being_let_in_is_no_sign_of_death),
        TEST(failures_while_it_starts_do_not_count_until_it_passed_once),
        TEST(what_live_told_is_news_when_it_counts_or_changes),
        TEST(a_new_controller_goes_on_counting_and_waits_for_the_rest_of_the_period),
        TEST(resetting_forgets_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

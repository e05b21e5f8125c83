/* SPDX-License-Identifier: MPL-2.0 */
/* Which steps are to be run: steps.c. tests/sim/test_steps.c plays the same with a whole
 * controller. */
#include "specs/vm/vm_steps.h"
#include "tests/unit/reconcilers/vm/pass_fixture.h"

/* The spec has a step for each letter now. */
static void want(struct pass_fixture *f, const char *letters)
{
    struct vm_spec *spec = f->desired->spec;
    while (spec->n_steps > 0) {
        free(spec->steps[--spec->n_steps].command);
    }
    for (; *letters; letters++) {
        mem_grow(spec->steps, spec->n_steps);
        spec->steps[spec->n_steps++] =
            (struct spec_step){.kind = STEP_INLINE, .command = mem_printf("%c", *letters)};
    }
    f->desired->generation++;
    f->desired->revision++;
}

static void ask(struct pass_fixture *f, const char *token)
{
    strcpy(f->desired->provision_token, token);
}

/* What the pass made of the status is committed. */
static void commit_pass(struct pass_fixture *f)
{
    vm_status_free(f->status);
    f->status = TAKE_PTR(f->patch.status);
}

static const struct vm_provision *acknowledge(struct pass_fixture *f)
{
    pass_observe_steps(begin(f));
    commit_pass(f);
    return &f->status->provision;
}

static const struct vm_provision *finish(struct pass_fixture *f)
{
    pass_finish_step(begin(f));
    commit_pass(f);
    return &f->status->provision;
}

static const struct vm_provision *append(struct pass_fixture *f)
{
    pass_append_steps(begin(f));
    commit_pass(f);
    return &f->status->provision;
}

static void begin_run(struct pass_fixture *f)
{
    f->status->provision.run.started_at_ms = 1;
}

static enum steps_state steps_state_of(const struct pass_fixture *f)
{
    return vm_steps_state(&f->status->provision, f->desired->spec, "");
}

/* "a" and "b" were asked for and run. */
static void run_two(struct pass_fixture *f)
{
    want(f, "ab");
    ask(f, "first");
    (void)acknowledge(f);
    (void)finish(f);
    (void)finish(f);
}

static void a_request_runs_the_list_and_is_handled_with_its_last_step(void **state)
{
    struct pass_fixture *f = *state;
    want(f, "ab");
    ask(f, "first");
    assert_int_equal(acknowledge(f)->total, 2);
    assert_true(vm_steps_are_under_way(finish(f)));
    assert_string_equal(f->status->handled_provision_token, "");
    assert_false(vm_steps_are_under_way(finish(f)));
    assert_string_equal(f->status->handled_provision_token, "first");
    assert_string_equal(f->status->provision.ran_digest, f->status->provision.digest);
}

static enum steps_state look(struct pass_fixture *f)
{
    enum steps_state state = pass_steps_state(begin(f));
    assert_int_equal(pass_steps_state(begin(f)), state); /* known by now */
    return state;
}

static void what_is_known_of_the_steps_ends_with_what_it_follows_from(void **state)
{
    struct pass_fixture *f = *state;
    run_two(f);
    assert_int_equal(look(f), STEPS_SAME);
    want(f, "abcd");
    assert_int_equal(look(f), STEPS_APPENDED);
    f->status->provision.is_failed = true;
    assert_int_equal(look(f), STEPS_CHANGED);
    f->status->provision.is_failed = false;
    f->status->provision.total = 1;
    vm_steps_digest(f->desired->spec, 1, f->status->provision.digest);
    assert_int_equal(look(f), STEPS_APPENDED);
    f->status->provision.digest[0] = '\0';
    assert_int_equal(look(f), STEPS_NEVER_RUN);
    vm_steps_digest(f->desired->spec, 1, f->status->provision.digest);
    want(f, "x"); /* of another VM with that name: the same revision */
    f->desired->revision--;
    f->desired->uid[0] ^= 1;
    assert_int_equal(look(f), STEPS_CHANGED);
}

static void an_appended_list_goes_on_where_the_other_ended(void **state)
{
    struct pass_fixture *f = *state;
    run_two(f);
    want(f, "abcd");
    const struct vm_provision *provision = acknowledge(f);
    assert_int_equal(provision->total, 2); /* nothing is begun before the guest is there */
    assert_int_equal(steps_state_of(f), STEPS_APPENDED);
    provision = append(f);
    assert_int_equal(provision->next_step, 2);
    assert_int_equal(provision->total, 4);
    assert_int_equal(steps_state_of(f), STEPS_SAME);
    assert_true(vm_steps_are_under_way(provision));
    provision = append(f); /* done twice: the same */
    assert_int_equal(provision->next_step, 2);
    assert_int_equal(provision->total, 4);
    (void)finish(f);
    assert_false(vm_steps_are_under_way(finish(f)));
}

static void what_is_appended_to_a_list_that_runs_leaves_it_alone(void **state)
{
    struct pass_fixture *f = *state;
    want(f, "ab");
    ask(f, "first");
    (void)acknowledge(f);
    begin_run(f);
    want(f, "abc");
    const struct vm_provision *provision = acknowledge(f);
    assert_int_equal(provision->total, 2);
    assert_int_equal(provision->run.started_at_ms, 1);
}

static void a_list_of_which_nothing_has_run_is_replaced_by_the_longer_one(void **state)
{
    struct pass_fixture *f = *state;
    want(f, "ab");
    ask(f, "first");
    (void)acknowledge(f);
    want(f, "abc");
    assert_int_equal(acknowledge(f)->total, 3);
}

static void a_list_that_runs_as_asked_begins_anew_when_it_changes(void **state)
{
    struct pass_fixture *f = *state;
    want(f, "ab");
    ask(f, "first");
    (void)acknowledge(f);
    (void)finish(f);
    begin_run(f);
    want(f, "ax");
    const struct vm_provision *provision = acknowledge(f);
    assert_int_equal(provision->next_step, 0);
    assert_int_equal(provision->run.started_at_ms, 0);
    assert_int_equal(steps_state_of(f), STEPS_SAME);
}

static void appended_steps_that_change_fall_back_to_what_was_run(void **state)
{
    struct pass_fixture *f = *state;
    run_two(f);
    want(f, "abcd");
    (void)acknowledge(f);
    (void)append(f);
    (void)finish(f); /* "c" */
    begin_run(f);
    want(f, "abcx");
    const struct vm_provision *provision = acknowledge(f);
    assert_int_equal(provision->next_step, 3);
    assert_int_equal(provision->total, 3);
    assert_int_equal(provision->run.started_at_ms, 0);
    assert_int_equal(steps_state_of(f), STEPS_APPENDED);
    want(f, "xbcd");
    (void)acknowledge(f);
    assert_int_equal(steps_state_of(f), STEPS_CHANGED);
    assert_false(vm_steps_are_under_way(&f->status->provision));
}

static void a_new_request_runs_all_of_them(void **state)
{
    struct pass_fixture *f = *state;
    run_two(f);
    want(f, "abc");
    ask(f, "second");
    const struct vm_provision *provision = acknowledge(f);
    assert_int_equal(provision->next_step, 0);
    assert_int_equal(provision->total, 3);
}

static void a_vm_that_starts_without_steps_has_run_none_of_them(void **state)
{
    struct pass_fixture *f = *state;
    pass_note_no_steps(begin(f));
    commit_pass(f);
    want(f, "a");
    (void)acknowledge(f);
    assert_int_equal(steps_state_of(f), STEPS_APPENDED);
}

static void a_vm_that_starts_with_steps_nobody_asked_for_runs_none_later(void **state)
{
    struct pass_fixture *f = *state;
    want(f, "a");
    (void)acknowledge(f);
    pass_note_no_steps(begin(f));
    commit_pass(f);
    want(f, "ab");
    (void)acknowledge(f);
    assert_int_equal(steps_state_of(f), STEPS_NEVER_RUN);
}

static void a_new_disk_was_run_nothing_on(void **state)
{
    struct pass_fixture *f = *state;
    run_two(f);
    pass_reset_provision(begin(f));
    commit_pass(f);
    want(f, "abc");
    (void)acknowledge(f);
    assert_int_equal(steps_state_of(f), STEPS_NEVER_RUN);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, pass_fixture_set_up, pass_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_runs_the_list_and_is_handled_with_its_last_step),
        TEST(what_is_known_of_the_steps_ends_with_what_it_follows_from),
        TEST(an_appended_list_goes_on_where_the_other_ended),
        TEST(what_is_appended_to_a_list_that_runs_leaves_it_alone),
        TEST(a_list_of_which_nothing_has_run_is_replaced_by_the_longer_one),
        TEST(a_list_that_runs_as_asked_begins_anew_when_it_changes),
        TEST(appended_steps_that_change_fall_back_to_what_was_run),
        TEST(a_new_request_runs_all_of_them),
        TEST(a_vm_that_starts_without_steps_has_run_none_of_them),
        TEST(a_vm_that_starts_with_steps_nobody_asked_for_runs_none_later),
        TEST(a_new_disk_was_run_nothing_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

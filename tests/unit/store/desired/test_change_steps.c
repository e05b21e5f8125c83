/* SPDX-License-Identifier: MPL-2.0 */
/* Wishes about provision steps: which are left out, and until when. */
#include "store/desired/change.h"

#include "specs/vm/step_notes.h"
#include "specs/vm/vm_steps.h"
#include "tests/unit/store/desired/change_fixture.h"

#define SOURCE "/project/VMFile.kdl"

static struct vm_spec *a_spec(void)
{
    struct vm_spec *spec = vm_spec_new("web");
    spec->image.location = mem_strdup("/images/base.qcow2");
    return spec;
}

static struct change up_change(const struct vm_spec *spec)
{
    return (struct change){.name = spec->name,
        .spec = spec,
        .source = SOURCE,
        .sets_power = true,
        .power = POWER_RUNNING};
}

static struct vm_spec *spec_with_steps(size_t n_steps)
{
    struct vm_spec *spec = a_spec();
    spec->steps = mem_calloc(n_steps, sizeof(*spec->steps));
    for (size_t i = 0; i < n_steps; i++) {
        spec->steps[i] =
            (struct spec_step){.kind = STEP_INLINE, .command = mem_printf("step %zu", i)};
        mem_grow(spec->steps[i].secrets, spec->steps[i].n_secrets);
        spec->steps[i].secrets[spec->steps[i].n_secrets++] =
            (struct spec_secret){mem_strdup("TOKEN"), SECRET_FROM_ENV, mem_strdup("T")};
    }
    spec->n_steps = n_steps;
    return spec;
}

static enum change_result up_with_steps(
    struct store *store, size_t n_steps, enum change_provision provision)
{
    struct vm_spec *spec = spec_with_steps(n_steps);
    struct change change = up_change(spec);
    change.provision = provision;
    enum change_result result = apply(store, change);
    vm_spec_free(spec);
    return result;
}

/* One step was asked for and run. */
static void run_first_step(struct vm_status *status)
{
    struct vm_spec *spec = spec_with_steps(1);
    struct vm_provision *provision = &status->provision;
    provision->total = provision->next_step = 1;
    vm_steps_digest(spec, 1, provision->digest);
    vm_spec_free(spec);
}

static void assert_left_out(struct store *store, size_t n_steps)
{
    char digest[DIGEST_SIZE] = "";
    struct vm_spec *spec = spec_with_steps(n_steps);
    struct vm_record record = get_vm(store, "web");
    if (n_steps > 0) {
        vm_steps_digest(spec, n_steps, digest);
    }
    assert_string_equal(record.desired->skipped_steps, digest);
    vm_record_clear(&record);
    vm_spec_free(spec);
}

static void steps_are_left_out_until_a_change_without_that_word(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    up_with_steps(store, 1, PROVISION_ON_START);
    write_status(store, "web", run_first_step);
    assert_int_equal(up_with_steps(store, 2, PROVISION_SKIP), CHANGE_CONFIGURED);
    assert_left_out(store, 2);
    uint64_t generation = generation_of(store, "web");
    assert_int_equal(up_with_steps(store, 2, PROVISION_SKIP), CHANGE_UNCHANGED);
    assert_int_equal(generation_of(store, "web"), generation);
    struct vm_spec *spec = spec_with_steps(2);
    struct change watched = {.name = "web", .spec = spec, .source = SOURCE};
    assert_int_equal(apply(store, watched), CHANGE_UNCHANGED); /* a save says nothing about it */
    assert_left_out(store, 2);
    vm_spec_free(spec);
    assert_int_equal(up_with_steps(store, 2, PROVISION_APPENDED), CHANGE_REQUESTED);
    assert_left_out(store, 0);
    assert_int_equal(up_with_steps(store, 2, PROVISION_APPENDED), CHANGE_UNCHANGED);
}

static void leaving_steps_out_asks_for_none(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    up_with_steps(store, 1, PROVISION_SKIP);
    struct vm_record record = get_vm(store, "web");
    assert_string_equal(record.desired->provision_token, "");
    vm_record_clear(&record);
}

static void running_what_was_appended_asks_for_nothing_of_a_new_vm(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    assert_int_equal(up_with_steps(store, 1, PROVISION_APPENDED), CHANGE_CREATED);
    struct vm_record record = get_vm(store, "web");
    assert_string_equal(record.desired->provision_token, "");
    vm_record_clear(&record);
}

/* The second of two steps failed, which was appended to a complete list or not. */
static void fail_second_step(struct store *store, bool is_continued, bool is_handled)
{
    struct vm_record record = get_vm(store, "web");
    struct vm_spec *spec = spec_with_steps(2);
    struct vm_status *status = vm_status_new(record.desired->uid);
    struct store_batch *batch = store_batch_new();
    status->observed_generation = record.desired->generation;
    status->provision = (struct vm_provision){
        .next_step = 1, .total = 2, .is_failed = true, .is_continued = is_continued};
    vm_steps_digest(spec, 1, status->provision.ran_digest);
    vm_steps_digest(spec, 2, status->provision.digest);
    if (is_handled) {
        strcpy(status->handled_provision_token, record.desired->provision_token);
    }
    store_batch_put_status(batch, "web", status);
    assert_int_equal(commit(store, batch), 0);
    vm_status_free(status);
    vm_spec_free(spec);
    vm_record_clear(&record);
}

static void assert_begins_with(
    struct store *store, size_t n_steps, enum change_result result, uint32_t from)
{
    assert_int_equal(up_with_steps(store, n_steps, PROVISION_ON_START), result);
    struct vm_record record = get_vm(store, "web");
    assert_int_equal(record.desired->provision_from, from);
    vm_record_clear(&record);
}

static void up_begins_with_the_failed_step_of_those_that_were_appended(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    up_with_steps(store, 2, PROVISION_ON_START);
    fail_second_step(store, true, true);
    assert_begins_with(store, 2, CHANGE_REQUESTED, 2);
    fail_second_step(store, true, true);
    assert_begins_with(store, 3, CHANGE_CONFIGURED, 2);
    fail_second_step(store, true, true);
    assert_begins_with(store, 1, CHANGE_CONFIGURED, 2); /* no request: all that is left was run */
    fail_second_step(store, false, true);
    assert_begins_with(store, 2, CHANGE_CONFIGURED, 0);
}

/* `provision --from 2`, and `up` before a controller has seen it. */
static void a_request_that_waits_is_not_replaced_by_up(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *spec = spec_with_steps(2);
    up_with_steps(store, 2, PROVISION_ON_START);
    fail_second_step(store, false, true);
    struct change again = up_change(spec);
    again.provision = PROVISION_AGAIN;
    again.provision_from = 2;
    assert_int_equal(apply(store, again), CHANGE_REQUESTED);
    assert_begins_with(store, 2, CHANGE_UNCHANGED, 2);
    vm_spec_free(spec);
}

static uint32_t planned_from(struct store *store, const struct change *change)
{
    struct change_outcome outcome = {0};
    struct error err = {0};
    must(change_plan(store, change, 1, &outcome, &err), &err);
    change_outcome_clear(&outcome);
    return outcome.steps_from;
}

static void begin_second_step(struct vm_status *status)
{
    struct vm_spec *spec = spec_with_steps(2);
    run_first_step(status);
    status->provision.total = 2;
    vm_steps_digest(spec, 2, status->provision.digest);
    vm_spec_free(spec);
}

static void a_plan_says_with_which_step_it_goes_on(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *one = spec_with_steps(1), *two = spec_with_steps(2);
    struct change up = up_change(one), append = up_change(two);
    struct change again = {.name = "web", .provision = PROVISION_AGAIN};
    up.provision = PROVISION_ON_START;
    assert_int_equal(planned_from(store, &up), 0);
    up.provision = PROVISION_KEEP;
    assert_int_equal(planned_from(store, &up), 1); /* none */
    up_with_steps(store, 1, PROVISION_SKIP);
    write_status(store, "web", run_first_step);
    assert_int_equal(planned_from(store, &up), 1); /* none */
    assert_int_equal(planned_from(store, &append), 1);
    assert_int_equal(planned_from(store, &again), 0);
    again.provision_from = 1;
    assert_int_equal(planned_from(store, &again), 0);
    up_with_steps(store, 2, PROVISION_KEEP);
    write_status(store, "web", begin_second_step);
    assert_int_equal(planned_from(store, &append), 1);
    again.provision_from = 2;
    assert_int_equal(planned_from(store, &again), 1);
    again.provision_from = 3; /* has been removed since */
    assert_int_equal(planned_from(store, &again), 0);
    again.deletes = true;
    assert_int_equal(planned_from(store, &again), 2); /* none */
    vm_spec_free(one);
    vm_spec_free(two);
}

static void finish_first_step_once(struct vm_status *status)
{
    struct vm_spec *spec = spec_with_steps(1);
    run_first_step(status);
    spec->steps[0].run = RUN_ONCE;
    step_mark_done(&status->provision, spec, 0, NULL);
    vm_spec_free(spec);
}

static bool plan_skips_first(struct store *store, const struct change *change)
{
    struct change_outcome outcome = {0};
    struct error err = {0};
    must(change_plan(store, change, 1, &outcome, &err), &err);
    bool skips = outcome.skips_step && outcome.skips_step[0];
    assert_int_equal(outcome.steps_from, 0);
    change_outcome_clear(&outcome);
    assert_null(outcome.skips_step);
    return skips;
}

static void a_plan_says_which_steps_are_done_once_and_for_all(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *spec = spec_with_steps(1);
    struct change again = {.name = "web", .provision = PROVISION_AGAIN}, up = up_change(spec);
    spec->steps[0].run = RUN_ONCE;
    apply(store, up);
    assert_false(plan_skips_first(store, &again));
    write_status(store, "web", finish_first_step_once);
    assert_true(plan_skips_first(store, &again));
    again.provision_from = 1; /* asked for by its number it runs all the same */
    assert_false(plan_skips_first(store, &again));
    up.provision = PROVISION_ON_START;
    up.recreates = true; /* it ran on the disk that goes */
    assert_false(plan_skips_first(store, &up));
    vm_spec_free(spec);
}

/* Hashing them would cost a change of a thousand VMs as much as all the rest of it. */
static void a_plan_says_nothing_of_steps_without_secrets(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *spec = spec_with_steps(1);
    struct change up = up_change(spec);
    up.provision = PROVISION_ON_START;
    assert_int_equal(planned_from(store, &up), 0);
    spec->steps[0].n_secrets = 0;
    assert_int_equal(planned_from(store, &up), 1);
    spec->steps[0].n_secrets = 1;
    vm_spec_free(spec);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up_open, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(steps_are_left_out_until_a_change_without_that_word),
        TEST(up_begins_with_the_failed_step_of_those_that_were_appended),
        TEST(a_request_that_waits_is_not_replaced_by_up),
        TEST(a_plan_says_with_which_step_it_goes_on),
        TEST(a_plan_says_which_steps_are_done_once_and_for_all),
        TEST(a_plan_says_nothing_of_steps_without_secrets),
        TEST(leaving_steps_out_asks_for_none),
        TEST(running_what_was_appended_asks_for_nothing_of_a_new_vm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

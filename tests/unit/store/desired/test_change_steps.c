/* SPDX-License-Identifier: MPL-2.0 */
/* Wishes about provision steps: which are left out, and until when. */
#include "store/desired/change.h"

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up_open, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(steps_are_left_out_until_a_change_without_that_word),
        TEST(leaving_steps_out_asks_for_none),
        TEST(running_what_was_appended_asks_for_nothing_of_a_new_vm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

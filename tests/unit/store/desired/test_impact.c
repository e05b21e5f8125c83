/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/impact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/mem.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "specs/vm/vm_steps.h"
#include "store/store.h"

/* "web", asked for with one step, and a spec that is to come after it. */
struct test {
    struct vm_record record;
    struct vm_spec *after;
};

static void add_step(struct vm_spec *spec, const char *command)
{
    mem_grow(spec->steps, spec->n_steps);
    spec->steps[spec->n_steps++] =
        (struct spec_step){.kind = STEP_INLINE, .command = mem_strdup(command)};
}

static int set_up(void **state)
{
    struct test *test = mem_new(struct test);
    struct vm_spec *spec = vm_spec_new("web");
    spec->image.location = mem_strdup("/a.qcow2");
    add_step(spec, "one");
    test->after = vm_spec_copy(spec);
    test->record.name = mem_strdup("web");
    test->record.desired = vm_desired_new(spec, 1);
    test->record.status = vm_status_new(test->record.desired->uid);
    *state = test;
    return 0;
}

static int tear_down(void **state)
{
    struct test *test = *state;
    vm_record_clear(&test->record);
    vm_spec_free(test->after);
    free(test);
    return 0;
}

static void make_disk(struct test *test)
{
    strcpy(test->record.status->prepared.digest, "made");
}

static void run(struct test *test)
{
    struct vm_status *status = test->record.status;
    make_disk(test);
    strcpy(status->instance.instance_id, "1");
    vm_status_set_applied_spec(status, test->record.desired->spec);
}

/* All steps of the record were asked for and run. */
static void provision(struct test *test)
{
    struct vm_provision *provision = &test->record.status->provision;
    const struct vm_spec *spec = test->record.desired->spec;
    provision->total = provision->next_step = (uint32_t)spec->n_steps;
    vm_steps_digest(spec, spec->n_steps, provision->digest);
}

static void assert_needs_as(struct test *test, bool runs_appended, enum disposition expected)
{
    struct spec_diff diff =
        record_diff(&test->record, test->record.desired->spec, test->after, runs_appended);
    assert_int_equal(diff.count, 1);
    assert_int_equal(diff.changes[0].disposition, expected);
    assert_int_equal(diff.strongest, expected);
    spec_diff_clear(&diff);
}

static void assert_needs(struct test *test, enum disposition expected)
{
    assert_needs_as(test, true, expected);
}

static void what_needs_a_restart_needs_only_a_start_when_nothing_runs(void **state)
{
    struct test *test = *state;
    test->after->memory_mib = 2048;
    make_disk(test);
    assert_needs(test, DISPOSITION_START);
    run(test);
    assert_needs(test, DISPOSITION_RESTART);
}

static void what_needs_a_new_disk_needs_only_a_start_when_there_is_none(void **state)
{
    struct test *test = *state;
    free(test->after->image.location);
    test->after->image.location = mem_strdup("/b.qcow2");
    assert_needs(test, DISPOSITION_START);
    make_disk(test);
    assert_needs(test, DISPOSITION_RECREATE);
    run(test);
    assert_needs(test, DISPOSITION_RECREATE);
}

static void the_same_sha256_at_another_url_is_no_change(void **state)
{
    struct test *test = *state;
    struct spec_image *before = &test->record.desired->spec->image, *after = &test->after->image;
    make_disk(test);
    before->kind = after->kind = IMAGE_URL;
    free(after->location);
    after->location = mem_strdup("https://mirror.example/b.qcow2");
    assert_needs(test, DISPOSITION_RECREATE);
    before->sha256 = mem_printf("%064d", 1);
    after->sha256 = mem_printf("%064d", 2);
    assert_needs(test, DISPOSITION_RECREATE);
    free(after->sha256);
    after->sha256 = mem_printf("%064d", 1);
    struct spec_diff diff =
        record_diff(&test->record, test->record.desired->spec, test->after, true);
    assert_int_equal(diff.count, 0);
    assert_int_equal(diff.strongest, DISPOSITION_LIVE);
    spec_diff_clear(&diff);
    after->kind = IMAGE_FILE; /* its disk stands on that file, then */
    assert_needs(test, DISPOSITION_RECREATE);
}

static void a_machine_that_cannot_be_changed_needs_a_restart(void **state)
{
    struct test *test = *state;
    test->after->disk_gib = 20;
    test->record.desired->spec->backend = test->after->backend = BACKEND_PROPOLIS;
    run(test);
    assert_needs(test, DISPOSITION_RESTART);
    struct vm_spec *other = vm_spec_copy(test->record.status->applied_spec);
    other->backend = BACKEND_QEMU;
    vm_status_take_applied_spec(test->record.status, other);
    assert_needs(test, DISPOSITION_LIVE);
}

static void appended_steps_are_live_once_those_before_them_were_run(void **state)
{
    struct test *test = *state;
    add_step(test->after, "two");
    make_disk(test);
    assert_needs(test, DISPOSITION_PROVISION);
    provision(test);
    assert_needs(test, DISPOSITION_START);
    run(test);
    assert_needs(test, DISPOSITION_LIVE);
    assert_needs_as(test, false, DISPOSITION_PROVISION);
    test->record.status->provision.is_failed = true;
    assert_needs(test, DISPOSITION_PROVISION);
}

static void other_changes_of_steps_wait_for_the_users_word(void **state)
{
    struct test *test = *state;
    run(test);
    provision(test);
    free(test->after->steps[0].command);
    test->after->steps[0].command = mem_strdup("other");
    assert_needs(test, DISPOSITION_PROVISION);
    add_step(test->after, "two");
    assert_needs(test, DISPOSITION_PROVISION);
    strcpy(test->record.desired->provision_token, "asked"); /* he has said it already */
    assert_needs(test, DISPOSITION_LIVE);
}

static void back_to_the_steps_that_were_run_needs_nothing(void **state)
{
    struct test *test = *state;
    run(test);
    provision(test);
    free(test->record.desired->spec->steps[0].command);
    test->record.desired->spec->steps[0].command = mem_strdup("edited, and not run");
    assert_needs(test, DISPOSITION_LIVE);
}

static void the_status_of_an_earlier_vm_of_the_name_says_nothing(void **state)
{
    struct test *test = *state;
    run(test);
    strcpy(test->record.status->uid, "another");
    assert_null(record_status(&test->record));
    test->after->memory_mib = 2048;
    assert_needs(test, DISPOSITION_START);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_needs_a_restart_needs_only_a_start_when_nothing_runs),
        TEST(what_needs_a_new_disk_needs_only_a_start_when_there_is_none),
        TEST(the_same_sha256_at_another_url_is_no_change),
        TEST(a_machine_that_cannot_be_changed_needs_a_restart),
        TEST(appended_steps_are_live_once_those_before_them_were_run),
        TEST(other_changes_of_steps_wait_for_the_users_word),
        TEST(back_to_the_steps_that_were_run_needs_nothing),
        TEST(the_status_of_an_earlier_vm_of_the_name_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"

/* A step for each letter. vm_spec_free() it. */
static struct vm_spec *spec_of(const char *letters)
{
    struct vm_spec *spec = vm_spec_new("web");
    for (; *letters; letters++) {
        mem_grow(spec->steps, spec->n_steps);
        spec->steps[spec->n_steps++] =
            (struct spec_step){.kind = STEP_INLINE, .command = mem_printf("echo %c", *letters)};
    }
    return spec;
}

static struct vm_provision run_of(const char *letters)
{
    struct vm_provision provision = {.total = (uint32_t)strlen(letters)};
    struct vm_spec *spec = spec_of(letters);
    provision.next_step = provision.total;
    vm_steps_digest(spec, provision.total, provision.digest);
    vm_spec_free(spec);
    return provision;
}

static void assert_stands(
    const struct vm_provision *run, const char *letters, enum steps_state expected)
{
    struct vm_spec *spec = spec_of(letters);
    assert_int_equal(vm_steps_state(run, spec, ""), expected);
    vm_spec_free(spec);
}

static void a_list_is_appended_to_when_it_goes_on_behind_what_was_run(void **state)
{
    (void)state;
    struct vm_provision run = run_of("ab");
    assert_stands(&run, "ab", STEPS_SAME);
    assert_stands(&run, "abc", STEPS_APPENDED);
    assert_stands(&run, "abcd", STEPS_APPENDED);
}

static void every_other_change_is_one(void **state)
{
    (void)state;
    struct vm_provision run = run_of("ab");
    static const char *const others[] = {
        "", "a", "b", "ba", "ax", "xb", "cab", "acb", "bac", "xbc"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_stands(&run, others[i], STEPS_CHANGED);
    }
}

static void how_often_a_step_runs_and_the_bytes_of_its_file_are_part_of_it(void **state)
{
    (void)state;
    struct vm_provision run = run_of("a");
    struct vm_spec *spec = spec_of("ab");
    spec->steps[0].run = RUN_ONCE;
    assert_int_equal(vm_steps_state(&run, spec, ""), STEPS_CHANGED);
    spec->steps[0].run = RUN_ALWAYS;
    assert_int_equal(vm_steps_state(&run, spec, ""), STEPS_APPENDED);
    spec->steps[0].kind = STEP_SCRIPT;
    spec->steps[0].file.path = mem_strdup("/setup.sh");
    vm_steps_digest(spec, 1, run.digest);
    assert_int_equal(vm_steps_state(&run, spec, ""), STEPS_APPENDED);
    strcpy(spec->steps[0].file.digest, "edited");
    assert_int_equal(vm_steps_state(&run, spec, ""), STEPS_CHANGED);
    vm_spec_free(spec);
}

static void whatever_is_added_to_no_steps_is_appended(void **state)
{
    (void)state;
    struct vm_provision none = run_of(""), never = {.total = 0};
    assert_stands(&none, "", STEPS_SAME);
    assert_stands(&none, "a", STEPS_APPENDED);
    assert_stands(&never, "", STEPS_NEVER_RUN);
    assert_stands(&never, "a", STEPS_NEVER_RUN);
}

static void behind_a_step_that_failed_nothing_is_appended(void **state)
{
    (void)state;
    struct vm_provision run = run_of("ab");
    run.next_step = 1;
    assert_true(vm_steps_are_under_way(&run));
    assert_stands(&run, "abc", STEPS_APPENDED);
    run.is_failed = true;
    assert_false(vm_steps_are_under_way(&run));
    assert_stands(&run, "ab", STEPS_SAME);
    assert_stands(&run, "abc", STEPS_CHANGED);
}

static void only_the_very_list_that_was_to_be_left_out_is(void **state)
{
    (void)state;
    struct vm_provision run = run_of("a");
    struct vm_spec *two = spec_of("ab"), *three = spec_of("abc");
    char left_out[DIGEST_SIZE];
    vm_steps_digest(two, 2, left_out);
    assert_int_equal(vm_steps_state(&run, two, left_out), STEPS_LEFT_OUT);
    assert_int_equal(vm_steps_state(&run, three, left_out), STEPS_APPENDED);
    vm_spec_free(two);
    vm_spec_free(three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_appended_to_when_it_goes_on_behind_what_was_run),
        cmocka_unit_test(every_other_change_is_one),
        cmocka_unit_test(how_often_a_step_runs_and_the_bytes_of_its_file_are_part_of_it),
        cmocka_unit_test(whatever_is_added_to_no_steps_is_appended),
        cmocka_unit_test(behind_a_step_that_failed_nothing_is_appended),
        cmocka_unit_test(only_the_very_list_that_was_to_be_left_out_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/step_notes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"

static struct vm_spec *three_steps(enum step_run run)
{
    struct vm_spec *spec = vm_spec_new("web");
    spec->n_steps = 3;
    spec->steps = mem_calloc(3, sizeof(*spec->steps));
    for (int i = 0; i < 3; i++) {
        spec->steps[i] = (struct spec_step){
            .kind = STEP_INLINE, .command = mem_printf("echo %d", i), .run = run};
    }
    return spec;
}

static void change_command(struct vm_spec *spec, size_t i, const char *command)
{
    free(spec->steps[i].command);
    spec->steps[i].command = mem_strdup(command);
}

static void a_step_that_always_runs_is_never_done(void **state)
{
    (void)state;
    struct vm_spec *spec = three_steps(RUN_ALWAYS);
    struct vm_provision provision = {.done = NULL};
    step_mark_done(&provision, spec, 0, "");
    assert_null(provision.done);
    assert_false(step_is_done(&provision, spec, 0, ""));
    vm_spec_free(spec);
}

static void a_step_to_run_once_is_done_wherever_it_stands(void **state)
{
    (void)state;
    struct vm_spec *spec = three_steps(RUN_ONCE);
    struct vm_provision provision = {.done = NULL};
    step_mark_done(&provision, spec, 1, "");
    assert_false(step_is_done(&provision, spec, 0, ""));
    assert_true(step_is_done(&provision, spec, 1, ""));
    change_command(spec, 1, "echo 7");
    change_command(spec, 2, "echo 1");
    assert_false(step_is_done(&provision, spec, 1, ""));
    assert_true(step_is_done(&provision, spec, 2, ""));
    free(provision.done);
    vm_spec_free(spec);
}

static void an_edited_script_does_not_make_a_once_step_run_again(void **state)
{
    (void)state;
    struct vm_spec *spec = three_steps(RUN_ONCE);
    struct vm_provision provision = {.done = NULL};
    spec->steps[0].kind = STEP_SCRIPT;
    spec->steps[0].file.path = mem_strdup("/setup.sh");
    step_mark_done(&provision, spec, 0, "");
    (void)snprintf(spec->steps[0].file.digest, DIGEST_SIZE, "other");
    assert_true(step_is_done(&provision, spec, 0, ""));
    spec->steps[0].run = RUN_ON_CHANGE;
    assert_false(step_is_done(&provision, spec, 0, ""));
    free(provision.done);
    vm_spec_free(spec);
}

static void a_step_on_change_runs_when_it_differs_from_its_last_success(void **state)
{
    (void)state;
    struct vm_spec *spec = three_steps(RUN_ON_CHANGE);
    struct vm_provision provision = {.done = NULL};
    step_mark_done(&provision, spec, 0, "");
    step_mark_done(&provision, spec, 1, "");
    assert_true(step_is_done(&provision, spec, 0, ""));
    change_command(spec, 0, "echo new");
    assert_false(step_is_done(&provision, spec, 0, ""));
    step_mark_done(&provision, spec, 0, "");
    assert_true(step_is_done(&provision, spec, 0, ""));
    change_command(spec, 0, "echo 0"); /* back again: that is a change, too */
    assert_false(step_is_done(&provision, spec, 0, ""));
    assert_true(step_is_done(&provision, spec, 1, ""));
    change_command(spec, 0, "echo new");
    spec->steps[0].run = RUN_ALWAYS; /* it leaves no note, and is between them all the same */
    step_mark_done(&provision, spec, 0, "");
    spec->steps[0].run = RUN_ON_CHANGE;
    assert_false(step_is_done(&provision, spec, 0, ""));
    free(provision.done);
    vm_spec_free(spec);
}

/* What ran in between, though it left its note before, makes what was noted at its place old. */
static void a_step_to_run_once_that_is_run_again_drops_the_note_at_its_place(void **state)
{
    (void)state;
    struct vm_spec *spec = three_steps(RUN_ONCE);
    struct vm_provision provision = {.done = NULL};
    step_mark_done(&provision, spec, 0, "");
    change_command(spec, 0, "echo other");
    spec->steps[0].run = RUN_ON_CHANGE;
    step_mark_done(&provision, spec, 0, "");
    assert_true(step_is_done(&provision, spec, 0, ""));
    change_command(spec, 0, "echo 0");
    spec->steps[0].run = RUN_ONCE;
    assert_true(step_is_done(&provision, spec, 0, ""));
    step_mark_done(&provision, spec, 0, ""); /* provision --from 1 */
    assert_true(step_is_done(&provision, spec, 0, ""));
    change_command(spec, 0, "echo other");
    spec->steps[0].run = RUN_ON_CHANGE;
    assert_false(step_is_done(&provision, spec, 0, ""));
    free(provision.done);
    vm_spec_free(spec);
}

/* Of a run that another vmctld began they are not known: it runs again rather than never. */
static void secrets_that_changed_make_a_step_on_change_run_again(void **state)
{
    (void)state;
    struct vm_spec *spec = three_steps(RUN_ON_CHANGE);
    struct vm_provision provision = {.done = NULL};
    step_mark_done(&provision, spec, 0, NULL);
    assert_false(step_is_done(&provision, spec, 0, NULL));
    step_mark_done(&provision, spec, 0, "aaaa");
    assert_true(step_is_done(&provision, spec, 0, "aaaa"));
    assert_false(step_is_done(&provision, spec, 0, "bbbb"));
    assert_false(step_is_done(&provision, spec, 0, NULL));
    step_mark_done(&provision, spec, 0, "bbbb");
    assert_true(step_is_done(&provision, spec, 0, "bbbb"));
    assert_false(step_is_done(&provision, spec, 0, "aaaa"));
    step_mark_done(&provision, spec, 0, NULL); /* with others: those before would be a change */
    assert_false(step_is_done(&provision, spec, 0, "bbbb"));
    spec->steps[1].run = RUN_ONCE;
    step_mark_done(&provision, spec, 1, "aaaa");
    assert_true(step_is_done(&provision, spec, 1, "bbbb"));
    free(provision.done);
    vm_spec_free(spec);
}

/* Notes of earlier versions are compared with it. */
static void the_content_of_a_step_is_what_it_always_was(void **state)
{
    static const struct {
        enum step_run run;
        const char *script, *digest, *content;
    } cases[] = {
        {RUN_ALWAYS, NULL, "", "8f0f09613d013623"},
        {RUN_ONCE, NULL, "", "8f0f09613d013623"},
        {RUN_ON_CHANGE, "/setup.sh", "ab", "e050842938a6db21"},
        {RUN_ONCE, "/setup.sh", "ab", "9156da782ac9d3e0"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char content[STEP_CONTENT_SIZE];
        struct vm_spec *spec = three_steps(cases[i].run);
        struct spec_step *step = &spec->steps[0];
        if (cases[i].script) {
            free(TAKE_PTR(step->command));
            step->kind = STEP_SCRIPT;
        }
        step->file.path = mem_strdup(cases[i].script);
        (void)snprintf(step->file.digest, DIGEST_SIZE, "%s", cases[i].digest);
        step->timeout_s = 7;
        step->is_per_vm = true;
        step->n_env = 2;
        step->env = mem_calloc(2, sizeof(*step->env));
        step->env[0] = (struct spec_variable){.name = mem_strdup("B"), .value = mem_strdup("\"")};
        step->env[1] = (struct spec_variable){.name = mem_strdup("A"), .value = mem_strdup("ü\n")};
        step_content(spec, 0, content);
        assert_string_equal(content, cases[i].content);
        vm_spec_free(spec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_that_always_runs_is_never_done),
        cmocka_unit_test(a_step_to_run_once_is_done_wherever_it_stands),
        cmocka_unit_test(an_edited_script_does_not_make_a_once_step_run_again),
        cmocka_unit_test(a_step_on_change_runs_when_it_differs_from_its_last_success),
        cmocka_unit_test(a_step_to_run_once_that_is_run_again_drops_the_note_at_its_place),
        cmocka_unit_test(secrets_that_changed_make_a_step_on_change_run_again),
        cmocka_unit_test(the_content_of_a_step_is_what_it_always_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

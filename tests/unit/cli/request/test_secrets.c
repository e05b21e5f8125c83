/* SPDX-License-Identifier: MPL-2.0 */
/* Requests that need no secrets of a command's own: nothing is asked of anybody for them. */
#include "cli/request/secrets.h"

#include <stdlib.h>

#include "cli/cli.h"
#include "specs/vm/step_notes.h"
#include "specs/vm/vm_steps.h"
#include "tests/unit/store/desired/change_fixture.h"

static void add_step(struct vm_spec *spec, const char *command)
{
    mem_grow(spec->steps, spec->n_steps);
    spec->steps[spec->n_steps++] =
        (struct spec_step){.kind = STEP_INLINE, .command = mem_strdup(command)};
}

static void add_secret(struct spec_step *step, enum secret_source source, const char *from)
{
    mem_grow(step->secrets, step->n_secrets);
    step->secrets[step->n_secrets++] =
        (struct spec_secret){mem_strdup("TOKEN"), source, mem_strdup(from)};
}

static void what_has_none_or_only_files_needs_neither_store_nor_controller(void **state)
{
    struct cli cli = {.store = NULL};
    struct error err = {.code = ERR_NONE};
    struct vm_spec *spec = vm_spec_new("web");
    struct change changes[] = {{.name = "web", .spec = spec}, {.name = "db", .deletes = true}};
    (void)state;
    assert_int_equal(secrets_hand_over(&cli, changes, 2, &err), 0);
    add_step(spec, "true");
    add_secret(&spec->steps[0], SECRET_FROM_FILE, "/token");
    assert_int_equal(secrets_hand_over(&cli, changes, 2, &err), 0);
    vm_spec_free(spec);
}

/* Its first step needs one. */
static struct vm_spec *a_spec(void)
{
    struct vm_spec *spec = vm_spec_new("web");
    spec->image.location = mem_strdup("/images/base.qcow2");
    add_step(spec, "first");
    add_secret(&spec->steps[0], SECRET_FROM_ENV, "VMCTL_TEST_UNSET");
    return spec;
}

static void those_of_a_vm_that_is_only_prepared_are_not_looked_for(void **state)
{
    struct cli cli = {.store = ((struct fixture *)*state)->store};
    struct error err = {.code = ERR_NONE};
    struct vm_spec *spec = a_spec();
    struct change change = {.name = "web",
        .spec = spec,
        .must_be_new = true,
        .wants_prepared = true,
        .provision = PROVISION_ON_START};
    unsetenv("VMCTL_TEST_UNSET");
    assert_int_equal(secrets_hand_over(&cli, &change, 1, &err), 0);
    change.sets_power = true;
    change.power = POWER_RUNNING;
    assert_int_equal(secrets_hand_over(&cli, &change, 1, &err), -ERR_SECRET);
    vm_spec_free(spec);
}

static void run_first_step(struct vm_status *status)
{
    struct vm_spec *spec = a_spec();
    struct vm_provision *provision = &status->provision;
    provision->total = provision->next_step = 1;
    vm_steps_digest(spec, 1, provision->digest);
    vm_spec_free(spec);
}

static void those_of_steps_that_were_run_are_not_looked_for(void **state)
{
    struct cli cli = {.store = ((struct fixture *)*state)->store};
    struct error err = {.code = ERR_NONE};
    struct vm_spec *spec = a_spec();
    struct change change = {.name = "web", .spec = spec};
    unsetenv("VMCTL_TEST_UNSET");
    apply(cli.store, change);
    write_status(cli.store, "web", run_first_step);
    add_step(spec, "appended");
    assert_int_equal(secrets_hand_over(&cli, &change, 1, &err), 0);
    change.provision = PROVISION_AGAIN;
    assert_int_equal(secrets_hand_over(&cli, &change, 1, &err), -ERR_SECRET);
    vm_spec_free(spec);
}

static void finish_first_step_once(struct vm_status *status)
{
    struct vm_spec *spec = a_spec();
    spec->steps[0].run = RUN_ONCE;
    step_mark_done(&status->provision, spec, 0, NULL);
    vm_spec_free(spec);
}

static void those_of_a_step_that_is_done_for_good_are_not_looked_for(void **state)
{
    struct cli cli = {.store = ((struct fixture *)*state)->store};
    struct error err = {.code = ERR_NONE};
    struct vm_spec *spec = a_spec();
    struct change change = {.name = "web", .spec = spec};
    spec->steps[0].run = RUN_ONCE;
    unsetenv("VMCTL_TEST_UNSET");
    apply(cli.store, change);
    write_status(cli.store, "web", finish_first_step_once);
    struct change again = {.name = "web", .provision = PROVISION_AGAIN};
    assert_int_equal(secrets_hand_over(&cli, &again, 1, &err), 0);
    again.provision_from = 1;
    assert_int_equal(secrets_hand_over(&cli, &again, 1, &err), -ERR_SECRET);
    vm_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_none_or_only_files_needs_neither_store_nor_controller),
        cmocka_unit_test_setup_teardown(those_of_a_vm_that_is_only_prepared_are_not_looked_for,
            fixture_set_up_open, fixture_tear_down),
        cmocka_unit_test_setup_teardown(those_of_steps_that_were_run_are_not_looked_for,
            fixture_set_up_open, fixture_tear_down),
        cmocka_unit_test_setup_teardown(those_of_a_step_that_is_done_for_good_are_not_looked_for,
            fixture_set_up_open, fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* What a change makes of a record that is in no store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"
#include "store/desired/change_decide.h"
#include "store/store.h"

struct answers {
    bool has_name, has_ports;
    int n_asked;
};

static int on_name(void *context, const char *name, struct error *err)
{
    struct answers *answers = context;
    answers->n_asked++;
    return answers->has_name ? error_set(err, ERR_VM_CONFLICT, "'%s' is taken", name) : 0;
}

static int on_dependencies(
    void *context, const struct vm_spec *before, const struct vm_spec *spec, struct error *err)
{
    (void)context;
    (void)before;
    (void)spec;
    (void)err;
    return 0;
}

static int on_attach(void *context, const struct vm_desired *desired,
    const struct spec_volume *volume, struct error *err)
{
    (void)context;
    (void)desired;
    (void)volume;
    (void)err;
    return 0;
}

static int on_ports(void *context, const struct vm_desired *next, struct error *err)
{
    struct answers *answers = context;
    (void)next;
    answers->n_asked++;
    return answers->has_ports ? error_set(err, ERR_VM_CONFLICT, "a port is taken") : 0;
}

static int decide(const struct change *change, const struct vm_record *record,
    struct answers *answers, struct vm_desired **ret, struct change_outcome *outcome,
    struct error *err)
{
    const struct change_host host = {on_name, on_dependencies, on_attach, on_ports, answers};
    const struct change_input input = {
        .change = change, .record = record, .host = &host, .now_ms = 17};
    return change_decide(&input, ret, outcome, err);
}

static void a_vm_is_made_of_nothing(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    struct answers answers = {.n_asked = 0};
    struct vm_spec *spec = vm_spec_new("web");
    const struct vm_record none = {.name = NULL};
    const struct change change = {.name = "web", .spec = spec, .starts_new = true};
    struct vm_desired *next = NULL;
    struct change_outcome outcome;
    assert_int_equal(decide(&change, &none, &answers, &next, &outcome, &err), 0);
    assert_int_equal(outcome.result, CHANGE_CREATED);
    assert_int_equal(outcome.generation, 1);
    assert_string_equal(outcome.uid, next->uid);
    assert_int_equal(next->power, POWER_RUNNING);
    assert_int_equal(next->created_ms, 17);
    assert_int_equal(answers.n_asked, 1); /* of the name; no ports are to be held */
    change_outcome_clear(&outcome);
    vm_desired_free(next);
    vm_spec_free(spec);
}

static void the_host_may_refuse(void **state)
{
    (void)state;
    struct vm_spec *spec = vm_spec_new("web");
    const struct vm_record none = {.name = NULL};
    const struct change change = {.name = "web", .spec = spec, .holds_ports = true};
    for (int i = 0; i < 2; i++) {
        struct error err = {.code = ERR_NONE};
        struct answers answers = {.has_name = i == 0, .has_ports = i == 1};
        struct vm_desired *next = NULL;
        struct change_outcome outcome;
        assert_int_equal(decide(&change, &none, &answers, &next, &outcome, &err), -ERR_VM_CONFLICT);
        assert_null(next);
    }
    vm_spec_free(spec);
}

static void a_change_leaves_the_record_that_it_was_given(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    struct answers answers = {.n_asked = 0};
    struct vm_record record = {.name = (char *)(uintptr_t) "web"};
    record.desired = vm_desired_new(vm_spec_new("web"), 1);
    record.desired->generation = 5;
    record.desired->fleet.epoch = 3;
    struct vm_desired *before = vm_desired_copy(record.desired), *next = NULL;
    const struct change change = {.name = "web", .sets_power = true, .power = POWER_RUNNING};
    struct change_outcome outcome;
    assert_int_equal(decide(&change, &record, &answers, &next, &outcome, &err), 0);
    assert_int_equal(outcome.result, CHANGE_STARTED);
    assert_int_equal(next->generation, 6);
    assert_int_equal(next->fleet.epoch, 3);
    assert_true(vm_desired_equal(record.desired, before));
    change_outcome_clear(&outcome);
    vm_desired_free(next);
    vm_desired_free(before);
    vm_desired_free(record.desired);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vm_is_made_of_nothing),
        cmocka_unit_test(the_host_may_refuse),
        cmocka_unit_test(a_change_leaves_the_record_that_it_was_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

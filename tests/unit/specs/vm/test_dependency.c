/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/dependency.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"

struct records {
    struct vm_desired *desired;
    struct vm_status *status;
};

/* Running as asked, and not ready yet. */
static int setup(void **state)
{
    struct records *records = mem_new(struct records);
    records->desired = vm_desired_new(vm_spec_new("db"), 0);
    records->desired->power = POWER_RUNNING;
    records->desired->generation = 3;
    records->status = vm_status_new("");
    records->status->observed_generation = 3;
    *state = records;
    return 0;
}

static int teardown(void **state)
{
    struct records *records = *state;
    vm_desired_free(records->desired);
    vm_status_free(records->status);
    free(records);
    return 0;
}

static void set(struct records *records, enum condition_type type, enum reason reason)
{
    records->status->conditions[type].state = CONDITION_TRUE;
    records->status->conditions[type].reason = reason;
}

static void expect(struct records *records, enum dependency_state expected, const char *message)
{
    struct error err = {.code = ERR_NONE};
    assert_int_equal(dependency_state("db", records->desired, records->status, &err), expected);
    assert_int_equal(err.code, message ? ERR_VM_FAILED : ERR_NONE);
    if (message) {
        assert_string_equal(err.message, message);
    }
}

static void one_that_is_on_its_way_is_awaited(void **state)
{
    struct records *records = *state;
    expect(records, DEPENDENCY_COMING, NULL);
    set(records, CONDITION_READY, REASON_READY);
    expect(records, DEPENDENCY_READY, NULL);
    records->desired->generation = 4; /* what was ready may not be as it is wanted now */
    expect(records, DEPENDENCY_COMING, NULL);
    records->desired->generation = 3;
    records->desired->is_deleting = true;
    expect(records, DEPENDENCY_COMING, NULL);
}

static void one_that_is_not_to_run_is_not_awaited(void **state)
{
    struct records *records = *state;
    records->desired->power = POWER_STOPPED;
    expect(records, DEPENDENCY_STUCK, "it waits for 'db', which is stopped");
    records->desired->power = POWER_SUSPENDED;
    expect(records, DEPENDENCY_STUCK, "it waits for 'db', which is suspended");
    records->desired->generation = 4; /* the stop has not been observed */
    expect(records, DEPENDENCY_COMING, NULL);
}

static void one_that_is_missing_is_not_awaited(void **state)
{
    struct error err = {.code = ERR_NONE};
    (void)state;
    assert_int_equal(dependency_state("db", NULL, NULL, &err), DEPENDENCY_STUCK);
    assert_string_equal(err.message, "it waits for 'db', which does not exist");
}

static void one_that_is_stalled_is_late_or_stuck_with_its_reason(void **state)
{
    struct records *records = *state;
    set(records, CONDITION_STALLED, REASON_SSH_TIMEOUT);
    expect(records, DEPENDENCY_LATE, "it waits for 'db', which is stalled: SSHTimeout");
    set(records, CONDITION_STALLED, REASON_CRASH_LOOP_BACK_OFF);
    records->status->conditions[CONDITION_STALLED].message = mem_strdup("it exited");
    expect(records, DEPENDENCY_STUCK, "it waits for 'db', which is stalled: it exited");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_that_is_on_its_way_is_awaited),
        TEST(one_that_is_not_to_run_is_not_awaited),
        TEST(one_that_is_missing_is_not_awaited),
        TEST(one_that_is_stalled_is_late_or_stuck_with_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/controller_process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/wait/wakeup.h"

/* A user notices a tenth of a second; a look costs less than a millisecond. */
static void who_waits_looks_often_while_no_controller_is_known_to_work(void **state)
{
    const struct controller_process none = {.pid = 0};
    const struct controller_process stopped = {
        .state = CONTROLLER_SERVES, .pid = 1, .is_halted = true, .is_stopped = true};
    const struct controller_process traced = {
        .state = CONTROLLER_SERVES, .pid = 1, .is_halted = true};
    const struct controller_process working = {.state = CONTROLLER_SERVES, .pid = 1};
    const struct controller_process ending = {.state = CONTROLLER_CHANGING, .pid = 1};
    (void)state;
    assert_in_range(controller_requeue_after_ms(&none), 1, 50);
    assert_in_range(controller_requeue_after_ms(&ending), 1, 50);
    assert_in_range(controller_requeue_after_ms(&stopped), 1, 100);
    assert_int_equal(controller_requeue_after_ms(&traced), WAKEUP_MAX_MS);
    assert_int_equal(controller_requeue_after_ms(&working), WAKEUP_MAX_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_looks_often_while_no_controller_is_known_to_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

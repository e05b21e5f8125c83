/* SPDX-License-Identifier: MPL-2.0 */
/* What leaves the host: enough to judge a VM, and nothing of its processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_status.h"
#include "specs/vm/record_json.h"

static struct vm_status *a_status(void)
{
    struct vm_status *status = vm_status_new("u-1");
    strcpy(status->observer, "session-1");
    status->observed_generation = 4;
    vm_status_set(status, CONDITION_READY, CONDITION_TRUE, REASON_READY, "is up", 5);
    strcpy(status->instance.instance_id, "iid-1");
    status->instance.pid = 4711;
    status->instance.start_ticks = 12;
    strcpy(status->instance.boot_id, "boot-1");
    status->instance.stop_deadline_ms = 13;
    status->instance.intent = INTENT_STOP;
    status->prepared.image_path = mem_strdup("/data/image");
    status->vnc = mem_strdup("/data/vnc.sock");
    status->ssh_host = mem_strdup("127.0.0.1");
    status->ssh_port = 10022;
    status->provision.run.log_begin = 99;
    status->provision.next_step = 2;
    status->probing.live.due_ms = 77;
    return status;
}

static void what_a_goal_needs_is_there_after_a_round_trip(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    struct vm_status *status = a_status();
    cleanup_json json_t *json = vm_status_public(status);
    struct vm_status *seen = vm_status_from_json(json, &err);
    assert_non_null(seen);
    assert_string_equal(seen->uid, "u-1");
    assert_string_equal(seen->observer, "session-1");
    assert_int_equal(seen->observed_generation, 4);
    assert_true(vm_status_is_true(seen, CONDITION_READY));
    assert_string_equal(seen->conditions[CONDITION_READY].message, "is up");
    assert_string_equal(seen->instance.instance_id, "iid-1");
    assert_int_equal(seen->ssh_port, 10022);
    assert_int_equal(seen->provision.next_step, 2);
    vm_status_free(seen);
    vm_status_free(status);
}

static void nothing_of_the_process_leaves_the_host(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    struct vm_status *status = a_status();
    cleanup_json json_t *json = vm_status_public(status);
    struct vm_status *seen = vm_status_from_json(json, &err);
    assert_non_null(seen);
    assert_int_equal(seen->instance.pid, 0);
    assert_int_equal(seen->instance.start_ticks, 0);
    assert_string_equal(seen->instance.boot_id, "");
    assert_int_equal(seen->instance.stop_deadline_ms, 0);
    assert_int_equal(seen->instance.intent, INTENT_NONE);
    assert_null(seen->prepared.image_path);
    assert_null(seen->vnc);
    assert_int_equal(seen->provision.run.log_begin, 0);
    assert_int_equal(seen->probing.live.due_ms, 0);
    vm_status_free(seen);
    vm_status_free(status);
}

static void the_original_stays_as_it_is(void **state)
{
    (void)state;
    struct vm_status *status = a_status(), *before = vm_status_copy(status);
    cleanup_json json_t *json = vm_status_public(status);
    assert_true(vm_status_equal(status, before));
    vm_status_free(before);
    vm_status_free(status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_goal_needs_is_there_after_a_round_trip),
        cmocka_unit_test(nothing_of_the_process_leaves_the_host),
        cmocka_unit_test(the_original_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

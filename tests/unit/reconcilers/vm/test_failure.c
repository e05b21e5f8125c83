/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reconcilers/vm/failure.h"
#include "specs/base/cleanup.h"

static void an_error_code_says_which_condition_fails_and_why(void **state)
{
    (void)state;
    static const struct {
        enum action action;
        enum error_code code;
        enum condition_type condition;
        enum reason reason;
    } expected[] = {
        {ACTION_FETCH_IMAGE, ERR_IMAGE_NOT_FOUND, CONDITION_IMAGE_READY, REASON_IMAGE_NOT_FOUND},
        {ACTION_FETCH_IMAGE, ERR_IMAGE_DOWNLOAD, CONDITION_IMAGE_READY, REASON_DOWNLOAD_BACK_OFF},
        {ACTION_FETCH_IMAGE, ERR_NO_SPACE, CONDITION_IMAGE_READY, REASON_NO_SPACE},
        {ACTION_PREPARE, ERR_OVERLAY, CONDITION_PREPARED, REASON_OVERLAY_FAILED},
        {ACTION_PREPARE, ERR_DISK_SHRINK, CONDITION_PREPARED, REASON_DISK_SHRINK_FORBIDDEN},
        {ACTION_PREPARE, ERR_NO_SPACE, CONDITION_PREPARED, REASON_NO_SPACE},
        {ACTION_PREPARE, ERR_IO, CONDITION_PREPARED, REASON_INTERNAL},
        {ACTION_BEGIN_START, ERR_PORT_TAKEN, CONDITION_RUNNING, REASON_PORT_CONFLICT},
        {ACTION_LAUNCH, ERR_QEMU_SPAWN, CONDITION_RUNNING, REASON_SPAWN_FAILED},
        {ACTION_LAUNCH, ERR_KVM_UNAVAILABLE, CONDITION_RUNNING, REASON_KVM_UNAVAILABLE},
        {ACTION_BOOT, ERR_PORT_TAKEN, CONDITION_RUNNING, REASON_PORT_CONFLICT},
        {ACTION_REACH, ERR_SSH, CONDITION_GUEST_REACHABLE, REASON_WAITING_FOR_SSH},
        {ACTION_REACH, ERR_SSH_AUTH, CONDITION_GUEST_REACHABLE, REASON_AUTH_FAILED},
        {ACTION_REACH, ERR_KEY_UNREADABLE, CONDITION_GUEST_REACHABLE, REASON_KEY_UNREADABLE},
        {ACTION_RUN_STEP, ERR_PROVISION, CONDITION_PROVISIONED, REASON_STEP_FAILED},
        {ACTION_RUN_STEP, ERR_SSH, CONDITION_PROVISIONED, REASON_INTERRUPTED},
        {ACTION_RUN_STEP, ERR_PROVISION_LOST, CONDITION_PROVISIONED, REASON_INTERRUPTED},
        {ACTION_RUN_STEP, ERR_SECRET, CONDITION_PROVISIONED, REASON_SECRET_MISSING},
        {ACTION_RUN_STEP, ERR_PROVISION_TIMEOUT, CONDITION_PROVISIONED, REASON_STEP_TIMEOUT},
        {ACTION_DISCARD_ALL, ERR_IO, CONDITION_PREPARED, REASON_INTERNAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        struct failure_class class = failure_classify(expected[i].action, expected[i].code);
        assert_int_equal(class.condition, expected[i].condition);
        assert_int_equal(class.reason, expected[i].reason);
    }
}

static void what_only_the_user_can_mend_stalls_at_once(void **state)
{
    (void)state;
    assert_int_equal(failure_classify(ACTION_FETCH_IMAGE, ERR_IMAGE_NOT_FOUND).stalled_after, 1);
    assert_int_equal(failure_classify(ACTION_PREPARE, ERR_NO_SPACE).stalled_after, 1);
    assert_int_equal(failure_classify(ACTION_LAUNCH, ERR_QEMU_SPAWN).stalled_after, 1);
}

static void what_may_pass_stalls_when_it_repeats_or_never(void **state)
{
    (void)state;
    assert_int_equal(failure_classify(ACTION_FETCH_IMAGE, ERR_IMAGE_DOWNLOAD).stalled_after, 3);
    assert_int_equal(failure_classify(ACTION_BOOT, ERR_QMP_COMMAND).stalled_after, 3);
    assert_int_equal(failure_classify(ACTION_REACH, ERR_SSH).stalled_after, 0);
    assert_int_equal(failure_classify(ACTION_REACH, ERR_SSH_AUTH).stalled_after, 0);
}

static void every_failure_of_every_action_has_a_backoff_and_a_reason(void **state)
{
    (void)state;
    for (int action = 0; action < ACTION_COUNT_; action++) {
        for (int code = 1; code < ERR_CODE_COUNT_; code++) {
            struct failure_class class =
                failure_classify((enum action)action, (enum error_code)code);
            assert_non_null(class.backoff);
            assert_int_not_equal(class.reason, REASON_NONE);
            assert_true(backoff_delay_ms(class.backoff, 1, 0) > 0);
            assert_true(backoff_delay_ms(class.backoff, 1000, UINT32_MAX) <= 375000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_code_says_which_condition_fails_and_why),
        cmocka_unit_test(what_only_the_user_can_mend_stalls_at_once),
        cmocka_unit_test(what_may_pass_stalls_when_it_repeats_or_never),
        cmocka_unit_test(every_failure_of_every_action_has_a_backoff_and_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

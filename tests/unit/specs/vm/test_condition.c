/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/condition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void every_type_reads_back_from_its_name(void **state)
{
    (void)state;
    for (int i = 0; i < CONDITION_TYPE_COUNT_; i++) {
        assert_int_equal(enum_names_find_in_any_case(
                             &condition_type_words, condition_type_name((enum condition_type)i)),
            i);
    }
}

static void every_state_reads_back_from_its_name(void **state)
{
    (void)state;
    for (int i = 0; i < CONDITION_STATE_COUNT_; i++) {
        assert_int_equal(enum_names_find_in_any_case(
                             &condition_state_words, condition_state_name((enum condition_state)i)),
            i);
    }
}

static void every_reason_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < REASON_COUNT_; i++) {
        assert_int_equal(enum_names_find(&reason_words, reason_name((enum reason)i)), i);
    }
}

static void every_reason_is_one_camel_case_word(void **state)
{
    (void)state;
    for (int i = REASON_NONE + 1; i < REASON_COUNT_; i++) {
        const char *name = reason_name((enum reason)i);
        assert_true(name[0] >= 'A' && name[0] <= 'Z');
        for (const char *c = name; *c; c++) {
            assert_true((*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z'));
        }
    }
}

static void types_and_states_ignore_case_but_reasons_do_not(void **state)
{
    (void)state;
    assert_int_equal(enum_names_find_in_any_case(&condition_type_words, "guestreachable"),
        CONDITION_GUEST_REACHABLE);
    assert_int_equal(enum_names_find_in_any_case(&condition_type_words, "READY"), CONDITION_READY);
    assert_int_equal(enum_names_find_in_any_case(&condition_state_words, "true"), CONDITION_TRUE);
    assert_int_equal(enum_names_find(&reason_words, "crashloopbackoff"), -1);
}

static void unknown_names_are_refused(void **state)
{
    (void)state;
    assert_int_equal(enum_names_find_in_any_case(&condition_type_words, "Readyy"), -1);
    assert_int_equal(enum_names_find_in_any_case(&condition_state_words, ""), -1);
    assert_int_equal(enum_names_find(&reason_words, "Bored"), -1);
}

static void the_names_users_see_are_exactly_these(void **state)
{
    (void)state;
    assert_string_equal(condition_type_name(CONDITION_IMAGE_READY), "ImageReady");
    assert_string_equal(condition_state_name(CONDITION_UNKNOWN), "Unknown");
    assert_string_equal(reason_name(REASON_NONE), "");
    assert_string_equal(reason_name(REASON_IO_ERROR), "IOError");
    assert_string_equal(reason_name(REASON_SSH_READY), "SSHReady");
    assert_string_equal(reason_name(REASON_WAITING_FOR_IP), "WaitingForIP");
    assert_string_equal(reason_name(REASON_CRASH_LOOP_BACK_OFF), "CrashLoopBackOff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_reads_back_from_its_name),
        cmocka_unit_test(every_state_reads_back_from_its_name),
        cmocka_unit_test(every_reason_has_a_name_of_its_own),
        cmocka_unit_test(every_reason_is_one_camel_case_word),
        cmocka_unit_test(types_and_states_ignore_case_but_reasons_do_not),
        cmocka_unit_test(unknown_names_are_refused),
        cmocka_unit_test(the_names_users_see_are_exactly_these),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

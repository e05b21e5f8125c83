/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/queue/backoff.h"

#include "tests/unit/controller/test_support.h"

static int64_t least(const struct backoff *backoff, uint32_t failures)
{
    return backoff_delay_ms(backoff, failures, 0);
}

static int64_t most(const struct backoff *backoff, uint32_t failures)
{
    return backoff_delay_ms(backoff, failures, UINT32_MAX);
}

static void a_reconcile_error_doubles_from_50_ms_to_a_minute(void **state)
{
    (void)state;
    static const int64_t expected[] = {
        50, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000};
    for (uint32_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_int_equal(least(&backoff_reconcile, i + 1), expected[i]);
        assert_int_equal(most(&backoff_reconcile, i + 1), expected[i] + expected[i] / 4);
    }
}

static void a_crash_is_answered_at_once_and_then_from_1_s_to_a_minute(void **state)
{
    (void)state;
    static const int64_t expected[] = {0, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    for (uint32_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_int_equal(least(&backoff_crash, i + 1), expected[i]);
        assert_int_equal(most(&backoff_crash, i + 1), expected[i] + expected[i] / 4);
    }
}

static void a_download_doubles_from_2_s_to_5_minutes(void **state)
{
    (void)state;
    assert_int_equal(least(&backoff_download, 1), 2000);
    assert_int_equal(least(&backoff_download, 2), 4000);
    assert_int_equal(least(&backoff_download, 8), 256000);
    assert_int_equal(least(&backoff_download, 9), 300000);
}

static void any_number_of_failures_stays_at_the_maximum(void **state)
{
    (void)state;
    assert_int_equal(least(&backoff_crash, UINT32_MAX), 60000);
    assert_int_equal(most(&backoff_crash, UINT32_MAX), 75000);
}

static void the_rng_spread_evenly_between_none_and_all_of_the_jitter(void **state)
{
    (void)state;
    assert_int_equal(backoff_delay_ms(&backoff_reconcile, 12, UINT32_C(1) << 31), 67500);
    struct backoff plain = {.first_ms = 10, .base_ms = 10, .max_ms = 100, .jitter_percent = 0};
    assert_int_equal(most(&plain, 3), 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reconcile_error_doubles_from_50_ms_to_a_minute),
        cmocka_unit_test(a_crash_is_answered_at_once_and_then_from_1_s_to_a_minute),
        cmocka_unit_test(a_download_doubles_from_2_s_to_5_minutes),
        cmocka_unit_test(any_number_of_failures_stays_at_the_maximum),
        cmocka_unit_test(the_rng_spread_evenly_between_none_and_all_of_the_jitter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/source/source_timing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { NOW = 1000000 };

/* One look that was due, at `now_ms`. */
static void look(struct source_timing *timing, enum source_finding finding, int64_t now_ms)
{
    source_timing_begin(timing);
    source_timing_found(timing, finding, false, now_ms);
}

static struct source_timing settled(void)
{
    struct source_timing timing;
    source_timing_init(&timing, NOW);
    assert_int_equal(timing.due_ms, NOW);
    look(&timing, SOURCE_FOUND_SETTLED, NOW);
    return timing;
}

static void what_is_settled_is_looked_at_now_and_then(void **state)
{
    (void)state;
    struct source_timing timing = settled();
    assert_int_equal(timing.due_ms, NOW + 30000);
    source_timing_begin(&timing);
    source_timing_found(&timing, SOURCE_FOUND_SAME, true, NOW);
    assert_int_equal(timing.due_ms, NOW + 2000);
}

static void a_save_is_over_after_a_moment_of_quiet(void **state)
{
    (void)state;
    struct source_timing timing = settled();
    source_timing_event(&timing, false, NOW);
    assert_int_equal(timing.due_ms, NOW + 100);
    source_timing_event(&timing, false, NOW + 60);
    assert_int_equal(timing.due_ms, NOW + 160);
}

static void a_save_that_does_not_end_is_looked_at_after_a_second(void **state)
{
    (void)state;
    struct source_timing timing = settled();
    for (int64_t t = 0; t <= 990; t += 90) {
        source_timing_event(&timing, false, NOW + t);
    }
    assert_int_equal(timing.due_ms, NOW + 1000);
    look(&timing, SOURCE_FOUND_SETTLED, NOW + 1000);
    source_timing_event(&timing, false, NOW + 1050);
    assert_int_equal(timing.due_ms, NOW + 1150);
}

static void what_was_closed_or_renamed_is_looked_at_at_once(void **state)
{
    (void)state;
    struct source_timing timing = settled();
    source_timing_event(&timing, false, NOW + 500);
    assert_int_equal(timing.due_ms, NOW + 600);
    source_timing_event(&timing, true, NOW + 501);
    assert_int_equal(timing.due_ms, NOW + 501);
    source_timing_event(&timing, true, NOW + 502); /* the look reads both */
    assert_int_equal(timing.due_ms, NOW + 502);
    look(&timing, SOURCE_FOUND_SETTLED, NOW + 501);
    assert_true(timing.is_early);
    assert_int_equal(timing.due_ms, NOW + 30501);
    source_timing_event(&timing, true, NOW + 700);
    source_timing_event(&timing, false, NOW + 700); /* another begins before the look */
    assert_int_equal(timing.due_ms, NOW + 800);
    look(&timing, SOURCE_FOUND_SAME, NOW + 30501);
    assert_false(timing.is_early);
}

static void saves_that_follow_another_are_waited_for(void **state)
{
    (void)state;
    struct source_timing timing = settled();
    source_timing_event(&timing, true, NOW + 500);
    look(&timing, SOURCE_FOUND_SETTLED, NOW + 500);
    source_timing_event(&timing, true, NOW + 501);
    assert_int_equal(timing.due_ms, NOW + 601);
    source_timing_event(&timing, true, NOW + 599);
    assert_int_equal(timing.due_ms, NOW + 699);
    look(&timing, SOURCE_FOUND_SETTLED, NOW + 699);
    assert_false(timing.is_early);
    source_timing_event(&timing, true, NOW + 799);
    assert_int_equal(timing.due_ms, NOW + 799);
}

static void what_an_early_look_found_broken_has_the_time_that_it_had_without(void **state)
{
    (void)state;
    struct source_timing timing = settled();
    source_timing_event(&timing, true, NOW + 500);
    look(&timing, SOURCE_FOUND_BROKEN, NOW + 500);
    assert_int_equal(timing.due_ms, NOW + 600);
    for (int i = 0; i < 4; i++) {
        assert_false(source_timing_reports_broken(&timing));
        look(&timing, SOURCE_FOUND_BROKEN, NOW + 600 + 250 * i);
        assert_int_equal(timing.due_ms, NOW + 850 + 250 * i);
    }
    assert_true(source_timing_reports_broken(&timing));
}

static void an_event_during_a_look_keeps_its_time(void **state)
{
    (void)state;
    struct source_timing timing = settled();
    source_timing_begin(&timing);
    source_timing_event(&timing, false, NOW + 5);
    source_timing_found(&timing, SOURCE_FOUND_SETTLED, false, NOW + 10);
    assert_int_equal(timing.due_ms, NOW + 105);
}

static void a_broken_file_has_a_second_before_it_is_called_so(void **state)
{
    (void)state;
    struct source_timing timing = settled();
    for (int i = 1; i <= 4; i++) {
        assert_false(source_timing_reports_broken(&timing));
        look(&timing, SOURCE_FOUND_BROKEN, NOW + 250 * i);
        assert_int_equal(timing.due_ms, NOW + 250 * i + 250);
    }
    assert_true(source_timing_reports_broken(&timing));
    look(&timing, SOURCE_FOUND_SETTLED, NOW + 1250); /* it was written down */
    assert_false(source_timing_reports_broken(&timing));
    assert_int_equal(timing.due_ms, NOW + 31250);
}

static void a_save_gives_a_broken_file_its_time_again(void **state)
{
    (void)state;
    struct source_timing timing = settled();
    for (int i = 0; i < 4; i++) {
        look(&timing, SOURCE_FOUND_BROKEN, NOW);
    }
    source_timing_event(&timing, false, NOW);
    assert_false(source_timing_reports_broken(&timing));
}

static void a_missing_file_has_two_seconds_whatever_happens_meanwhile(void **state)
{
    (void)state;
    struct source_timing timing = settled();
    look(&timing, SOURCE_FOUND_GONE, NOW);
    assert_int_equal(timing.due_ms, NOW + 2000);
    source_timing_event(&timing, false, NOW + 500);
    look(&timing, SOURCE_FOUND_GONE, NOW + 600);
    assert_int_equal(timing.due_ms, NOW + 2000);
    assert_false(source_timing_reports_gone(&timing, NOW + 1999));
    assert_true(source_timing_reports_gone(&timing, NOW + 2000));
    look(&timing, SOURCE_FOUND_SETTLED, NOW + 1000);
    assert_false(source_timing_reports_gone(&timing, NOW + 5000));
}

static void pruning_waits_for_two_seconds_without_a_save(void **state)
{
    (void)state;
    struct source_timing timing = settled();
    look(&timing, SOURCE_FOUND_TO_PRUNE, NOW);
    assert_int_equal(timing.due_ms, NOW + 2000);
    assert_false(source_timing_may_prune(&timing, NOW + 1999));
    assert_true(source_timing_may_prune(&timing, NOW + 2000));
    source_timing_event(&timing, false, NOW + 1500);
    assert_false(source_timing_may_prune(&timing, NOW + 2000));
    look(&timing, SOURCE_FOUND_TO_PRUNE, NOW + 1600);
    assert_int_equal(timing.due_ms, NOW + 3600);
}

static void a_store_that_fails_is_asked_ever_less_often(void **state)
{
    (void)state;
    static const int64_t delays_ms[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    struct source_timing timing = settled();
    for (size_t i = 0; i < sizeof(delays_ms) / sizeof(delays_ms[0]); i++) {
        source_timing_begin(&timing);
        source_timing_failed(&timing, NOW);
        assert_int_equal(timing.due_ms, NOW + delays_ms[i]);
    }
    look(&timing, SOURCE_FOUND_SETTLED, NOW);
    source_timing_begin(&timing);
    source_timing_failed(&timing, NOW);
    assert_int_equal(timing.due_ms, NOW + 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_settled_is_looked_at_now_and_then),
        cmocka_unit_test(a_save_is_over_after_a_moment_of_quiet),
        cmocka_unit_test(a_save_that_does_not_end_is_looked_at_after_a_second),
        cmocka_unit_test(what_was_closed_or_renamed_is_looked_at_at_once),
        cmocka_unit_test(saves_that_follow_another_are_waited_for),
        cmocka_unit_test(what_an_early_look_found_broken_has_the_time_that_it_had_without),
        cmocka_unit_test(an_event_during_a_look_keeps_its_time),
        cmocka_unit_test(a_broken_file_has_a_second_before_it_is_called_so),
        cmocka_unit_test(a_save_gives_a_broken_file_its_time_again),
        cmocka_unit_test(a_missing_file_has_two_seconds_whatever_happens_meanwhile),
        cmocka_unit_test(pruning_waits_for_two_seconds_without_a_save),
        cmocka_unit_test(a_store_that_fails_is_asked_ever_less_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

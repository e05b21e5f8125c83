/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/signals.h"

#include <signal.h>

#include "tests/unit/controller/test_support.h"

struct fixture {
    int numbers[4];
    int n;
    bool is_done;
};

static void on_signal(void *context, int number)
{
    struct fixture *f = context;
    f->numbers[f->n++] = number;
    f->is_done = f->n == 2;
}

static void watched_signals_become_events(void **state)
{
    (void)state;
    static const int watched[] = {SIGUSR1, SIGUSR2};
    struct fixture f = {0};
    struct error err = {0};
    struct signals *signals = NULL;
    struct loop *loop = new_loop();
    const struct signals_request request = {
        .numbers = watched, .count = 2, .fn = on_signal, .context = &f};
    assert_int_equal(signals_watch(loop, &request, &signals, &err), 0);
    raise(SIGUSR1); /* would end the process if it were not blocked */
    raise(SIGUSR2);
    assert_int_equal(f.n, 0);
    assert_true(run_until(loop, is_set, &f.is_done));
    assert_int_equal(f.numbers[0] + f.numbers[1], SIGUSR1 + SIGUSR2);
    signals_free(signals);
    loop_free(loop);
}

static void set_flag(void *context)
{
    *(bool *)context = true;
}

static bool is_waiting(int number)
{
    sigset_t pending;
    assert_int_equal(sigpending(&pending), 0);
    return sigismember(&pending, number) == 1;
}

/* So that everybody sees, from the first moment on, that the process ends. */
static void a_signal_that_ends_is_reported_once_and_stays_pending(void **state)
{
    (void)state;
    static const int watched[] = {SIGTERM, SIGINT};
    struct fixture f = {.n = 1}; /* done at the first */
    struct error err = {0};
    struct signals *signals = NULL;
    struct loop *loop = new_loop();
    const struct signals_request request = {
        .numbers = watched, .count = 2, .stay_pending = true, .fn = on_signal, .context = &f};
    assert_int_equal(signals_watch(loop, &request, &signals, &err), 0);
    raise(SIGTERM);
    assert_true(run_until(loop, is_set, &f.is_done));
    assert_int_equal(f.numbers[1], SIGTERM);
    assert_true(is_waiting(SIGTERM));
    raise(SIGINT);
    f.is_done = false;
    struct loop_timer *timer = loop_timer_new(loop, set_flag, &f.is_done);
    loop_timer_start(timer, 0);
    assert_true(run_until(loop, is_set, &f.is_done));
    assert_int_equal(f.n, 2); /* not a second time */
    loop_timer_free(timer);
    signals_free(signals);
    loop_free(loop);
    (void)signal(SIGTERM, SIG_IGN); /* takes the pending one away */
    (void)signal(SIGINT, SIG_IGN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_that_ends_is_reported_once_and_stays_pending),
        cmocka_unit_test(watched_signals_become_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

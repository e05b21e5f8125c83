/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/support/loop_fake.h"

#include <sys/socket.h>

#include "specs/base/cleanup.h"
#include "tests/unit/controller/test_support.h"

struct fixture {
    struct loop *loop;
    struct loop_timer *a, *b;
    struct loop_io *io;
    char order[32];
    size_t n_order;
    int64_t period_ms; /* of `a`, 0: once */
};

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    f->loop = new_loop();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    loop_timer_free(f->a);
    loop_timer_free(f->b);
    loop_io_free(f->io);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void on_a(void *context)
{
    struct fixture *f = context;
    f->order[f->n_order++] = 'a';
    if (f->period_ms) {
        loop_timer_start(f->a, f->period_ms);
    }
}

static void on_b(void *context)
{
    struct fixture *f = context;
    f->order[f->n_order++] = 'b';
}

static void on_io(void *context, int fd, unsigned ready)
{
    struct fixture *f = context;
    char byte;
    (void)ready;
    f->order[f->n_order++] = 'i';
    assert_int_equal(read(fd, &byte, 1), 1);
}

static void time_stands_still_until_a_timer_is_due(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(loop_fake_now(f->loop), LOOP_FAKE_START_MS);
    f->a = loop_timer_new(f->loop, on_a, f);
    loop_timer_start(f->a, 3600 * 1000);
    assert_int_equal(loop_fake_next_timer(f->loop), LOOP_FAKE_START_MS + 3600 * 1000);
    loop_fake_advance(f->loop, 3600 * 1000 - 1);
    assert_string_equal(f->order, "");
    loop_fake_advance(f->loop, 1);
    assert_string_equal(f->order, "a");
    assert_int_equal(loop_fake_now(f->loop), LOOP_FAKE_START_MS + 3600 * 1000);
    assert_int_equal(loop_fake_next_timer(f->loop), -1);
}

static void equal_times_go_by_age_of_the_timers(void **state)
{
    struct fixture *f = *state;
    f->a = loop_timer_new(f->loop, on_a, f);
    f->b = loop_timer_new(f->loop, on_b, f);
    loop_timer_start(f->b, 10);
    loop_timer_start(f->a, 10);
    loop_fake_advance(f->loop, 10);
    assert_string_equal(f->order, "ab");
}

static void a_ready_descriptor_goes_before_a_later_timer(void **state)
{
    struct fixture *f = *state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    f->a = loop_timer_new(f->loop, on_a, f);
    loop_timer_start(f->a, 1);
    f->io = loop_io_new(f->loop, fds[0], LOOP_READ, on_io, f);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_fake_advance(f->loop, 1);
    assert_string_equal(f->order, "ia");
    loop_io_free(TAKE_PTR(f->io));
    close(fds[0]);
    close(fds[1]);
}

static bool has_three(void *context)
{
    return ((struct fixture *)context)->n_order == 3;
}

static void running_until_a_predicate_holds_stops_at_once(void **state)
{
    struct fixture *f = *state;
    f->period_ms = 100;
    f->a = loop_timer_new(f->loop, on_a, f);
    loop_timer_start(f->a, 100);
    assert_true(loop_fake_run_until(f->loop, has_three, f, LOOP_FAKE_START_MS + 1000));
    assert_int_equal(loop_fake_now(f->loop), LOOP_FAKE_START_MS + 300);
}

static void running_until_the_deadline_leaves_the_clock_there(void **state)
{
    struct fixture *f = *state;
    f->period_ms = 100;
    f->a = loop_timer_new(f->loop, on_a, f);
    loop_timer_start(f->a, 100);
    assert_false(loop_fake_run_until(f->loop, has_three, f, LOOP_FAKE_START_MS + 250));
    assert_string_equal(f->order, "aa");
    assert_int_equal(loop_fake_now(f->loop), LOOP_FAKE_START_MS + 250);
}

static void the_clock_reports_virtual_time_and_the_boot_id_set(void **state)
{
    struct fixture *f = *state;
    const struct clock *clock = loop_clock(f->loop);
    int64_t wall_ms = clock_wall_ms(clock);
    loop_fake_advance(f->loop, 500);
    assert_int_equal(clock_monotonic_ms(clock), LOOP_FAKE_START_MS + 500);
    assert_int_equal(clock_wall_ms(clock), wall_ms + 500);
    loop_fake_shift_wall(f->loop, -1000);
    assert_int_equal(clock_wall_ms(clock), wall_ms - 500);
    assert_string_equal(clock_boot_id(clock), LOOP_FAKE_BOOT_ID);
    loop_fake_set_boot_id(f->loop, "another");
    assert_string_equal(clock_boot_id(clock), "another");
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(time_stands_still_until_a_timer_is_due),
        WITH_LOOP(equal_times_go_by_age_of_the_timers),
        WITH_LOOP(a_ready_descriptor_goes_before_a_later_timer),
        WITH_LOOP(running_until_a_predicate_holds_stops_at_once),
        WITH_LOOP(running_until_the_deadline_leaves_the_clock_there),
        WITH_LOOP(the_clock_reports_virtual_time_and_the_boot_id_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/loop/loop.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "specs/base/cleanup.h"
#include "tests/unit/controller/test_support.h"

struct fixture {
    struct loop *loop;
    int fds[2]; /* a socket pair */
    struct loop_io *io, *other_io;
    struct loop_timer *timer, *other_timer;
    int calls;
    unsigned ready;
    char order[16];
    size_t n_order;
};

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    f->loop = new_loop();
    *state = f;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, f->fds);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    loop_io_free(f->io);
    loop_io_free(f->other_io);
    loop_timer_free(f->timer);
    loop_timer_free(f->other_timer);
    close(f->fds[0]);
    close(f->fds[1]);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void note_and_stop(void *context, int fd, unsigned ready)
{
    struct fixture *f = context;
    assert_int_equal(fd, f->fds[0]);
    f->calls++;
    f->ready = ready;
    loop_stop(f->loop);
}

static void stop(void *context)
{
    struct fixture *f = context;
    f->calls++;
    loop_stop(f->loop);
}

static void a_readable_descriptor_is_told(void **state)
{
    struct fixture *f = *state;
    f->io = loop_io_new(f->loop, f->fds[0], LOOP_READ, note_and_stop, f);
    assert_int_equal(write(f->fds[1], "x", 1), 1);
    loop_run(f->loop);
    assert_int_equal(f->calls, 1);
    assert_int_equal(f->ready, LOOP_READ);
}

static void interest_can_be_nothing_and_change(void **state)
{
    struct fixture *f = *state;
    f->io = loop_io_new(f->loop, f->fds[0], 0, note_and_stop, f);
    f->timer = loop_timer_new(f->loop, stop, f);
    assert_int_equal(write(f->fds[1], "x", 1), 1);
    loop_timer_start(f->timer, 5);
    loop_run(f->loop);
    assert_int_equal(f->ready, 0);
    loop_io_set(f->io, LOOP_WRITE);
    loop_run(f->loop);
    assert_int_equal(f->ready, LOOP_WRITE);
    loop_io_set(f->io, LOOP_READ | LOOP_WRITE);
    loop_run(f->loop);
    assert_int_equal(f->ready, LOOP_READ | LOOP_WRITE);
}

static void free_itself(void *context, int fd, unsigned ready)
{
    struct fixture *f = context;
    (void)fd;
    (void)ready;
    f->calls++;
    loop_io_free(TAKE_PTR(f->io));
    loop_timer_free(TAKE_PTR(f->timer));
    loop_timer_start(f->other_timer, 5);
}

static void a_watcher_may_be_freed_in_its_own_callback(void **state)
{
    struct fixture *f = *state;
    f->io = loop_io_new(f->loop, f->fds[0], LOOP_WRITE, free_itself, f);
    f->timer = loop_timer_new(f->loop, stop, f);
    loop_timer_start(f->timer, 100000);
    f->other_timer = loop_timer_new(f->loop, stop, f);
    loop_run(f->loop);
    assert_int_equal(f->calls, 2); /* the descriptor once, then the other timer */
    assert_null(f->io);
}

/* Whichever of the two comes first frees the other, which is ready in the same turn. */
static void free_the_other(void *context, int fd, unsigned ready)
{
    struct fixture *f = context;
    (void)ready;
    f->calls++;
    if (fd == f->fds[0]) {
        loop_io_free(TAKE_PTR(f->other_io));
    } else {
        loop_io_free(TAKE_PTR(f->io));
    }
    loop_timer_start(f->timer, 5);
    loop_io_set(f->io ? f->io : f->other_io, 0);
}

static void a_watcher_freed_by_an_earlier_callback_of_the_turn_is_not_called(void **state)
{
    struct fixture *f = *state;
    f->io = loop_io_new(f->loop, f->fds[0], LOOP_WRITE, free_the_other, f);
    f->other_io = loop_io_new(f->loop, f->fds[1], LOOP_WRITE, free_the_other, f);
    f->timer = loop_timer_new(f->loop, stop, f);
    loop_run(f->loop);
    assert_int_equal(f->calls, 2); /* one of them, then the timer */
}

static void note_a(void *context)
{
    struct fixture *f = context;
    f->order[f->n_order++] = 'a';
}

static void note_b(void *context)
{
    struct fixture *f = context;
    f->order[f->n_order++] = 'b';
    loop_stop(f->loop);
}

static void timers_fire_in_order_of_time(void **state)
{
    struct fixture *f = *state;
    f->timer = loop_timer_new(f->loop, note_b, f);
    f->other_timer = loop_timer_new(f->loop, note_a, f);
    loop_timer_start(f->timer, 20);
    loop_timer_start(f->other_timer, 1);
    loop_run(f->loop);
    assert_string_equal(f->order, "ab");
}

static void starting_a_timer_again_moves_it_and_stopping_it_ends_it(void **state)
{
    struct fixture *f = *state;
    f->timer = loop_timer_new(f->loop, note_b, f);
    f->other_timer = loop_timer_new(f->loop, note_a, f);
    loop_timer_start(f->timer, 100000);
    loop_timer_start(f->timer, 1);
    loop_timer_start(f->other_timer, 0);
    loop_timer_stop(f->other_timer);
    loop_run(f->loop);
    assert_string_equal(f->order, "b");
}

static void a_timer_is_never_early(void **state)
{
    struct fixture *f = *state;
    f->timer = loop_timer_new(f->loop, stop, f);
    int64_t before_ms = clock_monotonic_ms(clock_system());
    loop_timer_start(f->timer, 30);
    loop_run(f->loop);
    assert_true(clock_monotonic_ms(clock_system()) - before_ms >= 29); /* both are rounded down */
}

static void stay_a_while(void *context)
{
    struct fixture *f = context;
    int64_t turn_ms = loop_now_ms(f->loop);
    while (clock_monotonic_ms(clock_system()) <= turn_ms + 2) { /* the machine's clock continues */
    }
    assert_int_equal(loop_now_ms(f->loop), turn_ms);
    assert_true(loop_turn_is_long(f->loop));
    loop_stop(f->loop);
}

static void the_clock_stands_during_a_turn_and_goes_outside(void **state)
{
    struct fixture *f = *state;
    f->timer = loop_timer_new(f->loop, stay_a_while, f);
    loop_timer_start(f->timer, 0);
    loop_run(f->loop);
    int64_t now_ms = clock_monotonic_ms(clock_system());
    assert_in_range(loop_now_ms(f->loop), now_ms, now_ms + TEST_DEADLINE_MS);
    assert_false(loop_turn_is_long(f->loop));
    assert_int_equal(strlen(clock_boot_id(loop_clock(f->loop))), CLOCK_BOOT_ID_SIZE - 1);
}

static void start_late(void *context)
{
    struct fixture *f = context;
    int64_t begun_ms = clock_monotonic_ms(clock_system());
    while (clock_monotonic_ms(clock_system()) < begun_ms + 40) {
    }
    loop_timer_start(f->other_timer, 30);
}

static void a_timer_started_late_in_a_long_callback_counts_from_then(void **state)
{
    struct fixture *f = *state;
    f->timer = loop_timer_new(f->loop, start_late, f);
    f->other_timer = loop_timer_new(f->loop, stop, f);
    loop_timer_start(f->timer, 0);
    int64_t before_ms = clock_monotonic_ms(clock_system());
    loop_run(f->loop);
    assert_true(clock_monotonic_ms(clock_system()) - before_ms >= 69);
}

static void a_stop_before_the_run_ends_that_run_only(void **state)
{
    struct fixture *f = *state;
    f->timer = loop_timer_new(f->loop, stop, f);
    loop_timer_start(f->timer, 0);
    loop_stop(f->loop);
    loop_run(f->loop);
    assert_int_equal(f->calls, 0);
    loop_run(f->loop);
    assert_int_equal(f->calls, 1);
}

static void take_byte(int fd)
{
    char byte;
    assert_int_equal(read(fd, &byte, 1), 1);
    assert_int_equal(write(fd, "!", 1), 1);
}

static void a_lingering_descriptor_is_served_once_and_closed(void **state)
{
    struct fixture *f = *state;
    int fd = fcntl(f->fds[0], F_DUPFD_CLOEXEC, 0);
    loop_linger(f->loop, fd, take_byte);
    assert_int_equal(write(f->fds[1], "x", 1), 1);
    f->io = loop_io_new(f->loop, f->fds[1], LOOP_READ, free_itself, f);
    f->other_timer = loop_timer_new(f->loop, stop, f);
    loop_run(f->loop);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void what_still_lingers_at_the_end_is_closed_unserved(void **state)
{
    struct fixture *f = *state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    loop_linger(f->loop, fds[0], take_byte);
    loop_free(f->loop);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1);
    close(fds[1]);
    f->loop = NULL;
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(a_readable_descriptor_is_told),
        WITH_LOOP(interest_can_be_nothing_and_change),
        WITH_LOOP(a_watcher_may_be_freed_in_its_own_callback),
        WITH_LOOP(a_watcher_freed_by_an_earlier_callback_of_the_turn_is_not_called),
        WITH_LOOP(timers_fire_in_order_of_time),
        WITH_LOOP(starting_a_timer_again_moves_it_and_stopping_it_ends_it),
        WITH_LOOP(a_timer_is_never_early),
        WITH_LOOP(the_clock_stands_during_a_turn_and_goes_outside),
        WITH_LOOP(a_timer_started_late_in_a_long_callback_counts_from_then),
        WITH_LOOP(a_stop_before_the_run_ends_that_run_only),
        WITH_LOOP(a_lingering_descriptor_is_served_once_and_closed),
        WITH_LOOP(what_still_lingers_at_the_end_is_closed_unserved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* The queue's own timer: when it calls for keys to be taken. */
#include "controller/queue/workqueue.h"

#include "specs/base/error.h"
#include "tests/support/loop_fake.h"
#include "tests/unit/controller/test_support.h"

struct server {
    struct loop *loop;
    struct workqueue *queue;
    int n_calls, n_taken;
};

/* One key a call, to be called again for the rest. */
static void take_one(void *context)
{
    struct server *server = context;
    const char *key = workqueue_take(server->queue, loop_now_ms(server->loop)).name;
    server->n_calls++;
    if (key) {
        server->n_taken++;
        workqueue_done(server->queue, key_of(KEY_VM, key));
    }
}

static int set_up(void **state)
{
    static struct server server;
    struct error err = {.code = ERR_NONE};
    server = (struct server){.queue = workqueue_new()};
    *state = &server;
    return loop_new(&server.loop, &err);
}

static int tear_down(void **state)
{
    struct server *server = *state;
    workqueue_free(server->queue);
    loop_free(server->loop);
    return 0;
}

static void keys_added_before_are_served_and_all_of_them(void **state)
{
    struct server *server = *state;
    workqueue_add(server->queue, key_of(KEY_VM, "a"), WORK_EVENT);
    workqueue_add(server->queue, key_of(KEY_VM, "b"), WORK_EVENT);
    workqueue_serve(server->queue, server->loop, take_one, server);
    assert_int_equal(server->n_calls, 0); /* never from inside */
    loop_fake_advance(server->loop, 0);
    assert_int_equal(server->n_taken, 2);
    assert_int_equal(loop_fake_next_timer(server->loop), -1);
}

static void a_key_with_a_time_is_served_at_that_time(void **state)
{
    struct server *server = *state;
    workqueue_serve(server->queue, server->loop, take_one, server);
    workqueue_add_at(server->queue, key_of(KEY_VM, "a"), loop_fake_now(server->loop) + 50);
    loop_fake_advance(server->loop, 49);
    assert_int_equal(server->n_calls, 0);
    loop_fake_advance(server->loop, 1);
    assert_int_equal(server->n_taken, 1);
}

static void a_hold_puts_off_the_timer_until_it_ends(void **state)
{
    struct server *server = *state;
    workqueue_serve(server->queue, server->loop, take_one, server);
    workqueue_hold(server->queue, true);
    workqueue_add(server->queue, key_of(KEY_VM, "a"), WORK_EVENT);
    loop_fake_advance(server->loop, 10);
    assert_int_equal(server->n_calls, 0);
    workqueue_hold(server->queue, false);
    loop_fake_advance(server->loop, 0);
    assert_int_equal(server->n_taken, 1);
}

static void nothing_is_served_any_more_after_the_stop(void **state)
{
    struct server *server = *state;
    workqueue_serve(server->queue, server->loop, take_one, server);
    workqueue_add(server->queue, key_of(KEY_VM, "a"), WORK_EVENT);
    workqueue_stop_serving(server->queue);
    workqueue_add(server->queue, key_of(KEY_VM, "b"), WORK_EVENT);
    loop_fake_advance(server->loop, 1000);
    assert_int_equal(server->n_calls, 0);
    assert_int_equal(workqueue_length(server->queue), 2);
}

#define SERVE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVE_TEST(keys_added_before_are_served_and_all_of_them),
        SERVE_TEST(a_key_with_a_time_is_served_at_that_time),
        SERVE_TEST(a_hold_puts_off_the_timer_until_it_ends),
        SERVE_TEST(nothing_is_served_any_more_after_the_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

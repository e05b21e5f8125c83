/* SPDX-License-Identifier: MPL-2.0 */
/* The keeper of the QMP connection against a scripted QEMU in the same process, on the virtual
 * clock: what a real QEMU does only once in a blue moon. */
#include "reconcilers/backend/qemu/monitor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/support/loop_fake.h"

#define IID "0123456789abcdef0123456789abcdef"
#define UUID "01234567-89ab-cdef-0123-456789abcdef"

struct fixture {
    char dir[64];
    char *path;
    struct loop *loop;
    struct monitor *monitor;
    int listener;    /* QEMU's socket */
    int peer;        /* QEMU's end of the connection */
    char text[1024]; /* what QEMU has received … */
    size_t n_read;   /* … and how much of it was expected so far */
    int n_changed;
    int n_replies;
    struct error reply_error;
};

static void on_changed(void *context)
{
    ((struct fixture *)context)->n_changed++;
}

static void on_reply(void *context, const json_t *value, const struct error *err)
{
    struct fixture *f = context;
    (void)value;
    f->n_replies++;
    f->reply_error = err ? *err : (struct error){0};
}

static void settle(struct fixture *f)
{
    loop_fake_advance(f->loop, 0);
}

static void listen_at_path(struct fixture *f)
{
    struct error err = {0};
    assert_int_equal(fs_listen_unix(f->path, &f->listener, &err), 0);
}

static void open_monitor(struct fixture *f, const char *instance_id)
{
    f->monitor = monitor_new(f->loop, "web", f->path, instance_id, on_changed, f);
}

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    struct error err = {0};
    strcpy(f->dir, "/tmp/vmctl-monitor-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->path = fs_join(f->dir, "ctl.sock");
    f->listener = -1;
    f->peer = -1;
    assert_int_equal(loop_new(&f->loop, &err), 0);
    *state = f;
    return 0;
}

static void hang_up(struct fixture *f)
{
    close(TAKE_FD(f->peer));
    settle(f);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    monitor_free(f->monitor);
    cleanup_close_(&f->peer);
    cleanup_close_(&f->listener);
    assert_int_equal(fs_remove_tree(f->dir, &err), 0);
    loop_free(f->loop);
    free(f->path);
    free(f);
    return 0;
}

static void say(struct fixture *f, const char *text)
{
    assert_int_equal(send(f->peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    settle(f);
}

static bool has_command(struct fixture *f)
{
    settle(f);
    if (!f->text[f->n_read]) {
        ssize_t n = recv(f->peer, f->text, sizeof(f->text) - 1, 0);
        f->text[n > 0 ? n : 0] = '\0';
        f->n_read = 0;
    }
    return f->text[f->n_read];
}

/* The id of the command that is expected now. */
static int expect_command(struct fixture *f, const char *command)
{
    assert_true(has_command(f));
    const char *line = f->text + f->n_read;
    size_t n = strcspn(line, "\n");
    assert_int_equal(line[n], '\n');
    json_t *message = json_loadb(line, n, 0, NULL);
    f->n_read += n + 1;
    assert_non_null(message);
    assert_string_equal(json_text(message, "execute"), command);
    int id = (int)json_int(message, "id", -1);
    json_decref(message);
    return id;
}

static void expect_no_command(struct fixture *f)
{
    assert_false(has_command(f));
}

static void answer(struct fixture *f, int id, const char *value)
{
    cleanup_free char *text = mem_printf("{\"return\": %s, \"id\": %d}\r\n", value, id);
    say(f, text);
}

static void accept_and_greet(struct fixture *f)
{
    f->peer = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(f->peer >= 0);
    f->text[f->n_read = 0] = '\0';
    say(f, "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n");
    answer(f, expect_command(f, "qmp_capabilities"), "{}");
}

static void serve(struct fixture *f, const char *status)
{
    accept_and_greet(f);
    answer(f, expect_command(f, "query-uuid"), "{\"UUID\": \"" UUID "\"}");
    cleanup_free char *value = mem_printf("{\"status\": \"%s\"}", status);
    answer(f, expect_command(f, "query-status"), value);
    if (strcmp(status, "running") == 0) {
        answer(f, expect_command(f, "query-chardev"), "[]");
    }
}

static void connect_to(struct fixture *f, const char *status)
{
    listen_at_path(f);
    open_monitor(f, IID);
    serve(f, status);
    assert_int_equal(monitor_silent_ms(f->monitor), 0);
}

static void it_verifies_the_instance_and_learns_its_state(void **state)
{
    struct fixture *f = *state;
    connect_to(f, "prelaunch");
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_PRELAUNCH);
    assert_int_equal(f->n_changed, 1);
    expect_no_command(f);
}

static void what_it_asks_first_is_sent_in_one_piece(void **state)
{
    struct fixture *f = *state;
    listen_at_path(f);
    open_monitor(f, IID);
    f->peer = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    say(f, "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n");
    (void)expect_command(f, "qmp_capabilities");
    (void)expect_command(f, "query-uuid");
    (void)expect_command(f, "query-status");
    expect_no_command(f);
}

static void only_what_has_no_reply_of_its_own_is_followed_by_a_query(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    connect_to(f, "running");
    assert_int_equal(monitor_execute(f->monitor, "query-vnc", NULL, on_reply, f, &err), 0);
    (void)expect_command(f, "query-vnc");
    expect_no_command(f);
    assert_int_equal(monitor_execute(f->monitor, "stop", NULL, NULL, NULL, &err), 0);
    (void)expect_command(f, "stop");
    answer(f, expect_command(f, "query-status"), "{\"status\": \"paused\"}");
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_PAUSED);
}

/* Such as one that boot.c sends. */
static void a_command_of_others_that_is_not_answered_shows_that_it_hangs(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    connect_to(f, "prelaunch");
    assert_int_equal(monitor_execute(f->monitor, "query-vnc", NULL, on_reply, f, &err), 0);
    loop_fake_advance(f->loop, QMP_COMMAND_TIMEOUT_MS);
    assert_int_equal(f->n_replies, 1);
    assert_int_equal(f->reply_error.code, ERR_TIMEOUT);
    assert_int_equal(monitor_silent_ms(f->monitor), QMP_COMMAND_TIMEOUT_MS);
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_UNKNOWN);
    answer(f, expect_command(f, "query-vnc"), "{}");
    answer(f, expect_command(f, "query-status"), "{\"status\": \"prelaunch\"}");
    assert_int_equal(monitor_silent_ms(f->monitor), 0);
}

/* A state that comes before the UUID is known to be right says nothing. */
static void the_state_of_one_whose_uuid_is_not_known_is_not_taken(void **state)
{
    struct fixture *f = *state;
    listen_at_path(f);
    open_monitor(f, IID);
    accept_and_greet(f);
    int id = expect_command(f, "query-uuid");
    cleanup_free char *refused = mem_printf(
        "{\"error\": {\"class\": \"GenericError\", \"desc\": \"?\"}, \"id\": %d}\r\n", id);
    say(f, refused);
    answer(f, expect_command(f, "query-status"), "{\"status\": \"running\"}");
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_UNKNOWN);
}

static void it_tries_again_until_somebody_listens(void **state)
{
    struct fixture *f = *state;
    open_monitor(f, IID);
    loop_fake_advance(f->loop, 60000);
    assert_in_range(monitor_silent_ms(f->monitor), 60000, 60001);
    listen_at_path(f);
    loop_fake_advance(f->loop, 2000);
    serve(f, "running");
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_RUNNING);
    assert_int_equal(monitor_silent_ms(f->monitor), 0);
}

static void an_event_makes_it_ask_again(void **state)
{
    struct fixture *f = *state;
    connect_to(f, "running");
    say(f, "{\"event\": \"STOP\"}\r\n");
    int id = expect_command(f, "query-status");
    say(f, "{\"event\": \"SHUTDOWN\"}\r\n"); /* while the question is out: asked once more after */
    answer(f, id, "{\"status\": \"paused\"}");
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_PAUSED);
    answer(f, expect_command(f, "query-status"), "{\"status\": \"shutdown\"}");
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_SHUTDOWN);
    assert_int_equal(f->n_changed, 3);
    expect_no_command(f);
}

static void an_event_of_no_concern_is_let_pass(void **state)
{
    struct fixture *f = *state;
    connect_to(f, "running");
    say(f, "{\"event\": \"RTC_CHANGE\", \"data\": {}}\r\n");
    expect_no_command(f);
    assert_int_equal(f->n_changed, 1);
}

static void await_pulse(struct fixture *f)
{
    int64_t next_ms = loop_fake_next_timer(f->loop);
    assert_int_equal(next_ms % 15000, 0); /* of all machines at the same moment */
    loop_fake_advance(f->loop, next_ms - loop_fake_now(f->loop) - 1);
    expect_no_command(f);
    loop_fake_advance(f->loop, 1);
}

static void a_machine_that_says_nothing_is_asked_now_and_then(void **state)
{
    struct fixture *f = *state;
    connect_to(f, "running");
    for (int i = 0; i < 3; i++) {
        await_pulse(f);
        answer(f, expect_command(f, "query-status"), "{\"status\": \"running\"}");
    }
    assert_int_equal(f->n_changed, 1); /* no news */
    await_pulse(f);
    answer(f, expect_command(f, "query-status"), "{\"status\": \"paused\"}");
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_PAUSED); /* an event was lost */
}

static void a_machine_that_hangs_unasked_is_found(void **state)
{
    struct fixture *f = *state;
    connect_to(f, "running");
    await_pulse(f);
    int id = expect_command(f, "query-status");
    loop_fake_advance(f->loop, QMP_COMMAND_TIMEOUT_MS);
    assert_int_equal(monitor_silent_ms(f->monitor), QMP_COMMAND_TIMEOUT_MS);
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_UNKNOWN);
    assert_int_equal(f->n_changed, 2);
    loop_fake_advance(f->loop, 60000);
    expect_no_command(f); /* it has enough to answer when it wakes up */
    answer(f, id, "{\"status\": \"running\"}");
    answer(f, expect_command(f, "query-status"), "{\"status\": \"running\"}");
    assert_int_equal(monitor_silent_ms(f->monitor), 0);
    assert_int_equal(f->n_changed, 3);
}

static void resets_of_the_guest_are_counted(void **state)
{
    struct fixture *f = *state;
    connect_to(f, "running");
    assert_int_equal(monitor_resets(f->monitor), 0);
    say(f, "{\"event\": \"RESET\", \"data\": {\"guest\": true}}\r\n");
    assert_int_equal(monitor_resets(f->monitor), 1);
    assert_int_equal(f->n_changed, 2);
    (void)expect_command(f, "query-status");
}

static void a_lost_connection_is_made_again(void **state)
{
    struct fixture *f = *state;
    connect_to(f, "running");
    hang_up(f);
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_UNKNOWN);
    assert_int_equal(f->n_changed, 2);
    loop_fake_advance(f->loop, 50);
    assert_int_equal(monitor_silent_ms(f->monitor), 50);
    serve(f, "paused");
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_PAUSED);
    assert_int_equal(monitor_silent_ms(f->monitor), 0);
}

static void a_command_fails_while_there_is_no_connection(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    open_monitor(f, IID);
    assert_int_equal(
        monitor_execute(f->monitor, "cont", NULL, on_reply, f, &err), -ERR_QMP_CONNECT);
    assert_int_equal(f->n_replies, 0);
}

static void a_command_fails_when_the_connection_is_lost(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    connect_to(f, "running");
    assert_int_equal(monitor_execute(f->monitor, "stop", NULL, on_reply, f, &err), 0);
    hang_up(f);
    assert_int_equal(f->n_replies, 1);
    assert_int_equal(f->reply_error.code, ERR_QMP_CONNECT);
}

static void another_uuid_is_left_alone(void **state)
{
    struct fixture *f = *state;
    listen_at_path(f);
    open_monitor(f, IID);
    accept_and_greet(f);
    answer(
        f, expect_command(f, "query-uuid"), "{\"UUID\": \"ffffffff-89ab-cdef-0123-456789abcdef\"}");
    assert_int_equal(f->n_changed, 1);
    char byte;
    assert_int_equal(recv(f->peer, &byte, 1, 0), 0); /* it hung up */
    loop_fake_advance(f->loop, 60000);
    assert_true(accept4(f->listener, NULL, NULL, SOCK_CLOEXEC) < 0);
    assert_true(monitor_silent_ms(f->monitor) >= 60000);
}

static void without_an_instance_id_any_answer_is_accepted(void **state)
{
    struct fixture *f = *state;
    listen_at_path(f);
    open_monitor(f, "");
    serve(f, "running");
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_RUNNING);
}

static void a_hung_qemu_is_silent_from_the_moment_it_was_asked(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    connect_to(f, "running");
    assert_int_equal(monitor_execute(f->monitor, "stop", NULL, NULL, NULL, &err), 0);
    loop_fake_advance(f->loop, QMP_COMMAND_TIMEOUT_MS - 1);
    assert_int_equal(monitor_silent_ms(f->monitor), 0);
    loop_fake_advance(f->loop, 1);
    assert_int_equal(monitor_silent_ms(f->monitor), QMP_COMMAND_TIMEOUT_MS);
    assert_int_equal(f->n_changed, 2);
    loop_fake_advance(f->loop, 25000);
    assert_int_equal(monitor_silent_ms(f->monitor), 30000);
}

/* The first command it answers late has been given up long ago; still it shows that it lives. */
static void a_hung_qemu_that_speaks_again_is_asked_again(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    connect_to(f, "running");
    assert_int_equal(monitor_execute(f->monitor, "stop", NULL, NULL, NULL, &err), 0);
    loop_fake_advance(f->loop, 20000);
    answer(f, expect_command(f, "stop"), "{}");
    (void)expect_command(f, "query-status"); /* given up with it */
    answer(f, expect_command(f, "query-status"), "{\"status\": \"paused\"}");
    assert_int_equal(monitor_silent_ms(f->monitor), 0);
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_PAUSED);
}

static void a_qemu_that_hangs_before_it_is_known_is_asked_again(void **state)
{
    struct fixture *f = *state;
    listen_at_path(f);
    open_monitor(f, IID);
    accept_and_greet(f);
    int id = expect_command(f, "query-uuid");
    (void)expect_command(f, "query-status");
    loop_fake_advance(f->loop, 20000);
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_UNKNOWN);
    answer(f, id, "{\"UUID\": \"" UUID "\"}");
    answer(f, expect_command(f, "query-uuid"), "{\"UUID\": \"" UUID "\"}");
    answer(f, expect_command(f, "query-status"), "{\"status\": \"running\"}");
    assert_int_equal(monitor_run_state(f->monitor), RUN_STATE_RUNNING);
    assert_int_equal(monitor_silent_ms(f->monitor), 0);
}

static void freeing_it_fails_what_others_wait_for(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    connect_to(f, "running");
    int n_changed = f->n_changed;
    assert_int_equal(monitor_execute(f->monitor, "cont", NULL, on_reply, f, &err), 0);
    monitor_free(TAKE_PTR(f->monitor));
    assert_int_equal(f->n_replies, 1);
    assert_int_equal(f->n_changed, n_changed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_verifies_the_instance_and_learns_its_state),
        TEST(what_it_asks_first_is_sent_in_one_piece),
        TEST(only_what_has_no_reply_of_its_own_is_followed_by_a_query),
        TEST(a_command_of_others_that_is_not_answered_shows_that_it_hangs),
        TEST(the_state_of_one_whose_uuid_is_not_known_is_not_taken),
        TEST(it_tries_again_until_somebody_listens),
        TEST(an_event_makes_it_ask_again),
        TEST(an_event_of_no_concern_is_let_pass),
        TEST(a_machine_that_says_nothing_is_asked_now_and_then),
        TEST(a_machine_that_hangs_unasked_is_found),
        TEST(resets_of_the_guest_are_counted),
        TEST(a_lost_connection_is_made_again),
        TEST(a_command_fails_while_there_is_no_connection),
        TEST(a_command_fails_when_the_connection_is_lost),
        TEST(another_uuid_is_left_alone),
        TEST(without_an_instance_id_any_answer_is_accepted),
        TEST(a_hung_qemu_is_silent_from_the_moment_it_was_asked),
        TEST(a_hung_qemu_that_speaks_again_is_asked_again),
        TEST(a_qemu_that_hangs_before_it_is_known_is_asked_again),
        TEST(freeing_it_fails_what_others_wait_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

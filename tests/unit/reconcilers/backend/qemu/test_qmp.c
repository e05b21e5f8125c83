/* SPDX-License-Identifier: MPL-2.0 */
/* The QMP client against a scripted peer on a socket pair, on the virtual clock. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "reconcilers/backend/qemu/qmp.h"
#include "reconcilers/backend/qemu/qmp_message.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "tests/support/loop_fake.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"
#define NEGOTIATED "{\"return\": {}, \"id\": 1}\r\n"

struct heard {
    int ready;
    int events;
    int received;
    int timed_out;
    int closed;
    int replies;
    char last_event[64];
    char value[256];
    struct error closed_why;
    struct error reply_error;
    struct qmp *free_in_reply;
};

struct fixture {
    struct loop *loop;
    struct qmp *qmp;
    int peer;
    struct heard heard;
};

static void on_ready(void *context)
{
    ((struct fixture *)context)->heard.ready++;
}

static void on_event(void *context, const char *name, const json_t *data)
{
    struct heard *heard = &((struct fixture *)context)->heard;
    (void)data;
    heard->events++;
    strncpy(heard->last_event, name, sizeof(heard->last_event) - 1);
}

static void on_received(void *context)
{
    ((struct fixture *)context)->heard.received++;
}

static void on_timed_out(void *context)
{
    ((struct fixture *)context)->heard.timed_out++;
}

static void on_closed(void *context, const struct error *why)
{
    struct heard *heard = &((struct fixture *)context)->heard;
    heard->closed++;
    heard->closed_why = *why;
}

static const struct qmp_listener listener = {.ready = on_ready,
    .event = on_event,
    .received = on_received,
    .timed_out = on_timed_out,
    .closed = on_closed};

static void on_reply(void *context, const json_t *value, const struct error *err)
{
    struct heard *heard = &((struct fixture *)context)->heard;
    heard->replies++;
    heard->reply_error = err ? *err : (struct error){0};
    if (value) {
        cleanup_free char *text = json_canonical(value);
        strncpy(heard->value, text, sizeof(heard->value) - 1);
    }
    if (heard->free_in_reply) {
        qmp_free(heard->free_in_reply);
    }
}

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    struct error err = {0};
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    assert_int_equal(loop_new(&f->loop, &err), 0);
    f->peer = ends[1];
    f->qmp = qmp_new(f->loop, ends[0], &listener, f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    qmp_free(f->qmp);
    if (f->peer >= 0) {
        close(f->peer);
    }
    loop_free(f->loop);
    free(f);
    return 0;
}

static void settle(struct fixture *f)
{
    loop_fake_advance(f->loop, 0);
}

static void say_bytes(struct fixture *f, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(f->peer, bytes, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            settle(f);
            continue;
        }
        if (sent < 0) {
            break; /* the client hung up, as some tests expect */
        }
        bytes += sent;
        n -= (size_t)sent;
    }
    settle(f);
}

static void say(struct fixture *f, const char *text)
{
    say_bytes(f, text, strlen(text));
}

/* What the client sent since the last call. */
static const char *told(struct fixture *f)
{
    static char text[4096];
    ssize_t n = recv(f->peer, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void shake_hands(struct fixture *f)
{
    say(f, GREETING);
    assert_string_equal(told(f), "{\"execute\":\"qmp_capabilities\",\"id\":1}\n");
    say(f, NEGOTIATED);
    assert_int_equal(f->heard.ready, 1);
    assert_true(qmp_is_ready(f->qmp));
}

static void execute(struct fixture *f, const char *command)
{
    struct error err = {0};
    assert_int_equal(qmp_execute(f->qmp, command, NULL, on_reply, f, &err), 0);
}

static void it_negotiates_after_the_greeting(void **state)
{
    shake_hands(*state);
}

static void nothing_can_be_sent_before_the_handshake_is_over(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    json_t *arguments = json_object();
    assert_int_equal(qmp_execute(f->qmp, "cont", arguments, on_reply, f, &err), -ERR_QMP_CONNECT);
    settle(f);
    assert_int_equal(f->heard.replies, 0);
    assert_string_equal(told(f), "");
}

static void it_reads_messages_that_come_byte_by_byte(void **state)
{
    struct fixture *f = *state;
    const char *script = GREETING NEGOTIATED "{\"event\": \"STOP\", \"timestamp\": {}}\r\n";
    for (size_t i = 0; script[i]; i++) {
        say_bytes(f, script + i, 1);
    }
    assert_int_equal(f->heard.ready, 1);
    assert_int_equal(f->heard.events, 1);
    assert_string_equal(f->heard.last_event, "STOP");
}

static void answers_go_to_the_command_with_their_id(void **state)
{
    struct fixture *f = *state;
    shake_hands(f);
    execute(f, "query-status");
    execute(f, "query-uuid");
    assert_string_equal(told(f), "{\"execute\":\"query-status\",\"id\":2}\n"
                                 "{\"execute\":\"query-uuid\",\"id\":3}\n");
    say(f, "{\"return\": {\"UUID\": \"x\"}, \"id\": 3}\r\n");
    assert_int_equal(f->heard.replies, 1);
    assert_string_equal(f->heard.value, "{\"UUID\":\"x\"}");
    say(f, "{\"return\": {\"status\": \"running\"}, \"id\": 2}\r\n");
    assert_int_equal(f->heard.replies, 2);
    assert_string_equal(f->heard.value, "{\"status\":\"running\"}");
}

static void arguments_are_sent_along(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    shake_hands(f);
    json_t *arguments = json_object();
    json_put_int(arguments, "size", 5);
    assert_int_equal(qmp_execute(f->qmp, "block_resize", arguments, NULL, NULL, &err), 0);
    assert_string_equal(
        told(f), "{\"arguments\":{\"size\":5},\"execute\":\"block_resize\",\"id\":2}\n");
}

static void a_refusal_carries_the_words_of_qemu(void **state)
{
    struct fixture *f = *state;
    shake_hands(f);
    execute(f, "cont");
    say(f, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no way\"}, \"id\": 2}\r\n");
    assert_int_equal(f->heard.replies, 1);
    assert_int_equal(f->heard.reply_error.code, ERR_QMP_COMMAND);
    assert_string_equal(f->heard.reply_error.message, "QEMU refused 'cont': no way");
    assert_true(qmp_is_ready(f->qmp));
}

static void events_before_the_handshake_are_ignored(void **state)
{
    struct fixture *f = *state;
    say(f, "{\"event\": \"RESUME\"}\r\n");
    assert_int_equal(f->heard.events, 0);
    shake_hands(f);
    assert_int_equal(f->heard.events, 0);
}

static void answers_with_unknown_ids_are_ignored(void **state)
{
    struct fixture *f = *state;
    shake_hands(f);
    execute(f, "cont");
    say(f,
        "{\"return\": {}, \"id\": 99}\r\n{\"return\": {}}\r\n{\"return\": {}, \"id\": \"2\"}\r\n");
    assert_int_equal(f->heard.replies, 0);
    assert_int_equal(f->heard.closed, 0);
}

static void blank_lines_are_no_messages(void **state)
{
    struct fixture *f = *state;
    say(f, "\r\n  \r\n");
    assert_int_equal(f->heard.closed, 0);
    shake_hands(f);
}

static void expect_hang_up(struct fixture *f, enum error_code code, const char *message)
{
    assert_int_equal(f->heard.closed, 1);
    assert_int_equal(f->heard.closed_why.code, code);
    assert_string_equal(f->heard.closed_why.message, message);
    assert_false(qmp_is_ready(f->qmp));
}

static void garbage_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    say(f, "SSH-2.0-OpenSSH_9.2\r\n");
    expect_hang_up(f, ERR_QMP_COMMAND, "QEMU sent something that is not QMP");
}

static void json_that_is_no_message_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    say(f, "{\"hello\": 1}\r\n");
    expect_hang_up(f, ERR_QMP_COMMAND, "QEMU sent a message of an unknown kind");
}

static void a_line_of_100_mb_ends_the_connection_with_bounded_memory(void **state)
{
    struct fixture *f = *state;
    enum { CHUNK = 1 << 16 };
    cleanup_free char *chunk = mem_calloc(CHUNK, 1);
    memset(chunk, 'x', CHUNK);
    for (int i = 0; i < (100 << 20) / CHUNK; i++) {
        say_bytes(f, chunk, CHUNK);
    }
    expect_hang_up(f, ERR_QMP_COMMAND, "QEMU sent a message of more than 1048576 bytes");
}

static void commands_fail_when_the_connection_ends(void **state)
{
    struct fixture *f = *state;
    shake_hands(f);
    execute(f, "cont");
    execute(f, "stop");
    close(TAKE_FD(f->peer));
    settle(f);
    assert_int_equal(f->heard.replies, 2);
    assert_int_equal(f->heard.reply_error.code, ERR_QMP_CONNECT);
    expect_hang_up(f, ERR_QMP_CONNECT, "QEMU closed the connection");
}

static void a_half_closed_connection_is_an_ended_one(void **state)
{
    struct fixture *f = *state;
    shake_hands(f);
    assert_int_equal(shutdown(f->peer, SHUT_WR), 0);
    settle(f);
    expect_hang_up(f, ERR_QMP_CONNECT, "QEMU closed the connection");
}

static void what_came_before_the_end_is_still_read(void **state)
{
    struct fixture *f = *state;
    shake_hands(f);
    execute(f, "quit");
    const char *last_words = "{\"return\": {}, \"id\": 2}\r\n{\"event\": \"SHUTDOWN\"}\r\n";
    assert_int_equal(send(f->peer, last_words, strlen(last_words), 0), (ssize_t)strlen(last_words));
    close(TAKE_FD(f->peer));
    settle(f);
    assert_int_equal(f->heard.replies, 1);
    assert_int_equal(f->heard.reply_error.code, ERR_NONE);
    assert_string_equal(f->heard.last_event, "SHUTDOWN");
    assert_int_equal(f->heard.closed, 1);
}

static void a_peer_that_dies_after_the_handshake_is_noticed(void **state)
{
    struct fixture *f = *state;
    shake_hands(f);
    close(TAKE_FD(f->peer));
    settle(f);
    expect_hang_up(f, ERR_QMP_CONNECT, "QEMU closed the connection");
}

static void a_peer_that_refuses_the_handshake_is_given_up(void **state)
{
    struct fixture *f = *state;
    say(f, GREETING);
    say(f, "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"what?\"}, \"id\": 1}\r\n");
    expect_hang_up(f, ERR_QMP_COMMAND, "QEMU refused 'qmp_capabilities': what?");
}

static void a_command_without_an_answer_times_out_and_the_connection_stays(void **state)
{
    struct fixture *f = *state;
    shake_hands(f);
    execute(f, "query-status");
    assert_int_equal(qmp_waiting_since(f->qmp), loop_fake_now(f->loop));
    loop_fake_advance(f->loop, QMP_COMMAND_TIMEOUT_MS - 1);
    assert_int_equal(f->heard.replies, 0);
    assert_int_equal(f->heard.timed_out, 0);
    loop_fake_advance(f->loop, 1);
    assert_int_equal(f->heard.replies, 1);
    assert_int_equal(f->heard.timed_out, 1);
    assert_int_equal(f->heard.reply_error.code, ERR_TIMEOUT);
    assert_true(qmp_is_ready(f->qmp));
    assert_int_equal(qmp_waiting_since(f->qmp), -1);
    int received = f->heard.received;
    say(f, "{\"return\": {}, \"id\": 2}\r\n");
    assert_int_equal(f->heard.replies, 1);
    assert_int_equal(f->heard.received, received + 1);
}

static void deadlines_are_each_commands_own(void **state)
{
    struct fixture *f = *state;
    shake_hands(f);
    execute(f, "stop");
    loop_fake_advance(f->loop, 3000);
    execute(f, "cont");
    loop_fake_advance(f->loop, 2000);
    assert_int_equal(f->heard.replies, 1);
    loop_fake_advance(f->loop, 2999);
    assert_int_equal(f->heard.replies, 1);
    loop_fake_advance(f->loop, 1);
    assert_int_equal(f->heard.replies, 2);
}

static void a_greeting_may_take_its_time(void **state)
{
    struct fixture *f = *state;
    loop_fake_advance(f->loop, 3600 * 1000);
    assert_int_equal(f->heard.closed, 0);
    shake_hands(f);
}

static void a_forgotten_reply_is_not_delivered(void **state)
{
    struct fixture *f = *state;
    shake_hands(f);
    execute(f, "cont");
    qmp_forget(f->qmp, f);
    say(f, "{\"return\": {}, \"id\": 2}\r\n");
    assert_int_equal(f->heard.replies, 0);
}

static void it_may_be_freed_inside_a_reply(void **state)
{
    struct fixture *f = *state;
    shake_hands(f);
    execute(f, "cont");
    execute(f, "stop");
    f->heard.free_in_reply = TAKE_PTR(f->qmp);
    say(f, "{\"return\": {}, \"id\": 2}\r\n{\"return\": {}, \"id\": 3}\r\n");
    assert_int_equal(f->heard.replies, 2);
    assert_int_equal(f->heard.reply_error.code, ERR_QMP_CONNECT);
    assert_int_equal(f->heard.closed, 0);
}

static void freeing_it_fails_what_waits(void **state)
{
    struct fixture *f = *state;
    shake_hands(f);
    execute(f, "cont");
    qmp_free(TAKE_PTR(f->qmp));
    assert_int_equal(f->heard.replies, 1);
    assert_int_equal(f->heard.reply_error.code, ERR_QMP_CONNECT);
}

/* A peer that does not read: what it cannot take yet waits, and goes out when it reads again. */
static void output_waits_for_a_slow_peer(void **state)
{
    struct fixture *f = *state;
    enum { COMMANDS = 8000 };
    shake_hands(f);
    for (int i = 0; i < COMMANDS; i++) {
        execute(f, "query-status-of-a-machine-that-does-not-listen-at-the-moment");
    }
    size_t newlines = 0;
    while (newlines < COMMANDS) {
        settle(f);
        const char *text = told(f);
        assert_int_not_equal(strlen(text), 0);
        for (const char *c = text; *c; c++) {
            newlines += *c == '\n';
        }
    }
    assert_int_equal(newlines, COMMANDS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_negotiates_after_the_greeting),
        TEST(nothing_can_be_sent_before_the_handshake_is_over),
        TEST(it_reads_messages_that_come_byte_by_byte),
        TEST(answers_go_to_the_command_with_their_id),
        TEST(arguments_are_sent_along),
        TEST(a_refusal_carries_the_words_of_qemu),
        TEST(events_before_the_handshake_are_ignored),
        TEST(answers_with_unknown_ids_are_ignored),
        TEST(blank_lines_are_no_messages),
        TEST(garbage_ends_the_connection),
        TEST(json_that_is_no_message_ends_the_connection),
        TEST(a_line_of_100_mb_ends_the_connection_with_bounded_memory),
        TEST(commands_fail_when_the_connection_ends),
        TEST(a_half_closed_connection_is_an_ended_one),
        TEST(what_came_before_the_end_is_still_read),
        TEST(a_peer_that_dies_after_the_handshake_is_noticed),
        TEST(a_peer_that_refuses_the_handshake_is_given_up),
        TEST(a_command_without_an_answer_times_out_and_the_connection_stays),
        TEST(deadlines_are_each_commands_own),
        TEST(a_greeting_may_take_its_time),
        TEST(a_forgotten_reply_is_not_delivered),
        TEST(it_may_be_freed_inside_a_reply),
        TEST(freeing_it_fails_what_waits),
        TEST(output_waits_for_a_slow_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

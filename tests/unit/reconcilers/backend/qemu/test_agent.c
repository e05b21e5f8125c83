/* SPDX-License-Identifier: MPL-2.0 */
/* The client of a guest's agent, and the watch over it, against a guest in the same process that
 * answers as a test says, on the virtual clock. */
#include "reconcilers/backend/qemu/agent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "reconcilers/backend/qemu/agent_unmount.h"
#include "reconcilers/backend/qemu/agent_watch.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/support/loop_fake.h"

enum { TIMEOUT_MS = 5000 };

struct fixture {
    char dir[64];
    char *path;
    struct loop *loop;
    struct agent *agent;
    struct agent_watch *watch;
    struct agent_unmount *unmount; /* NULL: none is under way */
    int listener, peer;            /* QEMU's socket, and its end of the connection */
    int n_changed, n_replies;
    char value[256];
    struct error error;
    bool frees_in_reply;
};

static void settle(struct fixture *f)
{
    loop_fake_advance(f->loop, 0);
}

static void on_changed(void *context)
{
    ((struct fixture *)context)->n_changed++;
}

static void on_reply(void *context, const json_t *value, const struct error *err)
{
    struct fixture *f = context;
    f->n_replies++;
    f->error = err ? *err : (struct error){0};
    if (value) {
        cleanup_free char *text = json_canonical(value);
        strncpy(f->value, text, sizeof(f->value) - 1);
    }
    if (f->frees_in_reply) {
        agent_free(TAKE_PTR(f->agent));
    }
}

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    struct error err = {0};
    strcpy(f->dir, "/tmp/vmctl-agent-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->path = fs_join(f->dir, "agent.sock");
    f->peer = -1;
    assert_int_equal(fs_listen_unix(f->path, &f->listener, &err), 0);
    assert_int_equal(loop_new(&f->loop, &err), 0);
    f->agent = agent_new(f->loop, f->path);
    f->watch = agent_watch_new(f->loop, "web", f->path, on_changed, f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    agent_free(f->agent);
    agent_watch_free(f->watch);
    agent_unmount_free(f->unmount);
    cleanup_close_(&f->peer);
    cleanup_close_(&f->listener);
    loop_free(f->loop);
    assert_int_equal(fs_remove_tree(f->dir, &err), 0);
    free(f->path);
    free(f);
    return 0;
}

static void call(struct fixture *f, const char *command)
{
    agent_call(f->agent, command, NULL, TIMEOUT_MS, on_reply, f);
    settle(f);
}

static void say_bytes(struct fixture *f, const char *bytes, size_t n)
{
    assert_int_equal(send(f->peer, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
    settle(f);
}

static void say(struct fixture *f, const char *text)
{
    say_bytes(f, text, strlen(text));
}

/* What the guest has received; "": nothing. */
static char *hear(struct fixture *f)
{
    static char text[4096];
    settle(f);
    ssize_t n = recv(f->peer, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void expect_command(struct fixture *f, const char *command)
{
    const char *text = hear(f);
    cleanup_json json_t *object = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(object);
    assert_string_equal(json_text(object, "execute"), command);
}

/* The id of the request that begins a conversation. */
static int64_t expect_sync(struct fixture *f)
{
    cleanup_close_(&f->peer);
    f->peer = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(f->peer >= 0);
    const char *text = hear(f);
    assert_int_equal((unsigned char)text[0], 0xff);
    cleanup_json json_t *object = json_loads(text + 1, 0, NULL);
    assert_non_null(object);
    assert_string_equal(json_text(object, "execute"), "guest-sync-delimited");
    return json_int(json_object_get(object, "arguments"), "id", -1);
}

static void answer_sync(struct fixture *f, int64_t id)
{
    cleanup_free char *text = mem_printf("\xff{\"return\": %lld}\n", (long long)id);
    say(f, text);
}

static void meet(struct fixture *f)
{
    answer_sync(f, expect_sync(f));
}

static void a_call_begins_with_a_sync_and_gets_its_answer(void **state)
{
    struct fixture *f = *state;
    call(f, "guest-info");
    meet(f);
    expect_command(f, "guest-info");
    assert_int_equal(f->n_replies, 0);
    say(f, "{\"return\": {\"version\": \"7.2\"}}\n");
    assert_int_equal(f->n_replies, 1);
    assert_string_equal(f->value, "{\"version\":\"7.2\"}");
    call(f, "guest-ping"); /* in the same conversation */
    expect_command(f, "guest-ping");
    say(f, "{\"return\": {}}\n");
    assert_int_equal(f->n_replies, 2);
}

static void an_answer_to_somebody_else_is_not_taken(void **state)
{
    struct fixture *f = *state;
    call(f, "guest-ping");
    int64_t id = expect_sync(f);
    say(f, "{\"return\": {\"pid\": 3}}\n");
    answer_sync(f, id + 1);
    say(f, "\xff{\"return\": 99999999999999999999999999}\n\xff{\"return\": \"7\"}\n\xff[]\n");
    assert_int_equal(strlen(hear(f)), 0);
    answer_sync(f, id);
    expect_command(f, "guest-ping");
    assert_int_equal(f->n_replies, 0);
    say(f, "{\"return\": {}}\n");
    assert_string_equal(f->value, "{}");
}

static void a_refusal_is_an_error_in_the_agents_words(void **state)
{
    struct fixture *f = *state;
    call(f, "guest-fsfreeze-freeze");
    meet(f);
    say(f, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\\u001b[2J\"}}\n");
    assert_int_equal(f->error.code, ERR_AGENT);
    assert_non_null(strstr(f->error.message, "refused 'guest-fsfreeze-freeze': no"));
    assert_null(strchr(f->error.message, '\033'));
}

static void one_that_is_silent_is_given_up_and_a_late_answer_is_lost(void **state)
{
    struct fixture *f = *state;
    call(f, "guest-info");
    meet(f);
    loop_fake_advance(f->loop, TIMEOUT_MS);
    assert_int_equal(f->n_replies, 1);
    assert_int_equal(f->error.code, ERR_TIMEOUT);
    call(f, "guest-ping");
    int64_t id = expect_sync(f);
    say(f, "{\"return\": {\"version\": \"late\"}}\n");
    answer_sync(f, id);
    expect_command(f, "guest-ping");
    say(f, "{\"return\": {}}\n");
    assert_string_equal(f->value, "{}");
}

static void one_that_never_syncs_is_given_up_however_much_it_sends(void **state)
{
    struct fixture *f = *state;
    char flood[4096];
    memset(flood, 'x', sizeof(flood));
    call(f, "guest-info");
    (void)expect_sync(f);
    for (int i = 0; i < 1000; i++) {
        flood[0] = i % 2 ? '\xff' : 'x';
        say_bytes(f, flood, sizeof(flood));
    }
    assert_int_equal(f->n_replies, 0);
    loop_fake_advance(f->loop, TIMEOUT_MS);
    assert_int_equal(f->error.code, ERR_TIMEOUT);
}

static void what_is_no_answer_ends_the_conversation(void **state)
{
    static const char *const lines[] = {"{\"return\": \"\xc3(\"}\n", "nonsense\n", "[]\n", "{}\n",
        "{\"return\": 1e999}\n", "{\"error\": 5}\n"};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        call(f, "guest-info");
        meet(f);
        say(f, lines[i]);
        assert_int_equal(f->n_replies, i + 1);
        assert_int_equal(f->error.code, ERR_AGENT);
    }
}

static void an_endless_answer_ends_the_conversation(void **state)
{
    struct fixture *f = *state;
    char flood[4096];
    memset(flood, '9', sizeof(flood));
    call(f, "guest-info");
    meet(f);
    for (int i = 0; f->n_replies == 0; i++) {
        assert_true(i < 1000);
        say_bytes(f, flood, sizeof(flood));
    }
    assert_int_equal(f->error.code, ERR_AGENT);
}

static void the_end_of_the_connection_is_an_error(void **state)
{
    struct fixture *f = *state;
    call(f, "guest-info");
    (void)expect_sync(f);
    close(TAKE_FD(f->peer));
    settle(f);
    assert_int_equal(f->n_replies, 1);
    assert_int_equal(f->error.code, ERR_AGENT);
}

static void a_socket_that_is_not_there_yet_is_tried_again(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    close(f->listener);
    (void)unlink(f->path);
    call(f, "guest-info");
    loop_fake_advance(f->loop, 1000);
    assert_int_equal(fs_listen_unix(f->path, &f->listener, &err), 0);
    loop_fake_advance(f->loop, 100);
    meet(f);
    expect_command(f, "guest-info");
}

static void it_may_be_freed_by_its_caller_and_with_a_call_under_way(void **state)
{
    struct fixture *f = *state;
    f->frees_in_reply = true;
    call(f, "guest-info");
    meet(f);
    say(f, "{\"return\": 1}\n{\"return\": 2}\n");
    assert_int_equal(f->n_replies, 1);
    assert_null(f->agent);
    f->agent = agent_new(f->loop, f->path);
    call(f, "guest-info");
    agent_free(TAKE_PTR(f->agent));
    loop_fake_advance(f->loop, TIMEOUT_MS);
    assert_int_equal(f->n_replies, 1);
}

/* ---- the watch ---- */

static void introduce(struct fixture *f, const char *version)
{
    meet(f);
    expect_command(f, "guest-info");
    cleanup_free char *text = mem_printf("{\"return\": {\"version\": \"%s\"}}\n", version);
    say(f, text);
}

static void an_agent_is_asked_only_when_it_has_opened_its_port(void **state)
{
    struct fixture *f = *state;
    loop_fake_advance(f->loop, 60000);
    assert_int_equal(accept4(f->listener, NULL, NULL, SOCK_NONBLOCK), -1);
    assert_false(agent_watch_is_asking(f->watch));
    agent_watch_note(f->watch, true);
    assert_true(agent_watch_is_asking(f->watch));
    settle(f);
    introduce(f, "7.2.22");
    assert_string_equal(agent_watch_version(f->watch), "7.2.22");
    assert_false(agent_watch_is_asking(f->watch));
    assert_int_equal(f->n_changed, 1);
    agent_watch_note(f->watch, false);
    assert_null(agent_watch_version(f->watch));
    assert_int_equal(f->n_changed, 2);
}

static void one_that_opens_and_closes_its_port_is_asked_once_a_second(void **state)
{
    struct fixture *f = *state;
    agent_watch_note(f->watch, true);
    settle(f);
    introduce(f, "1");
    agent_watch_note(f->watch, false);
    agent_watch_note(f->watch, true);
    loop_fake_advance(f->loop, 999);
    assert_int_equal(accept4(f->listener, NULL, NULL, SOCK_NONBLOCK), -1);
    loop_fake_advance(f->loop, 1);
    introduce(f, "2");
    assert_string_equal(agent_watch_version(f->watch), "2");
}

static void one_that_does_not_answer_is_none_and_is_asked_again(void **state)
{
    struct fixture *f = *state;
    agent_watch_note(f->watch, true);
    settle(f);
    (void)expect_sync(f);
    loop_fake_advance(f->loop, TIMEOUT_MS);
    assert_null(agent_watch_version(f->watch));
    assert_false(agent_watch_is_asking(f->watch)); /* whoever waited for it waits no more */
    assert_int_equal(f->n_changed, 1);
    loop_fake_advance(f->loop, 2000);
    introduce(f, "7.2.22");
    assert_string_equal(agent_watch_version(f->watch), "7.2.22");
}

static void a_version_that_is_not_a_word_is_not_shown(void **state)
{
    struct fixture *f = *state;
    agent_watch_note(f->watch, true);
    settle(f);
    introduce(f, "7\\u001b[2J");
    assert_string_equal(agent_watch_version(f->watch), "unknown");
}

/* Another one at once; it answers nothing. */
static void an_order_goes_only_to_an_agent_that_answers(void **state)
{
    struct fixture *f = *state;
    agent_watch_order(f->watch, AGENT_ORDER_SHUTDOWN);
    settle(f);
    assert_int_equal(accept4(f->listener, NULL, NULL, SOCK_NONBLOCK), -1);
    agent_watch_note(f->watch, true);
    settle(f);
    introduce(f, "7.2.22");
    agent_watch_order(f->watch, AGENT_ORDER_SHUTDOWN);
    agent_watch_order(f->watch, AGENT_ORDER_SHUTDOWN);
    settle(f);
    meet(f);
    expect_command(f, "guest-shutdown");
    loop_fake_advance(f->loop, TIMEOUT_MS);
    assert_int_equal(accept4(f->listener, NULL, NULL, SOCK_NONBLOCK), -1);
    agent_watch_order(f->watch, AGENT_ORDER_THAW);
    settle(f);
    meet(f);
    expect_command(f, "guest-fsfreeze-thaw");
}

static void an_address_is_asked_for_until_there_is_one_and_while_it_is_wanted(void **state)
{
    struct fixture *f = *state;
    agent_watch_find_address(f->watch, "52:54:00:12:34:56");
    agent_watch_note(f->watch, true);
    settle(f);
    introduce(f, "7.2.22");
    meet(f);
    expect_command(f, "guest-network-get-interfaces");
    say(f, "{\"return\": []}\n");
    assert_null(agent_watch_address(f->watch));
    loop_fake_advance(f->loop, 2000);
    meet(f);
    int before = f->n_changed;
    say(f, "{\"return\": [{\"hardware-address\": \"52:54:00:12:34:56\", \"ip-addresses\": "
           "[{\"ip-address\": \"192.0.2.7\"}]}]}\n");
    assert_string_equal(agent_watch_address(f->watch), "192.0.2.7");
    assert_int_equal(f->n_changed, before + 1);
    agent_watch_find_address(f->watch, NULL);
    loop_fake_advance(f->loop, 60000);
    assert_int_equal(accept4(f->listener, NULL, NULL, SOCK_NONBLOCK), -1);
    assert_null(agent_watch_address(f->watch));
}

/* ---- unmounting a volume ---- */

static void unmounted(void *context, const struct error *err)
{
    struct fixture *f = context;
    f->n_replies++;
    f->error = err ? *err : (struct error){0};
    agent_unmount_free(TAKE_PTR(f->unmount));
}

static void unmount(struct fixture *f)
{
    f->n_replies = 0;
    f->unmount = agent_unmount_start(f->loop, f->path, "web", "data", unmounted, f);
    settle(f);
    meet(f);
    expect_command(f, "guest-exec");
}

static void begin_unmounting(struct fixture *f)
{
    unmount(f);
    say(f, "{\"return\": {\"pid\": 7}}\n");
    expect_command(f, "guest-exec-status");
}

static void expect_stays(struct fixture *f, const char *why)
{
    assert_int_equal(f->n_replies, 1);
    assert_int_equal(f->error.code, ERR_MOUNT);
    assert_non_null(strstr(f->error.message, "volume 'data' stays in vm 'web'"));
    assert_non_null(strstr(f->error.message, why));
}

static void expect_released(struct fixture *f)
{
    assert_int_equal(f->n_replies, 1);
    assert_int_equal(f->error.code, ERR_NONE);
}

static void what_the_guest_has_unmounted_is_released(void **state)
{
    struct fixture *f = *state;
    begin_unmounting(f);
    say(f, "{\"return\": {\"exited\": true, \"exitcode\": 0}}\n");
    expect_released(f);
    begin_unmounting(f);
    say(f, "{\"return\": {\"exited\": true, \"exitcode\": 1, \"out-data\": \"YnVzeQo=\"}}\n");
    expect_stays(f, ": busy");
    begin_unmounting(f);
    say(f, "{\"return\": {\"exited\": true, \"signal\": 9, \"out-data\": \"%%\"}}\n");
    expect_stays(f, "does not release it");
}

/* It takes as long as what the guest holds takes to be written. */
static void one_that_is_not_finished_is_not_taken_away(void **state)
{
    enum { ALL_MS = 40000, SOON_MS = 200 };
    struct fixture *f = *state;
    begin_unmounting(f);
    for (int64_t ms = 0; ms < ALL_MS && f->n_replies == 0; ms += SOON_MS) {
        say(f, "{\"return\": {\"exited\": false}}\n");
        loop_fake_advance(f->loop, SOON_MS);
        (void)hear(f);
    }
    expect_stays(f, "takes more than 30 s");
    unmount(f); /* begun, or not: that is not known */
    loop_fake_advance(f->loop, TIMEOUT_MS);
    expect_stays(f, "did not answer");
    begin_unmounting(f);
    say(f, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no PID 7\"}}\n");
    expect_stays(f, "no PID 7");
    begin_unmounting(f); /* one answer that is late is waited for */
    loop_fake_advance(f->loop, TIMEOUT_MS);
    assert_int_equal(f->n_replies, 0);
    meet(f);
    expect_command(f, "guest-exec-status");
    say(f, "{\"return\": {\"exited\": true, \"exitcode\": 0}}\n");
    expect_released(f);
}

static void an_agent_that_may_run_nothing_is_as_none(void **state)
{
    struct fixture *f = *state;
    unmount(f);
    say(f, "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"disabled\"}}\n");
    expect_released(f);
    unmount(f);
    say(f, "{\"return\": {\"pid\": -1}}\n");
    expect_released(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_begins_with_a_sync_and_gets_its_answer),
        TEST(what_the_guest_has_unmounted_is_released),
        TEST(one_that_is_not_finished_is_not_taken_away),
        TEST(an_agent_that_may_run_nothing_is_as_none),
        TEST(an_answer_to_somebody_else_is_not_taken),
        TEST(a_refusal_is_an_error_in_the_agents_words),
        TEST(one_that_is_silent_is_given_up_and_a_late_answer_is_lost),
        TEST(one_that_never_syncs_is_given_up_however_much_it_sends),
        TEST(what_is_no_answer_ends_the_conversation),
        TEST(an_endless_answer_ends_the_conversation),
        TEST(the_end_of_the_connection_is_an_error),
        TEST(a_socket_that_is_not_there_yet_is_tried_again),
        TEST(it_may_be_freed_by_its_caller_and_with_a_call_under_way),
        TEST(an_agent_is_asked_only_when_it_has_opened_its_port),
        TEST(one_that_opens_and_closes_its_port_is_asked_once_a_second),
        TEST(one_that_does_not_answer_is_none_and_is_asked_again),
        TEST(a_version_that_is_not_a_word_is_not_shown),
        TEST(an_order_goes_only_to_an_agent_that_answers),
        TEST(an_address_is_asked_for_until_there_is_one_and_while_it_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

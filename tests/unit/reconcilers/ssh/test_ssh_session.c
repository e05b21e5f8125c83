/* SPDX-License-Identifier: MPL-2.0 */
/* Opening SSH sessions against a real sshd, and against servers that misbehave. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/support/ssh_fixture.h"

static int setup(void **state)
{
    struct ssh_fixture *fixture = mem_new(struct ssh_fixture);
    ssh_fixture_init(fixture, (struct sshd_options){.dir = NULL});
    *state = fixture;
    return 0;
}

static int setup_trickling(void **state)
{
    struct ssh_fixture *fixture = mem_new(struct ssh_fixture);
    ssh_fixture_init(fixture, (struct sshd_options){.is_trickling = true});
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    ssh_fixture_clear(*state);
    free(*state);
    return 0;
}

static enum error_code open_with(struct ssh_fixture *fixture, const struct ssh_target *target)
{
    unsigned before = count_open_descriptors();
    (void)ssh_session_open(fixture->loop, target, &fixture->session, ssh_fixture_done, fixture);
    enum error_code code = ssh_fixture_wait(fixture);
    if (code != ERR_NONE) {
        assert_null(fixture->session);
        assert_int_equal(count_open_descriptors(), before);
    }
    return code;
}

/* ---- a server that is not one ---- */

/* Sends `text` byte by byte to each client. */
struct impostor {
    struct ssh_fixture *fixture;
    const char *text;
    size_t length, n_sent;
    int64_t pause_ms; /* between bytes; 0: all at once, again and again */
    bool hangs_up;    /* after the text */
    int listener, client;
    uint16_t port;
    struct loop_io *io, *client_io;
    struct loop_timer *timer;
};

static void hang_up(struct impostor *impostor)
{
    loop_io_free(TAKE_PTR(impostor->client_io));
    if (impostor->client >= 0) {
        close(TAKE_FD(impostor->client));
    }
}

static void on_timer(void *context)
{
    struct impostor *impostor = context;
    if (impostor->client < 0) {
        return;
    }
    if (impostor->n_sent < impostor->length) {
        (void)send(impostor->client, impostor->text + impostor->n_sent++, 1, MSG_NOSIGNAL);
        loop_timer_start(impostor->timer, impostor->pause_ms);
    } else if (impostor->hangs_up) {
        hang_up(impostor);
    }
}

static void on_room(void *context, int fd, unsigned ready)
{
    struct impostor *impostor = context;
    (void)ready;
    if (send(fd, impostor->text, impostor->length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        hang_up(impostor);
    }
}

static void on_connection(void *context, int fd, unsigned ready)
{
    struct impostor *impostor = context;
    (void)ready;
    impostor->client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(impostor->client >= 0);
    if (impostor->pause_ms > 0) {
        loop_timer_start(impostor->timer, 1);
    } else if (impostor->length > 0) {
        impostor->client_io =
            loop_io_new(impostor->fixture->loop, impostor->client, LOOP_WRITE, on_room, impostor);
    }
}

static void impostor_init(
    struct impostor *impostor, struct ssh_fixture *fixture, const char *text, int64_t pause_ms)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    *impostor = (struct impostor){.fixture = fixture,
        .text = text,
        .length = strlen(text),
        .pause_ms = pause_ms,
        .client = -1};
    impostor->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(impostor->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(impostor->listener, 4), 0);
    assert_int_equal(getsockname(impostor->listener, (struct sockaddr *)&address, &size), 0);
    impostor->port = ntohs(address.sin_port);
    impostor->io =
        loop_io_new(fixture->loop, impostor->listener, LOOP_READ, on_connection, impostor);
    impostor->timer = loop_timer_new(fixture->loop, on_timer, impostor);
}

static void impostor_clear(struct impostor *impostor)
{
    hang_up(impostor);
    loop_io_free(impostor->io);
    loop_timer_free(impostor->timer);
    close(impostor->listener);
}

/* The error of logging in to the impostor, in fixture->err. */
static enum error_code meet(struct ssh_fixture *fixture, const char *text, int64_t pause_ms,
    bool hangs_up, int64_t banner_ms, int64_t login_ms)
{
    struct impostor impostor;
    impostor_init(&impostor, fixture, text, pause_ms);
    impostor.hangs_up = hangs_up;
    struct ssh_target target = ssh_fixture_target(fixture);
    target.port = impostor.port;
    target.banner_ms = banner_ms;
    target.login_ms = login_ms;
    (void)ssh_session_open(fixture->loop, &target, &fixture->session, ssh_fixture_done, fixture);
    enum error_code code = ssh_fixture_wait(fixture);
    assert_null(fixture->session);
    impostor_clear(&impostor);
    return code;
}

/* ---- tests: who is let in ---- */

static void the_right_key_is_let_in(void **state)
{
    struct ssh_fixture *fixture = *state;
    ssh_fixture_open(fixture);
    assert_true(ssh_session_is_usable(fixture->session));
}

/* In sanitized programs: libssh2 1.10 leaks what it signs with ECDSA. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

/* libssh2 gets the key's text, not its file. */
static void keys_of_every_format_are_let_in(void **state)
{
    static const char *const options[] = {
        "-t ed25519", "-t ecdsa", "-t ecdsa -m PEM", "-t ecdsa -m PKCS8", "-t ecdsa -b 521"};
    struct ssh_fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        struct ssh_target target = ssh_fixture_target(fixture);
        cleanup_free char *key = mem_printf("%s/key%zu", fixture->dir, i);
        cleanup_free char *command = mem_printf(
            "ssh-keygen -q %s -N '' -f '%s' </dev/null && cat '%s.pub' >'%s/authorized_keys'",
            options[i], key, key, fixture->sshd->dir);
        assert_int_equal(system(command), 0);
        target.keys[0].path = key;
        if (__lsan_disable) {
            __lsan_disable();
        }
        assert_int_equal(open_with(fixture, &target), ERR_NONE);
        ssh_session_close(TAKE_PTR(fixture->session));
        if (__lsan_enable) {
            __lsan_enable();
        }
    }
}

static void a_server_that_sends_byte_by_byte_is_understood(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    ssh_fixture_open(fixture);
    assert_int_equal(ssh_fixture_exec(fixture, "echo one; exit 7", &exit), ERR_NONE);
    assert_int_equal(exit.status, 7);
    assert_string_equal(buf_str(&fixture->output), "one\n");
}

static void a_wrong_key_is_an_auth_error_with_user_and_keys(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_target target = ssh_fixture_target(fixture);
    target.keys[0].path = fixture->sshd->other_key;
    assert_int_equal(open_with(fixture, &target), ERR_SSH_AUTH);
    cleanup_free char *name =
        mem_printf("%s@127.0.0.1:%u", fixture->sshd->user, fixture->sshd->port);
    assert_non_null(strstr(fixture->err.message, name));
    assert_non_null(strstr(fixture->err.message, fixture->sshd->other_key));
    assert_non_null(strstr(fixture->err.message, "(refused)"));
}

static void later_keys_are_tried_and_missing_ones_skipped(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_target target = ssh_fixture_target(fixture);
    cleanup_free char *missing = mem_printf("%s/no_such_key", fixture->dir);
    target.keys[0] = (struct ssh_key){.path = missing};
    target.keys[1] = (struct ssh_key){.path = fixture->sshd->other_key, .is_explicit = true};
    target.keys[2] = (struct ssh_key){.path = fixture->sshd->client_key};
    target.n_keys = 3;
    assert_int_equal(open_with(fixture, &target), ERR_NONE);
}

static void an_explicit_key_that_is_missing_is_an_error_with_its_path(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_target target = ssh_fixture_target(fixture);
    cleanup_free char *missing = mem_printf("%s/no_such_key", fixture->dir);
    target.keys[0].path = missing;
    assert_int_equal(open_with(fixture, &target), ERR_KEY_UNREADABLE);
    assert_non_null(strstr(fixture->err.message, missing));
    assert_non_null(strstr(fixture->err.message, "No such file or directory"));
}

static void an_explicit_key_that_cannot_be_used_is_mentioned_after_a_refused_one(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_target target = ssh_fixture_target(fixture);
    cleanup_free char *missing = mem_printf("%s/no_such_key", fixture->dir);
    target.keys[0] = (struct ssh_key){.path = fixture->sshd->other_key};
    target.keys[1] = (struct ssh_key){.path = missing, .is_explicit = true};
    target.n_keys = 2;
    assert_int_equal(open_with(fixture, &target), ERR_SSH_AUTH);
    assert_non_null(strstr(fixture->err.message, missing));
    target.keys[2] = (struct ssh_key){.path = fixture->sshd->client_key};
    target.n_keys = 3;
    assert_int_equal(open_with(fixture, &target), ERR_NONE);
}

static void no_key_at_all_is_nothing_to_wait_for(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_target target = ssh_fixture_target(fixture);
    cleanup_free char *missing = mem_printf("%s/no_such_key", fixture->dir);
    target.keys[0] = (struct ssh_key){.path = missing};
    assert_int_equal(open_with(fixture, &target), ERR_KEY_UNREADABLE);
    assert_non_null(strstr(fixture->err.message, "no private key"));
}

static void a_damaged_explicit_key_is_an_error_and_another_is_skipped(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_target target = ssh_fixture_target(fixture);
    static const char text[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n"
                               "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\n"
                               "-----END OPENSSH PRIVATE KEY-----\n";
    cleanup_free char *damaged = mem_printf("%s/damaged", fixture->dir);
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_write_file(damaged, text, strlen(text), 0600, &err), 0);
    target.keys[0] = (struct ssh_key){.path = damaged, .is_explicit = true};
    assert_int_equal(open_with(fixture, &target), ERR_KEY_UNREADABLE);
    assert_non_null(strstr(fixture->err.message, damaged));
    target.keys[0].is_explicit = false;
    target.keys[1] = (struct ssh_key){.path = fixture->sshd->client_key};
    target.n_keys = 2;
    assert_int_equal(open_with(fixture, &target), ERR_NONE);
}

static void another_host_key_than_the_pinned_one_is_refused_with_both_fingerprints(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_target target = ssh_fixture_target(fixture);
    target.host_key_path = fixture->sshd->other_key_public;
    assert_int_equal(open_with(fixture, &target), ERR_SSH_HOSTKEY);
    const char *first = strstr(fixture->err.message, "SHA256:");
    assert_non_null(first);
    const char *second = strstr(first + 1, "SHA256:");
    assert_non_null(second);
    assert_memory_not_equal(first, second, strlen("SHA256:") + 43);
}

static void without_a_pin_any_host_key_is_accepted(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_target target = ssh_fixture_target(fixture);
    target.host_key_path = NULL;
    assert_int_equal(open_with(fixture, &target), ERR_NONE);
}

static void a_pin_that_cannot_be_read_is_an_error(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_target target = ssh_fixture_target(fixture);
    target.host_key_path = "/nowhere/host_key.pub";
    assert_int_equal(open_with(fixture, &target), ERR_KEY_UNREADABLE);
}

/* ---- tests: who does not answer ---- */

static void nothing_listening_is_an_error_with_the_address(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct impostor impostor;
    impostor_init(&impostor, fixture, "", 0);
    struct ssh_target target = ssh_fixture_target(fixture);
    target.port = impostor.port;
    impostor_clear(&impostor);
    assert_int_equal(open_with(fixture, &target), ERR_SSH);
    assert_int_equal(fixture->err.sys_errno, ECONNREFUSED);
    assert_non_null(strstr(fixture->err.message, "Connection refused"));
}

static void a_host_name_is_refused_because_it_would_have_to_be_resolved(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_target target = ssh_fixture_target(fixture);
    target.host = "localhost";
    assert_int_equal(open_with(fixture, &target), ERR_SSH);
    assert_non_null(strstr(fixture->err.message, "'localhost' is not an IP address"));
}

static void a_listener_without_a_banner_costs_the_banner_limit(void **state)
{
    struct ssh_fixture *fixture = *state;
    int64_t started_ms = loop_now_ms(fixture->loop);
    assert_int_equal(meet(fixture, "", 0, false, 300, 10000), ERR_SSH);
    int64_t took_ms = loop_now_ms(fixture->loop) - started_ms;
    assert_in_range(took_ms, 299, 2000);
    assert_non_null(strstr(fixture->err.message, "no SSH banner within 300 ms"));
}

static void a_banner_that_trickles_past_the_limit_is_given_up(void **state)
{
    struct ssh_fixture *fixture = *state;
    assert_int_equal(meet(fixture, "SSH-2.0-slow_one\r\n", 50, false, 300, 10000), ERR_SSH);
    assert_non_null(strstr(fixture->err.message, "no SSH banner within 300 ms"));
}

static void a_banner_that_trickles_in_time_leads_to_the_key_exchange(void **state)
{
    struct ssh_fixture *fixture = *state;
    const char *text = "hello\r\nSSH-2.0-slow_one\r\n";
    assert_int_equal(meet(fixture, text, 1, false, 5000, 300), ERR_SSH);
    assert_non_null(strstr(fixture->err.message, "the key exchange took longer than 300 ms"));
}

static void hanging_up_before_the_banner_is_an_error(void **state)
{
    struct ssh_fixture *fixture = *state;
    assert_int_equal(meet(fixture, "SSH", 1, true, 5000, 5000), ERR_SSH);
    assert_non_null(strstr(fixture->err.message, "closed before an SSH banner came"));
}

static void hanging_up_after_the_banner_is_an_error(void **state)
{
    struct ssh_fixture *fixture = *state;
    assert_int_equal(meet(fixture, "SSH-2.0-rude\r\n", 1, true, 5000, 5000), ERR_SSH);
    assert_non_null(strstr(fixture->err.message, "key exchange failed"));
}

static void endless_garbage_instead_of_a_banner_is_an_error(void **state)
{
    struct ssh_fixture *fixture = *state;
    assert_int_equal(meet(fixture, "HTTP/1.1 400 Bad Request\r\n", 0, false, 5000, 5000), ERR_SSH);
    assert_non_null(strstr(fixture->err.message, "is not an SSH server"));
}

static void garbage_without_lines_is_an_error(void **state)
{
    struct ssh_fixture *fixture = *state;
    assert_int_equal(meet(fixture, "\x01\xff\x80 xyz", 0, false, 5000, 5000), ERR_SSH);
    assert_non_null(strstr(fixture->err.message, "is not an SSH server"));
}

static void garbage_after_the_banner_is_an_error(void **state)
{
    struct ssh_fixture *fixture = *state;
    const char *text = "SSH-2.0-x\r\n\x01\xff\x80 and then no packet at all, only bytes";
    assert_int_equal(meet(fixture, text, 0, false, 5000, 1000), ERR_SSH);
}

static void another_version_of_ssh_is_an_error(void **state)
{
    struct ssh_fixture *fixture = *state;
    assert_int_equal(meet(fixture, "SSH-1.5-old\r\n", 1, false, 5000, 5000), ERR_SSH);
    assert_non_null(strstr(fixture->err.message, "does not support SSH 2.0"));
}

/* ---- tests: endings ---- */

static void cancelling_at_any_moment_leaves_nothing_open(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_target target = ssh_fixture_target(fixture);
    unsigned before = count_open_descriptors();
    unsigned n_cancelled = 0;
    for (int64_t ms = 0;; ms += 1 + ms / 8) {
        struct op *op =
            ssh_session_open(fixture->loop, &target, &fixture->session, ssh_fixture_done, fixture);
        if (ssh_fixture_run_ms(fixture, ms)) {
            break;
        }
        unsigned n_done = fixture->n_done;
        op_cancel(op);
        n_cancelled++;
        assert_int_equal(count_open_descriptors(), before);
        assert_int_equal(fixture->n_done, n_done);
    }
    assert_int_equal(fixture->err.code, ERR_NONE);
    assert_true(n_cancelled >= 3);
}

static void an_operation_completes_from_the_loop_only(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_target target = ssh_fixture_target(fixture);
    target.host = "localhost";
    (void)ssh_session_open(fixture->loop, &target, &fixture->session, ssh_fixture_done, fixture);
    assert_int_equal(fixture->n_done, 0);
    assert_int_equal(ssh_fixture_wait(fixture), ERR_SSH);
}

static void a_session_whose_server_died_is_not_usable(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    ssh_fixture_open(fixture);
    sshd_kill(fixture->sshd);
    for (int i = 0; i < 500 && ssh_session_is_usable(fixture->session); i++) {
        assert_false(ssh_fixture_run_ms(fixture, 10));
    }
    assert_false(ssh_session_is_usable(fixture->session));
    assert_int_equal(ssh_fixture_exec(fixture, "true", &exit), ERR_SSH);
    assert_int_equal(ssh_fixture_exec(fixture, "true", &exit), ERR_SSH);
    assert_non_null(strstr(fixture->err.message, "closed"));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define test_trickling(name) cmocka_unit_test_setup_teardown(name, setup_trickling, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(the_right_key_is_let_in),
        test(keys_of_every_format_are_let_in),
        test_trickling(a_server_that_sends_byte_by_byte_is_understood),
        test(a_wrong_key_is_an_auth_error_with_user_and_keys),
        test(later_keys_are_tried_and_missing_ones_skipped),
        test(an_explicit_key_that_is_missing_is_an_error_with_its_path),
        test(an_explicit_key_that_cannot_be_used_is_mentioned_after_a_refused_one),
        test(no_key_at_all_is_nothing_to_wait_for),
        test(a_damaged_explicit_key_is_an_error_and_another_is_skipped),
        test(another_host_key_than_the_pinned_one_is_refused_with_both_fingerprints),
        test(without_a_pin_any_host_key_is_accepted),
        test(a_pin_that_cannot_be_read_is_an_error),
        test(nothing_listening_is_an_error_with_the_address),
        test(a_host_name_is_refused_because_it_would_have_to_be_resolved),
        test(a_listener_without_a_banner_costs_the_banner_limit),
        test(a_banner_that_trickles_past_the_limit_is_given_up),
        test(a_banner_that_trickles_in_time_leads_to_the_key_exchange),
        test(hanging_up_before_the_banner_is_an_error),
        test(hanging_up_after_the_banner_is_an_error),
        test(endless_garbage_instead_of_a_banner_is_an_error),
        test(garbage_without_lines_is_an_error),
        test(garbage_after_the_banner_is_an_error),
        test(another_version_of_ssh_is_an_error),
        test_trickling(cancelling_at_any_moment_leaves_nothing_open),
        test(an_operation_completes_from_the_loop_only),
        test(a_session_whose_server_died_is_not_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

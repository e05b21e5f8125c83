/* SPDX-License-Identifier: MPL-2.0 */
/* Rounds of probes: through a real sshd, and over the network without one. */
#include "reconcilers/guest/probe_round.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/support/http_server.h"
#include "tests/support/ssh_fixture.h"

struct round_test {
    struct ssh_fixture fixture; /* first */
    struct http_server *http;
    struct vm_spec *spec;
    struct spec_check *check; /* of the spec */
};

static int setup(void **state)
{
    struct round_test *test = mem_new(struct round_test);
    ssh_fixture_init(&test->fixture, (struct sshd_options){.dir = NULL});
    test->http = http_server_start();
    test->spec = vm_spec_new("web");
    test->check = &test->spec->checks[CHECK_READY];
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    struct round_test *test = *state;
    http_server_stop(test->http);
    vm_spec_free(test->spec);
    ssh_fixture_clear(&test->fixture);
    free(test);
    return 0;
}

static void add(struct round_test *test, enum probe_kind kind, uint16_t port, const char *text)
{
    struct spec_check *check = test->check;
    mem_grow(check->probes, check->n_probes);
    check->probes[check->n_probes++] =
        (struct spec_probe){.kind = kind, .port = port, .text = mem_strdup(text)};
}

/* With the session that is open, else over the network. */
static struct op *start(struct round_test *test)
{
    struct ssh_fixture *fixture = &test->fixture;
    struct probe_round_request request = {
        .loop = fixture->loop,
        .session = fixture->session,
        .host = "127.0.0.1",
        .spec = test->spec,
        .check = test->check,
    };
    return probe_round_start(&request, ssh_fixture_done, fixture);
}

static enum error_code run(struct round_test *test)
{
    (void)start(test);
    return ssh_fixture_wait(&test->fixture);
}

static void expect_failure(struct round_test *test, enum error_code code, const char *message)
{
    assert_int_equal(run(test), code);
    assert_string_equal(test->fixture.err.message, message);
}

/* A port that was free a moment ago: nobody listens there. */
static uint16_t closed_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* A listener that accepts by its backlog and never says a word. *ret_fd: close() it. */
static uint16_t mute_port(int *ret_fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(*ret_fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(*ret_fd, 8), 0);
    assert_int_equal(getsockname(*ret_fd, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

/* ---- on both ways ---- */

static void check_open_ports(struct round_test *test)
{
    uint16_t port = http_server_port(test->http);
    add(test, PROBE_TCP, port, NULL);
    add(test, PROBE_HTTP, port, "/healthz");
    assert_int_equal(run(test), ERR_NONE);
    assert_string_equal(http_server_request(test->http, 0).path, "/healthz");
}

static void check_closed_ports(struct round_test *test)
{
    uint16_t port = closed_port();
    add(test, PROBE_TCP, port, NULL);
    cleanup_free char *message = mem_printf("tcp %u: connection refused", port);
    expect_failure(test, ERR_PROBE, message);
    test->check->probes[0].kind = PROBE_HTTP;
    test->check->probes[0].text = mem_strdup("/x");
    cleanup_free char *http_message = mem_printf("http /x port %u: connection refused", port);
    expect_failure(test, ERR_PROBE, http_message);
}

static void check_bad_status(struct round_test *test)
{
    uint16_t port = http_server_port(test->http);
    add(test, PROBE_HTTP, port, "/");
    http_server_behave(test->http, &(struct http_behaviour){.body = "x", .size = 1, .status = 503});
    cleanup_free char *message =
        mem_printf("http / port %u: the response has status 503, not 200 to 399", port);
    expect_failure(test, ERR_PROBE, message);
    http_server_behave(test->http, &(struct http_behaviour){.body = "x", .size = 1});
    assert_int_equal(run(test), ERR_NONE);
}

static void check_mute_port(struct round_test *test)
{
    int fd;
    uint16_t port = mute_port(&fd);
    test->check->timeout_s = 1;
    add(test, PROBE_HTTP, port, "/");
    cleanup_free char *message = mem_printf("http / port %u: no answer within 1 s", port);
    expect_failure(test, ERR_TIMEOUT, message);
    close(fd);
}

/* At every moment; the loop's own checks see what is left. */
static void check_cancelling(struct round_test *test)
{
    add(test, PROBE_TCP, http_server_port(test->http), NULL);
    add(test, PROBE_HTTP, http_server_port(test->http), "/");
    for (int64_t ms = 0; ms < 12; ms += 3) {
        struct op *op = start(test);
        if (ms == 0 || !ssh_fixture_run_ms(&test->fixture, ms)) {
            op_cancel(op);
        }
        if (test->fixture.session && !ssh_session_is_usable(test->fixture.session)) {
            ssh_session_close(TAKE_PTR(test->fixture.session));
            ssh_fixture_open(&test->fixture);
        }
    }
    assert_int_equal(run(test), ERR_NONE);
}

/* ---- through SSH ---- */

static void through_ssh_open_ports_pass(void **state)
{
    struct round_test *test = *state;
    ssh_fixture_open(&test->fixture);
    check_open_ports(test);
    assert_true(ssh_session_is_usable(test->fixture.session));
}

static void through_ssh_a_closed_port_fails_and_the_session_stays(void **state)
{
    struct round_test *test = *state;
    ssh_fixture_open(&test->fixture);
    check_closed_ports(test);
    assert_true(ssh_session_is_usable(test->fixture.session));
}

static void through_ssh_the_status_decides(void **state)
{
    ssh_fixture_open(*state);
    check_bad_status(*state);
}

static void through_ssh_a_port_that_says_nothing_times_out(void **state)
{
    ssh_fixture_open(*state);
    check_mute_port(*state);
}

static void through_ssh_cancelling_leaves_nothing(void **state)
{
    ssh_fixture_open(*state);
    check_cancelling(*state);
}

static void a_command_passes_by_its_status_and_reports_its_first_line(void **state)
{
    struct round_test *test = *state;
    ssh_fixture_open(&test->fixture);
    add(test, PROBE_EXEC, 0, "true");
    assert_int_equal(run(test), ERR_NONE);
    add(test, PROBE_EXEC, 0, "echo no database; echo more; exit 3");
    expect_failure(test, ERR_PROBE,
        "exec 'echo no database; echo more; exit 3': exited with status 3: no database");
    free(test->check->probes[1].text);
    test->check->probes[1].text = mem_strdup("kill -KILL $$");
    expect_failure(test, ERR_PROBE, "exec 'kill -KILL $$': ended by signal KILL");
}

static void a_command_may_print_as_much_as_it_likes(void **state)
{
    struct round_test *test = *state;
    ssh_fixture_open(&test->fixture);
    add(test, PROBE_EXEC, 0, "head -c 300000 /dev/zero | tr '\\0' x; exit 1");
    assert_int_equal(run(test), ERR_PROBE);
    test->check->timeout_s = 1;
    free(test->check->probes[0].text);
    test->check->probes[0].text = mem_strdup("exec sleep 100");
    expect_failure(test, ERR_TIMEOUT, "exec 'exec sleep 100': the command did not end within 1 s");
}

/* Readable when the process has ended. */
static int open_process(const char *pid_file)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(0);
    assert_int_equal(fs_read_file(pid_file, &text, &err), 0);
    int fd = (int)syscall(SYS_pidfd_open, atoi(buf_str(&text)), 0);
    assert_true(fd >= 0 || errno == ESRCH);
    return fd;
}

static void a_command_that_hangs_is_ended_in_the_guest_with_its_children(void **state)
{
    struct round_test *test = *state;
    ssh_fixture_open(&test->fixture);
    cleanup_free char *directory = mem_printf("%s/hang", test->fixture.sshd->dir);
    assert_int_equal(mkdir(directory, 0700), 0);
    cleanup_free char *command = mem_printf(
        "cd '%s'; sleep 500 & echo $! >child; echo $$ >shell; trap '' TERM; wait", directory);
    test->check->timeout_s = 1;
    add(test, PROBE_EXEC, 0, command);
    assert_int_equal(run(test), ERR_TIMEOUT);
    const char *const names[] = {"shell", "child"};
    for (size_t i = 0; i < 2; i++) {
        cleanup_free char *path = mem_printf("%s/%s", directory, names[i]);
        cleanup_close int fd = open_process(path);
        struct pollfd ended = {.fd = fd, .events = POLLIN};
        assert_true(fd < 0 || poll(&ended, 1, 30000) == 1);
    }
}

static void the_first_failure_ends_the_round(void **state)
{
    struct round_test *test = *state;
    ssh_fixture_open(&test->fixture);
    add(test, PROBE_EXEC, 0, "exit 1");
    add(test, PROBE_HTTP, http_server_port(test->http), "/");
    assert_int_equal(run(test), ERR_PROBE);
    assert_int_equal(http_server_count(test->http), 0);
}

static void a_connection_that_breaks_is_an_ssh_error(void **state)
{
    struct round_test *test = *state;
    ssh_fixture_open(&test->fixture);
    sshd_kill(test->fixture.sshd);
    add(test, PROBE_TCP, 80, NULL);
    assert_int_equal(run(test), ERR_SSH);
}

/* ---- without ---- */

static void without_ssh_open_ports_pass(void **state)
{
    check_open_ports(*state);
}

static void without_ssh_a_closed_port_fails(void **state)
{
    check_closed_ports(*state);
}

static void without_ssh_the_status_decides(void **state)
{
    check_bad_status(*state);
}

static void without_ssh_a_port_that_says_nothing_times_out(void **state)
{
    check_mute_port(*state);
}

static void without_ssh_cancelling_leaves_nothing(void **state)
{
    check_cancelling(*state);
}

static void without_ssh_a_guests_port_is_reached_by_its_forward(void **state)
{
    struct round_test *test = *state;
    mem_grow(test->spec->network.forwards, test->spec->network.n_forwards);
    test->spec->network.forwards[test->spec->network.n_forwards++] =
        (struct spec_forward){.host_port = http_server_port(test->http), .guest_port = 80};
    add(test, PROBE_HTTP, 80, "/");
    assert_int_equal(run(test), ERR_NONE);
    test->spec->network.mode = NETWORK_TAP; /* no forwards: the guest's own port */
    test->check->probes[0].port = closed_port();
    assert_int_equal(run(test), ERR_PROBE);
}

static void without_ssh_a_command_cannot_be_run(void **state)
{
    struct round_test *test = *state;
    add(test, PROBE_EXEC, 0, "true");
    expect_failure(test, ERR_PROBE, "exec 'true': it runs over SSH, which this VM does not have");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(through_ssh_open_ports_pass),
        TEST(through_ssh_a_closed_port_fails_and_the_session_stays),
        TEST(through_ssh_the_status_decides),
        TEST(through_ssh_a_port_that_says_nothing_times_out),
        TEST(through_ssh_cancelling_leaves_nothing),
        TEST(a_command_passes_by_its_status_and_reports_its_first_line),
        TEST(a_command_may_print_as_much_as_it_likes),
        TEST(a_command_that_hangs_is_ended_in_the_guest_with_its_children),
        TEST(the_first_failure_ends_the_round),
        TEST(a_connection_that_breaks_is_an_ssh_error),
        TEST(without_ssh_open_ports_pass),
        TEST(without_ssh_a_closed_port_fails),
        TEST(without_ssh_the_status_decides),
        TEST(without_ssh_a_port_that_says_nothing_times_out),
        TEST(without_ssh_cancelling_leaves_nothing),
        TEST(without_ssh_a_guests_port_is_reached_by_its_forward),
        TEST(without_ssh_a_command_cannot_be_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

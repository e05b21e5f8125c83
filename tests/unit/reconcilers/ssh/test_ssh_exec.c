/* SPDX-License-Identifier: MPL-2.0 */
/* Commands over SSH, against a real sshd. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/support/ssh_fixture.h"

static int setup(void **state)
{
    struct ssh_fixture *fixture = mem_new(struct ssh_fixture);
    ssh_fixture_init(fixture, (struct sshd_options){.dir = NULL});
    ssh_fixture_open(fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    ssh_fixture_clear(*state);
    free(*state);
    return 0;
}

static void output_comes_in_order_from_both_streams(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    /* The pauses keep sshd from reading both pipes in one go, in an order of its own. */
    const char *command = "echo 1; sleep 0.1; echo 2 >&2; sleep 0.1; echo 3; sleep 0.1; echo 4 >&2";
    assert_int_equal(ssh_fixture_exec(fixture, command, &exit), ERR_NONE);
    assert_string_equal(buf_str(&fixture->output), "1\n2\n3\n4\n");
    assert_int_equal(exit.status, 0);
    assert_string_equal(exit.signal, "");
}

static void the_exit_status_is_told(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    assert_int_equal(ssh_fixture_exec(fixture, "exit 3", &exit), ERR_NONE);
    assert_int_equal(exit.status, 3);
    assert_int_equal(ssh_fixture_exec(fixture, "exit 255", &exit), ERR_NONE);
    assert_int_equal(exit.status, 255);
}

static void a_signal_is_told(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    assert_int_equal(ssh_fixture_exec(fixture, "kill -TERM $$", &exit), ERR_NONE);
    assert_int_equal(exit.status, -1);
    assert_string_equal(exit.signal, "TERM");
}

static void a_command_that_closes_its_output_early_is_waited_for(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    const char *command = "echo bye; exec >/dev/null 2>&1; sleep 0.3; exit 5";
    assert_int_equal(ssh_fixture_exec(fixture, command, &exit), ERR_NONE);
    assert_int_equal(exit.status, 5);
    assert_string_equal(buf_str(&fixture->output), "bye\n");
}

static void a_command_of_several_lines_runs_as_it_is(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    const char *command = "for i in a b; do\n    echo \"$i 'x'\"\ndone\n# comment\necho end\n";
    assert_int_equal(ssh_fixture_exec(fixture, command, &exit), ERR_NONE);
    assert_string_equal(buf_str(&fixture->output), "a 'x'\nb 'x'\nend\n");
}

static void standard_input_is_empty(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    assert_int_equal(ssh_fixture_exec(fixture, "cat; echo end", &exit), ERR_NONE);
    assert_string_equal(buf_str(&fixture->output), "end\n");
}

/* 350000 lines of 8 bytes are more than the channel's window. One stream at a time: which of two
 * that are full sshd reads first is its own affair. */
static void megabytes_of_output_arrive_without_loss(void **state)
{
    static const char *const commands[] = {
        "seq -f %07.0f 1 350000; exit 9", "seq -f %07.0f 1 350000 >&2; exit 9"};
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        assert_int_equal(ssh_fixture_exec(fixture, commands[i], &exit), ERR_NONE);
        assert_int_equal(exit.status, 9);
        assert_int_equal(fixture->output.len, 350000 * 8);
        for (unsigned n = 1; n <= 350000; n++) {
            const char *line = fixture->output.data + (size_t)(n - 1) * 8;
            assert_int_equal(strtoul(line, NULL, 10), n);
        }
    }
}

static void output_is_streamed_while_the_command_runs(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    cleanup_free char *gate = mem_printf("%s/gate", fixture->dir);
    cleanup_free char *command =
        mem_printf("echo first >&2; while ! [ -e '%s' ]; do sleep 0.05; done; echo last", gate);
    struct ssh_exec_request request = {
        .command = command, .output = ssh_fixture_output, .output_context = fixture};
    (void)ssh_exec(fixture->session, &request, &exit, ssh_fixture_done, fixture);
    for (int i = 0; i < 200 && fixture->output.len == 0; i++) {
        assert_false(ssh_fixture_run_ms(fixture, 50));
    }
    assert_string_equal(buf_str(&fixture->output), "first\n");
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_write_file(gate, "", 0, 0600, &err), 0);
    assert_int_equal(ssh_fixture_wait(fixture), ERR_NONE);
    assert_string_equal(buf_str(&fixture->output), "first\nlast\n");
}

static void a_local_file_is_sent_as_input(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = mem_printf("%s/input", fixture->dir);
    cleanup_free char *bytes = mem_calloc(300000, 1);
    assert_int_equal(fs_write_file(path, bytes, 300000, 0600, &err), 0);
    struct ssh_exec_request request = {.command = "wc -c",
        .input_path = path,
        .output = ssh_fixture_output,
        .output_context = fixture};
    (void)ssh_exec(fixture->session, &request, &exit, ssh_fixture_done, fixture);
    assert_int_equal(ssh_fixture_wait(fixture), ERR_NONE);
    assert_string_equal(buf_str(&fixture->output), "300000\n");
}

static void a_command_that_takes_too_long_is_given_up_and_ends_the_session(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    struct ssh_exec_request request = {.command = "sleep 2", .timeout_ms = 200};
    (void)ssh_exec(fixture->session, &request, &exit, ssh_fixture_done, fixture);
    assert_int_equal(ssh_fixture_wait(fixture), ERR_TIMEOUT);
    assert_string_equal(fixture->err.message, "the command did not end within 0.2 s");
    assert_false(ssh_session_is_usable(fixture->session));
}

static void kill_when_it_speaks(void *context, const char *bytes, size_t n)
{
    struct ssh_fixture *fixture = context;
    (void)bytes;
    (void)n;
    sshd_kill(fixture->sshd);
}

static void a_server_that_dies_mid_command_is_an_error(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit = {.status = 77};
    struct ssh_exec_request request = {.command = "while echo x; do sleep 0.05; done",
        .output = kill_when_it_speaks,
        .output_context = fixture};
    (void)ssh_exec(fixture->session, &request, &exit, ssh_fixture_done, fixture);
    assert_int_equal(ssh_fixture_wait(fixture), ERR_SSH);
    assert_int_equal(exit.status, 77);
    assert_non_null(strstr(fixture->err.message, "the connection was lost"));
    assert_false(ssh_session_is_usable(fixture->session));
}

static void reopen(struct ssh_fixture *fixture, int64_t keepalive_ms)
{
    ssh_session_close(TAKE_PTR(fixture->session));
    struct ssh_target target = ssh_fixture_target(fixture);
    target.keepalive_ms = keepalive_ms;
    (void)ssh_session_open(fixture->loop, &target, &fixture->session, ssh_fixture_done, fixture);
    assert_int_equal(ssh_fixture_wait(fixture), ERR_NONE);
}

static void a_guest_that_freezes_is_noticed(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    reopen(fixture, 100);
    struct ssh_exec_request request = {.command = "sleep 2"};
    (void)ssh_exec(fixture->session, &request, &exit, ssh_fixture_done, fixture);
    sshd_freeze(fixture->sshd);
    assert_int_equal(ssh_fixture_wait(fixture), ERR_SSH);
    assert_string_equal(fixture->err.message, "the guest has not answered for 0.3 s");
}

/* libssh2 sends a keepalive every two seconds at most, so this cannot be quicker. */
static void a_silent_command_is_kept_alive(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    reopen(fixture, 1000);
    assert_int_equal(ssh_fixture_exec(fixture, "sleep 3.5; exit 6", &exit), ERR_NONE);
    assert_int_equal(exit.status, 6);
}

static void cancelling_a_command_ends_the_session_and_calls_nobody(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    unsigned before = count_open_descriptors();
    for (int64_t ms = 0; ms < 12; ms += 2) {
        struct ssh_exec_request request = {.command = "while echo x; do :; done"};
        unsigned n_done = fixture->n_done;
        struct op *op = ssh_exec(fixture->session, &request, &exit, ssh_fixture_done, fixture);
        assert_false(ssh_fixture_run_ms(fixture, ms));
        op_cancel(op);
        assert_int_equal(fixture->n_done, n_done);
        assert_false(ssh_session_is_usable(fixture->session));
        assert_int_equal(count_open_descriptors(), before - 1);
        ssh_session_close(TAKE_PTR(fixture->session));
        ssh_fixture_open(fixture);
    }
}

static void many_commands_share_a_session(void **state)
{
    struct ssh_fixture *fixture = *state;
    struct ssh_exit exit;
    for (int i = 0; i < 10; i++) {
        cleanup_free char *command = mem_printf("echo %d; exit %d", i, i);
        assert_int_equal(ssh_fixture_exec(fixture, command, &exit), ERR_NONE);
        assert_int_equal(exit.status, i);
        assert_int_equal(strtol(buf_str(&fixture->output), NULL, 10), i);
    }
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(output_comes_in_order_from_both_streams),
        test(the_exit_status_is_told),
        test(a_signal_is_told),
        test(a_command_that_closes_its_output_early_is_waited_for),
        test(a_command_of_several_lines_runs_as_it_is),
        test(standard_input_is_empty),
        test(megabytes_of_output_arrive_without_loss),
        test(output_is_streamed_while_the_command_runs),
        test(a_local_file_is_sent_as_input),
        test(a_command_that_takes_too_long_is_given_up_and_ends_the_session),
        test(a_server_that_dies_mid_command_is_an_error),
        test(a_guest_that_freezes_is_noticed),
        test(a_silent_command_is_kept_alive),
        test(cancelling_a_command_ends_the_session_and_calls_nobody),
        test(many_commands_share_a_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
/* With the vmctl that is beside this test. */
#include "cli/serve/action.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/serve/answer.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"

/* On an empty data directory. */
static void assert_act(const char *verb, bool is_killed, unsigned status, const char *part)
{
    char dir[] = "/tmp/vmctl-action.XXXXXX";
    struct error err = {.code = ERR_NONE};
    struct answer answer = {.body = BUF_INIT(ANSWER_MAX)};
    struct action action;
    assert_non_null(mkdtemp(dir));
    const struct cli cli = {.paths.data_dir = dir};
    assert_int_equal(action_start(&cli, verb, "web", &action, &err), 0);
    if (is_killed) {
        action_kill(&action);
    }
    struct pollfd ended = {.fd = action.process_fd, .events = POLLIN};
    assert_int_equal(poll(&ended, 1, 60 * 1000), 1);
    action_finish(&action, &answer);
    assert_int_equal(close(action.process_fd), 0);
    assert_int_equal(answer.status, status);
    assert_non_null(strstr(buf_str(&answer.body), part));
    answer_clear(&answer);
    assert_int_equal(fs_remove_tree(dir, &err), 0);
}

static void the_answer_is_the_commands_document_and_status(void **state)
{
    (void)state;
    assert_act("stop", false, 404, "vmctl::vm::not_found");
    assert_act("screenshot", false, 404, "vmctl::vm::not_found");
    assert_act("no-such-command", false, 400, "");
}

static void one_that_was_killed_has_an_answer_too(void **state)
{
    (void)state;
    assert_act("stop", true, 504, "did not answer");
}

static void one_that_is_abandoned_leaves_no_process_and_no_descriptor(void **state)
{
    char dir[] = "/tmp/vmctl-action.XXXXXX";
    struct error err = {.code = ERR_NONE};
    struct action action;
    (void)state;
    assert_non_null(mkdtemp(dir));
    const struct cli cli = {.paths.data_dir = dir};
    assert_int_equal(action_start(&cli, "stop", "web", &action, &err), 0);
    int output_fd = action.output_fd;
    action_abandon(&action);
    assert_int_equal(waitpid(action.pid, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(fcntl(output_fd, F_GETFD), -1);
    assert_int_equal(close(action.process_fd), 0);
    assert_int_equal(fs_remove_tree(dir, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answer_is_the_commands_document_and_status),
        cmocka_unit_test(one_that_was_killed_has_an_answer_too),
        cmocka_unit_test(one_that_is_abandoned_leaves_no_process_and_no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

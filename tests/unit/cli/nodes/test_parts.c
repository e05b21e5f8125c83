/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/nodes/parts.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/vmfile/nodes_file.h"

static void add_shell(struct part *part, const char *line)
{
    part->input_fd = -1;
    ssh_argv_add(&part->argv, mem_strdup("sh"));
    ssh_argv_add(&part->argv, mem_strdup("-c"));
    ssh_argv_add(&part->argv, mem_strdup(line));
}

static void each_ends_with_its_own_output_and_status(void **state)
{
    struct part *parts = mem_calloc(3, sizeof(*parts));
    (void)state;
    add_shell(&parts[0], "echo one; echo two >&2");
    add_shell(&parts[1], "exit 7");
    add_shell(&parts[2], "kill -TERM $$");
    parts_run(parts, 3, false);
    assert_int_equal(parts[0].status, 0);
    assert_string_equal(buf_str(&parts[0].out), "one\n");
    assert_string_equal(buf_str(&parts[0].err), "two\n");
    assert_int_equal(parts[1].status, 7);
    assert_int_equal(parts[2].status, 128 + SIGTERM);
    parts_clear(parts, 3);
}

static void one_that_is_late_is_ended_and_hides_no_other(void **state)
{
    struct part *parts = mem_calloc(2, sizeof(*parts));
    (void)state;
    add_shell(&parts[0], "exec cat /dev/zero >/dev/null");
    parts[0].limit_ms = 50;
    add_shell(&parts[1], "echo here");
    parts_run(parts, 2, false);
    assert_true(parts[0].is_late);
    assert_int_equal(parts[0].status, 128 + SIGKILL);
    assert_false(parts[1].is_late);
    assert_string_equal(buf_str(&parts[1].out), "here\n");
    parts_clear(parts, 2);
}

static void one_that_cannot_be_run_says_why(void **state)
{
    struct part *parts = mem_calloc(1, sizeof(*parts));
    (void)state;
    parts->input_fd = -1;
    ssh_argv_add(&parts->argv, mem_strdup("/nowhere/ssh"));
    parts_run(parts, 1, false);
    assert_int_equal(parts->status, 127);
    assert_non_null(strstr(buf_str(&parts->err), "cannot run /nowhere/ssh"));
    parts_clear(parts, 1);
}

static void what_is_printed_may_be_kept(void **state)
{
    struct part *parts = mem_calloc(1, sizeof(*parts));
    (void)state;
    add_shell(parts, "echo '{}'; echo first >&2; printf last >&2");
    parts->keeps_out = true;
    parts_run(parts, 1, true);
    assert_string_equal(buf_str(&parts->out), "{}\n");
    assert_string_equal(buf_str(&parts->last), "last");
    parts_clear(parts, 1);
}

/* The words survive the shell over there, whatever is in them. */
static void the_line_is_for_the_shell_of_the_node(void **state)
{
    char address[] = "me@b.lan", data_dir[] = "/srv/v m";
    const struct node node = {.address = address, .data_dir = data_dir};
    const char *const words[] = {"up", "it's", NULL};
    struct part *part = mem_calloc(1, sizeof(*part));
    (void)state;
    part->limit_ms = 1;
    part->connect_s = 3;
    part_add_ssh(part, &node, false, "//host-1/p q", words);
    const struct ssh_argv *argv = &part->argv;
    assert_string_equal(argv->words[0], "ssh");
    assert_string_equal(argv->words[1], "-oConnectTimeout=3");
    assert_string_equal(argv->words[argv->count - 3], "--");
    assert_string_equal(argv->words[argv->count - 2], "me@b.lan");
    assert_string_equal(argv->words[argv->count - 1],
        "env VMCTL_FILE=- VMCTL_PROJECT='//host-1/p q' 'vmctl' "
        "--data-dir '/srv/v m' 'up' 'it'\\''s'");
    parts_clear(part, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_ends_with_its_own_output_and_status),
        cmocka_unit_test(one_that_is_late_is_ended_and_hides_no_other),
        cmocka_unit_test(one_that_cannot_be_run_says_why),
        cmocka_unit_test(what_is_printed_may_be_kept),
        cmocka_unit_test(the_line_is_for_the_shell_of_the_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

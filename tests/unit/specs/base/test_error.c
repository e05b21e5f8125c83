/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void the_help_names_the_vm_of_the_message(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    (void)error_set(&err, ERR_VM_FAILED, "vm '%s' waits for vm 'db'", "web");
    assert_string_equal(error_help_text(&err), "see: vmctl status web; vmctl log web");
    error_clear(&err);
    (void)error_set_errno(&err, ERR_TIMEOUT, ETIMEDOUT, "vm 'a.b-c'");
    assert_string_equal(error_help_text(&err), "see what it waits for: vmctl status a.b-c");
    error_clear(&err);
    (void)error_set(&err, ERR_TIMEOUT, "too late");
    assert_non_null(strstr(error_help_text(&err), "vmctl status NAME"));
    (void)error_wrap(&err, "vm 'web'");
    assert_string_equal(error_help_text(&err), "see what it waits for: vmctl status web");
    (void)error_wrap(&err, "vm 'other'"); /* whose fault it is was known before */
    assert_string_equal(error_help_text(&err), "see what it waits for: vmctl status web");
}

static void a_help_of_its_own_names_it_too_or_stays_as_it_is(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    char longest[sizeof(err.help)];
    (void)error_set(&err, ERR_SSH, "no banner");
    (void)error_help(&err, "see: vmctl log NAME --console");
    (void)error_wrap(&err, "vm 'web'");
    assert_string_equal(error_help_text(&err), "see: vmctl log web --console");
    memset(longest, 'x', sizeof(longest));
    memcpy(longest + sizeof(longest) - 6, " NAME", 6);
    (void)error_help(&err, "%s", longest);
    (void)error_wrap(&err, "vm 'a-name-for-which-there-is-no-room'");
    assert_string_equal(error_help_text(&err), longest);
    error_clear(&err);
    (void)error_set(&err, ERR_USAGE, "vm 'web'");
    assert_string_equal(error_help_text(&err), "see: vmctl --help");
}

static void only_of_a_process_is_eagain_the_limit_of_processes(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    (void)error_set_errno(&err, ERR_IO, EAGAIN, "cannot read '/proc/kmsg'");
    assert_null(strstr(err.message, "ulimit"));
    assert_string_equal(error_help_text(&err), "");
    error_clear(&err);
    (void)error_set_start(&err, ERR_IO, EAGAIN, "cannot run '%s'", "qemu-img");
    assert_non_null(strstr(err.message, "ulimit -u"));
    assert_non_null(strstr(err.help, "ulimit -u"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_help_names_the_vm_of_the_message),
        cmocka_unit_test(a_help_of_its_own_names_it_too_or_stays_as_it_is),
        cmocka_unit_test(only_of_a_process_is_eagain_the_limit_of_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

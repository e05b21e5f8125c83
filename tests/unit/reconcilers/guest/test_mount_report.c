/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/mount_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reconcilers/backend/backend.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/text.h"

static void the_user_and_the_notes_are_read(void **state)
{
    struct mount_result result = {.user = NULL};
    (void)state;
    mount_report_read(
        "note /a is mounted over 9p\nuser 1000:100\r\nnote \033x\nuser 1001:1\n", &result);
    assert_string_equal(result.user, "1001:1");
    assert_non_null(strstr(result.note, "/a is mounted over 9p; "));
    assert_null(strchr(result.note, '\033'));
    free(result.user);
    free(result.note);
}

/* It becomes a line of uid_map. */
static void a_user_that_is_none_is_ignored(void **state)
{
    static const char *const answers[] = {"", "user\n", "user \n", "user 1\n", "user 1:\n",
        "user :1\n", "user 1:1 2\n", "user -1:1\n", "user 4294967295:1\n", "user 1:99999999999\n",
        "user 1:2:3\n", "users 1:1\n", "user 1\n:1", "note"};
    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct mount_result result = {.user = NULL};
        mount_report_read(answers[i], &result);
        assert_null(result.user);
        assert_null(result.note);
    }
}

static void a_failure_has_the_guests_words_and_says_of_what(void **state)
{
    struct error err = {.code = ERR_NONE};
    (void)state;
    mount_report_fail("\none\r\ntwo\n", 3, "web", &err);
    assert_int_equal(err.code, ERR_SHARE);
    assert_string_equal(err.message, "vm 'web': one; two");
    error_clear(&err);
    mount_report_fail("", 1, "web", &err);
    assert_int_equal(err.code, ERR_MOUNT);
    assert_string_equal(err.message, "vm 'web': its volumes cannot be mounted");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_user_and_the_notes_are_read),
        cmocka_unit_test(a_user_that_is_none_is_ignored),
        cmocka_unit_test(a_failure_has_the_guests_words_and_says_of_what),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

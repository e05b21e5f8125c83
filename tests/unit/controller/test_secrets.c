/* SPDX-License-Identifier: MPL-2.0 */
/* What commands hand over, and how long it is kept. */
#include "controller/secrets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define TAKE(secrets, text) secrets_take(secrets, text, sizeof(text) - 1)

static void what_a_vm_was_handed_is_kept_for_it_alone(void **state)
{
    struct secrets *secrets = secrets_new();
    (void)state;
    assert_true(TAKE(secrets, "web\0env:A\0one\0web\0env:B\0two\0db\0env:A\0three\0"));
    assert_string_equal(secrets_get(secrets, "web", "env:A"), "one");
    assert_string_equal(secrets_get(secrets, "web", "env:B"), "two");
    assert_string_equal(secrets_get(secrets, "db", "env:A"), "three");
    assert_null(secrets_get(secrets, "db", "env:B"));
    secrets_forget(secrets, "web");
    assert_null(secrets_get(secrets, "web", "env:A"));
    assert_string_equal(secrets_get(secrets, "db", "env:A"), "three");
    secrets_free(secrets);
}

static void handed_again_it_replaces_all_of_the_vm(void **state)
{
    struct secrets *secrets = secrets_new();
    (void)state;
    assert_true(TAKE(secrets, "web\0env:A\0one\0web\0env:B\0two\0"));
    assert_true(TAKE(secrets, "web\0env:A\0new\0"));
    assert_string_equal(secrets_get(secrets, "web", "env:A"), "new");
    assert_null(secrets_get(secrets, "web", "env:B"));
    secrets_free(secrets);
}

static void of_a_message_that_is_not_whole_nothing_is_taken(void **state)
{
    struct secrets *secrets = secrets_new();
    (void)state;
    assert_true(TAKE(secrets, "web\0env:A\0one\0"));
    assert_false(TAKE(secrets, "web\0env:A\0two\0web\0env:B\0"));
    assert_false(TAKE(secrets, "web\0env:A\0tw"));
    assert_false(TAKE(secrets, "web"));
    assert_true(TAKE(secrets, ""));
    assert_string_equal(secrets_get(secrets, "web", "env:A"), "one");
    secrets_free(secrets);
    secrets_free(NULL);
    assert_null(secrets_get(NULL, "web", "env:A"));
    secrets_forget(NULL, "web");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_vm_was_handed_is_kept_for_it_alone),
        cmocka_unit_test(handed_again_it_replaces_all_of_the_vm),
        cmocka_unit_test(of_a_message_that_is_not_whole_nothing_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

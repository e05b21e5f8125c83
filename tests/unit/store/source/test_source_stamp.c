/* SPDX-License-Identifier: MPL-2.0 */
#include "store/source/source_stamp.h"

#include "tests/unit/store/source/source_fixture.h"

static void what_is_not_there_has_a_stamp_and_coming_is_a_change(void **state)
{
    struct fixture *f = *state;
    struct strings none = {.count = 0};
    char missing[DIGEST_SIZE], again[DIGEST_SIZE], there[DIGEST_SIZE];
    cleanup_free char *path = project_file(f, "VMFile.kdl");
    source_stamp(path, &none, missing);
    source_stamp(path, &none, again);
    assert_int_not_equal(missing[0], '\0');
    assert_string_equal(missing, again);
    write_project(f, "VMFile.kdl", "x");
    source_stamp(path, &none, there);
    assert_string_not_equal(there, missing);
}

static void what_was_just_written_has_none(void **state)
{
    struct fixture *f = *state;
    struct strings named = {.count = 0};
    char stamp[DIGEST_SIZE];
    cleanup_free char *path = project_file(f, "VMFile.kdl");
    cleanup_free char *missing = project_file(f, "missing");
    write_project(f, "VMFile.kdl", "x");
    source_stamp(path, &named, stamp);
    assert_int_equal(stamp[0], '\0');
    strings_add(&named, path); /* also when it is one that is named */
    source_stamp(missing, &named, stamp);
    assert_int_equal(stamp[0], '\0');
    strings_clear(&named);
}

static void the_stamp_is_of_every_file_named(void **state)
{
    struct strings one = {.count = 0}, two = {.count = 0};
    char a[DIGEST_SIZE], b[DIGEST_SIZE];
    (void)state;
    strings_add(&one, "/nowhere/a");
    strings_add(&two, "/nowhere/b");
    source_stamp("/nowhere/VMFile.kdl", &one, a);
    source_stamp("/nowhere/VMFile.kdl", &two, b);
    assert_string_not_equal(a, b);
    strings_clear(&one);
    strings_clear(&two);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_not_there_has_a_stamp_and_coming_is_a_change),
        TEST(what_was_just_written_has_none),
        TEST(the_stamp_is_of_every_file_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

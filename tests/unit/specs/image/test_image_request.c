/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/image/image_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "specs/base/error.h"

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void an_error_comes_back_as_it_was(void **state)
{
    cleanup_json json_t *request = json_object();
    struct error err = {0}, found = {0};
    (void)state;
    (void)error_set(&err, ERR_VM_CONFLICT, "image x is in use by: web");
    (void)error_help(&err, "vmctl destroy web");
    assert_false(image_request_is_answered(request));
    assert_false(image_request_failure(request, &found));
    image_request_fail(request, &err);
    assert_true(image_request_is_answered(request));
    assert_true(image_request_failure(request, &found));
    assert_int_equal(found.code, ERR_VM_CONFLICT);
    assert_string_equal(found.message, "image x is in use by: web");
    assert_string_equal(error_help_text(&found), "vmctl destroy web");
}

static void an_unknown_code_is_still_a_failure(void **state)
{
    cleanup_json json_t *request =
        json_pack("{s:s,s:{s:s}}", "state", "failed", "error", "code", "vmctl::of::tomorrow");
    struct error found = {0};
    (void)state;
    assert_true(image_request_failure(request, &found));
    assert_int_equal(found.code, ERR_IO);
    assert_string_equal(found.message, "it failed");
}

static void running_and_done_are_told_apart(void **state)
{
    cleanup_json json_t *request = json_pack("{s:s}", "state", "running");
    struct error found = {0};
    (void)state;
    assert_false(image_request_is_answered(request));
    json_put_text(request, "state", "done");
    assert_true(image_request_is_answered(request));
    assert_false(image_request_failure(request, &found));
}

static void names_cannot_leave_the_cache_or_look_like_its_images(void **state)
{
    (void)state;
    assert_true(image_name_is_valid("debian-12.qcow2"));
    assert_true(image_name_is_valid("facade"));
    assert_false(image_name_is_valid(""));
    assert_false(image_name_is_valid("."));
    assert_false(image_name_is_valid(".by-source"));
    assert_false(image_name_is_valid("a/b"));
    assert_false(image_name_is_valid("../x"));
    assert_false(image_name_is_valid("-x"));
    assert_false(image_name_is_valid("a b"));
    assert_false(image_name_is_valid("a\033b"));
    assert_false(image_name_is_valid("\xc3\xa4"));
    assert_false(image_name_is_valid("aaaaaaaaaaaa"));
    assert_false(image_name_is_valid(A64 ".qcow2"));
    assert_false(image_name_is_valid(A64 A64 "x" A64));
    assert_true(image_file_name_is_valid(A64 ".qcow2"));
    assert_false(image_file_name_is_valid(A64));
    assert_false(image_file_name_is_valid(A64 ".qcow2.x"));
    assert_false(image_file_name_is_valid("../" A64 ".qcow2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_comes_back_as_it_was),
        cmocka_unit_test(an_unknown_code_is_still_a_failure),
        cmocka_unit_test(running_and_done_are_told_apart),
        cmocka_unit_test(names_cannot_leave_the_cache_or_look_like_its_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

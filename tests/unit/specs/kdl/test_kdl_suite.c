/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The official KDL test-suites (kdl-org/kdl, tests/test_cases of the releases 1.0.0 and 2.0.0).
 * KDL_SUITE names a directory holding them as v1/ and v2/, each with input/ and expected_kdl/.
 * Without it these tests are skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/kdl/kdl.h"

/* False when there is no such file. */
static bool read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rbe");
    if (!file) {
        return false;
    }
    char chunk[4096];
    size_t n;
    while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0) {
        buf_add(out, chunk, n);
    }
    fclose(file);
    return true;
}

/*
 * Two cases of release 2.0.0 contradict the specification, and were corrected after it: U+000B is a
 * newline, and a slashdash needs no space before it.
 */
static bool is_outdated(const char *name, bool is_valid, const struct buf *input)
{
    return (strcmp(name, "vertical_tab_whitespace.kdl") == 0 &&
               strcmp(buf_str(input), "node\varg\n") == 0) ||
           (strcmp(name, "zero_space_before_slashdash_arg_fail.kdl") == 0 && !is_valid);
}

/* Says what is wrong with one case, and is false then. */
static bool check_case(const char *folder, const char *name, enum kdl_version version)
{
    cleanup_free char *input_path = mem_printf("%s/input/%s", folder, name);
    cleanup_free char *expected_path = mem_printf("%s/expected_kdl/%s", folder, name);
    cleanup_buf struct buf input = BUF_INIT(0);
    cleanup_buf struct buf expected = BUF_INIT(0);
    cleanup_buf struct buf printed = BUF_INIT(0);
    struct kdl_document *doc = NULL;
    struct kdl_error error;
    assert_true(read_file(input_path, &input));
    bool is_valid = read_file(expected_path, &expected);
    if (is_outdated(name, is_valid, &input)) {
        return true;
    }
    if (kdl_parse(buf_str(&input), input.len, version, NULL, &doc, &error) < 0) {
        if (is_valid) {
            print_error("%s: %u:%u: %s\n", name, error.pos.line, error.pos.column, error.message);
        }
        return !is_valid;
    }
    kdl_print(&printed, doc);
    kdl_document_free(doc);
    bool is_right = is_valid && strcmp(buf_str(&printed), buf_str(&expected)) == 0;
    if (!is_right) {
        print_error("%s: printed as:\n%s%s\n%s", name, buf_str(&printed),
            is_valid ? "expected:" : "expected an error", buf_str(&expected));
    }
    return is_right;
}

static void check_suite(const char *suite, enum kdl_version version)
{
    const char *root = getenv("KDL_SUITE");
    if (!root) {
        print_message("KDL_SUITE is not set: the official test-suite is skipped\n");
        skip();
    }
    /* On the stack: skip() jumps over the cleanups. */
    char folder[PATH_MAX];
    char inputs[PATH_MAX];
    int length = snprintf(folder, sizeof(folder), "%s/%s", root, suite);
    assert_in_range(length, 1, sizeof(folder) - 1);
    length = snprintf(inputs, sizeof(inputs), "%s/%s/input", root, suite);
    assert_in_range(length, 1, sizeof(inputs) - 1);
    DIR *dir = opendir(inputs);
    if (!dir) {
        print_message("%s is absent: the official test-suite is skipped\n", inputs);
        skip();
    }
    size_t count = 0;
    size_t wrong = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            count++;
            wrong += !check_case(folder, entry->d_name, version);
        }
    }
    closedir(dir);
    print_message("%s: %zu cases, %zu wrong\n", suite, count, wrong);
    assert_true(count > 0);
    assert_int_equal(wrong, 0);
}

static void every_case_of_version_1_is_read_and_printed_as_expected(void **state)
{
    (void)state;
    check_suite("v1", KDL_V1);
}

static void every_case_of_version_2_is_read_and_printed_as_expected(void **state)
{
    (void)state;
    check_suite("v2", KDL_V2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_of_version_1_is_read_and_printed_as_expected),
        cmocka_unit_test(every_case_of_version_2_is_read_and_printed_as_expected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

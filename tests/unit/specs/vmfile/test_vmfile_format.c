/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/kdl/kdl.h"
#include "specs/vmfile/vmfile_format.h"

static void check_formats(const char *text, const char *expected)
{
    cleanup_buf struct buf once = BUF_INIT(0), twice = BUF_INIT(0);
    struct error err = {.code = ERR_NONE};
    if (vmfile_format(text, strlen(text), &once, &err) < 0) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(buf_str(&once), expected);
    assert_int_equal(vmfile_format(buf_str(&once), once.len, &twice, &err), 0);
    assert_string_equal(buf_str(&twice), expected);
}

static void nodes_get_lines_and_indentation_of_their_own(void **state)
{
    (void)state;
    check_formats("vm   \"web\"  {vcpus 2;memory 1024\n\timage\t\"a\"}",
        "vm \"web\" {\n    vcpus 2\n    memory 1024\n    image \"a\"\n}\n");
    check_formats("a { b { c 1 } }", "a {\n    b {\n        c 1\n    }\n}\n");
    check_formats("a{\n\n}", "a {}\n");
    check_formats("", "");
    check_formats("\xef\xbb\xbf\r\na\r\n", "a\n");
}

static void parts_of_a_node_are_one_space_apart(void **state)
{
    (void)state;
    check_formats("forward  host = 8080\tguest= 80   proto =\"tcp\"",
        "forward host=8080 guest=80 proto=\"tcp\"\n");
    check_formats("( t )a ( u ) 1 b = (v) 2", "(t)a (u)1 b=(v)2\n");
    check_formats("a \"b\"/-1/-c=2", "a \"b\" /-1 /-c=2\n");
}

static void blank_lines_are_kept_but_only_one_and_within_a_block(void **state)
{
    (void)state;
    check_formats("\n\na\n\n\n\nb\nc\n\n\n", "a\n\nb\nc\n");
    check_formats("a {\n\n\n  b\n\n\n  c\n\n\n}\n", "a {\n    b\n\n    c\n}\n");
    check_formats("a { // why\n\n  b\n}", "a { // why\n    b\n}\n");
}

static void comments_stay_where_they_are(void **state)
{
    (void)state;
    check_formats("// one  \n  // two\na 1 // three\t\nb{ // four\n// five\nc;// six\n}// seven",
        "// one\n// two\na 1 // three\nb { // four\n    // five\n    c // six\n} // seven\n");
    check_formats("/* a */ b /* c */ 1 /* d\n  e */\n/* f */ /* g */ // h\n",
        "/* a */ b /* c */ 1 /* d\n  e */\n/* f */ /* g */ // h\n");
    check_formats("a { /* only */ }", "a {\n    /* only */\n}\n");
    check_formats("a /* /* nested */ */ 1", "a /* /* nested */ */ 1\n");
}

static void what_is_slashdashed_stays(void **state)
{
    (void)state;
    check_formats("/-  a 1\nb /- 1 2 /- {\nc\n}\n", "/-a 1\nb /-1 2 /-{\n    c\n}\n");
    check_formats("/- // why\n a", "/- // why\n    a\n");
    check_formats("/-\n\n\na", "/-a\n");
}

static void continued_lines_stay_continued(void **state)
{
    (void)state;
    check_formats("a 1 \\\n 2   \\   // why\n   3", "a 1 \\\n    2 \\ // why\n    3\n");
    check_formats("a \\\n\\\n 1", "a \\\n    1\n");
}

static void a_continuation_that_continues_nothing_goes(void **state)
{
    (void)state;
    check_formats("a 1 \\\n\nb", "a 1\nb\n");
    check_formats("a 1 \\ // why\n\nb", "a 1 // why\nb\n");
    check_formats("a \\\n{\nb\n}", "a {\n    b\n}\n");
    check_formats("a 1 \\ // x\n \\ // y\n\n", "a 1 \\ // x\n    // y\n");
    check_formats("a \\", "a\n");
}

static void strings_stay_as_they_are_written(void **state)
{
    (void)state;
    check_formats("a  \"x  \\\"y\"   #\"r\"a  w\"#  \"\"\"\n   line\n     two\n   \"\"\"  #true",
        "a \"x  \\\"y\" #\"r\"a  w\"# \"\"\"\n   line\n     two\n   \"\"\" #true\n");
    check_formats("a r\"x  y\"  r#\"\"z\"#", "a r\"x  y\" r#\"\"z\"#\n"); /* version 1 */
    check_formats("a 0x1F  1_000", "a 0x1F 1_000\n");
}

static void the_version_marker_stays_first_and_nothing_becomes_one(void **state)
{
    (void)state;
    check_formats("// x\vy\v\na true // z\v", "// x y\na true // z\n");
    check_formats("/-   kdl-version   1\na true", "/- kdl-version 1\na true\n");
    check_formats("\n/-kdl-version 1\na #true", "\n/- kdl-version 1\na #true\n");
}

static void what_is_no_kdl_is_an_error_with_its_place(void **state)
{
    (void)state;
    cleanup_buf struct buf out = BUF_INIT(0);
    struct error err = {.code = ERR_NONE};
    static const char text[] = "a 1\nvm {";
    assert_int_equal(vmfile_format(text, strlen(text), &out, &err), -ERR_VMFILE_PARSE);
    assert_string_equal(err.message, "line 2, column 4: unclosed block: '}' is missing");
    assert_int_equal(out.len, 0);
}

/* ---- any document ---- */

static bool parses(const struct buf *text)
{
    struct kdl_document *doc = NULL;
    struct kdl_error error;
    int rc = kdl_parse(buf_str(text), text->len, KDL_AUTO, NULL, &doc, &error);
    kdl_document_free(doc);
    return rc == 0;
}

/* What it means is compared by vmfile_format() itself. */
static bool check_file(const char *path)
{
    cleanup_buf struct buf text = BUF_INIT(0), once = BUF_INIT(0), twice = BUF_INIT(0);
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_read_file(path, &text, &err), 0);
    if (!parses(&text)) {
        assert_int_equal(vmfile_format(buf_str(&text), text.len, &once, &err), -ERR_VMFILE_PARSE);
        return false;
    }
    if (vmfile_format(buf_str(&text), text.len, &once, &err) < 0 ||
        vmfile_format(buf_str(&once), once.len, &twice, &err) < 0) {
        fail_msg("%s: %s", path, err.message);
    }
    assert_true(parses(&once));
    assert_int_equal(once.len, twice.len);
    assert_memory_equal(buf_str(&once), buf_str(&twice), once.len);
    return true;
}

static size_t check_directory(const char *relative)
{
    cleanup_free char *path = fs_join(VMCTL_SOURCE_DIR, relative);
    size_t formatted = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        cleanup_free char *file = fs_join(path, entry->d_name);
        formatted += entry->d_type == DT_REG && check_file(file);
    }
    closedir(dir);
    return formatted;
}

static void every_document_of_the_corpus_is_formatted_once_and_for_all(void **state)
{
    (void)state;
    assert_in_range(check_directory("tests/fuzz/corpus/kdl"), 20, 10000);
    assert_in_range(check_directory("tests/fuzz/corpus/vmfile"), 5, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_get_lines_and_indentation_of_their_own),
        cmocka_unit_test(parts_of_a_node_are_one_space_apart),
        cmocka_unit_test(blank_lines_are_kept_but_only_one_and_within_a_block),
        cmocka_unit_test(comments_stay_where_they_are),
        cmocka_unit_test(what_is_slashdashed_stays),
        cmocka_unit_test(continued_lines_stay_continued),
        cmocka_unit_test(a_continuation_that_continues_nothing_goes),
        cmocka_unit_test(strings_stay_as_they_are_written),
        cmocka_unit_test(the_version_marker_stays_first_and_nothing_becomes_one),
        cmocka_unit_test(what_is_no_kdl_is_an_error_with_its_place),
        cmocka_unit_test(every_document_of_the_corpus_is_formatted_once_and_for_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

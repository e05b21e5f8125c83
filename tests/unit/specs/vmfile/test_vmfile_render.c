/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/vmfile/vmfile.h"

static char *render(const char *text, size_t size, const char *path, bool use_color)
{
    const struct vmfile_env env = {.path = path, .base_dir = "/project", .home = "/home/me"};
    cleanup_buf struct buf out = BUF_INIT(0);
    struct vmfile *file = vmfile_parse(text, size, &env);
    vmfile_render_diagnostics(&out, file, text, size, &env, use_color, 0);
    vmfile_free(file);
    return buf_steal(&out);
}

static void assert_rendered(const char *text, const char *expected)
{
    cleanup_free char *found = render(text, strlen(text), "VMFile.kdl", false);
    assert_string_equal(found, expected);
}

static void one_error_has_code_position_source_caret_and_help(void **state)
{
    (void)state;
    assert_rendered("vm \"a\" {\n    image \"i\"\n    memry 2048\n}\n",
        "error[vmctl::vmfile::validation]: unknown node `memry` in `vm`\n"
        "  --> VMFile.kdl:3:5\n"
        "   |\n"
        " 3 |     memry 2048\n"
        "   |     ^^^^^\n"
        "   = help: did you mean `memory`?\n");
}

static void assert_fits(const char *text, unsigned columns, const char *expected)
{
    const struct vmfile_env env = {.path = "F", .base_dir = "/project", .home = "/home/me"};
    cleanup_buf struct buf out = BUF_INIT(0);
    struct vmfile *file = vmfile_parse(text, strlen(text), &env);
    vmfile_render_diagnostics(&out, file, text, strlen(text), &env, false, columns);
    vmfile_free(file);
    assert_string_equal(buf_str(&out), expected);
}

static void on_a_terminal_no_line_is_wider_than_it_and_the_caret_is_under_its_place(void **state)
{
    (void)state;
    assert_fits("vm \"a\" { backend \"noop\"; image \"/srv/a.qcow2\"; label \"b\" \"c\"; memry "
                "2048; vcpus 2 }\n",
        44,
        "error[vmctl::vmfile::validation]: unknown\n"
        "  node `memry` in `vm`\n"
        "  --> F:1:63\n"
        "   |\n"
        " 1 | …\"; label \"b\" \"c\"; memry 2048; vcpus 2…\n"
        "   |                    ^^^^^\n"
        "   = help: did you mean `memory`?\n");
}

static void where_nothing_stands_the_caret_is_one_column_wide(void **state)
{
    (void)state;
    assert_rendered("", "error[vmctl::vmfile::validation]: the file defines no VM\n"
                        "  --> VMFile.kdl:1:1\n"
                        "   |\n"
                        " 1 | \n"
                        "   | ^\n"
                        "   = help: write: vm \"name\" { image-url \"https://…\" }\n");
}

static void several_errors_have_a_blank_line_between_and_a_count(void **state)
{
    (void)state;
    assert_rendered("\n\n\n\n\n\n\n\n\nvm a { image i; vcpus 0; disk 0 }",
        "error[vmctl::vmfile::validation]: `vcpus` must be a whole number from 1 to 1024, not 0\n"
        "   --> VMFile.kdl:10:23\n"
        "    |\n"
        " 10 | vm a { image i; vcpus 0; disk 0 }\n"
        "    |                       ^\n"
        "\n"
        "error[vmctl::vmfile::validation]: `disk` must be a whole number from 1 to 65536, not 0\n"
        "   --> VMFile.kdl:10:31\n"
        "    |\n"
        " 10 | vm a { image i; vcpus 0; disk 0 }\n"
        "    |                               ^\n"
        "\n"
        "2 errors in VMFile.kdl\n");
}

static void a_syntax_error_has_the_code_of_the_parser(void **state)
{
    (void)state;
    cleanup_free char *found = render("vm \"a\" {", 8, "VMFile.kdl", false);
    assert_non_null(strstr(found, "error[vmctl::vmfile::parse_failed]: "));
    assert_non_null(strstr(found, " 1 | vm \"a\" {\n"));
    assert_non_null(strstr(found, "   = help: check the VMFile's syntax; see https://kdl.dev\n"));
}

static void nothing_is_rendered_for_a_valid_file(void **state)
{
    (void)state;
    assert_rendered("vm a { image i }", "");
}

static void the_caret_stands_under_the_token_after_tabs_and_wide_characters(void **state)
{
    (void)state;
    assert_rendered("vm a { image i\n\tssh /* 日本e\xcc\x81 */ \"日\"\n}",
        "error[vmctl::vmfile::validation]: `ssh` takes no value\n"
        "  --> VMFile.kdl:2:17\n"
        "   |\n"
        " 2 |     ssh /* 日本e\xcc\x81 */ \"日\"\n"
        "   |                     ^^^^\n"
        "   = help: write: ssh { user \"ubuntu\" }\n");
}

static void secrets_of_urls_are_masked_and_the_caret_stays_in_its_place(void **state)
{
    (void)state;
    assert_rendered("vm a { image-url \"http://me:日本@h/x?sig=日\" ; vcpus 0 }",
        "error[vmctl::vmfile::validation]: `image-url` \"http://***@h/x?***\": it holds a space or "
        "a "
        "character that must be percent-encoded\n"
        "  --> VMFile.kdl:1:18\n"
        "   |\n"
        " 1 | vm a { image-url \"http://*****@h/x?*****\" ; vcpus 0 }\n"
        "   |                  ^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "\n"
        "error[vmctl::vmfile::validation]: `vcpus` must be a whole number from 1 to 1024, not 0\n"
        "  --> VMFile.kdl:1:51\n"
        "   |\n"
        " 1 | vm a { image-url \"http://*****@h/x?*****\" ; vcpus 0 }\n"
        "   |                                                   ^\n"
        "\n"
        "2 errors in VMFile.kdl\n");
    cleanup_free char *open = render("vm a { image-url \"http://me:s3cret@h", 36, "a", false);
    assert_null(strstr(open, "s3cret"));
}

static void the_start_of_a_long_line_is_shown_while_the_token_is_near_it(void **state)
{
    (void)state;
    cleanup_buf struct buf text = BUF_INIT(0), cut = BUF_INIT(0);
    buf_add_str(&text, "vm a { image i; /* zzzzzzzzzzzzzzzzzz */ vcpus 0; /* ");
    for (int i = 0; i < 100; i++) {
        buf_add_char(&text, 'y');
    }
    buf_add_str(&text, " */ }");
    buf_add(&cut, text.data, 96);
    cleanup_free char *found = render(text.data, text.len, "VMFile.kdl", false);
    cleanup_free char *expected = mem_printf(
        "error[vmctl::vmfile::validation]: `vcpus` must be a whole number from 1 to 1024, not 0\n"
        "  --> VMFile.kdl:1:48\n"
        "   |\n"
        " 1 | %s…\n"
        "   | %47s^\n",
        buf_str(&cut), "");
    assert_string_equal(found, expected);
}

static void codes_a_terminal_would_obey_are_shown_as_text(void **state)
{
    (void)state;
    static const char text[] =
        "/- kdl-version 1\nvm \"a\" { image \"i\"; x \"\x1b[31m\xe2\x80\xae\"\n }";
    cleanup_free char *found = render(text, strlen(text), "dir\x1b[0m/VMFile.kdl", false);
    assert_string_equal(found,
        "error[vmctl::vmfile::validation]: unknown node `x` in `vm`\n"
        "  --> dir\\x1b[0m/VMFile.kdl:2:21\n"
        "   |\n"
        " 2 | vm \"a\" { image \"i\"; x \"\\x1b[31m\\u{202e}\"\n"
        "   |                     ^\n"
        "   = help: known here: `image`, `image-url`, `vcpus`, `memory`, `max-vcpus`, "
        "`max-memory`, `cpu-limit`, `memory-limit`, `disk`, `io-limit`, `volume`, `share`, "
        "`network`, `vnc`, `cloud-init`, "
        "`ssh`, `provision`, "
        "`restart`, `forward`, `ready`, `live`, `depends-on`, `label`, `protect`, `arch`, `accel`, "
        "`machine`, `firmware`, `tpm`, "
        "`autostart`, `warm`, `stop-timeout`, `backend`, `propolis-server`, `node`\n");
}

static void a_long_line_is_cut_around_the_token(void **state)
{
    (void)state;
    cleanup_buf struct buf text = BUF_INIT(0);
    buf_add_str(&text, "vm a { image i; /* ");
    for (int i = 0; i < 1000; i++) {
        buf_add_str(&text, "é");
    }
    buf_add_str(&text, " */ vcpus 0; /* ");
    for (int i = 0; i < 1000; i++) {
        buf_add_str(&text, "z");
    }
    buf_add_str(&text, " */ }");
    cleanup_free char *found = render(text.data, text.len, "VMFile.kdl", false);
    assert_string_equal(found,
        "error[vmctl::vmfile::validation]: `vcpus` must be a whole number from 1 to 1024, not 0\n"
        "  --> VMFile.kdl:1:1030\n"
        "   |\n"
        " 1 | …éééééééééééééééééééééééééééééééééééééé */ vcpus 0; /* "
        "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz…\n"
        "   |                                                  ^\n");
}

static void lines_end_as_the_parser_ends_them(void **state)
{
    (void)state;
    assert_rendered("\xef\xbb\xbfvm a {\r\n  image i\r  vcpus 0\xc2\x85}",
        "error[vmctl::vmfile::validation]: `vcpus` must be a whole number from 1 to 1024, not 0\n"
        "  --> VMFile.kdl:3:9\n"
        "   |\n"
        " 3 |   vcpus 0\n"
        "   |         ^\n");
}

static void bytes_that_are_not_utf8_are_shown_as_numbers(void **state)
{
    (void)state;
    cleanup_free char *found = render("vm a { \xff\xa8 }", 11, "VMFile.kdl", false);
    assert_non_null(strstr(found, " 1 | vm a { \\xff\\xa8 }\n   |        ^^^^\n"));
}

static void color_marks_the_parts_and_is_always_reset(void **state)
{
    (void)state;
    cleanup_free char *found = render("x", 1, "VMFile.kdl", true);
    assert_non_null(strstr(found, "\x1b[1;31merror[vmctl::vmfile::validation]\x1b[0m: "));
    size_t set = 0, reset = 0;
    for (const char *s = found; (s = strchr(s, '\x1b')); s++) {
        if (strncmp(s, "\x1b[0m", 4) == 0) {
            reset++;
        } else {
            set++;
        }
    }
    assert_int_equal(set, reset);
    assert_true(set > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_error_has_code_position_source_caret_and_help),
        cmocka_unit_test(on_a_terminal_no_line_is_wider_than_it_and_the_caret_is_under_its_place),
        cmocka_unit_test(where_nothing_stands_the_caret_is_one_column_wide),
        cmocka_unit_test(secrets_of_urls_are_masked_and_the_caret_stays_in_its_place),
        cmocka_unit_test(the_start_of_a_long_line_is_shown_while_the_token_is_near_it),
        cmocka_unit_test(several_errors_have_a_blank_line_between_and_a_count),
        cmocka_unit_test(a_syntax_error_has_the_code_of_the_parser),
        cmocka_unit_test(nothing_is_rendered_for_a_valid_file),
        cmocka_unit_test(the_caret_stands_under_the_token_after_tabs_and_wide_characters),
        cmocka_unit_test(codes_a_terminal_would_obey_are_shown_as_text),
        cmocka_unit_test(a_long_line_is_cut_around_the_token),
        cmocka_unit_test(lines_end_as_the_parser_ends_them),
        cmocka_unit_test(bytes_that_are_not_utf8_are_shown_as_numbers),
        cmocka_unit_test(color_marks_the_parts_and_is_always_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

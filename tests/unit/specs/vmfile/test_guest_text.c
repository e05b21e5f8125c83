/* SPDX-License-Identifier: MPL-2.0 */
/* What the guest would not understand in the files that a VMFile names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/vmfile/guest_text.h"

struct text_case {
    const char *text;
    const char *message; /* NULL: it is fine; else the message has this */
};

typedef int text_check(const char *bytes, size_t n, struct error *err);

#define MIME "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b\"\n\n--b\n"

static void assert_checked(const struct text_case *cases, size_t count, text_check *check)
{
    for (size_t i = 0; i < count; i++) {
        struct error err = {.code = ERR_NONE};
        int rc = check(cases[i].text, strlen(cases[i].text), &err);
        if (!cases[i].message) {
            assert_string_equal(err.message, "");
            assert_int_equal(rc, 0);
        } else {
            assert_int_equal(rc, -ERR_VMFILE_INVALID);
            if (!strstr(err.message, cases[i].message)) {
                assert_string_equal(err.message, cases[i].message);
            }
            assert_string_not_equal(error_help_text(&err), "");
        }
    }
}

static void every_format_of_user_data_is_known_by_its_first_line(void **state)
{
    static const struct text_case cases[] = {
        {"#cloud-config\nusers: [default]\n", NULL},
        {"#cloud-config\r\nusers: [default]\r\n", NULL},
        {"#Cloud-Config\n", NULL},
        {"#cloud-config\n# nothing\n---\n", NULL},
        {"#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    a: b\n", NULL},
        {"#!/bin/sh\necho hi\n", NULL},
        {"#include\nhttps://example.com/x\n", NULL},
        {"#include-once\nhttps://example.com/x\n", NULL},
        {"#cloud-boothook\n#!/bin/sh\n", NULL},
        {"#part-handler\ndef list_types(): return []\n", NULL},
        {"## template: jinja\n#cloud-config\nhostname: {{ v1.local_hostname }}\n", NULL},
        {"Content-Type: multipart/mixed; boundary=\"=\"\nMIME-Version: 1.0\n\n--=\n", NULL},
        {"MIME-Version: 1.0\nContent-Type: text/cloud-config\n\nx: y\n", NULL},
        {"MIME-Version: 1.0\nContent-Type: text/cloud-config\n\nx: [\n",
            "its part text/cloud-config"},
        {MIME "Content-Type: text/x-shellscript\n\nx: [\n--b--\n", NULL},
        {MIME "Content-Type: text/cloud-config\n\nx: y\n--b\nContent-Type: text/cloud-config\n\n"
              "x: [\n--b--\n",
            "its part text/cloud-config"},
        {MIME "Content-Type: text/cloud-config\nContent-Transfer-Encoding: base64\n\n[==\n--b--\n",
            NULL},
        {MIME "Content-Type: text/cloud-config\n\nx: y\n\n--b--\n", NULL},
        {"\x1f\x8b\x08\x01timexodataCRC4SIZE", NULL},
        {"\x1f\x8b\x08", "it begins as gzip does"},
        {"\x1f\x8b junk, and no gzip at all", "it begins as gzip does"},
        {"Content-Type: text/cloud-config\n\nx: y\n", "but without `MIME-Version:`"},
        {"# cloud-config\nx: y\n", "ignores a file that begins with \"# cloud-config\""},
        {"#cloud-init\nx: y\n", "ignores a file that begins with \"#cloud-init\""},
        {"users: [default]\n", "ignores a file that begins with \"users: [default]\""},
        {"\n#cloud-config\nx: y\n", "line 1 must say what it is"},
        {" #cloud-config\nx: y\n", "line 1 must say what it is"},
        {"", "line 1 must say what it is"},
        {"\033]0;x\a\n", "begins with \"\\x1b]0;x\\x07\""},
        {"\xef\xbb\xbf#cloud-config\nx: y\n", "line 1: it begins with a byte order mark"},
        {"\xff\xfe#\x01", "line 1: it is UTF-16"},
        {"#!/bin/sh\r\necho hi\r\n", "line 1 ends with a carriage return"},
    };
    (void)state;
    assert_checked(cases, ARRAY_LEN(cases), guest_text_check_user_data);
}

static void a_cloud_config_is_yaml_of_the_right_form(void **state)
{
    static const struct text_case cases[] = {
        {"#cloud-config\nusers:\n - a\n  - b: [\n", "line 4, column 6: not valid YAML: "},
        {"#cloud-config\nusers:\n\t- a\n", "line 3, column 1: not valid YAML: "},
        {"#cloud-config\na: *nowhere\n", "line 2, column 4: not valid YAML: found undefined alias"},
        {"#cloud-config\na: \"\xff\"\n", "not valid YAML: "},
        {"#cloud-config\na: \x01\n", "not valid YAML: control characters are not allowed"},
        {"#cloud-config\n- a\n", "must be `key: value` pairs at the top"},
        {"#cloud-config\nhostname\n", "must be `key: value` pairs at the top"},
        {"#cloud-config\na: b\n---\nc: d\n", "line 3: a second YAML document"},
        {"#cloud-config-archive\na: b\n", "must be a list at the top"},
    };
    (void)state;
    assert_checked(cases, ARRAY_LEN(cases), guest_text_check_user_data);
}

static void a_deep_or_huge_cloud_config_ends_with_an_error(void **state)
{
    static const struct {
        const char *piece, *message;
    } cases[] = {
        {"[", "line 2, column 103: nested more than 100 deep"},
        {"{a: ", "line 2, column 400: nested more than 100 deep"},
        {"- ", "not valid YAML"},
        {"\n%TAG !a! b", "line 103: more than 100 lines begin with %"},
        {"\n&a b: ", "more than 1000 anchors"},
    };
    enum { SIZE = 4 << 20 };
    struct error err = {.code = ERR_NONE};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup_buf struct buf text = BUF_INIT(0);
        buf_add_str(&text, "#cloud-config\na: ");
        while (text.len < SIZE) {
            buf_add_str(&text, cases[i].piece);
        }
        assert_int_equal(
            guest_text_check_user_data(text.data, text.len, &err), -ERR_VMFILE_INVALID);
        if (!strstr(err.message, cases[i].message)) {
            fail_msg("%s: %s", cases[i].piece, err.message);
        }
        error_clear(&err);
    }
    cleanup_free char *huge = mem_calloc(GUEST_TEXT_MAX + 2, 1);
    memset(huge, '\n', GUEST_TEXT_MAX + 1);
    memcpy(huge, "#cloud-config", strlen("#cloud-config"));
    assert_int_equal(
        guest_text_check_user_data(huge, GUEST_TEXT_MAX + 1, &err), -ERR_VMFILE_INVALID);
    assert_string_equal(err.message, "it is larger than 16 MiB");
}

static void a_script_that_the_kernel_would_not_start_is_an_error(void **state)
{
    static const struct text_case cases[] = {
        {"#!/bin/sh\necho hi\n", NULL},
        {"#!/bin/sh", NULL},
        {"echo hi", NULL},
        {"", NULL},
        {"\n", NULL},
        {"#!/bin/sh\nprintf 'a\r\nb\r\n'\n", NULL},
        {"\x7f"
         "ELF\x02\r\n",
            "line 1 ends with a carriage return"}, /* without a NUL it is a text */
        {"#!/bin/sh\r\necho hi\r\n", "takes for a part of the interpreter's name"},
        {"echo hi\r\n", "takes for a part of the command"},
        {"\xef\xbb\xbf#!/bin/bash\n", "line 1: it begins with a byte order mark"},
        {"\xfe\xff", "line 1: it is UTF-16"},
    };
    static const char program[] = "\x7f"
                                  "ELF\0\r\n";
    struct error err = {.code = ERR_NONE};
    (void)state;
    assert_checked(cases, ARRAY_LEN(cases), guest_text_check_script);
    assert_int_equal(guest_text_check_script(program, sizeof(program) - 1, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_of_user_data_is_known_by_its_first_line),
        cmocka_unit_test(a_cloud_config_is_yaml_of_the_right_form),
        cmocka_unit_test(a_deep_or_huge_cloud_config_ends_with_an_error),
        cmocka_unit_test(a_script_that_the_kernel_would_not_start_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/user_data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/text.h"

static const struct user_data plain = {
    .hostname = "web",
    .user = "ubuntu",
    .authorized_keys = "ssh-ed25519 AAAA me@here\n# a note\n\nssh-rsa BBBB \"x\"\n",
    .host_key_private = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n"
                        "-----END OPENSSH PRIVATE KEY-----\n",
    .host_key_public = "ssh-ed25519 CCCC vmctl-web\n",
};

static void the_cloud_config_says_what_the_book_promises(void **state)
{
    (void)state;
    cleanup_buf struct buf out = BUF_INIT(0);
    user_data_write(&plain, &out);
    assert_string_equal(buf_str(&out), "#cloud-config\n"
                                       "hostname: \"web\"\n"
                                       "users:\n"
                                       "  - name: \"ubuntu\"\n"
                                       "    primary_group: \"ubuntu\"\n"
                                       "    groups:\n"
                                       "      - \"ubuntu\"\n"
                                       "    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n"
                                       "    shell: /bin/bash\n"
                                       "    lock_passwd: true\n"
                                       "    ssh_authorized_keys:\n"
                                       "      - \"ssh-ed25519 AAAA me@here\"\n"
                                       "      - \"ssh-rsa BBBB \\\"x\\\"\"\n"
                                       "disable_root: true\n"
                                       "ssh_pwauth: false\n"
                                       "ssh_deletekeys: true\n"
                                       "ssh_keys:\n"
                                       "  ed25519_private: |\n"
                                       "    -----BEGIN OPENSSH PRIVATE KEY-----\n"
                                       "    abc\n"
                                       "    -----END OPENSSH PRIVATE KEY-----\n"
                                       "  ed25519_public: \"ssh-ed25519 CCCC vmctl-web\"\n");
}

static void join_one(const char *theirs, size_t n, const char *ours, struct buf *out)
{
    const struct bytes part = {theirs, n};
    user_data_join(&part, 1, ours, out);
}

static void two_parts_of_mime_are_theirs_and_ours(void **state)
{
    (void)state;
    cleanup_buf struct buf out = BUF_INIT(0);
    join_one("#!/bin/sh\n", 10, "#cloud-config\n", &out);
    assert_string_equal(buf_str(&out), "Content-Type: multipart/mixed; boundary=\"=vmctl=\"\n"
                                       "MIME-Version: 1.0\n\n"
                                       "--=vmctl=\n"
                                       "Content-Type: text/plain; charset=\"utf-8\"\n"
                                       "Content-Transfer-Encoding: base64\n\n"
                                       "IyEvYmluL3NoCg==\n"
                                       "\n--=vmctl=\n"
                                       "Content-Type: text/cloud-config; charset=\"utf-8\"\n"
                                       "Content-Transfer-Encoding: base64\n"
                                       "Merge-Type: list(append)+dict(no_replace,recurse_list)\n\n"
                                       "I2Nsb3VkLWNvbmZpZwo=\n"
                                       "\n--=vmctl=--\n");
    buf_reset(&out);
    join_one("\x1f\x8b\0MIME-Version:", 16, "", &out);
    assert_non_null(strstr(buf_str(&out), "\nContent-Type: application/gzip\n"));
    buf_reset(&out);
    char lines[200];
    memset(lines, 'a', sizeof(lines));
    join_one(lines, sizeof(lines), "", &out);
    for (const char *at = buf_str(&out); *at; at += strspn(at, "\n")) {
        assert_in_range(strcspn(at, "\n"), 0, 76);
        at += strcspn(at, "\n");
    }
}

/* The second does not replace what the first says: cloud-init's own way of merging would. */
static void several_of_theirs_are_parts_in_their_order(void **state)
{
    static const struct bytes theirs[] = {
        {"#!/bin/sh\n", 10}, {"#cloud-config\na: 1\n", 19}, {"\x1f\x8b", 2}};
    (void)state;
    cleanup_buf struct buf out = BUF_INIT(0);
    user_data_join(theirs, ARRAY_LEN(theirs), "#cloud-config\n", &out);
    assert_string_equal(buf_str(&out), "Content-Type: multipart/mixed; boundary=\"=vmctl=\"\n"
                                       "MIME-Version: 1.0\n\n"
                                       "--=vmctl=\n"
                                       "Content-Type: text/plain; charset=\"utf-8\"\n"
                                       "Content-Transfer-Encoding: base64\n\n"
                                       "IyEvYmluL3NoCg==\n"
                                       "\n--=vmctl=\n"
                                       "Content-Type: text/plain; charset=\"utf-8\"\n"
                                       "Content-Transfer-Encoding: base64\n"
                                       "Merge-Type: list(append)+dict(no_replace,recurse_list)\n\n"
                                       "I2Nsb3VkLWNvbmZpZwphOiAxCg==\n"
                                       "\n--=vmctl=\n"
                                       "Content-Type: application/gzip\n"
                                       "Content-Transfer-Encoding: base64\n"
                                       "Merge-Type: list(append)+dict(no_replace,recurse_list)\n\n"
                                       "H4s=\n"
                                       "\n--=vmctl=\n"
                                       "Content-Type: text/cloud-config; charset=\"utf-8\"\n"
                                       "Content-Transfer-Encoding: base64\n"
                                       "Merge-Type: list(append)+dict(no_replace,recurse_list)\n\n"
                                       "I2Nsb3VkLWNvbmZpZwo=\n"
                                       "\n--=vmctl=--\n");
}

static void no_boundary_is_in_mime_of_theirs(void **state)
{
    static const char theirs[] =
        "MIME-Version: 1.0\nContent-Type: text/cloud-config\n\n--=vmctl=\n--=vmctl-0=\n";
    (void)state;
    cleanup_buf struct buf out = BUF_INIT(0);
    join_one(theirs, strlen(theirs), "", &out);
    assert_non_null(strstr(buf_str(&out), "; boundary=\"=vmctl-1=\"\n"));
    assert_non_null(strstr(buf_str(&out), theirs)); /* as it is */
}

/* YAML 1.2, 7.3.1: nothing in the double-quoted scalar needs an escape. */
static void the_guest_of_a_clone_makes_itself_a_machine_id(void **state)
{
    (void)state;
    cleanup_buf struct buf out = BUF_INIT(0);
    struct user_data data = plain;
    data.is_clone = true;
    user_data_write(&data, &out);
    const char *commands = strstr(buf_str(&out), "\nbootcmd:\n  - [cloud-init-per, instance, ");
    assert_non_null(commands);
    assert_non_null(strstr(commands, ": >/etc/machine-id; systemd-machine-id-setup"));
    assert_null(strchr(commands, '\\'));
    assert_string_equal(commands + strlen(commands) - 3, "\"]\n");
}

static void no_value_can_break_out_of_its_place(void **state)
{
    (void)state;
    cleanup_buf struct buf out = BUF_INIT(0);
    struct user_data data = plain;
    data.hostname = "a\"\\\tb: {c}";
    data.user = "x\nruncmd: [evil]";
    user_data_write(&data, &out);
    assert_non_null(strstr(buf_str(&out), "\nhostname: \"a\\\"\\\\\\x09b: {c}\"\n"));
    assert_non_null(strstr(buf_str(&out), "\n  - name: \"x\"\n"));
    assert_null(strstr(buf_str(&out), "runcmd"));
}

static void meta_data_names_instance_and_host(void **state)
{
    (void)state;
    cleanup_buf struct buf out = BUF_INIT(0);
    meta_data_write("0123", "web", &out);
    assert_string_equal(buf_str(&out), "instance-id: \"0123\"\nlocal-hostname: \"web\"\n");
}

static void a_vms_name_becomes_a_host_name(void **state)
{
    (void)state;
    static const char *const rows[][2] = {{"web", "web"}, {"Web-1", "Web-1"}, {"my_web", "my-web"},
        {"web_", "web"}, {"web-", "web"}, {"a..b", "a.b"}, {"a.", "a"}, {"a._b-.c", "a.b.c"},
        {"a._.b", "a.b"}, {"a-_-b", "a---b"}, {"9", "9"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_buf struct buf out = BUF_INIT(0);
        host_name_write(rows[i][0], &out);
        assert_string_equal(buf_str(&out), rows[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cloud_config_says_what_the_book_promises),
        cmocka_unit_test(two_parts_of_mime_are_theirs_and_ours),
        cmocka_unit_test(several_of_theirs_are_parts_in_their_order),
        cmocka_unit_test(no_boundary_is_in_mime_of_theirs),
        cmocka_unit_test(the_guest_of_a_clone_makes_itself_a_machine_id),
        cmocka_unit_test(no_value_can_break_out_of_its_place),
        cmocka_unit_test(meta_data_names_instance_and_host),
        cmocka_unit_test(a_vms_name_becomes_a_host_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

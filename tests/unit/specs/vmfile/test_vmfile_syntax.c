/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/vmfile/vmfile_reader.h"

typedef bool predicate(const char *text);

static void assert_each(
    predicate *is_valid, const char *const *words, size_t count, bool is_expected)
{
    for (size_t i = 0; i < count; i++) {
        if (is_valid(words[i]) != is_expected) {
            fail_msg("\"%s\" should be %s", words[i], is_expected ? "valid" : "invalid");
        }
    }
}

#define LABEL_63 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz01234567890"

static void host_names_follow_rfc_1123(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "web-1", "WEB", "3com", "a.b.example", LABEL_63};
    static const char *const bad[] = {"", "-a", "a-", "a_b", "a..b", ".a", "a.", "a b", "é",
        LABEL_63 "x", LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_63};
    assert_each(vmfile_is_hostname, good, ARRAY_LEN(good), true);
    assert_each(vmfile_is_hostname, bad, ARRAY_LEN(bad), false);
}

static void user_names_are_those_useradd_takes(void **state)
{
    (void)state;
    static const char *const good[] = {
        "vm", "_apt", "a-b_c9", "samba$", "abcdefghijklmnopqrstuvwxyz012345"};
    static const char *const bad[] = {
        "", "Root", "9a", "-a", "a b", "a$b", "$", "a.b", "abcdefghijklmnopqrstuvwxyz0123456"};
    assert_each(vmfile_is_user_name, good, ARRAY_LEN(good), true);
    assert_each(vmfile_is_user_name, bad, ARRAY_LEN(bad), false);
}

static void interface_names_are_those_the_kernel_and_qemu_take(void **state)
{
    (void)state;
    static const char *const good[] = {"br0", "virbr-0", "a.100", "fifteen-chars-x"};
    static const char *const bad[] = {
        "", ".", "..", "a/b", "a:b", "a,b", "a b", "é", "sixteen-chars-xx"};
    assert_each(vmfile_is_ifname, good, ARRAY_LEN(good), true);
    assert_each(vmfile_is_ifname, bad, ARRAY_LEN(bad), false);
}

static void servers_have_a_host_and_perhaps_a_port(void **state)
{
    (void)state;
    static const char *const good[] = {
        "10.0.0.5", "10.0.0.5:12400", "web.example:1", "[fd00::5]", "[fd00::5]:65535"};
    static const char *const bad[] = {"", ":12400", "10.0.0.5:", "10.0.0.5:0", "h:65536", "h:1x",
        "fd00::5", "[fd00::5", "[10.0.0.5]:1", "[x]:1", "h/y:1", "http://h:1", "u@h:1", "a b:1"};
    assert_each(vmfile_is_server, good, ARRAY_LEN(good), true);
    assert_each(vmfile_is_server, bad, ARRAY_LEN(bad), false);
}

static void addresses_are_ipv4_or_ipv6(void **state)
{
    (void)state;
    static const char *const good[] = {"10.0.0.9", "fd00::9"};
    static const char *const bad[] = {"", "10.0.0", "10.0.0.9/24", "web", "[fd00::9]", "fd00::9%a"};
    assert_each(vmfile_is_ip, good, ARRAY_LEN(good), true);
    assert_each(vmfile_is_ip, bad, ARRAY_LEN(bad), false);
}

static void vnic_names_are_those_dladm_takes(void **state)
{
    (void)state;
    static const char *const good[] = {"vnic0", "a.b_c1", "abcdefghijklmnopqrstuvwxyzabcd1"};
    static const char *const bad[] = {
        "", "vnic", "0vnic0", "v-1", "abcdefghijklmnopqrstuvwxyzabcde1"};
    assert_each(vmfile_is_vnic_name, good, ARRAY_LEN(good), true);
    assert_each(vmfile_is_vnic_name, bad, ARRAY_LEN(bad), false);
}

static void a_url_has_a_known_scheme_and_names_something(void **state)
{
    (void)state;
    assert_null(vmfile_url_problem("https://example.com/a.qcow2"));
    assert_null(vmfile_url_problem("HTTP://example.com"));
    assert_null(vmfile_url_problem("file:///srv/a.img"));
    assert_null(vmfile_url_problem("file://localhost/srv/a.img"));
    assert_null(vmfile_url_problem("oci://ghcr.io/a/b:1"));
    assert_string_equal(
        vmfile_url_problem("ftp://x"), "its scheme is not http, https, file or oci");
    assert_string_equal(vmfile_url_problem("a.img"), "it has no scheme such as https://");
    assert_string_equal(vmfile_url_problem("https://"), "it names no host");
    assert_string_equal(
        vmfile_url_problem("file://a"), "file:// must be followed by an absolute path");
    assert_string_equal(vmfile_url_problem("https://x/\xc3\xa9"),
        "it holds a space or a character that must be percent-encoded");
}

static void a_path_with_colons_is_no_url(void **state)
{
    (void)state;
    assert_true(vmfile_looks_like_url("s3+x://b"));
    assert_false(vmfile_looks_like_url("://b"));
    assert_false(vmfile_looks_like_url("a:b/c"));
    assert_false(vmfile_looks_like_url("/a://b"));
}

#define DIGITS_62 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8"

static void a_sha256_is_64_digits_with_or_without_its_prefix(void **state)
{
    (void)state;
    cleanup_free char *bare = vmfile_parse_sha256(DIGITS_62 "5A");
    cleanup_free char *prefixed = vmfile_parse_sha256("sha256:" DIGITS_62 "5a");
    assert_string_equal(bare, DIGITS_62 "5a");
    assert_string_equal(prefixed, DIGITS_62 "5a");
    assert_null(vmfile_parse_sha256(DIGITS_62 "5"));
    assert_null(vmfile_parse_sha256(DIGITS_62 "555"));
    assert_null(vmfile_parse_sha256(DIGITS_62 "5g"));
    assert_null(vmfile_parse_sha256("md5:" DIGITS_62));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_names_follow_rfc_1123),
        cmocka_unit_test(user_names_are_those_useradd_takes),
        cmocka_unit_test(interface_names_are_those_the_kernel_and_qemu_take),
        cmocka_unit_test(servers_have_a_host_and_perhaps_a_port),
        cmocka_unit_test(addresses_are_ipv4_or_ipv6),
        cmocka_unit_test(vnic_names_are_those_dladm_takes),
        cmocka_unit_test(a_url_has_a_known_scheme_and_names_something),
        cmocka_unit_test(a_path_with_colons_is_no_url),
        cmocka_unit_test(a_sha256_is_64_digits_with_or_without_its_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

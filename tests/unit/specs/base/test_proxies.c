/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/proxies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

static const char *const names[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
    "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "REQUEST_METHOD"};

static int unset_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        unsetenv(names[i]);
    }
    return 0;
}

static void expect(const char *http, const char *http_variable, const char *https,
    const char *https_variable, const char *direct)
{
    struct proxies *found = proxies_of_environment();
    assert_true(text_eq(found->http, http));
    assert_true(text_eq(found->http_variable, http_variable));
    assert_true(text_eq(found->https, https));
    assert_true(text_eq(found->https_variable, https_variable));
    assert_true(text_eq(found->direct, direct));
    proxies_free(found);
}

static void each_variable_is_found_in_its_order(void **state)
{
    (void)state;
    expect(NULL, NULL, NULL, NULL, NULL);
    setenv("ALL_PROXY", "socks5h://s:1", 1);
    expect("socks5h://s:1", "ALL_PROXY", "socks5h://s:1", "ALL_PROXY", NULL);
    setenv("all_proxy", "http://a:1", 1);
    expect("http://a:1", "all_proxy", "http://a:1", "all_proxy", NULL);
    setenv("HTTP_PROXY", "http://H:1", 1);
    setenv("HTTPS_PROXY", "http://S:1", 1);
    expect("http://H:1", "HTTP_PROXY", "http://S:1", "HTTPS_PROXY", NULL);
    setenv("http_proxy", "h:1", 1);
    setenv("https_proxy", "user:pw@s:1", 1);
    setenv("NO_PROXY", "a,b", 1);
    expect("http://h:1", "http_proxy", "http://user:pw@s:1", "https_proxy", "a,b");
    setenv("http_proxy", "", 1); /* empty is none */
    setenv("no_proxy", "c", 1);
    expect("http://H:1", "HTTP_PROXY", "http://user:pw@s:1", "https_proxy", "c");
    setenv("REQUEST_METHOD", "GET", 1); /* HTTP_PROXY is the header `Proxy:` then */
    expect("http://a:1", "all_proxy", "http://user:pw@s:1", "https_proxy", "c");
}

static void no_byte_can_break_a_record_or_a_line(void **state)
{
    (void)state;
    setenv("http_proxy", "http://h:1/\r\n\x1b\xff", 1);
    expect("http://h:1/%0D%0A%1B%FF", "http_proxy", NULL, NULL, NULL);
    cleanup_free char *huge = mem_calloc(20000, 1);
    memset(huge, 'a', 19999);
    setenv("https_proxy", huge, 1);
    expect("http://h:1/%0D%0A%1B%FF", "http_proxy", NULL, NULL, NULL);
}

static void a_record_has_all_of_it(void **state)
{
    (void)state;
    setenv("all_proxy", "http://u:p@a:1", 1);
    setenv("no_proxy", "x", 1);
    struct proxies *found = proxies_of_environment();
    struct proxies other = {.http = mem_strdup("http://old")};
    assert_false(proxies_equal(found, &other));
    proxies_assign(&other, found);
    assert_true(proxies_equal(found, &other));
    struct proxies *copy = proxies_copy(&other);
    proxies_assign(&other, &(struct proxies){0});
    assert_null(other.http);
    assert_true(proxies_equal(found, copy));
    proxies_free(copy);
    proxies_free(found);
}

static void exceptions_are_read_as_curl_reads_them(void **state)
{
    static const struct {
        const char *direct, *url;
        bool is_direct;
    } cases[] = {
        {"", "http://a.example/x", false},
        {"*", "http://a.example/x", true},
        {"example", "http://a.example/x", true},
        {".example", "http://a.example/x", true},
        {".example", "http://example/x", true},
        {"ample", "http://a.example/x", false},
        {"b.example, a.EXAMPLE", "http://u:p@a.example:80/x", true},
        {"b.example a.example.", "http://a.example./x", true},
        {"a.example", "http://b.example/?a.example", false},
        {"a.example", "http://xa.example/", false},
        {"127.0.0.1", "http://127.0.0.1:5000/", true},
        {"127.0.0.0/8", "http://127.9.0.1:5000/", true},
        {"10.0.0.0/9", "http://10.128.0.1/", false},
        {"10.0.0.0/9", "http://10.127.0.1/", true},
        {"10.0.0.0/0", "http://192.0.2.1/", true},
        {"10.0.0.0/33", "http://10.0.0.0.1/", false},
        {"10.0.0.0/8", "http://10.example/", false},
        {"::1", "http://[::1]:80/", true},
        {"fe80::/10", "http://[fe80::1]/", true},
        {"fe80::/10", "http://[fec0::1]/", false},
        {"fe80::/128", "http://[fe80::]/", true},
        {"/,,/8 , //", "http://a/", false},
    };
    (void)state;
    char proxy[] = "http://p:1", variable[] = "all_proxy";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *from = NULL;
        cleanup_free char *direct = mem_strdup(cases[i].direct);
        struct proxies proxies = {.http = proxy, .http_variable = variable, .direct = direct};
        const char *found = proxies_find(&proxies, cases[i].url, &from);
        if (cases[i].is_direct ? found != NULL : found != proxy) {
            fail_msg("no_proxy=%s %s", cases[i].direct, cases[i].url);
        }
    }
}

static void the_proxy_of_the_scheme_is_blamed_without_its_password(void **state)
{
    (void)state;
    setenv("HTTPS_PROXY", "user:pass@word@proxy:3128", 1);
    struct proxies *found = proxies_of_environment();
    struct error err = {.code = ERR_NONE};
    error_set(&err, ERR_IMAGE_DOWNLOAD, "no answer");
    proxies_blame(NULL, "https://a/x", &err);
    proxies_blame(found, "http://a/x", &err);
    assert_string_equal(err.message, "no answer");
    proxies_blame(found, "https://a/x", &err);
    assert_string_equal(
        err.message, "through the proxy http://proxy:3128 (HTTPS_PROXY of the command): no answer");
    assert_non_null(strstr(error_help_text(&err), "unset HTTPS_PROXY"));
    proxies_free(found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_variable_is_found_in_its_order, unset_all),
        cmocka_unit_test_setup(no_byte_can_break_a_record_or_a_line, unset_all),
        cmocka_unit_test_setup(a_record_has_all_of_it, unset_all),
        cmocka_unit_test_setup(exceptions_are_read_as_curl_reads_them, unset_all),
        cmocka_unit_test_setup(the_proxy_of_the_scheme_is_blamed_without_its_password, unset_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
